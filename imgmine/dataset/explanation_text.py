"""An explanation as text for a terminal: complete, in plain words, one fact a line.

What is said is collected by `explain`.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime

from imgmine.amounts import counted
from imgmine.dataset.explain import (
    Explanation,
    FileStory,
    ImageStory,
    JudgementStory,
    PictureStory,
    QueryKind,
    RecordStory,
    ScoreStory,
)
from imgmine.dataset.labels import Saying
from imgmine.dataset.takedown_log import Entry
from imgmine.decisions import (
    IMAGE_MEANINGS,
    JUDGEMENT_MEANINGS,
    RECORD_MEANINGS,
    SCORE_MEANINGS,
    ImageDecision,
    ScoreDecision,
)


def render(explanation: Explanation) -> str:
    """Return the explanation as lines of text, the short answer first."""
    return "\n".join(_printable(line) for line in _lines(explanation)) + "\n"


def short_answer(explanation: Explanation) -> str:
    """Return one sentence: whether it is in the dataset, and if not, which rule kept it out."""
    searched = f"{explanation.archives_mined} of {counted(explanation.archives_known, 'known archive')} searched"
    if not explanation.known:
        subject = "URL" if explanation.query.kind is QueryKind.URL else "BLAKE2b"
        other = " The same media was archived under other URLs, see below." if explanation.others else ""
        return f"Not known: no record of this {subject} ({searched}).{other}"
    if explanation.takedowns:
        return _taken_down(explanation)
    if explanation.pictures:
        answers = [_verdict(story) for story in explanation.pictures if not _has_still(story, explanation)]
        return " ".join(dict.fromkeys(answers))
    dropped = sorted({record.decision for record in explanation.records})
    rules = "; ".join(f"{decision}: {RECORD_MEANINGS[decision]}" for decision in dropped)
    return f"Dropped before it was stored ({rules})."


def _taken_down(explanation: Explanation) -> str:
    numbers = ", ".join(str(entry.number) for entry in explanation.takedowns)
    which = "entry" if len(explanation.takedowns) == 1 else "entries"
    answer = f"Taken down ({which} {numbers} of the log): it is in no listing."
    if not explanation.records:
        return f"{answer} No record of it has been mined."
    if explanation.pictures:
        others = " ".join(dict.fromkeys(_verdict(story) for story in explanation.pictures))
        return f"{answer} Of what else was asked about: {others}"
    return answer


def _takedown_lines(entry: Entry) -> Iterator[str]:
    by_rule = f" (found by entry {entry.of})" if entry.of is not None else ""
    yield f"{entry.number}{by_rule}: by {entry.kind.replace('_', ' ')}, {_time(entry.time)}, {entry.by}"
    yield f"  reason: {entry.reason}"
    yield f"  hash of the entry: {entry.hash}"


def _verdict(story: PictureStory) -> str:
    name = f"{_kind(story.files[0])} {story.blake2b.hex()[:12]}…"
    gate = {image.decision for image in story.images}
    scores = {score.decision for score in story.scores}
    if not story.images:
        if _is_video(story.files[0]):
            return f"{name} is stored, without a still of its own."
        return f"{name} is stored; the gate has not seen it yet."
    if ImageDecision.KEPT not in gate:
        return f"{name} is stored, but not an image of the dataset: the gate dropped it ({', '.join(sorted(gate))})."
    if ScoreDecision.ANOMALOUS in scores:
        return f"{name} passed the gate; its anomaly score drops it (anomalous)."
    owner = f"; {story.owner.archive} owns it" if story.owner is not None else ""
    return f"{name} is in the dataset{owner}." if scores else f"{name} passed the gate and has no score yet{owner}."


def _has_still(story: PictureStory, explanation: Explanation) -> bool:
    return any(file.video_blake2b == story.blake2b for other in explanation.pictures for file in other.files)


def _is_video(file: FileStory) -> bool:
    return not file.media_type.startswith("image/")


def _kind(file: FileStory) -> str:
    return "Still" if file.video_blake2b is not None else "Video" if _is_video(file) else "Picture"


def _lines(explanation: Explanation) -> Iterator[str]:
    query = explanation.query
    yield f"{query.kind.value.upper()} {query.text}"
    if query.kind is QueryKind.FILE and query.digest is not None:
        yield f"BLAKE2b {query.digest.hex()}"
    yield short_answer(explanation)
    if explanation.takedowns:
        yield ""
        yield "Taken down by"
        for entry in explanation.takedowns:
            yield from _indented(_takedown_lines(entry))
    if explanation.records:
        yield ""
        yield f"Records ({len(explanation.records)})"
        for record in explanation.records:
            yield from _indented(_record_lines(record))
    if explanation.others:
        yield ""
        yield f"Other records of the same bytes or the same media ({len(explanation.others)})"
        for record in explanation.others:
            yield from _indented(_record_lines(record))
    for story in explanation.pictures:
        yield ""
        yield from _picture_lines(story)
    if not explanation.known and query.kind is not QueryKind.URL:
        yield "A picture that was scaled or saved again has other bytes, and so another BLAKE2b: ask for its URL."


def _record_lines(record: RecordStory) -> Iterator[str]:
    yield f"{record.decision}: {RECORD_MEANINGS[record.decision]}"
    facts = [
        ("url", record.url),
        ("captured", _time(record.captured_at)),
        ("response", _response(record)),
        ("media id", record.media_id),
        ("blake2b", record.blake2b.hex() if record.blake2b is not None else None),
        ("blocked by", record.blocked_by),
        ("known as", record.known_as.hex() if record.known_as is not None else None),
        ("archive", record.archive),
        ("record", " ".join(part for part in (record.record_type, record.record_id) if part) or None),
        ("where", f"{record.address} offset {record.warc_offset} length {record.warc_length}"),
        ("fetch again", record.fetch),
    ]
    yield from _indented(_facts(facts))


def _response(record: RecordStory) -> str | None:
    if record.http_status is None:
        return None
    parts = [f"HTTP {record.http_status}", record.served_type or "no Content-Type"]
    if record.body_length is not None:
        announced = record.declared_length
        short = f" of {announced} announced" if announced is not None and announced != record.body_length else ""
        parts.append(f"{record.body_length} bytes{short}")
    return ", ".join(parts)


def _picture_lines(story: PictureStory) -> Iterator[str]:
    yield f"{_kind(story.files[0])} {story.blake2b.hex()}"
    for kept in story.files:
        yield f"  in {kept.archive}"
        image = next((image for image in story.images if image.archive == kept.archive), None)
        score = next((score for score in story.scores if score.archive == kept.archive), None)
        judgements = [_judgement_fact(told) for told in story.judgements if told.archive == kept.archive]
        facts = [*_file_facts(kept), *_image_facts(image, kept), *_score_facts(score, image), *judgements]
        yield from _indented(_facts(facts), 4)
    for saying in story.labels:
        yield f"  label: {_saying(saying)}"
    owner = story.owner
    if owner is None:
        yield "  owner: not in the dataset's tables yet; materialize `dataset`"
    elif owner.copies == 1:
        yield f"  owner: {owner.archive}, the only archive with this file"
    else:
        yield f"  owner: {owner.archive}, the earliest of {owner.copies} archives with this file"


def _file_facts(file: FileStory) -> list[tuple[str, str | None]]:
    still = None
    if file.video_blake2b is not None:
        moment = f" at {file.frame_time:.3f} s" if file.frame_time is not None else ""
        still = f"{file.video_blake2b.hex()}{moment}"
    return [
        ("file", f"{file.media_type}, {file.size} bytes"),
        ("still of", still),
        ("url", file.url),
        ("last modified", _time(file.last_modified)),
        ("shard", f"{file.shard} offset {file.shard_offset} size {file.size}"),
    ]


def _image_facts(image: ImageStory | None, file: FileStory) -> list[tuple[str, str | None]]:
    if image is None:
        return [("gate", "a video; its still goes to the gate" if _is_video(file) else "not seen yet")]
    detail = f" ({image.detail})" if image.detail else ""
    size = f"{image.width} × {image.height}" if image.width is not None else "unknown size"
    frames = counted(image.frames, "frame") if image.frames is not None else None
    preview = None
    if image.preview is not None:
        preview = f"{image.preview} offset {image.preview_offset} size {image.preview_size}"
    return [
        ("gate", f"{image.decision}: {IMAGE_MEANINGS[image.decision]}{detail}"),
        ("image", ", ".join(part for part in (size, image.mode, image.format, frames) if part)),
        ("EXIF copyright", image.exif_copyright),
        ("preview", preview),
        ("dhash", f"{image.dhash:016x}" if image.dhash is not None else None),
        ("embedding", "there" if image.embedded else "none"),
    ]


def _score_facts(score: ScoreStory | None, image: ImageStory | None) -> list[tuple[str, str | None]]:
    if score is None:
        return [("score", "none")] if image is not None else []
    return [
        (
            "score",
            f"{score.decision}: {SCORE_MEANINGS[score.decision]} "
            f"(log-likelihood {score.log_likelihood:.2f}, percentile {score.percentile:.2f})",
        )
    ]


def _judgement_fact(told: JudgementStory) -> tuple[str, str]:
    values = ", ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in told.values
        if value is not None
    )
    name = told.table.removesuffix("_scores")
    if told.decision is None:
        return name, values
    return name, f"{told.decision}: {JUDGEMENT_MEANINGS[told.table][told.decision]} ({values})"


def _saying(saying: Saying) -> str:
    said = {True: "yes", False: "no", None: "taken back"}[saying.value]
    return f"{saying.label} {said}, by {saying.by} at {_time(saying.at)}"


def _facts(facts: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    return (f"{name}: {value}" for name, value in facts if value is not None)


def _indented(lines: Iterable[str], spaces: int = 2) -> Iterator[str]:
    return (" " * spaces + line for line in lines)


def _printable(line: str) -> str:
    # URLs and headers are whatever a server sent: they must not steer the terminal.
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in line)


def _time(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment is not None else None
