"""Where the bias of a layer is stored in a user's module: in the layer, or in the scale that follows it."""

from dataclasses import replace

from torch import nn

from rewrite.generators.layers import Layer
from rewrite.generators.proggan import Scale


def with_bias(layer: Layer, module: nn.Module) -> Layer:
    """A layer that says where its bias is: its own, or that of the `wscale` beside it (ProgressiveGAN)."""
    stage, path = module.get_submodule(layer.name), layer.name.rpartition(".")[0]
    bias = getattr(stage, "bias", None)
    if isinstance(bias, nn.Parameter) and bias.numel() == layer.outputs:
        return replace(layer, bias=f"{layer.name}.bias".removeprefix("."))
    scale = getattr(module.get_submodule(path), "wscale", None)
    if isinstance(scale, Scale):
        return replace(layer, bias=f"{path}.wscale.b".removeprefix("."), bias_after=scale.factor)
    return layer
