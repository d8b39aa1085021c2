"""A TCP proxy on loopback that cuts a connection after so many bytes: a network that fails at a known place."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


@contextmanager
def cutting_proxy(
    endpoint: str,
    *,
    sent: int | None = None,
    received: int | None = None,
    cuts: int = 1,
    at_cut: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Yield an address that stands for the endpoint.

    The first `cuts` connections on which a client has sent, or received, as many bytes are reset; `at_cut` is called
    just before.
    """
    proxy = _Proxy(endpoint, sent, received, cuts, at_cut)
    threading.Thread(target=proxy.serve, daemon=True).start()
    try:
        yield proxy.address
    finally:
        proxy.close()


class _Proxy:
    def __init__(
        self, endpoint: str, sent: int | None, received: int | None, cuts: int, at_cut: Callable[[], None]
    ) -> None:
        parts = urlsplit(endpoint)
        self._target = (parts.hostname or "", parts.port or 80)
        self._sent, self._received = sent, received
        self._cuts_left = cuts
        self._at_cut = at_cut
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):  # closed at the end
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._target, timeout=5)
                except OSError:
                    _reset(client)
                    continue
                server.settimeout(None)
                for source, sink, limit in ((client, server, self._sent), (server, client, self._received)):
                    threading.Thread(target=self._pump, args=(source, sink, limit), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                passed += len(data)
                if limit is not None and passed > limit and self._take_a_cut():
                    self._at_cut()
                    _reset(source)
                    _reset(sink)
                    return
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _take_a_cut(self) -> bool:
        with self._lock:
            self._cuts_left -= 1
            return self._cuts_left >= 0

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    connection.close()
