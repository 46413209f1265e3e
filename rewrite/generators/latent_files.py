"""Latents that other tools keep in files: w and W+ of StyleGANs, from projectors and encoders; z of other networks."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rewrite.generators.contract import Generator
from rewrite.generators.decoders import DecoderGenerator
from rewrite.generators.latents import Latents
from rewrite.storage import files

KINDS = (".npz", ".npy", ".pt", ".pth", ".safetensors")
# What projectors call it.
NAMES = ("w", "ws", "z", "latent", "latents", "latent_code", "w_plus")


def read_latents(path: str | Path, generator: Generator) -> Latents:
    """The w of a file: of one image or several, one for all layers or one for each. Of generators without w, z.

    Args:
        path: A file of numpy (`projected_w.npz` of NVIDIA's projector), of torch, or safetensors.
        generator: What they are for.

    Returns:
        The latents; their seeds, on which noise may hang, count from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no latents, or not those of such a generator.
    """
    layers, width = generator.styles_shape
    w = _numbers(files.existing(path)).float()
    if not width:
        return _inputs(w, generator, path)
    shaped = w.reshape(1, *w.shape) if w.ndim == 2 and w.shape == (layers, width) else w
    shaped = shaped.reshape(-1, 1, shaped.shape[-1]) if shaped.ndim < 3 else shaped
    if shaped.ndim != 3 or shaped.shape[1] not in (1, layers) or shaped.shape[2] != width or not len(shaped):
        raise ValueError(
            f"{path} holds latents of shape {tuple(w.shape)}, the generator takes ({width}), (images, {width}) or "
            f"(images, {layers}, {width})"
        )
    seeds = _counted(shaped, path)
    return Latents(generator.latents(seeds).z, seeds, shaped.to(generator.device, generator.dtype))


def _inputs(z: Float[Tensor, "*shape"], generator: Generator, path: str | Path) -> Latents:
    """Latents as a generator without w reads them, of one image or several."""
    rows = z.reshape(1, -1) if z.numel() == generator.z_dim else z.flatten(1) if z.ndim > 1 else z[None]
    shape = generator.z_shape
    of_shape = len(shape) == 1 or z.ndim < 3 or tuple(z.shape[-len(shape) :]) == shape
    if rows.shape[1] != generator.z_dim or not len(rows) or not of_shape:
        taken = f"z of {generator.z_dim} numbers an image{f', {shape}' if len(shape) > 1 else ''}"
        raise ValueError(
            f"{path} holds latents of shape {tuple(z.shape)}, the generator takes {taken}{_advice(z, generator)}"
        )
    return Latents(rows.to(generator.device, generator.dtype), _counted(rows, path))


def _advice(z: Tensor, generator: Generator) -> str:
    """How to open a decoder for latents of a size."""
    if not isinstance(generator, DecoderGenerator) or z.ndim < 3 or z.shape[-3] != generator.z_shape[0]:
        return ""
    return f": open the model as FILE::{z.shape[-2]}x{z.shape[-1]}"


def _counted(latents: Tensor, path: str | Path) -> tuple[int, ...]:
    """Seeds for latents, from 0 on; refuses what is not finite."""
    if not torch.isfinite(latents).all():
        raise ValueError(f"{path} holds latents that are not finite")
    return tuple(range(len(latents)))


def _numbers(path: Path) -> Float[Tensor, "*shape"]:
    ending = path.suffix.lower()
    if ending not in KINDS:
        raise ValueError(f"latents come in files of {', '.join(KINDS)}, got {path}")
    try:
        if ending in (".npz", ".npy"):
            content = np.load(path, allow_pickle=False)
            found = dict(content) if ending == ".npz" else {"w": content}
        elif ending == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, SafetensorError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as latents: {' '.join(str(error).split())[:120]}") from None
    except Exception as error:  # pickle.UnpicklingError and whatever else a pickle that is not one gives
        raise ValueError(f"{path} cannot be read as latents: {type(error).__name__}") from None
    entry = found if not isinstance(found, dict) else next((found[name] for name in NAMES if name in found), None)
    if entry is None and isinstance(found, dict) and len(found) == 1:
        entry = next(iter(found.values()))
    if not isinstance(entry, Tensor | np.ndarray):
        raise ValueError(f"{path} holds no latents under any of the names {', '.join(NAMES)}")
    return torch.as_tensor(entry)
