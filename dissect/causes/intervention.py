"""Units switched off or on, or moved part of the way, everywhere or in a region (GAN Dissection, section 3.2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.cut import Cut
from rewrite.generators.latents import Latents, numbered
from rewrite.storage.quoting import quoted


@dataclass(frozen=True)
class Intervention:
    """Units of a layer moved towards values: r ← (1 − α) r + α v.

    Several in a row are composited with *over*: what comes later lies on top.

    Attributes:
        units: The units that move.
        values: What each is moved to (v).
        share: How far they move (α): 1 sets them, 0 leaves them alone.
        mask: How much of that happens at each cell of the layer's output, one map for all images or one for each; None
            is all of it everywhere.

    Raises:
        ValueError: A unit is named twice or is negative, a number is not finite, or units and values differ in number.
    """

    units: tuple[int, ...]
    values: tuple[float, ...]
    share: float = 1.0
    mask: Float[Tensor, "height width"] | Float[Tensor, "images height width"] | None = None

    def __post_init__(self) -> None:
        if len(set(self.units)) < len(self.units) or min(self.units, default=0) < 0:
            raise ValueError(f"units are different numbers from 0 on, got {quoted(self.units)}")
        if len(self.values) != len(self.units):
            raise ValueError(f"each unit has one value, got {len(self.units)} units and {len(self.values)} values")
        numbers = torch.tensor([*self.values, self.share])
        if not (torch.isfinite(numbers).all() and (self.mask is None or torch.isfinite(self.mask).all())):
            raise ValueError("values, share and mask of an intervention are finite numbers")

    def __repr__(self) -> str:
        mask = "everywhere" if self.mask is None else f"in a mask of {tuple(self.mask.shape)}"
        return f"<Intervention: units={len(self.units)}, share={self.share:g}, {mask}>"

    @classmethod
    def off(cls, units: Iterable[int], mask: Float[Tensor, "height width"] | None = None) -> "Intervention":
        """Units at zero."""
        units = tuple(units)
        return cls(units, (0.0,) * len(units), mask=mask)

    @classmethod
    def scaled(
        cls, units: Iterable[int], factor: float, mask: Float[Tensor, "height width"] | None = None
    ) -> "Intervention":
        """Units times a factor.

        Args:
            units: The units.
            factor: What they are multiplied by.
            mask: Where, from 0 to 1; everywhere if left out.
        """
        units = tuple(units)
        return cls(units, (0.0,) * len(units), 1 - factor, mask)

    def on(self, output: Float[Tensor, "images units height width"]) -> Float[Tensor, "images units height width"]:
        """The output of a layer after the intervention; the one given stays as it is.

        Raises:
            ValueError: The layer has no such unit, or the mask is not of its size.
        """
        count, grid = output.shape[1], tuple(output.shape[2:])
        beyond = [unit for unit in self.units if unit >= count]
        if beyond:
            raise ValueError(f"the layer has units 0 to {count - 1}, got {beyond[0]}")
        if self.mask is not None and tuple(self.mask.shape) not in (grid, (len(output), *grid)):
            raise ValueError(f"the mask has {tuple(self.mask.shape)} cells, the output of the layer {grid}")
        units = list(self.units)
        values = torch.tensor(self.values).to(output)[:, None, None]
        share = self.share if self.mask is None else self.share * self.mask.to(output).unsqueeze(-3)
        moved = output.clone()
        # Written as a sum of two products, so that α = 1 gives the value itself, bit for bit.
        moved[:, units] = (1 - share) * output[:, units] + share * values
        return moved


@dataclass(frozen=True)
class Prefix:
    """Images that stopped at the output of a layer: what comes before it is run once for any number of interventions.

    Attributes:
        generator: The generator.
        layer: Name of the layer.
        cut: The run before the layer.
        output: The layer's output, filled up to a whole batch as `Generator.sample` does.
        count: Number of images.
    """

    generator: Generator
    layer: str
    cut: Cut
    output: Float[Tensor, "filled units height width"]
    count: int

    def __repr__(self) -> str:
        return f"<Prefix up to {self.layer}: images={self.count}, output={tuple(self.output.shape[1:])}>"

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Generator, layer: str, seeds: Sequence[int] | Latents) -> "Prefix":
        """Run the images of some seeds or latents up to the output of a layer.

        Args:
            generator: The generator.
            layer: Name of the layer.
            seeds: The images, or their latents.

        Returns:
            The run, which any number of interventions continue.

        Raises:
            LookupError: The generator has no such layer.
            ValueError: There is no seed.
        """
        numbers, latents = numbered(seeds, generator.latents)
        if not numbers:
            raise ValueError("interventions need at least one image, got no seed")
        filled = (*numbers, *[numbers[-1]] * (-len(numbers) % generator.together))
        cut = generator.cut(layer, latents(filled))
        return cls(generator, layer, cut, generator.output(layer, cut), len(numbers))

    @torch.no_grad()
    def images(self, *interventions: Intervention) -> Float[Tensor, "images 3 height width"]:
        """The images after some interventions, in [-1, 1]; without any, the images as they are."""
        output = self.output
        for each in interventions:
            output = each.on(output)
        # What follows a layer may write into what it is given.
        output = output.clone() if output is self.output else output
        return self.generator.onward(self.layer, self.cut, output)[: self.count].clamp(-1, 1)
