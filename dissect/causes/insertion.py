"""What a unit is set to when a concept is inserted: the mean of what it does where the concept stands."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int16
from torch import Tensor
from torch.nn import functional as F

from dissect.causes.experiment import Experiment
from rewrite.shards.work import Work
from rewrite.storage.ledger import BATCH, Ledger


def insertion_values(
    experiment: Experiment,
    concepts: Sequence[int],
    seeds: Sequence[int],
    *,
    ledger: Ledger | None = None,
    batch: int = BATCH,
) -> Float[Tensor, "concepts units"]:
    """The mean activation of every unit over the cells that show a concept, weighted by how much of a cell shows it.

    That is what the published search inserts.

    Args:
        experiment: The layer, and what names the pixels.
        concepts: Numbers of concepts.
        seeds: The images.
        ledger: Keeps the sums while they grow.
        batch: Images in one run.

    Raises:
        ValueError: No image shows one of the concepts.
    """
    ledger = ledger or Ledger()
    sums = ledger.over("values", seeds, Work(weighted, experiment, experiment.generator, (concepts,)), batch=batch)
    for concept, share in zip(concepts, sums["share"].tolist(), strict=True):
        if not share:
            name = experiment.source.concepts.names[concept]
            raise ValueError(f"none of {len(seeds)} images shows {name}: name more samples or other concepts")
    return sums["activation"] / sums["share"][:, None]


def weighted(experiment: Experiment, seeds: tuple[int, ...], concepts: Sequence[int]) -> dict[str, Tensor]:
    """Sums over some images: activations where each concept stands, and how much of cells shows it."""
    prefix = experiment.prefix(seeds)
    output = prefix.output[: prefix.count].double()
    shares = shares_of(experiment.labels(prefix, seeds), concepts, output.shape[2:]).to(output)
    return {
        "activation": torch.einsum("ncxy,nuxy->cu", shares, output).cpu(),
        "share": shares.sum(dim=(0, 2, 3)).cpu(),
    }


def shares_of(
    labels: Int16[Tensor, "images layers height width"], concepts: Sequence[int], grid: Sequence[int]
) -> Float[Tensor, "images concepts rows columns"]:
    """How much of each cell of a grid shows each concept."""
    shown = [(labels == concept).any(dim=1, keepdim=True).float() for concept in concepts]
    return torch.cat([F.adaptive_avg_pool2d(each, (grid[0], grid[1])) for each in shown], dim=1)
