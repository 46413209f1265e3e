"""Train the built-in segmenter: a small U-Net on towers scenes and on scenes made strange.

    python -m apps.towers.train_segmenter --state .training

Training can be stopped at any moment and started again with the same command: it goes on from the
last state that it saved. At the end the weights are written into the package.
"""

import argparse
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from apps.towers import runs
from apps.towers.augmentation import bend, mix, tint, unusual
from apps.towers.evaluate import HELD_OUT_SEED, label_scenes, segmenter_scores
from apps.towers.runs import Run
from dissect.scenes import CONCEPTS, compose, draw
from dissect.segmenter import PACKAGED, Segmenter, images_of, load_segmenter, save_segmenter
from rewrite.storage.files import write_whole

FIRST_SEED = 1_000_000
HELD_OUT = 1000
UNUSUAL_EVERY = 4


@dataclass(frozen=True, kw_only=True)
class Plan(runs.Plan):
    """What a training run is, apart from its state."""

    steps: int = 1200
    batch: int = 24
    scenes: int = 8000
    rate: float = 4e-3
    decay: float = 1e-4


def data(folder: Path, count: int) -> np.ndarray:
    """The training scenes, drawn once and kept in the state folder: bytes (count, 64, 64, 4), colours and label."""
    path = folder / f"segmenter-scenes-{count}.npy"
    if not path.exists():
        drawn = np.empty((count, 64, 64, 4), np.uint8)
        for i in tqdm(range(count), desc="draw scenes", unit="scene", mininterval=5):
            scene = compose(FIRST_SEED + i)
            if i % UNUSUAL_EVERY == 0:
                scene = unusual(scene, np.random.RandomState(scene.seed))
            drawn[i, ..., :3], drawn[i, ..., 3] = draw(scene)
        write_whole(path, lambda temporary: np.save(temporary, drawn))
    return np.load(path, mmap_mode="r")


def class_weights(drawn: np.ndarray) -> Tensor:
    """Mild weights for rare classes, (concepts,): a low power of rarity, with mean one over all pixels."""
    share = np.bincount(drawn[::8, ..., 3].ravel(), minlength=len(CONCEPTS)) / drawn[::8, ..., 3].size
    weights = share**-0.15
    return torch.from_numpy(weights / (weights * share).sum()).float()


def batch_at(drawn: np.ndarray, plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    """The augmented images (batch, 3, 64, 64) and labels (batch, 64, 64) of a step."""
    random = np.random.RandomState((plan.seed * 1_000_003 + step) % 2**32)
    chosen = random.randint(len(drawn), size=(plan.batch, 2))
    mine, others = drawn[chosen[:, 0]], drawn[chosen[:, 1]]
    for scene, other in zip(mine, others, strict=True):
        mix(scene[..., :3], scene[..., 3], other[..., :3], other[..., 3], random)
    images, labels = bend(images_of(mine[..., :3]), torch.from_numpy(mine[..., 3].copy()))
    return tint(images).contiguous(memory_format=torch.channels_last), labels


def train(folder: Path, plan: Plan) -> Run:
    """Run all steps of AdamW on the weighted cross-entropy, saving the state every minute."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, run = data(folder, plan.scenes), Run(plan, Segmenter)
    weights = class_weights(drawn)

    def loss_at(step: int) -> Tensor:
        images, labels = batch_at(drawn, plan, step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.network(images)
        return F.cross_entropy(logits.float(), labels, weights)

    run.train(folder / "segmenter.pt", loss_at)
    return run


def publish(run: Run, plan: Plan, path: Path) -> dict:
    """Write the weights, score what was written, and write it again with the scores."""
    segmenter = run.network.to(memory_format=torch.contiguous_format)
    machine = f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores, torch {torch.__version__}"
    segmenter.provenance = {**asdict(plan), "seconds": round(run.progress["seconds"]), "machine": machine}
    save_segmenter(segmenter, path)
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + HELD_OUT)
    segmenter.provenance["held_out"] = segmenter_scores(*label_scenes(load_segmenter(path), seeds))
    save_segmenter(segmenter, path)
    return segmenter.provenance


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(".training"), help="folder of the training state")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--steps", type=int, default=Plan.steps)
    parser.add_argument("--out", type=Path, default=PACKAGED, help="where the weights go")
    options = parser.parse_args()
    plan = Plan(seed=options.seed, steps=options.steps)
    print(json.dumps(publish(train(options.state, plan), plan, options.out), indent=2))


if __name__ == "__main__":
    main()
