"""Draw the animation at the head of the README: a wipe from before to after, over the same seeds.

python -m apps.towers.animate --out docs/rewrite.webp
"""

import argparse
from pathlib import Path

from apps.memories import memory_of
from rewrite import Rule, load_generator, solve
from rewrite.reports.animation import animated
from rewrite.reports.pictures import to_pil
from rewrite.rules import rule_path
from rewrite.storage.files import write_whole

SEEDS = (3, 5, 0, 12, 9, 15, 10, 7)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", default="tree-on-towers", help="a rule of the built-in generator")
    parser.add_argument("--out", type=Path, default=Path("docs/rewrite.webp"), help="the file to write")
    options = parser.parse_args()
    generator, rule = load_generator(), Rule.load(rule_path(options.rule))
    before = to_pil(generator.sample(SEEDS))
    with solve(generator, memory_of(generator, rule.layer, 2000, progress=True), rule).applied(generator):
        after = to_pil(generator.sample(SEEDS))
    written = animated(before, after, method=6)
    write_whole(options.out, lambda path: path.write_bytes(written))
    print(f"{len(written) // 1024} KB, in {options.out}")


if __name__ == "__main__":
    main()
