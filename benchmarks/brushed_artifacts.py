"""What is marked by eye in at most 8 images of `towers-early`, and what becomes of it: figures on unseen seeds.

    python -m benchmarks.brushed_artifacts --out DIR [--layer b32.conv0] [--marks bars] [--seeds 1000]

Runs `rewrite artifacts towers-early --marks`, then measures both ways with two things that they were not chosen by: a
judge of pixels, trained on drawn scenes against generated ones, and the areas of concepts. It also says how much of
what the judge calls bad lies where something was marked. `bars` are the dark bars beneath tops, `hovering` the blobs
and towers that hang in the sky.
"""

import argparse
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from apps.cli import main as rewrite_main
from dissect.quality.artifacts import FIRST_TEST_SEED
from dissect.scenes import scenes
from dissect.segmenter import load_segmenter
from dissect.sources.towers import SegmenterSource
from rewrite import Generator, Latent, Mask, Patch, Region, load_generator
from rewrite.generators.batches import batched
from rewrite.reports.interval import bootstrapped
from rewrite.rules.marks import Marks

MODEL, SIDE = "towers-early", 64
# Ellipses by seed: top, left, bottom, right, in pixels, set by eye on enlarged images.
MARKED = {
    "bars": {
        14: [(25, 9, 29, 18), (22, 24, 28, 41), (26, 45, 33, 54)],
        9: [(26, 30, 29, 39), (28, 45, 36, 53)],
        25: [(25, 24, 29, 38), (27, 9, 31, 16), (27, 46, 34, 53)],
        3: [(23, 9, 29, 20), (21, 20, 27, 32), (23, 44, 29, 53)],
        7: [(29, 11, 34, 17), (27, 30, 33, 37), (29, 45, 35, 56)],
        27: [(27, 10, 32, 17), (24, 27, 43, 36), (26, 44, 33, 54)],
        156: [(32, 11, 36, 18), (29, 46, 34, 53)],
    },
    "hovering": {
        389: [(17, 29, 25, 36)],
        200: [(18, 26, 25, 35)],
        120: [(17, 28, 24, 36)],
        373: [(16, 23, 27, 38)],
        217: [(20, 26, 26, 36), (20, 47, 27, 52)],
        234: [(12, 25, 33, 38), (18, 11, 32, 18)],
        348: [(17, 29, 27, 34)],
        282: [(17, 12, 35, 19), (18, 29, 36, 36)],
    },
}
JUDGED_FROM, STEPS, BATCH, PART, NOISE = 3_000_000, 1000, 32, 4, 0.1
# The judge calls bad what it finds in so small a share of the pixels of drawn scenes.
FALSELY = 0.02
# Pixels around a mark that may count as what was marked.
NEAR = 4


def marks_of(generator: Generator, name: str) -> Marks:
    """The ellipses as marks."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    regions = []
    for seed, ellipses in MARKED[name].items():
        for top, left, bottom, right in ellipses:
            down = (rows - (top + bottom) / 2) / ((bottom - top) / 2)
            across = (columns - (left + right) / 2) / ((right - left) / 2)
            regions.append(Region(Latent(seed), Mask.from_array(down**2 + across**2 <= 1)))
    return Marks(generator.fingerprint, tuple(regions))


def pictures(first: int, count: int) -> Tensor:
    """Drawn scenes in [-1, 1]."""
    return torch.from_numpy(scenes(range(first, first + count))[0]).permute(0, 3, 1, 2).float() / 127.5 - 1


class Judge(nn.Module):
    """How generated each part of 4 x 4 pixels looks, from 11 x 11 such parts around it.

    At full resolution a judge calls 99.9 % of these images bad, skies and all: generated ones are never as crisp as
    drawn ones. Means of parts, with noise, leave shapes and colours to judge by.
    """

    def __init__(self):
        super().__init__()
        sizes = (3, 24, 32, 32, 32, 1)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, padding_mode="reflect") for a, b in pairwise(sizes))
        self.level = 0.0

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, rows, columns) of images in [-1, 1]."""
        images = F.avg_pool2d(images, PART)
        if self.training:
            images = images + NOISE * torch.randn_like(images)
        for layer in self.layers[:-1]:
            images = F.leaky_relu(layer(images), 0.2)
        return self.layers[-1](images)[:, 0]

    @torch.no_grad()
    def called_bad(self, images: Tensor) -> Tensor:
        """Which parts (n, rows, columns) of images are called bad."""
        return self(images) > self.level

    def bad(self, images: Tensor) -> Tensor:
        """The share of each image that is called bad."""
        return self.called_bad(images).float().mean(dim=(1, 2))


def judge(generator: Generator, steps: int) -> Judge:
    """A judge trained on drawn scenes against generated ones, neither of which is measured on."""
    torch.manual_seed(0)
    net = Judge()
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    real, fake = pictures(JUDGED_FROM, 1500), drawn(generator, range(JUDGED_FROM, JUDGED_FROM + 1500), None)
    for number in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - number / steps)
        some = torch.randint(len(real), (2, BATCH // 2))
        logits = net(torch.cat([real[some[0]], fake[some[1]]]))
        truth = torch.tensor([0.0, 1.0]).repeat_interleave(BATCH // 2)[:, None, None].expand_as(logits)
        loss = F.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    with torch.no_grad():
        logits = net(pictures(JUDGED_FROM + 10_000, 200)).flatten()
        net.level = float(np.quantile(logits.numpy(), 1 - FALSELY))
    return net


def drawn(generator: Generator, seeds: range, patch: Patch | None) -> Tensor:
    """Images of seeds, with a patch or without."""
    if patch is None:
        return torch.cat([generator.sample(part) for part in batched(seeds, 16)])
    with patch.applied(generator):
        return drawn(generator, seeds, None)


def reach(generator: Generator, net: Judge, marks: Marks) -> dict[str, float]:
    """Of the bad area of the marked images, the share under marks and near them: all that a repair there can take."""
    masks: dict[int, np.ndarray] = {}
    for region in marks.regions:
        seed = region.latent.seed
        masks[seed] = masks.get(seed, False) | region.mask.array()
    bad = net.called_bad(generator.sample(list(masks))).float()[:, None]
    bad = F.interpolate(bad, size=(SIDE, SIDE), mode="nearest")
    marked = torch.from_numpy(np.stack(list(masks.values()))).float()[:, None]
    near = F.max_pool2d(marked, 2 * NEAR + 1, 1, NEAR)
    return {name: float((bad * where).sum() / bad.sum()) for name, where in (("under", marked), ("near", near))}


def figures(generator: Generator, net: Judge, patches: Mapping[str, Patch], count: int) -> dict:
    """The bad area and the areas of concepts, before and with each patch, on unseen seeds."""
    source, seeds = SegmenterSource(load_segmenter()), range(FIRST_TEST_SEED, FIRST_TEST_SEED + count)
    names = source.concepts.names

    def measured(patch: Patch | None) -> tuple[np.ndarray, np.ndarray]:
        images = drawn(generator, seeds, patch)
        labels = torch.cat([source.label(part, range(len(part))) for part in images.split(32)]).flatten(1)
        areas = torch.stack([(labels == number).float().mean(dim=1) for number in range(len(names))], dim=1)
        bad = torch.cat([net.bad(part) for part in images.split(32)])
        return bad.numpy().astype(float), areas.numpy().astype(float)

    bad, areas = measured(None)
    shown = dict(zip(names, areas.mean(axis=0).round(5).tolist(), strict=True))
    found = {"bad_before": float(bad.mean()), "areas": shown}
    for name, patch in patches.items():
        then, moved = measured(patch)
        fall = bootstrapped(lambda some: [1 - then[some].mean() / bad[some].mean()], (count,))[0]  # noqa: B023
        shares = moved.mean(axis=0) / areas.mean(axis=0).clip(1e-9) - 1
        found[name] = {"bad": float(then.mean()), "fall_of_bad": fall.document()}
        found[name]["moved"] = dict(zip(names, shares.round(4).tolist(), strict=True))
    return found


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layer", default="b32.conv0")
    parser.add_argument("--marks", choices=MARKED, default="bars")
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the judge's training")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    generator = load_generator(MODEL)
    marks_of(generator, options.marks).save(options.out / "marks.json")
    given = ["--layer", options.layer, "--marks", options.out / "marks.json", "--out", options.out]
    rewrite_main(["artifacts", MODEL, *map(str, [*given, "--test", options.seeds, "--choose", 200, "--samples", 400])])
    files = {"units": "units-off.safetensors", "rule": "erased.safetensors"}
    patches = {name: Patch.load(options.out / file) for name, file in files.items() if (options.out / file).exists()}
    net = judge(generator, options.steps)
    found = figures(generator, net, patches, options.seeds)
    found["bad_area_of_marked_images"] = reach(generator, net, marks_of(generator, options.marks))
    (options.out / "judged.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
