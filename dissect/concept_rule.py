"""A whole rule from the names of concepts: what to copy, where it is wanted, what must stay."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from dissect.regions import Thing, things
from dissect.units.dissection import Dissection
from rewrite.generators.contract import Generator
from rewrite.generators.latents import Latents
from rewrite.reports.concepts import ConceptSource
from rewrite.rules.regions import Latent
from rewrite.rules.rule import Rule
from rewrite.rules.settings import Settings

PROTECTED = 80
LARGEST_USUAL = 64
# How many times larger or smaller than the typical place a copy may be.
MOST_TIMES = 1.5
# Crumbs of a segmenter, in shares of the image; a region to erase may be larger before it counts.
LEAST_PLACE, LEAST_ERASED, LEAST_COPY = 1 / 64**2, 4 / 64**2, 12 / 64**2


@dataclass(frozen=True)
class RuleInWords:
    """What a rule shall do, by the names of concepts.

    Attributes:
        context: The concepts that it replaces.
        copy: The concepts that it puts there; none for a rule that erases.
        protect: Concepts whose regions in the marked images must stay.
        protect_units: Units of the layer that must stay everywhere; see `units_of`.
        layer: Where it is solved; see `usual_layer` if left out.
        name: What people call it.
        settings: How it is solved.
    """

    context: Sequence[str]
    copy: Sequence[str] = ()
    protect: Sequence[str] = ()
    protect_units: Sequence[int] = ()
    layer: str | None = None
    name: str = ""
    settings: Settings = field(default_factory=Settings.from_marks)


@dataclass(frozen=True)
class Bounds:
    """How much is marked.

    Attributes:
        images: How many images with places are marked, the first of the seeds.
        copies: How many regions are copied at most.
        copy_pixels: The least and the greatest size of a copy, in pixels, in place of the size of the places.
    """

    images: int = 80
    copies: int = 40
    copy_pixels: tuple[int, int] | None = None


def concept_rule(
    generator: Generator,
    source: ConceptSource,
    words: RuleInWords,
    seeds: Sequence[int] | Latents,
    bounds: Bounds | None = None,
    *,
    progress: bool = False,
) -> Rule:
    """Write a rule on what a source names in the images of some seeds.

    Every region of the context's concepts in the chosen images is marked: one left out would count as a place that the
    rule must spare. Of the regions to copy those are taken that are nearest in size to the places and lie wholly
    inside their image.

    Args:
        generator: The generator that the rule is for.
        source: What names the pixels.
        words: What the rule shall do.
        seeds: The images to look at, or their latents, which the rule then holds by value.
        bounds: How much is marked. Solving and refining take longer with every image and every copy.
        progress: Show a progress bar.

    Raises:
        LookupError: The source or the generator does not know a name.
        ValueError: No image shows the context, or none shows what is to be copied.
    """
    context, copy, bounds = words.context, words.copy, bounds or Bounds()
    layer = usual_layer(generator) if words.layer is None else generator.layer(words.layer).name
    for concept in (*context, *copy, *words.protect):
        source.concepts.number(concept)  # a name that it does not know is refused before any image is labelled
    images = Latent.each(seeds) if isinstance(seeds, Latents) else [Latent(seed) for seed in seeds]
    look = partial(things, generator, source, progress=progress)
    area = generator.size[0] * generator.size[1]
    least = LEAST_PLACE if copy else LEAST_ERASED
    places = _first(look(context, images, least=round(least * area) or 1, inside=False), bounds.images)
    if not places:
        sought = " or ".join(context)
        raise ValueError(f"none of {len(images)} images shows {sought}: name more seeds or other concepts")
    copies = _fitting(look(copy, images, least=round(LEAST_COPY * area) or 1), places, bounds) if copy else []
    if copy and not copies:
        raise ValueError(f"none of {len(images)} images shows a whole {' or '.join(copy)} to copy: name more seeds")
    marked = dict.fromkeys(place.region.latent for place in places)
    kept = look(words.protect, marked, inside=False) if words.protect else []
    return Rule(
        name=words.name or f"{' and '.join(copy) or 'nothing'} for {' and '.join(context)}",
        model=generator.fingerprint,
        layer=layer,
        copy=tuple(thing.region for thing in copies),
        context=tuple(place.region for place in places),
        protect=tuple(thing.region for thing in kept[:PROTECTED]),
        protect_units=tuple(sorted(set(words.protect_units))),
        action="paste" if copy else "erase",
        anchor="bottom",
        fit="box",
        truncation=generator.truncation,
        label=generator.label,
        settings=words.settings,
        effect={"from": list(context), "to": copy[0] if copy else None},
    )


def units_of(dissection: Dissection, concept: str) -> tuple[int, ...]:
    """The units that detect a concept, beyond chance.

    Raises:
        LookupError: The dissection does not know the concept.
    """
    scores, number = dissection.scores, dissection.concepts.number(concept)
    return tuple(np.flatnonzero(scores.detects() & scores.beyond_chance() & (scores.best == number)).tolist())


def usual_layer(generator: Generator) -> str:
    """The first layer that writes at half the side of the image or more: details have their place there, and colour.

    On the built-in generator that is where the first of the rules that come with the library is solved. On images of
    more than 128 pixels it is one that writes 64 cells a side, as for the rules of Bau et al. (2020): finer layers of
    these draw texture.
    """
    for name, layer in generator.layers.items():
        if min(layer.output_grid) >= min(LARGEST_USUAL, min(generator.size) / 2) and layer.outputs > 4:
            return name
    return list(generator.layers)[-1]


def _first(found: Sequence[Thing], images: int) -> list[Thing]:
    """The things in the first images that show any."""
    shown = set(list(dict.fromkeys(thing.region.latent for thing in found))[:images])
    return [thing for thing in found if thing.region.latent in shown]


def _fitting(found: Sequence[Thing], places: Sequence[Thing], bounds: Bounds) -> list[Thing]:
    """The things whose sizes are nearest to that of the typical place, in the order in which they were found."""
    if bounds.copy_pixels is not None:
        least, most = bounds.copy_pixels
        return [thing for thing in found if least <= thing.pixels <= most][: bounds.copies]
    typical = np.median([place.pixels for place in places])
    apart = np.array([abs(np.log(thing.pixels / typical)) for thing in found])
    order = np.argsort(apart, kind="stable")[: bounds.copies]
    # A copy that is much larger than its place covers what is around it; the nearest is taken whatever its size.
    fitting = [i for place, i in enumerate(order.tolist()) if place == 0 or apart[i] <= np.log(MOST_TIMES)]
    return [found[i] for i in sorted(fitting)]
