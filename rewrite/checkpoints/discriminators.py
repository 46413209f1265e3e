"""The discriminator that a file of training holds beside its generator."""

from pathlib import Path
from typing import Any

import torch

from rewrite.checkpoints import nvidia, rosinality
from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.foreign import complete, read_state
from rewrite.checkpoints.loading import checkpoint_path
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.devices import device_named
from rewrite.generators.discriminator import Discriminator, DiscriminatorDesign

FAMILY = "discriminator of StyleGAN2"


def load_discriminator(model: str | Path, *, device: str | torch.device = "cpu") -> Discriminator:
    """Load the discriminator of a StyleGAN2. Nothing inside the file is executed.

    Args:
        model: A pickle of NVIDIA's PyTorch repositories, a `.pt` of rosinality's port, or the name of a published one.
        device: Where to put the network: `cpu`, `cuda`, `mps`, or `auto` for the fastest that is there.

    Returns:
        The network, in evaluation mode.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file holds no discriminator that this library reads, or a damaged one; or the device is not
            there.
    """
    place = device_named(device)
    archive = Archive(checkpoint_path(model))
    found = _find(archive)
    if found is None:
        raise ValueError(f"{archive.path} holds no discriminator that is known here")
    design, places = found
    optional = ("w_avg",)  # A mapping from classes alone has no mean.
    network = read_state(archive, lambda: Discriminator(design), places, FAMILY, optional)
    return network.eval().requires_grad_(False).to(place)


def describe(archive: Archive) -> dict[str, Any] | None:
    """What can be said of the discriminator in a file without reading it; None if there is none.

    Raises:
        ValueError: It is built in a way that is not known here.
    """
    found = _find(archive)
    if found is None:
        return None
    design, _ = found
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Discriminator(design).parameters())
    classes = {"classes": design.c_dim} if design.c_dim else {}
    return {"architecture": design.architecture, "size": [design.side, design.side], "weights": weights, **classes}


def _find(archive: Archive) -> tuple[DiscriminatorDesign, dict[str, Placed]] | None:
    """What the discriminator in a file is built like, and where its tensors lie."""
    with complete(archive.path, FAMILY):
        return rosinality.discriminator(archive) or nvidia.discriminator(archive)
