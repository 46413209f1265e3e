"""Parts of images that a rule marks, and the latents that the images are drawn from."""

from dataclasses import dataclass
from typing import Any

from rewrite.rules.entries import number, only, pair, require, typed
from rewrite.rules.masks import Mask

LARGEST_LATENT = 1e6


@dataclass(frozen=True)
class Latent:
    """One image of the generator: a seed, or a latent by value (then the seed only draws the noise).

    Raises:
        ValueError: The seed or a number is out of range.
    """

    seed: int
    z: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "a seed lies between 0 and 4294967295", self.seed)
        # Far beyond any latent that was ever drawn, and its square is still finite in float32.
        wild = [x for x in self.z or () if not abs(x) <= LARGEST_LATENT]
        require(not wild, f"the numbers of a latent lie between ±{LARGEST_LATENT:.0f}", wild[:1])

    def __repr__(self) -> str:
        value = "" if self.z is None else f", numbers={len(self.z)}"
        return f"<Latent: seed={self.seed}{value}>"


@dataclass(frozen=True)
class Region:
    """A part of one image."""

    latent: Latent
    mask: Mask


def regions_from(document: dict, name: str) -> tuple[Region, ...]:
    """The regions under a name of a document.

    Raises:
        ValueError: One of them is none.
    """
    return tuple(region_from(item, name) for item in typed(document.get(name, []), list, name))


def region_from(document: Any, name: str) -> Region:
    """A region as a document has it.

    Raises:
        ValueError: It is none; the message names what is wrong.
    """
    document = typed(document, dict, name)
    only(document, {"latent", "mask"}, name)
    latent, mask = typed(document.get("latent"), dict, "latent"), typed(document.get("mask"), dict, "mask")
    only(latent, {"seed", "z"}, "latent")
    only(mask, {"size", "runs"}, "mask")
    z = latent.get("z")
    runs = tuple(pair(run, "run") for run in typed(mask.get("runs"), list, "runs"))
    return Region(
        Latent(
            typed(latent.get("seed"), int, "seed"),
            None if z is None else tuple(number(x, "z") for x in typed(z, list, "z")),
        ),
        Mask(pair(mask.get("size"), "size"), runs),
    )
