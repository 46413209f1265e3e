"""One stroke of a brush: where, with which units, on or off; and how a document of strokes is written and checked."""

from dataclasses import dataclass
from typing import Any

from dissect.causes import entries
from dissect.causes.brush import UNITS, Brush
from dissect.causes.entries import LONGEST_TEXT, require
from dissect.causes.intervention import Intervention
from dissect.units.dissection import Dissection
from rewrite.generators.layers import Margins
from rewrite.rules.masks import Mask, cover_of

ADD, REMOVE = ACTIONS = ("add", "remove")
MOST_UNITS = 4096
MOST_RUNS = 2**15
LARGEST_SIDE = 1024


@dataclass(frozen=True)
class Stroke:
    """One stroke of a brush.

    Attributes:
        mask: Where, on the image or on one scaled by a whole number.
        concept: What to paint; its units are those that agree best with it. Empty if units are named.
        units: The units to paint with; empty if a concept is named.
        action: `add` switches the units on, `remove` off.
        strength: How far the units are moved, more than 0 and at most 1.
        count: How many units of the concept.
        alone: Whether, where a concept is added, all other units of the layer go off, so that what stood there does
            not shine through. GANPaint leaves them; on the built-in generator the share of brushed pixels that become
            the concept goes from 0.76 to 0.96 for trees and from 0.20 to 0.54 for domes.

    Raises:
        ValueError: A number is out of range, or neither a concept nor units are named, or both.
    """

    mask: Mask
    concept: str = ""
    units: tuple[int, ...] = ()
    action: str = ADD
    strength: float = 1.0
    count: int = UNITS
    alone: bool = True

    def __post_init__(self) -> None:
        require(bool(self.concept) != bool(self.units), "a stroke names a concept or units, and not both")
        require(len(self.concept) <= LONGEST_TEXT, f"a concept has at most {LONGEST_TEXT} letters", len(self.concept))
        require(self.action in ACTIONS, f"the action of a stroke is one of {', '.join(ACTIONS)}", self.action)
        require(0 < self.strength <= 1, "strength is more than 0 and at most 1", self.strength)
        require(1 <= self.count <= MOST_UNITS, f"a stroke has 1 to {MOST_UNITS} units", self.count)
        require(len(self.units) <= MOST_UNITS, f"a stroke has 1 to {MOST_UNITS} units", len(self.units))
        different = len(set(self.units)) == len(self.units)
        require(different and min(self.units, default=0) >= 0, "units are different numbers from 0 on", self.units)
        require(max(self.mask.size) <= LARGEST_SIDE, f"a mask has at most {LARGEST_SIDE} pixels a side", self.mask.size)
        require(len(self.mask.runs) <= MOST_RUNS, f"a mask has at most {MOST_RUNS} runs", len(self.mask.runs))

    @property
    def needs_levels(self) -> bool:
        """Whether a dissection has to say what the units are, or what they are switched on to."""
        return bool(self.concept) or self.action == ADD

    def brush(self, dissection: Dissection | None, layer: str) -> Brush:
        """The units, and the levels that switch them on.

        Raises:
            LookupError: The dissection does not know the concept.
            ValueError: A dissection is needed and there is none, or the layer has no such units.
        """
        if dissection is None:
            if self.needs_levels:
                what = self.concept or "what units are switched on to"
                raise ValueError(f"{what} is known from a dissection of layer {layer}, and none is given")
            return Brush("units", layer, self.units, (0.0,) * len(self.units))
        if self.concept:
            return Brush.of_concept(dissection, self.concept, self.count)
        return Brush.of_units(dissection, self.units)

    def intervention(self, brush: Brush, units: int, grid: tuple[int, int], margin: Margins = 0.0) -> Intervention:
        """What the stroke does to the output of the layer.

        Args:
            brush: Its units.
            units: How many units the layer has.
            grid: Height and width of the output.
            margin: By how many cells the output sticks out of the image.
        """
        values = brush.levels if self.action == ADD else (0.0,) * len(brush.units)
        shares = cover_of(self.mask.array(), grid, margin).float()
        alone = self.alone and self.action == ADD and bool(self.concept)
        chosen = set(brush.units)
        others = tuple(unit for unit in range(units) if unit not in chosen) if alone else ()
        return Intervention((*brush.units, *others), (*values, *[0.0] * len(others)), self.strength, shares)


def stroke_document(stroke: Stroke) -> dict[str, Any]:
    """A stroke as JSON."""
    named = {"concept": stroke.concept, "count": stroke.count} if stroke.concept else {"units": list(stroke.units)}
    mask = {"size": list(stroke.mask.size), "runs": [list(run) for run in stroke.mask.runs]}
    return {"action": stroke.action, **named, "strength": stroke.strength, "alone": stroke.alone, "mask": mask}


def stroke_of(document: Any) -> Stroke:
    """The inverse of `stroke_document`.

    Raises:
        ValueError: Something is missing, unknown or out of range.
    """
    require(isinstance(document, dict), "a stroke is an object", type(document).__name__)
    entries.only(document, {"action", "concept", "count", "units", "strength", "alone", "mask"}, "a stroke")
    units = document.get("units", [])
    require(isinstance(units, list) and len(units) <= MOST_UNITS, f"units are a list of at most {MOST_UNITS}")
    alone = document.get("alone", True)
    require(isinstance(alone, bool), "alone is true or false", type(alone).__name__)
    return Stroke(
        mask=_mask_of(document.get("mask")),
        concept=entries.text(document.get("concept", ""), "concept"),
        units=tuple(entries.whole(unit, "a unit") for unit in units),
        action=entries.text(document.get("action", ADD), "action"),
        strength=entries.number(document.get("strength", 1.0), "strength"),
        count=entries.whole(document.get("count", UNITS), "count"),
        alone=alone,
    )


def _mask_of(document: Any) -> Mask:
    require(isinstance(document, dict), "the mask of a stroke is an object", type(document).__name__)
    entries.only(document, {"size", "runs"}, "a mask")
    size, runs = document.get("size"), document.get("runs")
    require(isinstance(size, list) and len(size) == 2, "a mask has a size of two numbers", size)
    require(isinstance(runs, list) and len(runs) <= MOST_RUNS, f"a mask has at most {MOST_RUNS} runs")
    require(all(isinstance(run, list) and len(run) == 2 for run in runs), "a run is two numbers")
    height, width = (entries.whole(side, "the side of a mask") for side in size)
    require(max(height, width) <= LARGEST_SIDE, f"a mask has at most {LARGEST_SIDE} pixels a side", (height, width))
    return Mask((height, width), tuple((entries.whole(a, "a run"), entries.whole(b, "a run")) for a, b in runs))
