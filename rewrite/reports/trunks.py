"""Trunks of LPIPS: the convolutions of three ImageNet classifiers, in the layout of torchvision's state dicts.

Plain torch, so that torchvision is not needed. Weights come from a file that the user names, from torch's own hub
cache, or, only where a download is asked for, from where torchvision keeps them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewrite.checkpoints.downloads import download
from rewrite.storage.files import existing


class Fire(nn.Module):
    """SqueezeNet's module: a narrow 1x1 convolution, then 1x1 and 3x3 convolutions side by side."""

    def __init__(self, inputs: int, narrow: int, wide: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x).relu(), self.expand3x3(x).relu()], dim=1)


def squeeze_features() -> nn.Sequential:
    """SqueezeNet 1.1 up to its last fire module (Iandola et al. 2016)."""
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    first = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool, Fire(64, 16, 64), Fire(128, 16, 64), pool]
    last = [Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return nn.Sequential(*first, Fire(128, 32, 128), Fire(256, 32, 128), pool, *last)


def alex_features() -> nn.Sequential:
    """AlexNet up to its last convolution (Krizhevsky 2014)."""
    first = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    second = [nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    sizes = ((192, 384), (384, 256), (256, 256))
    last = [part for a, b in sizes for part in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU())]
    return nn.Sequential(*first, *second, *last)


def vgg_features() -> nn.Sequential:
    """VGG-16 up to its last convolution (Simonyan and Zisserman 2015)."""
    parts: list[nn.Module] = []
    inputs = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        parts += [nn.MaxPool2d(2)] if parts else []
        for _ in range(count):
            parts += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
    return nn.Sequential(*parts)


@dataclass(frozen=True)
class Kind:
    """One of the trunks that LPIPS was fitted on.

    Attributes:
        build: Makes the network with random weights.
        taps: After which modules LPIPS reads.
        file: What torchvision calls its weights.
        sha256: The hash of that file.
    """

    build: Callable[[], nn.Sequential]
    taps: tuple[int, ...]
    file: str
    sha256: str

    @property
    def url(self) -> str:
        """Where torchvision gets the weights."""
        return f"https://download.pytorch.org/models/{self.file}"


KINDS = {
    "squeeze": Kind(
        squeeze_features,
        (1, 4, 7, 9, 10, 11, 12),
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
    ),
    "alex": Kind(
        alex_features,
        (1, 4, 7, 9, 11),
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    ),
    "vgg": Kind(
        vgg_features,
        (3, 8, 15, 22, 29),
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
    ),
}


class Trunk(nn.Module):
    """A trunk that gives what LPIPS reads of it.

    Attributes:
        name: Which of `KINDS` it is.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor]):
        super().__init__()
        self.name, self.taps = name, KINDS[name].taps
        self.features = KINDS[name].build()
        self.load_state_dict({key: value.float() for key, value in weights.items() if key.startswith("features.")})
        self.eval().requires_grad_(False)

    def forward(self, images: Float[Tensor, "images 3 height width"]) -> list[Tensor]:
        seen = []
        for number, module in enumerate(self.features):
            images = module(images)
            if number in self.taps:
                seen.append(images)
        return seen


def load_trunk(path: str | Path) -> Trunk:
    """Load a trunk from a state dict in torchvision's layout; which of the three it is, its shapes say.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds none of the three.
    """
    path = existing(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # of a file that is none of its own, torch complains in any way
        reason = "it is no file of torch, is damaged, or holds more than tensors"
        raise ValueError(f"{path} cannot be read as weights of a trunk: {reason}") from None
    for name in KINDS:
        try:
            return Trunk(name, weights)
        except (RuntimeError, AttributeError, TypeError):
            continue
    raise ValueError(f"{path} holds none of the trunks of LPIPS ({', '.join(KINDS)}) in torchvision's layout")


def cached_trunk() -> Path | None:
    """The first trunk in torch's own hub cache, where torchvision and lpips leave theirs; None if there is none."""
    paths = [hub_folder() / kind.file for kind in KINDS.values()]
    return next((path for path in paths if path.is_file()), None)


def hub_folder() -> Path:
    """Where torch's hub keeps weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download_trunk(name: str = "squeeze", *, progress: bool = False) -> Path:
    """Bring a trunk into torch's hub cache, unless it is there.

    Raises:
        LookupError: There is no such trunk.
        ValueError: What came is not what was asked for, or the network or the disk refused.
    """
    if name not in KINDS:
        raise LookupError(f"there is no trunk {name!r}: there are {', '.join(KINDS)}")
    path = hub_folder() / KINDS[name].file
    if not path.is_file():
        download(KINDS[name].url, path, KINDS[name].sha256, progress=progress)
    return path
