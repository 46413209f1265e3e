"""What every generator can do: draw images from seeds, be cut before a layer, and be resumed after it."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.batches import in_batches
from rewrite.generators.classes import Label, label_of
from rewrite.generators.cut import Cut
from rewrite.generators.demodulation import demodulation_of
from rewrite.generators.latents import Latents, numbered
from rewrite.generators.network import Network
from rewrite.generators.seeds import whole_seed
from rewrite.reports.rendering import render

TEMPLATE = Path(__file__).parent / "templates" / "generator.html"


class Generator(Network):
    """A network from latents to images, seen as named layers that can be edited.

    Attributes:
        size: Height and width of an image.
        truncation: How far latents are drawn from the mean; 1 leaves them alone.
        classes: How many classes it draws; 0 for a generator without classes.
        label: The class that it draws, or those that seeds draw; None for all in turn, by the seeds.
        noise: Where its noise inputs come from; empty for a generator without such.
        assumed: What its file does not say and was taken to be as is usual, a sentence each.
        together: `sample` fills batches up to a multiple of this, so that an image is the same in any of them.
    """

    size: tuple[int, int]
    z_dim: int
    truncation: float = 1.0
    classes: int = 0
    label: Label = 0
    noise: str = ""
    assumed: tuple[str, ...] = ()
    together: int = 1

    def __repr__(self) -> str:
        height, width = self.size
        origin = "" if self.checkpoint is None else f", checkpoint={self.checkpoint.name}"
        return f"<{type(self).__name__} of {height} x {width}: layers={len(self.layers)}, device={self.device}{origin}>"

    def _repr_html_(self) -> str:
        return render(TEMPLATE, generator=self, kind=type(self).__name__)

    @property
    def z_shape(self) -> tuple[int, ...]:
        """The shape in which the network reads the z of an image."""
        return (self.z_dim,)

    @property
    def styles_shape(self) -> tuple[int, int]:
        """How many w a StyleGAN reads for an image, and the length of each; 0, 0 for other generators."""
        return 0, 0

    def styles(self, latents: Latents) -> Float[Tensor, "images layers width"]:
        """The w that a StyleGAN reads in each layer for each image.

        Raises:
            ValueError: It is a generator without w.
        """
        raise ValueError("this generator has no w")

    def draw_class(self, label: Label | Mapping[int, int]) -> None:
        """Draw another class from now on.

        Args:
            label: Its number; None for all in turn; or those of seeds, as a dictionary or text (`generators.classes`).

        Raises:
            ValueError: There is no such class.
        """
        if label != 0 and not self.classes:
            raise ValueError("this generator has no classes: leave the class out")
        self.label = label_of(label, self.classes) if self.classes else 0

    def latents(self, seeds: Iterable[int]) -> Latents:
        """The latent of each seed, numbered as NVIDIA's tools do: `RandomState(seed).randn(1, z_dim)`.

        Raises:
            ValueError: A seed is not a whole number from 0 to 4294967295.
        """
        seeds = tuple(whole_seed(seed) for seed in seeds)
        rows = [np.random.RandomState(seed).randn(1, self.z_dim) for seed in seeds]
        z = np.concatenate(rows) if rows else np.zeros((0, self.z_dim))
        # Rounded first, so that a seed stands for the same numbers at every precision.
        return Latents(torch.from_numpy(z).float().to(self.device, self.dtype), seeds)

    @abstractmethod
    def images(self, latents: Latents) -> Float[Tensor, "images colours height width"]:
        """Draw the images of latents, in [-1, 1] up to what the network overshoots.

        Returns:
            The images, which may overshoot [-1, 1].
        """

    @abstractmethod
    def cut(self, layer: str, latents: Latents) -> Cut:
        """Run up to the point where the weight of `layer` is used.

        Returns:
            What the layer reads, and all that the rest of the run needs.

        Raises:
            LookupError: There is no such layer.
        """

    @abstractmethod
    def finish(self, layer: str, cut: Cut, written: Tensor, demodulation: Tensor | None) -> Tensor:
        """The output of `layer` after all that belongs to it: demodulation, blur, noise, bias, activation.

        Args:
            layer: Name of the layer.
            cut: The run before it.
            written: What its weight wrote, (images, outputs, height, width).
            demodulation: The factor on each output channel, (images, outputs); None for a plain layer.
        """

    def output(self, layer: str, cut: Cut) -> Tensor:
        """The output of `layer` with its present weight: maps of units (n, units, height, width)."""
        written = self.layer(layer).apply(cut.features, self.weight(layer))
        return self.finish(layer, cut, written, self.demodulation(layer, cut.style))

    @abstractmethod
    def onward(self, layer: str, cut: Cut, output: Tensor) -> Float[Tensor, "images colours height width"]:
        """Go on from the output of `layer`, as `finish` gives it, to the images.

        Args:
            layer: Name of the layer.
            cut: The run before it.
            output: Its output, (images, outputs, height, width); it may be written into.

        Returns:
            The images, which may overshoot [-1, 1].
        """

    def resume(
        self, layer: str, cut: Cut, written: Tensor, demodulation: Tensor | None
    ) -> Float[Tensor, "images colours height width"]:
        """Go on from what `layer` wrote (before demodulation) to the images.

        Args:
            layer: Name of the layer.
            cut: The run before it.
            written: What its weight wrote, (images, outputs, height, width).
            demodulation: The factor on each output channel; None for a plain layer.

        Returns:
            The images, which may overshoot [-1, 1].
        """
        return self.onward(layer, cut, self.finish(layer, cut, written, demodulation))

    def window(self, layer: str, cut: Cut, rows: slice, columns: slice) -> Cut | None:
        """The cut of a window of what `layer` reads and writes, from which `resume` draws that window of the images.

        Near the window's borders within an image the pixels are wrong: what lies beyond counts as zero.

        Args:
            layer: Name of the layer.
            cut: The run before it.
            rows: Rows of its map, from and up to even numbers.
            columns: Columns of its map, likewise.

        Returns:
            The cut, or None where only whole images can be drawn.
        """
        return None

    def sketch(self, layer: str, side: int) -> "Generator":
        """The same network, which ends sooner and draws smaller images, where it can: for many of them at little cost.

        Args:
            layer: Name of a layer, which may be cut and resumed in it.
            side: The least height and width of its images.

        Returns:
            That network, the same object on every call; this one where nothing smaller is drawn on the way.
        """
        return self

    def early_image(self, layer: str, cut: Cut, side: int) -> Float[Tensor, "images 3 height width"] | None:
        """The image as its sketch draws it, with the present weight of `layer`: a cheap preview.

        Args:
            layer: Name of the layer.
            cut: The run before it.
            side: The least height and width of that image.

        Returns:
            The image, or None where nothing smaller is drawn after `layer`: many networks draw at the end alone.
        """
        sketch = self.sketch(layer, side)
        return None if sketch is self else sketch.onward(layer, cut, sketch.output(layer, cut))

    def resumable(self, layer: str) -> bool:
        """Whether `resume` can go on from what a layer's weight wrote."""
        return True

    def outputs(self, layers: Sequence[str], latents: Latents) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """What some layers give after everything that belongs to them, and what goes on from there to the images."""
        *others, last = layers
        found = {layer: self.output(layer, self.cut(layer, latents)).float() for layer in others}
        cut = self.cut(last, latents)
        output = self.output(last, cut)
        # What follows a layer may write into what it is given.
        return {**found, last: output.float()}, lambda: self.onward(last, cut, output.clone())

    def offset(self, layer: str, cut: Cut) -> Float[Tensor, "#images #outputs #height #width"]:
        """What is added to the values of `layer` right before `activation`; zero if more than that lies between."""
        return torch.zeros(1, 1, 1, 1, device=self.device)

    def demodulation(
        self, layer: str, style: Tensor | None, weight: Tensor | None = None
    ) -> Float[Tensor, "images outputs"] | None:
        """The factor on each output channel of a modulated layer with this weight; None for a plain layer.

        Args:
            layer: Name of the layer.
            style: The modulation of each image; None for a plain layer.
            weight: The stored weight; the present one if left out.
        """
        if style is None or not self.layer(layer).modulated:
            return None
        weight = (self.weight(layer) if weight is None else weight) * self.layer(layer).gain
        return demodulation_of(style, weight)

    def rerun(self, layer: str, cut: Cut) -> Float[Tensor, "images colours height width"]:
        """Run `layer` with its present weight and everything after it: what an edit makes of a cut.

        Returns:
            The images, which may overshoot [-1, 1].
        """
        return self.onward(layer, cut, self.output(layer, cut))

    @torch.no_grad()
    def sample(self, seeds: Iterable[int] | Latents, batch: int = 16) -> Float[Tensor, "images colours height width"]:
        """Images of seeds or latents in [-1, 1]. An image depends on its own alone, not on the batch around it.

        Raises:
            MemoryError: Not even one image fits in the memory there is.
        """
        numbers, latents = numbered(seeds if isinstance(seeds, Latents) else map(whole_seed, seeds), self.latents)
        drawn = [images for _, images in in_batches(numbers, batch, lambda part: self._drawn(latents, part))]
        return torch.cat(drawn) if drawn else torch.zeros(0, 3, *self.size, dtype=self.dtype, device=self.device)

    def _drawn(self, latents: Callable[[Sequence[int]], Latents], numbers: tuple[int, ...]) -> Tensor:
        """The images of one batch."""
        # Convolutions add up in another order for some batch sizes; a filled-up batch always runs the same way.
        filled = numbers + numbers[-1:] * (-len(numbers) % self.together)
        return self.images(latents(filled))[: len(numbers)].clamp(-1, 1)
