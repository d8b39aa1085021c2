import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from imgmine.dataset.explain import Explanation, NotAQuery, QueryKind, explain, parse_query
from imgmine.dataset.explanation_text import render
from imgmine.dataset.labels import add_labels, make_label
from imgmine.dataset.publishing import publish_dataset
from imgmine.decisions import RECORD_MEANINGS, ImageDecision, RecordDecision
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, digest, put_archive, put_manifest

ARCHIVE_ORG = "http://127.0.0.1:9999/"

ENTRIES = [
    Entry("good", url="https://i.imgur.com/abcde.png", media_id="abcde"),
    Entry("good", RecordDecision.DUPLICATE, url="https://i.imgur.com/fghij.png", media_id="fghij"),
    Entry("less", RecordDecision.LESSER_COPY, url="https://i.imgur.com/abcde.jpg", media_id="abcde"),
    Entry("thumb", RecordDecision.DOWNSCALED_COPY, url="https://i.imgur.com/abcdes.png", media_id="abcde"),
    Entry("cut", RecordDecision.TRUNCATED, url="http://i.imgur.com/klmno.png", media_id="klmno"),
    Entry("small", gate=ImageDecision.SIZE, url="https://i.imgur.com/pqrst.png"),
    Entry("odd", percentile=1, url="https://i.imgur.com/uvwxy.png"),
    Entry("marked", watermark=0.75, url="https://i.imgur.com/vwxyz.png"),
    Entry("clip", media_type="video/mp4", url="https://i.imgur.com/zabcd.mp4"),
    Entry("page", RecordDecision.NO_MEDIA, url="https://imgur.com/a b?'c"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    folder = tmp_path_factory.mktemp("explain")
    store = LocalStore(folder / "it's" / "store")
    put_archive(store, "late", ENTRIES, datetime(2023, 5, 9, tzinfo=UTC))
    put_archive(store, "early", ENTRIES[:1], datetime(2023, 5, 1, tzinfo=UTC))
    put_manifest(store, "unmined", datetime(2023, 5, 2, tzinfo=UTC))
    for day, applies in ((1, True), (2, None), (3, False)):
        said = [make_label(digest("odd").hex(), "comics", applies=applies), make_label(digest("good").hex(), "good")]
        add_labels(store, said[: 2 if day == 1 else 1], by=f"person {day}", at=datetime(2024, 1, day, tzinfo=UTC))
    publish_dataset(store, folder / "mirror", folder)
    # Mined since, and only as far as the pass: the warehouse and the dataset do not know of it.
    put_archive(store, "recent", [Entry("fresh")], stages=("records", "files"))
    return store


def ask(store: LocalStore, question: str) -> Explanation:
    return explain(question, store, Path(), ARCHIVE_ORG)


def told(store: LocalStore, question: str) -> str:
    text = render(ask(store, question))
    assert "None" not in text
    return text


def test_a_hash_tells_every_record_in_every_archive_and_the_owner(store: LocalStore) -> None:
    explanation = ask(store, digest("good").hex().upper())
    assert explanation.query.kind is QueryKind.HASH
    assert sorted((record.archive, record.decision) for record in explanation.records) == [
        ("early", "kept"),
        ("late", "duplicate"),
        ("late", "kept"),
    ]
    (picture,) = explanation.pictures
    assert [file.archive for file in picture.files] == ["early", "late"]
    assert picture.owner is not None
    assert (picture.owner.archive, picture.owner.copies) == ("early", 2)
    assert all(image.embedded for image in picture.images)
    assert [score.percentile for score in picture.scores] == [50, 50]
    text = render(explanation)
    assert f"Picture {digest('good').hex()[:12]}… is in the dataset; early owns it." in text
    assert "owner: early, the earliest of 2 archives with this file" in text
    assert "2023-05-01 00:00:00 UTC" in text
    assert f"{store.url}/files/late/00000-abc.tar offset 512 size 4" in text


def test_each_record_comes_with_the_command_that_fetches_it_again(store: LocalStore) -> None:
    (kept,) = ask(store, digest("odd").hex()).records
    (truncated,) = ask(store, "http://i.imgur.com/klmno.png").records
    url = "http://127.0.0.1:9999/download/late/late.warc.zst"
    assert (kept.address, kept.warc_offset, kept.warc_length) == (url, 6000, 900)
    assert kept.fetch is not None
    assert truncated.fetch is not None
    assert shlex.split(kept.fetch) == [
        *["python", "-m", "imgmine.archives.origin", url, "6000", "900"],
        *["--record-id=urn:uuid:00000006", f"--expect={digest('odd').hex()}"],
    ]
    assert shlex.split(truncated.fetch)[3:] == [url, "4000", "900", "--record-id=urn:uuid:00000004"]


def test_what_a_server_sent_does_not_steer_the_terminal(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    url = "https://i.imgur.com/abcde.png?\x1b[2J\n\u202e"
    put_archive(store, "a", [Entry("one", url=url)])
    text = told(store, digest("one").hex())
    assert r"https://i.imgur.com/abcde.png?\x1b[2J\x0a\x202e" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_a_url_is_found_with_either_scheme_or_none(store: LocalStore) -> None:
    for question in ("http://i.imgur.com/abcde.png", "https://i.imgur.com/abcde.png", "i.imgur.com/abcde.png"):
        explanation = ask(store, question)
        assert explanation.query.kind is QueryKind.URL
        assert [record.archive for record in explanation.records] == ["early", "late"]
        assert [record.url for record in explanation.others] == ["https://i.imgur.com/fghij.png"]
        assert [picture.blake2b for picture in explanation.pictures] == [digest("good")]


@pytest.mark.parametrize(
    ("url", "decision"),
    [("https://i.imgur.com/abcdes.png", "downscaled_copy"), ("https://i.imgur.com/abcde.jpg", "lesser_copy")],
)
def test_a_copy_tells_its_rule_and_shows_the_original(store: LocalStore, url: str, decision: str) -> None:
    explanation = ask(store, url)
    assert not explanation.pictures
    assert {record.blake2b for record in explanation.others} == {digest("good")}
    text = render(explanation)
    assert f"Dropped before it was stored ({decision}: {RECORD_MEANINGS[RecordDecision(decision)]})." in text
    assert digest("good").hex() in text


def test_a_dropped_url_tells_its_rule(store: LocalStore) -> None:
    assert "Dropped before it was stored (truncated: " in told(store, "https://i.imgur.com/klmno.png")
    assert "Dropped before it was stored (no_media: " in told(store, "https://imgur.com/a b?'c")


def test_a_picture_file_is_known_by_its_bytes(store: LocalStore, tmp_path: Path) -> None:
    path = tmp_path / "some picture.jpg"
    path.write_text("small")
    explanation = ask(store, str(path))
    assert explanation.query.kind is QueryKind.FILE
    assert "the only archive with this file" in render(explanation)
    text = render(explanation)
    assert f"BLAKE2b {digest('small').hex()}" in text
    assert "the gate dropped it (size)" in text
    assert "because of size" in text


def test_an_anomalous_image_tells_its_score(store: LocalStore) -> None:
    text = told(store, digest("odd").hex())
    assert "its anomaly score drops it" in text
    assert "percentile 1.00" in text


@pytest.mark.parametrize("question", [digest("clip").hex(), digest("still of clip").hex()])
def test_a_video_and_its_still_tell_of_each_other(store: LocalStore, question: str) -> None:
    explanation = ask(store, question)
    assert {picture.blake2b for picture in explanation.pictures} == {digest("clip"), digest("still of clip")}
    (record,) = explanation.records
    assert record.blake2b == digest("clip")
    text = render(explanation)
    assert f"still of: {digest('clip').hex()} at 1.500 s" in text
    assert f"Video {digest('clip').hex()}" in text
    assert f"Still {digest('still of clip').hex()[:12]}… is in the dataset; late owns it." in text


def test_the_url_of_a_video_tells_of_its_still(store: LocalStore) -> None:
    pictures = ask(store, "https://i.imgur.com/zabcd.mp4").pictures
    assert [picture.blake2b for picture in pictures] == [digest("clip"), digest("still of clip")]


def test_what_later_stages_have_not_seen_is_said(store: LocalStore) -> None:
    text = told(store, digest("fresh").hex())
    assert "is stored; the gate has not seen it yet." in text
    assert "not in the dataset's tables yet" in text


def test_what_is_unknown_is_said_to_be(store: LocalStore, tmp_path: Path) -> None:
    unknown = told(store, "ab" * 32)
    assert "Not known: no record of this BLAKE2b (3 of 4 known archives searched)." in unknown
    assert "has other bytes" in unknown
    (tmp_path / "new.jpg").write_text("never seen")
    assert "Not known" in told(store, str(tmp_path / "new.jpg"))
    assert "Not known: no record of this URL" in told(store, "https://example.org/x.png")


def test_an_unknown_url_of_known_media_shows_what_there_is(store: LocalStore) -> None:
    explanation = ask(store, "https://i.imgur.com/abcde.webp")
    assert not explanation.known
    assert len(explanation.others) == 4
    text = render(explanation)
    assert "Not known: no record of this URL" in text
    assert "The same media was archived under other URLs" in text


def test_an_empty_store_knows_nothing(tmp_path: Path) -> None:
    assert "0 of 0 known archives searched" in told(LocalStore(tmp_path), "ab" * 32)


@pytest.mark.parametrize("question", ["", "abc", "ab" * 31, "/no/such/file.jpg", "no-such-file.jpg", "."])
def test_what_is_no_question_is_refused(question: str) -> None:
    with pytest.raises(NotAQuery, match="64 hexadecimal digits"):
        parse_query(question)


def test_what_is_thought_of_a_picture_beside_the_funnel_is_told_and_drops_nothing(store: LocalStore) -> None:
    text = told(store, digest("marked").hex())
    assert "is in the dataset" in text
    assert "watermark: watermarked: a watermark, as probable as the threshold or more (probability 0.750)" in text
    assert "watermark: kept: no watermark was found (probability 0.250)" in told(store, digest("good").hex())


def test_what_people_said_of_a_picture_is_told_in_order_and_of_no_other(store: LocalStore) -> None:
    text = told(store, digest("odd").hex())
    said = [line.strip() for line in text.splitlines() if line.strip().startswith("label: ")]
    assert said == [
        "label: comics yes, by person 1 at 2024-01-01 00:00:00 UTC",
        "label: comics taken back, by person 2 at 2024-01-02 00:00:00 UTC",
        "label: comics no, by person 3 at 2024-01-03 00:00:00 UTC",
    ]
    assert told(store, digest("good").hex()).count("label: ") == 1
    assert "label: " not in told(store, digest("marked").hex())
