"""The messages between a decoder pool and its workers: a length, a JSON head, and bytes.

JSON and not pickle: a worker reads hostile files, and what it answers must not become code in the process that asked.
"""

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

_LENGTHS = struct.Struct(">II")
_MOST_HEAD = 1 << 16
_MOST_BODY = 1 << 30


class Message(NamedTuple):
    """A head of plain values, and bytes that go with it."""

    head: dict[str, Any]
    body: bytes = b""


def encode(message: Message) -> bytes:
    """Return the message as it goes through a pipe."""
    head = json.dumps(message.head).encode()
    return b"".join((_LENGTHS.pack(len(head), len(message.body)), head, message.body))


def receive(read: Callable[[int], bytes]) -> Message:
    """Return the next message. `read(n)` gives exactly n bytes, or raises `EOFError`.

    Raises `EOFError` where the stream has ended, `ValueError` where it holds no message.
    """
    head_size, body_size = _LENGTHS.unpack(read(_LENGTHS.size))
    if head_size > _MOST_HEAD or body_size > _MOST_BODY:
        raise ValueError(f"not a message: {head_size} + {body_size} bytes")
    head = json.loads(read(head_size))
    if not isinstance(head, dict):
        raise ValueError("not a message: its head is no object")  # noqa: TRY004 - the other side's fault, not a type here
    return Message(head, read(body_size))
