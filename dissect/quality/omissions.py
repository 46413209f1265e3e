"""What a generator does not draw: how much of an image each concept covers, in training and in generated images.

Source: Bau et al., "Seeing What a GAN Cannot Generate" (ICCV 2019), section 3.1. To its distance of areas are added
what two halves of the training images are apart, and intervals; to its table, which differences chance may have made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dissect.quality.areas import areas
from dissect.quality.frechet import Moments
from dissect.quality.table import Table, tabulate
from dissect.sources.pictures import DrawnPictures, Pictures
from rewrite.generators.batches import batched
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.reports.interval import NORMAL_ERRORS, Interval, bootstrapped
from rewrite.shards.work import Work

BATCH = 16
FALSE_DISCOVERIES = 0.05
# A concept of which less than this share is drawn is left out altogether, but for what a segmenter imagines.
OMITTED = 0.1
OMITS, LESS, MORE, ALIKE = "omitted", "too little", "too much", "alike"


@dataclass(frozen=True)
class Drawn:
    """How much of one concept there is on both sides.

    Attributes:
        concept: Its name.
        training, generated: Mean share of an image that it covers, in percent.
        images: Share of the training images and of the generated images that show it.
        ratio: Generated area by training area; None where the training images do not show it.
        q: The rate of false discoveries among the concepts whose areas differ as surely or more so.
        verdict: `omitted`, `too little`, `too much` or `alike`.
    """

    concept: str
    training: Interval[float]
    generated: Interval[float]
    images: tuple[float, float]
    ratio: Interval[float] | None
    q: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """Training and generated images side by side.

    Attributes:
        distance: The Fréchet segmentation distance, in percent squared.
        floor: That of one half of the training images from the other.
        concepts: Every concept, in the order of its source.
    """

    distance: Interval[float]
    floor: Interval[float]
    concepts: tuple[Drawn, ...]

    def of(self, *verdicts: str) -> list[Drawn]:
        """The concepts with one of some verdicts, those that miss or exceed most of an image first."""
        found = [each for each in self.concepts if each.verdict in verdicts]
        return sorted(found, key=lambda each: -abs(each.training.value - each.generated.value))


def area_table(
    pictures: Pictures,
    numbers: Sequence[int],
    source: ConceptSource,
    *,
    stage: str = "label",
    state: Path | None = None,
    progress: bool = False,
) -> Table:
    """How much of each picture every concept covers, in percent, as its source sees it."""
    network = pictures.generator if isinstance(pictures, DrawnPictures) else None
    measure = Work(areas_seen, (pictures, source), network)
    identity = {"pictures": pictures.identity, "source": source.identity}
    return tabulate(numbers, measure, identity, stage=stage, state=state, progress=progress)


def areas_seen(seen: tuple[Pictures, ConceptSource], shard: Sequence[int]) -> dict[str, torch.Tensor]:
    """The areas of some pictures, as a source of concepts sees them."""
    pictures, source = seen
    parts = [source.label(pictures.images(part), part).cpu().numpy() for part in batched(shard, BATCH)]
    return {"areas": torch.from_numpy(np.concatenate([covered(part, len(source.concepts)) for part in parts]))}


def covered(labels: np.ndarray, concepts: int) -> Float[np.ndarray, "images concepts"]:
    """Percentage of each image that each concept covers, from one or more label maps, -1 where there is none."""
    images, layers, *_ = labels.shape
    return layers * areas(labels.reshape(images, -1, 1) + 1, concepts + 1)[:, 1:]


def compare(training: Table, generated: Table, concepts: Concepts) -> Comparison:
    """Compare the areas of concepts.

    The distance is that of the generated images from every other training image; the other half is for the floor.

    Args:
        training: Areas of training images, twice as many as generated ones.
        generated: Areas of generated images.
        concepts: The names of the columns.

    Raises:
        ValueError: There are fewer than four training or two generated images.
    """
    if len(training) < 4 or len(generated) < 2:
        raise ValueError(
            f"a comparison needs four training and two generated images, got {len(training)} and {len(generated)}"
        )
    real, drawn = training["areas"], generated["areas"]
    halves = real[::2], real[1::2]
    distance, floor = distances(drawn, *halves)
    return Comparison(distance, floor, concept_by_concept(real, drawn, concepts))


def distances(
    drawn: Float[np.ndarray, "images concepts"],
    first: Float[np.ndarray, "training concepts"],
    second: Float[np.ndarray, "others concepts"],
) -> tuple[Interval[float], Interval[float]]:
    """The distance of generated images from one half of the training images, and of the other half from it."""

    def measure(chosen: np.ndarray, one: np.ndarray, other: np.ndarray) -> list[float]:
        half = Moments.of(first[one])
        return [half.distance(Moments.of(drawn[chosen])), half.distance(Moments.of(second[other]))]

    found = bootstrapped(measure, (len(drawn), len(first), len(second)))
    return found[0].at_least(0.0), found[1].at_least(0.0)


def concept_by_concept(
    real: Float[np.ndarray, "training concepts"], drawn: Float[np.ndarray, "images concepts"], concepts: Concepts
) -> tuple[Drawn, ...]:
    """How much of each concept there is in training images and in generated ones."""
    means = real.mean(axis=0), drawn.mean(axis=0)
    errors = [each.std(axis=0, ddof=1) / np.sqrt(len(each)) for each in (real, drawn)]
    rates = _false_discoveries(means, errors)
    return tuple(
        _row(name, [mean[i] for mean in means], [error[i] for error in errors], (real[:, i], drawn[:, i]), rates[i])
        for i, name in enumerate(concepts.names)
    )


def _row(
    name: str, means: Sequence[float], errors: Sequence[float], sides: tuple[np.ndarray, np.ndarray], rate: float
) -> Drawn:
    training, generated = (_mean(mean, error) for mean, error in zip(means, errors, strict=True))
    ratio = _ratio(means, errors)
    return Drawn(
        concept=name,
        training=training,
        generated=generated,
        images=(float((sides[0] > 0).mean()), float((sides[1] > 0).mean())),
        ratio=ratio,
        q=float(rate),
        verdict=_verdict(means, ratio, rate),
    )


def _verdict(means: Sequence[float], ratio: Interval[float] | None, rate: float) -> str:
    if rate > FALSE_DISCOVERIES:
        return ALIKE
    if ratio is not None and ratio.high < OMITTED:
        return OMITS
    return LESS if means[1] < means[0] else MORE


def _mean(mean: float, error: float) -> Interval[float]:
    half = NORMAL_ERRORS * error
    return Interval(float(mean), float(mean - half), float(mean + half)).at_least(0.0)


def _ratio(means: Sequence[float], errors: Sequence[float]) -> Interval[float] | None:
    """The ratio of two means with Fieller's interval, which holds where the lower mean is near zero, too.

    By hand: scipy has no interval of a ratio, and its bootstrap would take seconds for hundreds of concepts.
    """
    (below, above), (below_error, above_error) = means, errors
    if below <= 0:
        return None
    doubt = (NORMAL_ERRORS * below_error / below) ** 2
    if doubt >= 1:
        return Interval(float(above / below), 0.0, np.inf)
    middle = above / below / (1 - doubt)
    error = np.sqrt(above_error**2 * (1 - doubt) + (above / below * below_error) ** 2)
    half = NORMAL_ERRORS * error / below / (1 - doubt)
    return Interval(float(above / below), float(middle - half), float(middle + half)).at_least(0.0)


def _false_discoveries(means: Sequence[np.ndarray], errors: Sequence[np.ndarray]) -> np.ndarray:
    """Benjamini and Hochberg's rates, of Welch's test of each concept's means."""
    from scipy import stats  # it takes more than a second to import

    error = np.sqrt(errors[0] ** 2 + errors[1] ** 2)
    apart = np.abs(means[1] - means[0])
    score = np.divide(apart, error, out=np.where(apart > 0, np.inf, 0.0), where=error > 0)
    return stats.false_discovery_control(2 * stats.norm.sf(score))
