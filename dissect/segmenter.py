"""The segmenter of the towers world: a small U-Net that names what every pixel of an image shows.

Its weights are package data (`segmenter.safetensors`), made by `python -m apps.towers.train_segmenter`; the
metadata of that file says how, when and with which held-out scores.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from dissect.scenes import CONCEPTS
from rewrite.checkpoints.foreign import filled, hollow
from rewrite.reports.concepts import Concepts
from rewrite.storage import files

WIDTHS = (32, 48, 96, 96)
BATCH = 50
# Labels are bytes.
MOST_CONCEPTS, MOST_SIDES, MOST_CHANNELS = 256, 12, 2**16
PACKAGED = Path(__file__).with_name("segmenter.safetensors")


class Convolution(nn.Sequential):
    """A 3x3 convolution with batch normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )


class Segmenter(nn.Module):
    """A U-Net: halved three times on the way down, and on the way up added to what it saw at each side before.

    Skips that are added, not concatenated, halve the multiplications on the way up.

    Attributes:
        concepts: The name of each class.
        provenance: How the weights came to be: seed, steps, seconds, machine, held-out scores.
    """

    def __init__(self, concepts: tuple[str, ...] = CONCEPTS, widths: tuple[int, ...] = WIDTHS):
        super().__init__()
        self.concepts, self.widths = tuple(concepts), tuple(widths)
        self.provenance: dict = {}
        # One convolution is enough at the full side, where it costs most: the way up has two more.
        self.down = nn.ModuleList([nn.Sequential(Convolution(3, widths[0]))])
        for above, width in pairwise(widths):
            self.down.append(nn.Sequential(Convolution(above, width), Convolution(width, width)))
        self.narrow = nn.ModuleList(nn.Conv2d(below, width, 1) for width, below in pairwise(widths))
        self.up = nn.ModuleList(Convolution(width, width) for width in widths[:-1])
        self.last = Convolution(widths[0], widths[0])
        self.head = nn.Conv2d(widths[0], len(self.concepts), 1)

    def descend(self, images: Tensor) -> list[Tensor]:
        """What the network sees at each side, from the full side down to the bottleneck (n, 96, h/8, w/8)."""
        seen = [self.down[0](images)]
        for stage in self.down[1:]:
            seen.append(stage(F.max_pool2d(seen[-1], 2)))
        return seen

    def forward(self, images: Tensor) -> Float[Tensor, "images concepts height width"]:
        """Images (n, 3, h, w) in [-1, 1], with sides that 8 divides, to logits (n, concepts, h, w)."""
        *skips, x = self.descend(images)
        for skip, narrow, up in zip(reversed(skips), reversed(self.narrow), reversed(self.up), strict=True):
            x = up(F.interpolate(narrow(x), scale_factor=2, mode="bilinear") + skip)
        return self.head(self.last(x))

    def label(self, images: Tensor) -> UInt8[np.ndarray, "images height width"]:
        """The most probable concept of each pixel: images (n, 3, h, w) to labels (n, h, w), uint8."""
        return self._batched(lambda batch: self(batch).argmax(dim=1).to(torch.uint8), images).numpy()

    def features(self, images: Tensor) -> Float[Tensor, "images width"]:
        """One vector for each image, the mean of the bottleneck (n, 96): a feature space for Fréchet distances."""
        return self._batched(lambda batch: self.descend(batch)[-1].mean(dim=(2, 3)), images)

    @torch.inference_mode()
    def _batched(self, function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Run in evaluation mode without gradients, some images at a time, and give the results on the CPU."""
        self.check(images)
        was_training, like = self.training, self.head.weight
        self.eval()
        parts = [function(batch.to(like)).cpu() for batch in images.split(BATCH)]
        self.train(was_training)
        return torch.cat(parts)

    def check(self, images: Tensor) -> None:
        """Refuse what the network cannot read.

        Raises:
            ValueError: The images are not floating point, or not of a shape that it halves.
        """
        divisor, shape = 2 ** (len(self.widths) - 1), tuple(images.shape)
        fits = len(shape) == 4 and shape[1] == 3 and shape[2] % divisor == shape[3] % divisor == 0
        if not fits or not images.is_floating_point():
            raise ValueError(
                f"images must be floating point of shape (n, 3, h, w) with sides that {divisor} divides, "
                f"got {images.dtype} of shape {shape}"
            )


def images_of(
    pictures: UInt8[np.ndarray, "images height width 3"],
) -> Float[Tensor, "images 3 height width"]:
    """Pictures of bytes to images in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def load_segmenter(path: Path | str | None = None) -> Segmenter:
    """Load a segmenter, ready to label.

    Args:
        path: A file that `save_segmenter` wrote; the segmenter of the towers world where it is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged or holds something else.
    """
    path = PACKAGED if path is None else path
    weights, about = files.load_tensors(path, "segmenter")
    files.finite(weights, path)
    try:
        concepts, widths, provenance = _header(about)
        segmenter = hollow(lambda: Segmenter(concepts, widths))
    except (KeyError, TypeError, ValueError, RuntimeError):
        raise ValueError(f"{path} is damaged: its header names no concepts, widths and provenance") from None
    segmenter.provenance = provenance
    wanted = {name: weight.shape for name, weight in segmenter.state_dict().items()}
    given = {name: weight.shape for name, weight in weights.items()}
    wrong = sorted(name for name in wanted | given if wanted.get(name) != given.get(name))
    if wrong:
        raise ValueError(f"{path} is damaged: {len(wrong)} of its weights do not fit its header, first {wrong[0]}")
    # safetensors maps the file into memory, and another program may change the file.
    return filled(segmenter, {name: weight.clone() for name, weight in weights.items()}).eval().requires_grad_(False)


def _header(about: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[int, ...], dict]:
    """Concepts, widths and provenance; nothing is built from more of them than any segmenter has.

    Raises:
        KeyError, TypeError, ValueError: They are missing, or are none.
    """
    concepts, widths, provenance = (about[name] for name in ("concepts", "widths", "provenance"))
    counted = all(isinstance(width, int) and 1 <= width <= MOST_CHANNELS for width in widths)
    named = all(isinstance(name, str) and name for name in concepts)
    if not (counted and 2 <= len(widths) <= MOST_SIDES and named and 1 <= len(set(concepts)) <= MOST_CONCEPTS):
        raise ValueError("a segmenter has at least two widths and one concept")
    return Concepts.of(concepts).names, tuple(widths), dict(provenance)


def save_segmenter(segmenter: Segmenter, path: Path | str) -> None:
    """Write a segmenter with its provenance; its convolutions are stored as float16."""
    weights = segmenter.state_dict()
    stored = {name: weight.half() if weight.dim() == 4 else weight for name, weight in weights.items()}
    about = {"concepts": segmenter.concepts, "widths": segmenter.widths, "provenance": segmenter.provenance}
    files.save_tensors(path, stored, "segmenter", about)
