"""The part of the engine that computes kernel matrices on a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine.cholesky import smallest_pivot
from kflow.engine.cpu.convert import are_extreme
from kflow.engine.cpu.engine import CpuEngine
from kflow.engine.interface import NotPositiveDefinite, Profile, Term
from kflow.engine.torch.arrays import TorchArray, write
from kflow.engine.torch.kernel_matrices import evaluate, products, pull_back
from kflow.engine.torch.sums import weighted_sums
from kflow.engine.torch.transfers import to_device
from kflow.errors import StorageError

__all__ = ["MatrixEngine"]


def _leaf(profile: Profile) -> Term:
    """Return the kernel that is a profile of the points themselves."""
    return Term("leaf", profile=profile, source=0)


class MatrixEngine(CpuEngine):
    """Kernel matrices, products with them and solutions on a device; all else by the compiled core.

    The compiled core also takes the length scales whose squares are no numbers of a dtype.

    Attributes
    ----------
    device : str
        The device as PyTorch names it.
    """

    device: str

    def gram(
        self, X: FloatArray, Z: FloatArray, profile: Profile, out: FloatArray, n_threads: int
    ) -> None:
        """Write K(X, Z) to `out`."""
        self.evaluate([_leaf(profile)], [X], [Z], [], out, n_threads)

    def apply(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        profile: Profile,
        step: float,
        base: FloatArray | None,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write base + step K(X, Z) C to `out`, tile by tile; X and `out` may be in either memory."""
        if not isinstance(X, TorchArray) and are_extreme([_leaf(profile)], X.dtype):
            super().apply(X, Z, C, profile, step, base, out, n_threads)
            return
        x, z, c = (to_device(array, self.device) for array in (X, Z, C))
        values = weighted_sums(x, z, c, profile) * step
        write(values if base is None else to_device(base, self.device) + values, out)

    def pull_back(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        profile: Profile,
        A: FloatArray,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write the gradients of a_i . (K(x_i, Z) C) to `out`."""
        if are_extreme([_leaf(profile)], X.dtype):
            super().pull_back(X, Z, C, profile, A, out, n_threads)
            return
        pull_back(X, Z, C, profile, A, out, self.device)

    def evaluate(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        Z: Sequence[FloatArray],
        given: Sequence[FloatArray],
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write a composite kernel to `out`."""
        if are_extreme(terms, out.dtype):
            super().evaluate(terms, X, Z, given, out, n_threads)
            return
        evaluate(terms, X, Z, given, out, self.device)

    def apply_terms(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        Z: Sequence[FloatArray],
        given: Sequence[FloatArray],
        C: FloatArray,
        out: FloatArray,
        n_threads: int,
    ) -> None:
        """Write K(X, Z) C of a composite kernel to `out`."""
        if are_extreme(terms, out.dtype):
            super().apply_terms(terms, X, Z, given, C, out, n_threads)
            return
        for rows, product in products(terms, X, Z, given, C, self.device):
            out[rows] = product

    def solve(self, A: Doubles, Y: FloatArray) -> Doubles:
        """Return A^-1 Y by a Cholesky factor on the device, which takes twice the matrix there.

        Raises
        ------
        NotPositiveDefinite
            If there is no such factor.
        StorageError
            If the device has too little memory.
        """
        try:
            matrix, targets = (to_device(array, self.device) for array in (A, Y))
            factor, failed = torch.linalg.cholesky_ex(matrix)
            least = smallest_pivot(len(A), A.diagonal())
            # Not larger: also where it is NaN.
            if bool(failed) or not bool(factor.diagonal().square().min() > least):
                raise NotPositiveDefinite(-1, -1)
            solved = torch.cholesky_solve(targets, factor).cpu().numpy()
        except torch.cuda.OutOfMemoryError:
            raise StorageError(
                f"device={self.device!r} has too little memory for a kernel matrix of {len(A)} points and "
                f"its factor, {2 * A.nbytes / 1e9:.1f} GB: pass fewer points, or device=None for the "
                "compiled core"
            ) from None
        return np.ascontiguousarray(solved)
