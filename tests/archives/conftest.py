"""A server of a folder of items, and what its clients wait for: a test's own `root` may be another folder."""

import pytest

from imgmine.demo.server import serve


@pytest.fixture
def root(tmp_path):
    return tmp_path


@pytest.fixture
def server(root):
    with serve(root) as running:
        yield running


@pytest.fixture
def waits():
    return []
