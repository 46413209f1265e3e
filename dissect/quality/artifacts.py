"""Units that draw artifacts: which they are, how many of them to take, and what images gain without them.

Source: Bau et al., "GAN Dissection" (ICLR 2019), section 4.3, where a person looks for units whose images look worse.
Here units are ranked by the Fréchet distance, from a reference, of the images that drive them most. That finds units
whose images differ, whether they draw badly or draw something rare; so what is taken is decided by what happens to
the distance when units are off, on the same training seeds, and reported on seeds that nothing was chosen on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dissect.causes.intervention import Intervention, Prefix
from dissect.quality.features import FeatureSpace
from dissect.quality.frechet import Moments
from dissect.quality.table import Table, tabulate
from dissect.sources.pictures import Pictures
from rewrite.generators.batches import in_batches
from rewrite.generators.classes import marked
from rewrite.generators.contract import Generator
from rewrite.progress import stage_bar
from rewrite.reports.interval import Interval, bootstrapped
from rewrite.storage.ledger import Ledger, Stage

BATCH = 16
TOP_SHARE, LEAST_TOP = 0.1, 8
TRIED = 5
MOST = 20
# A unit must take off this share of the distance that there was at first, or none is taken any more.
LEAST_GAIN = 0.01
FIRST_TEST_SEED = 1_000_000
KNEIGHBOUR, TYPICAL = 5, 0.5
BY_EFFECT, BY_IMAGES = "effect", "images"
STEPS = "steps"


@dataclass(frozen=True)
class Step:
    """One unit more is off.

    Attributes:
        units: The units that are off, in the order in which they were taken.
        distance: The distance then, on the seeds that are chosen on.
    """

    units: tuple[int, ...]
    distance: float


@dataclass(frozen=True)
class Outcome:
    """A set of units on seeds that nothing was chosen on.

    Attributes:
        units: The units that are off.
        distance: The distance of the images from the reference then.
        fall: How much less that is than before, measured on the same images.
    """

    units: tuple[int, ...]
    distance: Interval[float]
    fall: Interval[float]

    @property
    def better(self) -> bool:
        """Whether the distance falls beyond chance."""
        return self.fall.low > 0


class Artifacts:
    """A layer of a generator against reference images in a feature space.

    Args:
        generator: The generator.
        layer: The layer whose units are looked at.
        space: What sees images.
        reference: The moments of the features of good images.

    Raises:
        LookupError: The generator has no such layer.
    """

    def __init__(self, generator: Generator, layer: str, space: FeatureSpace, reference: Moments):
        self.generator, self.layer, self.space, self.reference = generator, layer, space, reference
        self.units = generator.layer(layer).outputs

    @property
    def identity(self) -> dict[str, Any]:
        """What tells these numbers from others."""
        return {
            "model": self.generator.fingerprint,
            "truncation": self.generator.truncation,
            **marked(self.generator.label),
            "layer": self.layer,
            "features": self.space.identity,
        }

    def observe(self, seeds: Sequence[int], *, state: Path | None = None, progress: bool = False) -> Table:
        """The features of images and how much they drive each unit at most."""

        def measure(shard: Sequence[int]) -> dict[str, Tensor]:
            parts = self._prefixes(shard)
            peaks = [part.output[: part.count].flatten(2).amax(dim=2) for part in parts]
            return {
                "peaks": torch.cat(peaks),
                "features": torch.cat([self.space.vectors(part.images()) for part in parts]),
            }

        return tabulate(seeds, measure, self.identity, stage="look", state=state, progress=progress)

    def distances(self, seen: Table) -> Float[np.ndarray, " units"]:
        """For each unit the distance of the images that drive it most, a tenth of those seen."""
        features, peaks = seen["features"], seen["peaks"]
        count = min(max(LEAST_TOP, round(TOP_SHARE * len(seen))), len(seen))
        tops = np.argsort(-peaks, axis=0, kind="stable")[:count]
        return np.array([self.distance(features[top]) for top in tops.T])

    def distance(self, features: Float[np.ndarray, "images features"]) -> float:
        """The distance of some images from the reference."""
        return self.reference.distance(Moments.of(features))

    def choose(
        self,
        seeds: Sequence[int],
        ranking: Sequence[int] | None = None,
        *,
        among: Sequence[int] | None = None,
        most: int = MOST,
        state: Path | None = None,
        progress: bool = False,
    ) -> list[Step]:
        """Take units one by one, as long as the distance falls.

        Of the next few candidates, the one is taken that takes off most beside those already off.

        Args:
            seeds: Images to choose on.
            ranking: Candidates in order; those that promise most to first order, if left out.
            among: The only units that may be taken; all, if left out.
            most: How many to take at most.
            state: A file that keeps the steps: a run that was ended goes on from there.
            progress: Show a progress bar.

        Returns:
            The steps, the first without any unit off.
        """
        identity = {**self.identity, "seeds": list(seeds), "ranking": ranking and list(ranking)}
        identity |= {} if among is None else {"among": list(among)}
        barred = set() if among is None else set(range(self.units)) - set(among)
        ledger = Ledger(state, identity, STEPS)
        kept = _steps_of(ledger)
        with stage_bar(most, "choose", "unit", shown=progress) as bar:
            prefixes = self._prefixes(seeds)
            features = self._features(prefixes, kept[-1].units if kept else ())
            steps = kept or [Step((), self.distance(features))]
            bar.update(len(steps) - 1)
            while len(steps) <= most:
                taken = steps[-1].units
                order = self._promising(prefixes, taken, features) if ranking is None else ranking
                found = self._best(prefixes, taken, [unit for unit in order if unit not in barred.union(taken)][:TRIED])
                if found is None or steps[-1].distance - found[0].distance < LEAST_GAIN * steps[0].distance:
                    break
                steps.append(found[0])
                features = found[1]
                ledger.stages[STEPS] = _stage_of(steps)
                ledger.save()
                bar.update()
        return steps

    def slopes(
        self, prefixes: Sequence[Prefix], off: Sequence[int], features: Float[np.ndarray, "images features"]
    ) -> Float[Tensor, " units"]:
        """To first order, how the distance changes when each unit goes off: one pass forward and one backward."""
        slope = torch.from_numpy(self.reference.slope(features)).float()
        found, begun = torch.zeros(self.units), 0
        for prefix in prefixes:
            output = Intervention.off(off).on(prefix.output).requires_grad_()
            with torch.enable_grad():
                # What follows a layer may write into what it is given.
                images = prefix.generator.onward(self.layer, prefix.cut, output.clone())[: prefix.count].clamp(-1, 1)
                weights = slope[begun : begun + prefix.count].to(images)
                (gradient,) = torch.autograd.grad((self.space.of(images) * weights).sum(), output)
            found -= (gradient * output.detach()).flatten(2).sum(dim=(0, 2)).cpu()
            begun += prefix.count
        return found

    def slopes_on(self, seeds: Sequence[int]) -> Float[Tensor, " units"]:
        """The same for the images of some seeds as they are."""
        prefixes = self._prefixes(seeds)
        return self.slopes(prefixes, (), self._features(prefixes, ()))

    def without(
        self,
        sets: Mapping[str, Sequence[int]],
        seeds: Sequence[int],
        *,
        state: Path | None = None,
        progress: bool = False,
    ) -> Table:
        """The features of images with each of some sets off; what comes before the layer is run once for all."""

        def measure(shard: Sequence[int]) -> dict[str, Tensor]:
            parts = self._prefixes(shard)
            return {name: torch.from_numpy(self._features(parts, units)) for name, units in sets.items()}

        identity = {**self.identity, "sets": {name: list(units) for name, units in sets.items()}}
        return tabulate(seeds, measure, identity, stage="test", state=state, progress=progress)

    def _prefixes(self, seeds: Sequence[int]) -> list[Prefix]:
        """The runs of some images up to the layer."""
        return [prefix for _, prefix in in_batches(seeds, BATCH, partial(Prefix.of, self.generator, self.layer))]

    def _features(self, prefixes: Sequence[Prefix], off: Sequence[int]) -> Float[np.ndarray, "images features"]:
        interventions = (Intervention.off(off),) if off else ()
        return torch.cat([self.space.vectors(prefix.images(*interventions)) for prefix in prefixes]).numpy()

    def _promising(self, prefixes: Sequence[Prefix], taken: Sequence[int], features: np.ndarray) -> list[int]:
        slopes = self.slopes(prefixes, taken, features)
        return [unit for unit in slopes.argsort(stable=True).tolist() if slopes[unit] < 0]

    def _best(
        self, prefixes: Sequence[Prefix], taken: tuple[int, ...], candidates: Sequence[int]
    ) -> tuple[Step, np.ndarray] | None:
        """The step with the least distance, and the features then; None without candidates."""
        tried = [(units, self._features(prefixes, units)) for units in ((*taken, unit) for unit in candidates)]
        found = [(Step(units, self.distance(features)), features) for units, features in tried]
        return min(found, key=lambda each: each[0].distance, default=None)


def outcomes(
    tested: Table, sets: Mapping[str, Sequence[int]], reference: Float[np.ndarray, "images features"]
) -> tuple[Interval[float], dict[str, Outcome]]:
    """What became of the distance, with intervals over images and reference images drawn anew.

    Args:
        tested: The features with each set off; the set `before` is empty.
        sets: The units of each set.
        reference: The features of the reference images.

    Returns:
        The distance before, and the outcome of every other set.
    """
    features = {name: tested[name] for name in sets}

    def measure(chosen: np.ndarray, good: np.ndarray) -> list[float]:
        moments = Moments.of(reference[good])
        distances = [moments.distance(Moments.of(each[chosen])) for each in features.values()]
        before = distances[list(features).index("before")]
        return [*distances, *(before - distance for distance in distances)]

    measured = bootstrapped(measure, (len(tested), len(reference)))
    distances = {name: measured[i].at_least(0.0) for i, name in enumerate(sets)}
    falls = {name: measured[i] for i, name in enumerate(sets, start=len(sets))}
    before = distances.pop("before")
    return before, {name: Outcome(tuple(sets[name]), each, falls[name]) for name, each in distances.items()}


def random_sets(units: int, chosen: Sequence[int], count: int, seed: int = 0) -> dict[str, tuple[int, ...]]:
    """Sets of as many other units.

    Raises:
        ValueError: There are not so many.
    """
    others = [unit for unit in range(units) if unit not in chosen]
    if len(others) < len(chosen):
        raise ValueError(f"random sets of {len(chosen)} units need as many others, the layer has {len(others)}")
    random = np.random.RandomState(seed)
    drawn = (random.choice(others, len(chosen), replace=False) for _ in range(count))
    return {f"random {number}": tuple(sorted(each.tolist())) for number, each in enumerate(drawn, start=1)}


def feature_table(
    pictures: Pictures,
    numbers: Sequence[int],
    space: FeatureSpace,
    *,
    state: Path | None = None,
    progress: bool = False,
) -> Table:
    """The features of pictures."""
    identity = {"pictures": pictures.identity, "features": space.identity}
    return tabulate(
        numbers,
        lambda shard: {"features": space.vectors(pictures.images(shard))},
        identity,
        stage="reference",
        state=state,
        progress=progress,
    )


def typical(
    features: Float[np.ndarray, "images features"], share: float = TYPICAL
) -> Float[np.ndarray, "kept features"]:
    """The images that lie closest to others: a reference where a generator's own images are all that there is.

    Artifacts are rare, so that images which have some lie apart: the distance to the fifth neighbour tells.
    """
    points = torch.from_numpy(features)
    apart = torch.cdist(points, points).kthvalue(min(KNEIGHBOUR + 1, len(points)), dim=1).values.numpy()
    return features[np.sort(np.argsort(apart, kind="stable")[: max(2, round(share * len(features)))])]


def strangest(
    features: Float[np.ndarray, "images features"], good: Float[np.ndarray, "others features"]
) -> Int64[np.ndarray, " images"]:
    """Images by how far they lie from good ones, the farthest first: where to look for what is drawn badly."""
    apart = torch.cdist(torch.from_numpy(features), torch.from_numpy(good))
    return np.argsort(-apart.kthvalue(min(KNEIGHBOUR, len(good)), dim=1).values.numpy(), kind="stable")


def _stage_of(steps: Sequence[Step]) -> Stage:
    distances = torch.tensor([step.distance for step in steps], dtype=torch.float64)
    return Stage({"units": torch.tensor(steps[-1].units, dtype=torch.int64), "distances": distances})


def _steps_of(ledger: Ledger) -> list[Step]:
    """The steps that were taken before the run was ended."""
    if STEPS not in ledger.stages:
        return []
    units, distances = (ledger.stages[STEPS].tensors[name].tolist() for name in ("units", "distances"))
    return [Step(tuple(units[:count]), distance) for count, distance in enumerate(distances)]
