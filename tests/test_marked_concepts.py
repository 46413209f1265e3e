"""What marks mean by concept."""

import numpy as np
import pytest
import torch

from dissect.marked_concepts import marked_concepts
from rewrite import Latent, Mask, Region, Rule
from rewrite.reports.concepts import Concepts

CONCEPTS = Concepts.of(("sky", "dome", "spire", "tree"))
SKY, DOME, SPIRE, TREE = range(4)


def picture(**boxes: tuple[int, slice, slice]) -> torch.Tensor:
    """A label map of sky with boxes of other concepts on it."""
    labels = torch.full((1, 16, 16), SKY, dtype=torch.int16)
    for number, rows, columns in boxes.values():
        labels[0, rows, columns] = number
    return labels


PICTURES = {
    0: picture(tree=(TREE, slice(10, 14), slice(2, 6))),
    1: picture(dome=(DOME, slice(2, 5), slice(8, 12))),
    2: picture(spire=(SPIRE, slice(2, 5), slice(4, 8))),
}


def region(seed: int, rows: slice, columns: slice, side: int = 16) -> Region:
    area = np.zeros((side, side), dtype=bool)
    area[rows, columns] = True
    return Region(Latent(seed), Mask.from_array(area))


# Half of each mark is sky, as where a person brushes around a tower's top.
TREE_MARK = region(0, slice(10, 14), slice(2, 10))
DOME_MARK = region(1, slice(2, 5), slice(4, 12))
SPIRE_MARK = region(2, slice(2, 5), slice(4, 12))


def effect_of(**parts) -> dict:
    rule = Rule(name="r", model="m", layer="l", **parts)
    return marked_concepts(rule, lambda latent: PICTURES[latent.seed], PICTURES.values(), CONCEPTS)


def test_the_thing_is_meant_and_not_what_surrounds_it():
    assert effect_of(copy=(TREE_MARK,), paste=DOME_MARK) == {"from": ["dome"], "to": "tree"}


def test_several_kinds_of_places_are_all_named():
    found = effect_of(copy=(TREE_MARK,), paste=DOME_MARK, context=(SPIRE_MARK,))
    assert set(found["from"]) == {"dome", "spire"}


def test_a_rule_that_erases_has_no_target():
    assert effect_of(action="erase", context=(DOME_MARK,)) == {"from": ["dome"], "to": None}


@pytest.mark.parametrize(
    "parts",
    [
        {"copy": (DOME_MARK,), "paste": DOME_MARK},
        {"copy": (TREE_MARK,), "paste": region(0, slice(0, 4), slice(0, 4))},
        {"copy": (region(0, slice(0, 4), slice(0, 4)),), "paste": DOME_MARK},
    ],
    ids=["a thing in its own place", "onto bare sky", "a copy of bare sky"],
)
def test_marks_that_name_no_change_state_none(parts):
    assert effect_of(**parts) == {}


@pytest.mark.parametrize("side", [16, 32, 8])
def test_marks_and_label_maps_may_differ_in_size(side):
    """A mark of any side is read at the middle of each labelled pixel."""
    scale = side / 16
    scaled = region(1, slice(int(2 * scale), int(6 * scale)), slice(int(8 * scale), int(12 * scale)), side)
    assert effect_of(copy=(TREE_MARK,), paste=scaled) == {"from": ["dome"], "to": "tree"}


def test_pixels_without_a_name_count_for_nothing():
    nameless = {**PICTURES, 1: PICTURES[1].where(PICTURES[1] != DOME, torch.tensor(-1, dtype=torch.int16))}
    rule = Rule(name="r", model="m", layer="l", copy=(TREE_MARK,), paste=DOME_MARK)
    assert marked_concepts(rule, lambda latent: nameless[latent.seed], nameless.values(), CONCEPTS) == {}
