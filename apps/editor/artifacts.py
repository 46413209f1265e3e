"""Artifacts by brush: what one session marked as drawn badly, which units draw it, and two ways to be rid of it.

Marks are regions of images on a wall of their own. `find` proposes units, `compare` holds units that are off and a rule
that erases against each other, on images that nobody marked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from apps.editor.data_urls import url
from apps.editor.marks import Mark
from apps.editor.model import Model
from apps.editor.work import Work
from apps.references import FIRST_SCENE
from dissect.quality.artifacts import Artifacts, strangest, typical
from dissect.quality.features import CallableFeatures, FeatureSpace, SegmenterFeatures
from dissect.quality.frechet import Moments
from dissect.quality.marked_units import MarkedImages, MarkedUnit
from dissect.quality.repairs import RULE, Repair, best_first, erasing_rule, without_units
from dissect.sources.towers import Scenes, SegmenterSource
from rewrite import Mask, Patch, Region
from rewrite.checkpoints.loading import BUILT_IN
from rewrite.reports.pictures import to_pil
from rewrite.rules.masks import regions_of

# Images: to look for the strangest, to order units on, to compare on, and good ones to compare with.
LOOKED_AT, ORDERED, LEFT_OUT, GOOD = 192, 48, 96, 400
FIRST_OWN, FIRST_LEFT_OUT = 500_000, 900_000
MOST_SHOWN, MOST_TICKED, TOPS = 12, 5, 3
COLOURS = 8


class Quality(NamedTuple):
    """What tells good images of a model.

    Attributes:
        space: What sees images.
        good: The features of good images.
        drawn: Whether the good images are drawn scenes; else they are the typical half of the model's own.
    """

    space: FeatureSpace
    good: np.ndarray
    drawn: bool


@dataclass
class Brushed:
    """What one session has marked as drawn badly. Marks may change while something is found; then it is dropped.

    Attributes:
        layer: Where units are looked for and the rule is solved; the model's usual layer if empty.
        seeds: The images on the wall.
        marks: The marked regions.
        proposed: The units that draw what is marked, those first that are best off.
        units: The units that are off now.
        offers: The ways that were compared, the better first.
    """

    layer: str = ""
    seeds: tuple[int, ...] = ()
    marks: tuple[Mark, ...] = ()
    proposed: tuple[MarkedUnit, ...] = ()
    units: tuple[int, ...] = ()
    offers: tuple[tuple[Repair, float], ...] = field(default_factory=tuple)

    @property
    def regions(self) -> tuple[Region, ...]:
        """The marks, every connected part a region of its own."""
        return tuple(
            Region(mark.region.latent, Mask.from_array(part))
            for mark in self.marks
            for part in regions_of(mark.region.mask.array())
        )

    def mark(self, marks: tuple[Mark, ...]) -> None:
        """Take other marks; what was found by the old ones is gone."""
        if marks != self.marks:
            self.marks, self.proposed, self.units, self.offers = marks, (), (), ()

    def patch_of(self, model: Model) -> Patch | None:
        """The units that are off, as a patch; None without any."""
        if not self.units:
            return None
        with model.lock:
            return without_units(model.generator, self.layer, self.units).patch


def quality_of(model: Model) -> Quality:
    """What tells good images of a model; made once for all sessions."""
    return model.shared("quality", lambda: _quality(model))


def _quality(model: Model) -> Quality:
    generator, source = model.generator, model.source
    if model.name in BUILT_IN and isinstance(source, SegmenterSource):
        space = SegmenterFeatures(source.segmenter)
        scenes = Scenes(FIRST_SCENE, GOOD, generator.size[0])
        return Quality(space, space.vectors(scenes.images(scenes.numbers)).double().numpy(), True)
    space = CallableFeatures(lambda images: F.adaptive_avg_pool2d(images, COLOURS).flatten(1), "colours of 8 x 8 parts")
    own = space.vectors(generator.sample(range(FIRST_OWN, FIRST_OWN + GOOD // 2)))
    return Quality(space, typical(own.double().numpy()), False)


def artifacts_of(model: Model, layer: str) -> Artifacts:
    """A layer against good images."""
    quality = quality_of(model)
    return Artifacts(model.generator, layer, quality.space, Moments.of(quality.good))


def strange_seeds(work: Work, count: int) -> tuple[int, ...]:
    """The seeds whose images lie farthest from good ones, of the first `LOOKED_AT`.

    Raises:
        Stopped: The user pressed Stop.
    """
    quality = quality_of(work.model)
    with work.running():
        seen = quality.space.vectors(work.model.generator.sample(range(LOOKED_AT))).double().numpy()
    return tuple(strangest(seen, quality.good)[:count].tolist())


def find(work: Work, brushed: Brushed) -> None:
    """Propose units that draw what is marked; those that bring images nearer to good ones when off are off at once.

    Raises:
        Stopped: The user pressed Stop.
        ValueError: Nothing is marked.
    """
    artifacts, marks = artifacts_of(work.model, brushed.layer), brushed.marks
    with work.running():
        proposed = MarkedImages(work.model.generator, brushed.layer, brushed.regions).proposed()
        slopes = artifacts.slopes_on(range(FIRST_OWN, FIRST_OWN + ORDERED)).tolist()
    if brushed.marks != marks:
        return
    proposed.sort(key=lambda each: slopes[each.unit])
    brushed.proposed, brushed.offers = tuple(proposed), ()
    helpful = [each.unit for each in proposed if slopes[each.unit] < 0]
    brushed.units = tuple(helpful[:MOST_TICKED])


def top_pictures(work: Work, brushed: Brushed) -> list[str]:
    """For each unit of the layer a data URL of the images that drive it most, empty for all but the proposed ones."""
    model = work.model
    with work.running():
        seen = artifacts_of(model, brushed.layer).observe(range(LOOKED_AT // 2))
        tops = np.argsort(-seen["peaks"], axis=0, kind="stable")[:TOPS]
        shown = [each.unit for each in brushed.proposed[:MOST_SHOWN]]
        seeds = sorted({int(seen.numbers[place]) for unit in shown for place in tops[:, unit]})
        drawn = dict(zip(seeds, to_pil(model.drawer.tiles(seeds)), strict=True)) if seeds else {}
    found = [""] * model.generator.units(brushed.layer)
    for unit in shown:
        found[unit] = url(beside([drawn[int(seen.numbers[place])] for place in tops[:, unit]]))
    return found


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in a row."""
    width, height = pictures[0].size
    row = Image.new("RGB", (len(pictures) * width, height))
    for place, picture in enumerate(pictures):
        row.paste(picture, (place * width, 0))
    return row


def compare(work: Work, brushed: Brushed) -> Iterator[float]:
    """Solve the marks as a rule that erases, and see which way does better; yields the progress.

    Raises:
        Stopped: The user pressed Stop.
        ValueError: Nothing is marked, or neither way is possible.
    """
    generator = work.model.generator
    rule = replace(erasing_rule(generator, brushed.layer, brushed.regions, "What I marked, erased"), anchor="centre")
    yield from work.measuring(brushed.layer)
    yield from work.solving(rule)
    patch = replace(work.solve(rule), rules=(work.settled(rule).to_json(),))
    with work.running():
        repairs = [Repair(RULE, patch, rule=work.settled(rule))]
        repairs += [without_units(generator, brushed.layer, brushed.units)] if brushed.units else []
        left_out = range(FIRST_LEFT_OUT, FIRST_LEFT_OUT + LEFT_OUT)
        with torch.no_grad():
            brushed.offers = tuple(best_first(artifacts_of(work.model, brushed.layer), repairs, left_out))
