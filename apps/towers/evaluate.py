"""Evaluate the built-in segmenter and a towers generator against held-out scenes.

    python -m apps.towers.evaluate --generator towers --count 5000 --out report.json

Generated images and scenes are labelled by the same segmenter, so that its mistakes are on both sides.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor
from tqdm import tqdm

from dissect.counts import Census, census, coverage, modes
from dissect.quality.areas import areas
from dissect.quality.frechet import frechet_distance
from dissect.scenes import CONCEPTS, compose, scenes
from dissect.segmenter import Segmenter, images_of, load_segmenter
from dissect.units.agreement import accuracy, class_iou, confusion
from rewrite import load_generator
from rewrite.storage.files import write_text

HELD_OUT_SEED = 2_000_000
BATCH = 50

Sample = Callable[[Sequence[int]], Tensor]


def label_scenes(segmenter: Segmenter, seeds: range) -> tuple[np.ndarray, np.ndarray]:
    """The exact labels of scenes, and what the segmenter makes of their pictures, both (n, 64, 64)."""
    truth, guess = [], []
    for part in batches(seeds, "label scenes"):
        pictures, labels = scenes(part)
        truth.append(labels)
        guess.append(segmenter.label(images_of(pictures)))
    return np.concatenate(truth), np.concatenate(guess)


def label_generated(segmenter: Segmenter, sample: Sample, seeds: range) -> np.ndarray:
    """What the segmenter makes of generated images, (n, 64, 64)."""
    return np.concatenate([segmenter.label(sample(part)) for part in batches(seeds, "label generated")])


def batches(seeds: range, what: str) -> Iterator[range]:
    """The seeds in parts of at most BATCH, under a progress bar that counts images."""
    with tqdm(total=len(seeds), desc=what, unit="image") as bar:
        for i in range(0, len(seeds), BATCH):
            yield seeds[i : i + BATCH]
            bar.update(len(seeds[i : i + BATCH]))


def segmenter_scores(truth: np.ndarray, guess: np.ndarray) -> dict:
    """Mean IoU, IoU of each concept and pixel accuracy."""
    matrix = confusion(truth, guess, len(CONCEPTS))
    iou = class_iou(matrix)
    by_concept, mean = dict(zip(CONCEPTS, iou.tolist(), strict=True)), float(np.nanmean(iou))
    return {"scenes": len(truth), "mean_iou": mean, "pixel_accuracy": accuracy(matrix), "iou": by_concept}


def counting_scores(taken: Sequence[Census], seeds: range) -> dict[str, float]:
    """Share of scenes whose counted towers, kinds and trees are those that they were composed of."""
    known = [(tuple(tower.kind for tower in scene.towers), len(scene.trees)) for scene in map(compose, seeds)]
    pairs = list(zip(taken, known, strict=True))
    return {
        "towers": float(np.mean([len(mine[0]) == len(exact[0]) for mine, exact in pairs])),
        "kinds": float(np.mean([mine[0] == exact[0] for mine, exact in pairs])),
        "trees": float(np.mean([mine[1] == exact[1] for mine, exact in pairs])),
    }


def evaluate(segmenter: Segmenter, sample: Sample, count: int) -> dict:
    """Compare `count` generated images with as many held-out scenes, beside as many scenes again for the floor."""
    seeds, again = (range(HELD_OUT_SEED + i * count, HELD_OUT_SEED + (i + 1) * count) for i in (0, 1))
    truth, guess = label_scenes(segmenter, seeds)
    _, floor = label_scenes(segmenter, again)
    generated = label_generated(segmenter, sample, range(count))
    area, floor_area, generated_area = (areas(labels, len(CONCEPTS)) for labels in (guess, floor, generated))
    counted = [census(labels) for labels in guess]
    data_modes, generated_modes = modes(counted), modes(census(labels) for labels in generated)
    ratios = coverage(data_modes, generated_modes)
    worst = min(ratios, key=ratios.get)
    return {
        "count": count,
        "segmenter": segmenter_scores(truth, guess),
        "counting": {
            "exact labels": counting_scores([census(labels) for labels in truth], seeds),
            "segmenter's labels": counting_scores(counted, seeds),
        },
        "frechet_segmentation_distance": {
            "generated": frechet_distance(generated_area, area),
            "floor": frechet_distance(floor_area, area),
        },
        "areas": {
            concept: {"data": float(data), "generated": float(drawn)}
            for concept, data, drawn in zip(CONCEPTS, area.mean(axis=0), generated_area.mean(axis=0), strict=True)
        },
        "modes": {
            mode: {"data": share, "generated": generated_modes[mode], "ratio": ratios.get(mode)}
            for mode, share in data_modes.items()
        },
        "worst_mode": {"mode": worst, "ratio": ratios[worst]},
    }


def as_text(report: dict) -> str:
    """A report as a table for people."""
    scores, distance = report["segmenter"], report["frechet_segmentation_distance"]
    lines = [
        f"{report['count']} generated images, {report['count']} held-out scenes",
        f"segmenter: mean IoU {scores['mean_iou']:.4f}, pixel accuracy {scores['pixel_accuracy']:.4f}",
        f"Fréchet segmentation distance: {distance['generated']:.2f} (floor {distance['floor']:.3f})",
    ]
    for labels, shares in report["counting"].items():
        lines.append(f"counted right from {labels}: " + ", ".join(f"{what} {x:.3f}" for what, x in shares.items()))
    lines.append(f"{'concept':>13} {'IoU':>7} {'area %':>7} {'generated %':>12}")
    for concept, area in report["areas"].items():
        lines.append(f"{concept:>13} {scores['iou'][concept]:7.4f} {area['data']:7.2f} {area['generated']:12.2f}")
    lines.append(f"{'mode':>13} {'data':>7} {'generated':>10} {'ratio':>6}")
    for mode, row in report["modes"].items():
        ratio = "" if row["ratio"] is None else f"{row['ratio']:6.2f}"
        lines.append(f"{mode:>13} {row['data']:7.3f} {row['generated']:10.3f} {ratio:>6}")
    lines.append(f"worst mode: {report['worst_mode']['mode']}, ratio {report['worst_mode']['ratio']:.2f}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, evaluate, print a table and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", default="towers", help="name or path of a generator")
    parser.add_argument("--count", type=int, default=5000, help="how many images on each side")
    parser.add_argument("--out", type=Path, help="write the report as JSON")
    options = parser.parse_args()
    report = evaluate(load_segmenter(), load_generator(options.generator).sample, options.count)
    print(as_text(report))
    if options.out:
        write_text(options.out, json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
