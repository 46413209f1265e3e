"""How well units agree with concepts, against what could be at most, and what chance would give.

IoU and the detector rule: Bau et al., "Network Dissection", CVPR 2017. The rate of false discoveries: Storey and
Tibshirani, "Statistical significance for genomewide studies", PNAS 2003, with other images' labels as the null.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int64

from dissect.units.tally import Tally
from rewrite.reports.concepts import Concepts
from rewrite.reports.interval import NORMAL_ERRORS, Interval

DETECTOR_IOU = 0.04
FALSE_DISCOVERIES = 0.05


@dataclass(frozen=True)
class Scores:
    """What a tally says of every unit and concept.

    Attributes:
        tally: The counts.
        concepts: What they are counts of.
    """

    tally: Tally
    concepts: Concepts

    def __repr__(self) -> str:
        units, concepts = self.tally.both.shape
        return f"<Scores: units={units}, concepts={concepts}, images={int(self.tally.images)}>"

    @cached_property
    def iou(self) -> Float[np.ndarray, "units concepts"]:
        """Intersection over union over all images together; 0 where neither is ever seen."""
        return _ratio(self._both, self._either)

    @cached_property
    def interval(self) -> Interval[np.ndarray]:
        """The IoU of units (rows) and concepts (columns) with its interval over images.

        The variance of a ratio, linearised, on the logit scale. Not by scipy, whose bootstrap wants every image: a
        tally holds sums. NaN where there are fewer than two images, or where no pixel or every pixel is shared.
        """
        images, iou, union = int(self.tally.images), self.iou, self._either
        # Of residuals e = both - iou * (active + labelled - both) of each image, the sum of squares, expanded.
        square, with_union, union_square = self._products
        spread = square - 2 * iou * with_union + iou**2 * union_square
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (
                np.sqrt(spread.clip(min=0) * images / (images - 1)) / union if images > 1 else np.full_like(iou, np.nan)
            )
            middle, half = np.log(iou / (1 - iou)), NORMAL_ERRORS * error / (iou * (1 - iou))
            ends = tuple(1 / (1 + np.exp(-(middle + side * half))) for side in (-1, 1))
        inner = (iou > 0) & (iou < 1)
        return Interval(iou, *(np.where(inner, end, np.nan) for end in ends))

    @cached_property
    def ceiling(self) -> Float[np.ndarray, "units concepts"]:
        """The greatest IoU that these numbers of pixels allow: the smaller over the larger."""
        active, labelled = self._active, self._labelled
        return _ratio(np.minimum(active, labelled), np.maximum(active, labelled))

    @cached_property
    def chance(self) -> Float[np.ndarray, "units concepts"]:
        """The mean IoU with the labels of other images."""
        return self._null.mean(axis=0) if len(self._null) else np.full(self.iou.shape, np.nan)

    @cached_property
    def q(self) -> Float[np.ndarray, "units concepts"]:
        """For each pair, the expected share of false discoveries among all pairs that stand out as much as it does.

        A pair stands out by its distance from the mean of its own null, in standard deviations of that. How often a
        pair stands out by chance is counted on the null draws, each measured against the others. 1 without draws.
        """
        null = self._null
        if len(null) < 3:
            return np.ones(self.iou.shape)
        # A floor on the deviation: pairs that hardly ever meet must not stand out by a single pixel.
        floor = np.median(null.std(axis=0, ddof=1)) + 1e-12
        real = _standing_out(self.iou, null, floor)
        drawn = [_standing_out(null[draw], np.delete(null, draw, axis=0), floor) for draw in range(len(null))]
        return false_discovery_rates(real, np.stack(drawn))

    @cached_property
    def best(self) -> Int64[np.ndarray, " units"]:
        """The concept with which each unit agrees best."""
        return self.iou.argmax(axis=1)

    def detects(self, least: float = DETECTOR_IOU) -> Bool[np.ndarray, " units"]:
        """Which units detect their best concept by the papers' rule: an IoU above `least`."""
        return self.iou.max(axis=1) > least

    def beyond_chance(self, rate: float = FALSE_DISCOVERIES) -> Bool[np.ndarray, " units"]:
        """Which units agree with their best concept more than chance allows, at this rate of false discoveries."""
        return self.q[np.arange(len(self.best)), self.best] <= rate

    def detectors(self, least: float = DETECTOR_IOU) -> dict[str, int]:
        """How many units detect each concept, the most frequent first; concepts without any are left out."""
        counts = np.bincount(self.best[self.detects(least)], minlength=len(self.concepts))
        order = np.argsort(-counts, kind="stable")
        return {self.concepts.names[number]: int(counts[number]) for number in order if counts[number]}

    def units_of(self, least: float = DETECTOR_IOU) -> dict[str, list[tuple[int, float]]]:
        """For each concept that is detected, the units that detect it and their IoU, the greatest first."""
        iou, detects = self.iou.max(axis=1), self.detects(least)
        order = [unit for unit in np.argsort(-iou, kind="stable").tolist() if detects[unit]]
        return {
            name: [(unit, float(iou[unit])) for unit in order if self.concepts.names[self.best[unit]] == name]
            for name in self.detectors(least)
        }

    def by_category(self, least: float = DETECTOR_IOU) -> dict[str, dict[str, int]]:
        """For each category, how many units detect one of its concepts and how many different concepts they detect."""
        found = self.detectors(least)
        categories = dict(zip(self.concepts.names, self.concepts.categories, strict=True))
        return {
            kind: {
                "units": sum(count for name, count in found.items() if categories[name] == kind),
                "concepts": sum(categories[name] == kind for name in found),
            }
            for kind in self.concepts.kinds
        }

    @cached_property
    def _kinds(self) -> np.ndarray:
        return np.array(self.concepts.kind_numbers)

    @cached_property
    def _both(self) -> np.ndarray:
        return self.tally.both.numpy()

    @cached_property
    def _active(self) -> np.ndarray:
        return self.tally.active.numpy()[:, self._kinds]

    @cached_property
    def _labelled(self) -> np.ndarray:
        return self.tally.labelled.numpy()[None]

    @cached_property
    def _either(self) -> np.ndarray:
        return self._active + self._labelled - self._both

    @cached_property
    def _null(self) -> np.ndarray:
        both, active = self.tally.null_both.numpy(), self.tally.null_active.numpy()[..., self._kinds]
        return _ratio(both, active + self._labelled - both)

    @cached_property
    def _products(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Σ both², Σ both · either and Σ either² over images, in float64."""
        tally = {name: tensor.numpy().astype(np.float64) for name, tensor in self.tally.tensors().items()}
        square = tally["both_both"]
        with_union = tally["both_active"] + tally["both_labelled"] - square
        union_square = (
            tally["active_active"][:, self._kinds]
            + tally["labelled_labelled"][None]
            + square
            + 2 * (tally["active_labelled"] - tally["both_active"] - tally["both_labelled"])
        )
        return square, with_union, union_square


def false_discovery_rates(
    real: Float[np.ndarray, "units concepts"], null: Float[np.ndarray, "draws units concepts"]
) -> Float[np.ndarray, "units concepts"]:
    """For each real statistic, the expected share of chance among all that are as great or greater.

    The number that chance puts there is the mean over draws of how many null statistics are as great or greater, plus
    one over all draws: what was never seen in so many draws may still happen.
    """
    ordered, chance = np.sort(real, axis=None), np.sort(null, axis=None)
    as_great = real.size - np.searchsorted(ordered, ordered, side="left")
    expected = (null.size - np.searchsorted(chance, ordered, side="left") + 1) / len(null)
    rates = np.minimum.accumulate((expected / as_great).clip(max=1))
    return rates[np.searchsorted(ordered, real.ravel(), side="left")].reshape(real.shape)


def _standing_out(value: np.ndarray, null: np.ndarray, floor: float) -> np.ndarray:
    return (value - null.mean(axis=0)) / (null.std(axis=0, ddof=1) + floor)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)
