"""Column lineage: it is declared for every published column, and a materialization has it."""

import dagster as dg
import pytest

from imgmine.dataset.column_origins import COLUMN_ORIGINS, WARC
from imgmine.dataset.relations import ARCHIVE_TABLES, DATASET_TABLES
from imgmine.store.tables import LABELS
from imgmine_assets.column_lineage import lineage_of, report_lineage
from tests.graph.conftest import MinedDemo

SCHEMAS = {**ARCHIVE_TABLES, **DATASET_TABLES}


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_column_says_where_it_comes_from(table: str) -> None:
    assert {*COLUMN_ORIGINS[table]} == {*SCHEMAS[table].names}
    columns = {name: {*schema.names} for name, schema in {**SCHEMAS, "labels": LABELS}.items()}
    for froms in COLUMN_ORIGINS[table].values():
        for origin in froms:
            other, _, column = origin.partition(".")
            assert other == WARC or column in columns[other], origin


def deps(metadata: dict[str, object], column: str) -> set[tuple[str, str]]:
    found = metadata["dagster/column_lineage"]
    lineage = getattr(found, "value", found)
    assert isinstance(lineage, dg.TableColumnLineage)
    return {(dep.asset_key.to_user_string(), dep.column_name) for dep in lineage.deps_by_column[column]}


def test_within_an_asset_a_column_is_followed_to_what_other_assets_have() -> None:
    files = lineage_of("files")
    assert deps(files, "url") == {("raw_archives", "WARC-Target-URI")}
    assert deps(files, "blake2b") == {("raw_archives", "payload")}
    assert deps(lineage_of("ownership"), "archive") == {("unique_files", "blake2b"), ("raw_archives", "publicdate")}
    assert lineage_of("a table that is not declared") == {}


def test_a_report_says_which_columns_its_sql_reads() -> None:
    sql = """
    with sizes as (
        select archive, sum(size) filter (media_type = 'image/png') as bytes from "db"."main"."files" group by archive
    )
    select archive, bytes / n as mean, count(*) as rows
    from sizes inner join "db"."main"."funnel" using (archive) group by all
    """
    files = dict.fromkeys(["archive", "size", "media_type"], "VARCHAR")
    found = report_lineage(sql, {"files": files, "funnel": {"archive": "VARCHAR", "n": "BIGINT"}})
    assert deps(found, "archive") == {("unique_files", "archive"), ("dataset_statistics", "archive")}
    assert deps(found, "mean") == {
        ("unique_files", "size"),
        ("unique_files", "media_type"),
        ("dataset_statistics", "n"),
    }
    assert deps(found, "rows") == set()


def test_what_is_materialized_has_it(mined: MinedDemo) -> None:
    def latest(asset: str) -> dict[str, object]:
        made = mined.work.instance.get_latest_materialization_event(dg.AssetKey(asset))
        assert made is not None
        assert made.asset_materialization is not None
        return dict(made.asset_materialization.metadata)

    assert deps(latest("unique_files"), "captured_at") == {("raw_archives", "WARC-Date")}
    assert deps(latest("embeddings"), "blake2b") == {("images", "blake2b")}
    assert deps(latest("dataset"), "copies") == {("unique_files", "blake2b")}
    assert ("images", "decision") in deps(latest("dataset_statistics"), "decision")
    assert deps(latest("resolutions"), "orientation") == {("images", "width"), ("images", "height")}
    # One report reads another.
    assert deps(latest("decision_drift"), "mean_share") == {("decisions_by_archive", "share_of_stage")}
    schema = latest("formats")["dagster/column_schema"].value  # type: ignore[attr-defined]
    assert {column.name: (column.type, bool(column.description)) for column in schema.columns}["bytes"] == (
        "BIGINT",
        True,
    )
