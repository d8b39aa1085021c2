"""The pass over one archive: every record of its WARC files gets a row in the ledger, every original kept is packed.

What a record's decision is, the rules in `imgur` say; how WARC files are read, `warc`; where outputs go, the caller.
"""

import errno
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Protocol, Required, TypedDict

import pyarrow as pa

from imgmine.archives.ahead import Ahead
from imgmine.archives.blocked import Blocklist, HashKind, named
from imgmine.archives.cdx import CdxEntry
from imgmine.archives.http import HttpResponse, HttpSyntaxError, parse_response
from imgmine.archives.imgur import (
    BestOriginals,
    Candidate,
    choose,
    classify_url,
    decide_before_body,
    decide_on_body,
)
from imgmine.archives.item import Item
from imgmine.archives.ledger import Ledger, LedgerRow
from imgmine.archives.list_hashes import some_hashes
from imgmine.archives.packing import KeptFile, Packed, Packer
from imgmine.archives.spool import Spool
from imgmine.archives.warc import Damage, WarcRecord, read_warc
from imgmine.decisions import RecordDecision
from imgmine.errors import ImgmineError
from imgmine.images.decoder_pool import DecoderPool
from imgmine.images.gate_ahead import GateAhead
from imgmine.images.media_types import media_type
from imgmine.store.publish import fingerprint
from imgmine.store.shards import SHARD_BYTES, Shard

CODE_VERSION = "4"

_PROGRESS_STEP = 4 << 20
_WARNINGS_TOLD = 100
_LONGEST_DATE = 64


class RecordSource(Protocol):
    """A WARC file of which not every record is read; `selection` has one."""

    def records(self) -> Iterator[WarcRecord | Damage | CdxEntry]:
        """Yield records and damage as `read_warc` does, and in their places the entries of records not fetched."""
        ...


Warc = tuple[str, Path | Callable[[], BinaryIO] | RecordSource]
Progress = Callable[[int, int], None]


class PassOptions(TypedDict, total=False):
    """What every way of making the pass takes, as `extract_archive` describes it."""

    shard_bytes: int
    decoders: Required[DecoderPool]
    progress: Progress | None
    on_read: Callable[[], None] | None
    ahead: Ahead | None
    blocked: Blocklist | None
    blocked_with_video: Blocklist | None
    is_named: Callable[[str | None, str | None], bool] | None


class ArchiveUnreadable(ImgmineError):
    """A WARC file of the archive is not there or cannot be read from."""


class ScratchFailed(ImgmineError):
    """The scratch folder cannot take what the pass has to keep for a while."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What one archive gave.

    Attributes:
        records: the ledger, sorted by `warc_file` and `warc_offset`.
        files: one row a distinct file, sorted by `blake2b`.
        shards: the tar shards that `files` names, as local files unless they were put into the store already.
        counts: rows by decision, and `stills`, `shared_stills`, `videos_without_still`, `warnings`.
        warnings: what a person should be told, the first hundred: damaged bytes, videos without a still.
        remake: writes the local file of a shard that was put into the store, as long as the scratch folder is there.
        named: files that are blocked by the URL or the media id of a record, by BLAKE2b, each with those.
    """

    records: pa.Table
    files: pa.Table
    shards: list[Shard]
    counts: Mapping[str, int]
    warnings: tuple[str, ...]
    remake: Callable[[Shard], None]
    named: Mapping[bytes, tuple[str, str]]


def inputs_fingerprint(item: Item, shard_bytes: int = SHARD_BYTES, **selection: object) -> str:
    """Return the digest of all that `extract_archive` depends on: the WARCs' names, sizes and MD5s, and parameters.

    `selection` is by what some records are not fetched; without it, all are. What is blocked the ledger says.
    """
    return fingerprint(
        archive=item.identifier,
        warcs=item.warcs_digest,
        shard_bytes=shard_bytes,
        code_version=CODE_VERSION,
        **selection,
    )


def extract_archive(
    archive: str,
    warcs: Sequence[Warc],
    scratch: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    decoders: DecoderPool,
    progress: Progress | None = None,
    on_read: Callable[[], None] | None = None,
    ahead: Ahead | None = None,
    blocked: Blocklist | None = None,
    blocked_with_video: Blocklist | None = None,
    is_named: Callable[[str | None, str | None], bool] | None = None,
) -> Extraction:
    """Read each WARC file once, in order of name, and return the archive's ledger, files and shards.

    The same WARC files give the same tables and shards, in whatever order they are given, with `ahead` or without it.
    Memory holds one record and the ledger; payloads wait in `scratch`, which needs room for the archive's originals and
    for the shards that are not in the store yet.

    Parameters
    ----------
    archive : the identifier of the archive.
    warcs : name of each WARC file in the archive, and its path, a function that opens it, or a `RecordSource`.
    scratch : an empty folder; the shards are left in it, and with `ahead` what its gate has still to read.
    shard_bytes : a shard is closed before it would grow beyond this.
    progress : is told the compressed bytes read and those there are in all (0 where that is not known).
    on_read : is called once no WARC file is needed any more.
    ahead : judges pictures and puts shards into the store while the archive is read; all shards are there at the end.
    blocked : originals and stills whose bytes it names are not written anywhere, nor is a video whose still it names.
        The rest comes out as it would without it: what they are better than is still a `lesser_copy`.
    blocked_with_video : where it is given, a still takes its video with it only where this names it, too.
    is_named : tells by a record's URL and media id whether its bytes are blocked, under whatever URL they are.

    Raises `ArchiveUnreadable`, `ScratchFailed`, `imgmine.images.worker_process.DecoderError`, and with `ahead`
    `StoreError`. Nothing that the WARC files contain raises: what cannot be read is `damaged`.
    """
    names = [name for name, _ in warcs]
    if len(set(names)) != len(names):
        raise ValueError(f"{archive}: a WARC file is given twice: {sorted(names)}")
    best = BestOriginals()
    gate = ahead.gate if ahead is not None else GateAhead(decoders)
    with (
        _writing(archive, scratch),
        Spool(scratch / "spool.bin", stays=ahead is not None) as spool,
        Packer(
            archive,
            spool,
            scratch / "shards",
            best,
            gate,
            ahead,
            shard_bytes,
            blocked or Blocklist(),
            blocked_with_video,
        ) as packer,
    ):
        reading = _Reading(archive, best, packer, blocked or Blocklist(), is_named)
        report = _Report(warcs, progress)
        for name, source in sorted(warcs, key=lambda warc: warc[0]):
            with closing(_records(archive, name, source)) as records_found:
                for found in records_found:
                    reading.take(name, found)
                    report.read_to(found.offset + found.length)
            report.end_of_file()
        if on_read is not None:
            on_read()
        kept = reading.settle(packer.finish_stills())
        records = reading.ledger.table(archive)
        packed = packer.finish(kept, records)
        if ahead is not None:
            ahead.outbox.finish()
    return _extraction(records, packed, reading, packer)


class _Reading:
    """What the pass knows while it reads: the ledger, and of each sound original what the choice among them needs."""

    def __init__(
        self,
        archive: str,
        best: BestOriginals,
        packer: Packer,
        blocked: Blocklist,
        is_named: Callable[[str | None, str | None], bool] | None,
    ) -> None:
        self.ledger = Ledger()
        self.named: dict[bytes, tuple[str, str]] = {}
        self.warnings: list[str] = []
        self.damages = 0
        self._archive = archive
        self._best = best
        self._packer = packer
        self._blocked = blocked
        self._is_named = is_named
        self._blocked_by: dict[bytes, str | None] = {}
        self._candidates: list[Candidate] = []
        self._candidate_rows: list[int] = []
        self._last_modified: list[datetime | None] = []

    def take(self, warc_file: str, found: WarcRecord | Damage | CdxEntry) -> None:
        """Put a record, or a damaged stretch of the file, into the ledger; hand on its body where it may be kept."""
        if isinstance(found, CdxEntry):
            self.ledger.add(_row_not_fetched(warc_file, found), RecordDecision.NOT_FETCHED)
            return
        if isinstance(found, Damage):
            self.ledger.add(LedgerRow(warc_file, found.offset, found.length), RecordDecision.DAMAGED)
            self._warn_of_damage(warc_file, found.offset, found.length, found.reason)
            return
        url = classify_url(found.url)
        response, head_error = _parsed(found)
        if head_error is not None:
            self._warn_of_damage(warc_file, found.offset, found.length, head_error)
        row = _row(warc_file, found, url.media_id, response)
        status, location = (response.status, response.headers.get("location")) if response else (None, None)
        decision = decide_before_body(found.record_type, url, head_error is None, status, location)
        kind = None
        if decision is None and response is not None:
            kind = media_type(response.body)
            complete = response.complete and found.truncated is None
            decision = decide_on_body(response.body_length, complete, found.captured_at, kind)
        number = self.ledger.add(row, decision)
        if decision is None and response is not None and kind is not None and url.media_id is not None:
            self._add_candidate(number, found.url, url.media_id, kind, response)

    def _add_candidate(self, number: int, url: str | None, media_id: str, kind: str, response: HttpResponse) -> None:
        digest = blake2b(response.body, digest_size=32).digest()
        candidate = Candidate(media_id, kind, digest)
        self._candidates.append(candidate)
        self._candidate_rows.append(number)
        self._last_modified.append(_http_date(response.headers.get("last-modified")))
        known = self._see_whether_blocked(digest, response.body)
        if self._is_named is not None and self._is_named(url, media_id):
            # If it was packed before, under another URL, its shard is made again without it.
            self._blocked_by[digest] = named(HashKind.BLAKE2B, digest)
            self.named.setdefault(digest, (url or "", media_id))
        # One that is beaten already will not be kept, whatever comes.
        if self._best.see(candidate) and self._blocked_by[digest] is None:
            self._packer.take(candidate, response.body, known)

    def _see_whether_blocked(self, digest: bytes, body: bytes | memoryview) -> dict[str, bytes]:
        """Note whether the bytes are blocked, before they are written anywhere; return the hashes made for that."""
        if digest in self._blocked_by:
            return {}
        known = some_hashes(body, self._blocked.byte_kinds)
        self._blocked_by[digest] = self._blocked.find({"blake2b": digest, **known})
        return known

    def _warn_of_damage(self, warc_file: str, offset: int, length: int, reason: str) -> None:
        self.damages += 1
        if len(self.warnings) < _WARNINGS_TOLD:
            self.warnings.append(f"{self._archive}, {warc_file}: {length} bytes from {offset} on are damaged: {reason}")

    def settle(self, blocked_videos: Mapping[bytes, str]) -> list[KeptFile]:
        """Decide about all candidates and return the files kept, in the order of their records.

        Blocked ones take part in the choice: what is left is what would be left if they were taken out afterwards.
        """
        kept = []
        for candidate, decision, number, last_modified in zip(
            self._candidates, choose(self._candidates), self._candidate_rows, self._last_modified, strict=True
        ):
            blocked_by = self._blocked_by[candidate.blake2b] or blocked_videos.get(candidate.blake2b)
            if blocked_by is not None:
                decision = RecordDecision.BLOCKED
            self.ledger.settle(number, decision, candidate.blake2b, blocked_by)
            if decision is RecordDecision.KEPT:
                kept.append(KeptFile(candidate.blake2b, number, last_modified))
        return kept


def _parsed(record: WarcRecord) -> tuple[HttpResponse | None, str | None]:
    """Return the record's HTTP response, or why it has none; neither for a revisit that carries nothing."""
    if record.record_type == "revisit" and not record.block:
        return None, None
    try:
        return parse_response(record.block), None
    except HttpSyntaxError as error:
        return None, str(error)


def _row(warc_file: str, record: WarcRecord, media_id: str | None, response: HttpResponse | None) -> LedgerRow:
    row = LedgerRow(
        warc_file,
        record.offset,
        record.length,
        record_id=record.record_id or None,
        record_type=record.record_type,
        url=record.url,
        captured_at=record.captured_at,
        body_length=0 if record.record_type == "revisit" else None,
        media_id=media_id,
    )
    if response is None:
        return row
    return row._replace(
        http_status=response.status,
        served_type=response.headers.get("content-type"),
        declared_length=response.declared_length,
        body_length=0 if record.record_type == "revisit" else response.body_length,
    )


def _row_not_fetched(warc_file: str, entry: CdxEntry) -> LedgerRow:
    return LedgerRow(
        warc_file,
        entry.offset,
        entry.length,
        record_type="revisit" if entry.is_revisit else "response",
        url=entry.url,
        captured_at=entry.captured_at,
        http_status=entry.status,
        served_type=None if entry.is_revisit else entry.mime,
        media_id=classify_url(entry.url).media_id,
        known_as=entry.known_as,
    )


class _Report:
    """Tells how far the pass has come, every few MiB."""

    def __init__(self, warcs: Sequence[Warc], progress: Progress | None) -> None:
        sizes = [source.stat().st_size for _, source in warcs if isinstance(source, Path) and source.is_file()]
        self._total = sum(sizes) if len(sizes) == len(warcs) else 0
        self._progress = progress
        self._before = 0
        self._position = 0
        self._told = 0

    def read_to(self, position: int) -> None:
        self._position = position
        if self._before + position - self._told >= _PROGRESS_STEP:
            self._tell()

    def end_of_file(self) -> None:
        self._before += self._position
        self._position = 0
        self._tell()

    def _tell(self) -> None:
        self._told = self._before + self._position
        if self._progress is not None:
            self._progress(self._told, self._total)


def _open(archive: str, name: str, source: Path | Callable[[], BinaryIO]) -> BinaryIO:
    try:
        return source.open("rb") if isinstance(source, Path) else source()
    except OSError as error:
        raise _unreadable(archive, name, error) from error


def _records(
    archive: str, name: str, source: Path | Callable[[], BinaryIO] | RecordSource
) -> Generator[WarcRecord | Damage | CdxEntry, None, None]:
    if not isinstance(source, Path) and not callable(source):
        yield from source.records()
        return
    try:
        with _open(archive, name, source) as stream:
            yield from read_warc(stream)
    except OSError as error:
        raise _unreadable(archive, name, error) from error


def _unreadable(archive: str, name: str, error: OSError) -> ArchiveUnreadable:
    return ArchiveUnreadable(
        f"{archive}, {name}: {error.strerror or error}. See whether the disk is sound and the file is in the archive "
        "cache; raw_archives puts it there."
    )


@contextmanager
def _writing(archive: str, scratch: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        advice = (
            "Free some space, or point IMGMINE_HOME to a larger disk; then run again."
            if error.errno in {errno.ENOSPC, errno.EDQUOT}
            else "See that the folder is there and can be written."
        )
        raise ScratchFailed(f"{archive}: writing to {scratch} failed: {error.strerror or error}. {advice}") from error


def _http_date(text: str | None) -> datetime | None:
    """Return the UTC time of an HTTP date, in whatever form; None for what is none."""
    if text is None or len(text) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _extraction(records: pa.Table, packed: Packed, reading: _Reading, packer: Packer) -> Extraction:
    urls = records["url"]
    told = [
        f"video {lost.video.blake2b.hex()} ({urls[lost.video.record].as_py()}) gives no still: {lost.reason}"
        for lost in packed.without_still[:_WARNINGS_TOLD]
    ]
    counts = Counter[str](records["decision"].to_pylist())
    counts["stills"] = len(packed.files) - counts[RecordDecision.KEPT]
    counts["shared_stills"] = packed.shared_stills
    counts["videos_without_still"] = len(packed.without_still)
    counts["warnings"] = reading.damages + len(packed.without_still)
    warnings = tuple(reading.warnings + told)[:_WARNINGS_TOLD]
    return Extraction(records, packed.files, packed.shards, counts, warnings, packer.remake, reading.named)
