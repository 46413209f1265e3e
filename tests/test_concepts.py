"""An edit is counted by concept, in numbers that can be checked by hand."""

from dataclasses import fields

import numpy as np
import pytest

from rewrite.reports.aims import Aim, Counts, count_concepts
from rewrite.reports.concepts import NONE, Concepts
from rewrite.reports.interval import mean_of, share_of

CONCEPTS = Concepts.of(("sky", "tree", "dome"))
SKY, TREE, DOME = range(3)


def maps(*rows: list[int]) -> np.ndarray:
    """Label maps of one layer and one row."""
    return np.array(rows, dtype=np.int16)[:, None, None, :]


def test_efficacy_is_the_share_of_pixels_to_replace_that_show_the_target():
    before = maps([DOME, DOME, DOME, DOME, SKY, TREE], [DOME, SKY, SKY, SKY, SKY, SKY])
    after = maps([TREE, TREE, SKY, DOME, SKY, TREE], [TREE, SKY, SKY, SKY, SKY, SKY])
    counts = count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE)])
    assert counts.efficacy().value == pytest.approx(3 / 5)
    assert counts.replaced.tolist() == [[4, 1]]
    assert counts.reached.tolist() == [[2, 1]]


def test_outside_leaves_old_sources_and_new_targets_out():
    before = maps([DOME, SKY, SKY, TREE, TREE, SKY])
    after = maps([SKY, TREE, DOME, TREE, SKY, SKY])
    counts = count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE)])
    # Left out: the old dome and the new tree. Of the other four, sky became dome and a tree became sky.
    assert counts.outside.tolist() == [4]
    assert counts.changed.tolist() == [2]
    assert counts.outside_change().value == pytest.approx(0.5)
    assert counts.top_transitions(CONCEPTS.names) == [
        {"from": "sky", "to": "dome", "share": 0.25},
        {"from": "tree", "to": "sky", "share": 0.25},
    ]


def test_outside_is_counted_strictly_with_the_pixels_that_became_the_target():
    before = maps([DOME, SKY, SKY, TREE, TREE, SKY])
    after = maps([SKY, TREE, DOME, TREE, SKY, SKY])
    counts = count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE)])
    # Left out: the old dome alone. Of the other five, the sky that became a tree changed, too.
    assert (counts.strict_outside.tolist(), counts.strict_changed.tolist()) == ([5], [3])
    assert counts.strict_outside_change().value == pytest.approx(3 / 5)


def test_with_several_rules_strict_outside_is_what_none_of_them_replaces():
    before, after = maps([DOME, SKY, TREE, TREE]), maps([TREE, TREE, SKY, TREE])
    counts = count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE), Aim("clear", (SKY,), None)])
    assert (counts.strict_outside.tolist(), counts.strict_changed.tolist()) == ([2], [1])


def test_a_rule_that_erases_has_no_target_that_strict_and_lenient_could_differ_by():
    before, after = maps([DOME, DOME, SKY, TREE]), maps([TREE, SKY, DOME, TREE])
    counts = count_concepts(before, after, 3, [Aim("erase", (DOME,), None)])
    assert counts.strict_outside_change() == counts.outside_change()


def test_a_rule_that_erases_wants_what_it_replaces_gone():
    before, after = maps([DOME, DOME, DOME, SKY]), maps([TREE, SKY, DOME, SKY])
    counts = count_concepts(before, after, 3, [Aim("erase", (DOME,), None)])
    assert counts.efficacy().value == pytest.approx(2 / 3)
    assert counts.outside.tolist() == [1]


def test_what_becomes_another_thing_to_replace_is_not_erased():
    before, after = maps([DOME, TREE]), maps([TREE, SKY])
    counts = count_concepts(before, after, 3, [Aim("erase", (DOME, TREE), None)])
    assert counts.efficacy().value == pytest.approx(1 / 2)


def test_maps_that_lie_over_each_other_are_counted_pixel_by_pixel():
    """Above what stands there, below what it is made of."""
    before = np.concatenate([maps([SKY, SKY, SKY, NONE]), maps([DOME, NONE, TREE, NONE])], axis=1)
    after = np.concatenate([maps([SKY, NONE, SKY, SKY]), maps([TREE, TREE, NONE, NONE])], axis=1)
    counts = count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE)])
    assert (counts.replaced.tolist(), counts.reached.tolist()) == ([[1]], [[1]])
    assert (counts.outside.tolist(), counts.changed.tolist()) == ([2], [2])
    assert counts.top_transitions(CONCEPTS.names) == [
        {"from": "tree", "to": "nothing", "share": 0.5},
        {"from": "nothing", "to": "sky", "share": 0.5},
    ]


def test_concepts_beyond_the_numbers_of_a_byte_are_counted():
    before, after = maps([299, 299, 300, 43]), maps([300, 43, 300, 299])
    counts = count_concepts(before, after, 301, [Aim("grow", (299,), 300)])
    assert (counts.replaced.tolist(), counts.reached.tolist()) == ([[2]], [[1]])
    assert counts.top_transitions([str(number) for number in range(301)]) == [{"from": "43", "to": "299", "share": 0.5}]


def test_counts_of_batches_are_the_counts_of_all():
    random = np.random.default_rng(0)
    before, after = (random.integers(-1, 3, (7, 2, 5, 5), dtype=np.int16) for _ in range(2))
    aims = [Aim("a", (DOME,), TREE), Aim("b", (SKY,), None)]
    whole = count_concepts(before, after, 3, aims)
    joined = Counts.joined([count_concepts(before[i], after[i], 3, aims) for i in (slice(0, 3), slice(3, 7))])
    for entry in fields(Counts):
        assert np.array_equal(getattr(whole, entry.name), getattr(joined, entry.name))


def test_an_effect_is_clear_where_a_quarter_of_the_pixels_was_reached():
    before = maps([DOME] * 4, [DOME] * 4, [SKY] * 4)
    after = maps([TREE, DOME, DOME, DOME], [DOME] * 4, [SKY] * 4)
    assert count_concepts(before, after, 3, [Aim("grow", (DOME,), TREE)]).clear() == 0.5
    assert np.isnan(count_concepts(before[2:], after[2:], 3, [Aim("grow", (DOME,), TREE)]).clear())


def test_an_interval_holds_the_value_narrows_with_the_images_and_is_the_same_again():
    random = np.random.default_rng(1)
    widths = []
    for count in (20, 500):
        wholes = np.full(count, 50)
        parts = random.binomial(50, 0.3, count)
        found = share_of(parts, wholes)
        assert found == share_of(parts, wholes)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3
    assert np.isnan(share_of(np.zeros(3), np.zeros(3)).value)


def test_an_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(2)
    intervals = [mean_of(random.normal(size=40)) for _ in range(30)]
    assert sum(found.low <= 0 <= found.high for found in intervals) >= 25


def test_an_unknown_concept_is_refused_with_the_nearest_name():
    with pytest.raises(LookupError, match="did you mean dome"):
        Aim.of("rule", {"from": ["domes"], "to": "tree"}, CONCEPTS)
    with pytest.raises(LookupError, match="there are sky, tree, dome"):
        Aim.of("rule", {"from": ["dome"], "to": "zebra"}, CONCEPTS)
    with pytest.raises(ValueError, match="at least one concept"):
        Aim.of("rule", {"from": [], "to": "tree"}, CONCEPTS)
