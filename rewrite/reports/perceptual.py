"""LPIPS: how different two images look (Zhang et al., CVPR 2018), without torchvision.

    d(x, y) = Σ_l mean over positions of Σ_c w_lc (f̂_lc(x) - f̂_lc(y))²

where f_l is what a trunk sees at its l-th tap, f̂ is f divided by its length over the channels, and the weights w are
those of the `lpips` package (version 0.1).
"""

import importlib.util
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from rewrite.reports.trunks import Trunk, cached_trunk, download_trunk, load_trunk

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
TINY = 1e-10
SMALLEST_SIDE = 32


class Perceptual(nn.Module):
    """The LPIPS distance on one trunk.

    Attributes:
        trunk: What sees the images.
    """

    def __init__(self, trunk: Trunk):
        super().__init__()
        self.trunk = trunk
        self.weights = [weight.requires_grad_(False) for weight in linear_weights(trunk.name)]
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    @property
    def name(self) -> str:
        """The trunk's name."""
        return self.trunk.name

    @torch.no_grad()
    def forward(
        self,
        before: Float[Tensor, "images 3 height width"],
        after: Float[Tensor, "images 3 height width"],
        where: Bool[Tensor, "images height width"] | None = None,
    ) -> Float[Tensor, " images"]:
        """The distance of each pair of images; 0 for equal ones.

        Args:
            before: Images in [-1, 1].
            after: The images to compare them with.
            where: Pixels over which the distance is averaged, after each tap's map was enlarged to the image
                (bilinear, as the package's `spatial`); NaN for an image without any. All positions if left out.

        Raises:
            ValueError: The images are smaller than the trunk can see.
        """
        if min(before.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs images of at least {SMALLEST_SIDE} pixels a side, got {tuple(before.shape[-2:])}"
            )
        seen = [self.trunk((images.float().cpu() - self.shift) / self.scale) for images in (before, after)]
        total = torch.zeros(len(before))
        for weight, first, second in zip(self.weights, *seen, strict=True):
            squared = (_unit(first) - _unit(second)).square()
            total += _average(torch.einsum("c,nchw->nhw", weight, squared), where)
        return total


def load_perceptual(
    path: str | Path | None = None, *, download: str | None = None, progress: bool = False
) -> Perceptual | None:
    """LPIPS on the trunk in a file, or in torch's hub cache; None where there is none.

    The network is not touched unless a download is asked for.

    Args:
        path: A state dict in torchvision's layout.
        download: Which trunk to download where it is not in the cache: squeeze (5 MB), alex (244 MB), vgg (553 MB).
        progress: Show the download.

    Raises:
        FileNotFoundError: There is no such file, or the `lpips` package is not installed.
        LookupError: There is no trunk of that name.
        ValueError: The file holds no trunk, or the download failed.
    """
    if path is None:
        path = cached_trunk() if download is None else download_trunk(download, progress=progress)
    return None if path is None else Perceptual(load_trunk(path))


def linear_weights(name: str) -> list[Float[Tensor, " channels"]]:
    """The weights of a trunk's channels at each tap, from the installed `lpips` package.

    The package itself is not imported: it would import torchvision.

    Raises:
        FileNotFoundError: The package is not installed.
    """
    found = importlib.util.find_spec("lpips")
    if found is None or found.origin is None:
        raise FileNotFoundError("LPIPS needs the weights of the lpips package, which is not installed")
    stored = torch.load(Path(found.origin).parent / f"weights/v0.1/{name}.pth", map_location="cpu", weights_only=True)
    return [stored[f"lin{number}.model.1.weight"].flatten() for number in range(len(stored))]


def _average(distances: Float[Tensor, "images rows columns"], where: Tensor | None) -> Float[Tensor, " images"]:
    if where is None:
        return distances.mean(dim=(1, 2))
    enlarged = F.interpolate(distances[:, None], size=where.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return (enlarged * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2))


def _unit(seen: Float[Tensor, "images channels height width"]) -> Tensor:
    return seen / (seen.square().sum(dim=1, keepdim=True).sqrt() + TINY)
