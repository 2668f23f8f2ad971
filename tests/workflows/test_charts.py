"""Charts as SVG."""

from dataclasses import replace
from math import nan
from xml.etree import ElementTree as ET

from volseg.workflows.bars import Histogram, above, bars
from volseg.workflows.charts import BOTTOM, HEIGHT, WIDTH, Panel, Point, draw_panels

SVG = "{http://www.w3.org/2000/svg}"


def panel(*series, title="noise"):
    return Panel(title, "SD", ["as it is", "0.1"], series)


def test_a_higher_value_lies_higher_and_stays_in_the_panel():
    points = [Point(0.9, 0.8, 1.0, (0.1, 0.5, 0.9, 1, 1)), Point(0.2, nan, nan)]
    root = ET.fromstring(draw_panels([panel(points)], ["a"]))
    circles = list(root.iter(f"{SVG}circle"))
    heights = [float(each.get("cy")) for each in circles]
    assert len(heights) == 2
    assert heights[0] < heights[1] < HEIGHT


def test_places_without_an_order_are_not_joined():
    drawn = [
        panel([Point(0.5, nan, nan)] * 2),
        replace(panel([Point(0.5, nan, nan)] * 2), is_joined=False),
    ]
    lines = [len(list(ET.fromstring(each.to_svg()).iter("polyline"))) for each in drawn]
    assert lines == [1, 0]


def test_what_has_no_value_draws_nothing_and_any_title_can_be_drawn():
    drawn = draw_panels([panel([Point(nan, nan, nan)] * 2, title="<&>")], ["a"])
    root = ET.fromstring(drawn)
    assert not list(root.iter(f"{SVG}circle"))
    assert any(each.text == "<&>" for each in root.iter(f"{SVG}text"))


def test_panels_lie_in_rows_and_series_are_named_if_there_are_several():
    points = [Point(0.5, nan, nan)] * 2
    root = ET.fromstring(draw_panels([panel(points, points)] * 4, ["first", "second"], 3))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert (width, height) == (3 * WIDTH, 2 * HEIGHT + 22)
    assert {"first", "second"} <= {each.text for each in root.iter(f"{SVG}text")}


def test_bars_are_as_high_as_their_values_and_stand_on_0():
    root = ET.fromstring(draw_panels([bars("cases", "grade", ["0", "1"], [2, 4])], ["cases"]))
    drawn = [each for each in root.iter(f"{SVG}rect") if each.get("fill-opacity")]
    low, high = (float(each.get("height")) for each in drawn)
    assert high == 2 * low
    feet = {float(each.get("y")) + float(each.get("height")) for each in drawn}
    assert feet == {HEIGHT - BOTTOM}


def test_a_histogram_counts_every_finite_value_once():
    found = Histogram.of([1.0, 2.0, 2.0, nan, 11.0])
    assert found.edges == tuple(map(float, range(1, 12)))
    assert found.counts == (1, 2, 0, 0, 0, 0, 0, 0, 0, 1)
    assert sum(Histogram.of([3.0] * 5).counts) == 5
    assert sum(Histogram.of([1.0, 1.0 + 1e-15]).counts) == 2
    assert sum(Histogram.of([]).counts) == sum(Histogram.of([nan]).counts) == 0


def test_an_axis_ends_above_its_values_at_a_round_number():
    for value in (0.013, 1, 4, 4.1, 39, 41, 12345):
        assert value <= above(value) <= 3 * value
