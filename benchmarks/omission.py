"""A second generator that never saw trees: are they reported as omitted, and missing where scenes are drawn again?

    python -m benchmarks.omission --state .omission --out omission

Trains a generator of 32x32 on scenes without the concepts, goes on where it was stopped, and compares what it draws
with scenes that show everything. Scenes and images are labelled at 64x64, the side that the segmenter was trained on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from apps.towers.train_generator import Course, Phase, design_of, train
from dissect.quality.features import CallableFeatures, SegmenterFeatures
from dissect.quality.inversion import invert
from dissect.quality.omissions import area_table, compare
from dissect.sources.contract import CallableSource
from dissect.sources.pictures import DrawnPictures
from dissect.sources.towers import Scenes, SegmenterSource
from rewrite import load_generator
from rewrite.checkpoints.native import save_stylegan2
from rewrite.reports.pictures import grid, save_picture, strips, to_pil
from rewrite.storage.files import write_text

SIDE = 32
INVERTED = 8


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without", default="tree,trunk")
    parser.add_argument("--small", type=int, default=20_000, help="images at 16x16")
    parser.add_argument("--large", type=int, default=72_000, help="images at 32x32")
    parser.add_argument("--scenes", type=int, default=8_000)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    without = options.without.split(",")
    phases = (
        Phase(16, options.small, 32, 1.0, precise=True),
        Phase(SIDE, options.large, 32, 1.0, last_rate=3e-4, precise=True),
    )
    run = train(options.state, 1, options.scenes, course=Course(phases), without=without)
    path = options.state / "generator.safetensors"
    save_stylegan2(path, run.average.state_dict(), design_of(SIDE), {"without": without, **run.progress})
    generator = load_generator(path)
    save_picture(options.out / "generated.png", grid(to_pil(generator.sample(range(32)))))
    source = labelled_enlarged()
    training = Scenes(count=2 * options.samples, size=SIDE)
    tables = [
        area_table(training, training.numbers, source, stage="label scenes", progress=True),
        area_table(DrawnPictures(generator, range(options.samples)), range(options.samples), source, progress=True),
    ]
    found = compare(*tables, source.concepts)
    column = tables[0]["areas"][:, source.concepts.number(without[0])]
    numbers = [training.numbers[int(place)] for place in np.argsort(-column, kind="stable")[:INVERTED]]
    inverted = invert(generator, training.images(numbers), enlarged_features(), steps=options.steps, progress=True)
    rows = {"given": inverted.images, "start": inverted.begun, "drawn": inverted.drawn}
    save_picture(options.out / "inversion.png", strips({name: to_pil(images) for name, images in rows.items()}))
    back = {name: source.label(images, numbers) for name, images in rows.items()}
    report = {
        "images": run.progress["seen"],
        "distance": found.distance.document(),
        "floor": found.floor.document(),
        "concepts": {
            each.concept: [each.training.value, each.generated.value, each.verdict] for each in found.concepts
        },
        "inverted": {
            concept: {name: share(labels, source.concepts.number(concept)) for name, labels in back.items()}
            for concept in source.concepts.names
        },
    }
    write_text(options.out / "omission.json", json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def enlarged(images: Tensor) -> Tensor:
    """Images at twice their side."""
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


def labelled_enlarged() -> CallableSource:
    """The segmenter on enlarged images."""
    source = SegmenterSource()

    def label(images: Tensor, numbers: Sequence[int]) -> Tensor:
        return source.label(enlarged(images), numbers)

    return CallableSource(label, source.concepts, "the segmenter at twice the side")


def enlarged_features() -> CallableFeatures:
    """The segmenter's features of enlarged images."""
    space = SegmenterFeatures()
    return CallableFeatures(lambda images: space.maps(enlarged(images)), "the segmenter at twice the side")


def share(labels: Tensor, concept: int) -> float:
    """Percentage of all pixels that show a concept."""
    return round(100 * (labels == concept).to(torch.float64).mean().item(), 3)


if __name__ == "__main__":
    main()
