"""Counts of pixels by unit and concept: everything that agreement, its interval and its null are computed from.

All are whole numbers in int64, summed over images, so parts that were counted apart add up to exactly the counts of the
whole. Following NetDissect, a unit's pixels count for a concept only in images with a label of the concept's category.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from jaxtyping import Int16, Int64
from torch import Tensor

from dissect.units.upsampling import Lit, one_thread, places_of
from rewrite.reports.concepts import Concepts

# How many other images' labels each image is held against, to see what agreement chance gives.
DRAWS = 8
# Counters of one go, over all images of it.
AT_ONCE = 2**22


@dataclass(frozen=True)
class Tally:
    """Pixels counted over images.

    Attributes:
        images: Number of images.
        present: Images that have a label of each category.
        showing: Images that show each concept.
        labelled: Pixels of each concept.
        active: Pixels at which each unit passes its level, in images that have a label of the category.
        both: Pixels at which a unit passes its level and that show the concept.
        null_active, null_both: The same, with the labels of another image, for each of several draws.
        both_both, both_active, both_labelled, active_labelled, active_active, labelled_labelled: Products of two counts
            of one image, summed over the images: the spread between images.
    """

    images: Int64[Tensor, ""]
    present: Int64[Tensor, " categories"]
    showing: Int64[Tensor, " concepts"]
    labelled: Int64[Tensor, " concepts"]
    active: Int64[Tensor, "units categories"]
    both: Int64[Tensor, "units concepts"]
    null_active: Int64[Tensor, "draws units categories"]
    null_both: Int64[Tensor, "draws units concepts"]
    both_both: Int64[Tensor, "units concepts"]
    both_active: Int64[Tensor, "units concepts"]
    both_labelled: Int64[Tensor, "units concepts"]
    active_labelled: Int64[Tensor, "units concepts"]
    active_active: Int64[Tensor, "units categories"]
    labelled_labelled: Int64[Tensor, " concepts"]

    @classmethod
    def empty(cls, units: int, concepts: Concepts, draws: int = DRAWS) -> "Tally":
        """A tally of no images."""
        sizes = {"units": units, "concepts": len(concepts), "categories": len(concepts.kinds), "draws": draws}
        shapes = {entry.name: cast(Any, entry.type).dim_str.split() for entry in fields(cls)}
        return cls(
            **{name: torch.zeros([sizes[size] for size in shape], dtype=torch.int64) for name, shape in shapes.items()}
        )

    def __add__(self, other: "Tally") -> "Tally":
        if self.both.shape != other.both.shape or self.null_both.shape != other.null_both.shape:
            raise ValueError(
                f"tallies of {tuple(self.both.shape)} and {tuple(other.both.shape)} units and concepts cannot be added"
            )
        return Tally(**{name: tensor + other.tensors()[name] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All counts by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Tally":
        """The inverse of `tensors`.

        Raises:
            ValueError: A count is missing, is not a whole number, or is negative.
        """
        names = {entry.name for entry in fields(cls)}
        if set(tensors) != names or any(tensor.dtype != torch.int64 for tensor in tensors.values()):
            raise ValueError("the counts of a tally are missing or not whole numbers")
        if any((tensor < 0).any() for tensor in tensors.values()):
            raise ValueError("the counts of a tally are negative: the file is damaged")
        return cls(**tensors)


@one_thread()
def tally_of(
    lit: Lit, labels: Int16[Tensor, "images layers height width"], units: int, concepts: Concepts, draws: int = DRAWS
) -> Tally:
    """Count some images that belong together.

    For the null, image i is held against the labels of image i + 1, i + 2, … of the same images, in a ring. Images and
    labels are then unrelated, while where in an image a unit likes to be, and a concept too, stays as it is.

    Args:
        lit: Where the units pass their levels.
        labels: For each image one or more maps of concepts that lie over each other. No concept may stand in two maps
            at one pixel.
        units: How many units there are.
        concepts: What the labels stand for.
        draws: How many other images each image is held against.
    """
    images, names, kinds = len(labels), len(concepts), torch.tensor(concepts.kind_numbers, device=labels.device)
    # Of the columns of a count, the first is for pixels without a concept.
    numbers = torch.arange(images, device=labels.device)[:, None, None] * (names + 1) + 1
    labelled = _bincount(numbers + labels.flatten(2), (images, names + 1))[:, 1:]
    present = torch.zeros(images, len(concepts.kinds), dtype=torch.int64, device=labels.device)
    present.index_add_(1, kinds, labelled).clamp_(max=1)
    lit_pixels = _bincount(lit.images * units + lit.units, (images, units))
    null = _null(lit, labels, lit_pixels, present, names, draws)
    sums = _sums(lit, labels, lit_pixels, labelled, present)
    tally = Tally(
        images=torch.tensor(images),
        present=present.sum(dim=0),
        showing=(labelled > 0).sum(dim=0),
        labelled=labelled.sum(dim=0),
        labelled_labelled=labelled.square().sum(dim=0),
        **null,
        **sums,
    )
    return Tally(**{name: tensor.cpu() for name, tensor in tally.tensors().items()})


def _sums(lit: Lit, labels: Tensor, lit_pixels: Tensor, labelled: Tensor, present: Tensor) -> dict[str, Tensor]:
    """The counts of each image with its own labels, and their products, summed over the images."""
    (images, units), names = lit_pixels.shape, labelled.shape[1]
    shared = {name: labelled.new_zeros(units * names) for name in ("both", "both_both", "both_active", "both_labelled")}
    group = max(1, AT_ONCE // (units * (names + 1)))
    for first in range(0, images, group):
        end = min(first + group, images)
        # The lists of lit pixels run through the images in order.
        start, stop = torch.searchsorted(lit.images, torch.tensor([first, end], device=labels.device)).tolist()
        image, unit, pixel = (entry[start:stop] for entry in lit)
        rows = ((image - first) * units + unit) * (names + 1) + 1
        both = labelled.new_zeros((end - first) * units * (names + 1))
        for shown in _labels_at(labels, image, pixel):
            both += torch.bincount(rows + shown, minlength=len(both))
        # Few units meet few concepts in one image: the products are taken where they do.
        met = places_of(both)
        pair, name = met // (names + 1), met % (names + 1) - 1
        met, pair, name = (each[name >= 0] for each in (met, pair, name))
        number, place = both.index_select(0, met), pair % units * names + name
        active = lit_pixels[first:end].reshape(-1).index_select(0, pair)
        shown = labelled[first:end].reshape(-1).index_select(0, pair // units * names + name)
        for key, factor in (("both", 1), ("both_both", number), ("both_active", active), ("both_labelled", shown)):
            shared[key].index_add_(0, place, number * factor)
    return {
        **{name: tensor.reshape(units, names) for name, tensor in shared.items()},
        "active": _product(lit_pixels, present),
        "active_active": _product(lit_pixels.square(), present),
        "active_labelled": _product(lit_pixels, labelled),
    }


def _labels_at(labels: Tensor, images: Tensor, pixels: Tensor) -> Iterator[Tensor]:
    """The labels of pixels of images, layer by layer."""
    flat, area = labels.reshape(-1), labels.shape[2] * labels.shape[3]
    places = images * (labels.shape[1] * area) + pixels
    for layer in range(labels.shape[1]):
        # Several times faster than indexing with brackets.
        yield flat.index_select(0, places + layer * area if layer else places)


def _null(lit: Lit, labels: Tensor, lit_pixels: Tensor, present: Tensor, names: int, draws: int) -> dict[str, Tensor]:
    """The counts with other images' labels."""
    images, units = lit_pixels.shape
    both = present.new_zeros(draws, units, names)
    active = present.new_zeros(draws, units, present.shape[1])
    rows = lit.units * (names + 1) + 1
    for draw in range(draws if images > 1 else 0):  # One image alone has no other to be held against.
        step = draw % (images - 1) + 1
        others = (torch.arange(images, device=labels.device) + step) % images
        for shown in _labels_at(labels, others.index_select(0, lit.images), lit.pixels):
            both[draw] += _bincount(rows + shown, (units, names + 1))[:, 1:]
        active[draw] = _product(lit_pixels, present.roll(-step, 0))
    return {"null_both": both, "null_active": active}


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Products of whole numbers summed over images: in float64, which is exact up to 2⁵³ and fast on any device."""
    return (first.double().T @ second.double()).long()


def _bincount(numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.bincount(numbers.reshape(-1), minlength=math.prod(shape)).reshape(shape)
