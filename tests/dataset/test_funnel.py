from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from imgmine.dataset.funnel import FUNNEL_SQL, FunnelCount, check_funnel, check_judgement, count_funnel
from imgmine.dataset.relations import connect
from imgmine.decisions import ImageDecision, RecordDecision, WatermarkDecision
from tests.dataset.small_store import Entry, digest, tables_of

ENTRIES = [
    Entry("one"),
    Entry("two", gate=ImageDecision.SIZE),
    Entry("three", percentile=1),
    Entry("clip", media_type="video/mp4"),
    Entry("one", RecordDecision.DUPLICATE),
    Entry("less", RecordDecision.LESSER_COPY),
    Entry("page", RecordDecision.NO_MEDIA),
]

Tables = dict[str, pa.Table]


def check(tables: Tables) -> list[str]:
    problems = check_funnel(
        tables["records"],
        tables["files"],
        tables.get("images"),
        tables.get("embeddings"),
        tables.get("anomaly_scores"),
    )
    return [problem.stage for problem in problems]


def changed(table: pa.Table, row: int, **values: object) -> pa.Table:
    rows = table.to_pylist()
    rows[row].update(values)
    return pa.Table.from_pylist(rows, table.schema)


def without(table: pa.Table, row: int) -> pa.Table:
    return table.filter(pa.array([number != row for number in range(len(table))]))


def twice(table: pa.Table) -> pa.Table:
    return pa.concat_tables([table, table.slice(0, 1)])


def row_of(table: pa.Table, column: str, value: object) -> int:
    return int(pc.index(table[column], pa.scalar(value, table.schema.field(column).type)).as_py())


def test_tables_that_follow_from_each_other_have_no_problem() -> None:
    tables = tables_of("a", ENTRIES)
    for stages in (["records", "files"], ["records", "files", "images"], list(tables)):
        assert check({name: tables[name] for name in stages}) == []


def test_an_archive_without_anything_has_no_problem() -> None:
    assert check(tables_of("a", [])) == []


def test_counts_are_by_decision_in_order_of_the_stages() -> None:
    tables = tables_of("a", ENTRIES)
    counts = count_funnel("a", tables["records"], tables["files"], tables["images"], tables["anomaly_scores"])
    assert counts == [
        FunnelCount("a", "records", "kept", 4),
        FunnelCount("a", "records", "duplicate", 1),
        FunnelCount("a", "records", "lesser_copy", 1),
        FunnelCount("a", "records", "no_media", 1),
        FunnelCount("a", "files", "picture", 3),
        FunnelCount("a", "files", "still", 1),
        FunnelCount("a", "files", "video", 1),
        FunnelCount("a", "images", "kept", 3),
        FunnelCount("a", "images", "size", 1),
        FunnelCount("a", "scores", "kept", 2),
        FunnelCount("a", "scores", "anomalous", 1),
    ]
    assert {count.stage for count in count_funnel("a", tables["records"], tables["files"])} == {"records", "files"}


def test_the_statement_over_all_archives_counts_the_same() -> None:
    expected = []
    with connect() as connection:
        both = {archive: tables_of(archive, entries) for archive, entries in (("a", ENTRIES), ("b", ENTRIES[2:5]))}
        for name in ("records", "files", "images", "anomaly_scores"):
            parts = [
                tables[name].select([column for column in tables[name].column_names if column != "archive"])
                .append_column("archive", pa.array([archive] * len(tables[name]), pa.string()))
                for archive, tables in both.items()
            ]  # fmt: skip
            connection.register(name, pa.concat_tables(parts))
        found = [FunnelCount(*row) for row in connection.execute(FUNNEL_SQL).fetchall()]
    for archive, tables in both.items():
        expected += count_funnel(
            archive, tables["records"], tables["files"], tables["images"], tables["anomaly_scores"]
        )
    assert sorted(found) == sorted(expected)


FAULTS: dict[str, tuple[str, Callable[[Tables], Tables]]] = {
    "a kept record without its file": (
        "records",
        lambda t: {**t, "files": without(t["files"], row_of(t["files"], "blake2b", digest("two")))},
    ),
    "a file without its record": ("records", lambda t: {**t, "records": without(t["records"], 0)}),
    "a record of another file": ("records", lambda t: {**t, "records": changed(t["records"], 0, blake2b=bytes(32))}),
    "a record kept without a digest": ("records", lambda t: {**t, "records": changed(t["records"], 0, blake2b=None)}),
    "a dropped record with a digest": (
        "records",
        lambda t: {**t, "records": changed(t["records"], 6, blake2b=bytes(32))},
    ),
    "an unknown decision": ("records", lambda t: {**t, "records": changed(t["records"], 6, decision="lost")}),
    "a duplicate of nothing": ("records", lambda t: {**t, "records": changed(t["records"], 4, blake2b=bytes(32))}),
    "a file twice": ("files", lambda t: {**t, "files": twice(t["files"])}),
    "a still without its video": (
        "files",
        lambda t: {
            **t,
            "files": changed(t["files"], row_of(t["files"], "video_blake2b", digest("clip")), video_blake2b=bytes(32)),
        },
    ),
    "a still that is no picture": (
        "files",
        lambda t: {
            **t,
            "files": changed(t["files"], row_of(t["files"], "video_blake2b", digest("clip")), media_type="video/mp4"),
        },
    ),
    "a picture that the gate never saw": ("images", lambda t: {**t, "images": without(t["images"], 1)}),
    "an image from nowhere": ("images", lambda t: {**t, "images": changed(t["images"], 1, blake2b=bytes(32))}),
    "an image twice": ("images", lambda t: {**t, "images": twice(t["images"])}),
    "a verdict that is none": ("images", lambda t: {**t, "images": changed(t["images"], 1, decision="fine")}),
    "an image without its vector": ("embeddings", lambda t: {**t, "embeddings": without(t["embeddings"], 0)}),
    "a vector of a dropped image": (
        "embeddings",
        lambda t: {**t, "embeddings": changed(t["embeddings"], 0, blake2b=digest("two"))},
    ),
    "a vector without its score": ("scores", lambda t: {**t, "anomaly_scores": without(t["anomaly_scores"], 0)}),
    "a score without its vector": ("scores", lambda t: {**t, "anomaly_scores": twice(t["anomaly_scores"])}),
    "a score's decision that is none": (
        "scores",
        lambda t: {**t, "anomaly_scores": changed(t["anomaly_scores"], 0, decision="good")},
    ),
}


@pytest.mark.parametrize(("stage", "plant"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found_in_its_stage(stage: str, plant: Callable[[Tables], Tables]) -> None:
    assert stage in check(plant(tables_of("a", ENTRIES)))


def test_a_problem_says_what_and_how_many() -> None:
    tables = tables_of("a", ENTRIES)
    problems = check_funnel(tables["records"], tables["files"], tables["images"].slice(0, 2))
    assert ("images", "pictures and stills in files that are not among the images", 2) in [
        (problem.stage, problem.message, problem.rows) for problem in problems
    ]


def test_a_table_beside_the_funnel_has_one_row_for_each_vector_and_decisions_of_its_list() -> None:
    tables = tables_of("a", ENTRIES)
    marks, vectors = tables["watermark_scores"], tables["embeddings"]
    assert check_judgement("watermark_scores", marks, vectors, WatermarkDecision) == []
    fewer = check_judgement("watermark_scores", without(marks, 0), vectors, WatermarkDecision)
    assert {found.stage for found in fewer} == {"watermark_scores"}
    assert any("embeddings that are not among the watermark_scores" in found.message for found in fewer)
    strange = check_judgement("watermark_scores", changed(marks, 0, decision="odd"), vectors, WatermarkDecision)
    assert [found.rows for found in strange] == [1]
