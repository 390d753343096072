"""Inverses of lower triangles by products, which keep a graphics processor busy.

A solution with a triangle is a chain of as many steps as it has rows, each of which waits for the one
before. The inverse of [[A, 0], [B, C]] is [[A^-1, 0], [-C^-1 B A^-1, C^-1]]: from small triangles on the
diagonal, which are all inverted at once, the size of what is inverted doubles with every two products.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["inverted"]

# Triangles of at most so many rows are inverted row by row.
_SMALL = 40


def inverted(triangle: Tensor) -> Tensor:
    """Return the inverse of a lower triangle, or of several, (..., m, m).

    Nothing above the diagonal is read; in the inverse it is 0. It takes 2 m^3 / 3 operations, and a number
    of launches that grows as the logarithm of m.
    """
    m = triangle.shape[-1]
    size, n_small = m, 1
    while size > _SMALL:
        n_small *= 2
        size = -(-m // n_small)
    n = size * n_small
    # Filled up by ones on the diagonal to a triangle of n rows.
    one = torch.eye(n, dtype=triangle.dtype, device=triangle.device)
    filled = one.expand(*triangle.shape[:-2], n, n).clone()
    filled[..., :m, :m] = triangle
    inverse = torch.zeros_like(filled)
    small = _on_diagonal(filled, size)
    _on_diagonal(inverse, size).copy_(
        torch.linalg.solve_triangular(small, one[:size, :size].expand_as(small), upper=False)
    )
    while size < n:
        upper, lower = slice(size), slice(size, 2 * size)
        off, result = _on_diagonal(filled, 2 * size), _on_diagonal(inverse, 2 * size)
        product = off[..., lower, upper] @ result[..., upper, upper]
        torch.neg(result[..., lower, lower] @ product, out=result[..., lower, upper])
        size *= 2
    return inverse[..., :m, :m]


def _on_diagonal(matrix: Tensor, size: int) -> Tensor:
    """Return the blocks on the diagonal of a matrix (..., n, n): a view, (..., n / size, size, size)."""
    *first, n, _ = matrix.shape
    blocks = matrix.view(*first, n // size, size, n // size, size)
    return blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)
