"""Generators as safetensors with our own header: what family, how wide, and how it was trained."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import candidates
from rewrite.checkpoints.foreign import ForeignFile, filled, hollow, read_state, shapes
from rewrite.generators.contract import Generator
from rewrite.generators.noise import NOISE_MODES
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.generators.stylegan3 import Design3, StyleGAN3
from rewrite.generators.stylegan3_layers import StyleGAN3Generator
from rewrite.storage import files
from rewrite.storage.quoting import lacking, named, quoted, reason_of


class Family(NamedTuple):
    """What the header's word for a family stands for."""

    name: str
    design: type
    network: type[nn.Module]
    generator: type[Generator]


FAMILIES = {
    "stylegan2": Family("StyleGAN2 of this library", Design, StyleGAN2, StyleGAN2Generator),
    "stylegan3": Family("StyleGAN3 of this library", Design3, StyleGAN3, StyleGAN3Generator),
}
KIND = "generator"
LARGEST_COUNT = 4096
# Wider than any layer: numbers of channels are parts of it.
LARGEST_BASE = 2**20
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
    about = {"family": "stylegan2", "config": dict(config), "training": dict(training), **more}
    files.save_tensors(path, state, KIND, about)


def family_of(generator: Generator) -> str | None:
    """The header's word for a generator's family; None if files of ours cannot hold it."""
    return next((word for word, family in FAMILIES.items() if isinstance(generator, family.generator)), None)


def save(path: str | Path, generator: Generator, tensors: Mapping[str, Tensor], **more: Any) -> None:
    """Write a generator of a family that files of ours hold, with other values for some tensors.

    Args:
        path: Where to write.
        generator: The generator.
        tensors: The other values.
        more: Further entries of the header.
    """
    about = {**described(generator), "training": {}, **more}
    changed = {name: files.held_as(tensor, tensor.dtype, name) for name, tensor in tensors.items()}
    files.save_tensors(path, {**generator.module.state_dict(), **changed}, KIND, about)


class NativeFile:
    """A checkpoint of ours.

    Attributes:
        path: Where it is.
        generator: The generator that it holds.
        family: The kind of file, for messages.
        kind: Its container.
    """

    kind = "safetensors"

    def __init__(self, path: str | Path):
        self.path, self.generator = Path(path), load(path)
        self.family = FAMILIES[family_of(self.generator) or ""].name

    def state(self, tensors: Mapping[str, Tensor]) -> dict[tuple[str, ...], Tensor]:
        """All tensors, with other values for some."""
        original, _ = files.load_tensors(self.path, KIND)
        return {
            (name,): files.held_as(tensors.get(name, tensor), tensor.dtype, name) for name, tensor in original.items()
        }

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> None:
        """Write the file again with some tensors replaced, and say so in its header."""
        original, about = files.load_tensors(self.path, KIND)
        history = edits_of(self.path)
        for name, tensor in tensors.items():
            original[name] = files.held_as(tensor, original[name].dtype, name).reshape(original[name].shape)
        files.save_tensors(path, original, KIND, {**about, "edits": [*history, edits]})


def edits_of(path: str | Path) -> list:
    """The edits that the header of a generator's file lists, oldest first.

    Raises:
        ValueError: Its header is damaged.
    """
    history = files.read_header(path)[1].get("edits", [])
    if not isinstance(history, list):
        raise ValueError(f"{path} is damaged: its history of edits is not a list")
    return history


def of_another_tool(path: Path) -> bool:
    """Whether a file is safetensors with other names than ours, from any program."""
    try:
        if files.metadata(path).get("format") != files.FORMAT:
            return True
        kind, about = files.read_header(path)
    except ValueError:
        return False
    return kind == KIND and about.get("family") not in list(FAMILIES)


def load(path: str | Path) -> Generator:
    """Build the generator that a file of ours holds.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a generator, is cut short, holds NaN, or its tensors do not fit its header.
    """
    tensors, about = files.load_tensors(path, KIND)
    word = about.get("family")
    if not isinstance(word, str) or word not in FAMILIES:
        raise ValueError(f"{path} holds a generator of family {quoted(word)}, which is not known here")
    design = _design(about.get("config"), FAMILIES[word].design, path)
    try:
        network = hollow(lambda: FAMILIES[word].network(design))
    except ValueError as error:
        raise ValueError(f"{path} does not say how its generator is built: {reason_of(error)}") from None
    _check_tensors(tensors, shapes(network), path)
    # safetensors maps the file into memory, and another program may change the file.
    network = filled(network, {name: tensor.clone() for name, tensor in tensors.items()})
    return _seen(network, about.get("noise", "seed"), path)


def load_noted(archive: Archive, note: bytes) -> ForeignFile:
    """Build the generator of a state dict that `export` wrote, whose note says how it is built.

    Raises:
        ValueError: The note is damaged, or the tensors do not fit it.
    """
    try:
        about = dict(json.loads(note))
    except (ValueError, TypeError, RecursionError):
        about = {}
    word = about.get("family")
    if not isinstance(word, str) or word not in FAMILIES:
        raise ValueError(f"{archive.path} is damaged: what it says of its generator cannot be read")
    design = _design(about.get("config"), FAMILIES[word].design, archive.path)
    candidate, name = next(candidates(archive.content)), FAMILIES[word].name
    network = read_state(archive, lambda: FAMILIES[word].network(design), candidate.state, name)
    ours = set(network.state_dict())
    places = {name: tensor for name, tensor in candidate.state.items() if name in ours}
    generator = _seen(network, about.get("noise", "seed"), archive.path)
    return ForeignFile(generator, archive, places, name, candidate)


def _seen(network: nn.Module, noise: Any, path: str | Path) -> Generator:
    """A network as a generator."""
    if noise not in NOISE_MODES:
        raise ValueError(f"{path} draws noise in a way that is not known here")
    if isinstance(network, StyleGAN2):
        return StyleGAN2Generator(network, noise=noise)
    assert isinstance(network, StyleGAN3)
    return StyleGAN3Generator(network)


def described(generator: Generator) -> dict[str, Any]:
    """What a header or a note says of a generator of a family that files of ours hold."""
    assert isinstance(generator, StyleGAN2Generator | StyleGAN3Generator)
    about = {"family": family_of(generator), "config": asdict(generator.network.design)}
    return about | ({"noise": generator.noise} if isinstance(generator, StyleGAN2Generator) else {})


def _design(config: Any, kind: type, path: str | Path) -> Any:
    """Check the sizes before anything is built from them: a hostile header could ask for unlimited work."""
    try:
        known = {entry.name: str(entry.type) for entry in fields(kind)}
        values = {name: _checked(name, value, known[name]) for name, value in config.items() if name in known}
        design = kind(**values)
    except (TypeError, KeyError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{path} does not say how its generator is built: {lacking(error)}") from None
    sides = design.channels if isinstance(design, Design) else [design.img_resolution]
    if max(sides) > LARGEST_SIDE or not 1 <= design.mapping_layers <= MOST_LAYERS:
        raise ValueError(f"{path} names sizes that no generator has")
    return design


def _checked(name: str, value: Any, kind: str) -> Any:
    """A field of a design, of the right kind and no larger than any generator needs."""
    if name == "channels":
        return {_counted(side): _counted(count) for side, count in value.items()}
    if value is None:
        return None
    if "int" in kind:
        return _counted(value, LARGEST_BASE if name == "channel_base" else LARGEST_COUNT)
    if "float" in kind:
        if not math.isfinite(value):
            raise ValueError(f"an amount is finite, got {value}")
        return float(value)
    return value


def _counted(value: Any, largest: int = LARGEST_COUNT) -> int:
    """A size such as a number of channels; none is dangerously large."""
    if not 0 <= int(value) <= largest:
        raise ValueError(f"a size lies between 0 and {largest}")
    return int(value)


def _check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], path: str | Path) -> None:
    """Refuse tensors that are not those of a network.

    Raises:
        ValueError: One is missing, of another size or kind, or not finite.
    """
    for name, size in expected.items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != size:
            raise ValueError(f"{path} does not hold what its header says: {name} is {found}, not {size}")
    unknown = sorted(set(tensors) - set(expected))
    if unknown:
        raise ValueError(f"{path} does not hold what its header says: nothing is named {named(unknown[0])}")
    for name, tensor in tensors.items():
        if tensor.dtype not in TYPES:
            raise ValueError(f"{path} holds {named(name)} as {tensor.dtype}, in which no weight is kept")
    files.finite(tensors, path)
