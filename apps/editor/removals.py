"""What is lost of the concepts with each unit of a layer off: estimated, then measured, once for all sessions.

`Removals.of(model, layer)` are the removals known so far; `measuring` adds to them, step by step, and other sessions
find what is there already. A page shows `figures` and `explanation`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor

from apps.editor.model import Model
from apps.editor.units import dissection
from apps.editor.work import Work
from dissect.causes.experiment import Experiment, areas_of, measure_removals
from dissect.causes.paired import Paired
from dissect.causes.screen import first_order
from dissect.units.dissection import Dissection
from rewrite.generators.batches import batched
from rewrite.reports.interval import Interval

# In the built-in generator, first-order estimates of 16 images rank units as exact effects of these images do: against
# exact effects of 48 others by 0.88 and 0.85 (b16.conv1), 0.89 and 0.90 (b32.conv0). They take a tenth of the time, and
# come first.
IMAGES, BATCH = 16, 4
# Concepts, and units, between two checks of Stop: about two seconds of one core in the built-in generator.
CONCEPTS, UNITS = 6, 6
# Of a wider layer, only the most promising units are switched off one by one.
MOST_EXACT = 128

# For each unit the number of a concept, or None if the source does not know the unit's own.
Wanted = Sequence[int | None]


class Step(NamedTuple):
    """The progress of a measurement.

    Attributes:
        share: 0 to 1.
        text: What is done next.
        news: Whether there are new figures.
    """

    share: float
    text: str
    news: bool = False


@dataclass
class Removals:
    """The known removals of the units of one layer.

    Attributes:
        experiment: The layer and the source of concepts.
        units: Its dissection.
        sums: Pixels of each concept that are lost with a unit off, over all images, by unit.
        slopes: First-order estimates of that for all units, over the same images, by concept.
        areas: Pixels of each concept in all images; None before anything was estimated.
    """

    experiment: Experiment
    units: Dissection
    sums: dict[int, Paired] = field(default_factory=dict)
    slopes: dict[int, Float[Tensor, " units"]] = field(default_factory=dict)
    areas: Int64[Tensor, " concepts"] | None = None

    @classmethod
    def of(cls, model: Model, layer: str) -> "Removals":
        """The known removals of a layer.

        Raises:
            LookupError: The layer is not dissected.
            ValueError: The model has no source of concepts.
        """
        one, source, generator = dissection(model, layer), model.source, model.generator
        if source is None:
            raise ValueError("nothing names the pixels of this model's images, so that no effect can be seen")
        return model.shared(("effects", layer), lambda: cls(Experiment(generator, layer, source), one), runs=False)

    def wanted(self, concept: str) -> Wanted:
        """The concept that each unit's effect is measured on: the named one, or the unit's own if the name is empty.

        Raises:
            LookupError: The source does not know the concept.
        """
        known, names = self.experiment.source.concepts, self.units.concepts.names
        if concept:
            return (known.number(concept),) * self.experiment.units
        own = [names[best] for best in self.units.scores.best.tolist()]
        return tuple(known.number(name) if name in known.names else None for name in own)

    def measuring(self, work: Work, wanted: Wanted) -> Iterator[Step]:
        """Measure what is not known yet: first estimates of all units, then the effects of units one by one.

        Raises:
            Stopped: The user pressed Stop; what was measured so far is kept.
        """
        if self.experiment.differentiable and len(self.sums) < self.experiment.units:
            yield from self._estimating(work, wanted)
        chosen = self._chosen(wanted)
        for units in batched([unit for unit in chosen if unit not in self.sums], UNITS):
            work.check()
            done = sum(unit in self.sums for unit in chosen)
            yield Step(done / len(chosen), f"{done} of {len(chosen)} units were switched off in {IMAGES} images")
            with work.running():
                sums = measure_removals(self.experiment, range(IMAGES), units, batch=BATCH).sums
            self.sums = self.sums | {unit: Paired(sums[:, row]) for row, unit in enumerate(units)}
            yield Step((done + len(units)) / len(chosen), "", news=True)

    def figures(self, wanted: Wanted) -> list[dict[str, Any] | None]:
        """The share of a concept's pixels that is lost with each unit off, 0 to 1.

        Measured shares have a 95 % interval, estimates have none. None if nothing is known, or no image shows the
        concept.
        """
        return [None if concept is None else self._figure(unit, concept) for unit, concept in enumerate(wanted)]

    @property
    def explanation(self) -> str:
        """How the figures were made; empty if there are none."""
        exact, count = len(self.sums), self.experiment.units
        if not (exact or self.slopes):
            return ""
        how = "what came or went of the concept’s pixels with the unit off"
        if exact == count:
            return f"Exact, on {IMAGES} images: {how}."
        first = f", and exact for the {exact} units that promise most" if exact else ""
        return f"On {IMAGES} images, {how}: estimated to first order (≈){first}."

    def _figure(self, unit: int, concept: int) -> dict[str, Any] | None:
        if unit in self.sums:
            found = self.sums[unit].ratio[concept]
        elif concept in self.slopes and self.areas is not None and self.areas[concept]:
            found = Interval.unknown(float(self.slopes[concept][unit] / self.areas[concept]))
        else:
            return None
        share, low, high = (each if each is None else round(each, 4) for each in found.document().values())
        name = self.experiment.source.concepts.names[concept]
        return None if share is None else {"concept": name, "share": share, "low": low, "high": high}

    def _estimating(self, work: Work, wanted: Wanted) -> Iterator[Step]:
        images = tuple(range(IMAGES))
        for concepts in batched(sorted({each for each in wanted if each is not None} - set(self.slopes)), CONCEPTS):
            work.check()
            yield Step(0.0, "Estimating the effects of all units")
            with work.running():
                found = first_order(self.experiment, concepts, images, batch=BATCH)
                if self.areas is None:
                    labels = self.experiment.labels(self.experiment.prefix(images), images)
                    self.areas = areas_of(labels, len(self.experiment.source.concepts)).sum(dim=0)
            self.slopes = self.slopes | dict(zip(concepts, found.T, strict=True))
            yield Step(0.0, "", news=True)

    def _chosen(self, wanted: Wanted) -> list[int]:
        """The units to switch off one by one, the most promising for their concept first."""
        promise = [0.0 if concept is None else self._promise(unit, concept) for unit, concept in enumerate(wanted)]
        return np.argsort(-np.array(promise), kind="stable")[:MOST_EXACT].tolist()

    def _promise(self, unit: int, concept: int) -> float:
        """The estimate relative to the best unit's; without estimates, the agreement (IoU)."""
        if concept in self.slopes:
            slopes = self.slopes[concept]
            return float(slopes[unit] / slopes.abs().max().clamp(min=1e-12))
        name, names = self.experiment.source.concepts.names[concept], self.units.concepts.names
        return float(self.units.scores.iou[unit, names.index(name)]) if name in names else 0.0
