"""The ledger: rows in order, whatever the batches they are held in, and none left undecided."""

import pytest

from imgmine.archives.ledger import Ledger, LedgerRow
from imgmine.decisions import RecordDecision
from imgmine.store.tables import RECORDS


@pytest.mark.parametrize("rows", [0, 1, 4095, 4096, 4097, 9000])
def test_rows_come_back_in_order(rows: int) -> None:
    ledger = Ledger()
    decisions = list(RecordDecision)
    for number in range(rows):
        assert ledger.add(LedgerRow("a", number, 1), decisions[number % len(decisions)]) == number
    table = ledger.table("archive")
    assert table.schema == RECORDS
    assert len(ledger) == len(table) == rows
    assert table["warc_offset"].to_pylist() == list(range(rows))
    assert table["decision"].to_pylist() == [decisions[number % len(decisions)] for number in range(rows)]


def test_a_row_is_settled_by_its_number() -> None:
    ledger = Ledger()
    numbers = [ledger.add(LedgerRow("a", number, 1), None) for number in range(5000)]
    with pytest.raises(ValueError, match="archive: row 0 of the ledger is undecided"):
        ledger.table("archive")
    for number in numbers:
        ledger.settle(number, RecordDecision.KEPT, number.to_bytes(32, "big"))
    table = ledger.table("archive")
    assert table["blake2b"].to_pylist() == [number.to_bytes(32, "big") for number in numbers]
    assert set(table["decision"].to_pylist()) == {"kept"}


def test_text_that_is_no_unicode_is_escaped() -> None:
    ledger = Ledger()
    ledger.add(LedgerRow("a", 0, 1, url="https://i.imgur.com/\udcff\0é"), RecordDecision.NO_MEDIA)
    assert ledger.table("archive")["url"].to_pylist() == ["https://i.imgur.com/\\udcffé"]
