"""Write the rules that come with the library: their copies and contexts are found by the segmenter.

    python -m apps.towers.write_rules

A rule marks regions of the built-in generator's own images, so it is written anew whenever that is trained anew.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from dissect.concept_rule import SETTINGS, Bounds, RuleInWords, concept_rule
from dissect.scenes import TOPS
from dissect.sources.towers import SegmenterSource
from rewrite import load_generator

RULES = Path(__file__).parents[2] / "rewrite" / "rules"
SEEDS = range(10_000, 10_480)


# What each rule shall do, and the least and the greatest size of what it copies.
RECIPES = {
    "tree-on-towers": (RuleInWords(TOPS, ("tree",), layer="b32.conv0"), (70, 130)),
    "dome-for-spire": (RuleInWords(("spire",), ("dome",), layer="b32.conv1"), (50, 64**2)),
    "no-trees": (RuleInWords(("tree", "trunk"), layer="b16.conv1"), None),
    "no-windows": (RuleInWords(("window",), layer="b32.conv0", settings=replace(SETTINGS, others=2.0)), None),
}


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers", help="name or path of the generator")
    parser.add_argument("--out", type=Path, default=RULES, help="folder of the rules")
    options = parser.parse_args()
    generator, source = load_generator(options.generator), SegmenterSource()
    for name, (words, pixels) in RECIPES.items():
        rule = concept_rule(generator, source, replace(words, name=name), SEEDS, Bounds(copy_pixels=pixels))
        rule.save(options.out / f"{name}.json")
        print(f"{name}: {len(rule.copy)} copies, {len(rule.context)} places")


if __name__ == "__main__":
    main()
