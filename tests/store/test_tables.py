"""Equal rows and equal provenance give equal Parquet bytes, whatever the rows went through in memory, on any run."""

import hashlib
import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.store import tables
from imgmine.store.tables import Provenance, embeddings_schema, parquet_metadata, to_parquet

ROOT = Path(__file__).parents[2]
MADE_BY = Provenance(stage="unique_files", code_version="7", inputs="abc")
SCHEMAS = {
    "records": tables.RECORDS,
    "files": tables.FILES,
    "images": tables.IMAGES,
    "anomaly_scores": tables.ANOMALY_SCORES,
    "embeddings": embeddings_schema(4),
    **tables.JUDGEMENTS,
}
SCHEMA = pa.schema([pa.field("text", pa.string()), pa.field("number", pa.int64()), pa.field("digest", pa.binary(2))])

rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(max_size=5),
            "number": st.none() | st.integers(-(2**63), 2**63 - 1),
            "digest": st.none() | st.binary(min_size=2, max_size=2),
        }
    ),
    max_size=30,
)


@given(rows, st.lists(st.integers(0, 30), max_size=4))
def test_chunks_and_slices_leave_no_trace(content: list[dict[str, object]], cuts: list[int]) -> None:
    whole = pa.Table.from_pylist(content, SCHEMA)
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    padded = pa.Table.from_pylist([*content, *content], SCHEMA)
    pieces = [padded.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    assert to_parquet(pa.concat_tables(pieces), MADE_BY) == to_parquet(whole, MADE_BY)
    marked = whole.replace_schema_metadata({"pandas": "{}"})
    assert to_parquet(marked, MADE_BY) == to_parquet(whole, MADE_BY)


@given(rows)
def test_rows_and_metadata_come_back(content: list[dict[str, object]]) -> None:
    data = to_parquet(pa.Table.from_pylist(content, SCHEMA), MADE_BY, {"shards": "a\nb"})
    assert pq.read_table(pa.BufferReader(data)).to_pylist() == content
    assert parquet_metadata(data) == {
        "schema_version": tables.SCHEMA_VERSION,
        "imgmine_version": tables.__version__,
        "stage": "unique_files",
        "code_version": "7",
        "inputs": "abc",
        "shards": "a\nb",
    }


def one_row(schema: pa.Schema) -> dict[str, object]:
    """Return a row with a value in every column that must have one, and null in the others."""
    values: dict[str, object] = {
        "blake2b": b"\x01" * 32,
        "md5": b"\x02" * 16,
        "sha1": b"\x03" * 20,
        "sha256": b"\x04" * 32,
        "embedding": [0.5, -0.5, 0.25, 1.0],
    }
    plain = {pa.string(): "x", pa.int64(): 1, pa.float64(): -1.5, pa.float32(): 2.5}
    return {f.name: None if f.nullable else values.get(f.name, plain.get(f.type)) for f in schema}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
@pytest.mark.parametrize("count", [0, 1])
def test_every_published_schema_survives_the_file(schema: pa.Schema, count: int) -> None:
    table = pa.Table.from_pylist([one_row(schema)] * count, schema)
    back = pq.read_table(pa.BufferReader(to_parquet(table, MADE_BY)))
    assert back.schema.remove_metadata() == schema
    assert back.to_pylist() == table.to_pylist()


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_column_has_a_meaning(schema: pa.Schema) -> None:
    assert set(schema.names) <= set(tables.COLUMN_MEANINGS)


def test_another_process_writes_the_same_bytes() -> None:
    script = (
        "import hashlib\n"
        "from tests.store.test_tables import many_rows, MADE_BY\n"
        "from imgmine.store.tables import to_parquet\n"
        "print(hashlib.sha256(to_parquet(many_rows(), MADE_BY)).hexdigest())\n"
    )
    here = hashlib.sha256(to_parquet(many_rows(), MADE_BY)).hexdigest()
    for seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed, "TZ": "Asia/Tokyo"}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == here


def test_reading_leaves_no_thread_that_could_abort_the_process_at_its_end(tmp_path: Path) -> None:
    table = tmp_path / "table.parquet"
    table.write_bytes(to_parquet(many_rows(), MADE_BY))
    script = (
        "import sys; from pathlib import Path; import psutil; from imgmine.store.tables import from_parquet\n"
        "data = Path(sys.argv[1]).read_bytes(); before = psutil.Process().num_threads()\n"
        "print(from_parquet(data).num_rows, from_parquet(data, ['detail']).num_columns)\n"
        "print(psutil.Process().num_threads() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(table)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["150000", "1", "0"]


def many_rows() -> pa.Table:
    """Return more rows than a row group holds."""
    count = 150_000
    when = datetime(2023, 5, 1, tzinfo=UTC)
    return pa.table(
        {
            "blake2b": pa.array([number.to_bytes(32, "big") for number in range(count)], tables.DIGEST),
            "captured_at": pa.array([when] * count, tables.TIME),
            "detail": pa.array([None if number % 3 else f"detail {number % 7}" for number in range(count)]),
        }
    )
