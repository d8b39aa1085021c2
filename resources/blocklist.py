"""The lists of hashes of what is never to be kept."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import dagster as dg

from imgmine.archives.blocked import Blocklist
from imgmine.archives.hash_lists import list_files, read_blocklist


class BlocklistResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """`paths` are files of hashes, or folders of them."""

    paths: list[str]

    def load(self) -> Blocklist:
        """Return all the hashes. A process reads them once, and again when a file has changed."""
        files = list_files(map(Path, self.paths))
        return _read(tuple((path, stat.st_size, stat.st_mtime_ns) for path in files for stat in [path.stat()]))


@lru_cache(maxsize=1)
def _read(files: Sequence[tuple[Path, int, int]]) -> Blocklist:
    return read_blocklist(path for path, _, _ in files)
