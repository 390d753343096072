"""Tests of an engine's kernel matrices, and of what is computed without storing them."""

from __future__ import annotations

from itertools import product

import numpy as np

from kflow import kernels
from kflow._base.array_types import FloatArray
from kflow.engine.interface import NotPositiveDefinite
from kflow.testing import slow
from kflow.testing.engines.base import DTYPES, RADIAL, EngineTestsBase, raises, same_bits

__all__ = ["KernelMatrixTests", "gradients", "jacobians"]


def jacobians(X: FloatArray, Z: FloatArray, C: FloatArray, kernel: kernels.Radial) -> FloatArray:
    """Return the derivatives of x -> K(x, Z) C at each row of X, shape (n, q, d)."""
    x, z, c = (np.asarray(array, np.float64) for array in (X, Z, C))
    apart = x[:, None] - z[None]
    slopes = 2 * slow.kernel_slope(kernel, (apart**2).sum(axis=2))
    return np.asarray(np.einsum("nm,mq,nmd->nqd", slopes, c, apart))


def gradients(
    X: FloatArray, Z: FloatArray, C: FloatArray, A: FloatArray, kernel: kernels.Radial
) -> FloatArray:
    """Return the gradients of a_i . (K(x_i, Z) C), shape (n, d)."""
    return np.asarray(np.einsum("nqd,nq->nd", jacobians(X, Z, C, kernel), A.astype(np.float64)))


class KernelMatrixTests(EngineTestsBase):
    """Tests of `gram`, `apply`, `pull_back`, `solve`, `product` and `all_finite`."""

    def test_all_finite(self) -> None:
        """One value that is not finite is found wherever it is."""
        for dtype in DTYPES:
            X = np.ones((37, 5), dtype)
            assert self.engine.all_finite(X, 2)
            assert self.engine.all_finite(X[:0], 1)
            for bad, place in product((np.nan, np.inf, -np.inf), (0, 90, X.size - 1)):
                other = X.copy()
                other.flat[place] = bad
                assert not self.engine.all_finite(other, 2)
            for largest in (0.99, 1.01):
                assert self.engine.all_finite(-X, 1, largest) == (largest > 1)

    def _gram(
        self, X: FloatArray, Z: FloatArray, kernel: kernels.Radial, n_threads: int
    ) -> FloatArray:
        out = np.full((len(X), len(Z)), np.nan, X.dtype)
        self.engine.gram(X, Z, kernel.profile, out, n_threads)
        return out

    def test_gram(self) -> None:
        """K(X, Z) of every radial kernel."""
        rng = np.random.default_rng(0)
        for dtype, d, kernel in product(DTYPES, (1, 3, 9), RADIAL):
            X, Z = (rng.normal(size=(n, d)).astype(dtype) for n in (41, 18))
            one, two = (self._gram(X, Z, kernel, n_threads) for n_threads in (1, 2))
            same_bits([one], [two])
            self.close(one, slow.gram(X, Z, kernel=kernel), kernel)

    def test_gram_of_one_array(self) -> None:
        """K(X, X) has a diagonal of exactly 1, and K(X, Z) of no rows has none."""
        for dtype, d, kernel in product(DTYPES, (3, 9), RADIAL):
            X = np.random.default_rng(1).normal(size=(41, d)).astype(dtype)
            assert (np.diag(self._gram(X, X, kernel, 2)) == 1).all()
            assert self._gram(X[:0], X, kernel, 1).shape == (0, 41)
            assert self._gram(X, X[:0], kernel, 1).shape == (41, 0)

    def _apply(
        self,
        X: FloatArray,
        Z: FloatArray,
        C: FloatArray,
        kernel: kernels.Radial,
        base: FloatArray | None,
        n_threads: int,
    ) -> FloatArray:
        out = np.full((len(X), C.shape[1]), np.nan, X.dtype)
        self.engine.apply(X, Z, C, kernel.profile, 0.5, base, out, n_threads)
        return out

    def test_apply(self) -> None:
        """Base plus step K(X, Z) C, and the latter alone."""
        rng = np.random.default_rng(2)
        for dtype, (d, q), kernel in product(DTYPES, ((2, 2), (9, 9), (3, 1)), RADIAL):
            X, base = (rng.normal(size=(41, k)).astype(dtype) for k in (d, q))
            Z, C = (rng.normal(size=(18, k)).astype(dtype) for k in (d, q))
            moved = 0.5 * slow.gram(X, Z, kernel=kernel) @ C
            for start, expected in ((None, moved), (base, base + moved)):
                one, two = (self._apply(X, Z, C, kernel, start, n) for n in (1, 2))
                same_bits([one], [two])
                self.close(one, expected, kernel)

    def test_apply_in_place(self) -> None:
        """`out` may be `base`, X, or both."""
        rng = np.random.default_rng(3)
        for dtype, d, kernel in product(DTYPES, (2, 9), RADIAL):
            X, base = (rng.normal(size=(41, d)).astype(dtype) for _ in range(2))
            Z, C = (rng.normal(size=(18, d)).astype(dtype) for _ in range(2))
            on_base, on_points, on_both = base.copy(), X.copy(), X.copy()
            for x, start, out in (
                (X, on_base, on_base),
                (on_points, base, on_points),
                (on_both, on_both, on_both),
            ):
                self.engine.apply(x, Z, C, kernel.profile, 0.5, start, out, 2)
            same_bits([on_base], [self._apply(X, Z, C, kernel, base, 1)])
            same_bits([on_points], [self._apply(X, Z, C, kernel, base, 1)])
            same_bits([on_both], [self._apply(X, Z, C, kernel, X, 1)])

    def test_pull_back(self) -> None:
        """Gradients of a_i . (K(x_i, Z) C)."""
        rng = np.random.default_rng(4)
        for dtype, kernel in product(DTYPES, RADIAL):
            X, A = (rng.normal(size=(33, k)).astype(dtype) for k in (3, 2))
            Z, C = (rng.normal(size=(18, k)).astype(dtype) for k in (3, 2))
            one, two = (np.full(X.shape, np.nan, dtype) for _ in range(2))
            self.engine.pull_back(X, Z, C, kernel.profile, A, one, 1)
            self.engine.pull_back(X, Z, C, kernel.profile, A, two, 2)
            same_bits([one], [two])
            self.close(one, gradients(X, Z, C, A, kernel), kernel)

    def test_solve(self) -> None:
        """Solutions, and an error where rows of the matrix are equal."""
        rng = np.random.default_rng(6)
        for n, q in ((1, 1), (30, 3)):
            X, Y = rng.normal(size=(n, 4)), rng.normal(size=(n, q))
            A = slow.gram(X, kernel=RADIAL[0]) + 0.1 * np.eye(n)
            solved = self.engine.solve(A.copy(), Y)
            assert solved.flags.c_contiguous
            self.close(solved, slow.solve(A, Y))
        A[1], A[:, 1] = A[0], A[:, 0]
        A[1, 1] = A[0, 0] = A[0, 1] = A[1, 0] = 1.0
        assert raises(NotPositiveDefinite, lambda: self.engine.solve(A.copy(), Y)).args == (-1, -1)
        A[2, 2] = np.nan
        raises(NotPositiveDefinite, lambda: self.engine.solve(A.copy(), Y))

    def test_product(self) -> None:
        """X A, each of whose rows depends on that row of X alone."""
        rng = np.random.default_rng(5)
        for dtype in DTYPES:
            X, A = (rng.normal(size=shape).astype(dtype) for shape in ((50, 7), (7, 4)))
            one, two, part = (np.full((n, 4), np.nan, dtype) for n in (50, 50, 3))
            self.engine.product(X, A, one, 1)
            self.engine.product(X, A, two, 2)
            self.engine.product(X[20:23], A, part, 1)
            self.close(one, X.astype(np.float64) @ A)
            same_bits([one, one[20:23]], [two, part])
