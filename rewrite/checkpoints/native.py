"""Generators as safetensors with our own header: what family, how wide, and how it was trained."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewrite import files
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

LARGEST_CHANNELS = 4096
LARGEST_SIDE = 4096
TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_stylegan2(path: str | Path, state: Mapping[str, Tensor], config: Mapping, training: Mapping[str, Any]) -> None:
    """Write a StyleGAN2 state dict with its shape and the story of its training."""
    about = {"family": "stylegan2", "config": dict(config), "training": dict(training)}
    files.save_tensors(path, state, "generator", about)


def load(path: str | Path) -> StyleGAN2Generator:
    """Build the generator that a file of ours holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no generator, is cut short, holds NaN, or its tensors do not fit its header.
    """
    tensors, about = files.load_tensors(path, "generator")
    if about.get("family") != "stylegan2":
        raise ValueError(f"{path} holds a generator of family {about.get('family')!r}, which is not known here")
    config = _config(about.get("config"), path)
    _check_tensors(tensors, config, path)
    network = StyleGAN2(**config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} does not hold what its header says: {first}") from None
    return StyleGAN2Generator(network)


def export(path: str | Path, source: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
    """Write a file of ours again with some tensors replaced, and say so in its header."""
    original, about = files.load_tensors(source, "generator")
    history = about.get("edits", [])
    if not isinstance(history, list):
        raise ValueError(f"{source} is damaged: its history of edits is not a list")
    for name, tensor in tensors.items():
        original[name] = tensor.to(original[name].dtype).reshape(original[name].shape)
    files.save_tensors(path, original, "generator", {**about, "edits": [*history, edits]})


def _config(config: Any, path: str | Path) -> dict[str, Any]:
    """Check the sizes before anything is built from them: a hostile header could ask for any amount of memory."""
    try:
        channels = {int(side): int(count) for side, count in config["channels"].items()}
        sizes = {name: int(config[name]) for name in ("z_dim", "w_dim", "mapping_layers")}
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError):
        raise ValueError(f"{path} does not say how its generator is built") from None
    sides = sorted(channels)
    doubling = all(b == 2 * a for a, b in pairwise(sides))
    if not sides or not doubling or sides[0] != 4 or sides[-1] > LARGEST_SIDE:
        raise ValueError(f"{path} names sides {sides}, which do not double from 4")
    counts = [*channels.values(), sizes["z_dim"], sizes["w_dim"]]
    if not all(1 <= count <= LARGEST_CHANNELS for count in counts) or not 1 <= sizes["mapping_layers"] <= 32:
        raise ValueError(f"{path} names sizes that no generator has")
    return {**sizes, "channels": channels}


def _check_tensors(tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: str | Path) -> None:
    """Refuse tensors that are not as large as the header says, so that no network is larger than its file."""
    width, channels = config["w_dim"], config["channels"]
    sizes = {f"mapping.fc{i}.weight": (width, width) for i in range(config["mapping_layers"])}
    sizes["mapping.fc0.weight"] = (width, config["z_dim"])
    sizes |= {f"synthesis.b{side}.conv1.weight": (count, count, 3, 3) for side, count in channels.items()}
    sizes |= {f"synthesis.b{side}.conv1.noise_const": (side, side) for side in channels}
    for name, size in sizes.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != size:
            raise ValueError(f"{path} does not hold what its header says: {name} is {found}, not {size}")
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise ValueError(f"{path} holds {name} as {tensor.dtype}, in which no weight is kept")
    files.finite(tensors, path)
