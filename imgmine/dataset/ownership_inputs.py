"""What ownership across archives is made of: every archive's `files` table, their order, and what tells them apart.

What is made of it, and put into the store, is `publishing`'s and `ownership_parts`'.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from imgmine.dataset.archives import Archive, read_archives
from imgmine.dataset.ownership import BadFilesTable, Holding
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, fingerprint

CODE_VERSION = "2"

_FOOTER_END = 8


@dataclass(frozen=True, slots=True)
class OwnershipInputs:
    """All archives, and the `files` of those that have been mined, the first in precedence first.

    `footers` has a digest of each such table by archive. `answer` is the same for the same ownership, byte for byte.
    """

    archives: tuple[Archive, ...]
    holdings: tuple[Holding, ...]
    footers: Mapping[str, str]
    answer: str

    def check(self) -> None:
        """Raise `BadFilesTable` where a table is another one by now."""
        for holding in self.holdings:
            if _footer_digest(holding) != self.footers[holding.archive]:
                raise BadFilesTable(
                    f"{holding.files} has changed while it was read: {holding.archive} is being mined again. Run this "
                    "again when that is done."
                )


def read_inputs(store: Store, mirror_folder: Path, known: Collection[str] = ()) -> OwnershipInputs:
    """Return what is in the store now; `known` names archives that count though nothing of them may be there.

    `mirror_folder` keeps copies of the tables of a remote store. Raises `BadFilesTable`.
    """
    folder = store.mirror("files", ".parquet", mirror_folder)
    mined = {path.name.removesuffix(".parquet"): path for path in sorted(folder.glob("*.parquet"))}
    archives = read_archives(store, mirror_folder, {*mined, *known})
    holdings = tuple(
        Holding(archive.identifier, mined[archive.identifier]) for archive in archives if archive.identifier in mined
    )
    footers = {holding.archive: _footer_digest(holding) for holding in holdings}
    answer = fingerprint(files=list(footers.items()), code_version=CODE_VERSION)
    return OwnershipInputs(tuple(archives), holdings, footers, answer)


def _footer_digest(holding: Holding) -> str:
    """Return the digest of the Parquet file's footer.

    It names the stage's inputs and holds the size, the offsets and the extremes of every column, so it tells contents
    apart without reading them.
    """
    try:
        with holding.files.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _FOOTER_END))
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(0, size - _FOOTER_END - length))
            return content_digest(stream.read())
    except OSError as error:
        raise BadFilesTable(f"{holding.files} cannot be read ({error}). Materialize unique_files again.") from error
