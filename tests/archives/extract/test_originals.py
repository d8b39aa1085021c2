"""Which bytes the pass keeps as the original of an id, and how they come into shards."""

from itertools import permutations

import pytest

from imgmine.decisions import RecordDecision as D
from imgmine.store.shards import shard_members
from tests.archives.extract.extracting import CHOICE, Extract, blake2b, decisions, image
from tests.archives.small_warcs import gif, jpeg, mp4, png


@pytest.mark.parametrize("order", permutations(CHOICE))
@pytest.mark.parametrize("files", [1, 4])
def test_the_choice_does_not_depend_on_the_order(extract: Extract, order: tuple[str, ...], files: int) -> None:
    if files == 1:
        extraction = extract([CHOICE[name] for name in order])
    else:
        extraction = extract({f"{number}.warc.zst": [CHOICE[name]] for number, name in enumerate(order)})
    found = dict(zip(order, decisions(extraction), strict=True))
    winners = [name for name in order if name != "lesser"]
    assert found == {"lesser": D.LESSER_COPY, **dict.fromkeys(winners, D.DUPLICATE), winners[0]: D.KEPT}
    assert extraction.files["blake2b"].to_pylist() == [blake2b(png(b"best"))]
    assert extraction.files["url"].to_pylist() == [CHOICE[winners[0]].url]
    lesser = extraction.records.to_pylist()[order.index("lesser")]
    assert lesser["blake2b"] == blake2b(jpeg(b"lesser"))


def test_files_are_read_in_the_order_of_their_names(extract: Extract) -> None:
    answers = {"b.warc.zst": [image("abcdX", jpeg())], "a.warc.zst": [image("abcdY", jpeg())]}
    extraction = extract(answers)
    assert extraction.records["warc_file"].to_pylist() == ["a.warc.zst", "b.warc.zst"]
    assert decisions(extraction) == [D.KEPT, D.DUPLICATE]
    assert extraction.files["media_id"].to_pylist() == ["abcdY"]


def test_lesser_bytes_are_kept_where_they_are_the_best_of_another_id(extract: Extract) -> None:
    shared = jpeg(b"shared")
    extraction = extract([image("abcdX", png(), "png"), image("abcdX", shared), image("abcdY", shared)])
    assert decisions(extraction) == [D.KEPT, D.LESSER_COPY, D.KEPT]


def test_a_broken_better_original_does_not_push_out_a_sound_one(extract: Extract) -> None:
    extraction = extract([image("abcde", png(), "png", declared=9999), image("abcde", jpeg())])
    assert decisions(extraction) == [D.TRUNCATED, D.KEPT]


def test_a_gif_goes_over_a_png_and_under_a_video(extract: Extract) -> None:
    answers = [image("abcde", kind()) for kind in (png, gif, mp4, jpeg)]
    assert decisions(extract(answers)) == [D.LESSER_COPY, D.LESSER_COPY, D.KEPT, D.LESSER_COPY]


def test_shards_roll_over(extract: Extract) -> None:
    answers = [image(f"abc{number:02d}", jpeg(b"%d" % number, 3000)) for number in range(10)]
    extraction = extract(answers, shard_bytes=10_000)
    assert len(extraction.shards) == 5
    assert [len(list(shard_members(shard.path))) for shard in extraction.shards] == [2] * 5
    in_order = [name for shard in extraction.shards for name, _, _ in shard_members(shard.path)]
    assert in_order == [f"{blake2b(answer.body).hex()}.jpg" for answer in answers]
