"""Scales, ticks, axis labels and charts."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardrank.reports.markup import Html
from hardrank.reports.numbers import axis, brief, decimal, percent, relative, signed
from hardrank.reports.scales import Linear, Radii, nice_ticks, padded, spread
from hardrank.reports.sections.exposure import quantile
from hardrank.reports.svg import band, bottom_axis, chart, left_axis, line, mark, rule, text

sizes = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "wanted", "ticks"),
    [
        (0.0, 1.0, 5, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        (0.0, 0.97, 4, (0.0, 0.25, 0.5, 0.75, 1.0)),
        (-3.5, 6.1, 5, (-5.0, -2.5, 0.0, 2.5, 5.0, 7.5)),
        (0.0, 0.039, 4, (0.0, 0.01, 0.02, 0.03, 0.04)),
        (5e-324, 5e-324, 4, (-0.5, -0.25, 0.0, 0.25, 0.5)),
        (0.0, 0.0, 4, (-0.5, -0.25, 0.0, 0.25, 0.5)),
    ],
)
def test_ticks_are_the_round_numbers_a_person_would_choose(
    low: float, high: float, wanted: int, ticks: tuple[float, ...]
) -> None:
    assert nice_ticks(low, high, wanted) == pytest.approx(ticks)


@given(sizes, sizes, st.integers(2, 8))
def test_ticks_cover_the_data_evenly_and_few(a: float, b: float, wanted: int) -> None:
    low, high = sorted((a, b))
    ticks = nice_ticks(low, high, wanted)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= wanted + 1
    steps = [y - x for x, y in itertools.pairwise(ticks)]
    assert max(steps) - min(steps) <= 1e-6 * max(steps)


def test_ticks_refuse_what_is_no_range() -> None:
    for low, high in ((1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)):
        with pytest.raises(AssertionError):
            nice_ticks(low, high)


def test_linear_scale_hits_its_ends_and_middle() -> None:
    y = Linear(0.0, 0.5, 216.0, 12.0)
    assert (y(0.0), y(0.5), y(0.25)) == (216.0, 12.0, 114.0)


def test_radii_are_spaced_by_factors_and_zero_has_a_place() -> None:
    x = Radii((0.0, 0.01, 0.1, 1.0), 0.0, 250.0)
    third = 250 / 7
    places = [0.0, third, 4 * third, 250.0]
    assert [x(r) for r in (0.0, 0.01, 0.1, 1.0)] == pytest.approx(places)
    assert Radii((0.0,), 0.0, 10.0)(0.0) == 5.0
    assert Radii((0.1,), 0.0, 10.0)(0.1) == 5.0


@given(st.lists(st.floats(-50, 150), min_size=1, max_size=6))
def test_labels_are_spread_apart_in_order_and_stay_inside(places: list[float]) -> None:
    moved = spread(places, 15, 0.0, 100.0)
    assert min(moved) >= -1e-6 and max(moved) <= 100 + 1e-6
    order = sorted(range(len(places)), key=lambda i: places[i])
    gaps = [moved[b] - moved[a] for a, b in itertools.pairwise(order)]
    assert all(gap >= 15 - 1e-3 for gap in gaps)


def test_labels_that_are_apart_already_stay() -> None:
    assert spread([80.0, 20.0], 15, 0.0, 100.0) == [80.0, 20.0]
    assert spread([50.0, 50.0], 20, 0.0, 100.0) == [40.0, 60.0]


def test_tick_labels_that_would_touch_are_left_out() -> None:
    """Issue seen on a real run: `0.02 0.050.1` ran together."""
    drawn = bottom_axis([(0.02, 50.0), (0.05, 60.0), (0.1, 90.0)], 40, None, "radius", 50)
    assert re.findall(r">([^<>]+)</text>", drawn) == ["0.02", "0.1", "radius"]
    assert drawn.count("<line") == 3, "the tick itself stays"


def test_labels_inside_charts_are_brief() -> None:
    assert brief(0.7193, percent) == "72\u202f%" and brief(0.034, percent) == "3.4\u202f%"
    assert (brief(0.0382, decimal), brief(0.0, decimal), brief(1.0, decimal)) == ("0.038", "0", "1")


def test_padded_ignores_what_is_not_finite() -> None:
    assert padded([math.nan, 2.0, 3.0]) == (2.0, 3.0)
    assert padded([2.0, 3.0], floor=0.0) == (0.0, 3.0)
    assert padded([]) == (0.0, 1.0)


def test_axis_labels_share_the_fewest_decimals() -> None:
    thin = "\u202f"
    assert axis([0.0, 0.2, 0.4], percent) == [f"0{thin}%", f"20{thin}%", f"40{thin}%"]
    assert axis([0.0, 0.005], percent) == [f"0.0{thin}%", f"0.5{thin}%"]
    assert axis([0.0, 0.02, 0.04], decimal) == ["0.00", "0.02", "0.04"]
    assert axis([-0.05, 0.0, 0.05], signed(relative)) == [
        f"−5{thin}%", f"0{thin}%", f"+5{thin}%",
    ]  # fmt: skip


def test_quantiles_are_linear_between_order_statistics() -> None:
    assert [quantile([4.0, 1.0, 3.0, 2.0], q) for q in (0.0, 0.5, 0.25, 1.0)] == [1, 2.5, 1.75, 4]
    assert quantile([7.0], 0.9) == 7.0


def test_a_chart_is_named_well_formed_and_escaped() -> None:
    hostile = "</title><script>alert(1)</script>\x00"
    drawn: Html = chart(
        100, 50, hostile, "a & b",
        left_axis([(0.0, 40.0), (1.0, 10.0)], 20, 90, decimal),
        bottom_axis([(0.1, 20.0)], 40, None, hostile, 50),
        line([(1, 2), (3, 4)], "control"),
        band([(1, 2), (3, 4)], [(1, 3), (3, 5)], "hardened"),
        mark(3, 4, "control", hostile), mark(3, 4, "hardened"), rule(0, 0, 1, 1),
        text(1, 2, hostile),
    )  # fmt: skip
    root = ElementTree.fromstring(drawn)
    names = [re.sub(r"\{.*\}", "", e.tag) for e in root.iter()]
    assert "script" not in names
    assert {"circle", "rect", "polyline", "polygon", "text", "line"} <= set(names)
    ids = {e.get("id") for e in root}
    assert set(root.get("aria-labelledby", "").split()) <= ids
    assert root.get("role") == "img" and root.get("viewBox") == "0 0 100 50"
    shape = root.find("{http://www.w3.org/2000/svg}polygon")
    assert shape is not None and shape.get("points") == "1,2 3,4 3,5 1,3"
