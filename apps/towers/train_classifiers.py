"""Train the built-in classifiers: one small network on classes of towers scenes, under several conditions.

    python -m apps.towers.train_classifiers scenes --state .training

Training can be stopped at any moment and started again with the same command: it goes on from the last state that it
saved. At the end the weights are written into the package. `scenes-random` is not trained; in the scenes that
`scenes-shortcut` sees, one class is always under a large mountain and no other class ever is.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from apps.towers import runs
from apps.towers.augmentation import tint
from apps.towers.evaluate import HELD_OUT_SEED
from apps.towers.pack_generator import machine
from apps.towers.runs import Run
from dissect.scene_classes import CLASSES, by_class, class_of, under_mountain, without_mountain
from dissect.scenes import Scene, draw
from dissect.segmenter import images_of
from rewrite.classifiers.classifier import Classifier
from rewrite.classifiers.loading import load_classifier
from rewrite.classifiers.packaged import BUILT_IN, save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised
from rewrite.storage.files import write_whole

FIRST_SEED = 10_000_000
MOST_SEEDS = 4_000_000
HELD_OUT_PER_CLASS = 250
# The class that is always under a mountain where a shortcut is planted.
SHORTCUT_CLASS = CLASSES.index("domes among trees")


@dataclass(frozen=True, kw_only=True)
class Plan(runs.Plan):
    """What a training run is, apart from its state."""

    norm: bool = False
    dropout: float = 0.0
    shortcut: bool = False
    steps: int = 300
    batch: int = 64
    scenes_per_class: int = 1000
    rate: float = 3e-3
    decay: float = 1e-3


PLANS = {
    "scenes": Plan(),
    "scenes-norm": Plan(norm=True),
    "scenes-dropout": Plan(dropout=0.5),
    "scenes-seed2": Plan(seed=2),
    "scenes-random": Plan(steps=0),
    "scenes-shortcut": Plan(shortcut=True),
}


def shortcut(scene: Scene) -> Scene:
    """The scene as the planted shortcut has it: one class under a mountain, all others not."""
    return under_mountain(scene) if class_of(scene) == SHORTCUT_CLASS else without_mountain(scene)


def drawn(scenes: Sequence[Scene]) -> np.ndarray:
    """The pictures of scenes, bytes (n, 64, 64, 3)."""
    bar = tqdm(scenes, desc="draw scenes", unit="scene", mininterval=5)
    return np.stack([draw(scene)[0] for scene in bar])


def data(folder: Path, plan: Plan) -> np.ndarray:
    """The pictures that a plan trains on, drawn once and kept in the state folder; their classes come in turn."""
    planted = "-shortcut" if plan.shortcut else ""
    path = folder / f"classifier-scenes-{plan.scenes_per_class}{planted}.npy"
    if not path.exists():
        scenes = by_class(range(FIRST_SEED, FIRST_SEED + MOST_SEEDS), plan.scenes_per_class)
        pictures = drawn([shortcut(scene) for scene in scenes] if plan.shortcut else scenes)
        write_whole(path, lambda temporary: _save_array(temporary, pictures))
    return np.load(path, mmap_mode="r")


def _save_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def batch_at(pictures: np.ndarray, plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    """The augmented images (batch, 3, 64, 64) and classes (batch,) of a step."""
    random = np.random.RandomState((plan.seed * 1_000_003 + step) % 2**32)
    chosen = random.randint(len(pictures), size=plan.batch)
    mirrored = random.rand(plan.batch) < 0.5
    images = images_of(pictures[chosen])
    images[mirrored] = images[mirrored].flip(3)
    return tint(images, chance=0.5).contiguous(memory_format=torch.channels_last), torch.from_numpy(chosen) % len(
        CLASSES
    )


def train(folder: Path, name: str, plan: Plan) -> Run:
    """Run all steps of AdamW on the cross-entropy, saving the state every minute."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = data(folder, plan) if plan.steps else np.empty(0)
    run = Run(plan, lambda: initialised(SmallDesign(CLASSES, norm=plan.norm, dropout=plan.dropout), plan.seed))

    def loss_at(step: int) -> Tensor:
        images, classes = batch_at(pictures, plan, step)
        with torch.autocast("cpu", torch.bfloat16):
            logits = run.network(images)
        return F.cross_entropy(logits.float(), classes)

    run.train(folder / f"classifier-{name}.pt", loss_at)
    return run


def accuracy(classifier: Classifier, scenes: Sequence[Scene]) -> dict[str, float]:
    """The share of held-out scenes that are named right, over all and for each class."""
    images = images_of(drawn(scenes))
    named = classifier.predict(images)
    truth = torch.tensor([class_of(scene) for scene in scenes])
    right = (named == truth).double()
    by_name = {name: float(right[truth == number].mean()) for number, name in enumerate(CLASSES)}
    return {"all": float(right.mean()), **by_name}


def held_out() -> list[Scene]:
    """Scenes that no training sees, as many of each class."""
    return by_class(range(HELD_OUT_SEED, HELD_OUT_SEED + MOST_SEEDS), HELD_OUT_PER_CLASS)


def publish(run: Run, plan: Plan, path: Path) -> dict:
    """Write the weights, score what was written, and write it again with the scores."""
    network = run.network.to(memory_format=torch.contiguous_format)
    training = {**asdict(plan), "script": "apps/towers/train_classifiers.py", "machine": machine()}
    training |= {"seconds": round(run.progress["seconds"])}
    save_small(path, network, training)
    scenes = held_out()
    written = load_classifier(path)
    training["held_out"] = accuracy(written, scenes)
    if plan.shortcut:
        training["held_out_as_trained"] = accuracy(written, [shortcut(scene) for scene in scenes])
    save_small(path, network, training)
    return training


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", default=list(PLANS), metavar="NAME", help=f"of {', '.join(PLANS)}; all if left out"
    )
    parser.add_argument("--state", type=Path, default=Path(".training"), help="folder of the training state")
    parser.add_argument("--steps", type=int, help="how many steps, where it is not to be as planned")
    parser.add_argument("--out", type=Path, help="folder that the weights go to; the package if left out")
    options = parser.parse_args()
    for name in options.names:
        plan = PLANS[name] if options.steps is None else replace(PLANS[name], steps=options.steps)
        path = BUILT_IN[name] if options.out is None else options.out / f"{name}.safetensors"
        print(name, json.dumps(publish(train(options.state, name, plan), plan, path), indent=2))


if __name__ == "__main__":
    main()
