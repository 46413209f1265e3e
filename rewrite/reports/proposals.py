"""Further contexts for a rule: places of other images that look like the marked ones, to be accepted or refused.

A person marks three places. What is like them is sought at the rule's own layer (`likeness.py`), and grown into regions
of the extent that the marks have. How far a region reaches is judged by marked images as if they had not been marked.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_dilation
from torch import Tensor

from rewrite.generators.batches import in_batches
from rewrite.generators.contract import Generator
from rewrite.goals.goal import check_origin
from rewrite.goals.scene import latents_of
from rewrite.progress import stage_bar
from rewrite.reports.firing import ordinary_seeds
from rewrite.reports.growth import Growth, Map
from rewrite.reports.likeness import BATCH, Examples
from rewrite.rules.masks import Mask, regions_of
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule

SEEDS = range(10_000, 10_200)
ORDINARY = 64
# A region that is smaller than the usual mark by this factor, or larger than the largest, is no place of the same kind.
SMALLER, LARGER = 4, 3
# What is nearer to a region than this share of the image's side belongs to it, when the rest is looked at.
NEAR = 1 / 20
# From this margin on an image is clear. The very clearest are so much like the marked ones that a rule learns little
# from them, so that clear ones come in the order of their seeds.
CLEAR = 0.5

Marked = Bool[np.ndarray, "height width"]


@dataclass(frozen=True)
class Proposal:
    """All the places of one image that look like the marked ones.

    They belong together: where an image has a context, the rule spares the rest of it, and so what looks alike there,
    too.

    Attributes:
        regions: The places, the most alike first.
        likeness: That of the least alike region: 1 if it is as alike as the marked places are to one another, 0 if it
            is as any other place.
        margin: By how much that is more than the likeness of anything else in the image. Where it is small, something
            may have been overlooked, or taken for what it is not.
        marked: Whether the image has marked places already, beside these.
    """

    regions: tuple[Region, ...]
    likeness: float
    margin: float
    marked: bool = False

    @property
    def latent(self) -> Latent:
        """The image."""
        return self.regions[0].latent

    def __repr__(self) -> str:
        counts = f"regions={len(self.regions)}, likeness={self.likeness:.2f}, margin={self.margin:.2f}"
        return f"<Proposal in seed {self.latent.seed}: {counts}{', marked' if self.marked else ''}>"


def propose_contexts(
    generator: Generator,
    rule: Rule,
    *,
    seeds: Iterable[int] = SEEDS,
    most: int = 24,
    layer: str | None = None,
    progress: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> list[Proposal]:
    """Propose further contexts for a rule.

    Args:
        generator: The generator that the rule was written on.
        rule: The rule; its places are what is sought.
        seeds: The images to look at, beside those of the rule.
        most: The number of images to propose at most.
        layer: The layer whose units say what looks alike; the rule's own if left out.
        progress: Show a progress bar.
        on_progress: Called with the number of images that were looked at; what it raises ends the search.

    Returns:
        The images that the rule marks already and that have more such places, then others, the clear ones first and
        among them in the order of their seeds.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The rule was written on another model, a mask does not fit, or a number is out of range.
    """
    if most < 1:
        raise ValueError(f"the number of proposals is at least 1, got {most}")
    check_origin(generator, rule)
    search = LikePlaces.of(generator, rule, layer or rule.layer)
    further = sorted(set(seeds) - {latent.seed for latent in search.marks})
    found, done = search.beside_marks(), 0
    with stage_bar(len(further), "search", shown=progress) as bar:
        for part, like in in_batches(further, BATCH, search.among):
            found += like
            done += len(part)
            bar.update(len(part))
            if on_progress is not None:
                on_progress(done)
    return sorted(found, key=_rank)[:most]


@dataclass(frozen=True)
class LikePlaces:
    """The search for places that look like those of a rule.

    Attributes:
        rule: The rule.
        examples: What its marks, and ordinary images, say of the layer's units.
        marks: The places of each marked image, as one mask of the size of the first.
    """

    rule: Rule
    examples: Examples
    marks: dict[Latent, Marked]

    @classmethod
    def of(cls, generator: Generator, rule: Rule, layer: str) -> "LikePlaces":
        """Prepare a search."""
        rule.places[0].mask.check_size(generator.size)
        marks = _masks(rule.places, rule.places[0].mask.size)
        taken = {latent.seed for latent in marks}
        return cls(rule, Examples.of(generator, layer, marks, ordinary_seeds(ORDINARY, taken)), marks)

    def beside_marks(self) -> list[Proposal]:
        """Proposals in the marked images, each sought as if it had not been marked."""
        taken = _masks((*self.rule.places, *self.rule.copy, *self.rule.protect), self._size)
        found = [
            self._proposal(latent, likeness, taken[latent])
            for latent, likeness in zip(self.marks, self._left_out, strict=True)
        ]
        return [proposal for proposal in found if proposal is not None]

    def among(self, seeds: Sequence[int]) -> list[Proposal]:
        """Proposals in the images of some seeds, none of which is marked."""
        found = [self._proposal(Latent(seed), one) for seed, one in zip(seeds, self.likeness(seeds), strict=True)]
        return [proposal for proposal in found if proposal is not None]

    def likeness(self, seeds: Sequence[int]) -> Float[np.ndarray, "images height width"]:
        """How much each place of the images of some seeds looks like the marked ones."""
        return self.examples.likeness(self.examples.generator.latents(seeds), self._mixture, self._size)

    def _proposal(self, latent: Latent, found: Map, taken: Marked | None = None) -> Proposal | None:
        """All places of an image, but for those that a mark of the rule covers; None if there are none."""
        smallest, largest = self._sizes
        regions = [region for region in self._growth.regions(found) if smallest <= region.sum() <= largest]
        if taken is not None:
            regions = [region for region in regions if not (region & taken).any()]
        if not regions:
            return None
        regions.sort(key=lambda region: -found[region].mean())
        known = np.any(regions if taken is None else [*regions, taken], axis=0)
        rest = float(found[~_grown(known)].max(initial=0.0))
        least = float(found[regions[-1]].mean())
        places = tuple(Region(latent, Mask.from_array(region)) for region in regions)
        return Proposal(places, least / self._typical, (least - rest) / self._typical, taken is not None)

    @cached_property
    def _mixture(self) -> Float[Tensor, " units"]:
        return self.examples.mixture()

    @property
    def _size(self) -> tuple[int, int]:
        return self.rule.places[0].mask.size

    @cached_property
    def _left_out(self) -> list[Map]:
        """The likeness of each marked image to the others; to itself, if there is but one."""
        generator, found = self.examples.generator, []
        for image, latent in enumerate(self.marks):
            mixture = self._mixture if len(self.marks) == 1 else self.examples.mixture(without=image)
            found.append(self.examples.likeness(latents_of(generator, [latent]), mixture, self._size)[0])
        return found

    @cached_property
    def _growth(self) -> Growth:
        return Growth.like(self._left_out, list(self.marks.values()))

    @cached_property
    def _typical(self) -> float:
        """The likeness of the usual marked image."""
        means = [one[mask].mean() for one, mask in zip(self._left_out, self.marks.values(), strict=True)]
        return max(float(np.mean(means)), 1e-6)

    @cached_property
    def _sizes(self) -> tuple[float, float]:
        """The smallest and the largest number of pixels of a region."""
        marked = [region.sum() for mask in self.marks.values() for region in regions_of(mask)]
        return float(np.median(marked)) / SMALLER, float(max(marked)) * LARGER


def _rank(proposal: Proposal) -> tuple[bool, float, int]:
    return not proposal.marked, -min(proposal.margin, CLEAR), proposal.latent.seed


def _grown(mask: Marked) -> Marked:
    """A mask with what is near: the likeness falls off over some cells around a place."""
    around = max(1, round(NEAR * max(mask.shape)))
    return binary_dilation(mask, np.ones((3, 3)), around)


def _masks(regions: Iterable[Region], size: tuple[int, int]) -> dict[Latent, Marked]:
    """The union of the regions of each image, at one size."""
    masks: dict[Latent, Marked] = {}
    for region in regions:
        region.mask.check_size(size)
        mask = region.mask.resized(size)
        masks[region.latent] = masks.get(region.latent, np.zeros_like(mask)) | mask
    return masks
