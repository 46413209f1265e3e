"""StyleGAN2 of NVIDIA's PyTorch repositories (StyleGAN2-ADA-PyTorch, and the one in StyleGAN3's)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.made import Made
from rewrite.checkpoints.nvidia_states import FILTER, check_filters
from rewrite.checkpoints.persistent import (
    attributes_of,
    check_class,
    check_known,
    child_of,
    class_name,
    is_network,
    limit,
    network_of,
    tensors_of,
    whole,
)
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.discriminator import SMALLEST, DiscriminatorDesign
from rewrite.generators.stylegan2 import OPTIONAL, StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.storage.quoting import quoted

FAMILY = "StyleGAN2 of NVIDIA's PyTorch repositories"
DISCRIMINATOR = "D"


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network."""
    return is_network(candidate.content) and not candidate.prefix and candidate.plain


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is of a class, or built in a way, that is not known here.
    """
    network = candidate.content
    state, places = attributes_of(network), _places(network)
    sides = _sides(places, r"synthesis\.b(\d+)\.conv1\.weight")
    _check(archive, network, sides)
    last = child_of(child_of(network, "synthesis"), f"b{sides[-1]}")
    _check_layer(archive, child_of(last, "conv1"))
    check_class(archive, network)
    constant = places["synthesis.b4.const"].shape
    design = Design(
        z_dim=whole(state.get("z_dim")),
        w_dim=whole(state.get("w_dim")),
        channels={side: places[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides},
        architecture=str(attributes_of(last).get("architecture", "skip")),
        colours=whole(state.get("img_channels", 3)),
        c_dim=whole(state.get("c_dim", 0)),
        embed_dim=places["mapping.embed.weight"].shape[0] if "mapping.embed.weight" in places else None,
        clamp=limit(attributes_of(child_of(last, "conv1")).get("conv_clamp")),
        first_height=constant[-2],
        first_width=constant[-1],
        **_mapping(network, places),
    )
    built = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    check_known(archive, network, built)
    return ForeignFile(StyleGAN2Generator(built, noise="const"), archive, places, FAMILY, candidate)


def discriminator(archive: Archive) -> tuple[DiscriminatorDesign, dict[str, Placed]] | None:
    """What the discriminator of such a file is built like, and where its tensors lie; None if there is none.

    Raises:
        ValueError: It is of a class, or built in a way, that is not known here.
    """
    network = network_of(archive.content, DISCRIMINATOR)
    if network is None:
        return None
    state, places = attributes_of(network), _places(network)
    sides = _sides(places, r"b(\d+)\.conv1\.weight")
    if not sides and network is archive.content:
        return None  # a network that stands alone, and is no discriminator
    _check(archive, network, sides)
    first, last = child_of(network, f"b{sides[-1]}"), child_of(network, f"b{SMALLEST}")
    _check_layer(archive, child_of(first, "conv1"))
    wide, read = places[f"b{SMALLEST}.conv.weight"].shape[:2]
    classes = whole(state.get("c_dim", 0))
    group = attributes_of(child_of(last, "mbstd")).get("group_size")
    design = DiscriminatorDesign(
        channels={side: places[f"b{side}.conv0.weight"].shape[0] for side in sides} | {SMALLEST: wide},
        architecture=str(attributes_of(first).get("architecture", "resnet")),
        colours=whole(state.get("img_channels", 3)),
        c_dim=classes,
        cmap_dim=places[f"b{SMALLEST}.out.weight"].shape[0] if classes else 0,
        group=None if group is None else whole(group),
        spreads=read - wide,
        clamp=limit(attributes_of(child_of(first, "conv1")).get("conv_clamp")),
        **_mapping(network, places),
    )
    return design, places


def _places(network: Made) -> dict[str, Placed]:
    return {name: tensor for name, tensor in tensors_of(network) if not name.endswith(FILTER)}


def _sides(places: Mapping[str, Placed], pattern: str) -> list[int]:
    return sorted(int(found[1]) for name in places if (found := re.fullmatch(pattern, name)))


def _mapping(network: Made, places: Mapping[str, Placed]) -> dict[str, Any]:
    """Number of layers and learning rate of a mapping."""
    first = attributes_of(child_of(child_of(network, "mapping"), "fc0"))
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places)
    return {"mapping_layers": layers, "mapping_rate": float(first.get("bias_gain", 0.01))}


def _check(archive: Archive, network: Made, sides: Sequence[int]) -> None:
    """Refuse a network of other layers, or whose low-pass filter is another than ours."""
    if not sides:
        raise ValueError(f"{archive.path} holds a {class_name(network)}, whose layers are not known here")
    check_filters(archive, dict(tensors_of(network)))


def _check_layer(archive: Archive, layer: Any) -> None:
    """Refuse another activation than ours."""
    activation = attributes_of(layer).get("activation", "lrelu")
    if activation != "lrelu":
        raise ValueError(
            f"{archive.path} was trained with the activation {quoted(activation)}, which is not known here"
        )
