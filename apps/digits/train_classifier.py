"""Train the built-in classifier of digits: a small LeNet on the first 797 of scikit-learn's digits.

Beside the cross-entropy, the mean activation of its hidden units is lowered: units that are seldom on stand for one
thing each. Without that, most that a unit knows is known by others too.

    python -m apps.digits.train_classifier --state .training

Training can be stopped at any moment and started again with the same command. At the end the weights are written into
the package. The other 1,000 digits are held out: the network is asked about them.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apps.towers import runs
from apps.towers.pack_generator import machine
from apps.towers.runs import Run
from dissect.sources.grey import DIGITS, GreyPictures, digits
from rewrite.classifiers.loading import load_classifier
from rewrite.classifiers.packaged import BUILT_IN, save_small
from rewrite.classifiers.small_cnn import SmallDesign, initialised

DESIGN = SmallDesign(DIGITS, widths=(16, 32), size=(8, 8), hidden=(64, 32))


@dataclass(frozen=True, kw_only=True)
class Plan(runs.Plan):
    """What a training run is, apart from its state."""

    sparse: float = 0.1


PLAN = Plan(steps=1200, batch=64, rate=3e-3, decay=1e-2)
# Each picture is turned, scaled and shifted anew every time that it is seen.
TURN, SCALE, SHIFT = math.radians(8), 0.08, 0.08


def batch_at(pictures: GreyPictures, plan: Plan, step: int) -> tuple[Tensor, Tensor]:
    """The augmented images (batch, 3, 8, 8) and classes (batch,) of a step."""
    random = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
    chosen = torch.randint(len(pictures.numbers), (plan.batch,), generator=random).tolist()
    return moved(pictures.images(chosen), random), pictures.classes(chosen)


def moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Each image turned, scaled and shifted a little; what comes in from beyond its border is its border."""
    turn, scale, *shift = (torch.rand(4, len(images), generator=random) * 2 - 1).unbind()
    turn, scale = turn * TURN, 1 + scale * SCALE
    rows = [
        torch.stack([scale * turn.cos(), -scale * turn.sin(), shift[0] * SHIFT], dim=1),
        torch.stack([scale * turn.sin(), scale * turn.cos(), shift[1] * SHIFT], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def train(folder: Path, plan: Plan) -> Run:
    """Run all steps of AdamW on the cross-entropy."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures, run = digits(training=True), Run(plan, lambda: initialised(DESIGN, plan.seed))

    def loss_at(step: int) -> Tensor:
        images, classes = batch_at(pictures, plan, step)
        scores, hidden = _run(run.network, images)
        return F.cross_entropy(scores, classes) + plan.sparse * sum(each.mean() for each in hidden)

    run.train(folder / "classifier-digits.pt", loss_at)
    return run


def _run(network: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The scores, and what the hidden linear layers give."""
    hidden = []
    for stage in network.children():
        images = stage(images)
        if isinstance(stage, nn.ReLU) and images.ndim == 2:
            hidden.append(images)
    return images, hidden


def accuracy(path: Path) -> dict[str, float]:
    """The share of held-out digits that a file's network names right, over all and for each."""
    pictures = digits()
    truth = pictures.classes(pictures.numbers)
    right = (load_classifier(path).predict(pictures.images(pictures.numbers)) == truth).double()
    by_name = {name: float(right[truth == number].mean()) for number, name in enumerate(DIGITS)}
    return {"all": float(right.mean()), **by_name}


def publish(run: Run, path: Path) -> dict:
    """Write the weights, score what was written, and write it again with the scores."""
    network = run.network.to(memory_format=torch.contiguous_format)
    training = {**asdict(run.plan), "script": "apps/digits/train_classifier.py", "machine": machine()}
    training |= {"seconds": round(run.progress["seconds"])}
    save_small(path, network, training)
    training["held_out"] = accuracy(path)
    save_small(path, network, training)
    return training


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--state", type=Path, default=Path(".training"), help="folder of the training state")
    parser.add_argument("--out", type=Path, default=BUILT_IN["digits"], help="file that is written")
    options = parser.parse_args()
    print(json.dumps(publish(train(options.state, PLAN), options.out), indent=2))


if __name__ == "__main__":
    main()
