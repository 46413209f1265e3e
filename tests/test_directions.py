"""Rows along which a rule fires, against generalised eigenvectors."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from rewrite.generators.layers import Layer
from rewrite.solvers.directions import channel_rows, patch_rows, phase_metrics

PLAIN = Layer("l", "w", "convolution", 2, 3, (6, 6), (3, 3))
DOUBLING = Layer("l", "w", "transposed", 2, 3, (6, 6), (3, 3), (2, 2))


def context_of(layer: Layer, seed: int) -> Tensor:
    """Keys of all positions of a random map."""
    random = np.random.default_rng(seed)
    return layer.keys(torch.from_numpy(random.normal(size=(1, layer.inputs, *layer.grid))))[0]


def top(context: Tensor, moment: Tensor, rank: int) -> Tensor:
    """The projector on the directions that fire most on a context for what they fire elsewhere."""
    vectors = scipy.linalg.eigh((context.T @ context).numpy(), moment.numpy())[1][:, ::-1][:, :rank]
    return torch.from_numpy(vectors @ np.linalg.pinv(vectors))


def positive(size: int) -> Tensor:
    samples = torch.from_numpy(np.random.default_rng(5).normal(size=(3 * size, size)))
    return samples.T @ samples / len(samples)


@pytest.mark.parametrize("layer", [PLAIN, DOUBLING], ids=["plain", "doubling"])
@pytest.mark.parametrize("rank", [1, 2])
def test_patch_rows_are_the_best_of_each_phase_and_respond_alike(layer, rank):
    context, moment = context_of(layer, rank), positive(layer.width)
    metrics = phase_metrics(moment, layer)
    rows = patch_rows(context, metrics, layer, rank)
    response = torch.zeros(rank, dtype=torch.float64)
    for columns in layer.phases():
        expected = top(context[:, columns], moment[columns][:, columns], rank)
        torch.testing.assert_close(torch.linalg.pinv(rows[:, columns]) @ rows[:, columns], expected)
        within = rows[:, columns] @ moment[columns][:, columns] @ rows[:, columns].T
        torch.testing.assert_close(within.diagonal(), torch.full((rank,), 1 / len(metrics)).double())
        response += within.diagonal()
    torch.testing.assert_close(response, torch.ones_like(response))


def test_a_phase_that_the_context_does_not_show_gets_no_row():
    context = context_of(DOUBLING, 0)
    shown = DOUBLING.phases()[1]
    context = context[context[:, shown].any(dim=1)]
    rows = patch_rows(context, phase_metrics(positive(DOUBLING.width), DOUBLING), DOUBLING, 1)
    assert [bool(rows[:, columns].any()) for columns in DOUBLING.phases()] == [False, True, False, False]


def test_channel_rows_of_a_convolution_are_those_of_what_stands_at_the_middle():
    context, moment = context_of(PLAIN, 1), positive(2)
    rows = channel_rows(context, moment, PLAIN, 1)
    expected = torch.kron(top(context[:, 4::9], moment, 1), torch.eye(9).double())
    torch.testing.assert_close(rows.T @ rows, expected)


def test_channel_rows_of_an_upsampling_layer_are_those_of_every_place_that_it_reads():
    context, moment = context_of(DOUBLING, 1), positive(2)
    rows = channel_rows(context, moment, DOUBLING, 1)
    read = context.reshape(len(context), 2, 9).movedim(2, 1).flatten(0, 1)
    torch.testing.assert_close(rows.T @ rows, torch.kron(top(read, moment, 1), torch.eye(9).double()))
