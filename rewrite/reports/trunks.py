"""Where the weights of LPIPS' trunks come from: a file, torch's own cache, or a download that was asked for.

The networks are those of torchvision, by whose names files and tensors go; the `lpips` package builds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rewrite.checkpoints.downloads import download
from rewrite.storage.files import existing
from rewrite.storage.quoting import quoted


@dataclass(frozen=True)
class Trunk:
    """One of the networks that LPIPS was fitted on.

    Attributes:
        file: The name of the file of its weights.
        sha256: The hash of that file.
        sign: A tensor that it has and the others do not have.
    """

    file: str
    sha256: str
    sign: str

    @property
    def url(self) -> str:
        """Where torchvision gets the weights."""
        return f"https://download.pytorch.org/models/{self.file}"


TRUNKS = {
    "squeeze": Trunk(
        "squeezenet1_1-b8a52dc0.pth",
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        "features.3.squeeze.weight",
    ),
    "alex": Trunk(
        "alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "features.3.weight",
    ),
    "vgg": Trunk(
        "vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "features.2.weight",
    ),
}


def read_trunk(path: str | Path) -> tuple[str, Mapping[str, Tensor]]:
    """Which trunk a state dict in torchvision's layout is, and its tensors.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds none of them.
    """
    path = existing(path)
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises errors of many kinds for files that it cannot read
        reason = "it is not a file of torch, is damaged, or holds more than tensors"
        raise ValueError(f"{path} cannot be read as weights of a trunk: {reason}") from None
    for name, trunk in TRUNKS.items():
        if isinstance(weights, Mapping) and trunk.sign in weights:
            return name, weights
    raise ValueError(f"{path} holds none of the trunks of LPIPS ({', '.join(TRUNKS)}) in torchvision's layout")


def cached_trunk() -> Path | None:
    """The first trunk in torch's own hub cache, where torchvision and lpips leave theirs; None if there is none."""
    paths = [hub_folder() / trunk.file for trunk in TRUNKS.values()]
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
    if name not in TRUNKS:
        raise LookupError(f"there is no trunk {quoted(name)}: there are {', '.join(TRUNKS)}")
    path = hub_folder() / TRUNKS[name].file
    if not path.is_file():
        download(TRUNKS[name].url, path, TRUNKS[name].sha256, progress=progress)
    return path
