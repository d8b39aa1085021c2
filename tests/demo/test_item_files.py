import gzip
import hashlib
import json
import tarfile
import xml.etree.ElementTree as ET
import zlib

import pytest

from imgmine.demo.exchanges import Kind
from tests.demo.demo_archives import ReadBack, dictionary_of, frames_at

KINDS = list(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_checksums_and_sizes_are_those_of_the_files(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    item, folder = demo[kind].item, demo[kind].archive.folder
    assert {row["name"] for row in item["files"]} == {path.name for path in folder.iterdir()} - {"item.json"}
    assert item["files_count"] == len(item["files"])
    for row in item["files"]:
        data = (folder / row["name"]).read_bytes()
        assert all(isinstance(value, str) for value in row.values())
        assert row["md5"] == hashlib.md5(data).hexdigest()
        if "size" in row:
            assert int(row["size"]) == len(data)
            assert row["sha1"] == hashlib.sha1(data).hexdigest()
            assert int(row["crc32"], 16) == zlib.crc32(data)
    assert item["item_size"] == sum((folder / row["name"]).stat().st_size for row in item["files"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_item_is_one_of_the_collection(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    item, archive = demo[kind].item, demo[kind].archive
    assert item["metadata"]["identifier"] == archive.identifier
    assert item["metadata"]["collection"][0] == "archiveteam_imgur"
    assert item["dir"].endswith(f"/items/{archive.identifier}")
    assert item["server"] == item["d1"]
    formats = [row["format"] for row in item["files"]]
    assert formats.count("Web ARChive ZST") == len(archive.warc_files)
    assert formats.count("Item CDX Index") == 1
    meta = ET.parse(archive.folder / f"{archive.identifier}_meta.xml")
    assert meta.findtext("publicdate") == item["metadata"]["publicdate"]
    listed = ET.parse(archive.folder / f"{archive.identifier}_files.xml").findall("file")
    assert {each.get("name") for each in listed} == {row["name"] for row in item["files"]}


def test_archives_were_published_in_the_order_of_their_kinds(demo: dict[Kind, ReadBack]) -> None:
    dates = [demo[kind].item["metadata"]["publicdate"] for kind in KINDS]
    assert dates == sorted(dates)
    assert len(demo[Kind.APRIL].archive.warc_files) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_cdx_lines_point_at_their_records(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    archive = demo[kind].archive
    (name,) = [row["name"] for row in demo[kind].item["files"] if row["format"] == "Item CDX Index"]
    header, *lines = gzip.decompress((archive.folder / name).read_bytes()).decode().splitlines()
    assert header == " CDX N b a m s k r M S V g"
    assert lines == sorted(lines)
    rows = {(row.warc_file, row.warc_offset): row for row in demo[kind].truth.records}
    assert len(lines) == len(rows)
    dictionaries = {path.name: dictionary_of(path)[1] for path in archive.warc_files}
    for line in lines:
        _, timestamp, url, mime, status, _, _, _, length, offset, warc = line.split(" ")
        row = rows[warc, int(offset)]
        assert (url, int(status), int(length)) == (row.url, row.http_status, row.warc_length)
        assert (mime == "warc/revisit") == (row.record_type == "revisit")
        assert timestamp == (row.captured_at or "")[:19].translate(str.maketrans("", "", "-T:"))
        path = archive.folder / warc
        assert f"WARC-Target-URI: {url}\r\n".encode() in b"".join(
            text for _, text in frames_at(path, int(offset), int(length), dictionaries[warc])
        )


@pytest.mark.parametrize("kind", KINDS)
def test_json_lines_tell_where_each_source_warc_lies(demo: dict[Kind, ReadBack], kind: Kind) -> None:
    for path in demo[kind].archive.warc_files:
        stem = path.name.removesuffix(".warc.zst")
        lines = gzip.decompress((path.parent / f"{stem}.json.gz").read_bytes()).decode().splitlines()
        targets = [json.loads(line)["target"] for line in lines]
        starts = [offset for name, offset, _, _ in demo[kind].records(path) if name == "warcinfo"]
        assert [target["offset"] for target in targets] == starts
        assert targets[-1]["offset"] + targets[-1]["size"] == path.stat().st_size


def test_the_tar_holds_what_would_not_decompress(demo: dict[Kind, ReadBack]) -> None:
    for each in demo.values():
        counts = []
        for path in each.archive.warc_files:
            with tarfile.open(path.parent / f"{path.name.removesuffix('.warc.zst')}.tar") as tar:
                counts.append(len(tar.getnames()))
        assert counts == [1, 0][: len(counts)]
