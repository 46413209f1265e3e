"""StyleGAN3 state dicts by NVIDIA's names: `G_ema.state_dict()`.

Names and shapes say the sizes and channels of all layers, and the filters, which such a dictionary holds, say whether
frequencies are those of NVIDIA's defaults. What is left is taken to be NVIDIA's default: mapping rate, clamp, gain.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product

import torch

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.stylegan3 import Design3, StyleGAN3, bands, resampling_of
from rewrite.generators.stylegan3_layers import StyleGAN3Generator

FAMILY = "StyleGAN3 state dict by NVIDIA's names"
LAYER = re.compile(r"synthesis\.L(\d{1,2})_(\d{1,5})_(\d{1,5})\.weight")
BASES, MOST = tuple(2**power for power in range(12, 18)), tuple(2**power for power in range(5, 12))
ALIKE = 1e-5


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: by its names."""
    return "synthesis.input.freqs" in candidate.state


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or not built by NVIDIA's defaults.
    """
    places = candidate.state
    design = next((each for each in _designs(places) if _confirmed(archive, places, each)), None)
    if design is None:
        raise ValueError(
            f"{archive.path} is a {FAMILY} whose layers are not those of configurations T and R: "
            "use the .pkl, which says how it is built"
        )
    network = read_state(archive, lambda: StyleGAN3(design), places, FAMILY, ("w_avg",))
    ours = set(network.state_dict())
    own = {name: tensor for name, tensor in places.items() if name in ours}
    return ForeignFile(StyleGAN3Generator(network), archive, own, FAMILY, candidate)


def _layers(places: Mapping[str, Placed]) -> list[tuple[int, int, int]]:
    """Number, width and channels of the layers, as their names say."""
    found = (LAYER.fullmatch(name) for name in places)
    return sorted((int(each[1]), int(each[2]), int(each[3])) for each in found if each)


def _designs(places: Mapping[str, Placed]) -> Iterator[Design3]:
    """The designs by NVIDIA's defaults that have just these layers."""
    layers = _layers(places)
    if [number for number, *_ in layers] != list(range(len(layers))):
        return
    mapping_layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places)
    radial = any(name.endswith("down_filter") and len(tensor.shape) == 2 for name, tensor in places.items())
    first = places[f"synthesis.L0_{layers[0][1]}_{layers[0][2]}.weight"]
    embedding = places.get("mapping.embed.weight")
    width, classes = embedding.shape if embedding else (0, 0)
    z_dim, w_dim = places["mapping.fc0.weight"].shape[1] - width, places["mapping.fc0.weight"].shape[0]
    for base, most, square in product(BASES, MOST, (True, False)):
        design = Design3(
            z_dim=z_dim,
            w_dim=w_dim,
            img_resolution=layers[-1][1] * (1 if square else 2),
            img_channels=layers[-1][2],
            mapping_layers=mapping_layers,
            c_dim=classes,
            channel_base=base,
            channel_max=most,
            num_layers=len(layers) - 1,
            conv_kernel=first.shape[2],
            use_radial_filters=radial,
            square=square,
        )
        if [(number, each.size[1], each.channels) for number, each in enumerate(bands(design))] == layers:
            yield design


def _confirmed(archive: Archive, places: Mapping[str, Placed], design: Design3) -> bool:
    """Whether the filters of a file are those of a design."""
    found = bands(design)
    for number, (before, after) in enumerate(zip([found[0], *found], found, strict=False)):
        resampling = resampling_of(design, before, after, colours=number == design.num_layers)
        for part, ours in (("up_filter", resampling.up_filter), ("down_filter", resampling.down_filter)):
            name = f"synthesis.L{number}_{after.size[1]}_{after.channels}.{part}"
            if (ours is None) != (name not in places):
                return False
            if ours is None:
                continue
            theirs = archive.read(places[name])
            if theirs.shape != ours.shape or not torch.allclose(theirs, ours, rtol=0, atol=ALIKE):
                return False
    return True
