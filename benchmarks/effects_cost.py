"""The time that the effects of every unit alone take, exactly and estimated, and how good the estimate is.

    python -m benchmarks.effects_cost --layer b32.conv0 --concepts tree,door
    python -m benchmarks.effects_cost --wide 512

The unit of time is one pass: from the layer's output through the rest of the generator and the segmenter, to labels.
Passes and what is measured take turns, and time is that of the processor, so that whatever else the machine does falls
on both alike; what comes before the layer is taken off the time of an estimate. A wide generator has random weights and
as many channels up to 16 x 16.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import spearmanr

from dissect.causes.experiment import Experiment, measure_removals
from dissect.causes.intervention import Intervention
from dissect.causes.screen import PROMISING, first_order
from dissect.sources.towers import SegmenterSource
from rewrite import load_generator
from rewrite.generators.contract import Generator
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

TOP = 20


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", default="b32.conv0")
    parser.add_argument("--concepts", default="tree,dome,window,door,sky")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wide", type=int, help="channels of a random generator in place of towers")
    options = parser.parse_args()
    generator, layer = load_generator("towers"), options.layer
    if options.wide:
        generator, layer = wide(options.wide), "b16.conv1"
    experiment, seeds = Experiment(generator, layer, SegmenterSource()), tuple(range(options.images))
    concepts = [experiment.source.concepts.number(name) for name in options.concepts.split(",")]
    result = {
        "layer": layer,
        "units": experiment.units,
        "images": len(seeds),
        **costs(experiment, concepts, seeds, options.rounds),
    }
    print(json.dumps(result, indent=1))


def costs(experiment: Experiment, concepts: list[int], seeds: tuple[int, ...], rounds: int) -> dict:
    """Ratios of time, and the quality of the estimate of each concept."""
    prefix, units = experiment.prefix(seeds), range(experiment.units)
    exact, estimated, together = [], [], []
    for _ in range(rounds):
        passes = seconds(lambda: [experiment.labels(prefix, seeds) for _ in units]) / len(units)
        began = time.process_time()
        found = measure_removals(experiment, seeds, batch=len(seeds)).sums[1].numpy()
        exact.append((time.process_time() - began) / passes / len(units))
        before = seconds(lambda: experiment.prefix(seeds))
        for some, ratios in ((concepts[:1], estimated), (concepts, together)):
            taken = seconds(lambda some=some: first_order(experiment, some, seeds, batch=len(seeds)))
            ratios.append((taken - before) / passes)
    estimate = first_order(experiment, concepts, seeds, batch=len(seeds)).numpy()
    names = experiment.source.concepts.names
    return {
        "exact_over_units_times_pass": statistics.median(exact),
        "estimate_over_pass": statistics.median(estimated),
        f"estimate_of_{len(concepts)}_concepts_over_pass": statistics.median(together),
        "identical_to_whole_generations": identical(experiment, seeds, found),
        "concepts": {
            names[concept]: {
                "rank_correlation": float(spearmanr(estimate[:, row], found[:, concept])[0]),
                f"share_of_top_{TOP}_kept_among_{PROMISING}": kept(estimate[:, row], found[:, concept]),
            }
            for row, concept in enumerate(concepts)
            if found[:, concept].any()
        },
    }


def kept(estimate: np.ndarray, exact: np.ndarray) -> float:
    """The share of the units with the greatest exact effects that the screen lets through."""
    let_through = set(np.argsort(-estimate)[:PROMISING].tolist())
    return len(let_through & set(np.argsort(-exact)[:TOP].tolist())) / TOP


def identical(experiment: Experiment, seeds: tuple[int, ...], found: np.ndarray, units: int = 4) -> bool:
    """Whether some units' effects are those of zeroing the unit while whole images are generated."""
    generator, source = experiment.generator, experiment.source
    module = generator.module.get_submodule(generator.layer(experiment.layer).weight.rpartition(".")[0])

    def areas() -> np.ndarray:
        labels = source.label(generator.sample(seeds, batch=len(seeds)), seeds).numpy()
        return np.array([(labels == concept).sum() for concept in range(len(source.concepts))])

    before, same = areas(), True
    for unit in range(units):
        hook = lambda module, inputs, output, unit=unit: Intervention.off([unit]).on(output)  # noqa: E731
        handle = module.register_forward_hook(hook)
        same &= bool((before - areas() == found[unit]).all())
        handle.remove()
    return same


def wide(channels: int) -> Generator:
    """A generator of 64 x 64 with random weights and so many channels up to 16 x 16."""
    torch.manual_seed(0)
    widths = {4: channels, 8: channels, 16: channels, 32: 64, 64: 32}
    return StyleGAN2Generator(StyleGAN2(Design(z_dim=64, w_dim=64, mapping_layers=2, channels=widths)))


def seconds(function: Callable[[], object]) -> float:
    """How much of the processor's time a call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


if __name__ == "__main__":
    main()
