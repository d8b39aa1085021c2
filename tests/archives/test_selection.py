"""Reading only what can be an original: the same tables but for what was not fetched, and all of it where in doubt."""

import base64
import gzip
import hashlib
import itertools
import json
import shutil
from random import Random

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgmine.archives.archive_org import ArchiveOrg
from imgmine.archives.cdx import IndexUnusable
from imgmine.archives.extract import extract_archive
from imgmine.archives.remote_file import FetchFailed, RemoteFile, WrongBytes
from imgmine.archives.retry import RetryPolicy
from imgmine.archives.selection import Listed, SelectedWarc, extract_selected
from imgmine.archives.selection_plan import Plan
from imgmine.archives.warc import WarcRecord
from imgmine.dataset.funnel import check_funnel
from imgmine.dataset.known_files import KnownFiles
from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from imgmine.demo.server import serve
from imgmine.images.decoder_pool import DecoderPool
from tests.archives.index_entries import COPY, ORIGINAL, PAGE, entry
from tests.archives.item_on_disk import metadata, put_item
from tests.archives.small_warcs import Answer, gif, jpeg, png, write_warc


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    [april] = make_archives(root, kinds=[Kind.APRIL], records=300)
    [may] = make_archives(root, kinds=[Kind.MAY_3], records=60)
    return {Kind.APRIL: april, Kind.MAY_3: may}


@pytest.fixture(scope="module")
def decoders():
    with DecoderPool() as pool:
        yield pool


@pytest.fixture
def april(archives, tmp_path):
    """A copy of the April archive, which a test may change."""
    archive = archives[Kind.APRIL]
    shutil.copytree(archive.folder, tmp_path / "archive.org" / archive.identifier)
    return tmp_path / "archive.org" / archive.identifier


@pytest.fixture
def whole(archives, april, decoders, tmp_path):
    (tmp_path / "whole").mkdir()
    warcs = [(path.name, april / path.name) for path in archives[Kind.APRIL].warc_files]
    return extract_archive(april.name, warcs, tmp_path / "whole", decoders=decoders)


def select(folder, decoders, scratch, fault=None, path="*/items/*.warc.zst", **parameters):
    """Return what selective reading gives, what was said, and the bytes that the server sent of WARC files."""
    with serve(folder.parent) as server:
        client = ArchiveOrg(server.url, retry=RetryPolicy(attempts=3, first_wait=0.001))
        item = client.item(folder.name)
        if fault is not None:
            server.faults.add(fault, path=path, **parameters)
        said = []
        found = extract_selected(client, item, scratch, decoders=decoders, on_wrong=said.append)
        sent = sum(request.sent for request in server.requests if request.path.endswith(".warc.zst"))
    return found, said, sent


def assert_same(one, other):
    assert one.records.equals(other.records)
    assert one.files.equals(other.files)
    assert [shard.path.read_bytes() for shard in one.shards] == [shard.path.read_bytes() for shard in other.shards]


def test_tables_differ_from_a_full_read_only_by_what_was_not_fetched(april, whole, decoders, tmp_path):
    found, said, sent = select(april, decoders, tmp_path / "s", "cut", after=200_000, times=2)
    assert said == []
    assert found.requests > 2
    assert found.bytes_read < 0.6 * found.bytes_in_all
    assert sent < 0.7 * found.bytes_in_all
    given_up = {"downscaled_copy", "no_media", "redirect", "removed", "error_status", "revisit"}
    left_out = 0
    rows = zip(found.extraction.records.to_pylist(), whole.records.to_pylist(), strict=True)
    for row, full in rows:
        if row["decision"] != "not_fetched":
            assert row == full
            continue
        left_out += 1
        assert full["decision"] in given_up
        for name in ("archive", "warc_file", "warc_offset", "warc_length", "record_type", "url", "http_status"):
            assert row[name] == full[name]
        assert row["captured_at"] == full["captured_at"].replace(microsecond=0)
        assert row["media_id"] == full["media_id"]
        assert row["record_type"] == "revisit" or row["served_type"] == (full["served_type"] or "unk").split(";")[0]
    assert left_out > 20
    assert found.extraction.files.equals(whole.files)
    assert [s.path.read_bytes() for s in found.extraction.shards] == [s.path.read_bytes() for s in whole.shards]


def test_a_server_that_ignores_ranges_leads_to_a_full_read(april, whole, decoders, tmp_path):
    found, said, _ = select(april, decoders, tmp_path / "s", "ignore_range", times=50)
    assert len(said) == 1
    assert found.reason
    assert_same(found.extraction, whole)


def place_of_a_kept_file(extraction, nth):
    """Return the WARC file of the `nth` record that is kept, and the offset of a byte inside it."""
    row = [row for row in extraction.records.to_pylist() if row["decision"] == "kept"][nth]
    return row["warc_file"], row["warc_offset"] + 100


# The third request is the first for records; the two before it are for the dictionary.
@pytest.mark.parametrize(("nth", "times"), [(0, 3), (2, 3), (None, 2)], ids=["first", "later", "dictionary"])
def test_a_span_that_comes_damaged_is_fetched_once_more(april, decoders, tmp_path, nth, times):
    sound, _, _ = select(april, decoders, tmp_path / "sound")
    after = 100 if nth is None else place_of_a_kept_file(sound.extraction, nth)[1]
    found, said, _ = select(april, decoders, tmp_path / "s", "flip", after=after, times=times)
    assert len(said) == 1
    assert "fetched once more" in said[0]
    assert found.reason == ""
    assert_same(found.extraction, sound.extraction)


def test_a_span_that_stays_damaged_leads_to_a_full_read(april, decoders, tmp_path):
    name, place = place_of_a_kept_file(select(april, decoders, tmp_path / "sound")[0].extraction, 0)
    content = bytearray((april / name).read_bytes())
    content[place] ^= 0xFF
    (april / name).write_bytes(content)
    item = json.loads((april / "item.json").read_text())
    [listed] = [file for file in item["files"] if file["name"] == name]
    listed["md5"] = hashlib.md5(content).hexdigest()
    listed.pop("sha1", None)
    (april / "item.json").write_text(json.dumps(item))
    (tmp_path / "whole").mkdir()
    warcs = [(path.name, path) for path in april.glob("*.warc.zst")]
    whole = extract_archive(april.name, warcs, tmp_path / "whole", decoders=decoders)
    found, said, _ = select(april, decoders, tmp_path / "s")
    assert ["fetched once more" in said[0], said[1].startswith("All of")] == [True, True]
    assert len(said) == 2
    assert whole.counts["damaged"] == 1
    assert_same(found.extraction, whole)


@pytest.mark.parametrize(
    ("change", "records"),
    [(lambda record: record[:-2], 1), (lambda record: record + b"rubbish", 1), (lambda record: b"rubbish", 0)],
    ids=["its last line break is missing", "something is behind it in its frame", "it is none"],
)
def test_no_second_try_passes_over_damage_or_gives_a_record_twice(internet_archive, tmp_path, change, records):
    name = f"archive-{next(COUNT):05d}"
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(change(Answer(ORIGINAL, PAYLOADS[0]).record()))
    write_warc(tmp_path / "a.warc.zst", [])
    dictionary = (tmp_path / "a.warc.zst").read_bytes()
    put_item(internet_archive.root, {"a.warc.zst": dictionary + frame + frame}, name)
    client = ArchiveOrg(internet_archive.url)
    [file] = client.item(name).files
    start = len(dictionary)
    plan = Plan(((start, start + len(frame)),), (entry(start, len(frame)),))
    found = SelectedWarc(RemoteFile(client, name, file), plan, Listed({}, {})).records()
    for _ in range(records):
        assert isinstance(next(found), WarcRecord)
    with pytest.raises(IndexUnusable):
        next(found)


def test_a_file_read_whole_that_comes_wrong_has_the_selection_read_once_more(april, decoders, tmp_path):
    name = sorted(path.name for path in april.glob("*.warc.zst"))[-1]
    rewrite_index(april, lambda text: "".join(line for line in text.splitlines(True) if name not in line))
    sound, _, _ = select(april, decoders, tmp_path / "sound")
    assert sound.bytes_read < sound.bytes_in_all
    path = f"*/items/*/{name}"
    found, said, _ = select(april, decoders, tmp_path / "s", "flip", path, after=100_000)
    assert len(said) == 1
    assert "the MD5 should be" in said[0]
    assert (found.reason, found.bytes_read) == ("", sound.bytes_read)
    assert_same(found.extraction, sound.extraction)
    with pytest.raises(WrongBytes, match="after 2 tries"):
        select(april, decoders, tmp_path / "t", "flip", path, after=100_000, times=None)


def rewrite_index(folder, change):
    item = json.loads((folder / "item.json").read_text())
    [listed] = [file for file in item["files"] if file["format"] == "Item CDX Index"]
    path = folder / listed["name"]
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()).decode()).encode()))
    listed |= {"size": str(path.stat().st_size), "md5": hashlib.md5(path.read_bytes()).hexdigest()}
    del listed["sha1"]
    (folder / "item.json").write_text(json.dumps(item))


def shifted(text):
    """Let each record begin one byte later than it does."""
    header, *lines = text.splitlines()
    moved = [f"{before} {int(offset) + 1} {name}" for before, offset, name in (line.rsplit(" ", 2) for line in lines)]
    return "\n".join([header, *moved, ""])


@pytest.mark.parametrize("change", [shifted, lambda text: "rubbish"])
def test_an_index_that_is_wrong_leads_to_a_full_read(april, whole, decoders, tmp_path, change):
    rewrite_index(april, change)
    found, said, _ = select(april, decoders, tmp_path / "s")
    assert len(said) == 1
    assert_same(found.extraction, whole)


def test_an_index_that_lists_its_lines_twice_gives_each_record_one_row(april, decoders, tmp_path):
    once, _, _ = select(april, decoders, tmp_path / "once")
    rewrite_index(april, lambda text: text + text.split("\n", 1)[1])
    twice, said, _ = select(april, decoders, tmp_path / "twice")
    assert said == []
    assert (twice.bytes_read, twice.gaps) == (once.bytes_read, once.gaps)
    assert once.extraction.counts["not_fetched"] > 20
    assert_same(twice.extraction, once.extraction)


def test_what_an_index_does_not_account_for_is_read(april, whole, decoders, tmp_path):
    rewrite_index(
        april, lambda text: "".join(line for line in text.splitlines(True) if "i.imgur.com/" not in line[40:])
    )
    found, _, _ = select(april, decoders, tmp_path / "s")
    assert found.extraction.files.equals(whole.files)


def test_an_item_without_an_index_is_read_whole(april, whole, decoders, tmp_path):
    item = json.loads((april / "item.json").read_text())
    item["files"] = [file for file in item["files"] if file["format"] != "Item CDX Index"]
    (april / "item.json").write_text(json.dumps(item))
    found, said, _ = select(april, decoders, tmp_path / "s")
    assert "has no CDX" in said[0]
    assert_same(found.extraction, whole)


def test_an_index_that_does_not_come_leads_to_a_full_read(april, whole, decoders, tmp_path):
    found, said, _ = select(april, decoders, tmp_path / "s", "status", path="*.cdx.gz", status=503, times=None)
    assert len(said) == 1
    assert "at last: HTTP 503" in said[0]
    assert_same(found.extraction, whole)


def test_where_nothing_comes_the_warc_file_is_what_failed(april, decoders, tmp_path):
    with pytest.raises(FetchFailed, match=r"warc\.zst: 3 failures in a row"):
        select(april, decoders, tmp_path / "s", "status", path="*/items/*", status=503, times=None)


def test_an_archive_of_originals_is_read_whole(archives, decoders, tmp_path):
    archive = archives[Kind.MAY_3]
    (tmp_path / "whole").mkdir()
    warcs = [(path.name, path) for path in archive.warc_files]
    whole = extract_archive(archive.identifier, warcs, tmp_path / "whole", decoders=decoders)
    found, said, _ = select(archive.folder, decoders, tmp_path / "s")
    assert said == []
    assert "more than 60%" in found.reason
    assert_same(found.extraction, whole)


# Larger than the gaps that are read rather than jumped over.
PAYLOADS = [make(Random(number).randbytes(70_000), 70_020) for number, make in enumerate([png, jpeg, gif, png, jpeg])]


COPY_BODY = jpeg(Random("copy").randbytes(600_000), 600_020)


IDS = ["abcde", "fghij", "klmno"]


TYPES = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif"}


def digest_told(payload, telling):
    sha1 = hashlib.sha1(payload).digest()
    return {
        "truly": base64.b32encode(sha1).decode(),
        "cut": base64.b32encode(sha1[:7]).decode(),
        "wrongly": base64.b32encode(hashlib.sha1(b"its chunks and " + payload).digest()).decode(),
        "not": "-",
    }[telling]


def put_archive(root, identifier, publicdate, originals, checksums=True, unlisted=()):
    """Write an item of two WARC files, with a CDX; `originals` are (id, extension, payload, telling, listed).

    `unlisted` are answers at the end of the first file that the CDX does not have.
    """
    folder = root / identifier
    folder.mkdir(parents=True)
    lines, listed = [], []
    for name, some in (("a.warc.zst", originals[::2]), ("b.warc.zst", originals[1::2])):
        copy = Answer("https://i.imgur.com/abcdeb.jpg", COPY_BODY)
        answers = [copy, *(Answer(f"https://i.imgur.com/{key}.{ext}", PAYLOADS[at]) for key, ext, at, _, _ in some)]
        digests = ["-", *(digest_told(PAYLOADS[at], telling) for _, _, at, telling, _ in some)]
        is_listed = [True, *(listed for *_, listed in some)]
        after = [Answer(PAGE, COPY_BODY), *unlisted] if name == "a.warc.zst" and unlisted else []
        if after:
            digests.append("-")
            is_listed.append(True)
        spans = write_warc(folder / name, [*answers, *after], checksums=checksums)[: len(digests)]
        answers += after[:1]
        for answer, span, digest, is_in in zip(answers, spans, digests, is_listed, strict=True):
            where = f"{span.length} {span.offset} {name}"
            line = f"- 20230501120000 {answer.url} image/png 200 {digest} - - {where}\n"
            lines += [line] if is_in else []
        listed.append((name, "Web ARChive ZST"))
    (folder / "x.cdx").write_text(" CDX N b a m s k r M S V g\n" + "".join(lines))
    files = [
        {
            "name": name,
            "format": kind,
            "size": str((folder / name).stat().st_size),
            "md5": hashlib.md5((folder / name).read_bytes()).hexdigest(),
        }
        for name, kind in [*listed, ("x.cdx", "Item CDX Index")]
    ]
    (folder / "item.json").write_text(json.dumps(metadata(identifier, publicdate, files)))
    return folder


@pytest.fixture(scope="module")
def internet_archive(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("archive.org")) as server:
        yield server


COUNT = itertools.count()


archives_of_originals = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(IDS),
            st.sampled_from(list(TYPES)),
            st.integers(0, len(PAYLOADS) - 1),
            st.sampled_from(["truly", "truly", "truly", "cut", "wrongly", "not"]),
            st.sampled_from([True, True, True, False]),
        ),
        max_size=4,
    ),
    min_size=2,
    max_size=3,
)


SAME = ("abcde", "png", 0, "truly", True)


@settings(max_examples=12, deadline=None)
@example([[SAME], [SAME, ("fghij", "jpg", 1, "truly", True)]], Random(0), 1)
@example([[("abcde", "png", 0, "truly", True)], [SAME, ("abcde", "jpg", 1, "truly", True)]], Random(0), 0)
@example([[("abcde", "png", 0, "truly", True)], [SAME, ("abcde", "jpg", 1, "truly", False)]], Random(0), 0)
@given(archives_of_originals, st.randoms(use_true_random=False), st.none())
def test_the_files_and_their_owners_are_the_same_with_the_hint(
    internet_archive, decoders, tmp_path_factory, archives, rng, least_known
):
    scratch = tmp_path_factory.mktemp("property")
    names = [f"archive-{next(COUNT):05d}" for _ in archives]
    order = rng.sample(range(len(names)), len(names)) if least_known is None else range(len(names))
    client = ArchiveOrg(internet_archive.url)
    full, hinted, known = {}, {}, 0
    for place in order:
        name = names[place]
        folder = put_archive(internet_archive.root, name, f"2023-05-0{place + 1} 00:00:00", archives[place])
        (scratch / f"{name}-full").mkdir()
        warcs = [(path.name, path) for path in folder.glob("*.zst")]
        full[name] = extract_archive(name, warcs, scratch / f"{name}-full", decoders=decoders).files
        earlier = KnownFiles([scratch / f"{before}.parquet" for before in hinted if before < name])
        found = extract_selected(
            client, client.item(name), scratch / f"{name}-select", decoders=decoders, find_known=earlier.by_sha1
        ).extraction
        assert check_funnel(found.records, found.files) == []
        left_out = [row for row in found.records.to_pylist() if row["known_as"]]
        assert {row["decision"] for row in left_out} <= {"not_fetched"}
        assert earlier.has_all({row["known_as"] for row in left_out})
        known += len(left_out)
        hinted[name] = found.files
        pq.write_table(found.files, scratch / f"{name}.parquet")
    assert owners(hinted) == owners(full)
    assert known >= (least_known or 0)


def owners(files):
    """Return which archive owns each file."""
    return {digest: name for name in sorted(files, reverse=True) for digest in files[name]["blake2b"].to_pylist()}


def test_a_record_that_no_index_lists_of_an_id_left_out_leads_to_a_full_read(internet_archive, decoders, tmp_path):
    listed = [SAME, ("abcde", "jpg", 1, "truly", False)]  # each in a file of its own
    name = f"archive-{next(COUNT):05d}"
    put_archive(internet_archive.root, name, "2023-05-01 00:00:00", listed)
    said = []
    client = ArchiveOrg(internet_archive.url)
    known = {hashlib.sha1(PAYLOADS[0]).digest(): hashlib.blake2b(PAYLOADS[0], digest_size=32).digest()}
    found = extract_selected(
        client, client.item(name), tmp_path / "s", decoders=decoders, on_wrong=said.append, find_known=lambda _: known
    )
    assert "that the CDX does not have" in said[0]
    assert found.extraction.counts["kept"] == found.extraction.counts["lesser_copy"] == 1


def selected_and_whole(internet_archive, decoders, scratch, **how):
    """Return what is selected of an archive, what was said meanwhile, and the extraction of all of it."""
    name = f"archive-{next(COUNT):05d}"
    folder = put_archive(internet_archive.root, name, "2023-05-01 00:00:00", [SAME], **how)
    (scratch / "whole").mkdir()
    warcs = [(path.name, path) for path in folder.glob("*.zst")]
    whole = extract_archive(name, warcs, scratch / "whole", decoders=decoders)
    client = ArchiveOrg(internet_archive.url)
    said = []
    found = extract_selected(client, client.item(name), scratch / "s", decoders=decoders, on_wrong=said.append)
    return found, said, whole


def test_a_frame_without_a_checksum_leads_to_a_full_read(internet_archive, decoders, tmp_path):
    found, said, whole = selected_and_whole(internet_archive, decoders, tmp_path, checksums=False)
    assert "without a checksum" in said[0]
    assert found.bytes_read == found.bytes_in_all
    assert_same(found.extraction, whole)


@pytest.mark.parametrize("size", [2_500, 9_000, 16_000])
def test_no_row_of_a_record_that_no_index_lists_is_lost(internet_archive, decoders, tmp_path, size):
    small = Answer("https://i.imgur.com/zzzzz.png", png(Random(size).randbytes(size), size + 20))
    found, said, whole = selected_and_whole(internet_archive, decoders, tmp_path, unlisted=[small])
    assert said == []
    rows = {(row["warc_file"], row["warc_offset"]): row for row in found.extraction.records.to_pylist()}
    for full in whole.records.to_pylist():
        row = rows.pop((full["warc_file"], full["warc_offset"]))
        assert row == full or row["decision"] == "not_fetched"
    assert rows == {}
    assert found.extraction.counts["kept"] == 2
    assert found.gaps == 0


def test_what_is_neither_read_nor_listed_is_counted(internet_archive, decoders, tmp_path):
    tiny = Answer("https://i.imgur.com/zzzzz.png", b"", status=404)
    found, _, whole = selected_and_whole(internet_archive, decoders, tmp_path, unlisted=[tiny])
    assert found.extraction.records.num_rows == whole.records.num_rows - 1
    assert found.gaps == 1


def test_spans_of_a_file_share_its_budget_of_records(internet_archive):
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    crowd = compressor.compress(b"WARC/1.0\nWARC-Type: response\nContent-Length: 0\n\n\n\n" * 60_000)
    between = compressor.compress(Answer(COPY, Random(0).randbytes(100_000)).record())
    name = f"archive-{next(COUNT):05d}"
    put_item(internet_archive.root, {"a.warc.zst": crowd + between + crowd}, name)
    client = ArchiveOrg(internet_archive.url)
    remote = RemoteFile(client, name, client.item(name).warcs[0])
    places = [(0, len(crowd)), (len(crowd) + len(between), len(crowd))]
    spans = tuple((offset, offset + length) for offset, length in places)
    warc = SelectedWarc(remote, Plan(spans, tuple(entry(*place) for place in places)), Listed({}, {}))
    found = []
    with pytest.raises(IndexUnusable, match="more records in frames of several"):
        found.extend(warc.records())
    assert len(found) > 100_000
