"""Counts of pixels, against plain loops."""

import numpy as np
import pytest
import torch

from dissect.units.tally import Tally, tally_of
from dissect.units.upsampling import Lit, Upsampling
from rewrite.reports.concepts import Concepts

CONCEPTS = Concepts(("a", "b", "c", "x", "y"), ("object", "object", "object", "colour", "colour"))
UNITS, IMAGES, SIDE = 4, 7, 12


def example(seed: int = 0, images: int = IMAGES) -> tuple[torch.Tensor, torch.Tensor]:
    """Dense maps of what is lit, and labels in two layers; one image has no colour at all."""
    draws = torch.Generator().manual_seed(seed)
    lit = torch.rand(images, UNITS, SIDE, SIDE, generator=draws) > 0.8
    objects = torch.randint(-1, 3, (images, SIDE, SIDE), generator=draws)
    colours = torch.randint(-1, 2, (images, SIDE, SIDE), generator=draws)
    colours[colours >= 0] += 3
    colours[0] = -1
    return lit, torch.stack([objects, colours], dim=1).short()


def lists_of(lit: torch.Tensor) -> Lit:
    return Lit(*lit.flatten(2).nonzero(as_tuple=True))


def brute(lit: torch.Tensor, labels: torch.Tensor, shift: int = 0) -> dict[str, np.ndarray]:
    """The counts of each image, by loops over units and concepts."""
    lit, labels = lit.numpy(), labels.roll(-shift, 0).numpy()
    both = np.zeros((len(lit), UNITS, len(CONCEPTS)), dtype=object)
    active, labelled = np.zeros_like(both), np.zeros_like(both)
    for image in range(len(lit)):
        for concept, kind in enumerate(CONCEPTS.categories):
            same_kind = [number for number, other in enumerate(CONCEPTS.categories) if other == kind]
            shown = (labels[image] == concept).any(axis=0)
            if not np.isin(labels[image], same_kind).any():
                continue
            for unit in range(UNITS):
                both[image, unit, concept] = int((lit[image, unit] & shown).sum())
                active[image, unit, concept] = int(lit[image, unit].sum())
                labelled[image, unit, concept] = int(shown.sum())
    return {"both": both, "active": active, "labelled": labelled}


def test_counts_are_those_of_plain_loops():
    lit, labels = example()
    labels[3, 0][labels[3, 0] == 2] = -1
    labels[3, 0, 0, 0] = 2  # one pixel is enough to show a concept
    tally, wanted = tally_of(lists_of(lit), labels, UNITS, CONCEPTS), brute(lit, labels)
    kinds = list(CONCEPTS.kind_numbers)
    assert tally.images == IMAGES
    assert tally.both.tolist() == wanted["both"].sum(axis=0).tolist()
    assert tally.active[:, kinds].tolist() == wanted["active"].sum(axis=0).tolist()
    assert tally.labelled.tolist() == wanted["labelled"].sum(axis=0)[0].tolist()
    assert tally.present.tolist() == [IMAGES, IMAGES - 1]
    assert tally.showing.tolist() == (wanted["labelled"][:, 0] > 0).sum(axis=0).tolist()


def test_products_are_those_of_plain_loops():
    lit, labels = example()
    tally, wanted = tally_of(lists_of(lit), labels, UNITS, CONCEPTS), brute(lit, labels)
    kinds = list(CONCEPTS.kind_numbers)
    for name in ("both_both", "both_active", "both_labelled", "active_labelled", "active_active", "labelled_labelled"):
        first, second = name.split("_")
        product, found = (wanted[first] * wanted[second]).sum(axis=0), getattr(tally, name)
        if name == "active_active":
            found = found[:, kinds]
        assert found.tolist() == (product[0] if found.ndim == 1 else product).tolist(), name


def test_the_null_holds_each_image_against_the_labels_of_another():
    lit, labels = example()
    tally = tally_of(lists_of(lit), labels, UNITS, CONCEPTS, draws=3)
    for draw in range(3):
        wanted = brute(lit, labels, draw + 1)
        assert tally.null_both[draw].tolist() == wanted["both"].sum(axis=0).tolist()
        assert tally.null_active[draw][:, list(CONCEPTS.kind_numbers)].tolist() == wanted["active"].sum(axis=0).tolist()


def test_of_two_images_each_is_held_against_the_labels_of_the_other():
    lit, labels = example(images=2)
    tally, wanted = tally_of(lists_of(lit), labels, UNITS, CONCEPTS, draws=1), brute(lit, labels, 1)
    assert tally.null_both[0].tolist() == wanted["both"].sum(axis=0).tolist()
    assert tally.null_both.sum() > 0


def test_more_draws_than_other_images_use_these_again_and_never_the_own():
    lit, labels = example(images=3)
    tally = tally_of(lists_of(lit), labels, UNITS, CONCEPTS, draws=4)
    assert torch.equal(tally.null_both[0], tally.null_both[2])
    assert torch.equal(tally.null_both[1], tally.null_both[3])
    assert tally_of(lists_of(lit[:1]), labels[:1], UNITS, CONCEPTS).null_both.sum() == 0


def test_parts_add_up_to_the_whole_in_any_order():
    parts = [example(seed) for seed in range(4)]
    tallies = [tally_of(lists_of(lit), labels, UNITS, CONCEPTS) for lit, labels in parts]
    forward = tallies[0] + tallies[1] + tallies[2] + tallies[3]
    backward = tallies[3] + (tallies[2] + (tallies[1] + tallies[0]))
    assert all(torch.equal(each, backward.tensors()[name]) for name, each in forward.tensors().items())


def test_counters_hold_beyond_two_to_the_31st():
    lit, labels = example()
    tally = tally_of(lists_of(lit), labels, UNITS, CONCEPTS)
    total = tally
    for _ in range(35):
        total = total + total
    assert total.both.tolist() == (np.array(tally.both.tolist(), dtype=object) * 2**35).tolist()
    assert int(total.labelled.max()) > 2**31


def test_many_units_and_concepts_are_counted_in_groups_alike(monkeypatch):
    lit, labels = example()
    whole = tally_of(lists_of(lit), labels, UNITS, CONCEPTS)
    monkeypatch.setattr("dissect.units.tally.AT_ONCE", 1)
    apart = tally_of(lists_of(lit), labels, UNITS, CONCEPTS)
    assert all(torch.equal(each, apart.tensors()[name]) for name, each in whole.tensors().items())


def test_counting_lit_pixels_of_an_upsampling_equals_the_dense_count():
    maps = torch.randn(5, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 3, (5, 1, 24, 24), generator=torch.Generator().manual_seed(1)).short()
    upsampling, levels = Upsampling((6, 6), (24, 24)), torch.full((8,), 1.2)
    tally = tally_of(upsampling.above(maps, levels), labels, 8, Concepts.of("abc"))
    dense = upsampling.everywhere(maps) > levels[:, None, None]
    for concept in range(3):
        wanted = (dense & (labels == concept)).sum(dim=(0, 2, 3))
        assert torch.equal(tally.both[:, concept], wanted)


def test_tallies_of_other_sizes_are_not_added():
    with pytest.raises(ValueError, match="cannot be added"):
        Tally.empty(3, CONCEPTS) + Tally.empty(4, CONCEPTS)
    with pytest.raises(ValueError, match="cannot be added"):
        Tally.empty(3, CONCEPTS, draws=1) + Tally.empty(3, CONCEPTS)


def test_counts_come_back_from_their_tensors():
    for images in (1, IMAGES):
        lit, labels = example(images=images)
        tally = tally_of(lists_of(lit), labels, UNITS, CONCEPTS)
        again = Tally.from_tensors(tally.tensors())
        assert all(torch.equal(each, again.tensors()[name]) for name, each in tally.tensors().items())


def test_damaged_counts_are_refused():
    tensors = Tally.empty(3, CONCEPTS).tensors()
    with pytest.raises(ValueError, match="missing"):
        Tally.from_tensors({**tensors, "both": tensors["both"].float()})
    with pytest.raises(ValueError, match="negative"):
        Tally.from_tensors({**tensors, "both": tensors["both"] - 1})
