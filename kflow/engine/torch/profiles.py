"""Profiles of kernels and their slopes, on tensors of squared distances."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kflow.engine.interface import Profile

__all__ = ["overwritten_by_values", "slopes", "values"]


def values(profile: Profile, r2: Tensor) -> Tensor:
    """Return k(r) of squared distances r^2, which must not be negative; the formulas of `kflow.kernels`."""
    return overwritten_by_values(profile, r2.clone())


def overwritten_by_values(profile: Profile, r2: Tensor) -> Tensor:
    """Return k(r) of squared distances r^2, which are overwritten.

    A kernel matrix of many points is as large as what a graphics processor keeps near, or larger: each
    operation that needs another place for it takes longer.
    """
    length = profile.length_scale
    if profile.family == "gaussian":
        return r2.mul_(-0.5 / length**2).exp_()
    if profile.family == "rational_quadratic":
        return r2.mul_(0.5 / (profile.alpha * length**2)).log1p_().mul_(-profile.alpha).exp_()
    if profile.family == "inverse_multiquadric":
        return r2.mul_(1.0 / length**2).add_(1.0).rsqrt_()
    if profile.family == "cauchy":
        return r2.mul_(1.0 / length**2).add_(1.0).reciprocal_()
    r = r2.sqrt_()
    if profile.family == "laplacian":
        return r.mul_(-1.0 / length).exp_()
    if profile.family == "matern32":
        s = r.mul_(math.sqrt(3.0) / length)
        decay = torch.exp(-s)
        return s.add_(1.0).mul_(decay)
    if profile.family == "matern52":
        s = r.mul_(math.sqrt(5.0) / length)
        decay = torch.exp(-s)
        return s.mul_(s / 3.0 + 1.0).add_(1.0).mul_(decay)
    if profile.family == "wendland":
        n, h = profile.degree, r.mul_(1.0 / length)
        within = torch.clamp(1.0 - h, min=0.0) ** n
        return h.mul_(n).add_(1.0).mul_(within)
    raise ValueError(f"no profile of distances: {profile.family}")


def slopes(profile: Profile, r2: Tensor) -> Tensor:
    """Return dk/d(r^2); 0 where the Laplacian has none."""
    length, t = profile.length_scale, r2 / profile.length_scale**2
    inverse = 1.0 / length**2
    if profile.family == "gaussian":
        return -0.5 * inverse * torch.exp(-0.5 * t)
    if profile.family == "rational_quadratic":
        base = torch.log1p(t / (2.0 * profile.alpha))
        return -0.5 * inverse * torch.exp(-(profile.alpha + 1.0) * base)
    if profile.family == "inverse_multiquadric":
        root = torch.rsqrt(1.0 + t)
        return -0.5 * inverse * root * root * root
    if profile.family == "cauchy":
        return -inverse / (1.0 + t) ** 2
    h = torch.sqrt(r2) / length
    if profile.family == "laplacian":
        apart = torch.where(h > 0.0, h, 1.0)
        return torch.where(h > 0.0, -0.5 * inverse * torch.exp(-h) / apart, 0.0)
    if profile.family == "matern32":
        return -1.5 * inverse * torch.exp(-math.sqrt(3.0) * h)
    if profile.family == "matern52":
        s = math.sqrt(5.0) * h
        return -(5.0 / 6.0) * inverse * (1.0 + s) * torch.exp(-s)
    if profile.family == "wendland":
        n = profile.degree
        return -0.5 * n * (n + 1.0) * inverse * torch.clamp(1.0 - h, min=0.0) ** (n - 1)
    raise ValueError(f"no profile of distances: {profile.family}")
