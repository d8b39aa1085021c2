"""What people say of pictures: nothing said is lost, and the last saying holds."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgmine.dataset.labelled import LabelledVectors, labelled_vectors, values_of
from imgmine.dataset.labels import (
    DamagedLabels,
    Label,
    LabelError,
    LabelLog,
    add_labels,
    make_label,
    read_csv,
    read_labels,
)
from imgmine.dataset.publishing import publish_dataset
from imgmine.dataset.relations import UnreadableFile
from imgmine.models.embedder import CODE_VERSION
from imgmine.models.vectors import embeddings_table
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import Provenance, parquet_metadata
from tests.dataset.small_store import CAPTURED, Entry, digest, put_archive

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE, TWO = digest("one"), digest("two")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_nothing_said_is_an_empty_log(store: LocalStore, tmp_path: Path) -> None:
    log = read_labels(store, tmp_path)
    assert (log.values, log.entries, log.counts()) == ({}, 0, {})


def test_the_last_saying_of_a_picture_holds_and_the_log_keeps_all(store: LocalStore, tmp_path: Path) -> None:
    key = add_labels(store, [Label(ONE, "good", True), Label(TWO, "good", True)], by="a", at=NOON)
    first = store.get_bytes(key)
    add_labels(store, [Label(ONE, "good", False)], by="b", at=NOON + timedelta(seconds=1))
    add_labels(store, [Label(TWO, "good", None)], by="b", at=NOON + timedelta(seconds=2))
    log = read_labels(store, tmp_path)
    assert log.values == {"good": {ONE: False}}
    assert log.counts() == {"good": (0, 1)}
    assert log.entries == 4
    assert store.get_bytes(key) == first
    assert parquet_metadata(first)["stage"] == "labels"


def test_what_two_say_at_the_same_moment_is_both_kept_and_the_same_said_twice_is_one(
    store: LocalStore, tmp_path: Path
) -> None:
    add_labels(store, [Label(ONE, "good", True)], by="a", at=NOON)
    before = read_labels(store, tmp_path).digest
    add_labels(store, [Label(ONE, "good", True)], by="a", at=NOON)
    assert read_labels(store, tmp_path).digest == before
    add_labels(store, [Label(TWO, "comics", True)], by="b", at=NOON)
    log = read_labels(store, tmp_path)
    assert (log.entries, log.counts()) == (2, {"comics": (1, 0), "good": (1, 0)})
    assert log.digest != before


def test_labels_that_cannot_be_read_are_named_with_what_to_do(store: LocalStore, tmp_path: Path) -> None:
    key = add_labels(store, [Label(ONE, "good", True)], by="a", at=NOON)
    store.put_bytes(key, store.get_bytes(key)[:50])
    with pytest.raises(DamagedLabels, match=rf"{key} .* Restore it from a backup\."):
        read_labels(store, tmp_path)


SAYINGS = st.tuples(st.sampled_from([ONE, TWO]), st.sampled_from(["good", "a"]), st.sampled_from([True, False, None]))


@settings(deadline=None, max_examples=20)
@given(said=st.lists(SAYINGS, max_size=8))
def test_the_log_says_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[bytes, str, bool | None]]
) -> None:
    folder = tmp_path_factory.mktemp("log")
    store = LocalStore(folder / "store")
    expected: dict[tuple[str, bytes], bool | None] = {}
    for number, (name, word, value) in enumerate(said):
        add_labels(store, [Label(name, word, value)], by="a", at=NOON + timedelta(seconds=number))
        expected[word, name] = value
    found = {
        (word, name): value for word, each in read_labels(store, folder).values.items() for name, value in each.items()
    }
    assert found == {key: value for key, value in expected.items() if value is not None}


def test_bad_is_good_that_does_not_apply() -> None:
    assert make_label(ONE.hex().upper(), "Bad") == Label(ONE, "good", False)
    assert make_label(ONE.hex(), "bad", applies=False) == Label(ONE, "good", True)
    assert make_label(ONE.hex(), "bad", applies=None) == Label(ONE, "good", None)


@pytest.mark.parametrize(
    ("name", "word"), [("abc", "good"), ("0" * 63 + "g", "good"), ("0" * 64, "two words"), ("0" * 64, "")]
)
def test_what_is_no_label_is_refused(name: str, word: str) -> None:
    with pytest.raises(LabelError, match="64"):
        make_label(name, word)


def test_a_csv_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        f"label,blake2b,value\nbad,{ONE.hex()},\ncomics,{TWO.hex()},no\ncomics,{ONE.hex()},none\n", "utf-8-sig"
    )
    assert read_csv(path) == [Label(ONE, "good", False), Label(TWO, "comics", False), Label(ONE, "comics", None)]
    path.write_text(f"blake2b,label,value\n{ONE.hex()},good,yes\nhello,good,yes\n")
    with pytest.raises(LabelError, match=r"labels.csv, line 3: 'hello' is no BLAKE2b.*Nothing was taken"):
        read_csv(path)
    path.write_text(f"blake2b,label,value\n{ONE.hex()},good,perhaps\n")
    with pytest.raises(LabelError, match="'perhaps' is not yes, no or none"):
        read_csv(path)
    path.write_text("hash\n")
    with pytest.raises(LabelError, match="no column blake2b and no column label"):
        read_csv(path)


def test_what_is_of_one_category_is_not_of_the_others_unless_it_was_said() -> None:
    said = {"comics": {ONE: True}, "memes": {TWO: True, ONE: True}, "good": {ONE: True}}
    log = LabelLog(said, 4, "")
    categories = ["comics", "memes", "text"]
    assert values_of(log, "comics", categories) == {ONE: True, TWO: False}
    assert values_of(log, "memes", categories) == {ONE: True, TWO: True}
    assert values_of(log, "good", categories) == {ONE: True}


def put_vectors(store: LocalStore, archive: str, names: Sequence[str], model: str = "m-1", at: int = 0) -> None:
    """Publish the vectors of pictures: of each the unit vector of the dimension `at`."""
    rows = np.tile(np.eye(3, dtype=np.float32)[at], (len(names), 1))
    table = embeddings_table([digest(name) for name in names], rows)
    publish(store, archive, {"embeddings": table}, Provenance("test", CODE_VERSION, "0"), extra={"model": model})


def looked_up(store: LocalStore, scratch: Path, *names: str) -> LabelledVectors:
    said = {digest(name): name == "one" for name in names}
    return labelled_vectors(store, scratch, LabelLog({"good": said}, len(said), ""), "m-1", [])


def test_vectors_are_found_wherever_they_lie_and_only_those_of_the_model(store: LocalStore, tmp_path: Path) -> None:
    for archive, name, row, model in (("a", "one", 0, "m-1"), ("b", "two", 1, "m-1"), ("c", "three", 2, "m-2")):
        put_vectors(store, archive, [name], model, row)
    found = looked_up(store, tmp_path, "one", "two", "three", "nowhere")
    assert list(found.labelled) == ["good"]
    good = found.labelled["good"]
    order = sorted([ONE, TWO])
    assert good.values.tolist() == [name == ONE for name in order]
    assert good.vectors.argmax(axis=1).tolist() == [0 if name == ONE else 1 for name in order]
    assert (good.missing_yes, good.missing_no) == (0, 2)
    assert found.missing == {digest("three"), digest("nowhere")}
    assert found.others == {"m-2": 1}
    nothing = labelled_vectors(store, tmp_path, LabelLog({"good": {}}, 0, ""), "m-1", [])
    assert nothing == LabelledVectors({}, frozenset(), {})


def test_pictures_that_nothing_owns_yet_and_copies_of_an_owners_pictures_are_found(
    store: LocalStore, tmp_path: Path
) -> None:
    put_archive(store, "first", [Entry("one"), Entry("two")], stages=("files",))
    put_archive(store, "second", [Entry("two")], CAPTURED + timedelta(days=1), stages=("files",))
    put_archive(store, "third", [Entry("four")], CAPTURED + timedelta(days=2), stages=("files",))
    assert publish_dataset(store, tmp_path / "mirror", tmp_path).distinct == 3
    # The owner has another model's vectors, a copy's archive has this one's; `later` was mined after all that.
    put_vectors(store, "first", ["one", "two"], "m-2")
    put_vectors(store, "second", ["two"], at=1)
    put_vectors(store, "later", ["three"], at=2)
    # What is not needed is not read: neither an archive of other pictures, nor any other once all is found.
    put_vectors(store, "third", ["four"])
    third = store.get_bytes("embeddings/third.parquet")
    store.put_bytes("embeddings/third.parquet", third[:50])
    found = looked_up(store, tmp_path, "two", "three")
    assert found.missing == frozenset()
    order = sorted([TWO, digest("three")])
    assert found.labelled["good"].vectors.argmax(axis=1).tolist() == [1 if name == TWO else 2 for name in order]
    with pytest.raises(UnreadableFile, match=r"embeddings/third\.parquet in the store cannot be read .* doctor"):
        looked_up(store, tmp_path, "one", "two", "three")
    store.put_bytes("embeddings/third.parquet", third)
    found = looked_up(store, tmp_path, "one", "two", "three")
    assert (found.missing, found.others) == ({ONE}, {"m-2": 1})
