"""The pass that writes an archive's WARC files from its plan, and takes down the truth and the CDX lines as it goes.

How a record or a frame looks is in `warc_writer`; the files beside the WARC files are in `item_files`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from imgmine.decisions import RecordDecision
from imgmine.demo import http_heads
from imgmine.demo.encodings import Payload
from imgmine.demo.exchanges import Exchange
from imgmine.demo.http_heads import Framing, Wire
from imgmine.demo.payloads import Body, make
from imgmine.demo.plan import ArchivePlan, FilePlan, SourcePlan
from imgmine.demo.truth import TrueFile, TrueRecord, Truth
from imgmine.demo.warc_writer import (
    MegawarcWriter,
    new_record_id,
    record_bytes,
    sha1_base32,
    sha1_base32_cut,
    train_dictionary,
)

_AHEAD = 24
_REVISIT_PROFILE = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
# From here on the crawler's build cut a digest at its first zero byte.
_DIGESTS_CUT_FROM = datetime(2023, 6, 1, tzinfo=UTC)
_ADDRESSES = ("192.0.2.193", "192.0.2.194", "198.51.100.17")
Step = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class CdxLine:
    """What the CDX says of one record."""

    url: str
    captured_at: datetime
    mime: str
    status: int
    digest: str
    length: int
    offset: int
    warc_file: str


@dataclass(frozen=True, slots=True)
class SourceWarc:
    """One source WARC inside a WARC file: its name, where it lies in the compressed file, when it was written."""

    name: str
    offset: int
    size: int
    written: datetime


@dataclass(slots=True)
class Written:
    """What came of an archive's WARC files."""

    truth: Truth
    cdx: list[CdxLine] = field(default_factory=list)
    sources: dict[str, list[SourceWarc]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An earlier response of the same source WARC, for revisits of it."""

    record_id: str
    captured_at: str
    digest: str


def write_warcs(plan: ArchivePlan, folder: Path, scale: float, progress: Step | None = None) -> Written:
    """Write every WARC file of `plan` into `folder`.

    Args:
        plan: what is in the archive.
        folder: must exist.
        scale: enlarges pictures; 1 gives sides up to 640 pixels.
        progress: called with the archive, the number of response records written and their total.
    """
    written = Written(Truth(plan.identifier, plan.kind.value))
    exchanges = [
        e for file in plan.files for source in file.sources for group in source.groups for e in group.exchanges
    ]
    with ThreadPoolExecutor(2) as pool:
        payloads = _made_ahead(pool, (exchange.body for exchange in exchanges), scale)
        for file in plan.files:
            _FileWriter(plan, file, folder, written, payloads, progress, len(exchanges)).run()
    return written


def _made_ahead(pool: ThreadPoolExecutor, bodies: Iterable[Body], scale: float) -> Iterator[Payload]:
    """Yield the payloads of `bodies` in order, a few of them being made while the caller writes."""
    waiting: list[Future[Payload]] = []
    for body in bodies:
        waiting.append(pool.submit(make, body, scale))
        if len(waiting) > _AHEAD:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


class _FileWriter:
    """Writes one WARC file: its source WARCs end to end."""

    def __init__(
        self,
        plan: ArchivePlan,
        file: FilePlan,
        folder: Path,
        written: Written,
        payloads: Iterator[Payload],
        progress: Step | None,
        total: int,
    ) -> None:
        self._plan, self._file, self._written, self._payloads = plan, file, written, payloads
        self._progress, self._total = progress, total
        self._rng = Random(f"warc/{plan.seed}/{file.name}")
        dictionary = train_dictionary(_samples(file), file.dictionary_id) if file.dictionary_id else b""
        self._writer = MegawarcWriter(folder / file.name, dictionary, file.dictionary, self._rng)
        self._digests = {record.blake2b for record in written.truth.files}

    def run(self) -> None:
        sources = []
        for source in self._file.sources:
            start = self._writer.offset
            name = f"imgur-{self._rng.randbytes(5).hex()}-{source.began:%Y%m%d-%H%M%S}.warc.zst"
            done = self._write_source(source, name)
            sources.append(SourceWarc(name, start, self._writer.offset - start, done))
        self._writer.close()
        self._written.sources[self._file.name] = sources

    def _write_source(self, source: SourcePlan, name: str) -> datetime:
        warcinfo = new_record_id(self._rng)
        now = source.began
        fields = (
            b"software: Wget/1.21.3-at.20230623.01 (linux-gnu)\r\nformat: WARC File Format 1.1\r\n"
            b"conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/\r\n"
            b'robots: off\r\nwget-arguments: "-U" "Mozilla/5.0" "-nv" "--no-cookies" "--warc-zstd-dict" "zstdict"\r\n'
        )
        headers = [
            ("WARC-Type", "warcinfo"),
            ("WARC-Record-ID", f"<{warcinfo}>"),
            ("WARC-Date", _warc_date(now)),
            ("WARC-Filename", name),
            ("WARC-Block-Digest", f"sha1:{sha1_base32(fields)}"),
            ("Content-Type", "application/warc-fields"),
        ]
        self._writer.write(record_bytes(headers, fields))
        seen: dict[str, _Seen] = {}
        for group in source.groups:
            for exchange in group.exchanges:
                now += timedelta(milliseconds=self._rng.randrange(120, 2600))
                self._write_exchange(exchange, next(self._payloads), now.replace(microsecond=0), warcinfo, seen)
        self._write_log(now.replace(microsecond=0), warcinfo, name)
        return now

    def _write_exchange(
        self, exchange: Exchange, payload: Payload, now: datetime, warcinfo: str, seen: dict[str, _Seen]
    ) -> None:
        rng = self._rng
        address, request_id, response_id = rng.choice(_ADDRESSES), new_record_id(rng), new_record_id(rng)
        wire = http_heads.respond(
            status=exchange.status,
            served_type=exchange.served_type,
            location=exchange.location,
            body=payload.body,
            framing=exchange.framing,
            arrived=_arrived(exchange, payload),
            captured_at=now,
            rng=rng,
            plain_head=exchange.plain_head,
        )
        request = http_heads.request_head(exchange.url, rng)
        headers = [
            ("WARC-Type", "request"),
            ("WARC-Record-ID", f"<{request_id}>"),
            ("WARC-Warcinfo-ID", f"<{warcinfo}>"),
            ("WARC-Target-URI", exchange.url),
            ("WARC-Date", _warc_date(now)),
            ("WARC-IP-Address", address),
            ("WARC-Block-Digest", f"sha1:{sha1_base32(request)}"),
            ("X-Wget-AT-Project-Item-Name", exchange.item),
            ("Content-Type", "application/http;msgtype=request"),
        ]
        self._writer.write(record_bytes(headers, request))
        earlier = seen[exchange.refers_to] if exchange.refers_to else None
        block = wire.head if earlier else wire.head + wire.raw_body
        digest = earlier.digest if earlier else _payload_digest(exchange, wire, now)
        headers = [
            ("WARC-Type", "revisit" if earlier else "response"),
            ("WARC-Record-ID", f"<{response_id}>"),
            ("WARC-Warcinfo-ID", f"<{warcinfo}>"),
            ("WARC-Concurrent-To", f"<{request_id}>"),
            ("WARC-Target-URI", exchange.url),
            ("WARC-Date", _warc_date(now)),
            ("WARC-IP-Address", address),
        ]
        if earlier:
            headers += [
                ("WARC-Refers-To", f"<{earlier.record_id}>"),
                ("WARC-Refers-To-Target-URI", exchange.refers_to or ""),
                ("WARC-Refers-To-Date", earlier.captured_at),
                ("WARC-Profile", _REVISIT_PROFILE),
                ("WARC-Truncated", "length"),
            ]
        elif exchange.warc_truncated:
            headers.append(("WARC-Truncated", exchange.warc_truncated))
        headers += [
            ("WARC-Block-Digest", f"sha1:{sha1_base32(block)}"),
            ("WARC-Payload-Digest", f"sha1:{digest}"),
            ("X-Wget-AT-Project-Item-Name", exchange.item),
            ("Content-Type", "application/http;msgtype=response"),
        ]
        span = self._writer.write(record_bytes(headers, block), exchange.layout)
        if not earlier:
            seen[exchange.url] = _Seen(response_id, _warc_date(now), digest)
        mime = "warc/revisit" if earlier else (exchange.served_type or "unk").split(";")[0]
        self._written.cdx.append(
            CdxLine(exchange.url, now, mime, exchange.status, digest, span.length, span.offset, self._file.name)
        )
        self._take_down(exchange, payload, wire, now, response_id, span.offset, span.length)

    def _take_down(
        self, exchange: Exchange, payload: Payload, wire: Wire, now: datetime, record_id: str, offset: int, length: int
    ) -> None:
        truth, decision, blake2b = self._written.truth, exchange.decision, None
        if decision in (RecordDecision.KEPT, RecordDecision.LESSER_COPY):
            blake2b = hashlib.blake2b(wire.body, digest_size=32).hexdigest()
        if decision is RecordDecision.KEPT and blake2b in self._digests:
            decision = RecordDecision.DUPLICATE
        elif decision is RecordDecision.KEPT and blake2b and payload.gate and payload.media_type:
            self._digests.add(blake2b)
            truth.files.append(
                TrueFile(
                    blake2b=blake2b,
                    md5=hashlib.md5(wire.body).hexdigest(),
                    sha1=hashlib.sha1(wire.body).hexdigest(),
                    sha256=hashlib.sha256(wire.body).hexdigest(),
                    size=len(wire.body),
                    media_type=payload.media_type,
                    media_id=exchange.media_id or "",
                    url=exchange.url,
                    captured_at=now.isoformat(),
                    last_modified=wire.last_modified.isoformat() if wire.last_modified else None,
                    warc_file=self._file.name,
                    warc_offset=offset,
                    warc_length=length,
                    form=exchange.body.form,
                    subject=exchange.body.subject,
                    gate=payload.gate,
                )
            )
        truth.records.append(
            TrueRecord(
                archive=truth.archive,
                warc_file=self._file.name,
                warc_offset=offset,
                warc_length=length,
                record_id=record_id,
                record_type="revisit" if exchange.refers_to else "response",
                url=exchange.url,
                captured_at=now.isoformat(),
                http_status=exchange.status,
                served_type=exchange.served_type,
                declared_length=wire.declared_length,
                body_length=0 if exchange.refers_to else len(wire.body),
                media_id=exchange.media_id,
                decision=decision.value,
                blake2b=blake2b,
                case=exchange.case,
            )
        )
        if self._progress:
            self._progress(truth.archive, len(truth.records), self._total)

    def _write_log(self, now: datetime, warcinfo: str, name: str) -> None:
        """Write what the crawler leaves at the end of a WARC: its manifest, its arguments, its log."""
        manifest = new_record_id(self._rng)
        log = "".join(f"{now:%Y-%m-%d %H:%M:%S} URL:https://imgur.com/ [{n}] -> {name!r}\n" for n in range(20)).encode()
        parts = (
            ("metadata", "MANIFEST.txt", f"{manifest}\n{warcinfo}\n".encode()),
            ("resource", "wget_arguments.txt", b'"-U" "Mozilla/5.0" "-nv" "--no-cookies" "--warc-zstd"\n'),
            ("resource", "wget.log", log),
        )
        for kind, file, block in parts:
            record_id = manifest if kind == "metadata" else new_record_id(self._rng)
            headers = [
                ("WARC-Type", kind),
                ("WARC-Record-ID", f"<{record_id}>"),
                ("WARC-Warcinfo-ID", f"<{warcinfo}>"),
                *([("WARC-Concurrent-To", f"<{manifest}>")] if kind == "resource" else []),
                ("WARC-Target-URI", f"metadata://gnu.org/software/wget/warc/{file}"),
                ("WARC-Date", _warc_date(now)),
                ("WARC-Block-Digest", f"sha1:{sha1_base32(block)}"),
                ("Content-Type", "text/plain"),
            ]
            self._writer.write(record_bytes(headers, block))


def _warc_date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _arrived(exchange: Exchange, payload: Payload) -> float:
    if exchange.arrived_bytes is None:
        return exchange.arrived
    # Half a byte more, so that no rounding takes the last one away.
    return (exchange.arrived_bytes % len(payload.body) + 0.5) / len(payload.body)


def _payload_digest(exchange: Exchange, wire: Wire, now: datetime) -> str:
    """Return the payload digest that the crawler of that time wrote: not always that of the payload."""
    if now >= _DIGESTS_CUT_FROM:
        return sha1_base32_cut(wire.body)
    framed = exchange.framing in (Framing.CHUNKED, Framing.CHUNKED_CUT, Framing.CHUNKED_ODD)
    return sha1_base32(wire.raw_body if framed else wire.body)


def _samples(file: FilePlan) -> list[bytes]:
    """Return what a dictionary for `file` is trained on: heads as in its records, and pages."""
    rng = Random(f"dictionary/{file.dictionary_id}")
    samples = []
    for number in range(160):
        now = file.sources[0].began + timedelta(seconds=number)
        url = f"https://i.imgur.com/{rng.randbytes(5).hex()[:7]}.{rng.choice(('jpg', 'png', 'webp', 'mp4'))}"
        wire = http_heads.respond(
            status=200,
            served_type=rng.choice(("image/jpeg", "image/png", "text/html; charset=utf-8")),
            location=None,
            body=b"",
            framing=Framing.LENGTH,
            arrived=1.0,
            captured_at=now,
            rng=rng,
        )
        headers = [
            ("WARC-Type", "response"),
            ("WARC-Record-ID", f"<{new_record_id(rng)}>"),
            ("WARC-Target-URI", url),
            ("WARC-Date", _warc_date(now)),
        ]
        samples += [record_bytes(headers, wire.head), http_heads.request_head(url, rng)]
        if number % 4 == 0:
            samples.append(make(Body("text", rng.randbytes(5).hex()[:7], "page"), 1.0).body)
    return samples
