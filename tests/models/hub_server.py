"""A hub on loopback: it redirects as huggingface.co does, serves ranges, and breaks off where it is told to."""

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"


@dataclass
class Hub:
    """What it has, and how it behaves; `asked` are the ranges that were asked for ("" for the whole).

    `skips` is how many bytes further on than asked each part begins.
    """

    files: dict[str, bytes]
    url: str = ""
    break_off_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    skips: int = 0
    said_sha256: str | None = None
    commit: str = REVISION
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def hub_server(files: dict[str, bytes]) -> Iterator[Hub]:
    """Serve files by `owner/name/path`, at `REVISION`."""
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([0-9a-f]{40})/(.+)", self.path)
            if found:
                self.redirect(f"{found[1]}/{found[3]}", found[2])
            elif self.path.startswith("/cdn/"):
                self.serve(hub.files[self.path.removeprefix("/cdn/")])
            else:
                self.answer(404)

        def redirect(self, name: str, revision: str) -> None:
            if hub.statuses:
                self.answer(hub.statuses.pop(0))
            elif name not in hub.files or revision != REVISION:
                self.answer(404)
            else:
                digest = hub.said_sha256 or hashlib.sha256(hub.files[name]).hexdigest()
                heads = {"Location": f"/cdn/{name}", "X-Linked-Etag": f'"{digest}"', "X-Repo-Commit": hub.commit}
                self.answer(302, heads)

        def serve(self, data: bytes) -> None:
            wanted = self.headers.get("Range", "") if hub.ranges else ""
            hub.asked.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0) + (hub.skips if wanted else 0)
            if start >= len(data):
                self.answer(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            if hub.break_off_after:
                self.wfile.write(data[start : start + hub.break_off_after.pop(0)])
                self.close_connection = True
            else:
                with contextlib.suppress(BrokenPipeError):  # a client that sees at once that it wants none of it
                    self.wfile.write(data[start:])

        def answer(self, status: int, heads: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(heads or {}), "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
