"""The command line of the generator: `python -m imgmine.demo.generate OUT`.

Everything that it does is in `archives`.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from imgmine.demo.archives import make_archives
from imgmine.demo.damage import Damage
from imgmine.demo.exchanges import Kind

# At this scale files are as large as the collection's photographs: some 200 KB a JPEG.
LARGE_SCALE = 2.6
# Compressed bytes for each response record at that scale.
_BYTES_PER_RECORD = {Kind.APRIL: 95_000, Kind.MAY_3: 170_000, Kind.MAY_15: 175_000}


def records_for(gib: float, kind: Kind) -> int:
    """Return how many records an archive of `kind` needs at `LARGE_SCALE` to have about `gib` GiB."""
    return max(1, round(gib * (1 << 30) / _BYTES_PER_RECORD[kind]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m imgmine.demo.generate", description="Write demo archives and their truth into a folder."
    )
    parser.add_argument("out", type=Path, help="folder for the items; truth/<identifier>.json goes beside them")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument(
        "--kind",
        type=Kind,
        choices=list(Kind),
        action="append",
        help="age of the crawl; may be repeated (default: one of each, or may_3 with --gib)",
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--records", type=int, default=300, help="about how many records an archive has (default: %(default)s)"
    )
    size.add_argument(
        "--gib",
        type=float,
        help="make one archive of about so many GiB, of pictures as large as the collection's; minutes a GiB",
    )
    parser.add_argument("--damage", type=Damage, choices=list(Damage), help="damage the last WARC file of each archive")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    kinds = options.kind or ([Kind.MAY_3] if options.gib else list(Kind))
    if options.gib and len(kinds) > 1:
        parser.error("--gib makes one archive: give one --kind")
    records = records_for(options.gib, kinds[0]) if options.gib else options.records
    with tqdm(unit=" records", disable=None) as bar:

        def step(identifier: str, done: int, total: int) -> None:
            if done == 1:
                bar.reset(total)
                bar.set_description(identifier)
            bar.update(1)

        made = make_archives(
            options.out,
            options.seed,
            kinds,
            records,
            scale=LARGE_SCALE if options.gib else 1.0,
            damage=options.damage,
            progress=step,
        )
    for archive in made:
        size = f"{archive.size / 1e6:.1f} MB in {len(archive.warc_files)} WARC files"
        print(f"{archive.folder}  {archive.kind}  {archive.records} records  {size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
