"""First-order estimates of the effect of every unit at once, so that only the promising ones need a pass of their own.

The estimate for a unit is -Σ r ∂A/∂r, where A is the soft area of a concept, with one pass forward through the rest of
the generator and the segmenter, and for each concept one back.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from dissect.causes.experiment import Experiment, measure_removals
from dissect.causes.paired import Paired
from rewrite.shards.work import Work
from rewrite.storage.ledger import BATCH, Ledger

# Exact effects are computed for this many units of each concept.
PROMISING = 30


def first_order(
    experiment: Experiment,
    concepts: Sequence[int],
    seeds: Sequence[int],
    *,
    ledger: Ledger | None = None,
    batch: int = BATCH,
) -> Float[Tensor, "units concepts"]:
    """Estimate how much of some concepts each unit alone carries: what would go if it were off, in soft pixels.

    Args:
        experiment: A layer, and a source of concepts with a gradient.
        concepts: Numbers of concepts.
        seeds: The images, over which the estimate is summed.
        ledger: Keeps the sums while they grow.
        batch: Images in one run.

    Raises:
        ValueError: The source of concepts has no gradient.
    """
    ledger = ledger or Ledger()
    slopes = Work(slopes_of, experiment, experiment.generator, (concepts,))
    return ledger.over("estimates", seeds, slopes, batch=batch)["estimate"]


def screened(
    estimate: Float[Tensor, "units concepts"],
    experiment: Experiment,
    seeds: Sequence[int],
    *,
    promising: int = PROMISING,
    ledger: Ledger | None = None,
) -> tuple[tuple[int, ...], Paired]:
    """The units that promise most for any concept, and their exact effects.

    Args:
        estimate: What `first_order` gives.
        experiment: Where units are switched, and what names the pixels.
        seeds: The images.
        promising: How many units of each concept are computed exactly.
        ledger: Keeps the sums while they grow.
    """
    best = estimate.argsort(dim=0, descending=True, stable=True)[:promising]
    units = tuple(sorted(set(best.flatten().tolist())))
    return units, measure_removals(experiment, seeds, units, ledger=ledger)


@torch.enable_grad()
def slopes_of(
    experiment: Experiment, seeds: tuple[int, ...], concepts: Sequence[int]
) -> dict[str, Float[Tensor, "units concepts"]]:
    """For each unit Σ r ∂A/∂r over some images, which is the slope of A along the unit's own strength."""
    prefix = experiment.prefix(seeds)
    strength = torch.ones(1, prefix.output.shape[1], 1, 1, device=prefix.output.device, requires_grad=True)
    images = experiment.generator.onward(prefix.layer, prefix.cut, prefix.output * strength)[: prefix.count]
    areas = experiment.logits(images.clamp(-1, 1)).softmax(dim=1).sum(dim=(0, 2, 3))
    slopes = [torch.autograd.grad(areas[concept], strength, retain_graph=True)[0].flatten() for concept in concepts]
    return {"estimate": torch.stack(slopes, dim=1).cpu().double()}
