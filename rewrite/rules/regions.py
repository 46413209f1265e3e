"""Parts of images that a rule marks, and the latents that the images are drawn from."""

from dataclasses import asdict, dataclass
from typing import Any

from rewrite.generators.latents import Latents
from rewrite.rules.entries import number, only, pair, require, typed
from rewrite.rules.masks import Mask

LARGEST_LATENT = 1e6


@dataclass(frozen=True)
class Latent:
    """One image of the generator: a seed, or a latent by value (then the seed only draws the noise).

    Attributes:
        seed: The seed.
        z: A latent by value.
        w: Of StyleGANs, w by value in place of z: one for all layers, or one for each (W+).

    Raises:
        ValueError: The seed or a number is out of range, or the w of layers differ in length.
    """

    seed: int
    z: tuple[float, ...] | None = None
    w: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**32, "a seed lies between 0 and 4294967295", self.seed)
        # Far beyond any latent that was ever drawn, and its square is still finite in float32.
        wild = [x for row in (self.z or (), *(self.w or ())) for x in row if not abs(x) <= LARGEST_LATENT]
        require(not wild, f"the numbers of a latent lie between ±{LARGEST_LATENT:.0f}", wild[:1])
        lengths = {len(row) for row in self.w or ()}
        require(self.w is None or len(lengths) == 1, "w are of one length", sorted(lengths))
        require(self.w is None or self.z is None, "a latent is given as z or as w", "both")

    @classmethod
    def each(cls, latents: Latents) -> list["Latent"]:
        """Latents by value, one by one, such as those that `rewrite.read_latents` gives."""
        if latents.w is None:
            return [cls(seed, tuple(z)) for seed, z in zip(latents.seeds, latents.z.tolist(), strict=True)]
        rows = zip(latents.seeds, latents.w.tolist(), strict=True)
        return [cls(seed, w=tuple(map(tuple, w))) for seed, w in rows]

    def __repr__(self) -> str:
        value = "" if self.z is None else f", numbers={len(self.z)}"
        value += "" if self.w is None else f", w={len(self.w)} x {len(self.w[0])}"
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
    mask = typed(document.get("mask"), dict, "mask")
    only(mask, {"size", "runs"}, "mask")
    runs = tuple(pair(run, "run") for run in typed(mask.get("runs"), list, "runs"))
    return Region(latent_from(document.get("latent")), Mask(pair(mask.get("size"), "size"), runs))


def region_document(region: Region) -> dict[str, Any]:
    """The inverse of `region_from`."""
    latent = {name: value for name, value in asdict(region.latent).items() if value is not None}
    return {"latent": latent, "mask": {"size": region.mask.size, "runs": region.mask.runs}}


def latent_from(document: Any) -> Latent:
    """A latent as a document has it.

    Raises:
        ValueError: It is none; the message names what is wrong.
    """
    document = typed(document, dict, "latent")
    only(document, {"seed", "z", "w"}, "latent")
    z, w = document.get("z"), document.get("w")
    return Latent(
        typed(document.get("seed"), int, "seed"),
        None if z is None else _numbers(z, "z"),
        None if w is None else tuple(_numbers(row, "w") for row in typed(w, list, "w")),
    )


def _numbers(document: Any, name: str) -> tuple[float, ...]:
    return tuple(number(x, name) for x in typed(document, list, name))
