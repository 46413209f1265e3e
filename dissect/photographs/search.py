"""The search for the latent of a picture, and for a small change of weights that brings the picture nearer still.

The stages: the nearest of some seeds; then Adam on w; then on one w for each layer (W+: Abdal et al., "Image2StyleGAN",
ICCV 2019); then on the weights of early layers, for this picture alone. The last is from Bau et al., "Semantic Photo
Manipulation with a Generative Image Prior" (SIGGRAPH 2019), where the layers behind the edited one are changed. Here it
is those before the layer where rules are solved: in trial on four scenes that came nearer (mean IoU of concepts .87
against .82), and the layer of the rules writes as it did.

Inversions (`dissect.quality.inversion`) ask something else: what a generator cannot draw, of many images at once, with
residuals at a layer that no file of latents could hold.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dissect.concept_rule import usual_layer
from dissect.photographs.descent import Descent
from dissect.photographs.nearness import Distance, Nearness
from dissect.photographs.photograph import Photograph
from dissect.quality.features import FeatureSpace
from dissect.quality.inversion import BATCH, FIRST_START, STARTS
from rewrite.generators.batches import batched
from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.latents import Latents
from rewrite.patch import Patch, base_of
from rewrite.progress import stage_bar, stages

STEPS = 150
# Rates in units of what moves: the spread of latents over seeds, and the mean size of a layer's weights.
RATES = {"z": 0.1, "w": 0.2, "w+": 0.1}
WEIGHT_RATE, WEIGHT_PENALTY = 0.01, 1.0
START, WEIGHTS = "start", "weights"
# Layers that write no more than this write colours.
COLOURS = 4

# Called after each step with the stage and the share of the whole search that is done; may raise to end it.
OnStep = Callable[[str, float], object]


@dataclass(frozen=True)
class Effort:
    """How long is searched, and how far.

    Attributes:
        steps: How many steps each stage takes.
        starts: Seeds to find the start among.
        layers: Whose weights change; None for those before the layer where rules are usually solved, and none where it
            is empty.

    Raises:
        ValueError: A number is less than 1.
    """

    steps: int = STEPS
    starts: int = STARTS
    layers: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.starts < 1:
            raise ValueError(f"a search takes one step and one start or more, got {self.steps} and {self.starts}")


@dataclass
class Found:
    """What a search has found so far.

    Attributes:
        latent: The latent, as the generator reads it.
        spread: How far latents of seeds lie from one another.
        weights: The changed weights by layer.
        near: How near each finished stage came.
        drawn: What each of these stages draws.
    """

    latent: Tensor = field(default_factory=lambda: torch.zeros(0))
    spread: float = 1.0
    weights: dict[str, Tensor] = field(default_factory=dict)
    near: list[Nearness] = field(default_factory=list)
    drawn: dict[str, Tensor] = field(default_factory=dict)


def find_photograph(
    generator: Generator,
    picture: Float[Tensor, "3 height width"],
    space: FeatureSpace | None = None,
    effort: Effort | None = None,
    *,
    on_step: OnStep | None = None,
    progress: bool = False,
) -> Photograph:
    """Find the latent of a picture, and then a small change of weights by which it is drawn nearer still.

    Args:
        generator: The generator; it stays as it is.
        picture: The picture, in [-1, 1] and of the generator's size, as `dissect.read_picture` gives it.
        space: Whose features are compared beside colours; colours alone if left out.
        effort: How long is searched, and how far.
        on_step: Called after each step with the stage and the share that is done; may raise to end the search.
        progress: Show progress bars.

    Returns:
        The photograph: its latent, the change of weights, and how near each stage came.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The picture is not of the generator's size, or a layer's weight is computed from others.
    """
    return Search(generator, picture, space, effort).run(on_step=on_step, progress=progress)


class Search:
    """A search that can stop and go on. It runs on a copy of the generator. See `find_photograph`.

    Attributes:
        found: What it has found so far.
        descent: The stage that it is in, if it is in one.
        layers: The layers whose weights change.
    """

    def __init__(
        self,
        generator: Generator,
        picture: Float[Tensor, "3 height width"],
        space: FeatureSpace | None = None,
        effort: Effort | None = None,
    ):
        if tuple(picture.shape[1:]) != tuple(generator.size):
            raise ValueError(f"the generator draws images of {generator.size}, got {tuple(picture.shape[1:])}")
        self.effort, self.found, self.descent = effort or Effort(), Found(), None
        self.layers = layers_of(generator, self.effort.layers)
        self.generator, self.model = copy.deepcopy(generator), generator.fingerprint
        self.distance = Distance(picture[None].to(generator.device, generator.dtype), space)
        self._base = {name: generator.weight(name).detach().clone() for name in self.layers}

    @property
    def stages(self) -> list[str]:
        """The stages, in their order."""
        latent = ["w", "w+"] if self.generator.styles_shape[1] else ["z"]
        return [START, *latent, *([WEIGHTS] if self.layers else [])]

    @property
    def identity(self) -> dict[str, Any]:
        """What tells this search from others."""
        space = self.distance.space
        return {
            "model": self.model,
            "label": self.generator.label,
            "truncation": self.generator.truncation,
            "picture": hash_of({"picture": self.distance.picture}),
            "features": "" if space is None else space.identity,
            "steps": self.effort.steps,
            "starts": self.effort.starts,
            "layers": self.layers,
        }

    def run(self, *, on_step: OnStep | None = None, progress: bool = False) -> Photograph:
        """Search, or go on searching, to the end. Whatever ends it early, it can go on afterwards."""
        with stages(*(f"find {stage}" for stage in self.stages[1:])):
            for stage in self.stages[len(self.found.near) :]:
                if stage == START:
                    self._start()
                else:
                    self._descend(stage, on_step, progress=progress)
                with torch.no_grad():
                    drawn = self._draw(self.found.latent).clamp(-1, 1)
                self.found.drawn[stage] = drawn
                self.found.near.append(self.distance.told(stage, drawn))
        return self._photograph()

    def tensors(self) -> dict[str, Tensor]:
        """All that it takes to go on, but for the distances."""
        drawn = {f"drawn {stage}": image for stage, image in self.found.drawn.items()}
        spread = torch.tensor(self.found.spread, dtype=torch.float64)
        now = {} if self.descent is None else {f"descent {name}": each for name, each in self.descent.tensors().items()}
        return {"latent": self.found.latent, "spread": spread, **drawn, **now}

    def take(self, near: Sequence[Nearness], tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `found.near` and `tensors` gave.

        Raises:
            KeyError, RuntimeError, TypeError, ValueError: They are of another search.
        """
        done = [each.stage for each in near]
        if not done or done != self.stages[: len(done)]:
            raise ValueError(f"stages are {', '.join(self.stages)}, got {', '.join(done)}")
        drawn = {stage: tensors[f"drawn {stage}"] for stage in done}
        self.found = Found(tensors["latent"], float(tensors["spread"]), {}, list(near), drawn)
        with torch.no_grad():
            self._draw(self.found.latent)
        descent = {name.removeprefix("descent "): each for name, each in tensors.items() if name.startswith("descent ")}
        if descent:
            self.descent = self._descent_of(self.stages[len(done)])
            self.descent.take(descent)

    @torch.no_grad()
    def _start(self) -> None:
        """The seed that comes closest."""
        latents, apart = [], []
        for part in batched(range(FIRST_START, FIRST_START + self.effort.starts), BATCH):
            drawn = self.generator.latents(part)
            latents.append(self.generator.styles(drawn)[:, :1] if self.generator.styles_shape[1] else drawn.z)
            apart.append(self.distance(self._draw(latents[-1]).clamp(-1, 1)))
        together = torch.cat(latents)
        self.found.latent = together[int(torch.cat(apart).argmin())][None].clone()
        self.found.spread = float(together.std(dim=0).mean()) if len(together) > 1 else 1.0

    def _descend(self, stage: str, on_step: OnStep | None, *, progress: bool) -> None:
        descent = self.descent = self.descent or self._descent_of(stage)
        before, count = len(self.found.near) - 1, len(self.stages) - 1
        with stage_bar(descent.count, f"find {stage}", "step", done=descent.step, shown=progress) as bar:
            for _ in descent.steps():
                bar.update()
                if on_step is not None:
                    on_step(stage, (before + descent.step / descent.count) / count)
        if stage == WEIGHTS:
            self.found.weights = dict(zip(self.layers, descent.best, strict=True))
            for parameter, weight in zip(descent.parameters, descent.best, strict=True):
                parameter.requires_grad_(False).copy_(weight)
        else:
            (self.found.latent,) = descent.best
        self.descent = None

    def _descent_of(self, stage: str) -> Descent:
        steps = self.effort.steps
        if stage == WEIGHTS:
            weights = [self.generator.weight(name).requires_grad_() for name in self.layers]
            rates = [WEIGHT_RATE * float(base.square().mean().sqrt()) for base in self._base.values()]
            apart = partial(self._apart, self.found.latent)
            return Descent(weights, rates, steps, apart, partial(_moved, weights, list(self._base.values())))
        count = self.generator.styles_shape[0] if stage == "w+" else self.found.latent.shape[1]
        latent = self.found.latent.expand(-1, count, *self.found.latent.shape[2:]).clone().requires_grad_()
        return Descent([latent], [RATES[stage] * self.found.spread], steps, partial(self._apart, latent))

    def _apart(self, latent: Tensor) -> Tensor:
        return self.distance(self._draw(latent).clamp(-1, 1)).sum()

    def _draw(self, latent: Tensor) -> Tensor:
        return self.generator.images(self._latents(latent))

    def _latents(self, latent: Tensor) -> Latents:
        # Noise is that of seed 0, as for the first latent of any file.
        seeds = (0,) * len(latent)
        if not self.generator.styles_shape[1]:
            return Latents(latent, seeds)
        return Latents(latent.new_zeros(len(latent), self.generator.z_dim), seeds, latent)

    def _photograph(self) -> Photograph:
        found, picture = self.found, self.distance.picture[0].float().cpu()
        latent = self._latents(found.latent.float().cpu())
        changes = tuple(self._change(name, weight) for name, weight in found.weights.items())
        return Photograph(picture, latent, changes, tuple(found.near), self.model, self.generator.label)

    def _change(self, name: str, weight: Tensor) -> Patch:
        layer, base = self.generator.layer(name), self._base[name]
        change = layer.matrix(weight.detach().cpu().double() - base.cpu().double())
        return Patch.from_change(layer, change, base=base_of(base), model=self.model)


def layers_of(generator: Generator, named: Sequence[str] | None) -> list[str]:
    """The layers whose weights change: those that are named, or the early ones whose weights are stored as they are.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: The weight of one that is named is computed from others.
    """
    if named is not None:
        names = [generator.layer(name).name for name in named]
        computed = [name for name in names if not isinstance(generator.weight(name), nn.Parameter)]
        if computed:
            raise ValueError(f"the weight of {computed[0]} is computed from others: name other layers")
        return names
    order = list(generator.layers)
    early = order[: order.index(usual_layer(generator))]
    drawing = [name for name in early if generator.layer(name).outputs > COLOURS]
    return [name for name in drawing if isinstance(generator.weight(name), nn.Parameter)]


def _moved(weights: Sequence[Tensor], base: Sequence[Tensor]) -> Tensor:
    """How far weights are from what they were, relative to their size."""
    pairs = zip(weights, base, strict=True)
    return WEIGHT_PENALTY * torch.stack([(new - old).square().mean() / old.square().mean() for new, old in pairs]).sum()
