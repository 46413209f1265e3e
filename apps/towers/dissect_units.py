"""Dissect layers of the built-in generator: which units paint which concepts, as package data.

    python -m apps.towers.dissect_units

Written anew whenever the generator or the segmenter is trained anew.
"""

import argparse
from pathlib import Path

from dissect.sources.towers import SegmenterSource
from dissect.units.counting import dissect
from dissect.units.dissection import BUILT_IN, save_dissections
from dissect.units.probe import GeneratorProbe
from rewrite import load_generator

LAYERS = ("b16.conv1", "b32.conv0")
SAMPLES, LEVEL_SAMPLES = 400, 200


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=BUILT_IN["towers"], help="the file to write")
    options = parser.parse_args()
    probe = GeneratorProbe(load_generator(), LAYERS, SegmenterSource())
    found = dissect(probe, SAMPLES, level_samples=LEVEL_SAMPLES, progress=True)
    save_dissections(options.out, found)
    for layer, one in found.items():
        print(f"{layer}: {one.scores.detectors()}")
    print(f"{options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
