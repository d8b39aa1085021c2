"""What an item's metadata says, and the manifest made of it."""

from datetime import UTC, datetime

import pytest

from imgmine.archives.item import (
    Availability,
    BadMetadata,
    ItemDark,
    ItemMissing,
    ItemRestricted,
    ItemWithoutWarc,
    manifest_bytes,
    parse_date,
    parse_item,
    read_manifest,
)

NAME = "archiveteam_imgur_20230503123456_0a1b2c3d"


def metadata(**changes):
    """Metadata in IA's own forms: sizes and times as strings, dates without a zone, files in no order."""
    answer = {
        "created": 1683117296,
        "dir": "/12/items/" + NAME,
        "files": [
            {"name": f"{NAME}_files.xml", "format": "Metadata", "md5": "AB", "summation": "md5"},
            {"name": "b.1111111111.megawarc.warc.zst", "format": "Web ARChive ZST", "size": "200", "md5": "B2"},
            {
                "name": "a.0000000000.megawarc.warc.zst",
                "format": "Web ARChive ZST",
                "size": "14000000000",
                "md5": "A1",
                "sha1": "c3",
                "crc32": "d4",
                "mtime": "1683117000",
            },
            {"name": "c.megawarc.warc.gz", "format": "Web ARChive GZ", "size": 7},
            {"name": "not-a-warc.warc.zst", "format": "Unknown", "size": "5"},
            {"name": "a.cdx.gz", "format": "Item CDX Index", "size": "9"},
        ],
        "item_size": 14000000216,
        "metadata": {
            "identifier": NAME,
            "collection": ["archiveteam_imgur", "archiveteam"],
            "publicdate": "2023-05-03 12:34:56",
            "addeddate": ["2023-05-03 12:00:00"],
            "mediatype": "web",
        },
    }
    return answer | changes


def test_an_item_is_read_from_ias_forms():
    item = parse_item(NAME, metadata())
    assert item.identifier == NAME
    assert item.publicdate == datetime(2023, 5, 3, 12, 34, 56, tzinfo=UTC)
    assert item.addeddate == datetime(2023, 5, 3, 12, tzinfo=UTC)
    assert item.item_size == 14_000_000_216
    first = item.files[0]
    assert (first.name, first.size, first.md5, first.sha1, first.crc32, first.mtime, first.private) == (
        "a.0000000000.megawarc.warc.zst",
        14_000_000_000,
        "a1",
        "c3",
        "d4",
        1_683_117_000,
        False,
    )
    listing = next(file for file in item.files if file.format == "Metadata")
    assert (listing.size, listing.mtime, listing.sha1) == (None, None, None)


def test_warcs_are_chosen_by_format_and_sorted_by_name():
    item = parse_item(NAME, metadata())
    assert [file.name for file in item.warcs] == [
        "a.0000000000.megawarc.warc.zst",
        "b.1111111111.megawarc.warc.zst",
        "c.megawarc.warc.gz",
    ]
    assert [file.name for file in item.cdx_indexes] == ["a.cdx.gz"]


def test_an_empty_answer_is_a_missing_item():
    with pytest.raises(ItemMissing, match=NAME):
        parse_item(NAME, {})


@pytest.mark.parametrize(
    ("changes", "availability", "error"),
    [
        ({"is_dark": True, "files": None, "metadata": None}, Availability.DARK, ItemDark),
        ({"metadata": {"access-restricted-item": "true"}}, Availability.RESTRICTED, ItemRestricted),
        (
            {"files": [{"name": "a", "format": "Web ARChive ZST", "private": "true"}]},
            Availability.RESTRICTED,
            ItemRestricted,
        ),
        ({"files": [{"name": "a", "format": "Text", "size": "1"}]}, Availability.NO_WARC, ItemWithoutWarc),
    ],
)
def test_not_available_is_not_missing(changes, availability, error):
    item = parse_item(NAME, metadata(**changes))
    assert item.availability is availability
    with pytest.raises(error, match=NAME):
        item.require_available()


def test_a_private_thumbnail_restricts_nothing():
    files = [*metadata()["files"], {"name": "__ia_thumb.jpg", "format": "Item Tile", "private": "true"}]
    item = parse_item(NAME, metadata(files=files))
    assert item.availability is Availability.AVAILABLE
    item.require_available()


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": None},
        {"files": None},
        {"files": "x"},
        {"files": [{"format": "Text"}]},
        {"files": [{"name": "../../etc/passwd"}]},
        {"files": [{"name": "/etc/passwd"}]},
        {"files": [{"name": "a/../b"}]},
        {"files": [{"name": "same"}, {"name": "same"}]},
        {"metadata": {"identifier": "another"}},
        {"metadata": {"publicdate": "yesterday"}},
    ],
)
def test_a_failed_read_is_not_an_item(changes):
    with pytest.raises(BadMetadata, match=NAME):
        parse_item(NAME, metadata(**changes))


@pytest.mark.parametrize("identifier", ["", "..", "a/b", "a b", "é"])
def test_an_identifier_that_could_leave_its_folder_is_refused(identifier):
    with pytest.raises(BadMetadata):
        parse_item(identifier, metadata())


@pytest.mark.parametrize(
    "text", ["2023-05-03 12:34:56", "2023-05-03T12:34:56Z", "2023-05-03T12:34:56", "2023-05-03T14:34:56+02:00"]
)
def test_dates_are_utc(text):
    assert parse_date(text) == datetime(2023, 5, 3, 12, 34, 56, tzinfo=UTC)


def test_the_manifest_has_the_same_bytes_for_the_same_metadata_and_gives_the_item_back():
    shuffled = metadata(files=list(reversed(metadata()["files"])), created=1, workable_servers=["x"])
    item = parse_item(NAME, metadata())
    assert manifest_bytes(item) == manifest_bytes(parse_item(NAME, shuffled))
    assert read_manifest(manifest_bytes(item)) == item
    dark = parse_item(NAME, {"is_dark": True})
    assert read_manifest(manifest_bytes(dark)) == dark


def test_the_digest_of_the_warcs_ignores_what_is_not_mined():
    item = parse_item(NAME, metadata())
    files = metadata()["files"]
    touched = parse_item(NAME, metadata(files=[*files[:-1], {**files[-1], "size": "10"}]))
    changed = parse_item(NAME, metadata(files=[{**file, "md5": "ff"} for file in files]))
    assert manifest_bytes(touched) != manifest_bytes(item)
    assert touched.warcs_digest == item.warcs_digest
    assert changed.warcs_digest != item.warcs_digest


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"manifest_version": 1}', b"\xff"])
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(BadMetadata, match="manifest"):
        read_manifest(data)


def test_a_manifest_of_another_version_is_refused():
    data = manifest_bytes(parse_item(NAME, metadata())).replace(b'"manifest_version": 1', b'"manifest_version": 99')
    with pytest.raises(BadMetadata, match="99"):
        read_manifest(data)
