"""What the step rules measure of points and displacements.

An extent is a tensor of four float64: the least |x|^2 / |g|^2 of points x with displacements g of which
neither is 0, the largest |g|^2, the sum of |x|^2 and that of |g|^2.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["extent", "lengths"]


def lengths(x: Tensor, out: Tensor | None = None) -> Tensor:
    """Return |x_i| of rows, (n, k): by one reading of them, and without their squares in memory."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=1, out=out)
    return norms


def extent(points: Tensor, displacements: Tensor) -> Tensor:
    """Return the extent of points and displacements of which the lengths, (n,), are given."""
    x, g = points.double().square(), displacements.double().square()
    ratio = torch.where((x > 0.0) & (g > 0.0), x / g, torch.inf)
    return torch.stack([ratio.min(), g.max(), x.sum(), g.sum()])
