"""The warehouse's tables of how many distinct files there are: `population` and `accumulation`.

The estimators are `population`'s; here they are asked about what the warehouse has, and their answers are written.
"""

import duckdb
import numpy as np
import pyarrow as pa

from imgmine.dataset.population import (
    IMGUR_ARCHIVES,
    Estimate,
    Incidence,
    chao2,
    coverage,
    distinct_in,
    expected_distinct,
    schnabel,
)

POPULATION = pa.schema(
    [
        pa.field("quantity", pa.string(), nullable=False),
        pa.field("archives", pa.int64()),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("method", pa.string(), nullable=False),
    ]
)
ACCUMULATION = pa.schema(
    [
        pa.field("archives", pa.int64(), nullable=False),
        pa.field("expected", pa.float64(), nullable=False),
        pa.field("as_published", pa.int64()),
        pa.field("files", pa.float64(), nullable=False),
    ]
)
_POINTS = 200  # of the curve, up to the archives mined; as many again up to twice those

_COPIES = "SELECT copies, count(*) FROM ownership GROUP BY copies ORDER BY copies"
_ARCHIVES = """
SELECT files, owned FROM archives WHERE files IS NOT NULL ORDER BY publicdate NULLS LAST, archive
"""


def write_population(connection: duckdb.DuckDBPyConnection) -> None:
    """Write both tables from the relations `ownership` and `archives`."""
    mined = connection.execute(_ARCHIVES).fetchall()
    counts = dict(connection.execute(_COPIES).fetchall())
    [known] = connection.execute("SELECT count(*) FROM archives").fetchone() or [0]
    incidence = Incidence(len(mined), counts)
    held, owned = [files for files, _ in mined], [owned for _, owned in mined]
    tables = {
        "population": pa.Table.from_pylist(_population(incidence, held, owned, known), POPULATION),
        "accumulation": pa.Table.from_pylist(_accumulation(incidence, owned), ACCUMULATION),
    }
    for name, rows in tables.items():
        connection.register("rows", rows)
        connection.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM rows")
        connection.unregister("rows")


def _population(incidence: Incidence, held: list[int], owned: list[int], known: int) -> list[dict[str, object]]:
    mined = incidence.archives
    rows = [
        _row("files mined, in every archive that has them", mined, float(incidence.files), "counted"),
        _row("distinct files mined", mined, float(incidence.distinct), "counted"),
    ]
    if mined >= 2:
        rows += [
            _row(
                "share of the files of a further archive that are known", None, coverage(incidence), "Good and Turing"
            ),
            _row("distinct files that archives draw from, at least", None, chao2(incidence), "Chao2"),
            _row("the same, if all were equally likely", None, schnabel(held, owned), "Schnabel"),
        ]
        rows += [
            _row(f"distinct files in {called}, at least", archives, distinct_in(incidence, archives), "Chao and others")
            for called, archives in (("all known archives", known), ("the whole collection", IMGUR_ARCHIVES))
            if archives > mined
        ]
    if mined:
        naive = incidence.files / mined * max(known, IMGUR_ARCHIVES)
        rows.append(
            _row(
                "files in the whole collection, at most",
                max(known, IMGUR_ARCHIVES),
                naive,
                "files an archive × archives",
            )
        )
    return rows


def _row(quantity: str, archives: int | None, found: Estimate | float, method: str) -> dict[str, object]:
    value, low, high = found if isinstance(found, Estimate) else (found, None, None)
    return {"quantity": quantity, "archives": archives, "value": value, "low": low, "high": high, "method": method}


def _accumulation(incidence: Incidence, owned: list[int]) -> list[dict[str, object]]:
    mined = incidence.archives
    if not mined:
        return []
    points = np.unique(np.linspace(0, mined, min(mined, _POINTS) + 1).round().astype(int))
    if mined > 1:
        points = np.concatenate([points, mined + points[1:]])
    expected = expected_distinct(incidence, points)
    so_far = np.concatenate([[0], np.cumsum(owned)])
    return [
        {
            "archives": int(number),
            "expected": float(files),
            "as_published": int(so_far[number]) if number <= mined else None,
            "files": incidence.files / mined * number,
        }
        for number, files in zip(points, expected, strict=True)
    ]
