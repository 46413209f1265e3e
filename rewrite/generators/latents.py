"""What a generator draws images from."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class Latents(NamedTuple):
    """Inputs of a generator, one row for each image, and the seeds that its noise depends on.

    Attributes:
        z: The latents.
        seeds: The seed of each image's noise.
        w: Of StyleGANs, w in place of z: one for all layers of an image, or one for each (W+).
    """

    z: Float[Tensor, "images size"]
    seeds: tuple[int, ...]
    w: Float[Tensor, "images layers width"] | None = None

    def __repr__(self) -> str:
        kind = "" if self.w is None else f", {self.kind}"
        return f"<Latents: images={len(self.seeds)}, numbers={self.z.shape[1]}{kind}>"

    @property
    def kind(self) -> str:
        """What it holds: `z`, `w`, or `w+`."""
        return "z" if self.w is None else "w" if self.w.shape[1] == 1 else "w+"

    def chosen(self, numbers: Sequence[int]) -> "Latents":
        """Those of some images, by their numbers from 0 on."""
        rows = list(numbers)
        return Latents(self.z[rows], tuple(self.seeds[row] for row in rows), None if self.w is None else self.w[rows])


def numbered(
    images: Iterable[int] | Latents, of_seeds: Callable[[Sequence[int]], Latents]
) -> tuple[tuple[int, ...], Callable[[Sequence[int]], Latents]]:
    """The images that are asked for, by number, and what gives the latents of some of these numbers.

    Args:
        images: Seeds, which are their own numbers; or latents, which are counted from 0.
        of_seeds: What gives the latents of seeds.
    """
    if isinstance(images, Latents):
        return tuple(range(len(images.seeds))), images.chosen
    return tuple(images), of_seeds
