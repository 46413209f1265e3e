"""Constrained least squares for a linear memory, in closed form.

The one problem, for a layer v = W k with new keys K, residual R = V - W K and weights a:

    minimise over Δ:  ½ tr(Δ M Δᵀ) + ½ Σ aᵢ ‖Δ kᵢ - rᵢ‖²     subject to  Δ F = 0

and its solution with H = M + K A Kᵀ, G = R A Kᵀ:

    Δ = G H⁻¹ - G H⁻¹ F (Fᵀ H⁻¹ F)⁻¹ Fᵀ H⁻¹

MEMIT, UCE, TIME and AlphaEdit are cases of it, ROME and EMMET its limit for heavy weights (Bau et al. 2020, eq. 8 to
14; Meng et al. 2022, 2023). Everything is float64; keys and residuals are rows here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import get_blas_funcs
from torch import Tensor

PARALLEL = 1e-10
# One half of a symmetric product, at half the cost of the whole.
(SYRK,) = get_blas_funcs(["syrk"], dtype=np.float64)


@dataclass(frozen=True)
class Metric:
    """The price of a change: a positive definite matrix M, factored once and used for every edit.

    Attributes:
        matrix: M, float64.
    """

    matrix: Float[Tensor, "key key"]

    @cached_property
    def factor(self) -> Float[Tensor, "key key"]:
        """The lower Cholesky factor of M.

        Raises:
            ValueError: M is not positive definite, even with a ridge of 1e-12 of its mean diagonal.
        """
        factor, trouble = torch.linalg.cholesky_ex(self.matrix)
        if trouble.item():
            ridge = 1e-12 * self.matrix.diagonal().mean()
            factor, trouble = torch.linalg.cholesky_ex(
                self.matrix + ridge * torch.eye(len(self.matrix)).to(self.matrix)
            )
        if trouble.item():
            raise ValueError(
                "the second moment is singular: measure more samples, or give the drift or the damage more weight"
            )
        return factor

    def solve(self, rows: Float[Tensor, "n key"]) -> Float[Tensor, "n key"]:
        """Each row times M⁻¹."""
        return torch.cholesky_solve(rows.T, self.factor).T

    def whiten(self, rows: Float[Tensor, "n key"]) -> Float[Tensor, "n key"]:
        """Each row times L⁻ᵀ, where M = L Lᵀ: lengths are then those of the inverse metric."""
        return torch.linalg.solve_triangular(self.factor, rows.T, upper=False).T

    def with_keys(self, keys: Float[Tensor, "n key"], weights: Float[Tensor, " n"]) -> "Metric":
        """The metric that also charges for what happens at these keys: M + K A Kᵀ."""
        return Metric(self.matrix + gram(keys, weights))


def squared(rows: Float[Tensor, "n width"]) -> Float[Tensor, "n n"]:
    """Each row times each other, R Rᵀ."""
    if rows.device.type != "cpu" or rows.dtype != torch.float64 or rows.numel() == 0:
        return rows @ rows.T
    # BLAS reads by columns, so that what it holds to be the upper half is the lower one here.
    by_row = not rows.T.is_contiguous()
    read = rows.contiguous().T if by_row else rows
    lower = torch.from_numpy(SYRK(1.0, read.numpy(), trans=by_row).T)
    return lower + lower.tril(-1).T


def gram(keys: Float[Tensor, "n key"], weights: Float[Tensor, " n"]) -> Float[Tensor, "key key"]:
    """K A Kᵀ, the sum of a k kᵀ over some keys with weights of at least 0."""
    return squared((keys * weights.sqrt()[:, None]).T)


def minimise(
    metric: Metric,
    keys: Float[Tensor, "n key"],
    residual: Float[Tensor, "n outputs"],
    weights: Float[Tensor, " n"],
    *,
    fixed: Float[Tensor, "m key"] | None = None,
    pull: Float[Tensor, "outputs key"] | None = None,
) -> Float[Tensor, "outputs key"]:
    """Solve the problem of this module.

    With fewer keys than dimensions only systems of the number of keys are solved, on the cached factor of M.

    Args:
        metric: M.
        keys: New keys, one a row.
        residual: What each key is to get beyond what it gets now.
        weights: Weight of each key.
        fixed: Protected keys: what the layer writes for them does not change.
        pull: A gradient that the change is to follow besides the keys: G gains this term.
    """
    free = _Unconstrained(metric, keys, residual, weights, pull)
    if fixed is None or len(fixed) == 0:
        return free.change
    reached = free.solve(fixed)
    gram = fixed @ reached.T
    scale = gram.diagonal().clamp(min=1e-300).rsqrt()
    # The pseudo-inverse: keys that are zero, or parallel to others, have nothing of their own to keep.
    inverse = torch.linalg.pinv(gram * scale[:, None] * scale, rtol=PARALLEL, hermitian=True)
    return free.change - (free.change @ fixed.T * scale) @ inverse @ (scale[:, None] * reached)


class _Unconstrained:
    """G H⁻¹, and products with H⁻¹, by whichever of H and the keys' Gram matrix is smaller."""

    def __init__(self, metric, keys, residual, weights, pull):
        used = weights > 0
        self.metric, self.keys, self.weights = metric, keys[used], weights[used]
        residual = residual[used]
        self.direct = len(self.keys) >= keys.shape[1]
        if self.direct:
            self.joined = metric.with_keys(self.keys, self.weights)
            gradient = residual.T @ (self.weights[:, None] * self.keys)
            self.change = self.joined.solve(gradient if pull is None else gradient + pull)
            return
        self.solved = metric.solve(self.keys)
        inner = self.keys @ self.solved.T + torch.diag(1 / self.weights)
        self.inner = torch.linalg.cholesky(inner)
        self.change = torch.cholesky_solve(residual, self.inner).T @ self.solved
        if pull is not None:
            self.change = self.change + self.solve(pull)

    def solve(self, rows: Tensor) -> Tensor:
        """Each row times H⁻¹ (Woodbury's identity where there are few keys)."""
        if self.direct:
            return self.joined.solve(rows)
        plain = self.metric.solve(rows)
        return plain - torch.cholesky_solve(self.keys @ plain.T, self.inner).T @ self.solved


def price(change: Float[Tensor, "outputs key"], matrix: Float[Tensor, "key key"]) -> float:
    """tr(Δ M Δᵀ)."""
    return float(((change @ matrix) * change).sum())


def truncate(change: Float[Tensor, "outputs key"], metric: Metric, rank: int) -> Float[Tensor, "outputs key"]:
    """The best change of lower rank: U_r U_rᵀ Δ, from the singular vectors of Δ L with M = L Lᵀ.

    The objective is ½‖(Δ - Δ*) L‖² plus a constant when `metric` is H, so this is its minimum over changes of this
    rank (Eckart and Young). A projection from the left: protected keys stay protected.

    Raises:
        ValueError: The rank is below 1 or above the largest that a change of this shape can have.
    """
    limit = min(change.shape)
    if not 1 <= rank <= limit:
        raise ValueError(f"rank must lie between 1 and {limit}, got {rank}")
    left = torch.linalg.svd(change @ metric.factor, full_matrices=False).U[:, :rank]
    return left @ (left.T @ change)


def directions(context: Float[Tensor, "n key"], metric: Metric, rank: int) -> Float[Tensor, "rank key"]:
    """Rows along which a rule fires on the context and little elsewhere (Bau et al. 2020, eq. 12).

    The top right singular vectors of the whitened context keys, whitened once more and made orthonormal. For one key
    this is C⁻¹k.

    Raises:
        ValueError: The context spans fewer directions.
    """
    whitened = metric.whiten(context)
    limit = int(torch.linalg.matrix_rank(whitened))
    if not 1 <= rank <= limit:
        raise ValueError(f"rank must lie between 1 and {limit}, the number of directions of the context, got {rank}")
    top = torch.linalg.svd(whitened, full_matrices=False).Vh[:rank]
    back = torch.linalg.solve_triangular(metric.factor.T, top.T, upper=True)
    rows = torch.linalg.qr(back).Q.T
    return rows * torch.where((context @ rows.T).sum(dim=0) < 0, -1.0, 1.0)[:, None]
