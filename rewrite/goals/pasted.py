"""Marked images as a rule wants them to look, and how far an edit takes the images there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.goals.fill import filled
from rewrite.goals.placement import Placement
from rewrite.goals.unedited import Unedited
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule

# Of colours in [-1, 1]: a pixel moved if one of its colours did by more than this, a twentieth of the range.
MOVED = 0.1


@dataclass(frozen=True)
class Pasted:
    """One image with every copy pasted into it, or every place filled from around it.

    Attributes:
        latent: The image.
        before: What it looks like.
        wanted: What it is to look like.
        inside: The pixels that are to change.
    """

    latent: Latent
    before: Float[Tensor, "3 height width"]
    wanted: Float[Tensor, "3 height width"]
    inside: Bool[Tensor, "height width"]

    @classmethod
    def of(
        cls, latent: Latent, before: Tensor, placed: Sequence[tuple[Region, Placement | None, Tensor | None]]
    ) -> "Pasted":
        """Paste copies, or fill places, in one picture.

        Args:
            latent: The image.
            before: What it looks like.
            placed: Its places, each with the copy's placement and the picture that holds the copy; None to erase.
        """
        size = (before.shape[1], before.shape[2])
        inside, wanted, erased = torch.zeros(size, dtype=torch.bool), before.clone(), False
        for place, placement, source in placed:
            if placement is None or source is None:
                mask, erased = torch.from_numpy(place.mask.resized(size)), True
            else:
                mask = torch.from_numpy(placement.mask(size))
                wanted = torch.where(mask, placement.pixels(source), wanted)
            inside |= mask
        return cls(latent, before, filled(wanted.double(), inside).to(before) if erased else wanted, inside)

    def shown(self) -> "Pasted":
        """The same with pictures as they are shown, whose colours end at ±1."""
        return replace(self, before=self.before.clamp(-1, 1), wanted=self.wanted.clamp(-1, 1))

    def moved(self, after: Float[Tensor, "3 height width"]) -> "Moved":
        """What an edit does to the image."""
        step, way = ((each - self.before).double() for each in (after, self.wanted))
        inside, outside = self.inside, ~self.inside
        return Moved(
            along=float((step * way)[:, inside].sum()),
            wanted=float(way[:, inside].square().sum()),
            stray=float(step[:, outside].square().sum()),
            beside=int(outside.sum()),
            far=int((step.abs().amax(dim=0) > MOVED)[outside].sum()),
        )


@dataclass(frozen=True)
class Moved:
    """Sums over the pixels of images.

    Attributes:
        along: Of the change under the marks times the wanted change.
        wanted: Of the squared wanted change.
        stray: Of the squared change elsewhere.
        beside: How many pixels there are elsewhere.
        far: How many of these moved.
    """

    along: float
    wanted: float
    stray: float
    beside: int
    far: int = 0

    @property
    def arrives(self) -> float:
        """Share of the way to the wanted picture that the pixels under the marks went, along that way: 1 is all."""
        return self.along / max(self.wanted, 1e-300)

    @property
    def strays(self) -> float:
        """Change elsewhere: root of its mean square, for images in [-1, 1]."""
        return (self.stray / max(3 * self.beside, 1)) ** 0.5

    @property
    def moved(self) -> float:
        """Share of the pixels elsewhere that moved."""
        return self.far / max(self.beside, 1)

    @classmethod
    def together(cls, parts: Iterable["Moved"]) -> "Moved":
        """The sums over several images."""
        found = list(parts)
        return cls(*(sum(getattr(each, entry.name) for each in found) for entry in fields(cls)))


def pasted_images(
    generator: Generator, rule: Rule, places: Sequence[Region] | None = None, unedited: Unedited | None = None
) -> list[Pasted]:
    """Every image with places of a rule, as it is and as the rule wants it to look.

    Args:
        generator: The generator that the rule was written on.
        rule: The rule.
        places: The places that count; all of the rule if left out.
        unedited: Pictures of the generator that were drawn before.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: A mask or a latent does not fit the generator.
    """
    layer, places = generator.layer(rule.layer), rule.places if places is None else places
    picture = (unedited or Unedited(generator)).picture
    by_image: dict[Latent, list[Region]] = {}
    for place in places:
        by_image.setdefault(place.latent, []).append(place)

    def placed(place: Region) -> tuple[Region, Placement | None, Tensor | None]:
        if rule.action == "erase":
            return place, None, None
        placement = Placement.of(layer, rule, place)
        return place, placement, picture(placement.copy.latent)

    return [Pasted.of(latent, picture(latent), [placed(each) for each in here]) for latent, here in by_image.items()]


def aims_of(
    generator: Generator, rules: Sequence[Rule], strengths: Sequence[float], unedited: Unedited | None = None
) -> dict[int, Pasted]:
    """What images are to look like, by their numbers in the goal of the rules together.

    Images that only hold protected places are to stay as they are; those that only hold copies are not asked for
    anything.

    Args:
        generator: The generator that the rules were written on.
        rules: The rules, in the order of their goal.
        strengths: How much of each is wanted.
        unedited: Pictures of the generator that were drawn before.
    """
    unedited = unedited or Unedited(generator)
    found: dict[int, Pasted] = {}
    first = 0
    for rule, strength in zip(rules, strengths, strict=True):
        pasted = {each.latent: each for each in pasted_images(generator, rule, rule.goal_places, unedited)}
        kept = {region.latent for region in rule.protect}
        order = dict.fromkeys(region.latent for region in (*rule.copy, *rule.places, *rule.protect))
        for number, latent in enumerate(order, start=first):
            if latent in pasted:
                each = pasted[latent]
                found[number] = replace(each, wanted=torch.lerp(each.before, each.wanted, strength))
            elif latent in kept:
                found[number] = Pasted.of(latent, unedited.picture(latent), [])
        first += len(order)
    return found
