"""StyleGAN3 of NVIDIA's PyTorch repository: configurations T and R."""

import re
from typing import Any

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.persistent import (
    attributes_of,
    check_class,
    check_known,
    child_of,
    is_network,
    limit,
    tensors_of,
    whole,
)
from rewrite.generators.stylegan3 import Design3, StyleGAN3
from rewrite.generators.stylegan3_layers import StyleGAN3Generator

FAMILY = "StyleGAN3 of NVIDIA's PyTorch repository"
COUNTS = (
    "channel_base",
    "channel_max",
    "num_layers",
    "num_critical",
    "margin_size",
    "filter_size",
    "conv_kernel",
    "lrelu_upsampling",
)
AMOUNTS = ("first_cutoff", "first_stopband", "last_stopband_rel", "output_scale")
# The second is StyleGAN-Human's.
SWITCHES = ("use_radial_filters", "square")
# Arguments of a layer that do not change its images: settings of training, and half precision on a GPU.
WITHOUT_EFFECT = ("w_dim", "img_resolution", "img_channels", "num_fp16_res", "magnitude_ema_beta")


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network: its synthesis begins with Fourier features."""
    whole_module = is_network(candidate.content) and not candidate.prefix
    return whole_module and child_of(child_of(candidate.content, "synthesis"), "input") is not None


def load(archive: Archive, candidate: Candidate) -> ForeignFile:
    """Build such a generator.

    Raises:
        ValueError: It is not complete, or built in a way that is not known here.
    """
    network = candidate.content
    check_class(archive, network)
    state, places = attributes_of(network), dict(tensors_of(network))
    first = attributes_of(child_of(child_of(network, "mapping"), "fc0"))
    design = Design3(
        z_dim=whole(state.get("z_dim")),
        w_dim=whole(state.get("w_dim")),
        img_resolution=whole(state.get("img_resolution")),
        img_channels=whole(state.get("img_channels")),
        c_dim=whole(state.get("c_dim", 0)),
        mapping_layers=sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places),
        mapping_rate=float(first.get("bias_gain", 0.01)),
        **_synthesis(archive, attributes_of(child_of(network, "synthesis")).get("_init_kwargs")),
    )
    built = read_state(archive, lambda: StyleGAN3(design), places, FAMILY, ("w_avg",))
    check_known(archive, network, built)
    return ForeignFile(StyleGAN3Generator(built), archive, places, FAMILY, candidate)


def _synthesis(archive: Archive, given: Any) -> dict[str, Any]:
    """What the synthesis was built with, checked."""
    if not isinstance(given, dict):
        raise ValueError(f"{archive.path} does not say how its synthesis was built")
    found: dict[str, Any] = {name: whole(given[name]) for name in COUNTS if name in given}
    found |= {name: float(given[name]) for name in AMOUNTS if name in given}
    found |= {name: bool(given[name]) for name in SWITCHES if name in given}
    if "conv_clamp" in given:
        found["conv_clamp"] = limit(given["conv_clamp"])
    unknown = sorted(str(name) for name in set(given) - set(found) - set(WITHOUT_EFFECT))
    if unknown:
        raise ValueError(f"{archive.path} was built with {unknown[0]}, which is not known here")
    return found
