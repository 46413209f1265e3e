"""What is dissected: a network, the layers looked at, and the numbered images that it is shown or draws."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn

from dissect.sources.network import told_apart
from dissect.sources.pictures import LabelledPictures
from rewrite.generators.classes import marked
from rewrite.generators.contract import Generator
from rewrite.generators.fingerprint import hash_of
from rewrite.generators.network import Network
from rewrite.generators.outputs import keeping_outputs
from rewrite.reports.concepts import Concepts, ConceptSource
from rewrite.storage.quoting import quoted

# Levels of a generator's units are taken from images that no sample of seeds reaches.
FIRST_LEVEL_SEED = 3_000_000_000
LEVEL_SAMPLES = 400
LEVEL_SHARE = 5

Activations = Mapping[str, Float[Tensor, "images units height width"]]


class Observed(NamedTuple):
    """Some images with what the network did and what they show.

    Attributes:
        activations: What the units of each view did.
        images: In [-1, 1].
        labels: The concepts of their pixels.
    """

    activations: Activations
    images: Float[Tensor, "images 3 height width"]
    labels: Int16[Tensor, "images layers height width"]


class Probe(ABC):
    """A network with numbered images, seen through one or more views: layers, or one layer's units mixed anew.

    Attributes:
        units: The number of units of each view.
        concepts: What labels stand for.
        identity: What tells this probe from others in the provenance of a result.
    """

    units: Mapping[str, int]
    concepts: Concepts
    identity: Mapping[str, Any]

    def __repr__(self) -> str:
        views = ", ".join(f"{view}={units}" for view, units in self.units.items())
        return f"<{type(self).__name__} of units {views} for {len(self.concepts)} concepts>"

    @property
    def network(self) -> Network | nn.Module | None:
        """What runs, whose fingerprint workers hold against that of this side; None where they need not."""
        return None

    @abstractmethod
    def activations(self, numbers: Sequence[int]) -> Activations:
        """What the units do on some images."""

    @abstractmethod
    def observe(self, numbers: Sequence[int]) -> Observed:
        """The same with the images and their labels."""

    def draw(self, numbers: Sequence[int]) -> tuple[Activations, Float[Tensor, "images 3 rows columns"]]:
        """What the units do on some images, and the images, without their labels."""
        observed = self.observe(numbers)
        return observed.activations, observed.images

    @abstractmethod
    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        """Numbers of images for choosing levels, and others for counting.

        Raises:
            ValueError: There are not so many images.
        """


class GeneratorProbe(Probe):
    """Layers of a generator on the images that it draws; an image's number is its seed.

    Args:
        generator: The generator.
        layers: Names of its layers; of a wrapped module also paths of other parts that give maps.
        source: What names the pixels of its images.
        first_seed: The seed of the first image.
        margins: How many cells of a layer's map lie outside of the image at each side, where convolutions without
            padding make the map reach further than the image; 0 for layers left out.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: No layer is named, a margin leaves nothing of a map, or the first seed is out of range.
    """

    def __init__(
        self,
        generator: Generator,
        layers: Sequence[str],
        source: ConceptSource,
        first_seed: int = 0,
        margins: Mapping[str, int] | None = None,
    ):
        if not layers:
            raise ValueError("a dissection needs at least one layer, got none")
        if not 0 <= first_seed < FIRST_LEVEL_SEED:
            raise ValueError(f"the first seed lies between 0 and {FIRST_LEVEL_SEED - 1}, got {first_seed}")
        self.generator, self.source, self.first_seed = generator, source, first_seed
        with torch.no_grad():
            units = {name: generator.units(name) for name in layers}
        # In the order in which they run, as far as that is known.
        self.layers = tuple(dict.fromkeys([*(name for name in generator.layers if name in units), *units]))
        self.units = {name: units[name] for name in self.layers}
        self.margins = {name: (margins or {}).get(name, 0) for name in self.layers}
        self.concepts = source.concepts
        self.identity = {
            "model": generator.fingerprint,
            "truncation": generator.truncation,
            **marked(generator.label),
            "layers": list(self.layers),
            "source": source.identity,
            **({"margins": self.margins} if any(self.margins.values()) else {}),
        }

    @property
    def network(self) -> Generator:
        return self.generator

    @torch.no_grad()
    def activations(self, numbers: Sequence[int]) -> Activations:
        return self._run(numbers)[0]

    @torch.no_grad()
    def observe(self, numbers: Sequence[int]) -> Observed:
        activations, resume = self._run(numbers)
        images = resume().clamp(-1, 1)
        labels = self.source.label(images, numbers)
        if labels.shape[-2:] == (1, 1):
            labels = labels.expand(-1, -1, *images.shape[-2:])
        return Observed(activations, images, labels)

    @torch.no_grad()
    def draw(self, numbers: Sequence[int]) -> tuple[Activations, Tensor]:
        activations, resume = self._run(numbers)
        return activations, resume().clamp(-1, 1)

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        levels = range(FIRST_LEVEL_SEED, FIRST_LEVEL_SEED + level_samples)
        return levels, range(self.first_seed, self.first_seed + samples)

    def _run(self, numbers: Sequence[int]) -> tuple[Activations, Callable[[], Tensor]]:
        """The outputs of the layers, and how to go on from the last to the images."""
        generator, count = self.generator, len(numbers)
        # An image is the same in any batch that is filled up so.
        latents = generator.latents((*numbers, *[numbers[-1]] * (-count % generator.together)))
        maps, resume = generator.outputs(self.layers, latents)
        found = {name: within(maps[name][:count], self.margins[name]) for name in self.layers}
        return found, lambda: resume()[:count]


class PictureProbe(Probe):
    """Layers of any network that reads images, on pictures that come with their labels.

    Every fifth picture is kept apart for choosing levels. The network is put into evaluation mode.

    Args:
        module: The network.
        layers: Paths of its parts.
        pictures: What it is shown.
        prepare: From images in [-1, 1] to what it reads, such as the normalisation that it was trained with; the
            images themselves if left out.
        insets: How many cells of a layer's map are missing at each side, where convolutions without padding read the
            border of a picture from further inside; 0 for layers left out. Nothing lights there.

    Raises:
        LookupError: The network has no such layer.
        ValueError: A layer does not run, runs more than once, or gives no maps; or an inset is below 0.
    """

    def __init__(
        self,
        module: nn.Module,
        layers: Sequence[str],
        pictures: LabelledPictures,
        prepare: Callable[[Tensor], Tensor] | None = None,
        insets: Mapping[str, int] | None = None,
    ):
        known = dict(module.named_modules())
        for name in layers:
            if name not in known:
                near = get_close_matches(name, known, 1)
                raise LookupError(
                    f"the network has no layer {quoted(name)}{f': did you mean {near[0]}?' if near else ''}"
                )
        self.prepare = prepare or (lambda images: images)
        self.module, self.layers, self.pictures = module.eval(), tuple(layers), pictures
        self.concepts = pictures.concepts
        self.insets = {name: (insets or {}).get(name, 0) for name in layers}
        if min(self.insets.values(), default=0) < 0:
            raise ValueError(f"insets are cells that are missing, 0 or more, got {self.insets}")
        self.units = {name: maps.shape[1] for name, maps in self.activations(pictures.numbers[:1]).items()}
        self.identity = {
            "model": hash_of(module.state_dict()),
            "layers": list(layers),
            "source": pictures.identity,
            **({"prepared": told_apart(prepare)} if prepare else {}),
            **({"insets": self.insets} if any(self.insets.values()) else {}),
        }

    @property
    def network(self) -> nn.Module:
        return self.module

    def activations(self, numbers: Sequence[int]) -> Activations:
        return self._run(self.pictures.images(numbers))

    def observe(self, numbers: Sequence[int]) -> Observed:
        images = self.pictures.images(numbers)
        return Observed(self._run(images), images, self.pictures.labels(numbers))

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        levels = self.pictures.numbers[::LEVEL_SHARE][:level_samples]
        rest = [number for i, number in enumerate(self.pictures.numbers) if i % LEVEL_SHARE]
        if samples > len(rest) or not rest:
            raise ValueError(
                f"{len(rest)} pictures are left beside those for choosing levels, {samples} were asked for"
            )
        return levels, rest[:samples]

    def draw(self, numbers: Sequence[int]) -> tuple[Activations, Tensor]:
        images = self.pictures.images(numbers)
        return self._run(images), images

    @torch.no_grad()
    def _run(self, images: Tensor) -> Activations:
        with keeping_outputs(self.module, self.layers, tokens=True) as found:
            self.module(self.prepare(images).to(next(self.module.parameters(), images)))
        return {name: widened(found[name], self.insets[name]) for name in self.layers}


class JoinedProbe(Probe):
    """The views of one probe beside views of others, all held against the images and labels of the first.

    Args:
        first: What draws or holds the images.
        others: Further views by their new names: a probe with the same numbers, and the name of its view.
    """

    def __init__(self, first: Probe, others: Mapping[str, tuple[Probe, str]]):
        self.first, self.others = first, others
        self.units = {**first.units, **{name: probe.units[view] for name, (probe, view) in others.items()}}
        self.concepts = first.concepts
        self.identity = {
            **first.identity,
            "beside": {name: dict(probe.identity) for name, (probe, _) in others.items()},
        }

    @property
    def network(self) -> Network | nn.Module | None:
        return self.first.network

    def activations(self, numbers: Sequence[int]) -> Activations:
        return {**self.first.activations(numbers), **self._beside(numbers)}

    def observe(self, numbers: Sequence[int]) -> Observed:
        observed = self.first.observe(numbers)
        return observed._replace(activations={**observed.activations, **self._beside(numbers)})

    def split(self, samples: int, level_samples: int) -> tuple[Sequence[int], Sequence[int]]:
        return self.first.split(samples, level_samples)

    def _beside(self, numbers: Sequence[int]) -> Activations:
        # Views of one probe come from one run.
        runs = {id(probe): probe.activations(numbers) for probe in {id(p): p for p, _ in self.others.values()}.values()}
        return {name: runs[id(probe)][view] for name, (probe, view) in self.others.items()}


def within(maps: Float[Tensor, "images units height width"], margin: int) -> Float[Tensor, "images units rows columns"]:
    """The part of maps that lies inside the image."""
    if not 0 <= 2 * margin < min(maps.shape[-2:]):
        raise ValueError(f"a margin of {margin} cells at each side leaves nothing of a map of {tuple(maps.shape[-2:])}")
    return maps[..., margin : maps.shape[-2] - margin, margin : maps.shape[-1] - margin]


def widened(maps: Float[Tensor, "images units height width"], inset: int) -> Float[Tensor, "images units rows columns"]:
    """Maps with so many more cells at each side, which hold the lowest value of their map: nothing lights there."""
    if not inset:
        return maps
    height, width = maps.shape[-2:]
    lowest = maps.amin(dim=(2, 3), keepdim=True)
    found = lowest.repeat(1, 1, height + 2 * inset, width + 2 * inset)
    found[..., inset : inset + height, inset : inset + width] = maps
    return found


def with_random_weights(generator: Generator, seed: int = 0) -> Generator:
    """A copy of a generator in which the numbers of each weight tensor stand in a random order.

    Sizes and distributions of the weights stay, what was learnt is gone: the null of Network Dissection.
    """
    copy = deepcopy(generator)
    shuffle(copy.module, seed)
    return copy


@torch.no_grad()
def shuffle(module: nn.Module, seed: int) -> None:
    """Put the numbers of each weight tensor of a module into a random order."""
    draws = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        order = torch.randperm(parameter.numel(), generator=draws).to(parameter.device)
        parameter.copy_(parameter.reshape(-1)[order].reshape(parameter.shape))
