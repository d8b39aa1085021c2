"""What a release is made from: the published tables, the log of take-downs, the recipe, and the code.

All of it is named by digests, so that it can be told whether a release was made from the same.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow.parquet as pq

from imgmine import __version__
from imgmine.cores import usable_cores
from imgmine.dataset.models_used import disagreements, models_used
from imgmine.dataset.near_groups import NOT_WHOLE
from imgmine.dataset.relations import archive_table, dataset_table, ownership_answer, parquet_source
from imgmine.dataset.releases.recipe import NearDuplicates, Recipe
from imgmine.dataset.takedown_log import TakedownLog, read_log
from imgmine.errors import ImgmineError, PersonNeeded
from imgmine.store.base import Store
from imgmine.store.publish import content_digest, file_digest, fingerprint

CODE_VERSION = "1"

ARCHIVE_TABLES = (
    "files",
    "images",
    "anomaly_scores",
    "nsfw_scores",
    "watermark_scores",
    "probe_scores",
    "categories",
)
# What decides bytes beside our own code: the encoder, the resizer, the writers of Parquet (DuckDB writes the diff's).
_LIBRARIES = ("pillow", "cykooz-resizer", "pyarrow", "duckdb")


class InputMissing(PersonNeeded):
    """A recipe asks for what has not been made; the message says what to run."""


class InputsChanged(ImgmineError):
    """Something was published anew while a release was being made of it."""


@dataclass(frozen=True)
class Inputs:
    """Everything that a release depends on.

    `tables` has the digest of each archive's part of each table, `dataset` those of the tables over all archives,
    `relations` a SELECT for each table; `folders` are where the archives' tables lie. `uncovered` are archives with
    files that ownership does not know yet; `mixed` says which tables that the recipe goes by are of several models;
    `seen` is what the files of the tables were when they were looked at.
    """

    recipe_digest: str
    tables: Mapping[str, Mapping[str, str]]
    dataset: Mapping[str, str]
    folders: Mapping[str, Path]
    relations: Mapping[str, str]
    takedown: TakedownLog
    code: Mapping[str, str]
    uncovered: tuple[str, ...]
    mixed: tuple[str, ...]
    seen: Mapping[Path, tuple[int, int, int]]

    @property
    def takedown_digest(self) -> str:
        """A digest of what is blocked; entries that were taken back leave no trace in it."""
        rules = self.takedown.rules
        said = [(field.name, sorted(getattr(rules, field.name))) for field in fields(rules)]
        return content_digest(repr([sorted(self.takedown.blocked), *said]).encode())

    @property
    def fingerprint(self) -> str:
        """One digest for all of it."""
        return fingerprint(
            recipe=self.recipe_digest,
            tables={table: dict(parts) for table, parts in self.tables.items()},
            dataset=dict(self.dataset),
            takedown=self.takedown_digest,
            code=dict(self.code),
        )

    def batches(self, rows: int) -> list[tuple[str, ...]]:
        """Return the archives that have files, some at a time: together at most so many rows, or one archive."""
        found: list[list[str]] = []
        held = 0
        for archive in self.tables["files"]:
            count = int(pq.read_metadata(self.folders["files"] / f"{archive}.parquet").num_rows)
            if not found or held + count > rows:
                found.append([])
                held = 0
            found[-1].append(archive)
            held += count
        return [tuple(batch) for batch in found]

    def relations_of(self, archives: Sequence[str]) -> dict[str, str]:
        """Return a SELECT of each table over these archives alone, by name."""
        return {
            table: archive_table(table, folder, [name for name in archives if name in self.tables[table]])
            for table, folder in self.folders.items()
        }

    def require_unchanged(self) -> None:
        """Raise `InputsChanged` where a table is not the one any more whose digest was taken."""
        for path, facts in self.seen.items():
            if _facts(path) != facts:
                raise InputsChanged(
                    f"{path} was published again while the release was being chosen. Make the release again."
                )


def read_inputs(store: Store, mirror_folder: Path, recipe: Recipe) -> Inputs:
    """Look at everything that is published and matters to the recipe, every byte of it. Raises `InputMissing`."""
    seen: dict[Path, tuple[int, int, int]] = {}
    folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in ARCHIVE_TABLES}
    over_all = store.mirror("dataset", ".parquet", mirror_folder)
    tables = {table: _digests(folder, recipe.archives, seen) for table, folder in folders.items()}
    _require(recipe, tables)
    # The answer is the same in however many files ownership lies; who has what is in its name.
    answer = ownership_answer(over_all)
    if answer is None:
        raise InputMissing(f"{recipe.name}: there is no dataset yet. Launch the job statistics, then try again.")
    dataset = {"ownership": answer}
    seen[over_all / "archives.parquet"] = _facts(over_all / "archives.parquet") or (0, 0, 0)
    relations = {table: archive_table(table, folder) for table, folder in folders.items()}
    relations |= {table: dataset_table(table, over_all) for table in ("ownership", "archives")}
    if recipe.near_duplicates is NearDuplicates.ONE:
        path = over_all / "near_duplicates.parquet"
        if not path.is_file():
            raise InputMissing(
                f"{recipe.name}: near_duplicates: one is asked for, and nobody has looked for near-duplicates. "
                "Materialize near_duplicates, then try again; or let the recipe keep them (near_duplicates: keep)."
            )
        if (pq.read_metadata(path).metadata or {}).get(b"inputs") == NOT_WHOLE.encode():
            raise InputMissing(
                f"{recipe.name}: near_duplicates: one is asked for, and a take-down took images out of the groups: "
                "they have to be made again. Launch the job find_near_duplicates, then try again."
            )
        dataset["near_duplicates"] = _seen_digest(path, seen)
        relations["near_duplicates"] = f"SELECT blake2b, kept_blake2b FROM {parquet_source(path)}"
    return Inputs(
        recipe_digest=recipe.digest,
        tables=tables,
        dataset=dataset,
        folders=folders,
        relations=relations,
        takedown=read_log(store),
        code={
            "imgmine": __version__,
            "release": CODE_VERSION,
            **{name: importlib.metadata.version(name) for name in _LIBRARIES},
        },
        uncovered=_uncovered(over_all, tables["files"]),
        mixed=_mixed(recipe, folders),
        seen=seen,
    )


def _asked(recipe: Recipe) -> list[tuple[str, str]]:
    """The keys of the recipe that go by a table of judgements, each with that table."""
    select = recipe.select
    asked = (
        ("percentile_at_least", select.percentile_at_least is not None, "anomaly_scores"),
        ("nsfw_below", select.nsfw_below is not None, "nsfw_scores"),
        ("watermark_below", select.watermark_below is not None, "watermark_scores"),
        ("labels", bool(select.labels or select.without_labels), "probe_scores"),
        ("categories", bool(select.categories), "categories"),
    )
    return [(key, table) for key, is_asked, table in asked if is_asked]


def _mixed(recipe: Recipe, folders: Mapping[str, Path]) -> tuple[str, ...]:
    judged = {table: folders[table] for _, table in _asked(recipe)}
    return tuple(disagreements(models_used(judged, recipe.archives)))


def _require(recipe: Recipe, tables: Mapping[str, Mapping[str, str]]) -> None:
    for key, table in _asked(recipe):
        if not tables[table]:
            raise InputMissing(
                f"{recipe.name}: select.{key} is asked for, and no archive has {table}. Launch score_archive for the "
                "archives (fit_gmm or fit_probe before it, where that was never done), or leave the key out."
            )
    for archive in recipe.archives or ():
        if archive not in tables["files"]:
            raise InputMissing(f"{recipe.name}: archives: {archive} has not been mined: imgmine mine {archive}")


def _digests(folder: Path, archives: tuple[str, ...] | None, seen: dict[Path, tuple[int, int, int]]) -> dict[str, str]:
    paths = sorted(folder.glob("*.parquet"))
    if archives is not None:
        paths = [path for path in paths if path.stem in archives]
    with ThreadPoolExecutor(usable_cores()) as pool:
        digests = pool.map(lambda path: _seen_digest(path, seen), paths)
        return dict(zip((path.stem for path in paths), digests, strict=True))


def _seen_digest(path: Path, seen: dict[Path, tuple[int, int, int]]) -> str:
    seen[path] = _facts(path) or (0, 0, 0)
    return file_digest(path)


def _facts(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def _uncovered(over_all: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    known = pq.read_table(over_all / "archives.parquet", columns=["archive", "owned"])
    owned = {row["archive"] for row in known.to_pylist() if row["owned"] is not None}
    return tuple(sorted(set(files) - owned))
