"""The funnel: how many records, files, images and scores there are by decision, and whether they add up.

Stages are `records → files → images → scores`. Each passes on what the next one starts from: kept records become
pictures and videos, videos give stills, pictures and stills become images, kept images get a score. Where a decision
is taken is not here.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from imgmine.decisions import ImageDecision, RecordDecision, ScoreDecision

# What the rows of `files` count as in the funnel. Only pictures and stills go on to the gate.
PICTURE = "picture"
VIDEO = "video"
STILL = "still"

# The same counts as `count_funnel`'s, over all archives: each relation has an `archive` column.
FUNNEL_SQL = f"""
SELECT archive, 'records' AS stage, decision, count(*) AS n FROM records GROUP BY ALL
UNION ALL
SELECT archive, 'files', CASE
    WHEN video_blake2b IS NOT NULL THEN '{STILL}' WHEN media_type LIKE 'image/%' THEN '{PICTURE}' ELSE '{VIDEO}'
  END AS decision, count(*) FROM files GROUP BY ALL
UNION ALL
SELECT archive, 'images', decision, count(*) FROM images GROUP BY ALL
UNION ALL
SELECT archive, 'scores', decision, count(*) FROM anomaly_scores GROUP BY ALL
"""


class FunnelCount(NamedTuple):
    """`n` rows of an archive in a stage (`records`, `files`, `images`, `scores`) have this decision."""

    archive: str
    stage: str
    decision: str
    n: int


@dataclass(frozen=True, slots=True)
class FunnelProblem:
    """A place where the funnel does not add up: the stage, what is wrong there, and how many rows it concerns."""

    stage: str
    message: str
    rows: int


def count_funnel(
    archive: str,
    records: pa.Table,
    files: pa.Table,
    images: pa.Table | None = None,
    scores: pa.Table | None = None,
) -> list[FunnelCount]:
    """Return one archive's funnel, in the order of the stages, the larger counts first. None: not made yet."""
    counts: list[FunnelCount] = []
    for stage, decisions in (
        ("records", records["decision"]),
        ("files", _kinds(files)),
        ("images", images["decision"] if images is not None else None),
        ("scores", scores["decision"] if scores is not None else None),
    ):
        found = Counter(decisions.to_pylist()) if decisions is not None else Counter[str]()
        counts += [
            FunnelCount(archive, stage, decision, n)
            for decision, n in sorted(found.items(), key=lambda item: (-item[1], item[0]))
        ]
    return counts


def check_funnel(
    records: pa.Table,
    files: pa.Table,
    images: pa.Table | None = None,
    embeddings: pa.Table | None = None,
    scores: pa.Table | None = None,
) -> list[FunnelProblem]:
    """Return every place where one archive's tables do not follow from each other; an empty list where all is well.

    Tables of stages that have not run are None and are not looked at. Of `embeddings` only `blake2b` is needed.
    """
    problems = [*_check_records(records, files), *_check_files(files)]
    if images is not None:
        kinds = _kinds(files)
        to_gate = files["blake2b"].filter(pc.not_equal(kinds, VIDEO))
        problems += _check_decisions("images", images, ImageDecision)
        problems += _check_stage("images", images, "images", to_gate, "pictures and stills in files")
    if embeddings is not None and images is not None:
        kept = images["blake2b"].filter(pc.equal(images["decision"], ImageDecision.KEPT.value))
        problems += _check_stage("embeddings", embeddings, "embeddings", kept, "images kept by the gate")
    if scores is not None:
        problems += _check_decisions("scores", scores, ScoreDecision)
        if embeddings is not None:
            problems += _check_stage("scores", scores, "anomaly_scores", embeddings["blake2b"], "embeddings")
    return problems


def check_judgement(
    called: str, judgement: pa.Table, embeddings: pa.Table, known: Collection[str]
) -> list[FunnelProblem]:
    """Return where a table beside the funnel has not one row for each vector, or a decision that is not `known`.

    `called` is the table's name; of `embeddings` only `blake2b` is needed.
    """
    return [
        *_check_decisions(called, judgement, known),
        *_check_stage(called, judgement, called, embeddings["blake2b"], "embeddings"),
    ]


def _kinds(files: pa.Table) -> pa.ChunkedArray:
    pictures = pc.starts_with(files["media_type"], "image/")
    originals = pc.if_else(pictures, PICTURE, VIDEO)
    return pc.if_else(pc.is_valid(files["video_blake2b"]), STILL, originals)


def _check_records(records: pa.Table, files: pa.Table) -> Iterable[FunnelProblem]:
    yield from _check_decisions("records", records, RecordDecision)
    hashed = pc.is_in(
        records["decision"],
        pa.array([RecordDecision.KEPT, RecordDecision.DUPLICATE, RecordDecision.LESSER_COPY], pa.string()),
    )
    blocked = pc.equal(records["decision"], RecordDecision.BLOCKED.value)  # some by their URL, without being hashed
    unlike = pc.and_(pc.xor(hashed, pc.is_valid(records["blake2b"])), pc.invert(blocked))
    wrong = pc.sum(unlike).as_py() or 0
    if wrong:
        yield FunnelProblem("records", "blake2b is there for exactly the records kept, duplicate or lesser_copy", wrong)
    originals = files["blake2b"].filter(pc.not_equal(_kinds(files), STILL))
    kept = records.filter(pc.equal(records["decision"], RecordDecision.KEPT.value))
    yield from _check_stage("records", kept, "records kept", originals, "files without stills")
    duplicates = records["blake2b"].filter(pc.equal(records["decision"], RecordDecision.DUPLICATE.value))
    strangers = _rows_outside(duplicates, originals)
    if strangers:
        yield FunnelProblem("records", "duplicates of files that are not there", strangers)


def _check_files(files: pa.Table) -> Iterable[FunnelProblem]:
    kinds = _kinds(files)
    videos = files["blake2b"].filter(pc.equal(kinds, VIDEO))
    orphans = _rows_outside(files["video_blake2b"].drop_null(), videos)
    if orphans:
        yield FunnelProblem("files", "stills whose video is not there", orphans)
    repeated = _repeated(files["blake2b"])
    if repeated:
        yield FunnelProblem("files", "rows whose blake2b another row has", repeated)
    not_pictures = pc.and_(pc.equal(kinds, STILL), pc.invert(pc.starts_with(files["media_type"], "image/")))
    wrong = pc.sum(not_pictures).as_py() or 0
    if wrong:
        yield FunnelProblem("files", "stills that are no pictures", wrong)


def _check_decisions(stage: str, table: pa.Table, known: Collection[str]) -> Iterable[FunnelProblem]:
    wrong = len(table) - (pc.sum(pc.is_in(table["decision"], pa.array(list(known), pa.string()))).as_py() or 0)
    if wrong:
        yield FunnelProblem(stage, "decisions that are none of the list", wrong)


def _check_stage(
    stage: str, table: pa.Table, called: str, expected: pa.ChunkedArray, expected_called: str
) -> Iterable[FunnelProblem]:
    """Find what was passed on to a stage and is not in it, what is in it and was not passed on, and repetitions."""
    if len(table) != len(expected):
        yield FunnelProblem(
            stage, f"{len(table)} {called}, but {len(expected)} {expected_called}", abs(len(table) - len(expected))
        )
    missing = _rows_outside(expected, table["blake2b"])
    if missing:
        yield FunnelProblem(stage, f"{expected_called} that are not among the {called}", missing)
    strangers = _rows_outside(table["blake2b"], expected)
    if strangers:
        yield FunnelProblem(stage, f"{called} that are not among the {expected_called}", strangers)
    repeated = _repeated(table["blake2b"])
    if repeated:
        yield FunnelProblem(stage, f"{called} whose blake2b another one has", repeated)


def _rows_outside(values: pa.ChunkedArray, those: pa.ChunkedArray) -> int:
    inside = pc.is_in(
        values, value_set=pa.concat_arrays(those.chunks) if those.num_chunks else pa.array([], those.type)
    )
    return len(values) - (pc.sum(inside).as_py() or 0)


def _repeated(values: pa.ChunkedArray) -> int:
    return len(values) - int(pc.count_distinct(values, mode="all").as_py())
