"""Networks of NVIDIA's PyTorch repositories (StyleGAN2-ADA): a pickle of objects that carry their own source code.

The source code is never run: an object is read as the class name, the constructor's arguments and the state that stand
beside it, and its tensors are found by walking through its modules.
"""

import re
from collections.abc import Iterator
from typing import Any

from rewrite.checkpoints.archives import DEEPEST, Archive
from rewrite.checkpoints.pickles import Made, Named
from rewrite.checkpoints.source import Source, read_state
from rewrite.checkpoints.tensors import Placed
from rewrite.generators.stylegan2 import OPTIONAL, Blur, Design, StyleGAN2
from rewrite.generators.stylegan2_layers import StyleGAN2Generator

FAMILY = "StyleGAN2 of NVIDIA's PyTorch repositories"
PERSISTENT = Named("torch_utils.persistence", "_reconstruct_persistent_obj")
NETWORKS = ("G_ema", "G")
FILTER = "resample_filter"


def recognises(content: Any) -> bool:
    """Whether this is such a file."""
    return _network(content) is not None


def load(archive: Archive) -> Source:
    """Build the generator of such a file.

    Raises:
        ValueError: It is of a class, or built in a way, that is not known here.
    """
    network = _network(archive.content)
    state = _attributes(network)
    places = {name: tensor for name, tensor in _tensors(network) if not name.endswith(FILTER)}
    sides = sorted(
        int(found[1]) for name in places if (found := re.fullmatch(r"synthesis\.b(\d+)\.conv1\.weight", name))
    )
    if not sides:
        raise ValueError(f"{archive.path} holds a {_class_name(network)}, whose layers are not known here")
    blocks = {side: _child(_child(network, "synthesis"), f"b{side}") for side in sides}
    last = blocks[sides[-1]]
    first = _child(_child(network, "mapping"), "fc0")
    layers = sum(bool(re.fullmatch(r"mapping\.fc\d+\.weight", name)) for name in places)
    activation = _attributes(_child(last, "conv1")).get("activation", "lrelu")
    if activation != "lrelu":
        raise ValueError(f"{archive.path} was trained with the activation {activation!r}, which is not known here")
    _check_filters(archive, network)
    design = Design(
        z_dim=_whole(state.get("z_dim")),
        w_dim=_whole(state.get("w_dim")),
        mapping_layers=layers,
        channels={side: places[f"synthesis.b{side}.conv1.weight"].shape[0] for side in sides},
        architecture=str(_attributes(last).get("architecture", "skip")),
        colours=_whole(state.get("img_channels", 3)),
        c_dim=_whole(state.get("c_dim", 0)),
        embed_dim=places["mapping.embed.weight"].shape[0] if "mapping.embed.weight" in places else None,
        mapping_rate=float(_attributes(first).get("bias_gain", 0.01)),
        clamp=_limit(_attributes(_child(last, "conv1")).get("conv_clamp")),
    )
    built = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    return Source(StyleGAN2Generator(built, noise="const"), archive, places, FAMILY)


def _check_filters(archive: Archive, network: Made) -> None:
    """Refuse a network whose low-pass filter is another than ours."""
    ours = Blur().taps
    for name, tensor in _tensors(network):
        if name.endswith(FILTER) and (tensor.shape != tuple(ours.shape) or not archive.read(tensor).allclose(ours)):
            raise ValueError(f"{archive.path} was trained with another low-pass filter, first in {name}")


def _network(content: Any) -> Made | None:
    candidates = [content.get(name) for name in NETWORKS] if isinstance(content, dict) else [content]
    return next((each for each in candidates if _is_network(each)), None)


def _is_network(value: Any) -> bool:
    return isinstance(value, Made) and value.named == PERSISTENT and "_modules" in _attributes(value)


def _meta(made: Any) -> dict:
    meta = made.arguments[0] if isinstance(made, Made) and made.arguments else None
    return meta if isinstance(meta, dict) else {}


def _class_name(made: Any) -> str:
    return str(_meta(made).get("class_name", "network"))


def _attributes(made: Any) -> dict:
    """The attributes of a module: of a persistent one from its description, of a plain one from its state."""
    state = (
        _meta(made).get("state")
        if isinstance(made, Made) and made.named == PERSISTENT
        else getattr(made, "state", None)
    )
    return state if isinstance(state, dict) else {}


def _child(made: Any, name: str) -> Any:
    modules = _attributes(made).get("_modules")
    return modules.get(name) if isinstance(modules, dict) else None


def _tensors(made: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Placed]]:
    if depth > DEEPEST:
        raise ValueError("the network is nested too deeply")
    attributes = _attributes(made)
    for kind in ("_parameters", "_buffers"):
        for name, tensor in (attributes.get(kind) or {}).items():
            if isinstance(tensor, Placed):
                yield f"{prefix}{name}", tensor
    for name, child in (attributes.get("_modules") or {}).items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**16:
        raise ValueError(f"a size in the file is no size: {value!r}"[:120])
    return value


def _limit(value: Any) -> float | None:
    return None if value is None else float(value)
