import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from PIL import Image

from imgmine.dataset.funnel import FunnelCount
from imgmine.dataset.plots import (
    AccumulationPoint,
    ArchiveYield,
    DecisionShare,
    accumulation_chart,
    days_chart,
    funnel_chart,
    resolution_histogram,
    scores_chart,
    shares_chart,
    statistics_plots,
    yield_chart,
)
from imgmine.dataset.warehouse import build_warehouse, open_warehouse, publish_warehouse
from imgmine.decisions import ImageDecision
from imgmine.store.local import LocalStore
from tests.dataset.small_store import Entry, put_archive

COUNTS = [
    FunnelCount(archive, stage, decision, n)
    for archive in ("a", "b")
    for stage, decision, n in (("records", "kept", 700), ("records", "empty", 20), ("files", "picture", 700))
]


def dark_pixels(png: bytes) -> int:
    picture = Image.open(io.BytesIO(png))
    picture.load()
    assert picture.format == "PNG"
    return sum(picture.convert("L").histogram()[:160])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: funnel_chart(COUNTS),
        lambda: funnel_chart([]),
        lambda: resolution_histogram([(640, 480, 10), (4000, 3000, 2)]),
        lambda: resolution_histogram([]),
        lambda: yield_chart(
            [ArchiveYield("archiveteam_imgur_20230501000000_0123abcd", 10, 7), ArchiveYield("b", 0, 0)]
        ),
        lambda: yield_chart([ArchiveYield(str(number), 100, number % 100) for number in range(1332)]),
        lambda: yield_chart([]),
        lambda: shares_chart(
            [DecisionShare("kept", 1, 0.7), DecisionShare("kept", 2, 0.8), DecisionShare("size", 1, 0.3)]
        ),
        lambda: shares_chart([]),
        lambda: days_chart([(date(2023, 5, day), day) for day in range(1, 31)]),
        lambda: days_chart([]),
        lambda: scores_chart([(0, 7), (95, 5)]),
        lambda: scores_chart([]),
        lambda: accumulation_chart(
            [AccumulationPoint(n, 10.0 * n**0.9, 9 * n if n < 5 else None, 11.0 * n) for n in range(9)]
        ),
        lambda: accumulation_chart([]),
    ],
)
def test_a_plot_is_a_picture_with_something_on_it_and_always_the_same(draw) -> None:  # type: ignore[no-untyped-def]
    first = draw()
    assert dark_pixels(first) > 500
    assert first == draw()


def test_every_plot_is_drawn_from_the_warehouse(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    (tmp_path / "scratch").mkdir()
    for filled in (False, True):
        if filled:
            put_archive(store, "a", [Entry("one"), Entry("two", gate=ImageDecision.MODE)], datetime.now(UTC))
        publish_warehouse(store, build_warehouse(store, tmp_path / "mirror", tmp_path / "scratch"))
        with open_warehouse(store, tmp_path / "mirror", tmp_path / "scratch") as warehouse:
            plots = statistics_plots(warehouse)
        assert list(plots) == ["funnel", "resolutions", "yield", "decisions", "captured", "scores", "distinct"]
        assert all(dark_pixels(png) > 500 for png in plots.values())
