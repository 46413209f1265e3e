"""The set of units that causes a concept, found by descent on how much of each unit is taken.

Source: Bau et al., "GAN Dissection" (ICLR 2019), section 3.2: α in [0, 1] for each unit is chosen so that ablating
r ← (1 - α) r removes the concept where it stands, and inserting r ← α k + (1 - α) r adds it where it does not, with a
penalty on ‖α‖². In the code of that paper the term for inserting reads the gain at the place of the image that is
ablated; here it is read where the insertion was made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from dissect.causes.blocks import Cell, block_at, enlarged
from dissect.causes.experiment import Experiment
from dissect.causes.insertion import shares_of
from dissect.causes.intervention import Prefix
from rewrite.generators.batches import batched
from rewrite.progress import in_stage

STEPS = 60
# How many places of an image are tried for the one that the concept is inserted at.
TRIED = 4


@dataclass(frozen=True)
class Descent:
    """How the search goes.

    Attributes:
        steps: Steps of Adam.
        pairs: How many images are ablated, and how many others inserted into, at each step.
        rate: Learning rate.
        penalty: The factor on ‖α‖² (λ).
    """

    steps: int = STEPS
    pairs: int = 8
    rate: float = 0.05
    penalty: float = 0.02


@dataclass(frozen=True)
class Sites:
    """Where a concept stands in some images, and where it does not stand and may be put in others.

    Attributes:
        present: Seeds and cells of images that show the concept; the cell is the middle of where they show it most.
        candidate: Seeds and cells where it does not stand, drawn from where it stands in other images.
    """

    present: tuple[tuple[int, Cell], ...]
    candidate: tuple[tuple[int, Cell], ...]


def find_sites(experiment: Experiment, concept: int, seeds: Sequence[int], side: int) -> Sites:
    """Look for places where a concept can be taken away, and for places where it can be put.

    The first half of the seeds are searched for the concept; in the second half cells are drawn as often as the concept
    stands there in the first, with a tenth more everywhere, and kept where it covers none of the block.

    Args:
        experiment: The layer, and what names the pixels.
        concept: Its number.
        seeds: The images.
        side: Side of a block, in cells.

    Raises:
        ValueError: No image shows the concept, or all show it everywhere.
    """
    half = len(seeds) // 2
    present, where = [], torch.zeros([])
    for seed, shares in _shares(experiment, concept, seeds[:half]):
        blocks = F.avg_pool2d(shares[None, None], side, stride=1)[0, 0]
        where = where + shares
        if blocks.max() > 0:
            top, left = divmod(int(blocks.argmax()), blocks.shape[1])
            present.append((seed, Cell(top + side // 2, left + side // 2)))
    name = experiment.source.concepts.names[concept]
    if not present:
        raise ValueError(f"none of {half} images shows {name}: name more samples or other concepts")
    chances = (where / where.sum() + 0.1 / where.numel()).flatten().double().numpy()
    candidate = []
    for seed, shares in _shares(experiment, concept, seeds[half:]):
        drawn = np.random.default_rng((seed, concept)).choice(len(chances), TRIED, p=chances / chances.sum())
        cells = [Cell(*divmod(int(number), shares.shape[1])) for number in drawn]
        free = [cell for cell in cells if not shares[block_at([cell], shares.shape, side)[0]].any()]
        candidate += [(seed, cell) for cell in free[:1]]
    if not candidate:
        raise ValueError(f"there is no place without {name} in {len(seeds) - half} images")
    return Sites(tuple(present), tuple(candidate))


def soft_set(
    experiment: Experiment,
    concept: int,
    values: Float[Tensor, " units"],
    sites: Sites,
    side: int,
    *,
    start: Float[Tensor, " units"] | None = None,
    how: Descent | None = None,
    progress: bool = False,
) -> Float[Tensor, " units"]:
    """How much of each unit belongs to the set that causes a concept: α, from 0 to 1.

    Args:
        experiment: A layer, and a source of concepts with a gradient.
        concept: Its number.
        values: What units are set to when they are inserted (k).
        sites: Where it is ablated and inserted.
        side: Side of a block, in cells.
        start: Where α starts; a half everywhere if left out.
        how: How far and how fast it goes.
        progress: Show a progress bar.

    Raises:
        ValueError: The source of concepts has no gradient.
    """
    how = how or Descent()
    alpha = torch.full((experiment.units,), 0.5) if start is None else start.float().clone()
    alpha = alpha.to(values.device).requires_grad_()
    optimiser = torch.optim.Adam([alpha], lr=how.rate)
    random = np.random.default_rng(concept)
    name = experiment.source.concepts.names[concept]
    for _ in in_stage(range(how.steps), f"search {name}", "step", shown=progress):
        ablated, inserted = (
            [side_of[i] for i in random.integers(len(side_of), size=how.pairs)]
            for side_of in (sites.present, sites.candidate)
        )
        with torch.enable_grad():
            left = _shown(experiment, concept, ablated, side, alpha, torch.zeros_like(values))
            gained = _shown(experiment, concept, inserted, side, alpha, values)
            loss = left - gained + how.penalty * alpha.square().sum()
        # Not `backward`, which would also fill the gradients of networks whose weights are not frozen.
        (alpha.grad,) = torch.autograd.grad(loss, alpha)
        optimiser.step()
        with torch.no_grad():
            alpha.clamp_(0, 1)
    return alpha.detach().cpu()


def _shown(
    experiment: Experiment, concept: int, where: Sequence[tuple[int, Cell]], side: int, alpha: Tensor, values: Tensor
) -> Tensor:
    """The soft share of a concept in one block of each image, after a share α of the units is set to values there."""
    seeds, cells = zip(*where, strict=True)
    with torch.no_grad():
        prefix = Prefix.of(experiment.generator, experiment.layer, seeds)
        # What fills a batch up is not looked at, but goes through the network.
        filled = [*cells, *[cells[-1]] * (len(prefix.output) - len(cells))]
    masks = block_at(filled, prefix.output.shape[2:], side).to(prefix.output.device)
    share = alpha.to(prefix.output)[:, None, None] * masks[:, None]
    moved = (1 - share) * prefix.output + share * values.to(prefix.output)[:, None, None]
    images = experiment.generator.onward(prefix.layer, prefix.cut, moved)[: prefix.count].clamp(-1, 1)
    shown = experiment.logits(images).softmax(dim=1)[:, concept]
    read = enlarged(masks[: prefix.count], shown.shape[1:])
    return (shown * read).sum() / read.sum()


def _shares(experiment: Experiment, concept: int, seeds: Sequence[int]):
    for some in batched(seeds, 16):
        prefix = experiment.prefix(some)
        labels = experiment.labels(prefix, some)
        shares = shares_of(labels, [concept], prefix.output.shape[2:])[:, 0].cpu()
        yield from zip(some, shares, strict=True)
