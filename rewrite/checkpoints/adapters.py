"""Patches as LoRA adapters in the layout of Hugging Face's PEFT, and back.

A folder with `adapter_config.json` and `adapter_model.safetensors`. PEFT adds (alpha / r) · B(A(x)) to what a layer
writes: for `nn.Linear`, A and B are matrices; for `nn.Conv2d`, A is a convolution with the layer's own kernel, stride
and padding into r channels, and B one of 1x1. Both are the factors of a patch in other shapes (Hu et al., ICLR 2022,
section 4.1).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rewrite.generators.fingerprint import hash_of
from rewrite.generators.layers import Layer
from rewrite.generators.network import Network
from rewrite.generators.parametrised import computed
from rewrite.patch import Patch, held_at
from rewrite.storage import files
from rewrite.storage.quoting import quoted, reason_of
from rewrite.version import __version__

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
FACTOR = re.compile(re.escape(PREFIX) + r"(.+)\.lora_([AB])\.weight")
# Paths, escaped or not: other patterns could be made to take forever.
PATTERN = re.compile(r"\^?(\w|-|\\?\.|\\-)*")
OURS = "rewrite"
# Options that say which layers are changed by B(A(x)) and how much, or matter in training alone.
FREE = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "peft_type",
    "peft_version",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
}
# What others are where they do nothing; those that are not listed are off, empty or left out. PiSSA, OLoRA, CorDA and
# the like begin from other weights than those that the adapter is put on.
NEUTRAL = {
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian"),
    "megatron_core": ("megatron.core",),
    "qalora_group_size": (16,),
}
OFF = (None, False, [], {})


def to_peft(
    generator: Network,
    patches: Patch | Sequence[Patch],
    folder: str | Path,
    *,
    strengths: Sequence[float] | None = None,
) -> None:
    """Write patches as one adapter that PEFT loads: `PeftModel.from_pretrained(module, folder)`.

    Strengths go into B; of several patches on one layer the ranks add up.

    Args:
        generator: The unedited generator; its module is what the adapter is for.
        patches: The patch or patches.
        folder: Where to write.
        strengths: The strength of each patch; 1 if left out.

    Raises:
        LookupError: The generator has no such layer.
        ValueError: PEFT cannot hold such a layer, a patch was made for another weight, or the folder cannot be written.
    """
    by_path: dict[str, list[tuple[Patch, float]]] = {}
    for patch, strength in held_at(patches, strengths):
        if not math.isfinite(strength):
            raise ValueError(f"strength must be a finite number, got {strength}")
        patch.check(generator)
        if patch.bias is not None:
            raise ValueError(
                f"this patch also changes the bias of {patch.layer}, which PEFT cannot hold: export a checkpoint"
            )
        by_path.setdefault(_path(generator, patch.layer), []).append((patch, strength))
    if not by_path:
        raise ValueError("an adapter needs at least one patch, got none")
    tensors, ranks = {}, {}
    for path, held in by_path.items():
        tensors |= _factors(path, generator.layer(held[0][0].layer), held)
        ranks[path] = sum(patch.rank for patch, _ in held)
    tensors = {name: files.held_as(tensor, tensor.dtype, name) for name, tensor in tensors.items()}
    about = {path: _story(held) for path, held in by_path.items()}
    story = {"model": generator.fingerprint, "library": __version__, "layers": about}
    header = {"format": "pt", OURS: json.dumps(story, sort_keys=True)}
    contents = {
        CONFIG: (json.dumps(_config(ranks), indent=2) + "\n").encode(),
        WEIGHTS: b"".join(files.tensor_bytes(tensors, header)),
    }
    files.write_together(folder, contents)


def from_peft(generator: Network, folder: str | Path) -> tuple[Patch, ...]:
    """Read an adapter as patches of a generator, one for each layer.

    Args:
        generator: The generator whose module the adapter is for.
        folder: A folder that `to_peft` or PEFT's `save_pretrained` wrote.

    Returns:
        The patches.

    Raises:
        FileNotFoundError: A file is missing.
        LookupError: The generator has no such layer.
        ValueError: It is not an adapter, does more than B(A(x)), does not fit, or says that it is for other weights.
    """
    config, (tensors, story) = _read_config(Path(folder) / CONFIG), _read_weights(Path(folder) / WEIGHTS)
    names = {layer.weight.removesuffix(".weight"): name for name, layer in generator.layers.items()}
    patches = []
    for path, (first, second) in _pairs(tensors, Path(folder) / WEIGHTS).items():
        if path not in names:
            raise LookupError(f"this generator has no editable layer at {quoted(path)}, which the adapter changes")
        _path(generator, names[path])
        layer = generator.layer(names[path])
        if tuple(first.shape[2:]) != (() if layer.kind == "linear" else layer.kernel):
            raise ValueError(f"the adapter's kernel for {path} is {tuple(first.shape[2:])}, not that of the layer")
        known = story.get("layers", {}).get(path, {})
        patch = Patch(
            layer=layer.name,
            left=second.reshape(len(second), -1).float() * layer.gain * _scaling(config, path, len(first)),
            right=first.reshape(len(first), -1).float(),
            base=known.get("base") or hash_of({"weight": generator.weight(layer.name)}),
            model=story.get("model") or generator.fingerprint,
            rules=tuple(known.get("rules", ())),
            forecast=known.get("forecast", {}),
        )
        patch.check(generator)
        patches.append(patch)
    return tuple(patches)


def _path(generator: Network, name: str) -> str:
    """Path of the module that a layer is, which must be one that PEFT can hold.

    Raises:
        ValueError: It is not.
    """
    layer = generator.layer(name)
    path = layer.weight.removesuffix(".weight")
    stage = generator.module.get_submodule(path)
    if type(stage) not in (nn.Linear, nn.Conv2d) or not path:
        kind = "modulated convolution" if layer.modulated else type(stage).__name__
        raise ValueError(f"PEFT holds nn.Linear and nn.Conv2d inside a module, and layer {name} is a {kind}")
    if layer.groups > 1:
        raise ValueError(
            f"layer {name} is a convolution in {layer.groups} groups, which PEFT cannot merge: export a checkpoint"
        )
    if set(layer.dilation) != {1}:
        raise ValueError(f"layer {name} is a dilated convolution, which PEFT would run undilated: export a checkpoint")
    if getattr(stage, "padding_mode", "zeros") != "zeros" or computed(stage) is not None:
        raise ValueError(
            f"layer {name} pads otherwise than with zeros, or computes its weight, and PEFT does neither: export the "
            "module's state dict"
        )
    return path


def _factors(path: str, layer: Layer, held: Sequence[tuple[Patch, float]]) -> dict[str, Tensor]:
    """A and B of the patches of one layer, one after the other."""
    first = torch.cat([patch.right for patch, _ in held])
    # The patch changes the effective weight, the adapter the stored one.
    second = torch.cat([patch.left * (strength / layer.gain) for patch, strength in held], dim=1)
    if layer.kind != "linear":
        first = first.reshape(-1, layer.inputs, *layer.kernel)
        second = second[:, :, None, None]
    return {f"{PREFIX}{path}.lora_A.weight": first, f"{PREFIX}{path}.lora_B.weight": second}


def _story(held: Sequence[tuple[Patch, float]]) -> dict[str, Any]:
    """What the patches of one layer say of themselves; the forecast only if it is that of the whole adapter."""
    (patch, strength), *others = held
    return {
        "base": patch.base,
        "rules": [rule for patch, _ in held for rule in patch.rules],
        "forecast": {} if others or strength != 1 else dict(patch.forecast),
    }


def _config(ranks: Mapping[str, int]) -> dict[str, Any]:
    """What PEFT reads first. Alpha is the rank everywhere, so that B(A(x)) is added as it is."""
    rank = max(ranks.values())
    # PEFT takes a pattern for every path that ends like it, the first that fits: longer paths come first.
    longest = sorted(ranks, key=lambda path: (-len(path), path)) if len(set(ranks.values())) > 1 else []
    patterns = {re.escape(path): ranks[path] for path in longest}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        # A text is matched as a whole; an entry of a list would also match longer paths that end like it.
        "target_modules": "|".join(re.escape(path) for path in sorted(ranks)),
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
        "use_rslora": False,
        "use_dora": False,
    }


def _read_config(path: Path) -> dict[str, Any]:
    config = files.read_json(path, "adapter")
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ValueError(f"{path} is not a LoRA adapter of PEFT")
    for name, value in config.items():
        if name not in FREE and value not in (*OFF, *NEUTRAL.get(name, ())):
            raise ValueError(
                f"{path} asks for {name} = {quoted(value)}, which may be more than a change of weights by B(A(x)): "
                "save it from PEFT as a plain LoRA adapter"[:300]
            )
    return config


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, and what we said of them where we wrote the file."""
    story: Any = {}
    tensors: dict[str, Tensor] = {}
    try:
        header = files.metadata(path)
        tensors = load_file(path)
        story = json.loads(header.get(OURS, "{}"))
        layers = story.get("layers", {})
        texts = [story.get("model", ""), *(known.get("base", "") for known in layers.values())]
        texts += [rule for known in layers.values() for rule in known.get("rules", [])]
        objects = [known.get("forecast", {}) for known in layers.values()]
        sound = all(isinstance(text, str) for text in texts) and all(isinstance(each, dict) for each in objects)
    except (SafetensorError, OSError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} is damaged: {reason_of(error)}") from None
    except (AttributeError, TypeError, json.JSONDecodeError):
        sound = False
    if not sound:
        raise ValueError(f"{path} is damaged: what it says of its patches cannot be read")
    files.finite(tensors, path)
    return tensors, story


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each module."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = FACTOR.fullmatch(name)
        if match is None or not tensor.is_floating_point():
            raise ValueError(f"{path} holds {name}, which is not a factor of a linear layer or a convolution")
        found.setdefault(match[1], {})[match[2]] = tensor
    for module, pair in found.items():
        shapes: list[tuple[int, ...]] = [tuple(pair[part].shape) if part in pair else () for part in "AB"]
        if len(shapes[0]) not in (2, 4) or len(shapes[0]) != len(shapes[1]):
            raise ValueError(f"{path} holds no two factors of one kind for {module}")
        if shapes[1][1] != shapes[0][0] or 0 in shapes[0] + shapes[1] or any(size != 1 for size in shapes[1][2:]):
            raise ValueError(f"{path} holds factors for {module} that do not fit together: {shapes[0]} and {shapes[1]}")
    if not found:
        raise ValueError(f"{path} holds no factors")
    return {module: (pair["A"], pair["B"]) for module, pair in sorted(found.items())}


def _scaling(config: Mapping[str, Any], path: str, rank: int) -> float:
    """The factor on B(A(x)), as PEFT finds it: the first pattern that the path ends with, or the common alpha."""
    try:
        patterns = config.get("alpha_pattern") or {}
        if not all(PATTERN.fullmatch(pattern) for pattern in patterns):
            raise ValueError("a pattern that is not a path")
        fitting = (alpha for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path))
        alpha = float(next(fitting, config.get("lora_alpha", 8)))
    except (TypeError, ValueError, AttributeError, re.error):
        alpha = math.nan
    if not math.isfinite(alpha):
        raise ValueError("the adapter's lora_alpha is not a number, or its alpha_pattern names no paths")
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
