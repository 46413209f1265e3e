"""Where a concept can be inserted: by what stands there, and how far the insertion survives in the layers after it.

Source: Bau et al., "GAN Dissection" (ICLR 2019), section 4.4, where doors could be put on buildings and not in the sky,
because layers after the insertion suppress it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int16
from torch import Tensor
from torch.nn import functional as F

from dissect.causes.blocks import Cell, block_at, cells_of, enlarged
from dissect.causes.experiment import Experiment, areas_of
from dissect.causes.intervention import Intervention, Prefix
from dissect.causes.paired import Paired
from rewrite.reports.interval import Interval
from rewrite.shards.work import Work
from rewrite.storage.ledger import BATCH, Ledger

# An insertion worked if the concept gains this share of the block, and was refused if it gains nothing.
WORKED = 0.25
IMAGE = "image"


@dataclass(frozen=True)
class Acceptance:
    """What became of insertions into blocks, by the concept in the middle of the block before.

    Attributes:
        concept: What was inserted.
        effect: Pixels of it with the units on, less those with them off: summed over the insertions of each image,
            against the number of insertions.
        added: Pixels with the units on, less those of the image as it is, likewise.
        images: In how many images each concept was met.
        area: The mean area of the inserted concept in an image as it is, in pixels; NaN if none shows it.
        block: How many pixels a block has.
        change: For each later layer Σ|after - before| and Σ|before| in the block, by concept, and then for insertions
            that worked and for those that were refused.
        outcomes: How many insertions worked, and how many were refused.
    """

    concept: int
    effect: Paired
    added: Paired
    images: Float[Tensor, " concepts"]
    area: float
    block: int
    change: Mapping[str, Float[Tensor, "2 groups"]]
    outcomes: tuple[int, int]

    def normalised(self, standing: int) -> Interval[float]:
        """The average causal effect where a concept stands, in shares of the inserted concept's mean area.

        NaN where the concept was not met.
        """
        return self.effect.ratio[standing] / self.area

    def gained(self, standing: int) -> Interval[float]:
        """The share of the block that an insertion adds to what the image shows as it is, likewise."""
        return self.added.ratio[standing] / self.block

    def count(self, standing: int) -> int:
        """How many insertions were made where a concept stands."""
        return int(self.effect.sums[3, standing])

    def survival(self) -> dict[str, list[float]]:
        """For each later layer the change in shares of what it was, in the groups of `change`; NaN for none."""
        return {name: (sums[0] / sums[1]).tolist() for name, sums in self.change.items()}


def measure_acceptance(
    experiment: Experiment,
    concept: int,
    inserted: Intervention,
    seeds: Sequence[int],
    *,
    side: int,
    positions: int | None = None,
    ledger: Ledger | None = None,
    batch: int = BATCH,
) -> Acceptance:
    """Insert a set of units in blocks all over some images, one block at a time.

    Args:
        experiment: The layer, and what names the pixels.
        concept: The number of what is inserted.
        inserted: The units that are set, and what each is set to.
        seeds: The images.
        side: Side of a block, in cells.
        positions: How many blocks of each image are tried, drawn at random; all if left out.
        ledger: Keeps the sums while they grow.
        batch: Images in one run.

    Raises:
        ValueError: The grid has no such block or not so many, or the layer has no such unit.
    """
    ledger = ledger or Ledger()
    stage = f"context {experiment.source.concepts.names[concept]}"
    inserting = Work(inserted_sums, experiment, experiment.generator, (concept, inserted, side, positions))
    sums = ledger.over(stage, seeds, inserting, batch=batch)
    layers = [name.removeprefix("change.") for name in sums if name.startswith("change.")]
    order = {name: number for number, name in enumerate((*experiment.generator.layers, IMAGE))}
    return Acceptance(
        concept=concept,
        effect=Paired(sums["effect"]),
        added=Paired(sums["added"]),
        images=sums["images"],
        area=float(sums["shown"] / sums["effect"][0, 0]) or float("nan"),
        block=int(sums["block"] / sums["effect"][0, 0]),
        change={name: sums[f"change.{name}"] for name in sorted(layers, key=order.__getitem__)},
        outcomes=tuple(sums["outcomes"].long().tolist()),
    )


def inserted_sums(
    experiment: Experiment,
    seeds: tuple[int, ...],
    concept: int,
    inserted: Intervention,
    side: int,
    positions: int | None,
) -> dict[str, Tensor]:
    """The sums of a batch, over all blocks. See `measure_acceptance`."""
    return _Inserting(experiment, concept, seeds, side).sums(inserted, positions)


class _Inserting:
    """The insertions into one batch of images."""

    def __init__(self, experiment: Experiment, concept: int, seeds: tuple[int, ...], side: int):
        self.experiment, self.concept, self.seeds, self.side = experiment, concept, seeds, side
        self.prefix = experiment.prefix(seeds)
        self.grid = tuple(self.prefix.output.shape[2:])
        with _recorded(self.prefix) as self.before:
            images = self.prefix.images()
        self.before[IMAGE] = images
        self.as_is = experiment.source.label(images, seeds)

    def sums(self, on: Intervention, positions: int | None) -> dict[str, Tensor]:
        """The sums over all blocks."""
        off = Intervention.off(on.units)
        images, concepts = len(self.seeds), len(self.experiment.source.concepts)
        effect, added, met = (torch.zeros(images, concepts, dtype=torch.long) for _ in range(3))
        change = {name: torch.zeros(2, concepts + 2, dtype=torch.float64) for name in self.before}
        outcomes, read = torch.zeros(2, dtype=torch.float64), torch.zeros(0)
        cells = [cells_of(seed, self.grid, positions) for seed in self.seeds]
        for chosen in zip(*cells, strict=True):
            where = block_at(chosen, self.grid, self.side)
            read = enlarged(where, self.as_is.shape[2:])
            standing = self._standing(chosen, concepts)
            inserted, moved = self._run(on, where)
            gained = self._area(inserted, read)
            effect += standing * (gained - self._area(self._run(off, where)[0], read))[:, None]
            gained = gained - self._area(self.as_is, read)
            added += standing * gained[:, None]
            met += standing
            result = torch.stack([gained >= WORKED * read.sum(dim=(1, 2)).cpu(), gained <= 0], dim=1)
            outcomes += result.double().sum(dim=0)
            groups = torch.cat([standing, result], dim=1).double()
            for name, total in change.items():
                total += _change(self.before[name], moved[name], where) @ groups
        shown = areas_of(self.as_is, concepts)[:, self.concept].sum()
        return {
            "effect": Paired.of(effect, met).sums,
            "added": Paired.of(added, met).sums,
            "images": (met > 0).double().sum(dim=0),
            "shown": shown.double(),
            "block": read.sum().cpu().double(),
            "outcomes": outcomes,
            **{f"change.{name}": sums for name, sums in change.items()},
        }

    def _run(self, intervention: Intervention, where: Tensor) -> tuple[Int16[Tensor, "n l h w"], dict[str, Tensor]]:
        filled = torch.cat([where, where[-1:].expand(len(self.prefix.output) - len(where), -1, -1)])
        with _recorded(self.prefix) as found:
            images = self.prefix.images(replace(intervention, mask=filled.float()))
        found[IMAGE] = images
        return self.experiment.source.label(images, self.seeds), found

    def _area(self, labels: Tensor, read: Tensor) -> Tensor:
        return areas_of(labels, len(self.experiment.source.concepts), read)[:, self.concept]

    def _standing(self, cells: Sequence[Cell], concepts: int) -> Tensor:
        """Which concepts stand in the middle of each image's cell, as zeros and ones."""
        height, width = self.as_is.shape[2:]
        rows = [int((cell.row + 0.5) * height / self.grid[0]) for cell in cells]
        columns = [int((cell.column + 0.5) * width / self.grid[1]) for cell in cells]
        seen = self.as_is.cpu()[torch.arange(len(cells)), :, rows, columns].long()
        return F.one_hot(seen + 1, concepts + 1).amax(dim=1)[:, 1:]


@contextmanager
def _recorded(prefix: Prefix) -> Iterator[dict[str, Tensor]]:
    """What the layers after the cut do while images are drawn, where a layer is a module of its own."""
    layers, found = list(prefix.generator.layers), {}

    def keeping(name: str):
        def keep(module: torch.nn.Module, inputs: tuple, output: Tensor) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                found[name] = output.detach()[: prefix.count].clone()

        return keep

    with ExitStack() as stack:
        for name in layers[layers.index(prefix.layer) + 1 :]:
            layer = prefix.generator.layers[name]
            if layer.outputs > 4:
                module = prefix.generator.module.get_submodule(layer.weight.rpartition(".")[0])
                stack.callback(module.register_forward_hook(keeping(name)).remove)
        yield found


def _change(
    before: Float[Tensor, "images units height width"],
    after: Float[Tensor, "images units height width"],
    where: Bool[Tensor, "images rows columns"],
) -> Float[Tensor, "2 images"]:
    """For each image Σ|after - before| and Σ|before| over the pixels of its block."""
    over = enlarged(where, before.shape[2:]).to(before.device)[:, None]
    sums = [((each * over).abs().double().sum(dim=(1, 2, 3))) for each in (after - before, before)]
    return torch.stack(sums).cpu()
