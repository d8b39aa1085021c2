"""What materializations show: readable, complete, and small enough for the event log."""

from imgmine.decisions import (
    IMAGE_MEANINGS,
    RECORD_MEANINGS,
    SCORE_MEANINGS,
    ImageDecision,
    RecordDecision,
    ScoreDecision,
)
from imgmine.models.showing import Screen
from imgmine_assets import shown
from tests.models.photographs import photographs, preview


def cells(table: object) -> list[dict[str, object]]:
    return [dict(record.data) for record in table.records]  # type: ignore[attr-defined]


def test_counts_come_largest_first_with_shares_and_meanings() -> None:
    table = shown.counts_table({"size": 1, "kept": 3}, "decision", {"kept": "passed", "size": "small"})
    assert [(row["decision"], row["n"], row["meaning"]) for row in cells(table)] == [
        ("kept", 3, "passed"),
        ("size", 1, "small"),
    ]
    assert "75.0%" in str(cells(table)[0]["share"])


def test_a_bar_is_as_long_as_its_share_and_never_nothing_for_something() -> None:
    assert [shown.share_bar(n, 100).count("█") for n in (0, 5, 50, 100)] == [0, 1, 10, 20]
    assert shown.share_bar(1, 1000).endswith("▏")
    assert "█" not in shown.share_bar(0, 0)


def test_nothing_counted_is_an_empty_table() -> None:
    assert cells(shown.counts_table({}, "decision")) == []


def test_a_missing_value_is_an_empty_cell() -> None:
    assert cells(shown.rows_table({"name": "string", "md5": "string"}, [("a", None)])) == [{"name": "a", "md5": ""}]


def test_a_histogram_is_the_same_for_the_same_numbers_and_small() -> None:
    values = [float(n % 17) for n in range(500)]
    assert shown.histogram(values, "megapixels", "images") == shown.histogram(values, "megapixels", "images")
    assert len(shown.histogram(values, "megapixels", "images")) < 20_000


def test_where_there_is_nothing_to_draw_a_line_says_so() -> None:
    screen = Screen(0.2, show_all=True, judge=None)
    page = shown.page(
        {"Kept": shown.sheet([], "kept pictures", screen), "Sizes": shown.histogram([], "MP", "kept pictures")}
    )
    assert page.value == "#### Kept\n\nThere are no kept pictures.\n\n#### Sizes\n\nThere are no kept pictures."


def test_every_decision_is_explained() -> None:
    assert set(RECORD_MEANINGS) == set(RecordDecision)
    assert set(IMAGE_MEANINGS) == set(ImageDecision)
    assert set(SCORE_MEANINGS) == set(ScoreDecision)


def test_a_sheet_shows_nothing_that_nobody_judged_and_says_so() -> None:
    samples = [(preview(photographs()["coffee"]), "coffee")]
    hidden = shown.sheet(samples, "pictures", Screen(0.2, show_all=False, judge=None))
    assert hidden == shown.sheet([(None, "coffee")], "pictures", Screen(0.2, show_all=True, judge=None)) + (
        "\n\nThe pictures are not shown: what is safe for work is not known without `pip install 'imgmine[nsfw]'`. "
        "IMGMINE_SHOW_NSFW=1 shows them."
    )
    assert shown.sheet(samples, "pictures", Screen(0.2, show_all=True, judge=None)) not in hidden
