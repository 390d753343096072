"""Weighted sums of a kernel at points, for predictions: distances are those of the points themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from kflow.engine.interface import Profile
from kflow.engine.torch.padding import filled_up, padded
from kflow.engine.torch.precision import float32_products
from kflow.engine.torch.profiles import overwritten_by_values

__all__ = ["weighted_sums"]

# Rows of a tile, always as many, as in a flow: a product of another shape may round otherwise.
_ROWS_ON_CPU, _ROWS_ON_DEVICE = 256, 4096


def weighted_sums(X: Tensor, Z: Tensor, C: Tensor, profile: Profile) -> Tensor:
    """Return K(X, Z) C, (n, q), for points (n, d), centres (m, d) and coefficients (m, q).

    Distances are sums of squared differences: the coefficients of an interpolant may be large, so that the
    differences of squares with which a flow does would leave few digits near the centres. It takes 3 n m d
    flops, and a tile of n m numbers.
    """
    out = X.new_empty(len(X), C.shape[1])
    coefficients = filled_up(C, columns=True)
    rows = _ROWS_ON_CPU if X.device.type == "cpu" else _ROWS_ON_DEVICE
    for first in range(0, len(X), rows):
        x = X[first : first + rows]
        n = len(x)
        if n < rows:
            x = padded(x, rows)
        distances = torch.cdist(x, Z, compute_mode="donot_use_mm_for_euclid_dist")
        kernel = overwritten_by_values(profile, distances.square_())
        with float32_products(tf32=False):
            product = kernel @ coefficients
        out[first : first + n] = product[:n, : C.shape[1]]
    return out
