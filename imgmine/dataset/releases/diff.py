"""What came and what went between two versions of a release, and why.

The reasons are found when the later version is made, since only then it is known which rule dropped what. They are kept
of everything that any earlier version had, so that `comparing` can tell them of versions that are not neighbours too.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import pyarrow as pa

from imgmine.dataset.relations import parquet_source, quoted
from imgmine.dataset.releases.inputs import Inputs
from imgmine.dataset.releases.packing import SAMPLES_FILE
from imgmine.dataset.releases.recipe import Recipe
from imgmine.dataset.releases.release import NoSuchRelease, Release, list_versions, number_of, read_release
from imgmine.dataset.releases.selection import RULE_MEANINGS, Chosen
from imgmine.dataset.takedown.report import noted_of_releases
from imgmine.dataset.takedown.restoring import undone_files
from imgmine.store.base import Store

# The version before as it was published: what was taken out of it since is among what went.
PUBLISHED = """
SELECT blake2b, archive FROM former UNION ALL
SELECT name, CAST(NULL AS VARCHAR) FROM taken ANTI JOIN former ON former.blake2b = taken.name
"""
GONE = "gone.parquet"
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
    "unknown": "nothing is recorded of it",
}
# Between a reason and the version in which an image went, where the later one's own reason is not known.
IN_VERSION = " in "


def meaning_of(reason: str) -> str:
    """Return what a reason means, for people."""
    rule, _, version = reason.partition(IN_VERSION)
    if not version:
        return REASONS[rule]
    return f"it went in {version}: {REASONS[rule]}; why it is out of the later version is not recorded"


def reason_sql(cause: str, archive: str, all_archives: bool) -> str:
    """Return the SQL of why an image of this archive is out, from what the later version knows of the file itself.

    It asks the table `archives_chosen`: a file that no table has any more is out by its archive, where that is out.
    """
    left_out = "archive_gone" if all_archives else "archive_not_chosen"
    return f"""CASE
        WHEN {cause} IN ('gate', 'owned_by_another', 'file_gone') AND {archive} NOT IN (FROM archives_chosen)
            THEN '{left_out}'
        ELSE {cause}
    END"""


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed. `came` and `went` count images by reason; `recipe` is a unified diff of the two recipes.

    `went_examples` are digests with their reasons. `rows` is a local Parquet file of all that came or went
    (`blake2b`, `archive`, `change`, `reason`), None where the counts alone were read. What a take-down took out of the
    version before is among what went, without an archive. `gone` is another, of all that any earlier version had and
    this one does not (`blake2b`, `cause`), where the version was just made.
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
    gone: Path | None = None

    def as_json(self) -> bytes:
        """Return all but the files of rows."""
        said = {name: getattr(self, name) for name in self.__slots__ if name not in ("rows", "gone")}
        return json.dumps({**said, "came": dict(self.came), "went": dict(self.went)}, indent=1).encode() + b"\n"

    def as_text(self, *, examples: bool = True) -> str:
        """Return it in Markdown, for people; with `examples`, some of what went is named."""
        came, went = sum(self.came.values()), sum(self.went.values())
        lines = [f"# From {self.before} to {self.after}", ""]
        lines += [f"{self.stayed:,} images stayed, {came:,} came, {went:,} went.", ""]
        for title, counts in (("Came", self.came), ("Went", self.went)):
            if counts:
                lines += [f"| {title.lower()} | images | why |", "|---|---|---|"]
                lines += [f"| {reason} | {count:,} | {meaning_of(reason)} |" for reason, count in counts.items()]
                lines += [""]
        for title, archives in (("New archives", self.archives_came), ("Archives gone", self.archives_went)):
            if archives:
                rest = f" and {len(archives) - _EXAMPLES} more" if len(archives) > _EXAMPLES else ""
                lines += [f"{title}: {', '.join(archives[:_EXAMPLES])}{rest}.", ""]
        if self.recipe:
            lines += ["The recipe:", "", "```diff", *self.recipe, "```", ""]
        if examples and self.went_examples:
            some = "Some of what went:" if went > len(self.went_examples) else "What went:"
            lines += [some, "", *(f"- `{digest}`: {meaning_of(reason)}" for digest, reason in self.went_examples), ""]
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
    load_images(connection, "former", store, former, scratch / "former")
    load_names(connection, "taken", taken_out_of(store, before))
    load_names(connection, "archives_then", former.inputs["tables"]["files"])
    load_names(connection, "archives_chosen", inputs.tables["files"])
    undone = undone_files(store, mirror_folder, inputs.takedown)
    load_names(connection, "undone", sorted(digest.hex() for digest in undone))
    changed_recipe = former.inputs["recipe"] != inputs.recipe_digest
    _load_earlier(connection, store, former, scratch / "earlier")
    # Few: what no row of `judged` tells of is looked for in the tables themselves.
    connection.execute("""
    CREATE TEMP TABLE missing AS SELECT unhex(known.blake2b) AS blake2b
    FROM (SELECT blake2b FROM former UNION ALL SELECT blake2b FROM earlier) AS known ANTI JOIN judged USING (blake2b)
    """)
    for table, source in (("gated", "images"), ("owned_now", "ownership")):
        which = "WHERE source.decision <> 'kept'" if table == "gated" else ""
        connection.execute(
            f"CREATE TEMP TABLE {table} AS SELECT DISTINCT missing.blake2b FROM {source} AS source "
            f"JOIN missing ON missing.blake2b = source.blake2b {which}"
        )
    connection.execute(f"""
    CREATE TABLE gone AS
    WITH published AS ({PUBLISHED}), known AS (
        SELECT blake2b, blake2b IN (FROM taken) AS was_taken FROM published UNION ALL
        SELECT blake2b, was_taken FROM earlier ANTI JOIN published USING (blake2b)
    )
    SELECT known.blake2b, CASE
        WHEN judged.rule IS NOT NULL THEN judged.rule
        WHEN was_taken OR unhex(known.blake2b) IN (FROM blocked) THEN 'taken_down'
        WHEN unhex(known.blake2b) IN (FROM gated) THEN 'gate'
        WHEN unhex(known.blake2b) IN (FROM owned_now) THEN 'owned_by_another'
        ELSE 'file_gone'
    END AS cause
    FROM known LEFT JOIN judged ON judged.blake2b = known.blake2b
    WHERE judged.blake2b IS NULL OR judged.rule IS NOT NULL
    """)
    connection.execute(f"""
    CREATE TABLE changes AS
    WITH published AS ({PUBLISHED})
    SELECT former.blake2b, former.archive, 'went' AS change,
        {reason_sql("gone.cause", "former.archive", recipe.archives is None)} AS reason
    FROM published AS former JOIN gone ON gone.blake2b = former.blake2b
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
    gone = scratch / GONE
    _write(connection, "gone", gone)
    diff = summed(connection, former, after, recipe.canonical(), chosen.images, now - then, then - now, scratch)
    return replace(diff, gone=gone)


def _load_earlier(connection: duckdb.DuckDBPyConnection, store: Store, former: Release, folder: Path) -> None:
    """Make the table `earlier` of what versions before the former had: of all, or what those had that it has not.

    `was_taken` tells whether a take-down took it out of one of them. A version without a record of what went stands for
    itself, and the one before it is asked too.
    """
    connection.execute("CREATE TABLE had (blake2b VARCHAR)")
    taken: set[str] = set()
    release: Release | None = former
    while release is not None and GONE not in release.documents:
        release = _before(store, release)
        if release is not None:
            for paths in local_samples(store, release, folder):
                connection.execute(f"INSERT INTO had SELECT blake2b FROM {parquet_source(*paths)}")
    if release is not None:
        path = store.local_copy(release.documents[GONE].key, folder)
        connection.execute(f"INSERT INTO had SELECT blake2b FROM {parquet_source(path)}")
    for version in list_versions(store):
        if number_of(version) < number_of(former.version):
            taken.update(taken_out_of(store, version))
    load_names(connection, "ever_taken", sorted(taken))
    connection.execute("""
    CREATE TABLE earlier AS SELECT DISTINCT blake2b, blake2b IN (FROM ever_taken) AS was_taken
    FROM (SELECT blake2b FROM had UNION ALL SELECT name FROM ever_taken)
    """)


def _before(store: Store, release: Release) -> Release | None:
    if release.former is None:
        return None
    try:
        return read_release(store, release.former)
    except NoSuchRelease:
        return None


def summed(
    connection: duckdb.DuckDBPyConnection,
    former: Release,
    after: str,
    recipe: str,
    images: int,
    archives_came: set[str],
    archives_went: set[str],
    scratch: Path,
) -> Diff:
    """Return the diff of the table `changes` to a version with so many images."""
    counts: dict[str, dict[str, int]] = {"came": {}, "went": {}}
    for change, reason, count in connection.execute(
        "SELECT change, reason, count(*) AS n FROM changes GROUP BY ALL ORDER BY change, n DESC, reason"
    ).fetchall():
        counts[change][reason] = count
    examples = connection.execute(
        f"SELECT blake2b, reason FROM changes WHERE change = 'went' ORDER BY blake2b LIMIT {_EXAMPLES}"
    ).fetchall()
    rows = scratch / "diff.parquet"
    _write(connection, "changes", rows)
    recipes = difflib.unified_diff(former.recipe.splitlines(), recipe.splitlines(), lineterm="", n=0)
    return Diff(
        before=former.version,
        after=after,
        stayed=images - sum(counts["came"].values()),
        came=counts["came"],
        went=counts["went"],
        recipe=tuple(line for line in recipes if not line.startswith(("---", "+++", "@@"))),
        archives_came=tuple(sorted(archives_came)),
        archives_went=tuple(sorted(archives_went)),
        went_examples=tuple(examples),
        rows=rows,
    )


def load_images(
    connection: duckdb.DuckDBPyConnection, table: str, store: Store, release: Release, folder: Path
) -> None:
    """Make a table of the release's images: `blake2b` and `archive`."""
    connection.execute(f"CREATE TABLE {table} (blake2b VARCHAR, archive VARCHAR)")
    for paths in local_samples(store, release, folder):
        connection.execute(f"INSERT INTO {table} SELECT blake2b, archive FROM {parquet_source(*paths)}")


def taken_out_of(store: Store, version: str) -> list[str]:
    """Return what take-downs took out of a version, in hexadecimal, as they have noted it."""
    noted = (change.taken for change in noted_of_releases(store) if change.version == version)
    return sorted({digest for taken in noted for digest in taken})


def local_samples(store: Store, release: Release, folder: Path) -> Iterator[Sequence[Path]]:
    """Yield local files of the release's samples, some at a time; copies are gone when the next ones come."""
    files = release.files(SAMPLES_FILE)
    for start in range(0, len(files), _FILES_A_READ):
        paths = [store.local_copy(file.key, folder) for file in files[start : start + _FILES_A_READ]]
        yield paths
        for path in paths:
            if path.is_relative_to(folder):
                path.unlink()


def load_names(connection: duckdb.DuckDBPyConnection, table: str, names: Iterable[str]) -> None:
    """Make a table of one column, `name`."""
    connection.execute(f"CREATE TEMP TABLE {table} (name VARCHAR)")
    connection.register("given", pa.table({"name": pa.array(list(names), pa.string())}))
    connection.execute(f"INSERT INTO {table} FROM given")
    connection.unregister("given")


def _write(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> None:
    to = quoted(str(path))
    connection.execute(f"COPY (FROM {table} ORDER BY blake2b) TO {to} (FORMAT parquet, COMPRESSION zstd)")
