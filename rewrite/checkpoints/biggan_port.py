"""BigGAN-deep as Hugging Face's port has it (pytorch-pretrained-BigGAN): weights under torch's spectral norm.

That norm divides W by u W v, with two vectors in the file. An edit is of what it gives: an edited W goes back beside a
u for which u W v is one. `config.json` beside the file says which blocks double the side.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.biggan_deep import channels_of, first_side, side_of
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.biggan_deep import BigGANDeep, DeepDesign, DeepGenerator
from rewrite.storage import files
from rewrite.storage.quoting import quoted

FAMILY = "BigGAN-deep of Hugging Face's port"
NAMES = ("embeddings.weight", "generator.layers.0.bn_0.running_means", "generator.bn.running_means")
MOST_LAYERS = 60
EPSILON = 1e-4
LEFT, RIGHT = "weight_u", "weight_v"
WEIGHTS, CONFIG = "pytorch_model.bin", "config.json"
# Ours for theirs.
WORDS = {
    **{f"conv_{number}": f"conv{number + 1}" for number in range(4)},
    **{f"bn_{number}": f"bn{number + 1}" for number in range(4)},
    **{f"snconv1x1_{name}": name for name in ("theta", "phi", "g")},
    "snconv1x1_o_conv": "o",
    "scale": "gain",
    "offset": "bias",
    "running_means": "stored_mean",
    "running_vars": "stored_var",
    "weight_orig": "weight",
}
HEADS = {
    "embeddings": "shared",
    "generator.gen_z": "linear",
    "generator.bn.weight": "output_layer.0.gain",
    "generator.bn": "output_layer.0",
    "generator.conv_to_rgb": "output_layer.2",
}
HEAD = re.compile("|".join(map(re.escape, HEADS)))
LAYER = re.compile(r"generator\.layers\.(\d{1,3})(?=\.)")


@dataclass(frozen=True)
class PortFile(ForeignFile):
    """An opened file, whose edited weights take a vector of their spectral norm with them."""

    def _placed(self, tensors: Mapping[str, Tensor]) -> list[tuple[Placed, Tensor]]:
        vectors = {}
        for name, weight in tensors.items():
            left, right = (f"{name.removesuffix('weight')}{end}" for end in (LEFT, RIGHT))
            if name.endswith("weight") and left in self.places:
                vectors[left] = left_of(weight, self.archive.read(self.places[right]), f"{self.path}: {name}")
        return super()._placed({**tensors, **vectors})


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return all(name in candidate.state for name in NAMES)


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or its configuration is of another network.
    """
    names = _renamed(candidate.state)
    places = {names[name]: placed for name, placed in candidate.state.items()}
    design, said = _design(archive.path, places)
    network = read_state(archive, lambda: BigGANDeep(design), places, FAMILY)
    normed = [name.removesuffix(LEFT) for name in places if name.endswith(f".{LEFT}")]
    unknown = sorted(set(places) - set(network.state_dict()) - {each + end for each in normed for end in (LEFT, RIGHT)})
    if unknown:
        theirs = next(name for name, ours in names.items() if ours == unknown[0])
        raise ValueError(f"{archive.path} is a {FAMILY} with {theirs}, which is not read here: {BY_HAND}")
    with torch.no_grad():
        for name in normed:
            left, right = (archive.read(places[name + end]).float() for end in (LEFT, RIGHT))
            weight = network.get_parameter(f"{name}weight")
            weight.div_(left @ weight.flatten(1) @ right)
    generator = DeepGenerator(network.eval().requires_grad_(False), said)
    return PortFile(generator, archive, places, FAMILY, candidate)


def left_of(weight: Tensor, right: Tensor, what: str) -> Tensor:
    """A vector u for which u W v is one.

    Raises:
        ValueError: There is none, as W v is zero.
    """
    written = weight.flatten(1).double() @ right.double()
    square = written.square().sum()
    if not square > 0:
        raise ValueError(f"{what} cannot be zero along its largest direction, by which spectral normalisation divides")
    return (written / square).float()


def _renamed(state: Mapping[str, Placed]) -> dict[str, str]:
    """Our names, by those of the port: attention is part of the block before it."""
    blocks, attended, heads = -1, 0, dict[str, str]()
    for number in range(MOST_LAYERS):
        if f"generator.layers.{number}.gamma" in state:
            attended = 1
        else:
            blocks, attended = blocks + 1, 0
        heads[str(number)] = f"blocks.{max(blocks, 0)}.{attended}"

    def renamed(name: str) -> str:
        head = LAYER.match(name)
        if head is not None and head[1] in heads:
            rest = name[head.end() :]
            return heads[head[1]] + ".".join(WORDS.get(word, word) for word in rest.split("."))
        head = HEAD.match(name)
        begun, rest = ("", name) if head is None else (HEADS[head[0]], name[head.end() :])
        return begun + ".".join(WORDS.get(word, word) for word in rest.split("."))

    return {name: renamed(name) for name in state}


def _design(path: Path, places: Mapping[str, Placed]) -> tuple[DeepDesign, list[str]]:
    """The architecture, and what was assumed of it."""
    channels = channels_of(path, places, FAMILY)
    blocks = range(len(channels) - 1)
    doubles, epsilon = _configured(path, len(blocks))
    said = []
    if doubles is None:
        doubles = tuple(blocks)[1::2]
        said = [f"every other block doubles the side, and {epsilon:g} is added to variances: {CONFIG} is not beside it"]
    shared, classes = places["shared.weight"].shape
    design = DeepDesign(
        classes=classes,
        z_dim=places["linear.weight"].shape[1] - shared,
        shared=shared,
        side=first_side(path, places, channels, len(doubles), FAMILY),
        channels=channels,
        doubles=doubles,
        attends=tuple(number for number in blocks if f"blocks.{number}.1.gamma" in places),
        colours=places["output_layer.2.weight"].shape[0],
        stats=places["output_layer.0.stored_mean"].shape[0],
        epsilon=epsilon,
        class_first=False,
        channels_last=True,
    )
    if design.z_dim < 1 or classes < 1 or side_of(design) < 1 or design.stats < 1:
        raise ValueError(f"{path} is not a {FAMILY}: it reads {design.z_dim} numbers of z and draws {classes} classes")
    return design, said


def _configured(path: Path, blocks: int) -> tuple[tuple[int, ...] | None, float]:
    """The blocks that double the side (None where nothing says so) and what is added to variances.

    Raises:
        ValueError: The configuration is of another network.
    """
    beside = path.with_name(path.name.removesuffix(WEIGHTS) + CONFIG if path.name.endswith(WEIGHTS) else CONFIG)
    config = files.read_json(beside, "configuration") if beside.is_file() else {}
    layers, epsilon = (config.get(name) for name in ("layers", "eps")) if isinstance(config, dict) else (None, None)
    epsilon = EPSILON if epsilon is None else epsilon
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise ValueError(f"{beside} says that {quoted(epsilon)} is added to variances")
    if layers is None:
        return None, epsilon
    if (
        not isinstance(layers, list)
        or len(layers) != blocks
        or not all(each and isinstance(each, list) for each in layers)
    ):
        raise ValueError(f"{beside} is of another network than {path}, which has {blocks} blocks")
    return tuple(number for number, (doubles, *_) in enumerate(layers) if doubles), epsilon
