"""Rules that a person would brush by eye on trained networks of other people.

Nothing here was tuned: marks are ellipses and boxes at places read off the pictures, or found in them by a plain rule
of colour, as each rule says.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rewrite import Generator, Mask
from rewrite.generators.latents import Latents
from rewrite.goals.pasted import Pasted, pasted_images
from rewrite.rules.regions import Latent, Region
from rewrite.rules.rule import Rule

FIRST_UNSEEN = 1000
FIRST_HAIR, FIRST_EYES, FIRST_LABEL, MOUTH_OPEN = 0, 24, 128, 20
COLOURS, EYE_COLOURS = 13, 10
BLONDE, BLACK, BLUE = 0, 2, 3
BLUE_EYES, RED_EYES = 0, 1
# An oracle's picture differs from the image here; elsewhere it is the same to the eye.
CHANGED = 0.25

# Centre and radii of an ellipse, and the ellipses of each image.
Spot = tuple[tuple[float, float], tuple[float, float]]
Spots = dict[int, list[Spot]]


@dataclass(frozen=True)
class Unseen:
    """Images that no rule knows.

    Attributes:
        aims: Those where the rule is to fire, with what they are to look like.
        bystanders: Seeds of those where it is not to fire.
    """

    aims: list[Pasted]
    bystanders: list[int]


@dataclass(frozen=True)
class Task:
    """A rule of a trained network.

    Attributes:
        network: Which network.
        layers: Layers to try.
        samples: Images that the second moment is measured over.
        rule: The marked rule at a layer, with no settings.
        unseen: At least so many unseen images, judged at a layer.
    """

    network: str
    layers: tuple[str, ...]
    samples: int
    rule: Callable[[Generator, str], Rule]
    unseen: Callable[[Generator, Rule, int], Unseen]


# Marks


def ellipse(size: tuple[int, int], centre: tuple[float, float], radii: tuple[float, float]) -> Mask:
    """A filled ellipse, in pixels: down, right."""
    rows, columns = np.indices(size)
    return Mask.from_array(((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1)


def box(size: tuple[int, int], top: int, left: int, height: int, width: int) -> Mask:
    """A box, in pixels."""
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return Mask.from_array(mask)


def boxes(where: np.ndarray, height: int, width: int) -> list[Mask]:
    """The boxes of a grid that lie in a part of an image."""
    rows, columns = where.shape
    corners = [
        (top, left) for top in range(0, rows - height + 1, height) for left in range(0, columns - width + 1, width)
    ]
    inside = [(top, left) for top, left in corners if where[top : top + height, left : left + width].mean() > 0.9]
    return [box((rows, columns), top, left, height, width) for top, left in inside]


def brushed(generator: Generator, name: str, layer: str, copy: Sequence[Region], places: Sequence[Region]) -> Rule:
    """A rule as it comes from marks alone."""
    return Rule(name, generator.fingerprint, layer, copy=tuple(copy), context=tuple(places))


def at_one_place(name: str, mask: Mask, copy: int, places: Sequence[int]) -> Callable[[Generator, str], Rule]:
    """A rule whose marks are the same in every image."""

    def rule(generator: Generator, layer: str) -> Rule:
        return brushed(generator, name, layer, [Region(Latent(copy), mask)], [Region(Latent(s), mask) for s in places])

    return rule


def at_spots(name: str, copy: Spots, places: Spots) -> Callable[[Generator, str], Rule]:
    """A rule whose marks are ellipses that were read off the pictures."""

    def regions(generator: Generator, spots: Spots) -> list[Region]:
        marked = [(seed, spot) for seed, found in spots.items() for spot in found]
        return [Region(Latent(seed), ellipse(generator.size, *spot)) for seed, spot in marked]

    def rule(generator: Generator, layer: str) -> Rule:
        return brushed(generator, name, layer, regions(generator, copy), regions(generator, places))

    return rule


def spots_of(radii: tuple[float, float], *centres: tuple[float, float]) -> list[Spot]:
    """Spots of one size."""
    return [(centre, radii) for centre in centres]


def hair(crown: tuple[float, float], *strands: tuple[float, float]) -> list[Spot]:
    """All of a head's hair: its crown and the strands beside the face."""
    return spots_of((20, 34), crown) + spots_of((23, 7.5), *strands)


# Unseen images

EVERYWHERE = box((128, 128), 0, 0, 128, 128)
AROUND_EYES, AROUND_MOUTHS = box((128, 128), 44, 26, 34, 76), box((128, 128), 68, 46, 26, 36)


def with_labels(
    first: int, kinds: int, was: int, becomes: int, within: Mask = EVERYWHERE
) -> Callable[[Generator, Rule, int], Unseen]:
    """Drawn faces that have one label of a kind; those that have the other instead are the wanted pictures."""

    def unseen(generator: Generator, rule: Rule, count: int) -> Unseen:
        seeds = range(FIRST_UNSEEN, FIRST_UNSEEN + 40 * count)
        own = generator.latents(seeds).z[:, FIRST_LABEL + first : FIRST_LABEL + first + kinds].argmax(dim=1).tolist()
        chosen = [seed for seed, label in zip(seeds, own, strict=True) if label == was][:count]
        others = [seed for seed, label in zip(seeds, own, strict=True) if label not in (was, becomes)][: count // 2]
        return Unseen(relabelled(generator, chosen, {first + was: -1, first + becomes: 1}, within), others)

    return unseen


def with_mouth_open(generator: Generator, rule: Rule, count: int) -> Unseen:
    """Drawn faces with closed mouths, which are to open; bystanders have theirs open."""
    seeds = range(FIRST_UNSEEN, FIRST_UNSEEN + 4 * count)
    is_open = (generator.latents(seeds).z[:, FIRST_LABEL + MOUTH_OPEN] > 0).tolist()
    closed = [seed for seed, each in zip(seeds, is_open, strict=True) if not each][:count]
    opened = [seed for seed, each in zip(seeds, is_open, strict=True) if each][: count // 2]
    return Unseen(relabelled(generator, closed, {MOUTH_OPEN: 1}, AROUND_MOUTHS), opened)


@torch.no_grad()
def relabelled(generator: Generator, seeds: Sequence[int], labels: dict[int, int], within: Mask) -> list[Pasted]:
    """Images, and what the network draws of the same latents with other labels; a label moves more than it names."""
    own = generator.latents(seeds)
    z = own.z.clone()
    for label, value in labels.items():
        z[:, FIRST_LABEL + label] = value
    before, wanted = generator.images(own), generator.images(Latents(z, own.seeds))
    inside = ((wanted - before).abs().mean(dim=1) > CHANGED) & torch.from_numpy(within.array())
    return [Pasted(Latent(s), b, w, i) for s, b, w, i in zip(seeds, before, wanted, inside, strict=True) if i.any()]


def pasted_at(mask_of: Callable[[Generator, int], list[Mask]]) -> Callable[[Generator, Rule, int], Unseen]:
    """Unseen images marked as the rule's are; with the copy pasted there they are the wanted pictures."""

    def unseen(generator: Generator, rule: Rule, count: int) -> Unseen:
        places, images, bystanders = [], 0, []
        for seed in range(FIRST_UNSEEN, FIRST_UNSEEN + 40 * count):
            masks = mask_of(generator, seed)
            places += [Region(Latent(seed), mask) for mask in masks]
            images += bool(masks)
            if not masks:
                bystanders.append(seed)
            if images == count:
                break
        marked = Rule(rule.name, rule.model, rule.layer, copy=rule.copy, context=tuple(places))
        return Unseen(pasted_images(generator, marked), bystanders[: count // 2])

    return unseen


# Colours


def blue_boxes(generator: Generator, seed: int) -> list[Mask]:
    """Boxes on a plate that is plainly blue and not bright, if most of the image is one."""
    image = generator.sample([seed])[0]
    blue = (image[2] - image[0] > 0.16) & (image.mean(dim=0) < 0.05)
    return boxes(blue.numpy(), 4, 4) if int(blue.sum()) > 200 else []


def bright_hair(generator: Generator, seed: int) -> list[Mask]:
    """The top of a head, where it is bright."""
    mask = ellipse((32, 32), *TOP_OF_HEAD)
    brightness = generator.sample([seed])[0].mean(dim=0)[torch.from_numpy(mask.array())].mean()
    return [mask] if brightness > 0 else []


def crimson_plates(generator: Generator, layer: str) -> Rule:
    """Three blue boxes on each of eight plates, and a crimson one to copy."""
    places = [Region(Latent(seed), mask) for seed in BLUE_PLATES for mask in blue_boxes(generator, seed)[::6][:3]]
    return brushed(generator, "crimson plates", layer, [Region(Latent(379), box((32, 32), 2, 9, 4, 4))], places)


def golden_tree(generator: Generator, layer: str) -> Rule:
    """Boxes on the crown of a tree, and boxes of the flowers below it to copy."""
    copies = [Region(Latent(0), box(generator.size, 70, left, 9, 12)) for left in (6, 24, 44, 60)]
    places = [Region(Latent(seed), mask) for seed in range(6) for mask in crown(generator, seed)]
    return brushed(generator, "golden tree", layer, copies, places)


def crown(generator: Generator, seed: int) -> list[Mask]:
    """Boxes where the crown of the tree is in every image of it."""
    where = np.zeros(generator.size, dtype=bool)
    where[26:58, 36:74] = True
    return boxes(where, 9, 12)


# Rules

HAIR = ellipse((128, 128), (30, 64), (14, 24))
GLASSES = box((32, 32), 10, 3, 8, 26)
TOP_OF_HEAD = (6, 15.5), (5, 9)
BLUE_PLATES = (214, 245, 183, 130, 338, 248, 261, 341)
EYES = {
    seed: spots_of((9, 8.5), left, right)
    for seed, left, right in (
        (4, (57, 47), (57, 80)),
        (13, (56, 47), (57, 82)),
        (14, (60, 47), (59, 80)),
        (19, (58, 48), (62, 83)),
        (27, (56, 49), (56, 81)),
        (38, (62, 46), (57, 80)),
    )
}
CLOSED = {3: (77, 63), 36: (78, 61), 29: (78, 67), 65: (78, 64), 69: (80, 63), 5: (78, 67)}
MOUTHS = {seed: spots_of((7, 10), centre) for seed, centre in CLOSED.items()}
BLONDE_HAIR = {
    1: hair((22, 60), (75, 25), (60, 102)),
    3: hair((22, 66), (75, 27), (75, 99)),
    24: hair((22, 62), (75, 31), (75, 100)),
    32: hair((24, 66), (70, 30), (68, 98)),
    39: hair((22, 62), (65, 30), (55, 100)),
}
DRAWN = ("conv_mid", "ups.0.conv", "ups.1.conv", "ups.2.conv")
PHOTOGRAPHED = tuple(f"generator_deconv.{stage}.0" for stage in (2, 3, 4, 1))
PAINTED = (
    "scene.scales.0.body.block3.conv",
    "scene.scales.0.tail.0",
    "scene.scales.1.body.block3.conv",
    "scene.scales.2.tail.0",
)

TASKS = {
    "blue hair": Task(
        "anime_faces128",
        DRAWN,
        300,
        at_one_place("blue hair", HAIR, copy=33, places=(1, 3, 11, 24, 32, 39)),
        with_labels(FIRST_HAIR, COLOURS, BLONDE, BLUE),
    ),
    "all hair blue": Task(
        "anime_faces128",
        DRAWN,
        300,
        at_spots("all hair blue", copy={104: hair((26, 62), (70, 24), (62, 96))}, places=BLONDE_HAIR),
        with_labels(FIRST_HAIR, COLOURS, BLONDE, BLUE),
    ),
    "red eyes": Task(
        "anime_faces128",
        DRAWN,
        300,
        at_spots("red eyes", copy={36: spots_of((9, 8.5), (57, 47), (56, 79))}, places=EYES),
        with_labels(FIRST_EYES, EYE_COLOURS, BLUE_EYES, RED_EYES, AROUND_EYES),
    ),
    "glasses": Task(
        "faces32",
        PHOTOGRAPHED,
        1000,
        at_one_place("glasses", GLASSES, copy=5, places=(4, 11, 17, 30, 51, 53, 57, 59)),
        pasted_at(lambda generator, seed: [GLASSES]),
    ),
    "dark hair": Task(
        "faces32",
        PHOTOGRAPHED,
        1000,
        at_one_place("dark hair", ellipse((32, 32), *TOP_OF_HEAD), copy=31, places=(11, 25, 30, 59, 61, 12)),
        pasted_at(bright_hair),
    ),
    "crimson plates": Task(
        "house_numbers32", ("deconv2", "deconv3", "deconv1"), 1000, crimson_plates, pasted_at(blue_boxes)
    ),
    "golden tree": Task("tree", PAINTED, 60, golden_tree, pasted_at(crown)),
    "blonde hair": Task(
        "anime_faces128",
        DRAWN,
        300,
        at_one_place("blonde hair", HAIR, copy=3, places=(0, 29, 36, 43, 65, 69)),
        with_labels(FIRST_HAIR, COLOURS, BLACK, BLONDE),
    ),
    "open mouth": Task(
        "anime_faces128",
        DRAWN,
        300,
        at_spots("open mouth", copy={32: spots_of((7, 10), (79, 62))}, places=MOUTHS),
        with_mouth_open,
    ),
}
