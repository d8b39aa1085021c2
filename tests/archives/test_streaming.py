"""Archives read as they arrive: the same as from files, whatever happens on the way; wrong ones give nothing."""

import random
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.extract import extract_archive
from imgmine.archives.item import ItemRestricted
from imgmine.archives.remote_file import FetchFailed, RemoteFile, WrongBytes
from imgmine.archives.retry import RetryPolicy
from imgmine.archives.streaming import RemoteStream, extract_streamed
from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import serve
from imgmine.images.decoder_pool import DecoderPool
from tests.archives.item_on_disk import IDENTIFIER, put_item
from tests.archives.on_the_wire import disturb, ranges

CONTENT = random.Random(0).randbytes(3_000_000)
RETRY = RetryPolicy(attempts=3, first_wait=0.001, sleep=lambda _: None)


@pytest.fixture
def root(tmp_path):
    put_item(tmp_path / "archive.org", {"a.zst": CONTENT})
    return tmp_path / "archive.org"


@pytest.fixture
def client(server):
    return ArchiveOrg(server.url, retry=RETRY, timeout=20)


def remote(client, **changes):
    [file] = client.item(IDENTIFIER).files
    return RemoteFile(client, IDENTIFIER, replace(file, **changes))


def test_a_stream_is_connected_again_at_the_byte_where_it_was_cut(server, client):
    for after in (700_000, 0, 1_000_000):
        server.faults.add("cut", after=after, path="*/items/*")
    with RemoteStream(remote(client)) as stream:
        assert stream.read() == CONTENT
        assert stream.is_checked
    assert ranges(server) == [None, "bytes=700000-", "bytes=700000-", "bytes=1700000-"]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 2_000_000), max_size=5), st.integers(0, 2), st.integers(10_000, 500_000))
def test_however_it_comes_and_is_read_the_bytes_are_the_same(server, client, cuts, ignored, size):
    disturb(server, cuts, ignored)
    patient = ArchiveOrg(server.url, retry=replace(RETRY, attempts=10))
    with RemoteStream(remote(patient)) as stream:
        read = bytearray()
        while data := stream.read(size):
            read += data
    assert read == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_the_end_of_wrong_bytes_is_an_error(server, client, size):
    server.faults.add("flip", after=1_234_567, path="*/items/*")
    with RemoteStream(remote(client, size=size), tries=2) as stream:
        assert len(stream.read(2_000_000)) > 0
        with pytest.raises(WrongBytes, match="after 2 tries"):
            stream.read()
        assert not stream.is_checked


def test_a_server_that_stays_away_is_an_error_that_says_where(server, client):
    server.faults.add("cut", after=500_000, path="*/items/*")
    server.faults.add("status", status=503, path="*/items/*", times=None)
    with RemoteStream(remote(client)) as stream, pytest.raises(FetchFailed, match="3 failures in a row at byte"):
        stream.read()


def test_only_so_much_is_read_ahead(server, client, monkeypatch):
    monkeypatch.setattr("imgmine.archives.streaming._AHEAD", 100_000)
    with RemoteStream(remote(client)) as stream:
        assert stream.read(1) == CONTENT[:1]
        time.sleep(0.2)
        # What the kernel holds for both ends of the connection comes on top.
        assert server.requests[-1].sent < len(CONTENT) or stream._held <= 100_000 + (1 << 20)
        assert stream.read() == CONTENT[1:]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive.org")
    [archive] = make_archives(root, kinds=[Kind.APRIL], records=40)
    with serve(root) as running, DecoderPool() as decoders:
        yield archive, running, decoders


@pytest.fixture
def whole(demo, tmp_path):
    archive, _, decoders = demo
    (tmp_path / "whole").mkdir()
    warcs = [(path.name, path) for path in archive.warc_files]
    return extract_archive(archive.identifier, warcs, tmp_path / "whole", decoders=decoders)


def streamed(demo, scratch, **options):
    archive, server, decoders = demo
    client = ArchiveOrg(server.url, retry=RETRY)
    return extract_streamed(client, client.item(archive.identifier), scratch, decoders=decoders, **options)


def same(one, other):
    assert one.records.equals(other.records)
    assert one.files.equals(other.files)
    assert [shard.path.read_bytes() for shard in one.shards] == [shard.path.read_bytes() for shard in other.shards]


def test_tables_and_shards_are_those_of_a_read_from_files(demo, whole, tmp_path):
    archive, server, _ = demo
    server.faults.add("cut", after=100_000, path="*.zst", times=3)
    told = []
    same(streamed(demo, tmp_path / "s", progress=lambda *now: told.append(now)), whole)
    done, total = told[-1]
    assert 0.99 * total < done <= total == archive.size  # after the last response come the crawler's own records
    assert not list((tmp_path / "s").rglob("*.zst*"))


def test_wrong_bytes_are_read_again_once(demo, whole, tmp_path):
    _, server, _ = demo
    server.faults.add("flip", after=90_000, path="*/items/*.zst")
    said = []
    same(streamed(demo, tmp_path / "s", on_wrong=said.append), whole)
    assert len(said) == 1
    assert "the MD5 should be" in said[0]
    server.faults.add("flip", after=90_000, path="*/items/*.zst", times=None)
    with pytest.raises(WrongBytes, match="after 2 tries"):
        streamed(demo, tmp_path / "t")
    server.faults.clear()


def test_an_item_that_is_not_for_us_is_not_read(demo, tmp_path):
    archive, server, decoders = demo
    server.faults.add("restricted", path=archive.identifier)
    client = ArchiveOrg(server.url)
    item = client.item(archive.identifier)
    server.faults.clear()
    with pytest.raises(ItemRestricted):
        extract_streamed(client, item, tmp_path, decoders=decoders)
