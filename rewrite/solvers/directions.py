"""What the context of a rule has in common: the directions along which the rule fires.

Source: Bau et al., "Rewriting a Deep Generative Model" (ECCV 2020), eq. 12, with the metric of this library in place of
the second moment alone.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rewrite.generators.layers import Layer
from rewrite.solvers.algebra import Metric, directions


def phase_metrics(moment: Float[Tensor, "key key"], layer: Layer) -> list[Metric]:
    """The metric of each phase of a layer's keys, each factored once for any number of contexts.

    Args:
        moment: The metric of one group's keys, positive definite.
        layer: The layer.
    """
    return [Metric(moment[columns][:, columns]) for columns in layer.phases()]


def patch_rows(
    context: Float[Tensor, "n key"], metrics: Sequence[Metric], layer: Layer, rank: int
) -> Float[Tensor, "rank key"]:
    """Patterns of the whole receptive field, each scaled to a mean square response of 1 to ordinary keys.

    One direction of an upsampling layer could fire at one phase only. Each phase has its own directions, and a row
    holds one of each: it fires, and writes the same, wherever the context stands.

    Args:
        context: Keys of one group of the layer.
        metrics: What `phase_metrics` gives.
        layer: The layer.
        rank: Number of rows.

    Raises:
        ValueError: The context spans fewer directions.
    """
    rows = torch.zeros(rank, context.shape[1], dtype=metrics[0].matrix.dtype)
    for columns, metric in zip(layer.phases(), metrics, strict=True):
        keys = context[:, columns]
        keys = keys[keys.any(dim=1)]
        if len(keys):
            found = directions(keys, metric, rank)
            usual = ((found @ metric.matrix) * found).sum(dim=1) * len(metrics)
            rows[:, columns] = found / usual.sqrt()[:, None]
    return rows


def channel_rows(
    context: Float[Tensor, "n key"], moment: Float[Tensor, "channel channel"], layer: Layer, rank: int
) -> Float[Tensor, "rows key"]:
    """Mixtures of channels, each free at every tap, as in the 2020 paper: orthonormal, `rank` times taps of them.

    Args:
        context: Patch keys of one group of the layer; what stands at their middle is the context.
        moment: The metric of channels at one tap, positive definite.
        layer: The layer.
        rank: Number of mixtures.

    Raises:
        ValueError: The context spans fewer directions.
    """
    spread = context.reshape(len(context), -1, layer.taps)
    # An upsampling layer reads zeros at the middle of most of its keys: there every tap that it does read counts.
    middle = spread.movedim(2, 1).flatten(0, 1) if layer.kind == "transposed" else spread[:, :, layer.taps // 2]
    mixtures = directions(middle[middle.any(dim=1)], Metric(moment), rank)
    return torch.kron(mixtures, torch.eye(layer.taps, dtype=mixtures.dtype))
