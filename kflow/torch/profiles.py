"""Radial kernels as functions of t = r^2 / l^2, with derivatives that are finite at t = 0.

The formulas are those of `kflow.kernels`. A kernel that is a function of r = sqrt(t) cannot be left to
the differentiation of the square root, whose slope at 0 is infinite: the products of infinity with the zero
of a difference of coinciding points are no numbers. So its derivatives by t are given here, one after the
other; the first that is infinite at 0 is taken as 0 there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch

__all__ = ["KINKED", "profile"]

_Function: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

# Whose values need distances to full relative precision.
KINKED = ("laplacian", "matern32", "matern52", "wendland")


class _WithDerivatives(torch.autograd.Function):
    """chain[0], whose derivative is chain[1], whose derivative is chain[2], and so on."""

    generate_vmap_rule = True

    @staticmethod
    def forward(t: torch.Tensor, chain: tuple[_Function, ...]) -> torch.Tensor:
        return chain[0](t)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        del output
        t, ctx.chain = inputs
        ctx.save_for_backward(t)

    @staticmethod
    def backward(ctx: Any, G: torch.Tensor) -> tuple[Any, ...]:
        (t,) = ctx.saved_tensors
        return G * _through(t, ctx.chain[1:]), None


def _through(t: torch.Tensor, chain: tuple[_Function, ...]) -> torch.Tensor:
    if len(chain) == 1:
        return chain[0](t)
    value: torch.Tensor = _WithDerivatives.apply(t, chain)
    return value


def _root(t: torch.Tensor) -> torch.Tensor:
    """Return sqrt(t), or 1 where t = 0, where what follows is not used."""
    return torch.where(t > 0, t, 1.0).sqrt()


def _decay(t: torch.Tensor) -> torch.Tensor:
    return torch.exp(-t.sqrt())


def _decay_over_root(t: torch.Tensor) -> torch.Tensor:
    h = _root(t)
    return torch.where(t > 0, torch.exp(-h) / h, 0.0)


def _once(t: torch.Tensor) -> torch.Tensor:
    h = t.sqrt()
    return (1 + h) * torch.exp(-h)


def _twice(t: torch.Tensor) -> torch.Tensor:
    h = t.sqrt()
    return (1 + h + t / 3) * torch.exp(-h)


# With h = sqrt(t), d/dt of (1 + h + t/3) e^-h is -(1 + h) e^-h / 6, of (1 + h) e^-h is -e^-h / 2, and of
# e^-h is -e^-h / 2h.
_LAPLACIAN: tuple[_Function, ...] = (_decay, lambda t: -_decay_over_root(t) / 2)
_MATERN32: tuple[_Function, ...] = (
    _once,
    lambda t: -_decay(t) / 2,
    lambda t: _decay_over_root(t) / 4,
)
_MATERN52: tuple[_Function, ...] = (
    _twice,
    lambda t: -_once(t) / 6,
    lambda t: _decay(t) / 12,
    lambda t: -_decay_over_root(t) / 24,
)


def _wendland(q: int) -> tuple[_Function, ...]:
    """Return (1 - h)_+^(q + 1) ((q + 1) h + 1) and its derivatives by h^2."""

    def value(t: torch.Tensor) -> torch.Tensor:
        h = t.sqrt()
        return (1 - h).clamp(min=0.0) ** (q + 1) * ((q + 1) * h + 1)

    def slope(t: torch.Tensor) -> torch.Tensor:
        return -((q + 1) * (q + 2) / 2) * (1 - t.sqrt()).clamp(min=0.0) ** q

    def curvature(t: torch.Tensor) -> torch.Tensor:
        h = _root(t)
        inner = (1 - h).clamp(min=0.0) ** (q - 1) / h
        return ((q + 2) * (q + 1) * q / 4) * torch.where(t > 0, inner, 0.0)

    return value, slope, curvature


def profile(family: str, t: torch.Tensor, alpha: Any = None, dimension: int = 0) -> torch.Tensor:
    """Return a radial kernel of t = r^2 / l^2.

    Parameters
    ----------
    family : str
        A key of `kflow.kernels.RADIAL`.
    t : tensor
        Squared distances over squared length scales.
    alpha : float or tensor
        That of the rational quadratic kernel.
    dimension : int
        That of Wendland's kernel.
    """
    if family == "gaussian":
        return torch.exp(-t / 2)
    if family == "laplacian":
        return _through(t, _LAPLACIAN)
    if family == "matern32":
        return _through(3 * t, _MATERN32)
    if family == "matern52":
        return _through(5 * t, _MATERN52)
    if family == "rational_quadratic":
        return torch.exp(-alpha * torch.log1p(t / (2 * alpha)))
    if family == "inverse_multiquadric":
        return torch.rsqrt(1 + t)
    if family == "cauchy":
        return 1 / (1 + t)
    if family == "wendland":
        return _through(t, _wendland(math.floor(dimension / 2) + 2))
    raise TypeError(
        f"the kernel {family!r} is not known to kflow.torch: pass a function of tensors"
    )
