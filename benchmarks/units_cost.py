"""The whole of a dissection against what it cannot do without: one pass of the generator and one of the segmenter.

    python -m benchmarks.units_cost --samples 1024 --rounds 5

Runs take turns, so that whatever else the machine does falls on both alike. Memory is the greatest growth of the
process in a fresh one for each number of images.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from dissect.sources.towers import SegmenterSource
from dissect.units.counting import dissect
from dissect.units.probe import GeneratorProbe
from rewrite import load_generator
from rewrite.generators.batches import batched
from rewrite.storage import files


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers")
    parser.add_argument("--layer", default="b32.conv0")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--level-samples", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="numbers of images to show the memory of")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    generator, source = load_generator(options.generator), SegmenterSource()
    probe = GeneratorProbe(generator, [options.layer], source)
    if options.alone:
        with tempfile.TemporaryDirectory() as folder:
            dissect(probe, options.alone, level_samples=options.level_samples, state=Path(folder) / "state.safetensors")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    seconds: dict[str, list[float]] = {"passes": [], "dissection": []}
    for _ in range(options.rounds):
        began = time.perf_counter()
        with torch.no_grad():
            for part in batched(range(options.samples), 16):
                source.label(generator.images(generator.latents(part)).clamp(-1, 1), part)
        seconds["passes"].append(time.perf_counter() - began)
        began = time.perf_counter()
        dissect(probe, options.samples, level_samples=options.level_samples)
        seconds["dissection"].append(time.perf_counter() - began)
    ratios = [whole / passes for whole, passes in zip(seconds["dissection"], seconds["passes"], strict=True)]
    result = {
        "layer": options.layer,
        "samples": options.samples,
        "passes_seconds": statistics.median(seconds["passes"]),
        "dissection_seconds": statistics.median(seconds["dissection"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "peak_megabytes": {str(count): peak(count, options) for count in options.memory},
    }
    print(json.dumps(result, indent=1))
    if options.out:
        files.write_text(options.out, json.dumps(result, indent=1) + "\n")


def peak(count: int, options: argparse.Namespace) -> int:
    """The greatest memory of a process that counts so many images, in megabytes."""
    command = [sys.executable, __file__, "--alone", str(count), "--layer", options.layer]
    command += ["--generator", options.generator, "--level-samples", str(options.level_samples)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main()
