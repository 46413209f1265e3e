"""Painting with units: strokes on one image, composited with *over* (GANPaint: Bau et al., SIGGRAPH 2019).

A stroke switches the units of a concept on, or off, where it was brushed. Nothing is painted over: an image is made
anew from the run up to the layer and all strokes, so that taking one away is the same as never having drawn it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.causes.brush import UNITS, Brush
from dissect.causes.intervention import Intervention, Prefix
from dissect.units.dissection import Dissection
from rewrite.generators.contract import Generator
from rewrite.rules.masks import Mask, cover_of
from rewrite.storage import files

SCHEMA = "rewrite-painting/1"
ADD, REMOVE = ACTIONS = ("add", "remove")
MOST_STROKES = 500
MOST_UNITS = 4096
MOST_RUNS = 2**15
LARGEST_SIDE = 1024
LARGEST_FILE = 16 * 2**20
LONGEST_NAME = 100


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

    def __post_init__(self):
        _require(bool(self.concept) != bool(self.units), "a stroke names a concept or units, and not both")
        _require(len(self.concept) <= LONGEST_NAME, f"a concept has at most {LONGEST_NAME} letters", len(self.concept))
        _require(self.action in ACTIONS, f"the action of a stroke is one of {', '.join(ACTIONS)}", self.action)
        _require(0 < self.strength <= 1, "strength is more than 0 and at most 1", self.strength)
        _require(1 <= self.count <= MOST_UNITS, f"a stroke has 1 to {MOST_UNITS} units", self.count)
        _require(len(self.units) <= MOST_UNITS, f"a stroke has 1 to {MOST_UNITS} units", len(self.units))
        wrong = [unit for unit in self.units if unit < 0 or self.units.count(unit) > 1]
        _require(not wrong, "units are different numbers from 0 on", wrong[:1])
        _require(
            max(self.mask.size) <= LARGEST_SIDE, f"a mask has at most {LARGEST_SIDE} pixels a side", self.mask.size
        )
        _require(len(self.mask.runs) <= MOST_RUNS, f"a mask has at most {MOST_RUNS} runs", len(self.mask.runs))

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

    def intervention(self, brush: Brush, units: int, grid: tuple[int, int], margin: float = 0.0) -> Intervention:
        """What the stroke does to the output of the layer.

        Args:
            brush: Its units.
            units: How many units the layer has.
            grid: Height and width of the output.
            margin: By how many cells the output sticks out of the image on each side.
        """
        values = brush.levels if self.action == ADD else (0.0,) * len(brush.units)
        shares = cover_of(self.mask.array(), grid, margin).float()
        alone = self.alone and self.action == ADD and bool(self.concept)
        others = tuple(unit for unit in range(units) if unit not in brush.units) if alone else ()
        return Intervention((*brush.units, *others), (*values, *[0.0] * len(others)), self.strength, shares)


@dataclass(frozen=True)
class Painting:
    """The strokes on one image of a generator, and how they came to be.

    Attributes:
        model: Fingerprint of the generator.
        layer: The layer whose units are painted with.
        seed: The image.
        strokes: The strokes, the later ones over the earlier.
        truncation: How far the latent is drawn from the mean.
        past, future: What the strokes were before, and before the last steps back.
    """

    model: str
    layer: str
    seed: int
    strokes: tuple[Stroke, ...] = ()
    truncation: float = 1.0
    past: tuple[tuple[Stroke, ...], ...] = ()
    future: tuple[tuple[Stroke, ...], ...] = ()

    def __post_init__(self):
        _require(0 <= self.seed < 2**32, "a seed lies between 0 and 4294967295", self.seed)
        _require(0 <= self.truncation <= 2, "truncation lies between 0 and 2", self.truncation)
        _require(len(self.strokes) <= MOST_STROKES, f"a painting has at most {MOST_STROKES} strokes", len(self.strokes))

    def add(self, stroke: Stroke) -> "Painting":
        """The painting with one more stroke on top."""
        return self._now((*self.strokes, stroke))

    def without(self, index: int) -> "Painting":
        """The painting without one stroke.

        Raises:
            ValueError: There is no such stroke.
        """
        if not 0 <= index < len(self.strokes):
            raise ValueError(f"there is no stroke {index + 1} of {len(self.strokes)}")
        return self._now(self.strokes[:index] + self.strokes[index + 1 :])

    def cleared(self) -> "Painting":
        """The painting without any stroke."""
        return self._now(()) if self.strokes else self

    def undo(self) -> "Painting":
        """The painting before its last change; itself if there was none."""
        if not self.past:
            return self
        future = (*self.future, self.strokes)
        return replace(self, strokes=self.past[-1], past=self.past[:-1], future=future)

    def redo(self) -> "Painting":
        """The painting after the change that was taken back last; itself if there was none."""
        if not self.future:
            return self
        return replace(self, strokes=self.future[-1], past=(*self.past, self.strokes), future=self.future[:-1])

    def _now(self, strokes: tuple[Stroke, ...]) -> "Painting":
        return replace(self, strokes=strokes, past=(*self.past, self.strokes)[-MOST_STROKES:], future=())

    def check(self, generator: Generator) -> None:
        """Refuse a generator that the painting is not of.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: It is another generator, or a mask was not drawn on its images.
        """
        generator.layer(self.layer)
        if generator.fingerprint != self.model:
            raise ValueError(f"this painting is of model {self.model}, not of model {generator.fingerprint}")
        for stroke in self.strokes:
            stroke.mask.check_size(generator.size)

    def to_json(self) -> str:
        """The painting as a document; what was undone is not in it."""
        document = {
            "schema": SCHEMA,
            "model": self.model,
            "layer": self.layer,
            "seed": self.seed,
            "truncation": self.truncation,
            "strokes": [_stroke_document(stroke) for stroke in self.strokes],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Painting":
        """Read a document that `to_json` wrote.

        Raises:
            ValueError: It is none, or something in it is missing, unknown or out of range.
        """
        if len(text) > LARGEST_FILE:
            raise ValueError(f"a painting has at most {LARGEST_FILE} characters, got {len(text)}")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"this is no painting: {error}") from None
        return _painting_of(document)

    def save(self, path: str | Path) -> None:
        """Write the document."""
        files.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Painting":
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no painting, or a damaged one.
        """
        path = files.existing(path, "painting")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path} has more than {LARGEST_FILE} bytes, which no painting has")
        try:
            return _painting_of(files.read_json(path, "painting"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def prefix_of(generator: Generator, painting: Painting) -> Prefix:
    """The run of a painting's image up to its layer; it serves as long as model, layer, seed and truncation stay."""
    before, generator.truncation = generator.truncation, painting.truncation
    try:
        return Prefix.of(generator, painting.layer, [painting.seed])
    finally:
        generator.truncation = before


def painted(
    prefix: Prefix, painting: Painting, dissection: Dissection | None = None
) -> Float[Tensor, "images 3 height width"]:
    """The image with all strokes, in [-1, 1].

    Args:
        prefix: The run up to the layer, of `prefix_of`; or of other seeds, which then get the same strokes.
        painting: The strokes.
        dissection: Of the layer: which units draw what, and how strong they are.

    Raises:
        LookupError: The dissection does not know a concept.
        ValueError: A dissection is needed and there is none, it is of another layer, or the layer has no such units.
    """
    layer, grid = prefix.generator.layer(painting.layer), tuple(prefix.output.shape[2:])
    if dissection is not None and dissection.view != painting.layer:
        raise ValueError(f"this painting is on layer {painting.layer}, the dissection is of layer {dissection.view}")
    if prefix.layer != painting.layer:
        raise ValueError(f"this painting is on layer {painting.layer}, the run stopped at layer {prefix.layer}")
    brushes: dict[Any, Brush] = {}
    interventions = []
    for stroke in painting.strokes:
        named = (stroke.concept, stroke.units, stroke.count, stroke.action)
        brush = brushes.get(named) or brushes.setdefault(named, stroke.brush(dissection, painting.layer))
        interventions.append(stroke.intervention(brush, prefix.output.shape[1], grid, layer.margin))
    with torch.no_grad():
        return prefix.images(*interventions)


def _stroke_document(stroke: Stroke) -> dict[str, Any]:
    named = {"concept": stroke.concept, "count": stroke.count} if stroke.concept else {"units": list(stroke.units)}
    mask = {"size": list(stroke.mask.size), "runs": [list(run) for run in stroke.mask.runs]}
    return {"action": stroke.action, **named, "strength": stroke.strength, "alone": stroke.alone, "mask": mask}


def _painting_of(document: Any) -> Painting:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f'this is no painting: it must say "schema": "{SCHEMA}"')
    _known(document, {"schema", "model", "layer", "seed", "truncation", "strokes"}, "a painting")
    strokes = document.get("strokes", [])
    _require(isinstance(strokes, list), "strokes are a list", type(strokes).__name__)
    _require(len(strokes) <= MOST_STROKES, f"a painting has at most {MOST_STROKES} strokes", len(strokes))
    return Painting(
        model=_text(document.get("model"), "model"),
        layer=_text(document.get("layer"), "layer"),
        seed=_whole(document.get("seed"), "seed"),
        truncation=_number(document.get("truncation", 1.0), "truncation"),
        strokes=tuple(_stroke_of(stroke) for stroke in strokes),
    )


def _stroke_of(document: Any) -> Stroke:
    _require(isinstance(document, dict), "a stroke is an object", type(document).__name__)
    _known(document, {"action", "concept", "count", "units", "strength", "alone", "mask"}, "a stroke")
    units = document.get("units", [])
    _require(isinstance(units, list) and len(units) <= MOST_UNITS, f"units are a list of at most {MOST_UNITS}")
    alone = document.get("alone", True)
    _require(isinstance(alone, bool), "alone is true or false", type(alone).__name__)
    return Stroke(
        mask=_mask_of(document.get("mask")),
        concept=_text(document.get("concept", ""), "concept"),
        units=tuple(_whole(unit, "a unit") for unit in units),
        action=_text(document.get("action", ADD), "action"),
        strength=_number(document.get("strength", 1.0), "strength"),
        count=_whole(document.get("count", UNITS), "count"),
        alone=alone,
    )


def _mask_of(document: Any) -> Mask:
    _require(isinstance(document, dict), "the mask of a stroke is an object", type(document).__name__)
    _known(document, {"size", "runs"}, "a mask")
    size, runs = document.get("size"), document.get("runs")
    _require(isinstance(size, list) and len(size) == 2, "a mask has a size of two numbers", size)
    _require(isinstance(runs, list) and len(runs) <= MOST_RUNS, f"a mask has at most {MOST_RUNS} runs")
    _require(all(isinstance(run, list) and len(run) == 2 for run in runs), "a run is two numbers")
    height, width = (_whole(side, "the side of a mask") for side in size)
    _require(max(height, width) <= LARGEST_SIDE, f"a mask has at most {LARGEST_SIDE} pixels a side", (height, width))
    return Mask((height, width), tuple((_whole(a, "a run"), _whole(b, "a run")) for a, b in runs))


def _known(document: Mapping[str, Any], names: set[str], what: str) -> None:
    unknown = [str(name)[:40] for name in sorted(set(document) - names)]
    _require(not unknown, f"{what} has {', '.join(sorted(names))}", unknown[:1])


def _text(value: Any, name: str) -> str:
    _require(isinstance(value, str) and len(value) <= LONGEST_NAME, f"{name} is a text", type(value).__name__)
    return value


def _whole(value: Any, name: str) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    _require(whole, f"{name} is a whole number", type(value).__name__)
    return value


def _number(value: Any, name: str) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(number and abs(value) < 2**53 and math.isfinite(value), f"{name} is a finite number", type(value).__name__)
    return float(value)


def _require(holds: bool, rule: str, given: Any = None) -> None:
    if not holds:
        raise ValueError(rule if given is None else f"{rule}, got {repr(given)[:80]}")
