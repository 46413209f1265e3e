"""Which units draw a concept, in order: by effect and by search; and how many of them are enough."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from dissect.causes.experiment import Experiment
from dissect.causes.paired import Paired
from dissect.units.dissection import Dissection
from rewrite.generators.classes import marked

# A set is as large as it needs to be for this share of the best effect.
ENOUGH = 0.9
POINTS = (1, 2, 4, 6, 8, 12, 16, 20)


def by_effect(effects: Paired, concept: int, units: Sequence[int]) -> tuple[int, ...]:
    """Units by how much of a concept goes with each alone; `units` are those of the contrasts, in their order."""
    order = _descending(effects.sums[1, :, concept].numpy())
    return tuple(units[place] for place in order)


def by_share(alpha: Float[Tensor, " units"]) -> tuple[int, ...]:
    """All units, the one with the greatest share in a soft set first."""
    return _descending(alpha.numpy())


def effective_size(sizes: Sequence[int], effects: Sequence[float], enough: float = ENOUGH) -> int | None:
    """The smallest size that reaches a share of the best effect; None if no size has an effect.

    Args:
        sizes: Numbers of units.
        effects: What sets of these sizes do.
        enough: The share.
    """
    best = max(effects)
    if not best > 0:
        return None
    return next(size for size, effect in zip(sizes, effects, strict=True) if effect >= enough * best)


def check_dissection(dissection: Dissection, experiment: Experiment) -> None:
    """Refuse a dissection of another model, or one with other concepts.

    Raises:
        ValueError: It is of another model, truncation, or source of concepts.
    """
    wanted = {
        "model": experiment.generator.fingerprint,
        "truncation": experiment.generator.truncation,
        "class": marked(experiment.generator.label).get("class"),
        "source": experiment.source.identity,
    }
    other = [name for name, value in wanted.items() if dissection.identity.get(name) != value]
    if other or len(dissection.levels) != experiment.units:
        what = other[0] if other else "layer"
        raise ValueError(f"the dissection is of another {what} than the effects: dissect this one with rewrite units")


def _descending(values: np.ndarray) -> tuple[int, ...]:
    return tuple(np.argsort(-values, kind="stable").tolist())
