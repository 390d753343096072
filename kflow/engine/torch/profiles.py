"""Profiles of kernels and their slopes, on tensors of squared distances."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kflow.engine.interface import Profile

__all__ = ["slopes", "values"]


def values(profile: Profile, r2: Tensor) -> Tensor:
    """Return k(r) of squared distances r^2, which must not be negative; the formulas of `kflow.kernels`."""
    length, t = profile.length_scale, r2 / profile.length_scale**2
    if profile.family == "gaussian":
        return torch.exp(-0.5 * t)
    if profile.family == "rational_quadratic":
        return torch.exp(-profile.alpha * torch.log1p(t / (2.0 * profile.alpha)))
    if profile.family == "inverse_multiquadric":
        return torch.rsqrt(1.0 + t)
    if profile.family == "cauchy":
        return 1.0 / (1.0 + t)
    h = torch.sqrt(r2) / length
    if profile.family == "laplacian":
        return torch.exp(-h)
    if profile.family == "matern32":
        s = math.sqrt(3.0) * h
        return (1.0 + s) * torch.exp(-s)
    if profile.family == "matern52":
        s = math.sqrt(5.0) * h
        return (1.0 + s + s * s / 3.0) * torch.exp(-s)
    if profile.family == "wendland":
        n = profile.degree
        return torch.clamp(1.0 - h, min=0.0) ** n * (n * h + 1.0)
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
