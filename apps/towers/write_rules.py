"""Write the rules that come with the library: their copies and contexts are found by the segmenter.

    python -m apps.towers.write_rules

A rule marks regions of the built-in generator's own images, so it is written anew whenever that is trained anew.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dissect.regions import Thing, things
from dissect.scenes import CONCEPTS, TOPS
from dissect.segmenter import load_segmenter
from rewrite import Generator, Region, Rule, Settings, load_generator

RULES = Path(__file__).parents[2] / "rewrite" / "rules"
FIRST_SEED = 10_000


@dataclass(frozen=True)
class Recipe:
    """How a rule is put together.

    Attributes:
        layer: Where it is solved.
        places: The concepts whose regions are the context.
        copies: The concepts whose regions are copied; none for a rule that erases.
        effect: What the segmenter shall see afterwards.
        fits: Which regions make a good copy.
    """

    layer: str
    places: tuple[str, ...]
    copies: tuple[str, ...] = ()
    to: str | None = None
    fits: Callable[[Thing], bool] = lambda thing: True
    settings: Settings = field(default_factory=Settings)
    images: int = 80


# What the curves of benchmarks/rule_curves.py chose: many hard negatives, and values that the image itself confirms.
SETTINGS = Settings(damage=0.01, drift=0.005, others=10.0, refine=10)

RECIPES = {
    "tree-on-towers": Recipe("b32.conv0", TOPS, ("tree",), "tree", lambda thing: 70 <= thing.pixels <= 130, SETTINGS),
    "dome-for-spire": Recipe("b32.conv1", ("spire",), ("dome",), "dome", lambda thing: thing.pixels >= 50, SETTINGS),
    "no-trees": Recipe("b16.conv1", ("tree", "trunk"), settings=SETTINGS),
    "no-windows": Recipe("b32.conv0", ("window",), settings=replace(SETTINGS, others=2.0)),
}


def compose(generator: Generator, name: str, recipe: Recipe, label: Callable, copies: int = 40) -> Rule:
    """Put a rule together from what the generator draws.

    Every region of the context's concepts in the chosen images is marked: one left out would count as a place that
    the rule must spare.
    """
    least = 1 if recipe.copies else 4
    places = things(
        generator,
        label,
        CONCEPTS,
        recipe.places,
        range(FIRST_SEED, FIRST_SEED + recipe.images),
        least=least,
        inside=False,
    )
    sources: Sequence[Region] = ()
    if recipe.copies:
        seeds = range(FIRST_SEED + 5_000, FIRST_SEED + 5_400)
        found = [thing for thing in things(generator, label, CONCEPTS, recipe.copies, seeds) if recipe.fits(thing)]
        sources = [thing.region for thing in found[:copies]]
    return Rule(
        name=name,
        model=generator.fingerprint,
        layer=recipe.layer,
        copy=tuple(sources),
        context=tuple(thing.region for thing in places),
        action="paste" if recipe.copies else "erase",
        anchor="bottom",
        settings=recipe.settings,
        effect={"from": list(recipe.places), "to": recipe.to},
    )


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers", help="name or path of the generator")
    parser.add_argument("--out", type=Path, default=RULES, help="folder of the rules")
    options = parser.parse_args()
    generator, label = load_generator(options.generator), load_segmenter().label
    for name, recipe in RECIPES.items():
        rule = compose(generator, name, recipe, label)
        rule.save(options.out / f"{name}.json")
        print(f"{name}: {len(rule.copy)} copies, {len(rule.context)} places")


if __name__ == "__main__":
    main()
