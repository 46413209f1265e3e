"""StyleGAN2 pickles of NVIDIA's TensorFlow repositories, read without TensorFlow.

https://github.com/NVlabs/stylegan2 and https://github.com/NVlabs/stylegan2-ada: a pickle of three networks (G, D, Gs),
each with its keyword arguments, its source code, which is never run, and its variables as numpy arrays. Kernels lie as
(height, width, inputs, outputs); upsampling layers turn theirs by 180°; styles are stored without the 1 that is added.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from rewrite.checkpoints.archives import Archive
from rewrite.checkpoints.budget import Budget
from rewrite.checkpoints.candidates import Candidate
from rewrite.checkpoints.foreign import ForeignFile, read_state
from rewrite.checkpoints.made import Made, Named
from rewrite.checkpoints.nvidia_states import architecture_of
from rewrite.checkpoints.tensors import NumpyArray, Placed
from rewrite.generators.stylegan2 import OPTIONAL, StyleGAN2
from rewrite.generators.stylegan2_design import Design
from rewrite.generators.stylegan2_layers import StyleGAN2Generator
from rewrite.storage.quoting import named, quoted

FAMILY = "StyleGAN2 of NVIDIA's TensorFlow repositories"
NETWORK = Named("dnnlib.tflib.network", "Network")
OLDEST = 4
NEEDED = ("synthesis/4x4/Conv/mod_weight", "mapping/Dense0/weight")
LAYERS = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
# Our name of each variable of a layer, and the order of its axes in ours.
PARTS = {
    "weight": ("weight", (3, 2, 0, 1)),
    "bias": ("bias", None),
    "noise_strength": ("noise_strength", None),
    "mod_weight": ("affine.weight", (1, 0)),
    "mod_bias": ("affine.bias", None),
}
# Keyword arguments that change how the network computes, and the one value that is built here.
FIXED = {
    "nonlinearity": "lrelu",
    "mapping_nonlinearity": "lrelu",
    "resample_kernel": [1, 3, 3, 1],
    "normalize_latents": True,
    "mapping_func": "G_mapping",
}
# Those that the variables' names and shapes say as well, that matter in training alone, or that are read below.
FREE = re.compile(
    r"latent_size|label_size|dlatent_size|resolution|num_channels|architecture|synthesis_func|fmap_\w+|label_fmaps|"
    r"mapping_(layers|fmaps|lrmul)|conv_clamp|use_noise|randomize_noise|num_fp16_res|dtype|fused_modconv|"
    r"truncation_\w+|style_mixing_prob|dlatent_avg_beta|w_avg_beta|structure"
)


@dataclass(frozen=True)
class ReadOnly(ForeignFile):
    """An opened pickle of TensorFlow."""

    def export(self, path: str | Path, tensors: Mapping[str, Tensor], edits: Mapping[str, Any]) -> NoReturn:
        """Refuse: such pickles are read and not written.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{self.archive.path} is a pickle of TensorFlow, which is read and not written: export it as safetensors "
            "(--as safetensors) instead, or convert it with legacy.py of NVIDIA's PyTorch repository first"
        )


def recognises(candidate: Candidate) -> bool:
    """Whether this is such a network."""
    return _network(candidate.content) is not None


def load(archive: Archive, candidate: Candidate) -> ReadOnly:
    """Build the generator of such a file: the average over training, Gs.

    Raises:
        ValueError: It is another network than StyleGAN2, or built in a way that is not known here.
    """
    network = _network(candidate.content)
    assert network is not None  # which `recognises` says
    variables = dict(_variables(network))
    settings = network.state.get("static_kwargs") or {}
    _check(archive.path, network, variables, settings)
    places = dict(_places(variables))
    design = Design(
        **architecture_of(places, FAMILY, archive),
        mapping_rate=float(settings.get("mapping_lrmul", 0.01)),
        clamp=None if settings.get("conv_clamp") is None else float(settings["conv_clamp"]),
    )
    built = read_state(archive, lambda: StyleGAN2(design), places, FAMILY, OPTIONAL)
    _turn(built)
    return ReadOnly(StyleGAN2Generator(built, noise="const"), archive, {}, FAMILY, candidate)


def _network(content: Any) -> Made | None:
    """The last of the networks, which is the average over training."""
    last = content[-1] if isinstance(content, tuple | list) and content else content
    return last if isinstance(last, Made) and last.named == NETWORK and isinstance(last.state, dict) else None


def _variables(network: Any, prefix: str = "", budget: Budget | None = None) -> Iterator[tuple[str, Placed]]:
    """The variables of a network and of the networks that it is made of; none of these is made of others again."""
    budget = budget or Budget()
    for variable in network.state.get("variables") or []:
        budget.letters(len(prefix))
        value = variable[1]
        if isinstance(value, NumpyArray) and value.placed is not None:
            yield f"{prefix}{variable[0]}", value.placed
    for name, part in (network.state.get("components") or {}).items() if not prefix else ():
        yield from _variables(part, f"{name}/", budget)


def _check(path: Path, network: Made, variables: Mapping[str, Placed], settings: Mapping[str, Any]) -> None:
    """Refuse every network that is built in another way than ours."""
    version, made = network.state.get("version"), network.state.get("build_func_name")
    if not isinstance(version, int) or version < OLDEST or not all(name in variables for name in NEEDED):
        raise ValueError(
            f"{path} holds a TensorFlow network of {quoted(made)}, which is not a StyleGAN2 that is read here"
        )
    if any("ToRGB_lod" in name for name in variables):
        raise ValueError(f"{path} was trained by progressive growing (configurations B to D), which is not read here")
    if "mapping/LabelConcat/weight" in variables:
        raise ValueError(f"{path} appends classes to z as StyleGAN2 did before ADA, which is not read here")
    strange = [name for name in settings if not FREE.fullmatch(name) and name not in FIXED]
    strange += [name for name, value in FIXED.items() if _listed(settings.get(name, value)) != value]
    if strange:
        raise ValueError(
            f"{path} was built with {named(strange[0])} = {quoted(settings[strange[0]])}, which is not known here"
        )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _places(variables: Mapping[str, Placed]) -> Iterator[tuple[str, Placed]]:
    """Our names and the arrays, with their axes in our order."""
    for name, array in variables.items():
        if name == "dlatent_avg":
            yield "mapping.w_avg", array
        elif name == "synthesis/4x4/Const/const":
            yield "synthesis.b4.const", array
        elif found := re.fullmatch(r"mapping/(Dense|LabelEmbed)(\d*)/(weight|bias)", name):
            ours = f"mapping.{'fc' if found[1] == 'Dense' else 'embed'}{found[2]}.{found[3]}"
            yield ours, _ordered(array, (1, 0)) if found[3] == "weight" else array
        elif found := re.fullmatch(r"synthesis/noise(\d{1,2})", name):
            side, layer = 2 ** ((int(found[1]) + 5) // 2), 1 - int(found[1]) % 2
            yield f"synthesis.b{side}.conv{layer}.noise_const", array
        elif (found := re.fullmatch(r"synthesis/(\d+)x\1/(\w+)/(\w+)", name)) and found[2] in LAYERS:
            part, order = PARTS[found[3]]
            yield f"synthesis.b{found[1]}.{LAYERS[found[2]]}.{part}", _ordered(array, order)


def _ordered(array: Placed, order: Sequence[int] | None) -> Placed:
    """The same numbers with the axes in another order."""
    if order is None:
        return array
    shape, stride = (tuple(which[axis] for axis in order) for which in (array.shape, array.stride))
    return Placed(array.storage, array.offset, shape, stride)


@torch.no_grad()
def _turn(network: StyleGAN2) -> None:
    """Turn the kernels of upsampling layers, and add the 1 to which styles are offsets."""
    for name, tensor in network.named_parameters():
        if name.endswith("conv0.weight"):
            tensor.copy_(tensor.flip(2, 3))
        elif name.endswith("affine.bias"):
            tensor.add_(1)
