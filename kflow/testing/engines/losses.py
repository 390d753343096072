"""Tests of an engine's losses and of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine.interface import NotPositiveDefinite
from kflow.kernels import Matern52
from kflow.testing import slow
from kflow.testing.engines.base import EngineTestsBase, raises, same_bits

__all__ = ["LossTests"]

KERNEL = Matern52(2.1)


class _Case(NamedTuple):
    """A loss on a small kernel matrix, and its reference."""

    name: str
    arguments: tuple[npt.NDArray[Any] | None, ...]
    reference: Callable[[FloatArray], Any]


def _small() -> tuple[FloatArray, FloatArray]:
    """Return a kernel matrix of 14 points, and targets."""
    rng = np.random.default_rng(8)
    X, Y = rng.normal(size=(14, 3)), rng.normal(size=(14, 2))
    return slow.gram(X, kernel=KERNEL) + 0.1 * np.eye(14), Y


def _cases(Y: FloatArray) -> Iterator[_Case]:
    rng = np.random.default_rng(9)
    halves = np.stack([rng.permutation(14)[:7] for _ in range(2)])
    pairs = np.stack([np.setdiff1d(range(14), half)[:6].reshape(3, 2) for half in halves])
    folds = np.arange(14) % 4
    flat = np.concatenate(pairs)
    yield _Case("rho", (Y, halves), lambda k: slow.loss_rho(k, Y, halves))
    yield _Case("e2", (Y, halves), lambda k: slow.loss_e2(k, Y, halves))
    yield _Case("lyapunov", (Y, halves, flat), lambda k: slow.loss_lyapunov(k, Y, halves, pairs))
    yield _Case("kfold", (Y, folds), lambda k: slow.loss_kfold(k, Y, folds))
    yield _Case("kfold", (Y, None), lambda k: slow.loss_kfold(k, Y, np.arange(14)))
    yield _Case("nlml", (Y,), lambda k: slow.loss_nlml(k, Y))
    yield _Case("mmd", (halves,), lambda k: slow.loss_mmd(k, halves))


class LossTests(EngineTestsBase):
    """Tests of `rho`, `loss` and `leave_one_out`."""

    def test_rho(self) -> None:
        """Rho of points, and its gradient by them."""
        rng = np.random.default_rng(6)
        X, Y = rng.normal(size=(26, 3)), rng.normal(size=(26, 2))
        order = rng.permutation(26)

        def compute(n_threads: int) -> list[Any]:
            gradient = np.full(X.shape, np.nan)
            value = self.engine.rho(X, Y, order, 13, KERNEL.profile, 0.1, gradient, n_threads)
            alone = self.engine.rho(X, Y, order, 13, KERNEL.profile, 0.1, None, n_threads)
            assert value == alone
            return [value, gradient]

        value, gradient = self.on_one_and_two_threads(compute)
        expected = slow.rho_gradient(X, Y, order[:13], kernel=KERNEL, nugget=0.1)
        self.close(value, expected[0])
        self.close(gradient, expected[1])

    def test_rho_of_points_that_coincide(self) -> None:
        """They are named by their positions in `order`."""
        rng = np.random.default_rng(7)
        X, Y = rng.normal(size=(26, 3)), rng.normal(size=(26, 2))
        order = rng.permutation(26)
        X[order[5]] = X[order[17]]
        error = raises(
            NotPositiveDefinite,
            lambda: self.engine.rho(X, Y, order, 13, KERNEL.profile, 0.0, None, 1),
        )
        assert sorted(error.args) == [5, 17]

    def test_losses(self) -> None:
        """Every loss, and its gradient by the kernel matrix."""
        K, Y = _small()
        for case in _cases(Y):
            self._check_loss(case, K)

    def _check_loss(self, case: _Case, K: FloatArray) -> None:
        def compute(n_threads: int) -> list[Any]:
            gradient = np.full(K.shape, np.nan)
            value = self.engine.loss(case.name, K, case.arguments, gradient, n_threads)
            self.close(self.engine.loss(case.name, K, case.arguments, None, n_threads), value)
            return [value, gradient]

        value, gradient = self.on_one_and_two_threads(compute)
        self.close(value, float(case.reference(K)))
        same_bits([gradient], [gradient.T])
        expected = np.asarray(slow.symmetric_gradient(case.reference, K), np.float64)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9, err_msg=case.name)

    def test_losses_of_a_singular_matrix(self) -> None:
        """Two rows that are the same are named."""
        K, Y = _small()
        K[:, 9], K[9] = K[:, 4], K[4]
        K[9, 9] = K[4, 9] = K[9, 4] = K[4, 4]
        error = raises(NotPositiveDefinite, lambda: self.engine.loss("nlml", K, (Y,), None, 1))
        assert sorted(error.args) == [4, 9]

    def test_leave_one_out(self) -> None:
        """Residuals and variances of leaving each point out."""
        K, Y = _small()

        def compute(n_threads: int) -> list[FloatArray]:
            residuals, variances = np.full(Y.shape, np.nan), np.full((14, 1), np.nan)
            self.engine.leave_one_out(K, Y, residuals, variances, n_threads)
            return [residuals, variances]

        residuals, variances = self.on_one_and_two_threads(compute)
        expected = slow.leave_one_out(K, Y)
        self.close(residuals, expected[0])
        self.close(variances[:, 0], expected[1])
