"""Positive definite systems of a batch: factorised in float64, or in float32 and refined."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Factored", "Solution", "factorised"]

# Steps of refinement, always as many, so that no step waits for the host to look at the residual. Each
# multiplies the error by about the condition number times float32's epsilon.
_STEPS = 5


class Solution(NamedTuple):
    """A solution, and whether it is one.

    Attributes
    ----------
    values : Tensor of float64, shape (..., m, n)
        X of A X = B.
    refined : Tensor of bool, shape ()
        Whether the residuals are those of a solution in float64.
    """

    values: Tensor
    refined: Tensor


class Factored(NamedTuple):
    """A positive definite matrix A, or several, ready for solutions.

    Attributes
    ----------
    matrix : Tensor of float64, shape (..., m, m)
        A.
    factor : Tensor of float64, shape (..., m, m), or of float32
        L of A = L L'; its inverse if it is of float32.
    failed : Tensor of bool, shape ()
        Whether a matrix could not be factorised.
    """

    matrix: Tensor
    factor: Tensor
    failed: Tensor

    def solve(self, right: Tensor) -> Solution:
        """Return the solution X of A X = B, without waiting for the device.

        Parameters
        ----------
        right : Tensor of float64, shape (..., m, n)
            B.

        Notes
        -----
        In mixed precision each step of refinement adds an approximate solution of A D = B - A X, in
        float32, to X. It ends where LAPACK's DSPOSV does: |B - A X| <= |X| |A| eps sqrt(m), in the
        largest numbers of each column. It takes 4 m^2 n operations of float32 for each step, and 2 m^2 n
        of float64; products only, since triangular solves keep a graphics processor waiting.
        """
        if self.factor.dtype == torch.float64:
            forward = torch.linalg.solve_triangular(self.factor, right, upper=False)
            values = torch.linalg.solve_triangular(self.factor.mT, forward, upper=True)
            return Solution(values, torch.ones_like(self.failed))
        values = self._approximate(right)
        for _ in range(_STEPS):
            values = values + self._approximate(right - self.matrix @ values)
        residual = (right - self.matrix @ values).abs().amax(dim=-2)
        norm = self.matrix.abs().sum(dim=-1).amax(dim=-1, keepdim=True)
        m = self.matrix.shape[-1]
        allowed = values.abs().amax(dim=-2) * norm * (torch.finfo(torch.float64).eps * m**0.5)
        return Solution(values, (residual <= allowed).all())

    def _approximate(self, right: Tensor) -> Tensor:
        return (self.factor.mT @ (self.factor @ right.float())).double()


def factorised(matrix: Tensor, least: Tensor, mixed: bool) -> Factored:
    """Return a matrix, or several, ready for solutions.

    Parameters
    ----------
    matrix : Tensor of float64, shape (..., m, m)
        A, with ones and the nugget on the diagonal.
    least : Tensor of float64, shape ()
        The least square of a pivot in units of the precision of the factorisation's epsilon: rounding
        lets a factorisation go through where two points coincide.
    mixed : bool
        Whether to factorise in float32.
    """
    dtype = torch.float32 if mixed else torch.float64
    factor, info = torch.linalg.cholesky_ex(matrix.to(dtype))
    pivots = factor.diagonal(dim1=-2, dim2=-1).square().min()
    failed = (info != 0).any() | ~(pivots >= least * torch.finfo(dtype).eps)
    if mixed:
        one = torch.eye(matrix.shape[-1], dtype=dtype, device=matrix.device).expand_as(factor)
        factor = torch.linalg.solve_triangular(factor, one, upper=False)
    return Factored(matrix, factor, failed)
