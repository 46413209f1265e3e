"""A hole in a map filled from around it: what an erasing rule wants."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor


def filled(values: Float[Tensor, "outputs height width"], hole: Tensor) -> Float[Tensor, "outputs height width"]:
    """Replace the values in a hole by those of its surroundings (the discrete Laplace equation, solved exactly).

    Neighbours to the left and right count four times as much as those above and below: pictures are layered by
    height more than by width. Beyond the border of the map there is nothing, so that no flow crosses it.
    """
    inside, outside = (np.flatnonzero(each.numpy()) for each in (hole, ~hole))
    if not len(outside):
        raise ValueError("the whole image is marked: nothing is left that could fill it")
    cells = np.arange(hole.numel()).reshape(hole.shape)
    pairs = (((cells[:, :-1], cells[:, 1:]), 4.0), ((cells[:-1], cells[1:]), 1.0))
    ends = [np.concatenate([pair[end].ravel() for pair, _ in pairs]) for end in (0, 1)]
    weights = np.concatenate([np.full(pair[0].size, weight) for pair, weight in pairs])
    half = sparse.csr_array((weights, ends), shape=(cells.size, cells.size))
    links = (half + half.T)[inside]
    system = sparse.diags_array(links.sum(axis=1)) - links[:, inside]
    known = links[:, outside] @ values[:, ~hole].T.numpy()
    result = values.clone()
    result[:, hole] = torch.from_numpy(splu(system.tocsc()).solve(known)).T.to(values)
    return result
