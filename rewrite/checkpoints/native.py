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
    _check_tensors(tensors, empty_state(config), path)
    network = StyleGAN2(**config)
    network.load_state_dict(tensors)
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


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size], path: str | Path) -> None:
    """Refuse tensors that are not those of the header, before a network of the header's size is built."""
    for name in sorted({*expected, *tensors}):
        found = tensors[name].shape if name in tensors else None
        if found != expected.get(name):
            sides = [None if shape is None else tuple(shape) for shape in (found, expected.get(name))]
            raise ValueError(f"{path} does not hold what its header says: {name} is {sides[0]}, not {sides[1]}")
        if tensors[name].dtype not in TYPES:
            raise ValueError(f"{path} holds {name} as {tensors[name].dtype}, in which no weight is kept")
    files.finite(tensors, path)


def empty_state(config: Mapping) -> dict[str, torch.Size]:
    """Names and shapes of the tensors that a configuration has; no memory is taken for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in StyleGAN2(**config).state_dict().items()}
