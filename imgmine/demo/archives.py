"""Writes whole demo archives: a folder for each item, and its truth beside them.

    <root>/<identifier>/…            the item's files, and item.json, the answer of the metadata API
    <root>/truth/<identifier>.json   what a miner should find in it

What is in them is decided in `plan`; the command line is in `generate`.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imgmine.demo.damage import Damage, damage_archive
from imgmine.demo.exchanges import Kind
from imgmine.demo.item_files import write_item_files
from imgmine.demo.payloads import Body
from imgmine.demo.plan import plan_archive
from imgmine.demo.source_warcs import Step, write_warcs

TRUTH_FOLDER = "truth"


@dataclass(frozen=True, slots=True)
class DemoArchive:
    """A demo archive on disk. `records` counts responses and revisits, `size` the bytes of its WARC files."""

    identifier: str
    kind: Kind
    folder: Path
    truth: Path
    warc_files: tuple[Path, ...]
    records: int
    size: int


def make_archives(
    root: Path,
    seed: int = 0,
    kinds: Sequence[Kind] = tuple(Kind),
    records: int = 300,
    *,
    scale: float = 1.0,
    damage: Damage | None = None,
    progress: Step | None = None,
) -> list[DemoArchive]:
    """Write one archive for each of `kinds` into `root`, and return them in that order.

    Args:
        root: is made where it is missing; archives of the same names in it are replaced.
        seed: the same seed, kinds, records, scale and versions of the libraries give the same bytes.
        kinds: ages of the crawl; an age may come again. Pictures of one archive repeat in those after it.
        records: about how many response and revisit records each archive has.
        scale: enlarges pictures; 1 gives sides up to 640 pixels and some 20 MB an archive.
        damage: damages the last WARC file of each archive; by default every archive is sound.
        progress: called with the identifier, the number of records written and their total.
    """
    made: list[DemoArchive] = []
    earlier: list[tuple[str, Body]] = []
    for number, kind in enumerate(kinds):
        plan = plan_archive(kind, f"{seed}.{number}" if kind in kinds[:number] else str(seed), records, earlier)
        folder = root / plan.identifier
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        written = write_warcs(plan, folder, scale, progress)
        if damage is not None:
            damage_archive(folder, written.truth, damage)
        write_item_files(plan, folder, written)
        truth = root / TRUTH_FOLDER / f"{plan.identifier}.json"
        written.truth.write(truth)
        earlier += plan.pictures
        warc_files = tuple(folder / file.name for file in plan.files)
        size = sum(path.stat().st_size for path in warc_files)
        made.append(DemoArchive(plan.identifier, kind, folder, truth, warc_files, len(written.truth.records), size))
    return made
