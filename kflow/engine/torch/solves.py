"""Positive definite systems of a batch: factorised in float64, or in float32, and solved by products."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kflow.engine.torch.triangles import inverted

__all__ = ["Factored", "Solution", "factorised"]

# Steps of refinement, always as many, so that no step waits for the host to look at the residual. In
# float32 each multiplies the error by about the condition number times float32's epsilon. In float64 one
# makes up for what products with an inverse are less exact than substitution.
_STEPS = {torch.float32: 5, torch.float64: 1}


class Solution(NamedTuple):
    """A solution, and whether it is one.

    Attributes
    ----------
    values : Tensor of float64, shape (b, m, n)
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
    matrix : Tensor of float64, shape (b, m, m)
        A.
    inverse : Tensor of float64 or float32, shape (b, m, m)
        The inverse of the Cholesky factor L of A = L L'.
    failed : Tensor of bool, shape ()
        Whether a matrix could not be factorised.
    """

    matrix: Tensor
    inverse: Tensor
    failed: Tensor

    def corner(self, n: int) -> Factored:
        """Return the matrix of the first n rows and columns, whose factor is the corner of this one's."""
        return Factored(self.matrix[:, :n, :n], self.inverse[:, :n, :n], self.failed)

    def solve(self, right: Tensor) -> Solution:
        """Return the solution X of A X = B, without waiting for the device.

        Parameters
        ----------
        right : Tensor of float64, shape (b, m, n)
            B.

        Notes
        -----
        Each step of refinement adds an approximate solution of A D = B - A X to X. In float32 it ends
        where LAPACK's DSPOSV does: |B - A X| <= |X| |A| eps sqrt(m), in the largest numbers of each
        column. In float64 one step gives residuals as small as those of substitution (Higham, Accuracy
        and stability of numerical algorithms, 2002, chapter 12). A step takes 6 m^2 n operations. There
        are products only: triangular solves keep a graphics processor waiting.
        """
        values = self._improved(None, right)
        for _ in range(_STEPS[self.inverse.dtype]):
            values = self._improved(values, self._residual(right, values))
        if self.inverse.dtype == torch.float64:
            return Solution(values, self.failed.new_ones(()))
        residual = self._residual(right, values).abs().amax(dim=-2)
        norm = self.matrix.abs().sum(dim=-1).amax(dim=-1, keepdim=True)
        m = self.matrix.shape[-1]
        allowed = values.abs().amax(dim=-2) * norm * (torch.finfo(torch.float64).eps * m**0.5)
        return Solution(values, (residual <= allowed).all())

    def _residual(self, right: Tensor, values: Tensor) -> Tensor:
        return torch.baddbmm(right, self.matrix, values, alpha=-1.0)

    def _improved(self, values: Tensor | None, residual: Tensor) -> Tensor:
        """Return values plus an approximate solution for a residual."""
        forward = self.inverse @ residual.to(self.inverse.dtype)
        if values is None:
            return (self.inverse.mT @ forward).double()
        if forward.dtype == torch.float64:
            return torch.baddbmm(values, self.inverse.mT, forward)
        return values + (self.inverse.mT @ forward).double()


def factorised(matrix: Tensor, least: Tensor, mixed: bool) -> Factored:
    """Return a matrix, or several, ready for solutions.

    Parameters
    ----------
    matrix : Tensor of float64, shape (b, m, m)
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
    return Factored(matrix, inverted(factor), failed)
