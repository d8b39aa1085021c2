"""Which records are wanted by what the index says of them, and the spans of a file that have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.archives.cdx import CdxEntry, IndexUnusable
from imgmine.archives.selection_plan import is_wanted, make_plan, mark_known
from tests.archives.index_entries import COPY, ORIGINAL, PAGE, entry


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (entry(0, 1), True),
        (entry(0, 1, status=None), True),
        (entry(0, 1, mime="text/html"), True),
        (entry(0, 1, url=COPY), False),
        (entry(0, 1, url=PAGE), False),
        (entry(0, 1, mime="warc/revisit"), False),
        (entry(0, 1, status=302), False),
        (entry(0, 1, status=404), False),
        (entry(0, 1, url="https://i.imgur.com/removed.png"), False),
    ],
)
def test_only_what_is_known_to_be_no_original_is_left_out(found, wanted):
    assert is_wanted(found) is wanted


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20), st.booleans()), max_size=5), st.integers(0, 10))
def test_a_plan_reads_each_wanted_record_once_and_joins_over_cheap_gaps(laid, request):
    entries, at = [], 0
    for gap, length, wanted in laid:
        entries.append(entry(at + gap, length, ORIGINAL if wanted else COPY))
        at += gap + length
    plan = make_plan(entries, 10 * at + 1, request)
    assert plan is not None
    for found in entries:
        inside = [start <= found.offset and found.offset + found.length <= end for start, end in plan.spans]
        assert sum(inside) == 1 if is_wanted(found) else sum(inside) <= 1
    assert all(end + request < start for (_, end), (start, _) in zip(plan.spans, plan.spans[1:], strict=False))
    edges = {edge for found in entries if is_wanted(found) for edge in (found.offset, found.offset + found.length)}
    assert {edge for span in plan.spans for edge in span} <= edges


def test_a_file_of_which_most_is_wanted_is_read_whole():
    assert make_plan([entry(0, 600)], 1000, 100) is not None
    assert make_plan([entry(0, 601)], 1000, 100) is None
    assert make_plan([entry(0, 300), entry(400, 300)], 1000, request_bytes=100) is None


def test_bytes_that_no_record_of_the_index_has_are_read_where_they_are_many():
    few, many = 2 << 10, (2 << 10) + 1
    copies = [entry(many, 10, COPY), entry(many + 10 + few, 10, COPY), entry(many + 20 + few + many, 10**6, COPY)]
    end = copies[-1].offset + copies[-1].length
    plan = make_plan(copies, end, request_bytes=100)
    assert plan is not None
    assert plan.spans == ((0, many), (many + 20 + few, many + 20 + few + many))
    assert plan.gaps == 1
    plan = make_plan(copies, end + many, request_bytes=100)
    assert plan is not None
    assert plan.spans[-1] == (end, end + many)


@pytest.mark.parametrize("entries", [[entry(0, 100), entry(99, 10)], [entry(990, 11)], [entry(0, 9), entry(0, 10)]])
def test_an_index_that_cannot_be_of_the_file_is_an_error(entries):
    with pytest.raises(IndexUnusable):
        make_plan(entries, 1000, 100)


KNOWN = {b"1" * 20: b"A" * 32, b"2" * 20: b"B" * 32}


def original(media_id, sha1, extension="png", status=200):
    url = f"https://i.imgur.com/{media_id}.{extension}"
    return CdxEntry(0, 1, url, None, "image/png", status, sha1)


@pytest.mark.parametrize(
    ("listed", "known_as"),
    [
        ([original("abcde", b"1" * 20)], [b"A" * 32]),
        ([original("abcde", b"3" * 20)], [None]),
        ([original("abcde", None)], [None]),
        ([original("abcde", b"1" * 20, status=None)], [None]),
        ([original("abcde", b"1" * 20), original("abcde", b"2" * 20, "jpg")], [b"A" * 32, b"B" * 32]),
        ([original("abcde", b"1" * 20), original("abcde", b"3" * 20, "jpg")], [None, None]),
        ([original("abcde", b"1" * 20), original("fghij", b"3" * 20)], [b"A" * 32, None]),
        ([original("abcdeb", b"1" * 20)], [None]),
    ],
)
def test_an_original_is_left_out_where_all_of_its_id_are_known(listed, known_as):
    marked = mark_known({"a.zst": listed[:1], "b.zst": listed[1:]}, lambda asked: KNOWN)
    assert [found.known_as for found in marked["a.zst"] + marked["b.zst"]] == known_as
    assert not any(is_wanted(found) for found in marked["a.zst"] + marked["b.zst"] if found.known_as)
