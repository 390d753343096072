"""The algebra of a batch: rho, its gradient, and the coefficients of a layer, in float64.

With A = K(Z, Z) + nugget, the part A_c of the coarse points of a half, v = A^-1 Y and v_c = A_c^-1 Y_c:
rho = 1 - tr(Y_c' v_c) / tr(Y' v), and its derivative by A is
(sum over halves of v_c v_c' / n_halves - (1 - rho) v v') / tr(Y' v), since d(Y' A^-1 Y) = -v' dA v.
The coefficients are C = A^-1 (-d rho / dZ), from the same factorisation.

Nothing here waits for the device, so that it can be recorded and run again: what went wrong is among the
results.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kflow.engine.interface import Profile
from kflow.engine.torch.extent import extent, lengths
from kflow.engine.torch.move import LayerOnDevice
from kflow.engine.torch.profiles import slopes, values
from kflow.engine.torch.solves import Factored, factorised

__all__ = ["Decision", "coincident", "decide"]


class Decision(NamedTuple):
    """What a batch decides.

    Attributes
    ----------
    coefficients : Tensor, shape (m, q)
        C, in the precision of the points.
    measured : Tensor of float64, shape (6,)
        rho, averaged over halves; the ratio of class distances, NaN without labels; how much terms of
        displacements cancel, NaN where nobody asks; and 1 or 0 for: whether all coefficients are finite, whether a
        factorisation failed, whether all solutions are as exact as float64 allows.
    extent : Tensor of float64, shape (4,)
        That of the batch; see `kflow.engine.torch.extent`.
    layer : LayerOnDevice
        The layer.
    """

    coefficients: Tensor
    measured: Tensor
    extent: Tensor
    layer: LayerOnDevice


def decide(
    centres: Tensor,
    targets: Tensor,
    labels: Tensor | None,
    coarse: Tensor,
    numbers: Tensor,
    *,
    profile: Profile,
    n_moving: int,
    capped: bool,
    mixed: bool,
    tf32: bool,
) -> Decision:
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
        Positions of the coarse points of each half; those of the first are 0, 1, 2 and so on.
    numbers : Tensor of float64, shape (2,)
        The nugget, and the cap of the gradient.
    profile : Profile
        The kernel.
    n_moving : int
        q.
    capped : bool
        Whether the gradient has a cap.
    mixed : bool
        Whether matrices are factorised in float32, and solutions refined.
    tf32 : bool
        Whether displacements are rounded as TF32 is, so that it matters how much their terms cancel.
    """
    nugget, cap = numbers.unbind()
    z = centres.double()
    z = z - z.mean(dim=0)
    norms = z.square().sum(dim=1)
    r2 = torch.addmm(norms + norms[:, None], z, z.T, alpha=-2.0).clamp_(min=0.0)
    r2.fill_diagonal_(0.0)
    matrix = values(profile, r2)
    matrix.diagonal().add_(nugget)
    least = len(z) * (1.0 + nugget)
    whole = factorised(matrix[None], least, mixed)

    v = whole.solve(targets[None])
    halves = _halves(whole, matrix, coarse, least, mixed)
    solved = [half.solve(targets[rows]) for half, rows in halves]
    # Solutions, of halves with zeros where a point is not coarse: (1 + n_halves, m, n_targets).
    solutions = targets.new_zeros(1 + len(coarse), *targets.shape)
    solutions[0] = v.values[0]
    coarse_values = torch.cat([x.values for x in solved])
    solutions[1:].scatter_(1, coarse[:, :, None].expand_as(coarse_values), coarse_values)
    products = (targets * solutions).sum(dim=(1, 2))
    total = products[0]
    rho = 1.0 - products[1:].mean() / total

    # -4 times the derivative of rho by the squared distances.
    signs = torch.cat([(rho - 1.0)[None], rho.new_full((len(coarse),), 1.0 / len(coarse))])
    signed = solutions * (signs * (-4.0 / total))[:, None, None]
    columns, signed = (x.transpose(0, 1).reshape(len(z), -1) for x in (solutions, signed))
    weights = (signed @ columns.T).mul_(slopes(profile, r2))
    moving = z[:, :n_moving]
    descent = torch.addmm(weights.sum(dim=1)[:, None] * moving, weights, moving, alpha=-1.0)
    if capped:
        descent = _shortened(descent, cap)
    exact = whole.solve(descent[None])
    # By rows, as replays will have them: products of another layout may round otherwise.
    coefficients = exact.values[0].to(centres.dtype).contiguous()
    failed, refined = (half.failed for half, _ in halves), (x.refined for x in (v, exact, *solved))
    flags = [
        torch.isfinite(coefficients).all(),
        torch.stack([whole.failed, *failed]).any(),
        torch.stack([*refined]).all(),
    ]
    # K(Z, Z) C is the descent minus nugget C.
    displaced = lengths(descent - nugget * exact.values[0])
    cancellation = (
        _cancellation(matrix, nugget, exact.values[0], displaced)
        if tf32
        else rho.new_full((), float("nan"))
    )
    numbers_found = [rho, _class_distance_ratio(r2, labels), cancellation]
    return Decision(
        coefficients,
        torch.cat([torch.stack(numbers_found), torch.stack(flags).double()]),
        extent(lengths(centres), displaced),
        LayerOnDevice.of(centres, coefficients),
    )


def _halves(
    whole: Factored, matrix: Tensor, coarse: Tensor, least: Tensor, mixed: bool
) -> list[tuple[Factored, Tensor]]:
    """Return the matrices of the halves, (h, n_coarse, n_coarse), and the coarse points of each, (h, n_coarse)."""
    first, further = coarse[:1], coarse[1:]
    # The first points of the batch are the first half.
    halves = [(whole.corner(coarse.shape[1]), first)]
    if len(further):
        parts = matrix[further[:, :, None], further[:, None, :]]
        halves.append((factorised(parts, least, mixed), further))
    return halves


def _shortened(descent: Tensor, cap: Tensor) -> Tensor:
    """Scale rows that are longer than `cap` times the median length down to that length."""
    long = lengths(descent)
    limit = cap * long.sort().values[len(long) // 2]
    factors = torch.where(long > limit, limit / long, 1.0)
    return torch.where(limit > 0.0, descent * factors[:, None], descent)


def _cancellation(matrix: Tensor, nugget: Tensor, C: Tensor, displaced: Tensor) -> Tensor:
    """Return sqrt(sum_ij |K_ij c_j|^2 / sum_i |sum_j K_ij c_j|^2), of which the second sum is given.

    Times a rounding error it is that of displacements, as a part of their size, if errors of terms are
    independent of each other.
    """
    # The diagonal is 1 without the nugget.
    columns = matrix.square().sum(dim=0) - (1.0 + nugget).square() + 1.0
    terms = (columns * C.square().sum(dim=1)).sum()
    return (terms / displaced.square().sum()).sqrt()


def _class_distance_ratio(r2: Tensor, labels: Tensor | None) -> Tensor:
    """Return the mean squared distance within classes over that between classes."""
    if labels is None:
        return r2.new_full((), float("nan"))
    same = labels[:, None] == labels
    n_same, within = same.sum(), torch.where(same, r2, 0.0).sum()
    n_between, between = len(labels) ** 2 - n_same, r2.sum() - within
    # 0 / 0 is NaN, where there are no such pairs.
    return (within / (n_same - len(labels))) / (between / n_between)


def coincident(centres: Tensor) -> tuple[int, int]:
    """Return two rows that are equal, or -1 and -1."""
    _, groups, counts = torch.unique(centres, dim=0, return_inverse=True, return_counts=True)
    shared = torch.nonzero(counts > 1)
    if not len(shared):
        return -1, -1
    first, second = torch.nonzero(groups == shared[0, 0])[:2, 0].tolist()
    return first, second
