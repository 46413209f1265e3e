"""StyleGAN2 of NVIDIA's PyTorch repositories (StyleGAN2-ADA-PyTorch, and the one in StyleGAN3's)."""

import re
from typing import Any

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.persistent import attributes_of, child_of, class_name, limit, network_of, tensors_of, whole
from rewrite.checkpoints.pickles import Made
from rewrite.checkpoints.source import Source, read_state
from rewrite.generators.stylegan2 import OPTIONAL, Blur, Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

FAMILY = "StyleGAN2 of NVIDIA's PyTorch repositories"
FILTER = "resample_filter"


def recognises(content: Any) -> bool:
    """Whether this is such a file."""
    return network_of(content) is not None


def load(archive: Archive) -> Source:
    """Build the generator of such a file.

    Raises:
        ValueError: It is of a class, or built in a way, that is not known here.
    """
    network = network_of(archive.content)
    state = attributes_of(network)
    places = {name: tensor for name, tensor in tensors_of(network) if not name.endswith(FILTER)}
    sides = sorted(
        int(found[1]) for name in places if (found := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name))
    )
    if not sides:
        raise ValueError(f"{archive.path} holds a {class_name(network)}, whose layers are not known here")
    blocks = {side: child_of(child_of(network, "synthesis"), f"b{side}") for side in sides}
    last = blocks[sides[-1]]
    first = child_of(child_of(network, "mapping"), "fc0")
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places)
    activation = attributes_of(child_of(last, "conv1")).get("activation", "lrelu")
    if activation != "lrelu":
        raise ValueError(f"{archive.path} was trained with the activation {activation!r}, which is not known here")
    _check_filters(archive, network)
    design = Design(
        z_dim=whole(state.get("z_dim")),
        w_dim=whole(state.get("w_dim")),
        mapping_layers=layers,
        channels={side: places[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides},
        architecture=str(attributes_of(last).get("architecture", "skip")),
        colours=whole(state.get("img_channels", 3)),
        c_dim=whole(state.get("c_dim", 0)),
        embed_dim=places["mapping.embed.weight"].shape[0] if "mapping.embed.weight" in places else None,
        mapping_rate=float(attributes_of(first).get("bias_gain", 0.01)),
        clamp=limit(attributes_of(child_of(last, "conv1")).get("conv_clamp")),
    )
    built = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    return Source(StyleGAN2Generator(built, noise="const"), archive, places, FAMILY)


def _check_filters(archive: Archive, network: Made) -> None:
    """Refuse a network whose low-pass filter is another than ours."""
    ours = Blur().taps
    for name, tensor in tensors_of(network):
        if name.endswith(FILTER) and (tensor.shape != tuple(ours.shape) or not archive.read(tensor).allclose(ours)):
            raise ValueError(f"{archive.path} was trained with another low-pass filter, first in {name}")
