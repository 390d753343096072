"""Squared distances of points, differentiable as often as wanted, coinciding points included."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["squared_distances"]


class _SquaredDistances(torch.autograd.Function):
    """|u_i - v_j|^2. The derivative is a product, so that no array (n, m, d) is formed."""

    generate_vmap_rule = True

    @staticmethod
    def forward(
        U: torch.Tensor, V: torch.Tensor, centre: torch.Tensor, direct: bool, same: bool
    ) -> torch.Tensor:
        if direct:
            mode = "donot_use_mm_for_euclid_dist"
            return torch.cdist(U, V, compute_mode=mode).square()
        u, v = U - centre, V - centre
        r2 = u.square().sum(1)[:, None] + v.square().sum(1) - 2 * (u @ v.T)
        r2 = r2.clamp(min=0.0)
        return r2 * (1 - torch.eye(len(r2), dtype=r2.dtype, device=r2.device)) if same else r2

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs[:3])

    @staticmethod
    def backward(ctx: Any, G: torch.Tensor) -> tuple[Any, ...]:
        U, V, centre = ctx.saved_tensors
        u, v = U - centre, V - centre
        dU = 2 * (u * G.sum(1)[:, None] - G @ v)
        dV = 2 * (v * G.sum(0)[:, None] - G.T @ u)
        return dU, dV, None, None, None


def squared_distances(U: torch.Tensor, V: torch.Tensor | None, *, direct: bool) -> torch.Tensor:
    """Return |u_i - v_j|^2, (n, m).

    Parameters
    ----------
    U : tensor, shape (n, d)
        Points.
    V : tensor, shape (m, d), or None
        Other points, or the same.
    direct : bool
        Sum squared differences, coordinate by coordinate, for functions of r^2 that are not smooth at
        0: they turn the rounding of small distances into errors of order 1e-8. Otherwise distances come
        from one matrix product, after a translation, which does not change them.
    """
    others = U if V is None else V
    centre = others.detach().mean(0)
    result: torch.Tensor = _SquaredDistances.apply(U, others, centre, direct, V is None)
    return result
