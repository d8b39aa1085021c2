"""A small stage in two versions, and a process that publishes one and may be killed at any write to the store.

Run as `python -m tests.store.published_stage URL ENDPOINT VERSION KILL_AT FOLDER`; with a KILL_AT of -1 it finishes.
"""

import os
import signal
import sys
from pathlib import Path
from typing import cast

import pyarrow as pa

from imgmine.store.base import Store
from imgmine.store.opening import open_store
from imgmine.store.publish import publish
from imgmine.store.shards import Shard, ShardWriter
from imgmine.store.tables import Provenance

ARCHIVE = "archiveteam_imgur_20230501"
TABLES = ("records", "files")

# Payloads of each version. The first has a shard of its own, which so is the same in both.
PAYLOADS = {version: [b"both" * 400, *(b"%d" % version * (900 + 7 * n) for n in range(4))] for version in (1, 2)}


def provenance(version: int) -> Provenance:
    return Provenance(stage="unique_files", code_version="1", inputs=f"inputs of version {version}")


def made(version: int, folder: Path) -> tuple[dict[str, pa.Table], list[Shard]]:
    """Return the stage's tables and its three shards, written to the folder."""
    with ShardWriter(folder, f"files/{ARCHIVE}", limit=4 << 10) as writer:
        members = [writer.add(f"{number}.bin", payload) for number, payload in enumerate(PAYLOADS[version])]
    shards = writer.shards
    assert len(shards) == 3
    files = pa.table(
        {
            "number": range(len(members)),
            "size": [len(payload) for payload in PAYLOADS[version]],
            "shard": [shards[member.shard].key for member in members],
            "shard_offset": [member.offset for member in members],
        }
    )
    records = pa.table({"version": [version] * len(members)})
    return {"records": records, "files": files}, shards


def publish_version(store: Store, version: int, folder: Path) -> dict[str, str]:
    tables, shards = made(version, folder)
    return publish(store, ARCHIVE, tables, provenance(version), shards, "files")


class Mortal:
    """A store whose process kills itself just before its write of this number."""

    def __init__(self, store: Store, kill_at: int) -> None:
        self._store = store
        self._left = kill_at

    def __getattr__(self, name: str) -> object:
        if name in ("put_file", "put_bytes", "delete"):
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
        return getattr(self._store, name)


def main() -> None:
    url, endpoint, version, kill_at, folder = sys.argv[1:]
    store = Mortal(open_store(url, endpoint), int(kill_at))
    publish_version(cast(Store, store), int(version), Path(folder))


if __name__ == "__main__":
    main()
