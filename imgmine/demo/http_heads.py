"""HTTP messages as the host and the crawler wrote them: request heads, response heads, bodies as they were sent.

What a body shows is in `payloads`; the WARC record around a message is in `warc_writer`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from urllib.parse import urlsplit

_REASONS = {200: "OK", 301: "Moved Permanently", 302: "Moved Temporarily", 404: "Not Found"}


class Framing(StrEnum):
    """How the end of a body is known."""

    LENGTH = "length"  # Content-Length
    CLOSE = "close"  # nothing said: the server closes the connection
    CHUNKED = "chunked"
    CHUNKED_CUT = "chunked_cut"  # the connection broke before the last chunk
    CHUNKED_ODD = "chunked_odd"  # capitals and leading zeros in the sizes, chunk extensions, a trailer: all legal


@dataclass(frozen=True, slots=True)
class Wire:
    """A response as it went over the wire. `body` is what arrived of it, without framing; `raw_body` with it."""

    head: bytes
    raw_body: bytes
    body: bytes
    declared_length: int | None
    last_modified: datetime | None


def http_date(moment: datetime) -> str:
    """Return `moment` (UTC) as HTTP writes it, whatever the locale."""
    days, months = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "JanFebMarAprMayJunJulAugSepOctNovDec"
    month = months[3 * moment.month - 3 : 3 * moment.month]
    return f"{days[moment.weekday()]}, {moment.day:02d} {month} {moment.year} {moment:%H:%M:%S} GMT"


def request_head(url: str, rng: Random) -> bytes:
    """Return the crawler's request for `url`."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    version = rng.choice(("112.0", "113.0"))
    return (
        f"GET {target} HTTP/1.1\r\n"
        f"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:{version}) Gecko/20100101 Firefox/{version}\r\n"
        f"Accept: */*\r\nAccept-Encoding: identity\r\nHost: {parts.netloc}\r\nConnection: Keep-Alive\r\n"
        "Accept-Language: en-US,en;q=0.9\r\n\r\n"
    ).encode()


def respond(
    *,
    status: int,
    served_type: str | None,
    location: str | None,
    body: bytes,
    framing: Framing,
    arrived: float,
    captured_at: datetime,
    rng: Random,
    plain_head: bool = False,
) -> Wire:
    """Return the response of `status` with `body`, of which only the share `arrived` (0 to 1) reached the crawler.

    With `plain_head` the head is as some proxies write it: names in small letters, no reason phrase.
    """
    last_modified = None
    fields: list[tuple[str, str]] = [("Connection", "keep-alive")]
    if framing is Framing.LENGTH:
        fields.append(("Content-Length", str(len(body))))
    if framing in (Framing.CHUNKED, Framing.CHUNKED_CUT, Framing.CHUNKED_ODD):
        fields.append(("Transfer-Encoding", "chunked"))
    if served_type is not None:
        fields.append(("Content-Type", served_type))
    if location is not None:
        fields.append(("Location", location))
    if status == 200 and served_type is not None and not served_type.startswith(("text/", "application/")):
        last_modified = captured_at.replace(microsecond=0) - timedelta(seconds=rng.randrange(86_400, 86_400 * 3600))
        fields.append(("Last-Modified", http_date(last_modified)))
        fields.append(("ETag", f'"{rng.randbytes(16).hex()}"'))
        fields.append(("X-Amz-Storage-Class", "STANDARD_IA"))
        fields.append(("Cache-Control", "public, max-age=31536000"))
    fields += [
        ("Accept-Ranges", "bytes"),
        ("Age", str(rng.randrange(4000))),
        ("Date", http_date(captured_at)),
        ("X-Served-By", f"cache-bwi{rng.randrange(5000, 5200)}-BWI, cache-ams{rng.randrange(21000, 21100)}-AMS"),
        ("X-Cache", rng.choice(("MISS, MISS", "HIT, MISS", "HIT, HIT"))),
        ("X-Cache-Hits", f"{rng.randrange(3)}, {rng.randrange(2)}"),
        ("X-Timer", f"S{int(captured_at.timestamp())}.{rng.randrange(10**6):06d},VS0,VE{rng.randrange(1, 200)}"),
        ("Strict-Transport-Security", "max-age=300"),
        ("Access-Control-Allow-Methods", "GET, OPTIONS"),
        ("Access-Control-Allow-Origin", "*"),
        ("Server", "cat factory 1.0"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if plain_head:
        line = f"HTTP/1.1 {status}"
        fields = [(name.lower(), value) for name, value in fields]
    else:
        line = f"HTTP/1.1 {status} {_REASONS[status]}"
    head = "".join(f"{text}\r\n" for text in (line, *(f"{name}: {value}" for name, value in fields), "")).encode()
    came = body[: int(len(body) * arrived)]
    declared = len(body) if framing is Framing.LENGTH else None
    raw = came if framing in (Framing.LENGTH, Framing.CLOSE) else _chunked(came, framing, rng)
    return Wire(head, raw, came, declared, last_modified)


def _chunked(body: bytes, framing: Framing, rng: Random) -> bytes:
    parts, start = [], 0
    while start < len(body):
        size = min(len(body) - start, rng.choice((4096, 8192, 8192, 16_384)))
        odd = framing is Framing.CHUNKED_ODD
        line = f"{size:06X};ieof=0" if odd else f"{size:x}"
        parts.append(line.encode() + b"\r\n" + body[start : start + size] + b"\r\n")
        start += size
    if framing is Framing.CHUNKED_ODD:
        parts.append(b"0\r\nX-Checksum: none\r\n\r\n")
    elif framing is Framing.CHUNKED:
        parts.append(b"0\r\n\r\n")
    return b"".join(parts)
