"""Scenes made strange, so that a segmenter learns what things look like and not only where they stand.

The world is tidy: trees stand on grass, every tower has its top. Generated and edited images are not, so things
are cut out of one scene and pasted into another, tops are taken off, and the picture is bent, tinted and blurred.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from dissect.scenes import CONCEPTS, LEAVES, TOPS, Cloud, Scene

INDEX = {concept: i for i, concept in enumerate(CONCEPTS)}
TOP_LABELS = [INDEX[top] for top in TOPS]
CUTTINGS = (
    ("tree",),
    ("tree",),
    ("tree", "trunk"),
    ("tree", "trunk"),
    ("dome",),
    ("spire",),
    ("roof",),
    ("cloud",),
    ("window",),
    ("door",),
    ("building", "window", "door", *TOPS),
)
BLUR = torch.tensor([0.06, 0.24, 0.4, 0.24, 0.06])


def unusual(scene: Scene, random: np.random.RandomState) -> Scene:
    """The same scene with trees of any size anywhere, often on top of a tower, and with clouds anywhere above."""
    trees = []
    for tree in scene.trees:
        x, base = random.uniform(2, 62), random.uniform(14, 62)
        if random.rand() < 0.5:
            tower = scene.towers[random.randint(len(scene.towers))]
            x, base = tower.x + random.uniform(-3, 3), tower.top + random.uniform(-12, 8)
        trees.append(replace(tree, x=x, base=base, radius=random.uniform(3, 8)))
    clouds = tuple(Cloud(random.uniform(5, 59), random.uniform(3, 30), random.uniform(8, 18)) for _ in scene.clouds)
    towers = tuple(replace(tower, windows=random.randint(0, 3)) for tower in scene.towers)
    return replace(scene, trees=tuple(trees), clouds=clouds, towers=towers)


def mix(picture: np.ndarray, labels: np.ndarray, other: np.ndarray, other_labels: np.ndarray, random) -> None:
    """Change a scene in place with things of another: picture (h, w, 3) and labels (h, w), both uint8."""
    if random.rand() < 0.15:
        _take_tops_off(picture, labels)
    elif random.rand() < 0.12:
        _turn_dome_to_leaves(picture, labels, random)
    if random.rand() < 0.12:
        y, x = random.randint(0, 56, 2)
        box = slice(y, y + random.randint(8, 40)), slice(x, x + random.randint(8, 40))
        picture[box], labels[box] = other[box], other_labels[box]
    for _ in range(random.randint(0, 3)):
        _paste(picture, labels, other, other_labels, random)


def _take_tops_off(picture: np.ndarray, labels: np.ndarray) -> None:
    """Paint the tops of all towers, and the pixels that their border tints, with the sky of their row."""
    sky, top = labels == INDEX["sky"], np.isin(labels, TOP_LABELS)
    painted = top | (sky & ndimage.binary_dilation(top, np.ones((3, 3))))
    sky &= ~painted
    for y in np.flatnonzero(painted.any(axis=1) & sky.any(axis=1)):
        picture[y, painted[y]] = np.median(picture[y, sky[y]], axis=0)
        labels[y, painted[y]] = INDEX["sky"]


def _turn_dome_to_leaves(picture: np.ndarray, labels: np.ndarray, random: np.random.RandomState) -> None:
    """Give domes the colour of leaves and call them trees: half-way between the two, the colour decides."""
    dome = labels == INDEX["dome"]
    picture[dome] = LEAVES[random.randint(len(LEAVES))]
    labels[dome] = INDEX["tree"]


def _paste(picture: np.ndarray, labels: np.ndarray, other: np.ndarray, other_labels: np.ndarray, random) -> None:
    """Cut one thing out of the other scene and put it somewhere, half of the time where a tower's top is."""
    wanted = [INDEX[concept] for concept in CUTTINGS[random.randint(len(CUTTINGS))]]
    parts, count = ndimage.label(np.isin(other_labels, wanted))
    if not count:
        return
    y, x = np.nonzero(parts == random.randint(1, count + 1))
    target = random.randint(0, len(labels), 2)
    tops = np.argwhere(np.isin(labels, TOP_LABELS))
    if len(tops) and random.rand() < 0.5:
        target = tops[random.randint(len(tops))]
    to_y, to_x = y - int(y.mean()) + target[0], x - int(x.mean()) + target[1]
    inside = (to_y >= 0) & (to_y < len(labels)) & (to_x >= 0) & (to_x < len(labels))
    y, x, to_y, to_x = y[inside], x[inside], to_y[inside], to_x[inside]
    picture[to_y, to_x], labels[to_y, to_x] = other[y, x], other_labels[y, x]


def bend(images: Tensor, labels: Tensor, chance: float = 0.4) -> tuple[Tensor, Tensor]:
    """Shift, scale, turn and warp images (n, 3, h, w) and labels (n, h, w) together; some stay as they are.

    Nothing is mirrored: labels are read a little right of and below the middle of a pixel, and thin things notice.
    """
    count, side = len(images), images.shape[-1]
    pixel = 2 / side
    active = (torch.rand(count, 1, 1) < chance).float()
    angle, scale = 0.06 * torch.randn(count), 1 + 0.1 * torch.randn(count)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(count, 2, 2)
    linear = torch.lerp(torch.eye(2).expand(count, 2, 2), rotation * scale[:, None, None], active)
    shift = 3 * pixel * torch.randn(count, 2, 1) * active
    grid = F.affine_grid(torch.cat([linear, shift], 2), [count, 1, side, side], align_corners=False)
    waves = F.interpolate(torch.randn(count, 2, 8, 8), size=(side, side), mode="bicubic", align_corners=False)
    grid = grid + waves.permute(0, 2, 3, 1) * (0.8 * pixel * torch.rand(count, 1, 1, 1) * active[..., None])
    # The most probable of blended labels lies where the blended colours say; the nearest label is off by half a pixel.
    names = F.one_hot(labels.long(), len(CONCEPTS)).permute(0, 3, 1, 2).float()
    both = F.grid_sample(torch.cat([images, names], 1), grid, padding_mode="border", align_corners=False)
    return both[:, :3], both[:, 3:].argmax(dim=1)


def tint(images: Tensor, chance: float = 0.75) -> Tensor:
    """Change colour, contrast and sharpness and add noise to images (n, 3, h, w); some stay as they are."""
    count, side = len(images), images.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1)

    def clouds(grid: int, most: float) -> Tensor:
        coarse = torch.randn(count, 3, grid, grid) * uniform(0, most)
        return F.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)

    kernel = (BLUR[:, None] * BLUR[None, :]).expand(3, 1, 5, 5)
    soft = F.conv2d(F.pad(images, (2, 2, 2, 2), mode="replicate"), kernel, groups=3)
    # A factor below 0 sharpens, as generators do around edges.
    changed = torch.lerp(images, soft, uniform(-0.5, 1.1))
    middle = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = middle + (changed - middle) * uniform(0.8, 1.2) + uniform(-0.12, 0.12)
    grey = changed.mean(dim=1, keepdim=True)
    changed = grey + (changed - grey) * uniform(0.7, 1.25)
    changed = changed * (1 + 0.06 * torch.randn(count, 3, 1, 1))
    changed = changed + clouds(4, 0.1) + clouds(16, 0.08) + torch.randn_like(changed) * uniform(0, 0.08)
    active = torch.rand(count, 1, 1, 1) < chance
    return torch.where(active, changed.clamp(-1, 1), images)
