"""A proxy on loopback that answers some requests itself, with an error: a server that refuses or is overloaded."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def refusing_proxy(
    endpoint: str, refused: str, status: int, code: str, times: int | None = None
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield an address that stands for the endpoint, and what makes it refuse nothing any more.

    Requests whose first line begins as the pattern `refused` says get the error of S3, `times` of them (None: all).
    """
    proxy = _Proxy(endpoint, re.compile(refused.encode()), _answer(status, code), times)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy.address, proxy.allow
    finally:
        proxy.listener.close()


def _answer(status: int, code: str) -> bytes:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>Not now.</Message></Error>'
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n{body}".encode()


class _Proxy:
    def __init__(self, endpoint: str, refused: re.Pattern[bytes], answer: bytes, times: int | None) -> None:
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 80)
        self._refused, self._answer = refused, answer
        self._left = times
        self._lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def allow(self) -> None:
        with self._lock:
            self._left = 0

    def serve(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(self._target, timeout=5)
                server.settimeout(None)
                threading.Thread(target=self._ask, args=(client, server), daemon=True).start()
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            # A client waits for each answer, so a request is at the beginning of what comes.
            while data := client.recv(1 << 16):
                if self._refused.match(data) and self._refuses():
                    client.sendall(self._answer)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass  # its body: a reset would overtake the answer
                    break
                server.sendall(data)
        _end(server)

    def _refuses(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    _end(sink)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
