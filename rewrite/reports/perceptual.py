"""LPIPS: how different two images look (Zhang et al., CVPR 2018), by its authors' package `lpips`.

The package builds the network and holds its linear weights. Added here: the weights of the trunk may come from a
user's file, nothing is downloaded unless that is asked for, and the distance can be averaged over some pixels only. The
package and torchvision are imported only where a distance is measured.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rewrite.reports.trunks import cached_trunk, download_trunk, read_trunk
from rewrite.storage.quoting import reason_of

SMALLEST_SIDE = 32


class Perceptual:
    """The LPIPS distance on one trunk.

    Attributes:
        name: The trunk: `squeeze`, `alex` or `vgg`.
    """

    def __init__(self, name: str, weights: Mapping[str, Tensor]):
        """Build the network.

        Args:
            name: The trunk.
            weights: Its tensors, by torchvision's names.

        Raises:
            FileNotFoundError: The `lpips` package, or the torchvision that it needs, cannot be imported.
            ValueError: A tensor is missing, or has another shape.
        """
        self.name, self._mean = name, _network(name)
        try:
            # The package cuts the trunk into slices, in which each layer keeps its number: slice2.3.weight.
            own = {key: f"features.{key.partition('.')[2]}" for key in self._mean.net.state_dict()}
            self._mean.net.load_state_dict({key: weights[theirs] for key, theirs in own.items()})
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"these are not weights of LPIPS' trunk {name}: {_first_line(error)}") from None
        # The same network, which gives a distance for each pixel.
        self._spatial = copy.copy(self._mean)
        self._spatial.spatial = True

    @torch.no_grad()
    def __call__(
        self,
        before: Float[Tensor, "images 3 height width"],
        after: Float[Tensor, "images 3 height width"],
        where: Bool[Tensor, "images height width"] | None = None,
    ) -> Float[Tensor, " images"]:
        """The distance of each pair of images; 0 for equal ones.

        Args:
            before: Images in [-1, 1].
            after: The images to compare them with.
            where: Pixels over which the distance is averaged, as the package's `spatial` gives it for each; NaN for an
                image without any. All positions if left out.

        Raises:
            ValueError: The images are smaller than the trunk can see.
        """
        if min(before.shape[-2:]) < SMALLEST_SIDE:
            raise ValueError(
                f"LPIPS needs images of at least {SMALLEST_SIDE} pixels a side, got {tuple(before.shape[-2:])}"
            )
        before, after = before.float().cpu(), after.float().cpu()
        if where is None:
            return self._mean(before, after).flatten()
        distances = self._spatial(before, after)[:, 0]
        return (distances * where).sum(dim=(1, 2)) / where.sum(dim=(1, 2))


def load_perceptual(
    path: str | Path | None = None, *, download: str | None = None, progress: bool = False
) -> Perceptual | None:
    """LPIPS on the trunk in a file, or in torch's hub cache; None where there is none.

    Nothing is downloaded unless that is asked for. Where neither a file nor a download is, None also if the
    package cannot be imported.

    Args:
        path: A state dict in torchvision's layout.
        download: Which trunk to download where it is not in the cache: squeeze (5 MB), alex (244 MB), vgg (553 MB).
        progress: Show the download.

    Returns:
        The metric, or None.

    Raises:
        FileNotFoundError: There is no such file, or the package and its torchvision cannot be imported.
        LookupError: There is no trunk of that name.
        ValueError: The file holds no trunk, or the download failed.
    """
    asked = path is not None or download is not None
    if path is None:
        path = cached_trunk() if download is None else download_trunk(download, progress=progress)
    if path is None:
        return None
    name, weights = read_trunk(path)
    try:
        return Perceptual(name, weights)
    except FileNotFoundError:
        if asked:
            raise
        return None
    except ValueError as error:
        raise ValueError(f"{path}: {reason_of(error)}") from None


def _network(name: str) -> Any:
    """The package's network, with a trunk of random weights."""
    with warnings.catch_warnings():
        # torchvision would have the package ask for random weights in another way.
        warnings.simplefilter("ignore")
        try:
            import lpips
        except Exception as error:  # a torchvision that was built for another torch fails in any way
            raise FileNotFoundError(
                f"LPIPS needs the package lpips and torchvision, which cannot be imported: {_first_line(error)}"
            ) from None
        return lpips.LPIPS(net=name, pnet_rand=True, verbose=False)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
