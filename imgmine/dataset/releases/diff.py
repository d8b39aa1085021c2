"""What came and what went between two versions of a release, and why.

The reasons are found when the later version is made, since only then it is known which rule dropped what; versions
that do not follow each other are compared by the diffs between them.
"""

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from imgmine.dataset.relations import connect, parquet_source, quoted
from imgmine.dataset.releases.inputs import Inputs
from imgmine.dataset.releases.packing import SAMPLES_FILE
from imgmine.dataset.releases.recipe import Recipe
from imgmine.dataset.releases.release import Release, ReleaseRefused, list_versions, number_of, read_release
from imgmine.dataset.releases.selection import RULE_MEANINGS, Chosen
from imgmine.dataset.takedown.report import noted_of_releases
from imgmine.dataset.takedown.restoring import undone_files
from imgmine.store.base import NotInStore, Store

# The version before as it was published: what was taken out of it since is among what went.
_PUBLISHED = """
SELECT blake2b, archive FROM former UNION ALL
SELECT name, CAST(NULL AS VARCHAR) FROM taken ANTI JOIN former ON former.blake2b = taken.name
"""
_FILES_A_READ = 64
_EXAMPLES = 20

# Beside the rules of `selection`: why an image is in one version and not in the other.
REASONS: Mapping[str, str] = {
    **RULE_MEANINGS,
    "archive_gone": "its archive is not in the store any more",
    "archive_not_chosen": "the recipe leaves its archive out",
    "gate": "the gate drops it now",
    "owned_by_another": "an archive that is left out owns it now",
    "file_gone": "its archive was mined again, and does not have it any more",
    "new_archive": "its archive was not there before",
    "take_down_undone": "its take-down was taken back",
    "recipe": "the recipe asks for something else",
    "tables_changed": "scores, decisions or ownership have changed",
    "unknown": "a diff between the versions is missing",
}


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed. `came` and `went` count images by reason; `recipe` is a unified diff of the two recipes.

    `went_examples` are digests with their reasons. `rows` is a local Parquet file of all that came or went
    (`blake2b`, `archive`, `change`, `reason`), None where the counts alone were read. What a take-down took out of the
    version before is among what went, without an archive.
    """

    before: str
    after: str
    stayed: int
    came: Mapping[str, int]
    went: Mapping[str, int]
    recipe: tuple[str, ...]
    archives_came: tuple[str, ...]
    archives_went: tuple[str, ...]
    went_examples: tuple[tuple[str, str], ...]
    rows: Path | None = None

    def as_json(self) -> bytes:
        """Return all but the rows."""
        said = {name: getattr(self, name) for name in self.__slots__ if name != "rows"}
        return json.dumps({**said, "came": dict(self.came), "went": dict(self.went)}, indent=1).encode() + b"\n"

    def as_text(self, *, examples: bool = True) -> str:
        """Return it in Markdown, for people; with `examples`, some of what went is named."""
        came, went = sum(self.came.values()), sum(self.went.values())
        lines = [f"# From {self.before} to {self.after}", ""]
        lines += [f"{self.stayed:,} images stayed, {came:,} came, {went:,} went.", ""]
        for title, counts in (("Came", self.came), ("Went", self.went)):
            if counts:
                lines += [f"| {title.lower()} | images | why |", "|---|---|---|"]
                lines += [f"| {reason} | {count:,} | {REASONS[reason]} |" for reason, count in counts.items()]
                lines += [""]
        for title, archives in (("New archives", self.archives_came), ("Archives gone", self.archives_went)):
            if archives:
                rest = f" and {len(archives) - _EXAMPLES} more" if len(archives) > _EXAMPLES else ""
                lines += [f"{title}: {', '.join(archives[:_EXAMPLES])}{rest}.", ""]
        if self.recipe:
            lines += ["The recipe:", "", "```diff", *self.recipe, "```", ""]
        if examples and self.went_examples:
            some = "Some of what went:" if went > len(self.went_examples) else "What went:"
            lines += [some, "", *(f"- `{digest}`: {REASONS[reason]}" for digest, reason in self.went_examples), ""]
        return "\n".join(lines)


def find_diff(
    store: Store,
    chosen: Chosen,
    inputs: Inputs,
    recipe: Recipe,
    before: str,
    after: str,
    mirror_folder: Path,
    scratch: Path,
) -> Diff:
    """Compare what was chosen for a version with the version before it."""
    former = read_release(store, before)
    connection = chosen.connection
    _load(connection, "former", store, former, scratch / "former")
    _names(connection, "taken", _taken_out_of(store, before))
    _names(connection, "archives_now", inputs.tables["files"])
    _names(connection, "archives_then", former.inputs["tables"]["files"])
    _names(connection, "archives_chosen", recipe.archives or inputs.tables["files"])
    undone = undone_files(store, mirror_folder, inputs.takedown)
    _names(connection, "undone", sorted(digest.hex() for digest in undone))
    changed_recipe = former.inputs["recipe"] != inputs.recipe_digest
    # Few: what no row of `judged` tells of is looked for in the tables themselves.
    connection.execute("""
    CREATE TEMP TABLE missing AS SELECT unhex(former.blake2b) AS blake2b FROM former ANTI JOIN judged USING (blake2b)
    """)
    for table, source in (("gated", "images"), ("owned_now", "ownership")):
        which = "WHERE source.decision <> 'kept'" if table == "gated" else ""
        connection.execute(
            f"CREATE TEMP TABLE {table} AS SELECT DISTINCT missing.blake2b FROM {source} AS source "
            f"JOIN missing ON missing.blake2b = source.blake2b {which}"
        )
    connection.execute(f"""
    CREATE TABLE changes AS
    WITH published AS ({_PUBLISHED})
    SELECT former.blake2b, former.archive, 'went' AS change, CASE
        WHEN judged.rule IS NOT NULL THEN judged.rule
        WHEN former.blake2b IN (FROM taken) OR unhex(former.blake2b) IN (FROM blocked) THEN 'taken_down'
        WHEN former.archive NOT IN (FROM archives_now) AND former.archive IN (FROM archives_chosen)
            THEN 'archive_gone'
        WHEN former.archive NOT IN (FROM archives_chosen) THEN
            CASE WHEN {recipe.archives is not None} THEN 'archive_not_chosen' ELSE 'archive_gone' END
        WHEN unhex(former.blake2b) IN (FROM gated) THEN 'gate'
        WHEN unhex(former.blake2b) IN (FROM owned_now) THEN 'owned_by_another'
        ELSE 'file_gone'
    END AS reason
    FROM published AS former LEFT JOIN judged ON judged.blake2b = former.blake2b
    WHERE judged.blake2b IS NULL OR judged.rule IS NOT NULL
    UNION ALL
    SELECT judged.blake2b, judged.archive, 'came', CASE
        WHEN judged.blake2b IN (FROM undone) THEN 'take_down_undone'
        WHEN judged.archive NOT IN (FROM archives_then) THEN 'new_archive'
        WHEN {changed_recipe} THEN 'recipe'
        ELSE 'tables_changed'
    END
    FROM judged ANTI JOIN former ON judged.blake2b = former.blake2b WHERE judged.rule IS NULL
    """)
    now, then = set(inputs.tables["files"]), set(former.inputs["tables"]["files"])
    stayed = chosen.images - _count(connection, "changes WHERE change = 'came'")
    return _summed(connection, former, after, recipe.canonical(), stayed, now - then, then - now, scratch)


def diff_between(store: Store, before: str, after: str, scratch: Path) -> Diff:
    """Compare two versions that exist. Raises `NoSuchRelease`, and `ReleaseRefused` where `after` is not the later."""
    if number_of(before) >= number_of(after):
        raise ReleaseRefused(f"{before} is not before {after}: give the earlier version first.")
    former, later = read_release(store, before), read_release(store, after)
    scratch.mkdir(parents=True, exist_ok=True)
    with connect(scratch / "diff.duckdb") as connection:
        _load(connection, "former", store, former, scratch / "former")
        _load(connection, "later", store, later, scratch / "later")
        _names(connection, "taken", _taken_out_of(store, before))
        connection.execute("CREATE TABLE told (number INTEGER, blake2b VARCHAR, change VARCHAR, reason VARCHAR)")
        for version in list_versions(store):
            if number_of(before) < number_of(version) <= number_of(after):
                _load_told(connection, store, read_release(store, version), scratch / "told")
        connection.execute(f"""
        CREATE TABLE changes AS
        WITH published AS ({_PUBLISHED}), last AS (
            SELECT blake2b, change, arg_max(reason, number) AS reason FROM told GROUP BY blake2b, change
        ), found AS (
            SELECT blake2b, archive, 'went' AS change FROM published ANTI JOIN later USING (blake2b)
            UNION ALL
            SELECT blake2b, archive, 'came' FROM later ANTI JOIN former USING (blake2b)
        )
        SELECT found.blake2b, archive, found.change, CASE
            WHEN last.reason IS NOT NULL THEN last.reason
            WHEN found.change = 'went' AND found.blake2b IN (FROM taken) THEN 'taken_down'
            ELSE 'unknown'
        END AS reason
        FROM found LEFT JOIN last ON last.blake2b = found.blake2b AND last.change = found.change
        """)
        now, then = (set(release.inputs["tables"]["files"]) for release in (later, former))
        stayed = later.images - _count(connection, "changes WHERE change = 'came'")
        return _summed(connection, former, after, later.recipe, stayed, now - then, then - now, scratch)


def _summed(
    connection: duckdb.DuckDBPyConnection,
    former: Release,
    after: str,
    recipe: str,
    stayed: int,
    archives_came: set[str],
    archives_went: set[str],
    scratch: Path,
) -> Diff:
    counts: dict[str, dict[str, int]] = {"came": {}, "went": {}}
    for change, reason, count in connection.execute(
        "SELECT change, reason, count(*) AS n FROM changes GROUP BY ALL ORDER BY change, n DESC, reason"
    ).fetchall():
        counts[change][reason] = count
    examples = connection.execute(
        f"SELECT blake2b, reason FROM changes WHERE change = 'went' ORDER BY blake2b LIMIT {_EXAMPLES}"
    ).fetchall()
    rows = scratch / "diff.parquet"
    to = quoted(str(rows))
    connection.execute(f"COPY (FROM changes ORDER BY blake2b) TO {to} (FORMAT parquet, COMPRESSION zstd)")
    recipes = difflib.unified_diff(former.recipe.splitlines(), recipe.splitlines(), lineterm="", n=0)
    return Diff(
        before=former.version,
        after=after,
        stayed=stayed,
        came=counts["came"],
        went=counts["went"],
        recipe=tuple(line for line in recipes if not line.startswith(("---", "+++", "@@"))),
        archives_came=tuple(sorted(archives_came)),
        archives_went=tuple(sorted(archives_went)),
        went_examples=tuple(examples),
        rows=rows,
    )


def _load(connection: duckdb.DuckDBPyConnection, table: str, store: Store, release: Release, folder: Path) -> None:
    """Make a table of the release's images: `blake2b` and `archive`."""
    connection.execute(f"CREATE TABLE {table} (blake2b VARCHAR, archive VARCHAR)")
    for paths in _local_samples(store, release, folder):
        connection.execute(f"INSERT INTO {table} SELECT blake2b, archive FROM {parquet_source(*paths)}")


def _taken_out_of(store: Store, version: str) -> list[str]:
    """Return what take-downs took out of a version, in hexadecimal, as they have noted it."""
    noted = (change.taken for change in noted_of_releases(store) if change.version == version)
    return sorted({digest for taken in noted for digest in taken})


def _local_samples(store: Store, release: Release, folder: Path) -> Iterator[Sequence[Path]]:
    """Yield local files of the release's samples, some at a time; copies are gone when the next ones come."""
    files = release.files(SAMPLES_FILE)
    for start in range(0, len(files), _FILES_A_READ):
        paths = [store.local_copy(file.key, folder) for file in files[start : start + _FILES_A_READ]]
        yield paths
        for path in paths:
            if path.is_relative_to(folder):
                path.unlink()


def _load_told(connection: duckdb.DuckDBPyConnection, store: Store, release: Release, folder: Path) -> None:
    document = release.documents.get("diff.parquet")
    if document is None:
        return
    try:
        path = store.local_copy(document.key, folder)
    except NotInStore:
        return
    connection.execute(
        f"INSERT INTO told SELECT {number_of(release.version)}, blake2b, change, reason FROM {parquet_source(path)}"
    )


def _names(connection: duckdb.DuckDBPyConnection, table: str, names: Any) -> None:
    connection.execute(f"CREATE TEMP TABLE {table} (name VARCHAR)")
    connection.register("given", pa.table({"name": pa.array(list(names), pa.string())}))
    connection.execute(f"INSERT INTO {table} FROM given")
    connection.unregister("given")


def _count(connection: duckdb.DuckDBPyConnection, what: str) -> int:
    [(count,)] = connection.execute(f"SELECT count(*) FROM {what}").fetchall()
    return int(count)
