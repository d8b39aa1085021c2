"""The pass with a list of hashes: what it names is in the ledger, and its bytes are nowhere."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imgmine.archives.ahead import working_ahead
from imgmine.archives.blocked import BYTE_KINDS, Blocklist, HashKind
from imgmine.archives.extract import Extraction, extract_archive
from imgmine.dataset.funnel import check_funnel
from imgmine.decisions import RecordDecision as D
from imgmine.images.decoder_pool import DecoderPool
from imgmine.store.local import LocalStore
from imgmine.store.publish import publish
from imgmine.store.tables import Provenance
from tests.archives.small_warcs import Answer, gif, jpeg, png, write_warc

ARCHIVE = "archiveteam_imgur_20230501120000_0123abcd"
FILM = (Path(__file__).parents[1] / "images" / "data" / "one_key_frame.mp4").read_bytes()
BEST, LESSER, OTHER = png(b"best of aaaaa"), jpeg(b"lesser of aaaaa"), gif(b"another")


def answer(name: str, body: bytes) -> Answer:
    return Answer(f"https://i.imgur.com/{name}", body)


ANSWERS = [
    answer("aaaaa.jpg", LESSER),
    answer("aaaaa.png", BEST),
    answer("bbbbb.gif", OTHER),
    answer("ccccc.png", BEST),
    answer("ddddd.mp4", FILM),
]
IsNamed = Callable[[str | None, str | None], bool]
AS_EVER = [D.LESSER_COPY, D.KEPT, D.KEPT, D.DUPLICATE, D.KEPT]


def hashes_of(body: bytes) -> dict[str, bytes]:
    found = {name: hashlib.new(name, body).digest() for name in ("md5", "sha1", "sha256")}
    return {"blake2b": hashlib.blake2b(body, digest_size=32).digest(), **found}


def listing(kind: HashKind, body: bytes) -> Blocklist:
    return Blocklist.of([(kind, hashes_of(body)[kind]), (kind, bytes(kind.size))])


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    with DecoderPool(workers=1) as pool:
        yield pool


@pytest.fixture(scope="module")
def warc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("warc") / "a.warc.zst"
    write_warc(path, ANSWERS)
    return path


def extracted(
    warc: Path,
    folder: Path,
    decoders: DecoderPool,
    blocked: Blocklist | None,
    is_named: IsNamed | None = None,
    with_video: Blocklist | None = None,
) -> Extraction:
    """Make the pass with all that works ahead; the store, and everything that waits for `images`, is left."""
    scratch, store = folder / "scratch" / "pass", LocalStore(folder / "store")
    scratch.mkdir(parents=True)
    with working_ahead(store, folder / "scratch", ARCHIVE, decoders) as ahead:
        extraction = extract_archive(
            ARCHIVE,
            [("a.warc.zst", warc)],
            scratch,
            shard_bytes=4096,
            decoders=decoders,
            ahead=ahead,
            blocked=blocked,
            blocked_with_video=with_video,
            is_named=is_named,
        )
        tables = {"records": extraction.records, "files": extraction.files}
        publish(store, ARCHIVE, tables, Provenance("s", "1", "i"), extraction.shards, "files", remake=extraction.remake)
        ahead.gate.drain()
    assert check_funnel(extraction.records, extraction.files) == []
    return extraction


@pytest.fixture(scope="module")
def unblocked(warc: Path, decoders: DecoderPool, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    extraction = extracted(warc, tmp_path_factory.mktemp("unblocked"), decoders, Blocklist())
    assert extraction.records["decision"].to_pylist() == AS_EVER
    assert extraction.records["blocked_by"].null_count == len(ANSWERS)
    return extraction


def places_with(body: bytes, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and body in path.read_bytes()]


@pytest.mark.parametrize("kind", BYTE_KINDS)
def test_what_a_list_names_is_blocked_in_the_ledger_and_its_bytes_are_nowhere(
    kind, warc, decoders, unblocked, tmp_path
):
    extraction = extracted(warc, tmp_path, decoders, listing(kind, BEST))
    # The lesser one is of the same picture: it does not come up because the better one is blocked.
    assert extraction.records["decision"].to_pylist() == [D.LESSER_COPY, D.BLOCKED, D.KEPT, D.BLOCKED, D.KEPT]
    name = f"{kind}:{hashes_of(BEST)[kind].hex()}"
    assert extraction.records["blocked_by"].to_pylist() == [None, name, None, name, None]
    assert extraction.records["blake2b"].to_pylist() == [hashes_of(body.body)["blake2b"] for body in ANSWERS]
    assert places_with(BEST, tmp_path) == []
    assert places_with(OTHER, tmp_path) != []
    # All others have the rows that they have without the list, but for their places in shards.
    left = [row for row in unblocked.files.to_pylist() if row["blake2b"] != hashes_of(BEST)["blake2b"]]
    told = [{**row, "shard": None, "shard_offset": None} for row in extraction.files.to_pylist()]
    assert told == [{**row, "shard": None, "shard_offset": None} for row in left]


def test_a_lesser_copy_that_is_blocked_is_called_so_and_changes_nothing_else(warc, decoders, unblocked, tmp_path):
    extraction = extracted(warc, tmp_path, decoders, listing(HashKind.MD5, LESSER))
    assert extraction.records["decision"].to_pylist() == [D.BLOCKED, *AS_EVER[1:]]
    assert extraction.files.drop(["shard", "shard_offset"]).equals(unblocked.files.drop(["shard", "shard_offset"]))


@pytest.mark.parametrize("kind", BYTE_KINDS)
def test_a_video_goes_with_its_still(kind, warc, decoders, unblocked, tmp_path):
    [still] = [row for row in unblocked.files.to_pylist() if row["video_blake2b"] is not None]
    blocked = Blocklist.of([(kind, still[kind])])
    extraction = extracted(warc, tmp_path, decoders, blocked)
    assert extraction.records["decision"].to_pylist() == [*AS_EVER[:4], D.BLOCKED]
    assert extraction.records["blocked_by"].to_pylist()[4] == f"{kind}:{still[kind].hex()}"
    assert sorted(extraction.files["blake2b"].to_pylist()) == sorted(
        hashes_of(body)["blake2b"] for body in (BEST, OTHER)
    )
    # The video was needed for its still, and waits in scratch until the pass is over; the store never has it.
    assert places_with(FILM, tmp_path / "store") == []
    assert still["blake2b"].hex() not in {path.name for path in tmp_path.rglob("*")}


def test_a_still_that_went_with_another_video_goes_and_takes_no_video_with_it(warc, decoders, unblocked, tmp_path):
    [still] = [row for row in unblocked.files.to_pylist() if row["video_blake2b"] is not None]
    blocked = Blocklist.of([(HashKind.BLAKE2B, still["blake2b"]), (HashKind.MD5, bytes(16))])
    extraction = extracted(warc, tmp_path, decoders, blocked, with_video=Blocklist.of([(HashKind.MD5, bytes(16))]))
    assert extraction.records["decision"].to_pylist() == AS_EVER
    digests = extraction.files["blake2b"].to_pylist()
    assert (hashes_of(FILM)["blake2b"] in digests, still["blake2b"] in digests) == (True, False)
    assert extraction.counts["videos_without_still"] == 1
    assert still["blake2b"].hex() not in {path.name for path in tmp_path.rglob("*")}


def test_a_blocked_video_gives_no_still(warc, decoders, tmp_path):
    extraction = extracted(warc, tmp_path, decoders, listing(HashKind.SHA1, FILM))
    assert extraction.records["decision"].to_pylist() == [*AS_EVER[:4], D.BLOCKED]
    assert extraction.counts["stills"] == extraction.counts["videos_without_still"] == 0
    assert places_with(FILM, tmp_path) == []


def test_what_a_record_s_name_blocks_is_blocked_under_every_name(warc, decoders, tmp_path):
    # The URL comes after another one with the same bytes, which are packed by then.
    extraction = extracted(warc, tmp_path, decoders, None, lambda url, media_id: url == "https://i.imgur.com/ccccc.png")
    assert extraction.records["decision"].to_pylist() == [D.LESSER_COPY, D.BLOCKED, D.KEPT, D.BLOCKED, D.KEPT]
    digest = hashes_of(BEST)["blake2b"]
    name = f"blake2b:{digest.hex()}"
    assert extraction.records["blocked_by"].to_pylist() == [None, name, None, name, None]
    assert extraction.named == {digest: ("https://i.imgur.com/ccccc.png", "ccccc")}
    assert digest not in extraction.files["blake2b"].to_pylist()
    assert places_with(BEST, tmp_path / "store") == []
