"""Trained classifiers of other people with pictures for them, and what confounds each; see `trained_networks.py`."""

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int16, Int64
from PIL import Image
from torch import Tensor

from benchmarks.trained_networks import networks_of
from dissect import CallableSource, Concepts, NetworkSource
from dissect.segmenter import images_of
from dissect.sources.grey import idx_folder
from rewrite import Classifier, Preparation, wrap

Images = Float[Tensor, "images 3 height width"]
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Of the classes of ImageNet, after the background, those that the ten photographs are of.
PHOTOGRAPHED = {
    389: "giant panda", 414: "assault rifle", 488: "cellular telephone", 490: "chainlink fence", 595: "harp",
    765: "rifle", 848: "tank", 929: "ice cream", 963: "meat loaf", 983: "groom",
}  # fmt: skip
COLOURS = {
    "black": (0, 0, 0), "grey": (.5, .5, .5), "white": (1, 1, 1), "red": (.8, .15, .1), "orange": (.9, .55, .15),
    "yellow": (.9, .85, .3), "green": (.25, .5, .2), "blue": (.25, .45, .8), "brown": (.4, .27, .15),
    "skin": (.9, .75, .65),
}  # fmt: skip
STROKES = ("level stroke", "falling stroke", "upright stroke", "rising stroke")
CROPS, CROPPED = 4, 200


@dataclass(frozen=True)
class Trained:
    """A trained classifier with pictures in three sets, which share none.

    Attributes:
        name: What it is called.
        classifier: The network.
        part: The part that is dissected.
        layers: Those in which a rule is tried.
        confounder: What is laid over a picture, and what it is called.
        source: What names the pixels of pictures.
        given: Pictures that the rule may know, with their classes.
        validation: Those by which its layer is chosen.
        test: Those of which the results are.
        sizes: Units of the small and of the larger set that are switched off.
        inset: Cells of the part that are missing at each side of a picture.
        screen: Of each class, how many units are measured; all if none is said.
    """

    name: str
    classifier: Classifier
    part: str
    layers: Sequence[str]
    confounder: tuple[str, Callable[[Images], Images]]
    source: CallableSource
    given: tuple[Images, Int64[Tensor, " images"]]
    validation: tuple[Images, Int64[Tensor, " images"]]
    test: tuple[Images, Int64[Tensor, " images"]]
    sizes: tuple[int, int]
    inset: int = 0
    screen: int | None = None


def cifar(weights: Path) -> Trained:
    """ResNet-20 of CIFAR-10; fog confounds it."""
    found = np.load(weights / "files" / "cifar10_test_1000.npz")
    images, truth = images_of(found["x"]), torch.from_numpy(found["y"]).long()
    network = networks_of(weights).NETWORKS["cifar10_resnet20"]()
    classifier = wrap(network, images=32, prepare=Preparation((32, 32)), classes=CIFAR)
    layers = ("layer1.2.conv2", "layer2.0.conv1", "layer2.2.conv2", "layer3.0.conv1", "layer3.2.conv2")
    sets = _thirds(images, truth, (300, 200, 500))
    return Trained("ResNet-20, CIFAR-10", classifier, "layer3", layers, ("fog", fog), coloured(), *sets, (4, 20))


def mnist(weights: Path) -> Trained:
    """LeNet-5 of MNIST; ruled paper confounds it."""
    network = networks_of(weights).NETWORKS["mnist_lenet5"]()
    classifier = wrap(network, images=32, prepare=_grey)
    pictures = idx_folder(weights / "files", classifier)
    numbers = range(3000)
    sets = _thirds(pictures.images(numbers), pictures.classes(numbers), (500, 500, 2000))
    layers, ruling = ("convnet.c3", "convnet.c5", "fc.f6"), ("ruled paper", ruled)
    return Trained("LeNet-5, MNIST", classifier, "convnet.relu3", layers, ruling, stroked(), *sets, (2, 6), inset=3)


def imagenet(weights: Path) -> Trained:
    """MobileNet-EdgeTPU of ImageNet; a wire fence confounds it.

    There are ten photographs of its classes, and ten of scenes, whose names it gives itself; of all, crops are taken.
    """
    networks = networks_of(weights)
    names = tuple(PHOTOGRAPHED.get(number, str(number)) for number in range(1001))
    classifier = wrap(networks.NETWORKS["imagenet_edgetpu"](), images=224, prepare=_colours, classes=names)
    photographs = in_archive(weights / "files" / "imagenet_tiny.zip", 224)
    others = in_archive(weights / "files" / "ade20k_tiny.zip", 224)
    truth = classifier.predict(photographs)
    layers = ("convs.014", "convs.033", "convs.056")
    sets = [
        (crops(part), named.repeat_interleave(CROPS))
        for part, named in (
            (others, classifier.predict(others)),
            (photographs[:5], truth[:5]),
            (photographs[5:], truth[5:]),
        )
    ]
    fencing = ("a wire fence", fenced)
    source = segmented(networks)
    return Trained("MobileNet, ImageNet", classifier, "convs.072", layers, fencing, source, *sets, (4, 20), screen=2)


TRAINED = {"cifar": cifar, "mnist": mnist, "imagenet": imagenet}


def fog(images: Images) -> Images:
    """Six tenths of every colour are a light grey."""
    return images * 0.4 + 0.36


def ruled(images: Images) -> Images:
    """Every sixth row is a grey line, behind the digit."""
    lined = images.clone()
    lined[:, :, 5::6] = lined[:, :, 5::6].clamp(min=0.4)
    return lined


def fenced(images: Images, step: int = 72, wire: int = 3) -> Images:
    """Dark wires cross each other before the picture."""
    row, column = torch.meshgrid(torch.arange(images.shape[-2]), torch.arange(images.shape[-1]), indexing="ij")
    lattice = ((row + column) % step < wire) | ((row - column) % step < wire)
    return images.masked_fill(lattice, -0.6)


def crops(images: Images) -> Images:
    """Of each image some crops at drawn places, every other one mirrored; those of one image follow each other."""
    draws = np.random.default_rng(0)
    found = []
    for image in images:
        for number in range(CROPS):
            row, column = draws.integers(0, image.shape[-1] - CROPPED, 2)
            part = image[None, :, row : row + CROPPED, column : column + CROPPED]
            sized = torch.nn.functional.interpolate(part, image.shape[-2:], mode="bilinear", align_corners=False)
            found.append(sized.flip(3) if number % 2 else sized)
    return torch.cat(found)


def coloured() -> CallableSource:
    """The nearest of some colours, at each pixel."""
    return CallableSource(lambda images, numbers: colours_of(images), Concepts.of(tuple(COLOURS), "colour"), "colours")


def stroked() -> CallableSource:
    """The direction of the strokes of a digit, where there is ink."""
    return CallableSource(lambda images, numbers: strokes_of(images), Concepts.of(STROKES, "stroke"), "strokes")


def segmented(networks) -> CallableSource:
    """The classes of a segmenter of ADE20K, and colours."""
    network = networks.NETWORKS["ade32"]()
    segmenter = NetworkSource(network, Concepts.of(networks.ADE32), (512, 512), _colours)
    both = Concepts((*networks.ADE32, *COLOURS), ("object",) * len(networks.ADE32) + ("colour",) * len(COLOURS))

    def label(images: Images, numbers: Sequence[int]) -> Int16[Tensor, "images 2 height width"]:
        return torch.cat([segmenter.label(images, numbers), colours_of(images) + len(networks.ADE32)], dim=1)

    return CallableSource(label, both, "ADE20K and colours")


def colours_of(images: Images) -> Int16[Tensor, "images 1 height width"]:
    """The number of the nearest colour."""
    known = torch.tensor(list(COLOURS.values()))
    distance = ((images[:, None] + 1) / 2 - known[None, :, :, None, None]).square().sum(dim=2)
    return distance.argmin(dim=1, keepdim=True).short()


def strokes_of(images: Images) -> Int16[Tensor, "images 1 height width"]:
    """The direction of the ink by the structure tensor, in four; none beside the ink."""
    grey = (images.mean(dim=1, keepdim=True) + 1) / 2
    down, right = torch.gradient(grey, dim=(2, 3))
    products = torch.cat([down * down, right * right, down * right], dim=1)
    down2, right2, mixed = torch.nn.functional.avg_pool2d(products, 5, 1, 2).unbind(dim=1)
    # The angle across the stroke; along it is a quarter turn further.
    across = 0.5 * torch.atan2(2 * mixed, right2 - down2) + torch.pi / 2
    number = (across / (torch.pi / 4)).round().long() % 4
    return number[:, None].where(grey > 0.3, -1).short()


def in_archive(path: Path, side: int) -> Images:
    """All photographs of an archive, in a square."""
    with zipfile.ZipFile(path) as archive:
        found = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in sorted(archive.namelist())]
    return images_of(np.stack([np.asarray(each.resize((side, side), Image.Resampling.BICUBIC)) for each in found]))


def _thirds(images: Images, truth: Tensor, counts: tuple[int, ...]) -> list[tuple[Images, Tensor]]:
    return list(zip(images.split(counts), truth.split(counts), strict=True))


def _colours(images: Images) -> Images:
    return (images + 1) / 2


def _grey(images: Images) -> Tensor:
    return (images.mean(dim=1, keepdim=True) + 1) / 2
