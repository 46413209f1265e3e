"""What attacked pictures do: what they are named, and how the peaks of units move.

As in Bau et al. (PNAS 2020): the units that matter for the true class are expected to fall, and those that matter for
the class that the attack aims at to rise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dissect.adversarial.attack import Attack
from dissect.roles.detectors import peaks_of
from dissect.sources.classes import ClassedPictures
from dissect.specialties.responses import joined
from rewrite.classifiers.classifier import Classifier
from rewrite.reports.interval import Interval, mean_of
from rewrite.storage.ledger import Ledger, Tensors

KIND = "adversarial"
STAGE = "attack"
GROUPS = ("true", "target", "others")
BATCH = 32


@dataclass(frozen=True)
class Confusion:
    """What an attack did.

    Attributes:
        numbers: The pictures.
        truth: The number of the class of each.
        aim: The class that each was to be named; -1 where any other would do.
        before, after: What each was named, without the attack and with it.
        peaks, peaks_after: The peak of each unit, without the attack and with it.
    """

    numbers: Sequence[int]
    truth: Int64[Tensor, " pictures"]
    aim: Int64[Tensor, " pictures"]
    before: Int64[Tensor, " pictures"]
    after: Int64[Tensor, " pictures"]
    peaks: Float[Tensor, "pictures units"]
    peaks_after: Float[Tensor, "pictures units"]

    @property
    def target(self) -> Int64[Tensor, " pictures"]:
        """What each picture was to be named; where any other class would do, what it is named in the end."""
        return torch.where(self.aim < 0, self.after, self.aim)

    @property
    def reached(self) -> Bool[Tensor, " pictures"]:
        """Which pictures are named what the attack aims at, and were not before."""
        return (self.after == self.target) & (self.before == self.truth) & (self.after != self.truth)

    def moved(self, best: Mapping[int, Sequence[int]]) -> dict[str, Interval[float]]:
        """By how many deviations the peaks moved, over the pictures that the attack reached.

        The deviation of a unit is that of its peaks over pictures as they are. For each picture, the mean over the best
        units of its own class, of the class that it is named, and over all others.

        Args:
            best: The units that matter most for each class.
        """
        deviation = self.peaks.std(dim=0).clamp(min=1e-12)
        change = ((self.peaks_after - self.peaks) / deviation).double()
        live = self.peaks.std(dim=0) > 0
        rows: dict[str, list[float]] = {group: [] for group in GROUPS}
        for place in torch.nonzero(self.reached)[:, 0].tolist():
            true, target = (set(best[int(which[place])]) for which in (self.truth, self.target))
            others = torch.tensor([bool(live[unit]) and unit not in true | target for unit in range(change.shape[1])])
            # A unit that matters for both says nothing of either.
            for group, units in (("true", sorted(true - target)), ("target", sorted(target - true))):
                if units:
                    rows[group].append(float(change[place, units].mean()))
            if others.any():
                rows["others"].append(float(change[place, others].mean()))
        return {group: mean_of(np.array(found)) if found else Interval.unknown(0.0) for group, found in rows.items()}


def aims_of(truth: Int64[Tensor, " pictures"], classes: Sequence[int], seed: int = 0) -> Int64[Tensor, " pictures"]:
    """For each picture another class, drawn at random.

    Raises:
        ValueError: There is no other class.
    """
    if len(classes) < 2:
        raise ValueError("an attack aims at another class, and there is only one")
    random = np.random.default_rng(seed)
    return torch.tensor([int(random.choice([each for each in classes if each != own])) for own in truth.tolist()])


def find_confusion(
    classifier: Classifier,
    part: str,
    pictures: ClassedPictures,
    numbers: Sequence[int],
    aim: Int64[Tensor, " pictures"],
    attack: Attack,
    state: Path | None = None,
) -> Confusion:
    """Attack pictures, and look at what units do.

    Args:
        classifier: The classifier.
        part: Path of any part of it that gives maps, vectors or tokens.
        pictures: Where pictures are from.
        numbers: The pictures.
        aim: The class that each is to be named; -1 for any other than its own.
        attack: How they are attacked.
        state: File that a run which was stopped goes on from; nothing is kept if left out.

    Raises:
        FileNotFoundError: The attack is of a package that is not installed.
        LookupError: The classifier has no such part.
    """
    identity = {
        "model": classifier.fingerprint,
        "part": part,
        "pictures": pictures.identity,
        "numbers": list(map(int, numbers)),
        "aim": aim.tolist(),
        "attack": f"{attack.method} {attack.norm} {attack.radius!r} {attack.steps}",
    }
    truth = pictures.classes(numbers)

    def measure(places: Sequence[int]) -> Tensors:
        chosen = list(places)
        shown = [numbers[place] for place in chosen]
        images = pictures.images(shown)
        changed = attacked(classifier, attack, images, truth[chosen], aim[chosen], tuple(shown))
        found = {}
        with torch.no_grad():
            for when, given in (("", images), ("_after", changed)):
                found[f"peaks{when}"] = peaks_of(classifier.stop(part, given).output).float().cpu()
                found["after" if when else "before"] = classifier.predict(given)
        return found

    ledger = Ledger(state, identity, KIND, progress=True)
    found = ledger.over(STAGE, range(len(numbers)), measure, join=joined, batch=BATCH)
    return Confusion(numbers, truth, aim, **found)


def attacked(
    classifier: Classifier,
    attack: Attack,
    images: Float[Tensor, "images 3 height width"],
    truth: Int64[Tensor, " images"],
    aim: Int64[Tensor, " images"],
    numbers: tuple[int, ...],
) -> Float[Tensor, "images 3 height width"]:
    """Images after an attack; all of them aim at a class, or none does."""
    targeted = bool((aim >= 0).all())
    return attack.on(classifier, images, aim if targeted else truth, targeted=targeted, numbers=numbers).cpu()
