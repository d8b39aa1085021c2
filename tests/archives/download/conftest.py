"""An item on a server, a client of it, and a cache: what the tests of downloads start from."""

import pytest

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.retry import RetryPolicy
from tests.archives.download.fetching import CONTENT, NAME
from tests.archives.item_on_disk import put_item


@pytest.fixture
def root(tmp_path):
    put_item(tmp_path / "archive.org", {NAME: CONTENT})
    return tmp_path / "archive.org"


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def client(server, waits):
    return ArchiveOrg(server.url, retry=RetryPolicy(attempts=3, first_wait=0.001, sleep=waits.append), timeout=20)
