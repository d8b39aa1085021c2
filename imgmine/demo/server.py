"""The miniature Internet Archive: a server on loopback that answers as archive.org does, and fails when it is told to.

`python -m imgmine.demo.server ROOT` serves the items in ROOT: for each a folder `<identifier>/` with its files and an
`item.json`, which is exactly what `/metadata/<identifier>` answers. What is in the archives is the generator's.

Beside archive.org's own addresses there are `/_faults` (GET, POST with a JSON object or a list of them as `Fault` has
them, DELETE) and `/_requests` (GET, DELETE), the log. Like archive.org it has a second machine, here a second port, to
which `/download` redirects.
"""

import argparse
import contextlib
import email.utils
import hashlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from imgmine.demo.server_faults import Fault, FaultKind, Faults
from imgmine.demo.server_search import BadQuery, Catalogue, advanced_search, scrape

_BLOCK = 1 << 16
_GARBAGE = b"<!DOCTYPE html><title>Internet Archive: error</title><p>Something is wrong. Please try again later.</p>\n"


@dataclass(slots=True)
class LoggedRequest:
    """One request as it came, and what it got: `sent` counts the bytes of the body that went out."""

    method: str
    path: str
    query: str
    range: str | None
    user_agent: str | None
    port: int
    status: int = 0
    sent: int = 0


class ArchiveServer:
    """A running server. `url` is where clients begin; `faults` and `requests` are for tests. A context manager."""

    def __init__(self, root: Path, port: int = 0) -> None:
        self.faults = Faults()
        self.stopping = threading.Event()
        self.catalogue = Catalogue(root)
        self.root = root.resolve()
        self._log: list[LoggedRequest] = []
        self._link_free_at = 0.0
        self._link = threading.Lock()
        self._nodes = [_Node(self, port), _Node(self, 0)]
        self.url, self.data_url = (f"http://127.0.0.1:{node.server_port}" for node in self._nodes)
        for node in self._nodes:
            threading.Thread(target=node.serve_forever, args=(0.02,), name="archive-server", daemon=True).start()

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests so far, oldest first, but for those to `/_faults` and `/_requests`."""
        return list(self._log)

    def clear_requests(self) -> None:
        """Empty the log."""
        self._log.clear()

    def log(self, request: LoggedRequest) -> None:
        """Note a request, as soon as it is read; its outcome is filled in."""
        self._log.append(request)

    def wait_for_link(self, seconds: float) -> None:
        """Wait for a turn on the link that throttled connections share, and use it for so long."""
        with self._link:
            self._link_free_at = max(self._link_free_at, time.monotonic()) + seconds
            until = self._link_free_at
        self.stopping.wait(until - time.monotonic())

    def metadata(self, identifier: str) -> Mapping[str, Any]:
        """Return what `/metadata/<identifier>` answers, with the faults that stand."""
        item = self.catalogue.metadata(identifier)
        if not item:
            return {}
        if self.faults.take(FaultKind.DARK, identifier):
            return {"is_dark": True, "metadata": {"identifier": identifier}}
        about = dict(item.get("metadata", {}))
        if self.faults.take(FaultKind.RESTRICTED, identifier):
            about["access-restricted-item"] = "true"
        files = [
            {**file, "private": "true"} if self.faults.take(FaultKind.PRIVATE, f"{identifier}/{file['name']}") else file
            for file in item.get("files", [])
        ]
        return {**item, "metadata": about, "files": files}

    def stop(self) -> None:
        """Stop at once: connections that are open are cut."""
        self.stopping.set()
        for node in self._nodes:
            node.shutdown()
            node.server_close()
            node.cut_connections()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def serve(root: Path, port: int = 0) -> ArchiveServer:
    """Serve the items in a folder on loopback, on a free port unless one is given; the caller stops it."""
    return ArchiveServer(root, port)


class _Node(ThreadingHTTPServer):
    """One of the two ports."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, archive: ArchiveServer, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.archive = archive
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        for connection in list(self._open):
            _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; everything else is a mistake here, and shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version = "imgmine-demo"
    disable_nagle_algorithm = True
    server: _Node

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the log is `/_requests`."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._archive = self.server.archive
        self._request = LoggedRequest(
            self.command,
            path,
            parts.query,
            self.headers.get("Range"),
            self.headers.get("User-Agent"),
            self.server.server_port,
        )
        if path in {"/_faults", "/_requests"}:
            self._control(path, body)
            return
        self._archive.log(self._request)
        if fault := self._fault(FaultKind.SLOW_START):
            self._archive.stopping.wait(fault.seconds)
        if fault := self._fault(FaultKind.STATUS):
            retry_after = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            self._answer(fault.status, HTTPStatus(fault.status).phrase.encode(), "text/plain", retry_after)
        elif self._fault(FaultKind.GARBAGE):
            self._answer(200, _GARBAGE, "text/html")
        else:
            self._route(path, parse_qs(parts.query) | parse_qs(body.decode("latin-1")))

    do_HEAD = do_POST = do_DELETE = do_GET

    def _fault(self, kind: FaultKind) -> Fault | None:
        return self._archive.faults.take(kind, self._request.path)

    def _route(self, path: str, params: dict[str, list[str]]) -> None:
        match path.strip("/").split("/", 2):
            case ["services", "search", "v1/scrape"]:
                self._scrape({name: values[0] for name, values in params.items()})
            case ["advancedsearch.php"]:
                self._json(*_searched(lambda: advanced_search(self._archive.catalogue, params)))
            case ["metadata", identifier]:
                self._json(200, self._archive.metadata(identifier))
            case ["details", identifier]:
                self._details(identifier)
            case ["download", identifier, name]:
                self._download(identifier, name)
            case [_, "items", rest] if "/" in rest:
                self._item_file(*rest.split("/", 1))
            case _:
                self._answer(404, b"Not found", "text/plain")

    def _control(self, path: str, body: bytes) -> None:
        faults = self._archive.faults
        try:
            if self.command == "DELETE":
                faults.clear() if path == "/_faults" else self._archive.clear_requests()
            elif self.command == "POST" and path == "/_faults":
                wanted = json.loads(body)
                for fault in wanted if isinstance(wanted, list) else [wanted]:
                    faults.add(**fault)
        except (TypeError, ValueError) as error:
            self._json(400, {"error": f"no such fault: {error}"})
            return
        self._json(200, faults.listed() if path == "/_faults" else [asdict(each) for each in self._archive.requests])

    def _scrape(self, params: Mapping[str, str]) -> None:
        if self._fault(FaultKind.SEARCH_ERROR):
            self._json(200, {"error": "the search engine did not answer in time", "errorType": "TimeoutException"})
            return
        status, answer = _searched(lambda: scrape(self._archive.catalogue, params))
        if "items" in answer and self._fault(FaultKind.SEARCH_SHORT):
            kept = answer["items"][: len(answer["items"]) // 2]
            answer = {"items": kept, "count": len(kept), "total": answer["total"]}
        self._json(status, answer)

    def _json(self, status: int, document: Any) -> None:
        self._answer(status, json.dumps(document).encode(), "application/json")

    def _answer(self, status: int, body: bytes, media_type: str, headers: Mapping[str, str] | None = None) -> None:
        self._head(status, len(body), {"Content-Type": media_type, **(headers or {})})
        if self.command != "HEAD":
            cut = self._fault(FaultKind.CUT)
            body = body[: cut.after] if cut else body
            self._send(len(body), lambda: self.wfile.write(body))
            if cut:
                self._cut()

    def _head(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self._request.status = status
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        if self.close_connection:
            # As the client asked for; one that is not told would send its next request into a connection that closes.
            self.send_header("Connection", "close")
        self.end_headers()

    def _cut(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def _refusal(self, identifier: str, name: str) -> int | None:
        """Return the status with which a file is refused; None where it is for everybody."""
        item = self._archive.metadata(identifier)
        if not item:
            return 404
        if item.get("is_dark") or item.get("metadata", {}).get("access-restricted-item") == "true":
            return 403
        listed = {file["name"]: file for file in item.get("files", [])}
        return 401 if listed.get(name, {}).get("private") == "true" else None

    def _details(self, identifier: str) -> None:
        """Answer with the item's page for people: here a list of its files."""
        names = [quote(file["name"]) for file in self._archive.metadata(identifier).get("files", [])]
        links = "".join(f'<li><a href="/download/{quote(identifier)}/{name}">{name}</a>' for name in names)
        page = f"<!doctype html><title>{quote(identifier)}</title><h1>{quote(identifier)}</h1><ul>{links}</ul>"
        self._answer(200 if names else 404, page.encode(), "text/html; charset=utf-8")

    def _download(self, identifier: str, name: str) -> None:
        if (status := self._refusal(identifier, name)) is not None:
            self._answer(status, HTTPStatus(status).phrase.encode(), "text/plain")
            return
        place = hashlib.md5(identifier.encode(), usedforsecurity=False).digest()[0] % 40
        location = f"{self._archive.data_url}/{place}/items/{identifier}/{quote(name)}"
        self._answer(302, b"", "text/plain", {"Location": location})

    def _item_file(self, identifier: str, name: str) -> None:
        folder = (self._archive.root / identifier).resolve()
        path = (folder / name).resolve()
        inside = folder.parent == self._archive.root and folder in path.parents and name != "item.json"
        status = self._refusal(identifier, name) if inside and path.is_file() else 404
        if status is not None:
            self._answer(status, HTTPStatus(status).phrase.encode(), "text/plain")
            return
        stat = path.stat()
        etag = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
        modified = email.utils.formatdate(int(stat.st_mtime), usegmt=True)
        headers = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
        asked = self.headers.get("Range")
        if asked is not None and self.headers.get("If-Range", etag) not in {etag, modified}:
            asked = None
        if asked is not None and self._fault(FaultKind.IGNORE_RANGE):
            asked = None
        span = _parse_range(asked, stat.st_size)
        if span is not None and (fault := self._fault(FaultKind.WRONG_RANGE)):
            span = (fault.after, stat.st_size)
        if span is None:
            self._head(200, stat.st_size, {"Content-Type": "application/octet-stream", **headers})
            self._send_file(path, 0, stat.st_size)
        elif span[0] >= span[1]:
            self._answer(416, b"", "text/plain", {"Content-Range": f"bytes */{stat.st_size}"})
        else:
            headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{stat.st_size}"
            self._head(206, span[1] - span[0], {"Content-Type": "application/octet-stream", **headers})
            self._send_file(path, *span)

    def _send(self, size: int, send: Callable[[], object]) -> None:
        """Send so many bytes. They count from the beginning: who has received them all finds them counted."""
        self._request.sent += size
        try:
            send()
        except OSError:
            self._request.sent -= size
            raise

    def _send_file(self, path: Path, start: int, end: int) -> None:
        """Send bytes `start` to `end` of a file, with what is to go wrong on the way."""
        if self.command == "HEAD":
            return
        kinds = (FaultKind.CUT, FaultKind.STALL, FaultKind.FLIP, FaultKind.THROTTLE)
        cut, stall, flip, throttle = (self._fault(kind) for kind in kinds)
        with path.open("rb") as stream:
            if not (cut or stall or flip or throttle):
                self._send(end - start, lambda: self.connection.sendfile(stream, start, end - start))
                return
            stream.seek(start)
            block = _BLOCK if throttle is None else max(1, min(_BLOCK, int(throttle.rate / 20)))
            begun = time.monotonic()
            position = start
            while position < end and not self._archive.stopping.is_set():
                size = min(block, end - position)
                for fault in (cut, stall):
                    if fault and position - start < fault.after:
                        size = min(size, start + fault.after - position)
                if cut and position - start >= cut.after:
                    self._cut()
                    return
                if stall and position - start >= stall.after:
                    self._archive.stopping.wait(stall.seconds)
                    stall = None
                data = bytearray(stream.read(size))
                if flip and position <= flip.after < position + size:
                    data[flip.after - position] ^= 0xFF
                self._send(size, partial(self.wfile.write, data))
                position += size
                if throttle and throttle.shared:
                    self._archive.wait_for_link(size / throttle.rate)
                elif throttle:
                    self._archive.stopping.wait(begun + (position - start) / throttle.rate - time.monotonic())


def _searched(search: Callable[[], Mapping[str, Any]]) -> tuple[int, Mapping[str, Any]]:
    try:
        return 200, search()
    except BadQuery as error:
        return 400, {"error": str(error), "errorType": "BadQuery"}


def _parse_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a Range header asks for; None for the whole file.

    What cannot be parsed, and several ranges at once, are answered with the whole file, as HTTP allows. An empty range
    is one that cannot be satisfied.
    """
    unit, _, spec = (text or "").partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or not all(part == "" or part.isdecimal() for part in (first, last)):
        return None
    if first:
        end = min(size, int(last) + 1) if last else size
        return (int(first), end) if not last or int(last) >= int(first) else None
    return (max(0, size - int(last)), size) if last else None


def _cut(connection: socket.socket) -> None:
    # The client may have been faster.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m imgmine.demo.server", description="A miniature Internet Archive.")
    parser.add_argument("root", type=Path, help="folder with the items")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    arguments = parser.parse_args()
    if not arguments.root.is_dir():
        parser.error(f"{arguments.root} is no folder")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with serve(arguments.root, arguments.port) as server:
        print(server.url, flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
