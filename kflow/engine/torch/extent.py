"""What the step rules measure of points and displacements, tile by tile.

An extent is a tensor of four float64: the least |x|^2 / |g|^2 of points x with displacements g of which
neither is 0, the largest |g|^2, the sum of |x|^2 and that of |g|^2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["all_extents", "extent"]


def extent(points: Tensor, displacements: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the extent of points (n, k) and displacements (n, q): of the first `count`, or of all."""
    x = points.square().sum(dim=1).double()
    g = displacements.square().sum(dim=1).double()
    if count is not None:
        counts = torch.arange(len(x), device=x.device) < count
        x, g = torch.where(counts, x, 0.0), torch.where(counts, g, 0.0)
    ratio = torch.where((x > 0.0) & (g > 0.0), x / g, torch.inf)
    return torch.stack([ratio.min(), g.max(), x.sum(), g.sum()])


def all_extents(parts: Sequence[Tensor]) -> Tensor:
    """Return the extent of all tiles; sums are taken in the order of the tiles."""
    least, most, x, g = torch.stack(tuple(parts), dim=1)
    return torch.stack([least.min(), most.max(), x.sum(), g.sum()])
