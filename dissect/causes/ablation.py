"""A set of units off, as a patch like any other: it is saved, stacked, taken off and exported.

The rows of the layer's weight that write the units become zero, and so does their bias. Two things may be left over,
which is why the patch is held against the intervention on images and says in its forecast how far apart they are:

- StyleGAN2 adds noise of one strength to all units, which no weight of a single unit can undo. The bias of a unit that
  is off is then put where least of it is left: a unit that gets noise of standard deviation σ alone passes on
  leakyReLU(bias + σ n).
- StyleGAN3 divides every row by its own length, so that no row is silent. The patch is then one of the layer that reads
  the units: its kernels for them become the finest ripple, which finds nothing in maps of a limited band, at the size
  that they had, which keeps the layer's demodulation. Kernels of one cell (configuration R) become zero, and the
  demodulation notices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dissect.causes.intervention import Intervention, Prefix
from rewrite.generators.contract import Generator
from rewrite.generators.layers import Layer
from rewrite.generators.network import Network
from rewrite.generators.stylegan3_layers import StyleGAN3Generator
from rewrite.patch import Patch, base_of

SEEDS = tuple(range(16))
# The finest pattern of nine cells, of length one: maps of a limited band hold next to nothing of it.
RIPPLE = torch.tensor([1.0, -2.0, 1.0, -2.0, 4.0, -2.0, 1.0, -2.0, 1.0]) / 6
# In standard deviations of the noise. The mean of leakyReLU(bias + σ n) is zero at -0.64 and its mean square least at
# -1.23; on images of random networks, what is left was least in between.
BIAS_UNDER_NOISE = -0.8
FADES = "demodulation undoes the scale of a row: the units go off at strength 1, and below it only their bias fades"
HALF = "NVIDIA's own code, where it runs in half precision, divides by the size of a row: draw with force_fp32 there"
READER = "no row of this network can be silent: the layer that reads the units reads them no more"
NOISE = "the noise that the network adds to every unit is left"
NORM = "batch normalisation follows and makes its own constant of a unit that is zero"


def ablation_patch(
    generator: Generator, layer: str, units: Iterable[int], *, seeds: Sequence[int] = SEEDS, name: str = ""
) -> Patch:
    """Switch units of a layer off for good.

    Args:
        generator: The generator.
        layer: Name of the layer.
        units: Which of its units.
        seeds: The images on which the patch is held against `Intervention.off`; none leaves that out.
        name: What people call the set, such as the concept that the units draw.

    Returns:
        The patch. Its forecast says which units are off, how far images with the patch are from images with the
        intervention (`difference` the mean and `largest` the greatest over pixels and colours of images in [-1, 1]),
        and how far the intervention itself moves them (`moved`).

    Raises:
        LookupError: The generator has no such layer.
        ValueError: There is no unit, one is named twice, or the layer has no such unit.
    """
    described, units = generator.layer(layer), tuple(sorted(int(unit) for unit in units))
    _check(described, units)
    reader = reader_of(generator, layer)
    patch = _unread(generator, reader, units) if reader else silent(generator, described, units)
    about = {"units": list(units), "units_of": layer, "name": name, "notes": notes_of(generator, layer)}
    return replace(patch, forecast={**about, **(_against(generator, patch, layer, units, seeds) if seeds else {})})


def reader_of(generator: Generator, layer: str) -> str | None:
    """The layer whose weight switches units of `layer` off where that of the layer itself cannot; else None."""
    if not isinstance(generator, StyleGAN3Generator) or not generator.layer(layer).modulated:
        return None
    names = list(generator.layers)
    return names[names.index(layer) + 1]


def notes_of(generator: Generator, layer: str) -> list[str]:
    """What is particular about switching units of this layer off, one sentence each."""
    described, reader = generator.layer(layer), reader_of(generator, layer)
    found = {
        READER: reader is not None,
        FADES: described.modulated and reader is None,
        HALF: described.modulated and reader is None and described.gain == 1,
        NOISE: noise_of(generator, described) > 0,
        NORM: _normalised(generator, layer),
    }
    return [note for note, holds in found.items() if holds]


def noise_of(generator: Network, layer: Layer) -> float:
    """Standard deviation of the noise that is added to every unit of a layer before its activation."""
    if getattr(generator, "noise", "const") == "none":
        return 0.0
    strength = getattr(_stage(generator, layer), "noise_strength", 0.0)
    return abs(float(strength))


def _check(layer: Layer, units: Sequence[int]) -> None:
    wrong = [unit for unit in units if not 0 <= unit < layer.outputs]
    if not units:
        raise ValueError(f"name at least one unit of {layer.name} to switch off, got none")
    if wrong:
        raise ValueError(f"layer {layer.name} has units 0 to {layer.outputs - 1}, got {wrong[0]}")
    if len(set(units)) < len(units):
        raise ValueError(f"a unit is switched off once, got {list(units)}")


def silent(generator: Network, layer: Layer, units: Sequence[int]) -> Patch:
    """A patch by which the rows that write units are zero, and so is their bias; `generator` may be a classifier."""
    rows = -layer.matrix(generator.weight(layer.name).detach().cpu().double())[list(units)]
    chosen = torch.zeros(layer.outputs, len(units))
    chosen[list(units), range(len(units))] = 1
    parts = [rows.float()]
    # Demodulation makes much of a row that is nearly zero, so that the rounding of scaled weights has rows of its own.
    if layer.modulated and (rest := (rows - parts[0].double()).float()).any():
        parts.append(rest)
    bias = generator.bias(layer.name)
    return Patch(
        layer=layer.name,
        left=chosen.repeat(1, len(parts)),
        right=torch.cat(parts),
        base=base_of(generator.weight(layer.name), bias),
        model=generator.fingerprint,
        bias=None if bias is None else _bias_change(bias, units, BIAS_UNDER_NOISE * noise_of(generator, layer)),
    )


def _bias_change(bias: Tensor, units: Sequence[int], left: float) -> Tensor:
    change = torch.zeros(bias.numel())
    change[list(units)] = left - bias.detach().reshape(-1).float().cpu()[list(units)]
    return change


def _unread(generator: Generator, reader: str, units: Sequence[int]) -> Patch:
    """The kernels that read the units become ripples of the same size, or zero where a kernel is one cell."""
    layer = generator.layer(reader)
    columns = torch.cat([unit * layer.taps + torch.arange(layer.taps) for unit in units])
    kernels = layer.matrix(generator.weight(reader).detach().cpu().float())[:, columns].unflatten(1, (-1, layer.taps))
    ripples = kernels.norm(dim=2, keepdim=True) * RIPPLE if layer.kernel == (3, 3) else torch.zeros_like(kernels)
    change = (ripples - kernels).flatten(1)
    chosen = torch.zeros(len(columns), layer.width)
    chosen[range(len(columns)), columns] = 1
    # Of two ways to write one matrix as a product, the one with fewer directions.
    thin = len(columns) <= layer.outputs
    return Patch(
        layer=reader,
        left=change if thin else torch.eye(layer.outputs),
        right=chosen if thin else change @ chosen,
        base=base_of(generator.weight(reader)),
        model=generator.fingerprint,
    )


@torch.no_grad()
def _against(
    generator: Generator, patch: Patch, layer: str, units: Sequence[int], seeds: Sequence[int]
) -> dict[str, Any]:
    """How far the patch is from the intervention, on images."""
    prefix = Prefix.of(generator, layer, seeds)
    wanted = prefix.images(Intervention(tuple(units), _zero_of(generator, layer, units)))
    with patch.applied(generator):
        apart = (generator.sample(seeds) - wanted).abs()
    return {
        "images": len(seeds),
        "difference": float(apart.mean()),
        "largest": float(apart.max()),
        "moved": float((wanted - prefix.images()).abs().mean()),
    }


def _zero_of(generator: Generator, layer: str, units: Sequence[int]) -> tuple[float, ...]:
    """The outputs of the layer at which the units are zero once their bias is added."""
    described, bias = generator.layer(layer), generator.bias(layer)
    if bias is None or described.bias_after is None:
        return (0.0,) * len(units)
    return tuple((-bias.detach()[list(units)] / described.bias_after).tolist())


@torch.no_grad()
def _normalised(generator: Generator, layer: str) -> bool:
    """Whether batch normalisation is the next thing that runs after the layer."""
    leaves = [stage for stage in generator.module.modules() if not list(stage.children())]
    if not any(isinstance(stage, nn.BatchNorm2d) for stage in leaves):
        return False
    ran: list[nn.Module] = []
    handles = [stage.register_forward_hook(lambda stage, *_: ran.append(stage)) for stage in leaves]
    try:
        generator.images(generator.latents([0]))
    finally:
        for handle in handles:
            handle.remove()
    after = ran[ran.index(_stage(generator, generator.layer(layer))) + 1 :]
    return bool(after) and isinstance(after[0], nn.BatchNorm2d)


def _stage(generator: Network, layer: Layer) -> nn.Module:
    """The module whose parameter the weight is."""
    return generator.module.get_submodule(layer.weight.rpartition(".")[0])
