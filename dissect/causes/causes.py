"""Which units of a layer cause which concepts: rankings on some images, what sets of them do on others, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from dissect.causes.acceptance import Acceptance, measure_acceptance
from dissect.causes.blocks import block_at, cells_of, usual_side
from dissect.causes.brush import best_units
from dissect.causes.experiment import Contrast, Experiment, measure_contrasts, measure_removals
from dissect.causes.insertion import insertion_values
from dissect.causes.intervention import Intervention
from dissect.causes.paired import Paired
from dissect.causes.ranking import POINTS, by_effect, by_share, effective_size
from dissect.causes.screen import first_order, screened
from dissect.causes.soft_set import STEPS, Descent, find_sites, soft_set
from dissect.units.dissection import Dissection
from rewrite.reports.interval import Interval
from rewrite.storage.ledger import Ledger

# Rankings see images from seed 0 on, as dissections do; what sets do is measured on others, and where they can be
# inserted on yet others.
FIRST_VALIDATION, FIRST_ACCEPTANCE = 1_000_000_000, 2_000_000_000
EFFECT, IOU, SEARCH, GIVEN = "effect", "IoU", "search", "given"


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        samples: Images for the curves, and as many for where sets can be inserted.
        training: Images for insertion values, rankings and the search.
        positions: Blocks of each image that a set is inserted in; 0 leaves that out.
        side: Side of a block in cells; an eighth of the grid if left out.
        promising: Units of each concept that are computed exactly after a first-order screen; all without a screen if
            left out.
        steps: Steps of the search for a soft set; 0 leaves it out.
        given: Units of a set to measure beside the rankings, in their order.
    """

    samples: int = 100
    training: int = 100
    positions: int = 8
    side: int | None = None
    promising: int | None = None
    steps: int = STEPS
    given: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("samples", 2), ("training", 4), ("positions", 0), ("steps", 0), ("promising", 1)):
            given = getattr(self, name)
            if given is not None and given < least:
                raise ValueError(f"{name} must be at least {least}, got {given}")

    def stages(self, concepts: Sequence[str]) -> list[str]:
        """What is measured, in order, as progress bars name it."""
        found = ["values", "units" if self.promising is None else "estimates"]
        found += ["units"] if self.promising is not None else []
        found += [f"search {name}" for name in concepts] if self.steps else []
        return [*found, "sets", *([f"context {name}" for name in concepts] if self.positions else [])]

    def images(self, units: int, concepts: int, rankings: int) -> int:
        """About how many images are drawn from the layer on and named: a pass back counts as two.

        Args:
            units: How many units the layer has.
            concepts: Of how many concepts causes are sought.
            rankings: How many rankings there are of each.
        """
        alone = units if self.promising is None else min(units, self.promising * concepts) + 1 + 2 * concepts
        search = concepts * self.steps * 2 * Descent().pairs * 3
        # Of each set of a curve the images without it, and those with a block in which it is on and off.
        sets = concepts * rankings * len(POINTS) * 3
        context = concepts * self.positions * 2
        return (1 + alone) * self.training + search + (sets + context) * self.samples


@dataclass(frozen=True)
class Curve:
    """What the first units of a ranking do together.

    Attributes:
        units: The ranking, the first unit first.
        sizes: Numbers of units.
        removed: For each size, the share of the concept that goes with these units.
        effect: For each size, the normalised average causal effect in a block.
    """

    units: tuple[int, ...]
    sizes: tuple[int, ...]
    removed: tuple[Interval[float], ...]
    effect: tuple[Interval[float], ...]

    @property
    def size(self) -> int | None:
        """How many units are enough."""
        return effective_size(self.sizes, [each.value for each in self.removed])

    @property
    def most(self) -> float:
        """The greatest share of the concept that a set of these removes."""
        return max(each.value for each in self.removed)


@dataclass(frozen=True)
class Cause:
    """What is known of the units behind one concept.

    Attributes:
        concept: Its name.
        values: What each unit is set to when the concept is inserted.
        curves: What sets do, by ranking.
        set: The units that are enough, from the ranking whose sets remove most.
        ranking: That ranking.
        share: The soft set, where it was searched.
        estimate: First-order estimates, where units were screened.
        acceptance: Where the set can be inserted.
    """

    concept: str
    values: Float[Tensor, " units"]
    curves: Mapping[str, Curve]
    set: tuple[int, ...]
    ranking: str
    share: Float[Tensor, " units"] | None = None
    estimate: Float[Tensor, " units"] | None = None
    acceptance: Acceptance | None = None


@dataclass(frozen=True)
class Causes:
    """What is known of the units of a layer.

    Attributes:
        plan: How much was measured.
        side: Side of a block in cells.
        units: The units whose effect alone was computed exactly.
        alone: The effects of these.
        causes: One for each concept.
    """

    plan: Plan
    side: int
    units: tuple[int, ...]
    alone: Paired
    causes: tuple[Cause, ...] = field(default=())


def find_causes(
    experiment: Experiment,
    concepts: Sequence[str],
    plan: Plan | None = None,
    *,
    dissection: Dissection | None = None,
    ledger: Ledger | None = None,
) -> Causes:
    """Rank the units of a layer by what they do to some concepts, and measure sets of the first of them.

    Args:
        experiment: The layer, and what names the pixels.
        concepts: Names of concepts.
        plan: How much to measure.
        dissection: Of the same layer, for the ranking by IoU.
        ledger: Keeps all sums while they grow.

    Raises:
        LookupError: The source does not know one of the concepts.
        ValueError: A number is out of range, no image shows a concept, or the layer has no such unit.
    """
    return _Study(experiment, concepts, plan or Plan(), dissection, ledger or Ledger()).causes()


class _Study:
    """One run: what its steps share."""

    def __init__(
        self, experiment: Experiment, concepts: Sequence[str], plan: Plan, dissection: Dissection | None, ledger: Ledger
    ):
        self.experiment, self.concepts, self.plan = experiment, concepts, plan
        self.dissection, self.ledger = dissection, ledger
        self.numbers = [experiment.source.concepts.number(name) for name in concepts]
        self.training = range(plan.training)
        grid = experiment.prefix((0,)).output.shape[2:]
        self.side = usual_side(grid) if plan.side is None else plan.side
        # What the grid does not have is refused before anything is measured.
        block_at(cells_of(0, grid, plan.positions or None)[:1], grid, self.side)
        self.values = insertion_values(experiment, self.numbers, self.training, ledger=ledger).float()

    def causes(self) -> Causes:
        """All steps."""
        estimate, units, alone = self._alone()
        shares = [self._searched(row) for row in range(len(self.concepts))]
        curves = self._curves([self._orders(row, units, alone, share) for row, share in enumerate(shares)])
        causes = []
        for row, (name, found) in enumerate(zip(self.concepts, curves, strict=True)):
            best = max(found, key=lambda ranking: found[ranking].most)
            chosen = found[best].units[: found[best].size or 1]
            estimated = None if estimate is None else estimate[:, row]
            acceptance = self._acceptance(row, chosen) if self.plan.positions else None
            causes.append(Cause(name, self.values[row], found, chosen, best, shares[row], estimated, acceptance))
        return Causes(self.plan, self.side, units, alone, tuple(causes))

    def _alone(self) -> tuple[Tensor | None, tuple[int, ...], Paired]:
        """First-order estimates where they were asked for, and the units whose effects alone are known exactly."""
        if self.plan.promising is None:
            effects = measure_removals(self.experiment, self.training, ledger=self.ledger)
            return None, tuple(range(self.experiment.units)), effects
        estimate = first_order(self.experiment, self.numbers, self.training, ledger=self.ledger)
        how = {"promising": self.plan.promising, "ledger": self.ledger}
        return estimate, *screened(estimate, self.experiment, self.training, **how)

    def _searched(self, row: int) -> Tensor | None:
        """The soft set of a concept, where there is one to be had."""
        if not (self.plan.steps and self.experiment.differentiable):
            return None

        def search() -> dict[str, Tensor]:
            sites = find_sites(self.experiment, self.numbers[row], self.training, self.side)
            how = {"how": Descent(self.plan.steps), "progress": self.ledger.progress}
            return {"alpha": soft_set(self.experiment, self.numbers[row], self.values[row], sites, self.side, **how)}

        return self.ledger.once(f"search {self.concepts[row]}", search)["alpha"]

    def _orders(
        self, row: int, units: tuple[int, ...], alone: Paired, share: Tensor | None
    ) -> dict[str, tuple[int, ...]]:
        """The rankings of a concept."""
        found = {EFFECT: by_effect(alone, self.numbers[row], units)}
        if self.dissection is not None:
            found[IOU] = best_units(self.dissection, self.concepts[row], self.experiment.units)
        if share is not None:
            found[SEARCH] = by_share(share)
        if self.plan.given:
            found[GIVEN] = self.plan.given
        return found

    def _curves(self, orders: Sequence[Mapping[str, tuple[int, ...]]]) -> list[dict[str, Curve]]:
        """What the first units of each ranking do, in one run over the images; equal sets are run once."""
        contrasts: dict[tuple, Contrast] = {}

        def asked(row: int, order: Sequence[int], size: int) -> tuple[tuple, tuple]:
            chosen = tuple(sorted(order[:size]))
            removal, insertion = ("removal", chosen), ("insertion", row, chosen)
            contrasts.setdefault(removal, Contrast.removal(chosen))
            contrasts.setdefault(insertion, Contrast.insertion(chosen, self._levels(row, chosen), self.side))
            return removal, insertion

        wanted = [
            {name: {size: asked(row, order, size) for size in _sizes(order)} for name, order in ranked.items()}
            for row, ranked in enumerate(orders)
        ]
        seeds = range(FIRST_VALIDATION, FIRST_VALIDATION + self.plan.samples)
        effects = measure_contrasts(self.experiment, list(contrasts.values()), seeds, ledger=self.ledger, stage="sets")
        place = {key: number for number, key in enumerate(contrasts)}

        def curve(row: int, order: tuple[int, ...], asked: Mapping[int, tuple]) -> Curve:
            removed, effect = (
                tuple(effects.ratio[place[keys[kind]], self.numbers[row]] for keys in asked.values()) for kind in (0, 1)
            )
            return Curve(order, tuple(asked), removed, effect)

        return [
            {name: curve(row, orders[row][name], asked) for name, asked in ranked.items()}
            for row, ranked in enumerate(wanted)
        ]

    def _acceptance(self, row: int, units: Sequence[int]) -> Acceptance:
        return measure_acceptance(
            self.experiment,
            self.numbers[row],
            Intervention(tuple(units), tuple(self._levels(row, units))),
            range(FIRST_ACCEPTANCE, FIRST_ACCEPTANCE + self.plan.samples),
            side=self.side,
            positions=self.plan.positions,
            ledger=self.ledger,
        )

    def _levels(self, row: int, units: Sequence[int]) -> list[float]:
        return [float(self.values[row, unit]) for unit in units]


def _sizes(order: Sequence[int]) -> tuple[int, ...]:
    """The points of a curve over a ranking; a shorter one ends with all of its units."""
    inside = [size for size in POINTS if size <= len(order)]
    return tuple(dict.fromkeys([*inside, *([len(order)] if len(order) < POINTS[-1] else [])]))
