"""The whole story of one picture: every record that carried it, every decision and score since, and where it is now.

Read from the published tables as they are, so it needs no warehouse. How it is shown is `explanation_text`'s.
"""

import hashlib
import re
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from imgmine.archives.imgur import classify_url
from imgmine.dataset.archives import MANIFESTS
from imgmine.dataset.labels import Saying, sayings_of
from imgmine.dataset.publishing import DATASET
from imgmine.dataset.relations import archives_in, connect, dataset_table, view_archive_tables
from imgmine.dataset.takedown_log import Entry, TakedownLog, read_log
from imgmine.decisions import ImageDecision, RecordDecision, ScoreDecision
from imgmine.errors import ImgmineError
from imgmine.store.base import NotInStore, Store
from imgmine.store.tables import DIGEST, JUDGEMENTS, table_key

_SEARCHED = ("records", "files", "images", "anomaly_scores", *JUDGEMENTS)
_TAKEN = frozenset({RecordDecision.KEPT, RecordDecision.DUPLICATE})
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_HOST_AND_PATH = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:\d+)?/.*")


class NotAQuery(ImgmineError):
    """What was asked about is neither a BLAKE2b, nor a URL, nor a file that is there."""


class QueryKind(StrEnum):
    """What was asked about."""

    HASH = "hash"
    URL = "url"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Query:
    """A question: the text as given, and what it stands for. `urls` are the forms that count as the same URL."""

    text: str
    kind: QueryKind
    digest: bytes | None = None
    urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordStory:
    """One row of `records`, and how to fetch it again. `offset` and `length` are of the compressed record, in bytes.

    `blake2b` is None where the record was dropped before its bytes were hashed; `fetch`, a command, then only prints
    what they hash to. Only a response that is not blocked is to be fetched: for others `fetch` is None. `known_as` is
    what an earlier archive has in its place, by the SHA-1 that the CDX gives; `blocked_by` the hash or name in a
    list, or in the log of take-downs, that kept it out.
    """

    archive: str
    warc_file: str
    warc_offset: int
    warc_length: int
    record_id: str | None
    record_type: str | None
    url: str | None
    captured_at: datetime | None
    http_status: int | None
    served_type: str | None
    declared_length: int | None
    body_length: int | None
    media_id: str | None
    decision: RecordDecision
    blake2b: bytes | None
    known_as: bytes | None
    blocked_by: str | None
    address: str
    fetch: str | None


@dataclass(frozen=True, slots=True)
class FileStory:
    """One row of `files`. `shard` is an address; its bytes from `shard_offset` on, `size` of them, are the file."""

    archive: str
    blake2b: bytes
    size: int
    media_type: str
    url: str | None
    last_modified: datetime | None
    shard: str
    shard_offset: int
    video_blake2b: bytes | None
    frame_time: float | None


@dataclass(frozen=True, slots=True)
class ImageStory:
    """One row of `images`: the gate's verdict. `preview` is the address of the shard with the preview, if any."""

    archive: str
    width: int | None
    height: int | None
    mode: str | None
    format: str | None
    frames: int | None
    decision: ImageDecision
    detail: str | None
    preview: str | None
    preview_offset: int | None
    preview_size: int | None
    dhash: int | None
    exif_copyright: str | None
    embedded: bool


@dataclass(frozen=True, slots=True)
class ScoreStory:
    """One row of `anomaly_scores`."""

    archive: str
    log_likelihood: float
    percentile: float
    decision: ScoreDecision


@dataclass(frozen=True, slots=True)
class JudgementStory:
    """One row of a table beside the funnel: the table's name, the decision if any, what else the row has by column."""

    archive: str
    table: str
    decision: str | None
    values: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a file in the dataset as it was last published, and how many archives had it then."""

    archive: str
    copies: int


@dataclass(frozen=True, slots=True)
class PictureStory:
    """What became of one distinct payload, in every archive that has it. `owner` is None until `dataset` has run.

    `labels` are what people said of it, in the order of time.
    """

    blake2b: bytes
    files: tuple[FileStory, ...]
    images: tuple[ImageStory, ...]
    scores: tuple[ScoreStory, ...]
    judgements: tuple[JudgementStory, ...]
    owner: Owner | None
    labels: tuple[Saying, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything known about what was asked.

    `records` answer the question itself. `others` carried the same bytes under another URL, or are what was kept of
    the same media where a record was dropped; for a URL without a record, all there is of the same media. `pictures`
    are the payloads that come from `records`, the stills of videos among them. `archives_mined` of `archives_known`
    were searched. `takedowns` are the entries of the log by which what was asked about is blocked now: no picture that
    was taken down is among `pictures`, and its records say `blocked`.
    """

    query: Query
    archives_mined: int
    archives_known: int
    records: tuple[RecordStory, ...]
    others: tuple[RecordStory, ...]
    pictures: tuple[PictureStory, ...]
    takedowns: tuple[Entry, ...] = ()

    @property
    def known(self) -> bool:
        """Whether any record, file or take-down answers the question."""
        return bool(self.records or self.pictures or self.takedowns)


def parse_query(text: str) -> Query:
    """Tell a BLAKE2b-256 in hexadecimal, a URL and the path of a file apart. Raises `NotAQuery`.

    http and https are taken for the same, and a URL may come without either.
    """
    text = text.strip()
    if _DIGEST.fullmatch(text):
        return Query(text, QueryKind.HASH, digest=bytes.fromhex(text))
    if _SCHEME.match(text):
        rest = _SCHEME.sub("", text, count=1)
        return Query(text, QueryKind.URL, urls=_same_urls(text, rest))
    path = Path(text).expanduser()
    if path.is_file():
        return Query(text, QueryKind.FILE, digest=_hash_file(path))
    if _HOST_AND_PATH.fullmatch(text):
        return Query(text, QueryKind.URL, urls=_same_urls(f"https://{text}", text))
    raise NotAQuery(
        f"{text!r} is no file that is there, no URL, and no BLAKE2b-256 (64 hexadecimal digits). Give one of these."
    )


def explain(text: str, store: Store, mirror_folder: Path, archive_org: str) -> Explanation:
    """Collect everything about a BLAKE2b, a URL or a picture file from the published tables.

    `mirror_folder` keeps copies of the tables of a remote store; `archive_org` is where archives are fetched from
    (`https://archive.org`). Raises `NotAQuery`.
    """
    query = parse_query(text)
    folders = {table: store.mirror(table, ".parquet", mirror_folder) for table in (*_SEARCHED, DATASET)}
    manifests = store.mirror(MANIFESTS, ".json", mirror_folder)
    mined = archives_in(folders["records"])
    known = {*mined, *(path.name.removesuffix(".json") for path in manifests.glob("*.json"))}
    with connect() as connection:
        view_archive_tables(connection, {table: folders[table] for table in _SEARCHED})
        connection.execute(f"CREATE VIEW ownership AS {dataset_table('ownership', folders[DATASET])}")
        log = read_log(store)
        library = _Library(connection, store, mirror_folder, archive_org.rstrip("/"), log.blocked)
        records, others, digests = library.find(query)
        listed = [digest for digest in digests if digest not in log.blocked]
        pictures = tuple(story for digest in listed if (story := library.picture(digest)).files)
    return Explanation(query, len(mined), len(known), records, others, pictures, _takedowns(log, query, digests))


def _takedowns(log: TakedownLog, query: Query, digests: Sequence[bytes]) -> tuple[Entry, ...]:
    """Return the entries that block any of the payloads, or the URL that was asked about."""
    by_file = [entry for digest in digests for entry in log.blocking(digest)]
    by_url = [entry for url in query.urls for entry in log.naming(url, classify_url(url).media_id)]
    return tuple(
        sorted({entry.number: entry for entry in (*by_file, *by_url)}.values(), key=lambda entry: entry.number)
    )


def _same_urls(text: str, rest: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text, f"https://{rest}", f"http://{rest}")))


def _hash_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=32)).digest()


class _Library:
    """The published tables, and the questions that are put to them."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: Store,
        mirror_folder: Path,
        archive_org: str,
        blocked: Collection[bytes],
    ) -> None:
        self._mirror_folder = mirror_folder
        self._blocked = blocked
        self._connection = connection
        self._store = store
        self._archive_org = archive_org

    def find(self, query: Query) -> tuple[tuple[RecordStory, ...], tuple[RecordStory, ...], list[bytes]]:
        """Return the records that answer the query, others of the same story, and the digests that it is about."""
        if query.digest is not None:
            videos, stills = self._videos_of(query.digest), self._stills_of([query.digest])
            records = self._records("blake2b", [query.digest, *videos])
            return records, self._originals(records), list(dict.fromkeys([query.digest, *videos, *stills]))
        records = self._records("url", query.urls)
        digests = list(dict.fromkeys(record.blake2b for record in records if record.blake2b is not None))
        if records:
            related = (*self._records("blake2b", digests), *self._originals(records))
        else:
            related = self._records("media_id", _media_ids(query.urls))
        others = tuple(dict.fromkeys(other for other in related if other not in records))
        return records, others, list(dict.fromkeys([*digests, *self._stills_of(digests)]))

    def picture(self, digest: bytes) -> PictureStory:
        """Return what became of a payload."""
        owner = self._rows("SELECT archive, copies FROM ownership WHERE blake2b = ?", digest)
        return PictureStory(
            blake2b=digest,
            files=tuple(self._file(row) for row in self._rows_of("files", digest)),
            images=tuple(self._image(row) for row in self._rows_of("images", digest)),
            scores=tuple(self._score(row) for row in self._rows_of("anomaly_scores", digest)),
            judgements=tuple(_judgement(table, row) for table in JUDGEMENTS for row in self._rows_of(table, digest)),
            owner=Owner(**owner[0]) if owner else None,
            labels=sayings_of(self._store, self._mirror_folder, digest),
        )

    def _rows(self, select: str, parameter: object) -> list[dict[str, Any]]:
        # By way of Arrow: DuckDB's own rows need pytz for times.
        rows: list[dict[str, Any]] = self._connection.execute(select, [parameter]).to_arrow_table().to_pylist()
        return rows

    def _rows_of(self, table: str, digest: bytes) -> list[dict[str, Any]]:
        return self._rows(f"SELECT * FROM {table} WHERE blake2b = ? ORDER BY archive", digest)

    def _records(self, column: str, values: Sequence[object]) -> tuple[RecordStory, ...]:
        """Return the records with any of these values, in order of capture."""
        rows = self._rows(
            f"SELECT * FROM records WHERE {column} IN (SELECT unnest(?)) "
            "ORDER BY captured_at, archive, warc_file, warc_offset",
            list(values),
        ) if values else []  # fmt: skip
        return tuple(self._record(row) for row in rows)

    def _originals(self, records: Sequence[RecordStory]) -> tuple[RecordStory, ...]:
        """Return the records that were kept of the same media as those that were not."""
        dropped = {record.media_id for record in records if record.decision not in _TAKEN and record.media_id}
        return tuple(record for record in self._records("media_id", sorted(dropped)) if record.decision in _TAKEN)

    def _videos_of(self, still: bytes) -> list[bytes]:
        found = self._rows("SELECT DISTINCT video_blake2b AS digest FROM files WHERE blake2b = ? ORDER BY ALL", still)
        return [row["digest"] for row in found if row["digest"] is not None]

    def _stills_of(self, videos: Sequence[bytes]) -> list[bytes]:
        if not videos:
            return []
        found = self._rows(
            "SELECT DISTINCT blake2b AS digest FROM files WHERE video_blake2b IN (SELECT unnest(?)) ORDER BY ALL",
            list(videos),
        )
        return [row["digest"] for row in found]

    def _record(self, row: dict[str, Any]) -> RecordStory:
        address = f"{self._archive_org}/download/{quote(row['archive'])}/{quote(row['warc_file'])}"
        decision = RecordDecision(row["decision"] if row["blake2b"] not in self._blocked else RecordDecision.BLOCKED)
        may_fetch = row["record_type"] == "response" and decision is not RecordDecision.BLOCKED
        fetch = _fetch_command(address, row) if may_fetch else None
        return RecordStory(**{**_of(RecordStory, row), "decision": decision}, address=address, fetch=fetch)

    def _file(self, row: dict[str, Any]) -> FileStory:
        return FileStory(**{**_of(FileStory, row), "shard": self._store.uri(row["shard"])})

    def _image(self, row: dict[str, Any]) -> ImageStory:
        shard = row["preview_shard"]
        return ImageStory(
            **{
                **_of(ImageStory, row),
                "decision": ImageDecision(row["decision"]),
                "preview": self._store.uri(shard) if shard is not None else None,
                "embedded": self._is_embedded(row["archive"], row["blake2b"]),
            }
        )

    def _score(self, row: dict[str, Any]) -> ScoreStory:
        return ScoreStory(**{**_of(ScoreStory, row), "decision": ScoreDecision(row["decision"])})

    def _is_embedded(self, archive: str, digest: bytes) -> bool:
        # Vectors are by far the largest table: of a remote store, only this archive's are fetched.
        with TemporaryDirectory() as folder:
            try:
                table = self._store.local_copy(table_key("embeddings", archive), Path(folder))
            except NotInStore:
                return False
            digests = pq.read_table(table, columns=["blake2b"]).column("blake2b")
            return bool(pc.index(digests, pa.scalar(digest, DIGEST)).as_py() >= 0)


def _judgement(table: str, row: dict[str, Any]) -> JudgementStory:
    values = tuple((name, value) for name, value in row.items() if name not in ("archive", "blake2b", "decision"))
    return JudgementStory(row["archive"], table, row.get("decision"), values)


def _fetch_command(address: str, row: dict[str, Any]) -> str:
    words = ["python", "-m", "imgmine.archives.origin", address, str(row["warc_offset"]), str(row["warc_length"])]
    # In one word each: what an archive calls its records may begin with a dash.
    if row["record_id"] is not None:
        words.append(f"--record-id={row['record_id']}")
    if row["blake2b"] is not None:
        words.append(f"--expect={row['blake2b'].hex()}")
    return shlex.join(words)


def _of(kind: type, row: dict[str, Any]) -> dict[str, Any]:
    return {field.name: row[field.name] for field in fields(kind) if field.name in row}


def _media_ids(urls: Sequence[str]) -> list[str]:
    return sorted({media_id for url in urls if (media_id := classify_url(url).media_id) is not None})
