"""Choosing the images of a release: one row for each image that could be in it, and the first rule that drops it.

It is DuckDB's work, in a database file in scratch: what does not fit into its memory is spilled beside it. What a
recipe may say is `recipe`'s; reading the pictures comes later.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import duckdb
import pyarrow as pa

from imgmine.dataset.relations import connect, quoted
from imgmine.dataset.releases.inputs import Inputs
from imgmine.dataset.releases.recipe import Content, NearDuplicates, Recipe
from imgmine.dataset.releases.samples import PLACE, PLANNED
from imgmine.dataset.takedown_log import Rules
from imgmine.errors import PersonNeeded

_BATCH = 50_000
_PLAN_ROWS = 20_480
_ROWS_AT_ONCE = 500_000


class Rule(StrEnum):
    """Why an image that passed the gate is not in a release: the first of these that applies."""

    TAKEN_DOWN = "taken_down"
    HOLDOUT = "holdout"
    STILL = "still"
    FORMAT = "format"
    SIZE = "size"
    NOT_SCORED = "not_scored"
    PERCENTILE = "percentile"
    NSFW = "nsfw"
    WATERMARK = "watermark"
    LABEL = "label"
    CATEGORY = "category"
    NEAR_DUPLICATE = "near_duplicate"


RULE_MEANINGS: Mapping[str, str] = {
    Rule.TAKEN_DOWN: "it was taken down",
    Rule.HOLDOUT: "it is held out",
    Rule.STILL: "it is a still of a video",
    Rule.FORMAT: "its format is not among those asked for",
    Rule.SIZE: "a side is too short or too long",
    Rule.NOT_SCORED: "a score that the recipe asks for was not made yet",
    Rule.PERCENTILE: "less usual than is asked for",
    Rule.NSFW: "likely not safe for work",
    Rule.WATERMARK: "a watermark is too probable",
    Rule.LABEL: "by its labels",
    Rule.CATEGORY: "its category is not among those asked for",
    Rule.NEAR_DUPLICATE: "a better copy of the same picture is in",
}


class NothingChosen(PersonNeeded):
    """A recipe leaves no image."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What was chosen: `plan` is a Parquet file of `PLANNED` and `PLACE` in the release's order, of `images` rows.

    `dropped` counts, by rule, the images that passed the gate and are not in; `connection` has the table `judged` of
    all of them (`blake2b`, `archive`, `rule`, and the plan's columns).
    """

    plan: Path
    images: int
    dropped: Mapping[str, int]
    connection: duckdb.DuckDBPyConnection


@contextmanager
def choose(recipe: Recipe, inputs: Inputs, scratch: Path, *, memory: str = "1GB") -> Iterator[Chosen]:
    """Choose the images; what is yielded may be used until the context is left. Raises `NothingChosen`.

    `memory` bounds DuckDB; on the disk, `scratch` takes some 700 bytes for each image that passed the gate.
    """
    with connect(scratch / "selection.duckdb", memory=memory) as connection:
        for name, select in inputs.relations.items():
            connection.execute(f"CREATE TEMP VIEW {name} AS {select}")
        _block(connection, inputs)
        hold_out(connection, recipe)
        _judge(connection, recipe, inputs)
        if recipe.near_duplicates is NearDuplicates.ONE:
            _keep_one_of_each_group(connection)
        counts = connection.execute("SELECT rule, count(*) FROM judged GROUP BY rule ORDER BY rule").fetchall()
        dropped = {rule: count for rule, count in counts if rule is not None}
        images = sum(count for rule, count in counts if rule is None)
        if not images:
            why = ", ".join(f"{rule} {count}" for rule, count in dropped.items()) or "no archive has any image"
            raise NothingChosen(f"{recipe.name}: the recipe leaves no image. Dropped: {why}.")
        plan = scratch / "plan.parquet"
        columns = ", ".join(name for schema in (PLANNED, PLACE) for name in schema.names)
        connection.execute(
            f"""COPY (SELECT {columns} FROM judged WHERE rule IS NULL ORDER BY md5($order || blake2b), blake2b)
            TO {quoted(str(plan))} (FORMAT parquet, ROW_GROUP_SIZE {_PLAN_ROWS})""",
            {"order": f"imgmine order {recipe.seed} "},
        )
        yield Chosen(plan, images, MappingProxyType(dropped), connection)


def _block(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> None:
    """Make the table `blocked`: the digests of what is taken down, by name or by a rule of the log."""
    connection.execute("CREATE TEMP TABLE blocked (blake2b BLOB)")
    _insert(connection, "blocked", sorted(inputs.takedown.blocked))
    rules = inputs.takedown.rules
    if rules == Rules():
        return
    # The rules are asked one row after the other; there are some only until the take-down has been applied.
    cursor = connection.cursor()
    cursor.execute(f"CREATE TEMP VIEW all_files AS {inputs.relations['files']}")
    rows = cursor.execute("SELECT blake2b, url, media_id, md5, sha1, sha256 FROM all_files")
    while batch := rows.fetchmany(_BATCH):
        found = [
            blake2b
            for blake2b, url, media_id, *hashes in batch
            if rules.names(url, media_id) or rules.has_hash(*hashes)
        ]
        _insert(connection, "blocked", found)


def hold_out(connection: duckdb.DuckDBPyConnection, recipe: Recipe) -> None:
    """Make the table `held_out`: the files that the recipe holds out by name."""
    connection.execute("CREATE TEMP TABLE held_out (blake2b BLOB)")
    _insert(connection, "held_out", list(recipe.holdout.hashes))


def _insert(connection: duckdb.DuckDBPyConnection, table: str, digests: list[bytes]) -> None:
    if digests:
        connection.register("given", pa.table({"blake2b": pa.array(digests, pa.binary())}))
        connection.execute(f"INSERT INTO {table} SELECT blake2b FROM given")
        connection.unregister("given")


def _judge(connection: duckdb.DuckDBPyConnection, recipe: Recipe, inputs: Inputs) -> None:
    """Make the table `judged`, some archives at a time: joins of all tables at once would not fit into the memory."""
    batches = inputs.batches(_ROWS_AT_ONCE)
    numbers = [(archive, number) for number, batch in enumerate(batches) for archive in batch]
    archives, of_batch = zip(*numbers, strict=True) if numbers else ((), ())
    connection.register(
        "given", pa.table({"archive": pa.array(archives, pa.string()), "batch": pa.array(of_batch, pa.int32())})
    )
    # A number, since DuckDB finds rows by the range of their numbers, and archives' names begin alike.
    connection.execute("""
    CREATE TABLE owned AS SELECT given.batch, ownership.archive, ownership.blake2b
    FROM ownership JOIN given ON given.archive = ownership.archive ORDER BY given.batch
    """)
    connection.unregister("given")
    for number, batch in enumerate(batches or [()]):
        with_batch = ", ".join(f"{table} AS ({select})" for table, select in inputs.relations_of(batch).items())
        verb = "INSERT INTO judged" if number else "CREATE TABLE judged AS"
        owned = f"ownership AS (SELECT archive, blake2b FROM owned WHERE batch = {number})"
        connection.execute(f"{verb} WITH {with_batch}, {owned} {_judged(recipe)}", rule_parameters(recipe))
    connection.execute("DROP TABLE owned")


def rule_parameters(recipe: Recipe) -> dict[str, object]:
    """Return the parameters of `held_out_sql`."""
    # A digest of the seed and the file, so that a file is held out in every version or in none.
    return {
        "salt": f"imgmine holdout {recipe.holdout.seed} ",
        "held_below": format(int(recipe.holdout.share * 2**64), "016x"),
    }


def held_out_sql(blake2b: str) -> str:
    """Return the SQL that tells whether a share of all files has this one, by its digest in hexadecimal."""
    return f"left(md5($salt || {blake2b}), 16) < $held_below"


def _judged(recipe: Recipe) -> str:
    shard, offset, size, extension = (
        ("files.shard", "files.shard_offset", "files.size", "files.extension")
        if recipe.content is Content.ORIGINALS
        else ("images.preview_shard", "images.preview_offset", "images.preview_size", "'jpg'")
    )
    held = held_out_sql("lower(hex(files.blake2b))")
    # Whoever looks like what is held out is held out too: else a test would be of pictures that were trained on.
    groups, group = "", "CAST(NULL AS BLOB)"
    if recipe.near_duplicates is NearDuplicates.ONE:
        group = "near_duplicates.kept_blake2b"
        groups = f"""
        LEFT JOIN near_duplicates ON near_duplicates.blake2b = files.blake2b
        LEFT JOIN (
            SELECT DISTINCT kept_blake2b FROM near_duplicates
            WHERE {held_out_sql("lower(hex(blake2b))")} OR blake2b IN (FROM held_out)
        ) held_groups ON held_groups.kept_blake2b = near_duplicates.kept_blake2b"""
        held += " OR held_groups.kept_blake2b IS NOT NULL"
    return f"""
    SELECT
        lower(hex(files.blake2b)) AS blake2b, files.archive, files.url, files.captured_at, files.warc_file,
        files.warc_offset, files.warc_length, files.media_id, files.last_modified,
        images.width AS original_width, images.height AS original_height, images.format AS original_format,
        files.size AS original_size, lower(hex(files.md5)) AS md5, lower(hex(files.sha1)) AS sha1,
        lower(hex(files.sha256)) AS sha256, lower(hex(files.video_blake2b)) AS still_of, files.frame_time,
        images.exif_copyright AS copyright, anomaly_scores.percentile, nsfw_scores.probability AS nsfw,
        watermark_scores.probability AS watermark,
        CASE WHEN categories.decision = 'named' THEN categories.category END AS category,
        categories.probability AS category_probability, CAST(labelled.labels AS VARCHAR) AS labels,
        {extension} AS extension, {shard} AS source_shard, {offset} AS source_offset, {size} AS source_size,
        {group} AS kept_blake2b,
        CASE
            WHEN files.blake2b IN (FROM blocked) OR files.video_blake2b IN (FROM blocked) THEN '{Rule.TAKEN_DOWN}'
            WHEN {held} OR files.blake2b IN (FROM held_out) THEN '{Rule.HOLDOUT}'
            {_rules(recipe)}
        END AS rule
    FROM files
    JOIN ownership ON ownership.archive = files.archive AND ownership.blake2b = files.blake2b
    JOIN images ON images.archive = files.archive AND images.blake2b = files.blake2b
    LEFT JOIN anomaly_scores
        ON anomaly_scores.archive = files.archive AND anomaly_scores.blake2b = files.blake2b
    LEFT JOIN nsfw_scores ON nsfw_scores.archive = files.archive AND nsfw_scores.blake2b = files.blake2b
    LEFT JOIN watermark_scores
        ON watermark_scores.archive = files.archive AND watermark_scores.blake2b = files.blake2b
    LEFT JOIN categories ON categories.archive = files.archive AND categories.blake2b = files.blake2b
    LEFT JOIN (
        SELECT archive, blake2b,
            map_from_entries(list((label, round(probability::DOUBLE, 4)) ORDER BY label)) AS chances,
            to_json(chances) AS labels
        FROM probe_scores GROUP BY archive, blake2b
    ) labelled ON labelled.archive = files.archive AND labelled.blake2b = files.blake2b
    {groups}
    WHERE images.decision = 'kept'
    """


def rules_of_samples(recipe: Recipe) -> str:
    """Return a SELECT of `blake2b` and `rule`: which rule drops each row of the table `samples`, by what it says.

    The table's columns are `PLANNED`'s; groups and take-downs are not asked. It needs `hold_out`'s table.
    """
    return f"""
    SELECT blake2b, CASE
        WHEN {held_out_sql("blake2b")} OR unhex(blake2b) IN (FROM held_out) THEN '{Rule.HOLDOUT}'
        {_rules(recipe)}
    END AS rule
    FROM (SELECT
        blake2b, {{video_blake2b: still_of}} AS files,
        {{width: original_width, height: original_height, format: original_format}} AS images,
        {{percentile: percentile}} AS anomaly_scores, {{probability: nsfw}} AS nsfw_scores,
        {{probability: watermark}} AS watermark_scores,
        {{chances: CAST(CAST(labels AS JSON) AS MAP(VARCHAR, DOUBLE))}} AS labelled,
        {{
            decision: CASE WHEN category IS NULL THEN 'uncertain' ELSE 'named' END,
            category: CASE WHEN category_probability IS NOT NULL THEN coalesce(category, '') END
        }} AS categories
    FROM samples)"""


def _rules(recipe: Recipe) -> str:
    """Return the branches of the recipe's own rules; a score that is missing is told as that."""
    select = recipe.select
    branches: list[tuple[str, Rule]] = []
    if not select.stills:
        branches.append(("files.video_blake2b IS NOT NULL", Rule.STILL))
    if select.formats:
        branches.append((f"images.format NOT IN ({', '.join(map(quoted, select.formats))})", Rule.FORMAT))
    if select.side_at_least is not None:
        branches.append((f"least(images.width, images.height) < {select.side_at_least}", Rule.SIZE))
    if select.side_at_most is not None:
        branches.append((f"greatest(images.width, images.height) > {select.side_at_most}", Rule.SIZE))
    scored: list[tuple[str, str, Rule]] = []
    if select.percentile_at_least is not None:
        percentile = "anomaly_scores.percentile"
        scored.append((percentile, f"{percentile} < {select.percentile_at_least!r}", Rule.PERCENTILE))
    for table, below, rule in (
        ("nsfw_scores", select.nsfw_below, Rule.NSFW),
        ("watermark_scores", select.watermark_below, Rule.WATERMARK),
    ):
        if below is not None:
            scored.append((f"{table}.probability", f"{table}.probability >= {below!r}", rule))
    for labels, operator in ((select.labels, "<"), (select.without_labels, ">=")):
        for label, probability in labels.items():
            chance = f"labelled.chances[{quoted(label)}]"
            scored.append((chance, f"{chance} {operator} {probability!r}", Rule.LABEL))
    if select.categories:
        named = ", ".join(map(quoted, select.categories))
        outside = f"categories.decision <> 'named' OR categories.category NOT IN ({named})"
        scored.append(("categories.category", outside, Rule.CATEGORY))
    branches += [(f"{value} IS NULL", Rule.NOT_SCORED) for value, _, _ in scored]
    branches += [(condition, rule) for _, condition, rule in scored]
    return "\n".join(f"WHEN {condition} THEN '{rule}'" for condition, rule in branches)


def _keep_one_of_each_group(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop all but one of each group: the kept one, or, where a rule has dropped that, the largest that is left.

    Of those as large as it, that of the earliest archive.
    """
    connection.execute(f"""
    UPDATE judged SET rule = '{Rule.NEAR_DUPLICATE}' FROM (
        SELECT blake2b FROM judged LEFT JOIN archives USING (archive)
        WHERE rule IS NULL AND kept_blake2b IS NOT NULL
        QUALIFY row_number() OVER (
            PARTITION BY kept_blake2b
            ORDER BY blake2b = lower(hex(kept_blake2b)) DESC, original_width::BIGINT * original_height DESC,
                archives.publicdate NULLS LAST, archive, blake2b
        ) > 1
    ) AS lesser WHERE judged.blake2b = lesser.blake2b
    """)
