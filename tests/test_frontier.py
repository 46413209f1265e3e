"""Points of a benchmark: kept, gone on from, averaged over draws, and drawn."""

from xml.etree import ElementTree

import numpy as np

from benchmarks import forecasts, frontier, own_rules
from benchmarks.points import Points

SVG = "{http://www.w3.org/2000/svg}"


def measured(points: Points, task: str) -> None:
    """Two draws of the closed form at two strengths, and one of a setting that is no number."""
    for draw, efficacy in ((0, 60.0), (1, 80.0)):
        for strength in (0.5, 1.0):
            row = {"efficacy": efficacy * strength, "strict": 2.0, "lenient": 1.0, "seconds": 4.0 + draw}
            points.add(task=task, draw=draw, method="closed form alone", setting=strength, **row)
    row = {"efficacy": 90.0, "strict": 3.9, "lenient": 1.0, "seconds": 31.4}
    points.add(task=task, draw=0, method="closed form by weights", setting=(3e-4, 0.01, 30), **row)


def test_a_run_goes_on_where_the_last_one_ended(tmp_path):
    measured(Points(tmp_path / "new" / "points.jsonl"), "3 contexts")
    again = Points(tmp_path / "new" / "points.jsonl")
    where = {"task": "3 contexts", "draw": 0}
    assert frontier.missing(again, (0.5, 0.7, 1.0), **where, method="closed form alone") == [0.7]
    assert frontier.missing(again, ((3e-4, 0.01, 30), (3e-4, 0.1, 30)), **where, method="closed form by weights") == [
        (3e-4, 0.1, 30)
    ]
    assert frontier.missing(again, (0.5,), task="8 contexts", draw=0, method="closed form alone") == [0.5]


def test_descents_can_be_cut_short_where_other_settings_are_not():
    for name, kept in {"2020": [31, 101], "closed form alone": list(frontier.STRENGTHS)}.items():
        assert frontier.up_to(150, frontier.METHODS[name].settings) == kept


def test_a_point_of_a_curve_is_the_mean_of_its_draws():
    points = Points()
    measured(points, "3 contexts")
    lines = frontier.means(points, "3 contexts")
    assert [(p["setting"], p["efficacy"], p["seconds"], p["draws"]) for p in lines["closed form alone"]] == [
        (0.5, 35.0, 4.5, 2),
        (1.0, 70.0, 4.5, 2),
    ]
    assert frontier.means(points, "8 contexts") == {}
    more = {"efficacy": 99.0, "strict": 2.0, "lenient": 1.0, "seconds": 4.0}
    points.add(task="3 contexts", draw=0, method="closed form alone", setting=1.3, **more)
    whole = frontier.means(points, "3 contexts")["closed form alone"]
    assert [(p["efficacy"], p["draws"]) for p in whole] == [(30.0, 1), (60.0, 1), (99.0, 1)]


def test_a_sheet_shows_every_task_with_its_methods_and_their_seconds_below_each_other():
    points = Points()
    for task in ("3 contexts", "a <b> & c"):
        measured(points, task)
    charts = {task: frontier.chart(task, frontier.means(points, task)) for task in ("3 contexts", "a <b> & c")}
    root = ElementTree.fromstring(frontier.sheet(charts))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert texts.count("closed form alone, 0.5 to 1 of the strength, 4.5 s, 2 draws") == 2
    assert {"3 contexts", "a <b> & c", "closed form and finish, by weights, 31 s"} <= set(texts)
    inner = [part for part in root.iter(f"{SVG}svg") if part is not root]
    assert float(root.get("viewBox").split()[3]) > sum(float(part.get("height")) for part in inner)


def test_points_that_a_chart_does_not_hold_are_told_or_left_out():
    points, figures = Points(), {"lenient": 1.0, "seconds": 9.0}
    for steps, efficacy, strict in ((31, 0.1, 0.3), (301, 64.6, 2.4), (2001, 91.4, 12.17)):
        row = {"efficacy": efficacy, "strict": strict, **figures}
        points.add(task="3 contexts", draw=0, method="2020", setting=steps, **row)
    root = ElementTree.fromstring(frontier.chart("3 contexts", frontier.means(points, "3 contexts")))
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    assert "the 2020 method, 31 to 2001 steps, 9 s (to the right: 91 at 12.2)" in [
        text.text for text in root.iter(f"{SVG}text")
    ]


def test_what_a_forecast_knows_within_a_group_is_not_what_tells_the_groups_apart():
    wave = np.array([1.0, -1.0, 1.0, -1.0])
    easy, hard = (np.stack([level + wave, level - wave] * 2, axis=1) for level in (90.0, 10.0))
    assert forecasts.line(np.concatenate([easy, hard])).split()[4] == "1.00"
    assert forecasts.within([easy, hard]).split("|")[0].split()[0] == "-1.00"


def test_rules_are_summed_up_with_their_spread():
    figures = {"strict": 2.0, "lenient": 1.0, "seconds": 5.0}
    rows = [{"efficacy": e, "foretold": f, **figures} for e, f in ((70.0, 0.3), (80.0, 0.6), (90.0, 0.7))]
    efficacy, strict, *_, ends, ranks = own_rules.line(rows).split("|")
    assert efficacy.split() == ["80.00", "10.00"]
    assert strict.split() == ["2.00", "0.00"]
    assert ends.split() == ["70.0", "90.0"]
    assert float(ranks) == 1
    assert "nan" in own_rules.line(rows[:1])
