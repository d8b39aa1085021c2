"""Comparing two versions that exist, neighbours or not: each reason is one that is true of the later of the two.

What went has the reason that the later version has kept of it. A version that was made before versions kept any has
only its diff to the one before: of what that does not tell, the log of take-downs as it was, the recipe, and what the
earlier version says of the file tell as much as cannot have changed.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from imgmine.dataset.relations import connect, parquet_source, quoted
from imgmine.dataset.releases.diff import (
    GONE,
    IN_VERSION,
    PUBLISHED,
    Diff,
    load_images,
    load_names,
    local_samples,
    reason_sql,
    summed,
    taken_out_of,
)
from imgmine.dataset.releases.recipe import Recipe, Selection, parse_recipe
from imgmine.dataset.releases.release import Release, ReleaseRefused, list_versions, number_of, read_release
from imgmine.dataset.releases.samples import PLANNED
from imgmine.dataset.releases.selection import hold_out, rule_parameters, rules_of_samples
from imgmine.dataset.takedown_log import NO_ENTRY, Entry, Rules, TakedownLog, named_digests, read_log
from imgmine.store.base import NotInStore, Store

_SCORED = {
    "percentile_at_least": "anomaly_scores",
    "nsfw_below": "nsfw_scores",
    "watermark_below": "watermark_scores",
    "labels": "probe_scores",
    "without_labels": "probe_scores",
    "categories": "categories",
}
_ROWS_AT_ONCE = 50_000


def diff_between(store: Store, before: str, after: str, scratch: Path) -> Diff:
    """Compare two versions that exist. Raises `NoSuchRelease`, and `ReleaseRefused` where `after` is not the later."""
    if number_of(before) >= number_of(after):
        raise ReleaseRefused(f"{before} is not before {after}: give the earlier version first.")
    former, later = read_release(store, before), read_release(store, after)
    recipe = parse_recipe(later.recipe, f"the recipe of {after}")
    log = read_log(store)
    scratch.mkdir(parents=True, exist_ok=True)
    with connect(scratch / "diff.duckdb") as connection:
        load_images(connection, "former", store, former, scratch / "former")
        load_images(connection, "later", store, later, scratch / "later")
        load_names(connection, "taken", taken_out_of(store, before))
        load_names(connection, "taken_later", taken_out_of(store, after))
        load_names(connection, "blocked_since", sorted(digest.hex() for digest in log.blocked))
        load_names(connection, "archives_then", former.inputs["tables"]["files"])
        load_names(connection, "archives_chosen", later.inputs["tables"]["files"])
        is_recorded = _load_recorded(connection, store, former, later, scratch)
        _find_changes(connection, recipe, former, later, is_recorded=is_recorded)
        log_then = _log_at(log, later.inputs["takedown_head"])
        log_before = _log_at(log, former.inputs["takedown_head"])
        _find_undone(connection, store, later, len(log_before.entries), log_then, scratch / "undone")
        certain = _with_certain_rules(recipe, former, later)
        _judge_again(connection, store, former, certain, log_then, scratch / "again")
        _give_reasons(connection, recipe, changed_recipe=former.inputs["recipe"] != later.inputs["recipe"])
        now, then = (set(release.inputs["tables"]["files"]) for release in (later, former))
        return summed(connection, former, after, later.recipe, later.images, now - then, then - now, scratch)


def _load_recorded(
    connection: duckdb.DuckDBPyConnection, store: Store, former: Release, later: Release, scratch: Path
) -> bool:
    """Make the tables `told`, of what the diffs from the earlier version on told, and `gone`, the later one's record.

    Returns whether the record is of all that went: it says nothing of an image where the earlier version is none of
    those that the later one was made after.
    """
    connection.execute("CREATE TABLE told (number INTEGER, blake2b VARCHAR, change VARCHAR, reason VARCHAR)")
    formers: dict[str | None, str | None] = {}
    for version in list_versions(store):
        if number_of(former.version) < number_of(version) <= number_of(later.version):
            release = read_release(store, version)
            formers[version] = release.former
            _load_told(connection, store, release, scratch / "told")
    connection.execute("CREATE TABLE gone (blake2b VARCHAR, cause VARCHAR)")
    record = _local_document(store, later, GONE, scratch / "gone")
    if record is not None:
        connection.execute(f"INSERT INTO gone SELECT blake2b, cause FROM {parquet_source(record)}")
    first: str | None = later.version
    while first in formers:
        first = formers[first]
    return record is not None and first == former.version


def _find_changes(
    connection: duckdb.DuckDBPyConnection, recipe: Recipe, former: Release, later: Release, *, is_recorded: bool
) -> None:
    """Make the table `found` of what came and what went, with the reason where one is recorded."""
    connection.execute(f"""
    CREATE TABLE found AS
    WITH published AS ({PUBLISHED}), own AS (SELECT * FROM told WHERE number = {number_of(later.version)})
    SELECT published.blake2b, archive, 'went' AS change, CASE
        WHEN gone.cause IS NOT NULL THEN {reason_sql("gone.cause", "archive", recipe.archives is None)}
        WHEN own.reason IS NOT NULL THEN own.reason
        WHEN published.blake2b IN (FROM taken_later) OR {is_recorded} THEN 'taken_down'
    END AS reason
    FROM published ANTI JOIN later USING (blake2b)
    LEFT JOIN gone ON gone.blake2b = published.blake2b
    LEFT JOIN own ON own.blake2b = published.blake2b AND own.change = 'went'
    UNION ALL
    SELECT later.blake2b, archive, 'came', CASE WHEN {later.former == former.version} THEN own.reason END
    FROM later ANTI JOIN former USING (blake2b)
    LEFT JOIN own ON own.blake2b = later.blake2b AND own.change = 'came'
    """)


def _give_reasons(connection: duckdb.DuckDBPyConnection, recipe: Recipe, *, changed_recipe: bool) -> None:
    """Make the table `changes`: of what was found, the recorded reason, else the first that is sure to be true."""
    out_by_archive = reason_sql("'file_gone'", "archive", recipe.archives is None)
    connection.execute(f"""
    CREATE TABLE changes AS
    WITH last AS (
        SELECT blake2b, arg_max(change, number) AS change, arg_max(reason, number) AS reason,
            'v' || max(number) AS version
        FROM told GROUP BY blake2b
    )
    SELECT found.blake2b, archive, found.change, CASE
        WHEN found.reason IS NOT NULL THEN found.reason
        WHEN found.change = 'came' THEN CASE
            WHEN found.blake2b IN (FROM undone) THEN 'take_down_undone'
            WHEN found.blake2b IN (FROM taken) THEN 'unknown'
            WHEN archive NOT IN (FROM archives_then) THEN 'new_archive'
            WHEN {changed_recipe} THEN 'recipe'
            ELSE 'tables_changed'
        END
        WHEN again.rule = 'taken_down' THEN again.rule
        WHEN {out_by_archive} <> 'file_gone' THEN {out_by_archive}
        WHEN again.rule IS NOT NULL THEN again.rule
        WHEN last.change = 'went' THEN last.reason || {quoted(IN_VERSION)} || last.version
        WHEN found.blake2b IN (FROM taken) OR found.blake2b IN (FROM blocked_since) THEN 'taken_down'
        ELSE 'unknown'
    END AS reason
    FROM found LEFT JOIN last ON last.blake2b = found.blake2b LEFT JOIN again ON again.blake2b = found.blake2b
    """)


def _load_told(connection: duckdb.DuckDBPyConnection, store: Store, release: Release, folder: Path) -> None:
    path = _local_document(store, release, "diff.parquet", folder)
    if path is not None:
        connection.execute(
            f"INSERT INTO told SELECT {number_of(release.version)}, blake2b, change, reason FROM {parquet_source(path)}"
        )


def _local_document(store: Store, release: Release, name: str, folder: Path) -> Path | None:
    """Return a local file of one of the release's documents, None where there is none."""
    document = release.documents.get(name)
    try:
        return None if document is None else store.local_copy(document.key, folder)
    except NotInStore:
        return None


def _log_at(log: TakedownLog, head: str) -> TakedownLog:
    """Return the log as it was when this was its head."""
    heads = [NO_ENTRY, *(entry.hash for entry in log.entries)]
    return TakedownLog(log.entries[: heads.index(head)]) if head in heads else log


def _find_undone(
    connection: duckdb.DuckDBPyConnection, store: Store, later: Release, entries: int, log: TakedownLog, folder: Path
) -> None:
    """Make the table `undone` of what the later version has since a take-down was taken back.

    The take-down was among the first `entries` of the log, so that the earlier version was made without the image, or
    took it out of that version. Any other did not keep the image from it.
    """
    undone = [entry for entry in log.entries if (entry.of or entry.number) in log.undone]
    old = [entry for entry in undone if (entry.of or entry.number) <= entries]
    connection.execute("CREATE TABLE undone (blake2b VARCHAR)")
    for table, some, which in (("undone_old", old, "true"), ("undone_any", undone, "name IN (FROM taken)")):
        load_names(connection, table, sorted(digest.hex() for digest in _named(some) - log.blocked))
        connection.execute(f"INSERT INTO undone SELECT name FROM {table} WHERE {which}")
        hashes = [value for entry in some for value in entry.values if value.startswith(("md5:", "sha1:", "sha256:"))]
        if not hashes:
            continue
        load_names(connection, f"{table}_hashes", hashes)
        for paths in local_samples(store, later, folder):
            connection.execute(f"""
            INSERT INTO undone SELECT blake2b FROM (SELECT blake2b, blake2b AS name, md5, sha1, sha256
            FROM {parquet_source(*paths)}) WHERE {which} AND ('md5:' || md5 IN (FROM {table}_hashes)
                OR 'sha1:' || sha1 IN (FROM {table}_hashes) OR 'sha256:' || sha256 IN (FROM {table}_hashes))
            """)


def _named(entries: Iterable[Entry]) -> frozenset[bytes]:
    return frozenset(digest for entry in entries for digest in (*entry.resolved, *named_digests(entry.values)))


def _with_certain_rules(recipe: Recipe, former: Release, later: Release) -> Recipe:
    """Return the recipe without the rules of scores that may have changed between the versions."""
    then, now = former.inputs["tables"], later.inputs["tables"]
    both = set(then["files"]) & set(now["files"])
    changed = {
        table for table in _SCORED.values() if any(then[table].get(name) != now[table].get(name) for name in both)
    }
    nothing = Selection()
    without: dict[str, Any] = {key: getattr(nothing, key) for key, table in _SCORED.items() if table in changed}
    return replace(recipe, select=replace(recipe.select, **without))


def _judge_again(
    connection: duckdb.DuckDBPyConnection,
    store: Store,
    former: Release,
    recipe: Recipe,
    log: TakedownLog,
    folder: Path,
) -> None:
    """Make the table `again`: which rule drops what went without a recorded reason, by what the earlier version says.

    Of what is out of that too, the log alone is asked.
    """
    connection.execute("CREATE TABLE open AS SELECT blake2b FROM found WHERE change = 'went' AND reason IS NULL")
    samples = pa.table({field.name: pa.array([], field.type) for field in PLANNED})
    connection.register("given", samples)
    connection.execute("CREATE TABLE samples AS FROM given")
    connection.unregister("given")
    if connection.execute("SELECT 1 FROM open LIMIT 1").fetchall():
        for paths in local_samples(store, former, folder):
            columns = ", ".join(PLANNED.names)
            connection.execute(
                f"INSERT INTO samples SELECT {columns} FROM {parquet_source(*paths)} SEMI JOIN open USING (blake2b)"
            )
    load_names(connection, "blocked", sorted(_blocked(connection, log)))
    hold_out(connection, recipe)
    connection.execute(
        f"""
        CREATE TABLE again AS SELECT open.blake2b, CASE
            WHEN open.blake2b IN (FROM blocked) OR samples.still_of IN (FROM blocked) THEN 'taken_down'
            ELSE ruled.rule
        END AS rule
        FROM open LEFT JOIN samples USING (blake2b)
        LEFT JOIN ({rules_of_samples(recipe)}) AS ruled USING (blake2b)
        """,
        rule_parameters(recipe),
    )


def _blocked(connection: duckdb.DuckDBPyConnection, log: TakedownLog) -> set[str]:
    """Return what the log blocks: all that it names by BLAKE2b-256, and what its rules name of the samples."""
    blocked = {digest.hex() for digest in log.blocked}
    if log.rules == Rules():
        return blocked
    rows = connection.cursor().execute("SELECT blake2b, url, media_id, md5, sha1, sha256 FROM samples")
    while batch := rows.fetchmany(_ROWS_AT_ONCE):
        for blake2b, url, media_id, *hashes in batch:
            if log.rules.names(url, media_id) or log.rules.has_hash(*map(bytes.fromhex, hashes)):
                blocked.add(blake2b)
    return blocked
