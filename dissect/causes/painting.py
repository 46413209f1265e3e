"""Painting with units: strokes on one image, composited with *over* (GANPaint: Bau et al., SIGGRAPH 2019).

A stroke switches the units of a concept on, or off, where it was brushed. Nothing is painted over: an image is made
anew from the run up to the layer and all strokes, so that taking one away is the same as never having drawn it.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.causes import entries
from dissect.causes.brush import Brush
from dissect.causes.entries import require
from dissect.causes.intervention import Prefix
from dissect.causes.stroke import Stroke, stroke_document, stroke_of
from dissect.units.dissection import Dissection
from rewrite.generators.classes import Label
from rewrite.generators.contract import Generator
from rewrite.generators.layers import grid_of
from rewrite.storage import files
from rewrite.storage.quoting import lacking

SCHEMA = "rewrite-painting/1"
MOST_STROKES = 500
LARGEST_FILE = 16 * 2**20


@dataclass(frozen=True)
class Painting:
    """The strokes on one image of a generator, and how they came to be.

    Attributes:
        model: Fingerprint of the generator.
        layer: The layer whose units are painted with.
        seed: The image.
        strokes: The strokes, the later ones over the earlier.
        truncation: How far the latent is drawn from the mean.
        label: The class that it is drawn of, of a generator of several, or those of seeds; None for all in turn.
        past, future: What the strokes were before, and before the last steps back.
    """

    model: str
    layer: str
    seed: int
    strokes: tuple[Stroke, ...] = ()
    truncation: float = 1.0
    label: Label = 0
    past: tuple[tuple[Stroke, ...], ...] = ()
    future: tuple[tuple[Stroke, ...], ...] = ()

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "a seed lies between 0 and 4294967295", self.seed)
        require(0 <= self.truncation <= 2, "truncation lies between 0 and 2", self.truncation)
        require(not isinstance(self.label, int) or self.label >= 0, "classes count from 0", self.label)
        require(len(self.strokes) <= MOST_STROKES, f"a painting has at most {MOST_STROKES} strokes", len(self.strokes))

    def __repr__(self) -> str:
        return f"<Painting on seed {self.seed}: layer={self.layer}, strokes={len(self.strokes)}, model={self.model}>"

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
            "strokes": [stroke_document(stroke) for stroke in self.strokes],
        }
        if self.label != 0:
            document["label"] = self.label  # which most generators know nothing of
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Painting":
        """Read a document that `to_json` wrote.

        Returns:
            The painting.

        Raises:
            ValueError: It is none, or something in it is missing, unknown or out of range.
        """
        if len(text) > LARGEST_FILE:
            raise ValueError(f"a painting has at most {LARGEST_FILE} characters, got {len(text)}")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"this is not a painting: {lacking(error)}") from None
        return _painting_of(document)

    def save(self, path: str | Path) -> None:
        """Write the document."""
        files.write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> "Painting":
        """Read a file that `save` wrote.

        Returns:
            The painting.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is not a painting, or a damaged one.
        """
        path = files.existing(path, "painting")
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"{path} has more than {LARGEST_FILE} bytes, more than any painting has")
        try:
            return _painting_of(files.read_json(path, "painting"))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def prefix_of(generator: Generator, painting: Painting) -> Prefix:
    """The run of a painting's image up to its layer; it serves as long as its model, layer, seed, … stay.

    Returns:
        The run, for `painted`.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: It has no such class.
    """
    truncation, label = generator.truncation, generator.label
    try:
        generator.truncation = painting.truncation
        generator.draw_class(painting.label)
        return Prefix.of(generator, painting.layer, [painting.seed])
    finally:
        generator.truncation, generator.label = truncation, label


def painted(
    prefix: Prefix, painting: Painting, dissection: Dissection | None = None
) -> Float[Tensor, "images 3 height width"]:
    """The image with all strokes, in [-1, 1].

    Args:
        prefix: The run up to the layer, of `prefix_of`; or of other seeds, which then get the same strokes.
        painting: The strokes.
        dissection: Of the layer: which units draw what, and how strong they are.

    Returns:
        The images, each with the same strokes.

    Raises:
        LookupError: The dissection does not know a concept.
        ValueError: A dissection is needed and there is none, it is of another layer, or the layer has no such units.
    """
    layer, grid = prefix.generator.layer(painting.layer), grid_of(prefix.output)
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


def _painting_of(document: Any) -> Painting:
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f'this is not a painting: it must say "schema": "{SCHEMA}"')
    entries.only(document, {"schema", "model", "layer", "seed", "truncation", "label", "strokes"}, "a painting")
    strokes = document.get("strokes", [])
    require(isinstance(strokes, list), "strokes are a list", type(strokes).__name__)
    require(len(strokes) <= MOST_STROKES, f"a painting has at most {MOST_STROKES} strokes", len(strokes))
    return Painting(
        model=entries.text(document.get("model"), "model"),
        layer=entries.text(document.get("layer"), "layer"),
        seed=entries.whole(document.get("seed"), "seed"),
        truncation=entries.number(document.get("truncation", 1.0), "truncation"),
        label=_label(document.get("label", 0)),
        strokes=tuple(stroke_of(stroke) for stroke in strokes),
    )


def _label(document: Any) -> Label:
    if document is None:
        return None
    return entries.text(document, "label") if isinstance(document, str) else entries.whole(document, "label")
