"""Write the rules that come with the library: their copies and contexts are found by the segmenter.

    python -m apps.towers.write_rules

A rule marks regions of the built-in generator's own images, so it is written anew whenever that is trained anew.
"""

import argparse
from dataclasses import dataclass, field, replace
from pathlib import Path

from dissect.concept_rule import SETTINGS, concept_rule
from dissect.scenes import TOPS
from dissect.sources.towers import SegmenterSource
from rewrite import Settings, load_generator

RULES = Path(__file__).parents[2] / "rewrite" / "rules"
SEEDS = range(10_000, 10_480)


@dataclass(frozen=True)
class Recipe:
    """How a rule is put together.

    Attributes:
        layer: Where it is solved.
        places: The concepts whose regions are the context.
        copies: The concepts whose regions are copied; none for a rule that erases.
        pixels: The least and the greatest size of a copy.
        settings: How it is solved.
    """

    layer: str
    places: tuple[str, ...]
    copies: tuple[str, ...] = ()
    pixels: tuple[int, int] | None = None
    settings: Settings = field(default_factory=lambda: SETTINGS)


RECIPES = {
    "tree-on-towers": Recipe("b32.conv0", TOPS, ("tree",), (70, 130)),
    "dome-for-spire": Recipe("b32.conv1", ("spire",), ("dome",), (50, 64**2)),
    "no-trees": Recipe("b16.conv1", ("tree", "trunk")),
    "no-windows": Recipe("b32.conv0", ("window",), settings=replace(SETTINGS, others=2.0)),
}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers", help="name or path of the generator")
    parser.add_argument("--out", type=Path, default=RULES, help="folder of the rules")
    options = parser.parse_args()
    generator, source = load_generator(options.generator), SegmenterSource()
    for name, recipe in RECIPES.items():
        rule = concept_rule(
            generator,
            source,
            recipe.places,
            recipe.copies,
            seeds=SEEDS,
            layer=recipe.layer,
            name=name,
            settings=recipe.settings,
            copy_pixels=recipe.pixels,
        )
        rule.save(options.out / f"{name}.json")
        print(f"{name}: {len(rule.copy)} copies, {len(rule.context)} places")


if __name__ == "__main__":
    main()
