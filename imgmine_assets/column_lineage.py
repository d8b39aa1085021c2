"""Column lineage as Dagster shows it: of the published tables as they are declared, of dbt's reports from their SQL.

Where a column comes from is `imgmine.dataset.column_origins`'; which asset has a table is here.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import dagster as dg

from imgmine.dataset.column_origins import COLUMN_ORIGINS, WARC

# The asset that publishes a table, where it has another name, and the tables that are the asset's first: columns of
# other tables of an asset are shown as `table.column`.
_PUBLISHED_BY = {
    WARC: "raw_archives",
    "records": "unique_files",
    "files": "unique_files",
    "ownership": "dataset",
    "archives": "dataset",
    **dict.fromkeys(["funnel", "population", "accumulation", "models", "blocked"], "dataset_statistics"),
}
_MAIN = {"files", "ownership", "funnel", WARC}

_Schema = Mapping[str, Mapping[str, str]]


def lineage_of(table: str) -> dict[str, Any]:
    """Return the metadata that says where the columns of a published table come from; none where it is not declared."""
    if table not in COLUMN_ORIGINS:
        return {}
    return _metadata({column: _through(table, froms) for column, froms in COLUMN_ORIGINS[table].items()})


def _through(table: str, origins: Iterable[str]) -> list[str]:
    """Return the origins in other assets: what is of the same asset is followed to what that is made of."""
    found: dict[str, None] = {}
    for origin in origins:
        other, _, column = origin.partition(".")
        if _asset(other) != _asset(table):
            found[origin] = None
        else:
            found |= dict.fromkeys(_through(table, COLUMN_ORIGINS[other][column]))
    return list(found)


def _asset(table: str) -> str:
    return _PUBLISHED_BY.get(table, table)


def report_lineage(sql: str, columns: _Schema) -> dict[str, Any]:
    """Return the metadata that says where the columns of a report come from.

    `sql` is what dbt has compiled; `columns` are those of each table of the warehouse, with their types.
    """
    return _metadata(_columns_of(sql, tuple((name, *found.items()) for name, found in sorted(columns.items()))))


@cache
def _columns_of(sql: str, tables: tuple[Any, ...]) -> dict[str, list[str]]:
    # Imported here: it takes a second, which loading the graph should not.
    from sqlglot import exp, parse_one
    from sqlglot.lineage import lineage
    from sqlglot.optimizer import build_scope
    from sqlglot.optimizer.qualify import qualify

    schema: dict[str, object] = {name: dict(columns) for name, *columns in tables}
    query = parse_one(sql, dialect="duckdb")
    for table in query.find_all(exp.Table):
        # dbt's name of the database is another one in each run.
        table.set("catalog", None)
        table.set("db", None)
    query = qualify(query, dialect="duckdb", schema=schema, validate_qualify_columns=False, identify=False)
    assert isinstance(query, exp.Query)
    scope = build_scope(query)
    found = {}
    for column in query.named_selects:
        nodes = lineage(column, query, schema, dialect="duckdb", scope=scope).walk()
        read = [node for node in nodes if not node.downstream and isinstance(node.source, exp.Table)]
        found[column] = sorted({f"{node.source.name}.{exp.to_column(node.name).name}" for node in read})
    return found


def _metadata(origins: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    deps = {column: [_dep(origin) for origin in froms] for column, froms in origins.items()}
    return {"dagster/column_lineage": dg.TableColumnLineage(deps)}


def _dep(origin: str) -> dg.TableColumnDep:
    table, _, column = origin.partition(".")
    main = table in _MAIN or table not in _PUBLISHED_BY
    return dg.TableColumnDep(dg.AssetKey(_asset(table)), column if main else origin)
