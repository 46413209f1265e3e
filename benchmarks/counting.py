"""Counting units against concepts: ours, and a plain float implementation in the manner of `dissect`, side by side.

    python -m benchmarks.counting --units 512 --labels 330 --side 256 --images 6

Both get the same activations, levels and label maps. The plain one upsamples every unit to the size of the labels,
compares with the level, and loops over the labels, taking the pixels of each.
Ours also counts what intervals need; the null of other images' labels is timed apart.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from apps.bench.plain_counting import blobs, plain_counts
from dissect.units.tally import Tally, tally_of
from dissect.units.upsampling import Upsampling
from rewrite.reports.concepts import Concepts
from rewrite.storage import files


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--labels", type=int, default=330)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--grid", type=int, default=16)
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--tail", type=float, default=0.01)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    draws, size = torch.Generator().manual_seed(0), (options.side, options.side)
    # Neighbouring cells of a layer agree, as those of a trained network do.
    wide = torch.randn(options.images, options.units, options.grid + 2, options.grid + 2, generator=draws)
    maps = torch.nn.functional.avg_pool2d(wide, 3, stride=1)
    levels = torch.quantile(maps.transpose(0, 1).flatten(1), 1 - options.tail, dim=1)
    labels, concepts = blobs(options.images, options.side, options.labels, draws), options.labels
    upsampling = Upsampling((options.grid, options.grid), size)
    names = Concepts.of([f"concept {i}" for i in range(concepts)])
    seconds: dict[str, list[float]] = {"plain": [], "ours": [], "null": []}
    identical, total = True, Tally.empty(options.units, names, draws=0)
    tally_of(upsampling.above(maps[:1], levels), labels[:1], options.units, names, draws=0)
    for i in range(options.images):
        began = time.perf_counter()
        active, shown, both = plain_counts(maps[i], levels, labels[i, 0], concepts, upsampling)
        seconds["plain"].append(time.perf_counter() - began)
        began = time.perf_counter()
        ours = tally_of(upsampling.above(maps[i : i + 1], levels), labels[i : i + 1], options.units, names, draws=0)
        seconds["ours"].append(time.perf_counter() - began)
        total = total + ours
        identical &= torch.equal(ours.both, both) and torch.equal(ours.labelled, shown)
        identical &= torch.equal(ours.active[:, 0], active)
    lit = upsampling.above(maps, levels)
    began = time.perf_counter()
    tally_of(lit, labels, options.units, names)
    with_null = time.perf_counter() - began
    began = time.perf_counter()
    tally_of(lit, labels, options.units, names, draws=0)
    seconds["null"].append((with_null - time.perf_counter() + began) / options.images)
    result = {
        "units": options.units,
        "labels": concepts,
        "side": options.side,
        "identical": identical,
        "images": int(total.images),
        **{f"{name}_ms_per_image": 1000 * statistics.median(each) for name, each in seconds.items()},
    }
    ratios = [plain / ours for plain, ours in zip(seconds["plain"], seconds["ours"], strict=True)]
    result |= {"times_faster": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    print(json.dumps(result, indent=1))
    if options.out:
        files.write_text(options.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
