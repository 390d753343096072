"""The algebra of a batch: rho, its gradient, and the coefficients of a layer, in float64.

With A = K(Z, Z) + nugget, the part A_c of the coarse points of a half, v = A^-1 Y and v_c = A_c^-1 Y_c:
rho = 1 - tr(Y_c' v_c) / tr(Y' v), and its derivative by A is
(sum over halves of v_c v_c' / n_halves - (1 - rho) v v') / tr(Y' v), since d(Y' A^-1 Y) = -v' dA v.
The coefficients are C = A^-1 (-d rho / dZ), from the same Cholesky factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kflow.engine.interface import LayerOptions, NotPositiveDefinite, Profile
from kflow.engine.torch.profiles import slopes, values

__all__ = ["Descent", "Extent", "descend"]


@dataclass(frozen=True)
class Extent:
    """What the step rules measure of points x and their displacements g, as tensors of one number.

    Attributes
    ----------
    least_ratio, most_g, sum_x, sum_g : Tensor
        The least |x|^2 / |g|^2 of points of which neither is 0, the largest |g|^2, and both sums.
    """

    least_ratio: Tensor
    most_g: Tensor
    sum_x: Tensor
    sum_g: Tensor

    @classmethod
    def of(cls, points: Tensor, displacements: Tensor) -> Extent:
        """Measure points (n, k) and their displacements (n, q)."""
        x = points.square().sum(dim=1).double()
        g = displacements.square().sum(dim=1).double()
        ratio = torch.where((x > 0.0) & (g > 0.0), x / g, torch.inf)
        return cls(ratio.min(), g.max(), x.sum(), g.sum())

    def numbers(self) -> Tensor:
        """Return all of them in one tensor, so that one transfer brings them to the host."""
        return torch.stack([self.least_ratio, self.most_g, self.sum_x, self.sum_g])


@dataclass(frozen=True)
class Descent:
    """What a batch decides.

    Attributes
    ----------
    rho : Tensor, shape ()
        The loss, averaged over halves.
    class_distance_ratio : Tensor, shape ()
        NaN without labels.
    coefficients : Tensor of float64, shape (m, q)
        C.
    displacements : Tensor of float64, shape (m, q)
        K(Z, Z) C, which is the capped descent minus nugget C.
    """

    rho: Tensor
    class_distance_ratio: Tensor
    coefficients: Tensor
    displacements: Tensor


def descend(
    centres: Tensor,
    targets: Tensor,
    labels: Tensor | None,
    coarse: Tensor,
    profile: Profile,
    options: LayerOptions,
    n_moving: int,
) -> Descent:
    """Return what a batch decides.

    Parameters
    ----------
    centres : Tensor, shape (m, k)
        The points of the batch, of which the first `n_moving` coordinates move.
    targets : Tensor of float64, shape (m, n_targets)
        Their targets.
    labels : Tensor of int, shape (m,), or None
        Their classes.
    coarse : Tensor of int64, shape (n_halves, n_coarse)
        Positions of the coarse points of each half.
    profile, options
        The kernel, and how the layer descends.
    n_moving : int
        q.

    Raises
    ------
    NotPositiveDefinite
        If the matrix cannot be factorised.
    """
    z = centres.double()
    z = z - z.mean(dim=0)
    norms = z.square().sum(dim=1)
    r2 = torch.addmm(norms + norms[:, None], z, z.T, alpha=-2.0).clamp_(min=0.0)
    r2.fill_diagonal_(0.0)
    matrix = values(profile, r2)
    matrix.diagonal().add_(options.nugget)
    factor, failed = torch.linalg.cholesky_ex(matrix)
    parts, part_failed = torch.linalg.cholesky_ex(matrix[coarse[:, :, None], coarse[:, None, :]])
    # Rounding lets a factorisation go through where two points coincide.
    least = len(z) * torch.finfo(torch.float64).eps * (1.0 + options.nugget)
    failed = failed.any() | part_failed.any() | (factor.diagonal().square().min() < least)
    if bool(failed):
        raise NotPositiveDefinite(*_coincident(centres))

    v = torch.cholesky_solve(targets, factor)
    total = (targets * v).sum()
    coarse_targets = targets[coarse]
    v_coarse = torch.cholesky_solve(coarse_targets, parts)
    rho = 1.0 - (coarse_targets * v_coarse).sum() / (len(coarse) * total)

    gradient_by_matrix = (rho - 1.0) * (v @ v.T)
    for rows, v_half in zip(coarse, v_coarse, strict=True):
        outer = v_half @ v_half.T / len(coarse)
        gradient_by_matrix.index_put_((rows[:, None], rows[None, :]), outer, accumulate=True)
    weights = gradient_by_matrix * slopes(profile, r2) / total
    moving = z[:, :n_moving]
    descent = -4.0 * (weights.sum(dim=1)[:, None] * moving - weights @ moving)
    descent = _shortened(descent, options.gradient_cap)
    # By rows, as replays will have them: products of another layout may round otherwise.
    coefficients = torch.cholesky_solve(descent, factor).contiguous()
    return Descent(
        rho,
        _class_distance_ratio(r2, labels),
        coefficients,
        descent - options.nugget * coefficients,
    )


def _shortened(descent: Tensor, cap: float) -> Tensor:
    """Scale rows that are longer than `cap` times the median length down to that length."""
    if cap == float("inf"):
        return descent
    lengths = descent.square().sum(dim=1).sqrt()
    limit = cap * lengths.sort().values[len(lengths) // 2]
    factors = torch.where(lengths > limit, limit / lengths, 1.0)
    return torch.where(limit > 0.0, descent * factors[:, None], descent)


def _class_distance_ratio(r2: Tensor, labels: Tensor | None) -> Tensor:
    """Return the mean squared distance within classes over that between classes."""
    if labels is None:
        return r2.new_tensor(float("nan"))
    same = (labels[:, None] == labels).double()
    n_within = same.sum() - len(labels)
    n_between = labels.numel() ** 2 - same.sum()
    within, between = (same * r2).sum() / n_within, ((1.0 - same) * r2).sum() / n_between
    return within / between  # 0 / 0 is NaN, where there are no such pairs


def _coincident(centres: Tensor) -> tuple[int, int]:
    """Return two rows that are equal, or -1 and -1."""
    _, groups, counts = torch.unique(centres, dim=0, return_inverse=True, return_counts=True)
    shared = torch.nonzero(counts > 1)
    if not len(shared):
        return -1, -1
    first, second = torch.nonzero(groups == shared[0, 0])[:2, 0].tolist()
    return first, second
