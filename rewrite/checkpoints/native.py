"""Generators as safetensors with our own header: what family, how wide, and how it was trained."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rewrite import files
from rewrite.generators.stylegan2 import NOISE_MODES, Design, StyleGAN2, shapes
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

FAMILY = "stylegan2"
KIND, TENSORS = "generator", "state dict"
LARGEST_COUNT = 4096
LARGEST_SIDE = 4096
MOST_LAYERS = 32
TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def save_stylegan2(
    path: str | Path, state: Mapping[str, Tensor], config: Mapping, training: Mapping[str, Any], **more: Any
) -> None:
    """Write a StyleGAN2 state dict with its shape and the story of its training.

    Args:
        path: Where to write.
        state: The tensors.
        config: The fields of its `Design`.
        training: How it was trained.
        more: Further entries of the header; `noise` is where noise inputs come from, the seed if left out.
    """
    about = {"family": FAMILY, "config": dict(config), "training": dict(training), **more}
    files.save_tensors(path, state, KIND, about)


class NativeFile:
    """A checkpoint of ours.

    Attributes:
        path: Where it is.
        generator: The generator that it holds.
        family: What people call files like this.
        kind: Its container.
    """

    family, kind = "StyleGAN2 of this library", "safetensors"

    def __init__(self, path: str | Path):
        self.path, self.generator = Path(path), load(path)

    def state(self, tensors: Mapping[str, Tensor]) -> dict[tuple[str, ...], Tensor]:
        """All tensors, with other values for some."""
        original, _ = files.load_tensors(self.path, KIND)
        return {(name,): tensors.get(name, tensor).to(tensor.dtype) for name, tensor in original.items()}

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with some tensors replaced, and say so in its header."""
        original, about = files.load_tensors(self.path, KIND)
        history = edits_of(self.path)
        for name, tensor in tensors.items():
            original[name] = tensor.to(original[name].dtype).reshape(original[name].shape)
        files.save_tensors(path, original, KIND, {**about, "edits": [*history, edits]})


def edits_of(path: str | Path) -> list:
    """The edits that a generator's file of ours tells of, the first first.

    Raises:
        ValueError: Its header is damaged.
    """
    history = files.read_header(path)[1].get("edits", [])
    if not isinstance(history, list):
        raise ValueError(f"{path} is damaged: its history of edits is not a list")
    return history


def of_another_tool(path: Path) -> bool:
    """Whether a file is safetensors with other names than ours, be it that we wrote it or another tool."""
    try:
        if files.metadata(path).get("format") != files.FORMAT:
            return True
        kind, about = files.read_header(path)
    except ValueError:
        return False
    return kind == KIND and about.get("family") != FAMILY


def load(path: str | Path) -> StyleGAN2Generator:
    """Build the generator that a file of ours holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no generator, is cut short, holds NaN, or its tensors do not fit its header.
    """
    tensors, about = files.load_tensors(path, KIND)
    if about.get("family") != FAMILY:
        raise ValueError(f"{path} holds a generator of family {about.get('family')!r}, which is not known here")
    design = _design(about.get("config"), path)
    noise = about.get("noise", "seed")
    if noise not in NOISE_MODES:
        raise ValueError(f"{path} draws noise in a way that is not known here")
    _check_tensors(tensors, design, path)
    network = StyleGAN2(design)
    network.load_state_dict(tensors)
    return StyleGAN2Generator(network, noise=noise)


def _design(config: Any, path: str | Path) -> Design:
    """Check the sizes before anything is built from them: a hostile header could ask for any amount of memory."""
    try:
        known = {entry.name: entry.type for entry in fields(Design)}
        values = {name: value for name, value in config.items() if name in known}
        for name, value in values.items():
            if name != "channels" and "int" in str(known[name]) and value is not None:
                values[name] = _counted(value)
        values["channels"] = {_counted(side): _counted(count) for side, count in config["channels"].items()}
        design = Design(**{**values, "mapping_rate": float(values.get("mapping_rate", 0.01))})
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError):
        raise ValueError(f"{path} does not say how its generator is built") from None
    if max(design.channels) > LARGEST_SIDE or not 1 <= design.mapping_layers <= MOST_LAYERS:
        raise ValueError(f"{path} names sizes that no generator has")
    return design


def _counted(value: Any) -> int:
    """A number of channels or the like; none is as large as to be a danger."""
    if not 0 <= int(value) <= LARGEST_COUNT:
        raise ValueError(f"a size lies between 0 and {LARGEST_COUNT}")
    return int(value)


def _check_tensors(tensors: Mapping[str, Tensor], design: Design, path: str | Path) -> None:
    """Refuse tensors that are not those of a design: nothing is built that is larger than its file.

    Raises:
        ValueError: One is missing, of another size or kind, or not finite.
    """
    expected = shapes(design)
    for name, size in expected.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != size:
            raise ValueError(f"{path} does not hold what its header says: {name} is {found}, not {size}")
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise ValueError(f"{path} does not hold what its header says: nothing is named {unknown[0]}")
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise ValueError(f"{path} holds {name} as {tensor.dtype}, in which no weight is kept")
    files.finite(tensors, path)
