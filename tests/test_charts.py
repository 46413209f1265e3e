"""Charts: well-formed SVG that shows what it is given."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from dissect.charts import Axes, Point, bars, curves

SVG = "{http://www.w3.org/2000/svg}"


def heights(picture: str) -> dict[str, float]:
    root = ElementTree.fromstring(picture)
    return {bar.find(f"{SVG}title").text: float(bar.get("height")) for bar in root.iter(f"{SVG}rect")}


def test_bars_are_as_high_as_what_they_count():
    found = heights(bars({"tree": 4, "dome": 2, "sky": 1}, {"tree": "plant", "dome": "tower", "sky": "air"}, "units"))
    assert found["tree: 4"] == 2 * found["dome: 2"] == 4 * found["sky: 1"]


def test_a_category_has_one_colour_whatever_else_is_shown():
    categories = {"tree": "plant", "dome": "tower", "sky": "air"}

    def colours(counts):
        root = ElementTree.fromstring(bars(counts, categories, "units"))
        return {bar.find(f"{SVG}title").text[:3]: bar.get("fill") for bar in root.iter(f"{SVG}rect")}

    some, more = colours({"sky": 1}), colours({"tree": 9, "dome": 3, "sky": 1})
    assert some["sky"] == more["sky"]
    assert len(set(more.values())) == 3


def test_names_from_outside_do_not_become_markup():
    picture = bars({'<script>"&': 1}, {'<script>"&': "<b>"}, "a <title>")
    assert list(heights(picture)) == ['<script>"&: 1']


def test_a_curve_runs_through_its_points():
    line = [Point(0, 10, 8, 12), Point(0.5, 5, 4, 6), Point(1, 0, 0, 1)]
    root = ElementTree.fromstring(curves({"turned": line}, "units", "share", "concepts"))
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter(f"{SVG}circle")]
    steps = [(right[0] - left[0], right[1] - left[1]) for left, right in pairwise(dots)]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert min(steps[0]) > 0
    assert len(list(root.iter(f"{SVG}polygon"))) == 1


def test_nothing_at_all_is_still_a_picture():
    assert heights(bars({}, {}, "units")) == {}
    assert ElementTree.fromstring(curves({"none": [Point(0, 0)]}, "units", "share", "concepts")) is not None


def test_a_curve_below_zero_stays_inside_the_picture():
    line = [Point(1, -2, -3, -1), Point(2, 1, 0.5, 1.5)]
    root = ElementTree.fromstring(curves({"lost": line}, "units", "share", "effect"))
    places = [
        tuple(map(float, pair.split(","))) for p in root.iter(f"{SVG}polygon") for pair in p.get("points").split()
    ]
    highs = [place[1] for place in places]
    assert max(highs) == 240
    assert min(highs) == 20


def test_what_is_written_beside_a_point_is_text_and_axes_may_be_given():
    line = [Point(1, 2, label="3 s & <more>"), Point(2, 4)]
    axes = Axes(right=4, least=0, most=8)
    root = ElementTree.fromstring(curves({"tuned": line}, "units", "share", "effect", axes))
    assert [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "s"] == ["3 s & <more>"]
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter(f"{SVG}circle")]
    assert dots == [(axes.x(1), axes.y(2)), (axes.x(2), axes.y(4))]


def test_the_horizontal_axis_stays_in_the_picture_where_values_begin_above_zero():
    axes = Axes(right=4, least=20, most=100)
    root = ElementTree.fromstring(curves({"tuned": [Point(1, 60)]}, "units", "share", "effect", axes))
    lines = [path.get("d") for path in root.iter(f"{SVG}path")]
    assert [line.endswith(f"M{axes.left:.1f},{axes.base:.1f}H{axes.end}") for line in lines] == [True]
