"""Pickles as NVIDIA's repositories write them, made from networks of ours by the documented layout."""

import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import nn

from rewrite.generators.discriminator import Discriminator, DiscriminatorDesign
from rewrite.generators.stylegan2 import StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan3 import Design3, StyleGAN3

SOURCE = "import os\nos.system('touch /tmp/source-code-was-run')\nraise SystemExit('the source code was run')\n"
About = Callable[[str], dict[str, Any]]


class Persistent:
    """What a persistent module looks like in a pickle: a description with source code, and a state."""

    def __init__(self, class_name: str, **attributes):
        self.class_name, self.attributes = class_name, attributes

    def __reduce__(self):
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name}
        return _reconstruct_persistent_obj, (meta | {"state": self.attributes},)


def _reconstruct_persistent_obj(meta):
    raise AssertionError("a persistent object was made")


class Network:
    """What the networks of the TensorFlow repositories are pickled as."""

    def __init__(self, name: str, variables: list, settings: dict, components: dict | None = None, version: int = 4):
        self.state = {
            "version": version,
            "name": name,
            "static_kwargs": settings,
            "components": components or {},
            "build_module_src": "raise SystemExit('the source code was run')",
            "build_func_name": "G_main",
            "variables": variables,
        }

    def __getstate__(self):
        return self.state


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
Network.__module__ = "dnnlib.tflib.network"


@contextmanager
def stand_ins() -> Iterator[None]:
    """Modules under the names that such pickles use; without them, Python would not write one."""
    names = ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    modules = {name: ModuleType(name) for name in names}
    modules["torch_utils.persistence"]._reconstruct_persistent_obj = _reconstruct_persistent_obj
    modules["dnnlib.tflib.network"].Network = Network
    with patch.dict(sys.modules, modules):
        yield


def pickled(content: Any, protocol: int | None = None) -> bytes:
    """The bytes of a pickle; nothing that it names can be imported once it is made."""
    with stand_ins():
        return pickle.dumps(content, protocol)


def persistent(module: nn.Module, about: About, name: str = "") -> Persistent:
    """A module of ours in NVIDIA's layout.

    Args:
        module: The module.
        about: What a module of a name says of itself beside its tensors; the network itself has none.
        name: The module's own name.
    """
    children = {key: persistent(child, about, key) for key, child in module._modules.items()}
    attributes = {
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(
            (key, tensor) for key, tensor in module._buffers.items() if key not in module._non_persistent_buffers_set
        ),
        "_modules": OrderedDict(children),
        "training": False,
    }
    return Persistent(type(module).__name__ if name else "Generator", **attributes, **about(name))


def stylegan2(network: StyleGAN2) -> Persistent:
    """A StyleGAN2 generator in NVIDIA's layout."""
    design: Design = network.design

    def about(name: str) -> dict[str, Any]:
        if not name:
            sizes = {"z_dim": design.z_dim, "w_dim": design.w_dim, "c_dim": design.c_dim}
            return {**sizes, "img_channels": design.colours, "_init_kwargs": {"z_dim": design.z_dim}}
        if name.startswith("conv"):
            return {"activation": "lrelu", "conv_clamp": design.clamp, "padding": np.int64(1)}
        if name.startswith("fc"):
            return {"bias_gain": design.mapping_rate, "weight_gain": np.float64(0.1)}
        return {"architecture": design.architecture} if name.startswith("b") else {}

    return persistent(network, about)


def stylegan3(network: StyleGAN3) -> Persistent:
    """A StyleGAN3 generator in NVIDIA's layout."""
    design: Design3 = network.design
    given = ("channel_base", "channel_max", "num_layers", "margin_size", "conv_kernel", "use_radial_filters", "square")

    def about(name: str) -> dict[str, Any]:
        if not name:
            sizes = ("z_dim", "w_dim", "c_dim", "img_resolution", "img_channels")
            return {size: getattr(design, size) for size in sizes}
        if name == "synthesis":
            built = {each: getattr(design, each) for each in given}
            return {"_init_kwargs": {**built, "w_dim": design.w_dim, "magnitude_ema_beta": 0.9988}}
        if name.startswith("fc"):
            return {"bias_gain": design.mapping_rate}
        return {"in_size": np.array([4, 4]), "in_cutoff": np.float64(2.0)} if name.startswith("L") else {}

    return persistent(network, about)


def discriminator(network: Discriminator) -> Persistent:
    """A discriminator in NVIDIA's layout."""
    design: DiscriminatorDesign = network.design

    def about(name: str) -> dict[str, Any]:
        if not name:
            return {"c_dim": design.c_dim, "img_channels": design.colours, "img_resolution": design.side}
        if name.startswith("conv"):
            return {"activation": "lrelu", "conv_clamp": design.clamp}
        if name.startswith("fc") and name != "fc":
            return {"bias_gain": design.mapping_rate}
        return {"architecture": design.architecture} if name.startswith("b") else {}

    written = persistent(network, about)
    modules = written.attributes["_modules"]["b4"].attributes["_modules"]
    group = Persistent("MinibatchStdLayer", group_size=design.group, num_channels=design.spreads)
    modules["mbstd"] = group if design.spreads else None
    return written


def write_network(path: Path, network: Persistent, **others: Any) -> Path:
    """A training snapshot with this network as G_ema."""
    content = {"G": None, "D": None, "G_ema": network, "training_set_kwargs": {"path": "x"}, **others}
    path.write_bytes(pickled(content))
    return path


def write_stylegan2(path: Path, generator) -> Path:
    """A pickle of StyleGAN2-ADA-PyTorch."""
    return write_network(path, stylegan2(generator.network))


def write_stylegan3(path: Path, generator, **synthesis: Any) -> Path:
    """A pickle of StyleGAN3's repository; `synthesis` are other arguments that its synthesis was built with."""
    written = stylegan3(generator.network)
    written.attributes["_modules"]["synthesis"].attributes["_init_kwargs"] |= synthesis
    return write_network(path, written)


TENSORFLOW_NAMES = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}


def write_tensorflow(
    path: Path, network: StyleGAN2, *, protocol: int = 4, version: int = 4, extra: tuple = (), **settings: Any
) -> Path:
    """A pickle of the TensorFlow repositories: a tuple of G, D and Gs."""
    state = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    settings = {"latent_size": 8, "mapping_lrmul": network.design.mapping_rate, "truncation_psi": 0.5, **settings}
    synthesis = Network("G_synthesis", _synthesis_variables(state) + list(extra), settings)
    mapping = Network("G_mapping", _mapping_variables(state, network.design.mapping_layers), settings)
    own = [("lod", np.float32(0)), ("dlatent_avg", state["mapping.w_avg"])]
    last = Network("Gs", own, settings, {"synthesis": synthesis, "mapping": mapping}, version)
    other = Network("D", [("4x4/Conv/weight", np.zeros((3, 3, 2, 2), np.float32))], {})
    path.write_bytes(pickled((other, other, last), protocol))
    return path


def _mapping_variables(state: dict, layers: int) -> list:
    """The variables of the mapping network in TensorFlow's layout: (inputs, outputs)."""
    names = {f"fc{i}": f"Dense{i}" for i in range(layers)} | {"embed": "LabelEmbed"}
    return [
        (f"{names[layer]}/{part}", values.T if part == "weight" else values)
        for name, values in state.items()
        for layer, _, part in [name.removeprefix("mapping.").partition(".")]
        if layer in names
    ]


def _synthesis_variables(state: dict) -> list:
    """The variables of the synthesis network: kernels (height, width, inputs, outputs), styles without their 1."""
    found = [("4x4/Const/const", state["synthesis.b4.const"][None])]
    for name, values in state.items():
        if not name.startswith("synthesis.") or name == "synthesis.b4.const":
            continue
        block, layer, part = name.removeprefix("synthesis.").split(".", 2)
        side = int(block[1:])
        ours = "Conv" if (side, layer) == (4, "conv1") else TENSORFLOW_NAMES[layer]
        if part == "noise_const":
            number = 2 * int(np.log2(side)) - (4 if layer == "conv1" else 5)
            found.append((f"noise{number}", values[None, None]))
            continue
        if part == "weight":
            values = values[:, :, ::-1, ::-1] if layer == "conv0" else values
            values = values.transpose(2, 3, 1, 0)
        elif part == "noise_strength":
            values = np.float32(values)  # TensorFlow gives scalars as such, and not as arrays
        elif part == "affine.weight":
            part, values = "mod_weight", values.T
        elif part == "affine.bias":
            part, values = "mod_bias", values - 1
        found.append((f"{side}x{side}/{ours}/{part}", np.ascontiguousarray(values) if values.ndim else values))
    return found
