"""Photographs on towers: how near each stage of the search comes to rendered scenes, and whether rules hold there.

    python -m benchmarks.photographs --scenes 24 --lpips ../shared/weights/files/squeezenet1_1.pt --out DIR

The scenes are rendered, not drawn by the generator, with exact labels; by default from seed 3,100,000 on, of which none
was looked at while the search was made (that was done on 3,000,000 to 3,000,003). Agreement is the share of pixels
that the segmenter names on the drawn image as the renderer did; IoU is averaged over the concepts that cover half a
percent of a scene or more. A scene drawn with the rule tree-on-towers is asked twice: which share of the pixels that
are a top in the scene are named tree then, and which share of all others is named otherwise than without the rule.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dissect.photographs.photograph import Photograph
from dissect.photographs.search import WEIGHTS, Effort, Search
from dissect.quality.features import SegmenterFeatures
from dissect.scenes import CONCEPTS
from dissect.segmenter import Segmenter, load_segmenter
from dissect.sources.towers import Scenes
from rewrite import Generator, Patch, Rule, load_generator, load_perceptual, measure, solve
from rewrite.reports.perceptual import Perceptual
from rewrite.reports.pictures import save_picture, strips, to_pil
from rewrite.rules import rule_path

RULE, TREE = "tree-on-towers", CONCEPTS.index("tree")
TOPS = [CONCEPTS.index(name) for name in ("roof", "dome", "spire")]
LEAST = 0.005
SHOWN = 8


def main() -> None:
    """Search each scene, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=24)
    parser.add_argument("--first", type=int, default=3_100_000)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--lpips", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    generator, segmenter = load_generator("towers"), load_segmenter()
    perceptual = None if options.lpips is None else load_perceptual(options.lpips)
    rule = Rule.load(rule_path(RULE))
    patch = solve(generator, measure(generator, rule.layer, 2000), rule)
    numbers = range(options.first, options.first + options.scenes)
    scenes = Scenes(options.first, options.scenes)
    found, rows = [], {"scene": [], "w+": [], "weights": [], RULE: []}
    for number in numbers:
        image, label = scenes.images([number])[0], scenes.labels([number])[0, 0].numpy()
        search = Search(generator, image, SegmenterFeatures(segmenter), Effort(steps=options.steps))
        begun = time.process_time()
        photograph = search.run()
        seconds = time.process_time() - begun
        told, edited = stages(generator, search, photograph, patch, (segmenter, perceptual, label))
        found.append({"scene": number, "seconds": seconds, "stages": told})
        shown = image[None], search.found.drawn["w+"], search.found.drawn[WEIGHTS], edited
        for row, drawn in zip(rows.values(), shown, strict=True):
            row += to_pil(drawn)
        (options.out / "photographs.json").write_text(json.dumps(found, indent=1))
        captions = [str(each["scene"]) for each in found]
        save_picture(options.out / "photographs.png", strips(rows, captions, columns=SHOWN))
    print(table(found))


def stages(
    generator: Generator,
    search: Search,
    photograph: Photograph,
    patch: Patch,
    seen: tuple[Segmenter, Perceptual | None, np.ndarray],
) -> tuple[dict[str, dict[str, float]], Tensor]:
    """Figures of each stage, and the image of the last one with the rule."""
    segmenter, perceptual, label = seen
    told, edited = {}, photograph.picture[None]
    for near in photograph.near:
        drawn = search.found.drawn[near.stage]
        named = segmenter.label(drawn)[0]
        figures = {"colours": near.colours, "features": near.features or 0.0, **kept(named, label)}
        if perceptual is not None:
            figures["lpips"] = float(perceptual(drawn, photograph.picture[None]))
        if near.stage == WEIGHTS:
            edited = photograph.drawn(generator, [patch])
        elif near.stage == "w+":
            with patch.applied(generator):
                edited = generator.sample(photograph.latent)
        if near.stage in ("w+", WEIGHTS):
            figures |= rewritten(segmenter.label(edited)[0], named, label)
        told[near.stage] = figures
    return told, edited


def kept(named: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """How well concepts are kept."""
    shown = [concept for concept in range(len(CONCEPTS)) if (label == concept).mean() > LEAST]
    pairs = [(named == concept, label == concept) for concept in shown]
    iou = [(one & other).sum() / max(1, (one | other).sum()) for one, other in pairs]
    moved = [abs(one.mean() - other.mean()) / other.mean() for one, other in pairs]
    return {"agreement": float((named == label).mean()), "iou": float(np.mean(iou)), "area": float(np.mean(moved))}


def rewritten(after: np.ndarray, before: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """What the rule does there; NaN in a scene without tops."""
    tops = np.isin(label, TOPS)
    trees = float((after[tops] == TREE).mean()) if tops.any() else float("nan")
    return {"tops that are trees": trees, "elsewhere": float((after != before)[~tops].mean())}


def table(found: list[dict]) -> str:
    """The means over scenes, a row for each stage."""
    names = list(dict.fromkeys(name for each in found for told in each["stages"].values() for name in told))
    lines = ["| stage | " + " | ".join(names) + " |", "|---" * (1 + len(names)) + "|"]
    for stage in found[0]["stages"]:
        values = [[each["stages"][stage].get(name, np.nan) for each in found] for name in names]
        shown = ["" if np.isnan(each).all() else f"{np.nanmean(each):.3f}" for each in values]
        lines.append(f"| {stage} | " + " | ".join(shown) + " |")
    seconds = [each["seconds"] for each in found]
    return "\n".join([*lines, f"{len(found)} scenes, {np.median(seconds):.1f} s of CPU each at the median"])


if __name__ == "__main__":
    main()
