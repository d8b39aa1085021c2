"""Fetching the one item of these tests, and what was asked and sent for it."""

import random
from pathlib import Path

import pytest

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
from imgmine.archives.remote_file import FetchFailed
from imgmine.demo.server import ArchiveServer
from tests.archives.item_on_disk import IDENTIFIER

NAME = "imgur.0123456789.megawarc.warc.zst"
CONTENT = random.Random(0).randbytes(3_000_000)


def fetch(client: ArchiveOrg, cache: Path, identifier: str = IDENTIFIER) -> list[Path]:
    return fetch_archive(client, client.item(identifier), cache)


def bytes_sent(server: ArchiveServer) -> int:
    return sum(request.sent for request in server.requests if "/items/" in request.path)


def names(cache: Path) -> set[str]:
    return {path.name for path in (cache / IDENTIFIER).iterdir()}


def leave_part(server: ArchiveServer, client: ArchiveOrg, cache: Path, size: int) -> None:
    """Fetch so much of the file, and fail."""
    item = client.item(IDENTIFIER)
    server.faults.add("cut", after=size, path="*/items/*")
    server.faults.add("cut", after=0, path="*/items/*", times=None)
    with pytest.raises(FetchFailed, match=NAME):
        fetch_archive(client, item, cache)
    server.faults.clear()
    server.clear_requests()


KILLED = """
import sys
from pathlib import Path
from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.download import fetch_archive
client = ArchiveOrg(sys.argv[1])
fetch_archive(client, client.item(sys.argv[2]), Path(sys.argv[3]))
"""
