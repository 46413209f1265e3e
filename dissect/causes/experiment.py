"""The average causal effect of units on concepts: the same images with units on and off, compared pixel by pixel.

Source: Bau et al., "GAN Dissection" (ICLR 2019), section 3.2: δ(U → c) = E[s_c(inserted)] - E[s_c(ablated)], in shares
of E[s_c]. Here images are compared one by one, so that what they have in common cancels, and areas are whole numbers
of pixels, so that parts add up exactly.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int16, Int64
from torch import Tensor

from dissect.causes.blocks import block_at, cells_of, enlarged
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.paired import Paired
from dissect.sources.contract import DifferentiableSource
from rewrite.generators.contract import Generator
from rewrite.reports.concepts import ConceptSource
from rewrite.shards.work import Work
from rewrite.storage.ledger import Ledger

# Each batch goes through every contrast before its sums are kept: a run that is stopped loses no more than that.
BATCH = 4


@dataclass(frozen=True)
class Experiment:
    """A layer whose units are switched, and what names the pixels of the images that come out.

    Attributes:
        generator: The generator.
        layer: Name of the layer.
        source: What names the pixels.
    """

    generator: Generator
    layer: str
    source: ConceptSource

    def __post_init__(self) -> None:
        self.generator.layer(self.layer)

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return self.generator.units(self.layer)

    def prefix(self, seeds: Sequence[int]) -> Prefix:
        """The images of some seeds, cut at the layer."""
        return Prefix.of(self.generator, self.layer, seeds)

    def labels(
        self, prefix: Prefix, seeds: Sequence[int], *interventions: Intervention
    ) -> Int16[Tensor, "images layers height width"]:
        """What the images show after some interventions."""
        return self.source.label(prefix.images(*interventions), seeds)

    @property
    def differentiable(self) -> bool:
        """Whether the source has `logits`."""
        return isinstance(self.source, DifferentiableSource)

    def logits(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        """Scores of all concepts at each pixel, with a gradient.

        Raises:
            ValueError: The source has none.
        """
        if not isinstance(self.source, DifferentiableSource):
            raise ValueError(f"{self.source.identity} only names pixels and has no gradient")
        return self.source.logits(images)


@dataclass(frozen=True)
class Contrast:
    """Two states of the same images whose concept areas are compared, the first minus the second.

    Attributes:
        first: What is done in one; nothing leaves the image as it is.
        second: What is done in the other.
        side: None compares whole images. A number does both only in a block of so many cells a side, at a place that
            depends on the image's seed, and compares what is seen there.
    """

    first: tuple[Intervention, ...]
    second: tuple[Intervention, ...]
    side: int | None = None

    @classmethod
    def removal(cls, units: Iterable[int]) -> "Contrast":
        """What is there of a concept and is gone when units are off everywhere."""
        return cls((), (Intervention.off(units),))

    @classmethod
    def insertion(cls, units: Sequence[int], values: Sequence[float], side: int) -> "Contrast":
        """What units add to a block when they are set to values there, against the same block with them off."""
        return cls((Intervention(tuple(units), tuple(values)),), (Intervention.off(units),), side)


def measure_contrasts(
    experiment: Experiment,
    contrasts: Sequence[Contrast],
    seeds: Sequence[int],
    *,
    ledger: Ledger | None = None,
    stage: str = "contrasts",
    batch: int = BATCH,
) -> Paired:
    """Compare the areas of all concepts under pairs of interventions.

    What comes before the layer is run once; each state of an image then costs the pass from the layer on.

    Args:
        experiment: Where units are switched, and what names the pixels.
        contrasts: What is compared.
        seeds: The images.
        ledger: Keeps the sums while they grow.
        stage: Their name there.
        batch: Images in one run; it does not affect the result.

    Returns:
        Differences of area, for each contrast and concept, measured against the area of the concept in the whole image
        as it is: their `ratio` is the normalised effect of the paper. Those of other images may be added.

    Raises:
        ValueError: There is no seed or no contrast, or the layer has no such unit.
    """
    if not seeds or not contrasts:
        raise ValueError("effects need at least one image and one contrast")
    ledger = ledger or Ledger()
    compared = Work(compared_sums, experiment, experiment.generator, (tuple(contrasts),))
    return Paired(ledger.over(stage, seeds, compared, batch=batch)["sums"])


def measure_removals(
    experiment: Experiment,
    seeds: Sequence[int],
    units: Sequence[int] | None = None,
    *,
    ledger: Ledger | None = None,
    stage: str = "units",
    batch: int = BATCH,
) -> Paired:
    """What of each concept is gone when each unit alone is off everywhere; by default, of every unit of the layer."""
    units = range(experiment.units) if units is None else units
    contrasts = [Contrast.removal([unit]) for unit in units]
    return measure_contrasts(experiment, contrasts, seeds, ledger=ledger, stage=stage, batch=batch)


def areas_of(
    labels: Int16[Tensor, "images layers height width"],
    concepts: int,
    where: Bool[Tensor, "images height width"] | None = None,
) -> Int64[Tensor, "images concepts"]:
    """How many pixels of each image show each concept, everywhere or in a region."""
    images = len(labels)
    numbers = labels.long() + 1
    if where is not None:
        numbers = numbers * where[:, None].to(numbers.device)
    rows = torch.arange(images, device=labels.device)[:, None, None, None] * (concepts + 1)
    counted = torch.bincount((numbers + rows).flatten(), minlength=images * (concepts + 1))
    return counted.reshape(images, concepts + 1)[:, 1:].cpu()


def compared_sums(
    experiment: Experiment, seeds: tuple[int, ...], contrasts: Sequence[Contrast]
) -> dict[str, Int64[Tensor, "6 contrasts concepts"]]:
    """The sums of a batch."""
    prefix, concepts = experiment.prefix(seeds), len(experiment.source.concepts)
    as_is = experiment.labels(prefix, seeds)
    base = areas_of(as_is, concepts)

    def areas(interventions: Sequence[Intervention], where: Tensor | None) -> Tensor:
        if interventions and where is not None:
            filled = where[[*range(len(where)), *[-1] * (len(prefix.output) - len(where))]]
            interventions = [replace(each, mask=filled.float()) for each in interventions]
        labels = experiment.labels(prefix, seeds, *interventions) if interventions else as_is
        return areas_of(labels, concepts, None if where is None else enlarged(where, labels.shape[2:]))

    def difference(contrast: Contrast) -> Tensor:
        where, grid = None, tuple(prefix.output.shape[2:])
        if contrast.side is not None:
            where = block_at([cells_of(seed, grid, 1)[0] for seed in seeds], grid, contrast.side)
        return areas(contrast.first, where) - areas(contrast.second, where)

    found = torch.stack([difference(contrast) for contrast in contrasts], dim=1)
    return {"sums": Paired.of(found, base[:, None].expand_as(found)).sums}
