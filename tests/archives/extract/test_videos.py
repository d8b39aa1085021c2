"""Videos in the pass, and the stills that follow them."""

from pathlib import Path

import cv2
import numpy as np

from imgmine.decisions import RecordDecision as D
from imgmine.store.shards import shard_members
from tests.archives.extract.extracting import ROOT, Extract, blake2b, decisions, image, video
from tests.archives.small_warcs import gif, jpeg, mp4


def test_a_video_is_followed_by_its_still(extract: Extract) -> None:
    film = video("one_key_frame.mp4")
    answer = image("abcde", film, "mp4", headers=[("Last-Modified", "Tue, 02 May 2017 10:00:00 GMT")])
    extraction = extract([image("fghij", jpeg()), answer, image("klmno", gif())])
    rows = {row["blake2b"]: row for row in extraction.files.to_pylist()}
    [still] = [row for row in rows.values() if row["video_blake2b"] is not None]
    own = rows[blake2b(film)]
    assert (own["media_type"], own["extension"], own["frame_time"]) == ("video/mp4", "mp4", None)
    assert (still["media_type"], still["extension"], still["video_blake2b"]) == ("image/png", "png", blake2b(film))
    assert still["frame_time"] >= 0
    same = ("media_id", "url", "captured_at", "last_modified", "warc_file", "warc_offset", "warc_length", "shard")
    assert [still[name] for name in same] == [own[name] for name in same]
    assert [name.partition(".")[2] for name, _, _ in shard_members(extraction.shards[0].path)] == [
        "jpg",
        "mp4",
        "png",
        "gif",
    ]
    assert extraction.counts["stills"] == 1


def test_a_video_without_a_frame_is_kept_and_told(extract: Extract) -> None:
    extraction = extract([image("abcde", mp4(), "mp4")])
    assert decisions(extraction) == [D.KEPT]
    assert extraction.files["media_type"].to_pylist() == ["video/mp4"]
    assert extraction.counts["videos_without_still"] == 1
    assert [f"{ROOT}/abcde.mp4" in warning for warning in extraction.warnings] == [True]


def black_video(path: Path, frames: int) -> bytes:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 128))
    for _ in range(frames):
        writer.write(np.zeros((128, 160, 3), np.uint8))
    writer.release()
    return path.read_bytes()


def test_a_still_with_the_bytes_of_another_file_is_that_file(extract: Extract, tmp_path: Path) -> None:
    films = [black_video(tmp_path / f"{frames}.mp4", frames) for frames in (3, 4)]
    answers = [image(f"film{number}", film, "mp4") for number, film in enumerate(films)]
    extraction = extract(answers)
    assert extraction.counts["stills"] == extraction.counts["shared_stills"] == 1
    [still] = [row for row in extraction.files.to_pylist() if row["video_blake2b"] is not None]
    assert still["video_blake2b"] == blake2b(films[0])
    payload = extraction.shards[0].path.read_bytes()[still["shard_offset"] :][: still["size"]]
    # The same picture as a file of the archive: that row is there, whatever its place, and no still's.
    extraction = extract([*answers, image("abcde", payload, "png")])
    assert extraction.counts["stills"] == 0
    assert extraction.counts["shared_stills"] == 2
    [picture] = [row for row in extraction.files.to_pylist() if row["media_type"] == "image/png"]
    assert (picture["media_id"], picture["video_blake2b"]) == ("abcde", None)
