"""StyleGAN2 files of rosinality's port, and of the 2020 rewriting release, which renamed some of its tensors.

https://github.com/rosinality/stylegan2-pytorch: a dictionary with `g_ema` (and `g`, `d`, `latent_avg`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.states import BY_HAND
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.discriminator import SMALLEST, DiscriminatorDesign
from rewrite.generators.stylegan2 import OPTIONAL, StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

# Sides double from 4 to at most 4096.
MOST_BLOCKS = 10
FAMILY = "StyleGAN2 of rosinality's port"
NO_MEAN = "the file holds no mean latent: truncation is towards the mean of 4,096 latents, as in rosinality's tools"
LAYER = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
# The first convolution that doubles the side, in files of rosinality's and of the rewriting release.
FIRST = tuple(
    f"{layer}.{inner}weight"
    for layer in ("convs.0.conv", "layer3.sconv.mconv", "layer3.sconv.conv")
    for inner in ("", "dconv.")
)
# Of the discriminator: a residual block, and what follows the last.
BLOCK = {
    "conv1.0.weight": "conv0.weight",
    "conv1.1.bias": "conv0.bias",
    "conv2.1.weight": "conv1.weight",
    "conv2.2.bias": "conv1.bias",
    "skip.1.weight": "skip.weight",
}
EPILOGUE = {
    "final_conv.0.weight": "conv.weight",
    "final_conv.1.bias": "conv.bias",
    "final_linear.0.weight": "fc.weight",
    "final_linear.0.bias": "fc.bias",
    "final_linear.1.weight": "out.weight",
    "final_linear.1.bias": "out.bias",
}
# The names of the rewriting release (sequential modules), back to rosinality's.
SEQUENTIAL = (
    (re.compile(r"^layer2\.conv\.mconv\."), "conv1.conv."),
    (re.compile(r"^layer2\.conv\."), "conv1."),
    (re.compile(r"^layer(\d+)\.sconv\.mconv\."), lambda found: f"convs.{int(found[1]) - 3}.conv."),
    (re.compile(r"^layer(\d+)\.sconv\."), lambda found: f"convs.{int(found[1]) - 3}."),
    (re.compile(r"^to_rgb1\.rgb\."), "to_rgb1."),
    (re.compile(r"^to_rgb(\d+)\.rgb\."), lambda found: f"to_rgbs.{int(found[1]) - 2}."),
    (re.compile(r"^(.*)conv\.dconv\.weight$"), r"\1conv.weight"),
    (re.compile(r"^latents\.latent_avg$"), "latent_avg"),
)
# Names without any of these are what they were; a file may have a great many.
SEQUENTIAL_PARTS = (".conv.", ".sconv.", ".rgb.", "conv.dconv.", "latents.")


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return any(name in candidate.state for name in FIRST)


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or built in a way that this port does not build.
    """
    state = _state(archive, candidate)
    blocks = len({name.split(".")[1] for name in state if name.startswith("to_rgbs.") and name.endswith(".bias")})
    if blocks > MOST_BLOCKS:
        raise ValueError(f"{archive.path} is not a complete {FAMILY}: it has {blocks} blocks")
    sides = [4 * 2**i for i in range(blocks + 1)]
    places = {ours: state[theirs] for theirs, ours in _names(state, sides) if theirs in state}
    if not all(f"synthesis.b{side}.conv1.weight" in places for side in sides) or "mapping.fc0.weight" not in places:
        raise ValueError(f"{archive.path} is not a complete {FAMILY}")
    wide, read = places["mapping.fc0.weight"].shape
    if read != wide:
        raise ValueError(
            f"{archive.path} is a {FAMILY} whose first layer reads {read} numbers and writes {wide}: z and "
            f"something else, such as a class, which is not read; {BY_HAND}"
        )
    constant = places["synthesis.b4.const"].shape
    design = Design(
        z_dim=places["mapping.fc0.weight"].shape[1],
        w_dim=places["mapping.fc0.weight"].shape[0],
        mapping_layers=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places),
        channels={side: places[f"synthesis.b{side}.conv1.weight"].shape[1] for side in sides},
        first_height=constant[-2],
        first_width=constant[-1],
        colours=places[f"synthesis.b{sides[-1]}.torgb.weight"].shape[1],
        conv_gain=True,
    )
    network = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    # Without kept noise, rosinality's tools draw it anew for each image: here by its seed.
    kept = any(name.endswith("noise_const") for name in places)
    generator = StyleGAN2Generator(network, noise="const" if kept else "seed")
    if not network.mapping.averaged:
        generator.assumed = (NO_MEAN,)
    return ForeignFile(generator, archive, places, FAMILY, candidate)


def discriminator(archive: Archive) -> tuple[DiscriminatorDesign, dict[str, Placed]] | None:
    """What the discriminator of such a file is built like, and where its tensors lie; None if there is none.

    Raises:
        ValueError: It is not complete.
    """
    content = archive.content.get("d") if isinstance(archive.content, dict) else None
    if not isinstance(content, dict) or "final_conv.0.weight" not in content:
        return None
    blocks = 0
    while blocks <= MOST_BLOCKS and f"convs.{blocks + 1}.conv1.0.weight" in content:
        blocks += 1
    named = _discriminator_names(blocks)
    places = {ours: content[theirs] for theirs, ours in named if isinstance(content.get(theirs), Placed)}
    wide, read = places[f"b{SMALLEST}.conv.weight"].shape[:2]
    sides = [SMALLEST * 2**number for number in range(1, blocks + 1)]
    channels = {side: places[f"b{side}.conv0.weight"].shape[0] for side in sides}
    return DiscriminatorDesign({**channels, SMALLEST: wide}, spreads=read - wide), places


def _state(archive: Archive, candidate: Candidate) -> dict[str, Placed]:
    """The generator's tensors by rosinality's names."""
    state = {_renamed(name): value for name, value in candidate.state.items()}
    mean = candidate.beside("latent_avg")
    if isinstance(mean, Placed):
        state["latent_avg"] = _row(archive, mean)
    return state


def _row(archive: Archive, mean: Placed) -> Placed:
    """The mean latent, of which pSp and e4e keep a copy for each layer."""
    if len(mean.shape) != 2:
        return mean
    rows = archive.read(mean)
    if not torch.equal(rows, rows[:1].expand_as(rows)):
        raise ValueError(f"{archive.path} keeps another mean latent for each layer, which is not read here")
    return replace(mean, shape=mean.shape[1:], stride=mean.stride[1:])


def _renamed(name: str) -> str:
    if not any(part in name for part in SEQUENTIAL_PARTS):
        return name
    for pattern, replacement in SEQUENTIAL:
        name = pattern.sub(replacement, name)
    return name


def _names(state: Mapping[str, Placed], sides: list[int]) -> Iterator[tuple[str, str]]:
    """Pairs of rosinality's name and ours."""
    yield "latent_avg", "mapping.w_avg"
    yield "input.input", "synthesis.b4.const"
    for name in state:
        linear = re.fullmatch(r"style\.(\d+)\.(weight|bias)", name)
        if linear:
            yield name, f"mapping.fc{int(linear[1]) - 1}.{linear[2]}"
    layers = [("conv1", "b4.conv1"), ("to_rgb1", "b4.torgb")]
    for number, side in enumerate(sides[1:]):
        layers += [(f"convs.{2 * number + i}", f"b{side}.conv{i}") for i in (0, 1)]
        layers.append((f"to_rgbs.{number}", f"b{side}.torgb"))
    for theirs, ours in layers:
        for part, mine in LAYER.items():
            yield f"{theirs}.{part}", f"synthesis.{ours}.{mine}"
    for number in range(2 * len(sides) - 1):
        side, conv = sides[(number + 1) // 2], 1 if number % 2 == 0 else 0
        yield f"noises.noise_{number}", f"synthesis.b{side}.conv{conv}.noise_const"


def _discriminator_names(blocks: int) -> Iterator[tuple[str, str]]:
    """Pairs of rosinality's name and ours."""
    for theirs, ours in (("convs.0.0.weight", "weight"), ("convs.0.1.bias", "bias")):
        yield theirs, f"b{SMALLEST * 2**blocks}.fromrgb.{ours}"
    for number in range(1, blocks + 1):
        side = SMALLEST * 2 ** (blocks + 1 - number)
        for theirs, ours in BLOCK.items():
            yield f"convs.{number}.{theirs}", f"b{side}.{ours}"
    for theirs, ours in EPILOGUE.items():
        yield theirs, f"b{SMALLEST}.{ours}"
