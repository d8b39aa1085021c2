"""The journal of a file that arrives in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmine.archives.arrivals import Arrivals


@given(
    st.lists(st.integers(0, 10), min_size=5, max_size=5), st.integers(1, 50), st.lists(st.integers(0, 60), max_size=3)
)
def test_what_is_missing_and_what_has_arrived_make_up_the_file(tmp_path_factory, counts, size, cuts):
    path = tmp_path_factory.mktemp("part") / "a.part.arrived"
    there = {10 * n + byte for n, count in enumerate(counts) for byte in range(count) if 10 * n + byte < size}
    arrivals = Arrivals(path, 10)
    for n, count in reversed(list(enumerate(counts))):
        arrivals.add(10 * n, max(10 * n, min(10 * n + count, size)))
    for cut in cuts:
        arrivals.cut(cut)
        there = {byte for byte in there if byte < cut}
    arrivals.close()
    again = Arrivals(path, 10)
    assert again.received == len(there)
    assert {byte for start, end in again.missing(size) for byte in range(start, end)} == set(range(size)) - there
    assert again.prefix == next(byte for byte in range(size + 1) if byte not in there)
    again.close()


def test_bytes_that_run_over_the_borders_of_pieces_are_noted_in_each(tmp_path):
    arrivals = Arrivals(tmp_path / "a", 10)
    assert arrivals.add(0, 4) == 4
    assert arrivals.add(4, 27) == 27
    assert list(arrivals.missing(40)) == [(27, 30), (30, 40)]
    assert list(arrivals.missing(None)) == [(27, None)]
    arrivals.close()


@pytest.mark.parametrize("torn", [0, 3, 7])
def test_a_journal_that_was_cut_short_costs_only_what_it_does_not_say(tmp_path, torn):
    path = tmp_path / "a"
    arrivals = Arrivals(path, 10)
    arrivals.add(0, 25)
    arrivals.close()
    path.write_bytes(path.read_bytes()[: 16 + torn])
    again = Arrivals(path, 10)
    assert list(again.missing(30)) == [(20, 30)]
    again.close()
