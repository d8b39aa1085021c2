"""Pictures judged and shards put while the archive is read: the same tables and shards, or nothing named."""

import io
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from imgmine.archives.ahead import working_ahead
from imgmine.archives.extract import Extraction, ScratchFailed, extract_archive
from imgmine.archives.remote_file import WrongBytes
from imgmine.images.archive import open_gated
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.base import Store, StoreError
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish, remove_unnamed_shards, unchanged
from imgmine.store.tables import Provenance
from tests.archives.small_warcs import Answer, gif, jpeg, mp4, png, write_warc
from tests.images.made_pictures import jpeg as photograph

ARCHIVE = "archiveteam_imgur_20230501120000_0123abcd"
ROOT = "https://i.imgur.com"
VIDEOS = Path(__file__).parents[1] / "images" / "data"
TABLES = ("records", "files")
LESSER = jpeg(b"lesser", 5000)
SHARD_BYTES = 20_000


def image(media_id: str, payload: bytes, extension: str = "jpg") -> Answer:
    return Answer(f"{ROOT}/{media_id}.{extension}", payload)


def originals(count: int, first: int = 0) -> list[Answer]:
    return [image(f"ab{number:03d}", jpeg(b"%d" % number, 4000)) for number in range(first, first + count)]


def film(name: str) -> bytes:
    return (VIDEOS / name).read_bytes()


# A lesser one far before its better, one that is the best of another id, and stills, one of them of two videos.
ANSWERS = [
    image("fghij", LESSER),
    image("klmno", shared := jpeg(b"shared", 3000)),
    image("filmA", film("vp9.webm"), "webm"),
    *originals(12),
    image("filmB", film("b_frames.mp4"), "mp4"),
    image("filmC", mp4(), "mp4"),
    image("photo", photograph((300, 200))),
    *originals(12, first=12),
    image("klmno", gif(b"better")),
    image("pqrst", shared),
    image("fghij", png(b"best"), "png"),
    *originals(3),
]


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(2) as pool:
        yield pool


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def warc(tmp_path: Path) -> Path:
    write_warc(tmp_path / "a.warc.zst", ANSWERS)
    return tmp_path / "a.warc.zst"


Source = Path | Callable[[], BinaryIO]


def extracted_ahead(
    store: Store, folder: Path, decoders: DecoderPool, source: Source, shard_bytes: int = SHARD_BYTES
) -> Extraction:
    """Make the pass with all that works ahead, and publish; what the gate found is left in `folder`."""
    scratch = folder / "ahead"
    scratch.mkdir(parents=True)
    with working_ahead(store, folder, ARCHIVE, decoders) as ahead:
        extraction = extract_archive(
            ARCHIVE, [("a.warc.zst", source)], scratch, shard_bytes=shard_bytes, decoders=decoders, ahead=ahead
        )
        assert all(store.stat(shard.key) for shard in extraction.shards)
        tables = {"records": extraction.records, "files": extraction.files}
        publish(store, ARCHIVE, tables, Provenance("s", "1", "i"), extraction.shards, "files", remake=extraction.remake)
        ahead.gate.drain()
    return extraction


def alone(folder: Path, decoders: DecoderPool, warc: Path, shard_bytes: int = SHARD_BYTES) -> Extraction:
    scratch = folder / "alone"
    scratch.mkdir(parents=True)
    return extract_archive(ARCHIVE, [("a.warc.zst", warc)], scratch, shard_bytes=shard_bytes, decoders=decoders)


def shards_in(store: Store) -> dict[str, bytes]:
    return {stored.key: store.get_bytes(stored.key) for stored in store.list(f"files/{ARCHIVE}/")}


def assert_same(store: Store, found: Extraction, expected: Extraction) -> None:
    assert found.records.equals(expected.records)
    assert found.files.equals(expected.files)
    assert found.counts == expected.counts
    assert [(shard.key, shard.size) for shard in found.shards] == [(shard.key, shard.size) for shard in expected.shards]
    assert shards_in(store) == {shard.key: shard.path.read_bytes() for shard in expected.shards}


@pytest.mark.parametrize("shard_bytes", [1, 6_000, SHARD_BYTES, 1 << 30])
def test_working_ahead_changes_no_output(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, warc: Path, shard_bytes: int
) -> None:
    expected = alone(tmp_path, decoders, warc, shard_bytes)
    found = extracted_ahead(store, tmp_path, decoders, warc, shard_bytes)
    assert_same(store, found, expected)
    assert not any(shard.path.exists() for shard in found.shards)


def test_every_picture_and_still_is_judged(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, warc: Path
) -> None:
    files = extracted_ahead(store, tmp_path, decoders, warc).files
    with open_gated(tmp_path, ARCHIVE, decoders) as gated:
        for row in files.to_pylist():
            assert (gated.find(row["blake2b"]) is not None) == row["media_type"].startswith("image/")


class Held(io.BytesIO):
    """A WARC file whose second half comes only once something has happened."""

    def __init__(self, data: bytes, happened: Callable[[], bool], failure: Exception | None = None) -> None:
        super().__init__(data)
        self._half = len(data) * 2 // 3
        self._happened, self._failure = happened, failure

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() < self._half:
            left = self._half - self.tell()
            return super().read(left if size is None or size < 0 else min(left, size))
        deadline = time.monotonic() + 60
        while not self._happened():
            assert time.monotonic() < deadline, "it does not happen"
            time.sleep(0.01)
        if self._failure is not None:
            raise self._failure
        return super().read(size)

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seekable(self) -> bool:
        return False


def test_a_file_that_turns_out_lesser_after_its_shard_was_put_is_in_no_shard_at_last(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, warc: Path
) -> None:
    expected = alone(tmp_path, decoders, warc)
    speculative: dict[str, bytes] = {}

    def first_shard_is_there() -> bool:
        speculative.update(shards_in(store))
        return any(LESSER in shard for shard in speculative.values())

    found = extracted_ahead(store, tmp_path, decoders, lambda: Held(warc.read_bytes(), first_shard_is_there))
    assert_same(store, found, expected)
    [lesser] = [key for key, shard in speculative.items() if LESSER in shard]
    assert lesser not in shards_in(store)
    assert not any(LESSER in shard for shard in shards_in(store).values())


def wrong(kind: str) -> WrongBytes:
    return WrongBytes(ARCHIVE, "a.warc.zst", kind, "0" * 32, "1" * 32, 2)


def test_bytes_that_turn_out_wrong_after_shards_were_put_leave_nothing_named_and_the_former_version_whole(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, warc: Path
) -> None:
    data = warc.read_bytes()
    write_warc(tmp_path / "former.warc.zst", ANSWERS[:15])
    extracted_ahead(store, tmp_path / "former", decoders, tmp_path / "former.warc.zst")
    former = {stored.key: store.get_bytes(stored.key) for stored in store.list("")}

    def another_shard_is_there() -> bool:
        return len(shards_in(store)) > len(former) - len(TABLES)

    with pytest.raises(WrongBytes):
        extracted_ahead(store, tmp_path / "wrong", decoders, lambda: Held(data, another_shard_is_there, wrong("MD5")))
    assert another_shard_is_there()
    assert not list((tmp_path / "wrong" / "ahead").rglob("spool.bin"))
    remove_unnamed_shards(store, TABLES, ARCHIVE, "files")
    assert {stored.key: store.get_bytes(stored.key) for stored in store.list("")} == former
    assert unchanged(store, TABLES, ARCHIVE, "i", "files")


def test_a_store_that_refuses_ends_the_pass_with_its_reason(tmp_path: Path, decoders: DecoderPool, warc: Path) -> None:
    class Refusing(LocalStore):
        def put_file(self, key: str, source: Path) -> None:
            raise StoreError("The bucket is gone.")

    with pytest.raises(StoreError, match="The bucket is gone"):
        extracted_ahead(Refusing(tmp_path / "store"), tmp_path, decoders, warc)


def test_a_scratch_folder_that_fails_while_shards_are_made_is_said(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, warc: Path
) -> None:
    (tmp_path / "ahead" / "shards").mkdir(parents=True)
    (tmp_path / "ahead" / "shards" / "early").touch()
    with (
        working_ahead(store, tmp_path, ARCHIVE, decoders) as ahead,
        pytest.raises(ScratchFailed, match=f"{ARCHIVE}.*early|{ARCHIVE}.*File exists"),
    ):
        extract_archive(
            ARCHIVE,
            [("a.warc.zst", warc)],
            tmp_path / "ahead",
            shard_bytes=SHARD_BYTES,
            decoders=decoders,
            ahead=ahead,
        )


def test_a_shard_that_another_run_swept_away_is_made_and_put_again(
    tmp_path: Path, decoders: DecoderPool, warc: Path
) -> None:
    class SweptOnce(LocalStore):
        """Loses a shard before the last table, as when another run of the archive ends just then."""

        def put_bytes(self, key: str, data: bytes) -> None:
            for shard in list(self.list(f"files/{ARCHIVE}/"))[1:3]:
                self.delete(shard.key)
            super().put_bytes(key, data)

    store = SweptOnce(tmp_path / "store")
    found = extracted_ahead(store, tmp_path, decoders, warc)
    assert_same(store, found, alone(tmp_path, decoders, warc))


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_in_whatever_order_the_outputs_are_those_of_a_pass_alone(
    store: LocalStore, tmp_path: Path, decoders: DecoderPool, seed: int
) -> None:
    rng = random.Random(seed)
    ids = [f"abc{number:02d}" for number in range(12)]
    answers = [
        image(rng.choice(ids), rng.choice([jpeg, png, gif])(b"%d" % rng.randrange(12), rng.choice([700, 4000])))
        for _ in range(60)
    ]
    answers += [image("filmA", film("vp8.webm"), "webm"), image(ids[0], film("vp8.webm"), "webm")]
    rng.shuffle(answers)
    write_warc(tmp_path / "a.warc.zst", answers)
    shard_bytes = rng.choice([1, 5_000, 30_000])
    found = extracted_ahead(store, tmp_path, decoders, tmp_path / "a.warc.zst", shard_bytes)
    assert_same(store, found, alone(tmp_path, decoders, tmp_path / "a.warc.zst", shard_bytes))
