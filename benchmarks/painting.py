"""How long a stroke takes from its mask to the new image, with the run up to the layer at hand.

    python -m benchmarks.painting

Each stroke lies over all that were drawn before it, up to `--stack`; the picture is made anew each time, as the editor
does.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch

from dissect.causes.painting import Painting, painted, prefix_of
from dissect.causes.stroke import Stroke
from dissect.units.dissection import load_dissections
from rewrite import Mask, load_generator


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", default="b16.conv1")
    parser.add_argument("--strokes", type=int, default=50)
    parser.add_argument("--stack", type=int, default=10, help="so many strokes lie on one another at most")
    parser.add_argument("--threads", type=int, default=1, help="two wait for each other where others work too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator, dissection = load_generator(), load_dissections("towers")[options.layer]
    painting = Painting(generator.fingerprint, options.layer, 0)
    prefix, random = prefix_of(generator, painting), np.random.default_rng(0)
    painted(prefix, painting.add(_stroke(random)), dissection)
    seconds, worked = [], time.process_time()
    for _ in range(options.strokes):
        began = time.perf_counter()
        painting = painting.add(_stroke(random))
        painted(prefix, painting, dissection)
        seconds.append(time.perf_counter() - began)
        if len(painting.strokes) == options.stack:
            painting = painting.cleared()
    told = {
        "threads": options.threads,
        "layer": options.layer,
        "cpu_ms": round(1000 * (time.process_time() - worked) / options.strokes, 1),
        "median_ms": round(1000 * statistics.median(seconds), 1),
        "p90_ms": round(1000 * float(np.quantile(seconds, 0.9)), 1),
    }
    print(json.dumps(told))


def _stroke(random: np.random.Generator) -> Stroke:
    rows, columns = np.mgrid[:64, :64]
    middle, radius = random.integers(8, 56, 2), random.integers(3, 10)
    array = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2
    return Stroke(Mask.from_array(array), random.choice(["tree", "dome", "cloud", "window"]).item())


if __name__ == "__main__":
    main()
