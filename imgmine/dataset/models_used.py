"""Which models the rows of the published tables are of; the warehouse's table `models` says it.

While a model is replaced archive by archive, tables of two lie side by side. Each is right; but scores of two models
are no one distribution, and a rule that goes by them means two things. The tables' metadata tell.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from imgmine.amounts import counted
from imgmine.dataset.relations import UnreadableFile
from imgmine.errors import first_line
from imgmine.models.vectors import embedder_of
from imgmine.store.tables import JUDGEMENTS, key_values

JUDGED_BY: Mapping[str, str] = MappingProxyType(
    {"embeddings": "model", "anomaly_scores": "model", **dict.fromkeys(JUDGEMENTS, "model"), "categories": "categories"}
)
"""The tables that a model fills, and what in their metadata names it: of categories, the digest of the list."""

MODELS = pa.schema(
    [
        pa.field("of_table", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("embedder", pa.string()),
        pa.field("archives", pa.int64(), nullable=False),
    ]
)


class ModelUsed(NamedTuple):
    """How many archives' part of a table is of a model, and of the vectors of which embedder, where it goes by any."""

    of_table: str
    model: str
    embedder: str | None
    archives: int


def models_used(folders: Mapping[str, Path], archives: Collection[str] | None = None) -> list[ModelUsed]:
    """Return what the tables in these local folders, by name, are of: of all archives, or of these.

    Sorted; tables that no model fills are passed over. Raises `UnreadableFile`.
    """
    found = Counter(
        (table, *_used_by(table, path))
        for table, folder in folders.items()
        if table in JUDGED_BY
        for path in folder.glob("*.parquet")
        if archives is None or path.stem in archives
    )
    used = (ModelUsed(*what, count) for what, count in found.items())
    return sorted(used, key=lambda each: (each.of_table, each.model, each.embedder or ""))


def _used_by(table: str, path: Path) -> tuple[str, str | None]:
    try:
        metadata = key_values(pq.read_metadata(path))
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{path} cannot be read ({first_line(error)})") from error
    model = metadata.get(JUDGED_BY[table], "unknown")
    embedder = embedder_of(metadata) if table == "embeddings" and "model" in metadata else metadata.get("embedder")
    return model, embedder


def disagreements(used: Sequence[ModelUsed]) -> list[str]:
    """Return, for people, which tables are of several models or embedders, or else that they differ in embedders."""
    found = []
    for table in dict.fromkeys(each.of_table for each in used):
        parts = [each for each in used if each.of_table == table]
        if len(parts) > 1:
            named = ", ".join(f"{_named(each)} in {counted(each.archives, 'archive')}" for each in parts)
            found.append(f"{table}: {named}")
    embedders = sorted({each.embedder for each in used if each.embedder is not None})
    if len(embedders) > 1 and not found:
        found.append(f"the tables are of vectors of {' and '.join(embedders)}")
    return found


def _named(used: ModelUsed) -> str:
    return used.model if used.embedder in (None, used.model) else f"{used.model} on {used.embedder}"


def write_models(connection: duckdb.DuckDBPyConnection, folders: Mapping[str, Path]) -> None:
    """Write the table `models` of the warehouse."""
    connection.register("rows", pa.Table.from_pylist([each._asdict() for each in models_used(folders)], MODELS))
    connection.execute("CREATE OR REPLACE TABLE models AS SELECT * FROM rows")
    connection.unregister("rows")
