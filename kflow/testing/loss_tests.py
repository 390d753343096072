"""What every loss must pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from numpy.testing import assert_allclose, assert_array_equal

from kflow._base.array_types import Doubles, Rows
from kflow.kernels import Matern52
from kflow.losses import Loss
from kflow.testing.slow.kernels import gram
from kflow.testing.slow.losses import symmetric_gradient

__all__ = ["LossProblem", "LossTests"]


@dataclass
class LossProblem:
    """A batch and every kind of subset of it.

    Attributes
    ----------
    K : ndarray, shape (n, n)
        Kernel matrix, nugget included.
    Y : ndarray, shape (n, m)
        Targets.
    halves : ndarray of int, shape (n_halves, n_coarse)
        Rows of coarse subsets.
    pairs : ndarray of int, shape (n_halves, n_pairs, 2)
        Pairs of rows outside each half.
    folds : ndarray of int, shape (n,)
        Number of each row's fold.
    """

    K: Doubles
    Y: Doubles
    halves: Rows
    pairs: Rows
    folds: Rows

    @classmethod
    def random(
        cls,
        n: int,
        m: int = 1,
        n_halves: int = 1,
        n_coarse: int | None = None,
        n_folds: int = 3,
        seed: int = 0,
        nugget: float = 0.05,
    ) -> LossProblem:
        """Return a problem whose matrix has a diagonal that varies, like that of a sum of kernels."""
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 3))
        amplitude = np.exp(rng.normal(size=n))
        K = np.asarray(gram(X, kernel=Matern52(1.5)) * np.outer(amplitude, amplitude), np.float64)
        n_coarse = max(1, n // 2) if n_coarse is None else n_coarse
        orders = np.array([rng.permutation(n) for _ in range(n_halves)])
        outside = orders[:, n_coarse:]
        pairs = np.stack([outside, np.roll(outside, 1, axis=1)], axis=2)
        return cls(
            K=K + nugget * np.eye(n),
            Y=rng.normal(size=(n, m)),
            halves=orders[:, :n_coarse],
            pairs=pairs[:, : max(1, n // 3)],
            folds=rng.permutation(np.arange(n) % n_folds),
        )

    def subsets_for(self, loss: Loss) -> list[Rows]:
        """Return the subsets that a loss takes."""
        return [getattr(self, subset) for subset in loss.subsets]

    def in_order(self, order: npt.NDArray[np.intp]) -> LossProblem:
        """Return the same problem with its rows in another order."""
        place = np.argsort(order)
        return LossProblem(
            self.K[np.ix_(order, order)],
            self.Y[order],
            place[self.halves],
            place[self.pairs],
            self.folds[order],
        )


class LossTests:
    """Tests of a loss, for pytest: inherit, and set `loss`.

    The loss may also be set by a fixture, for many losses at once.

    Attributes
    ----------
    loss : kflow.losses.Loss
        The loss: a row of the table of losses.
    slow : callable or None
        The same loss, slow and obvious: ``slow(K, Y, *subsets)`` returns its value, in longdouble if K
        is. None: derivatives are compared with finite differences of the loss itself.
    shapes : tuple of (int, int, int)
        Numbers of rows, of targets and of halves.

    Examples
    --------
    >>> from kflow import losses, testing
    >>> from kflow.testing import LossTests
    >>> class TestMyLoss(LossTests):
    ...     loss = losses.get_loss("nlml")
    ...     slow = staticmethod(testing.loss_nlml)
    >>> TestMyLoss().test_value_and_gradient()
    """

    loss: Loss
    slow: Callable[..., Any] | None = None
    shapes: ClassVar[tuple[tuple[int, int, int], ...]] = ((7, 1, 1), (8, 3, 2), (6, 1, 4))

    def value(self, p: LossProblem, K: Any = None, **options: Any) -> tuple[float, Any]:
        """Return the loss of a problem, perhaps at another matrix, and its gradient."""
        matrix = p.K if K is None else K
        return self.loss.function(matrix, p.Y, *p.subsets_for(self.loss), **options)

    def expected(self, p: LossProblem, K: Any) -> Any:
        """Return the slow value at a matrix."""
        assert self.slow is not None
        return self.slow(K, p.Y, *p.subsets_for(self.loss))

    def assert_raises(self, message: str, p: LossProblem, K: Any = None) -> None:
        """Assert that a problem is refused by a ValueError that contains a message."""
        said = "nothing was raised"
        try:
            self.value(p, K)
        except ValueError as error:
            said = str(error)
        assert message in said

    # ---- values and gradients -----------------------------------------------------------------

    def test_value_and_gradient(self) -> None:
        """The value is that of the slow twin, and the gradient that of finite differences."""
        for n, m, n_halves in self.shapes:
            p = LossProblem.random(n, m, n_halves)
            value, G = self.value(p)
            assert isinstance(value, float)
            assert (G.shape, G.dtype) == ((n, n), np.float64)
            if self.slow is None:
                self._check_directions(p, value, G)
                continue
            precise = p.K.astype(np.longdouble)
            wanted = float(self.expected(p, precise))
            assert abs(value - wanted) <= max(1e-11 * abs(wanted), 1e-13)
            expected = symmetric_gradient(lambda K, p=p: self.expected(p, K), p.K)  # type: ignore[misc]
            scale = float(np.abs(expected).max())
            assert_allclose(G, np.asarray(expected, np.float64), rtol=0, atol=1e-8 * scale)

    def test_several_tiles(self) -> None:
        """A matrix of many tiles is as right as a small one, at both of its ends."""
        p = LossProblem.random(101, 2, 2, n_folds=5)
        value, G = self.value(p)
        if self.slow is not None:
            assert_allclose(value, float(self.expected(p, p.K)), rtol=1e-9)
        self._check_directions(p, value, G)

    def _check_directions(self, p: LossProblem, value: float, G: Doubles) -> None:
        """Compare G with differences along blocks of the matrix and along all of it."""
        del value
        assert_array_equal(G, G.T)
        n, rng = len(p.K), np.random.default_rng(1)
        for rows in (np.arange(3), np.arange(n - 3, n), np.arange(n)):
            direction = np.zeros((n, n))
            block = rng.normal(size=(len(rows), len(rows)))
            direction[np.ix_(rows, rows)] = 1e-5 * (block + block.T) / len(rows)
            ends = [self.value(p, p.K + sign * direction, gradient=False)[0] for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / 2
            scale = float(np.abs(G).max()) * 1e-5
            difference = abs(float((G * direction).sum()) - slope)
            assert difference <= max(1e-5 * abs(slope), 1e-6 * scale)

    def test_the_value_alone_is_the_same(self) -> None:
        """Without a gradient the value has the same bits."""
        p = LossProblem.random(60, 2, 3)
        assert self.value(p, gradient=False) == (self.value(p)[0], None)

    def test_threads_do_not_change_a_bit(self) -> None:
        """Results on one, two and three threads are the same."""
        p = LossProblem.random(150, 11, 2, n_folds=7)
        value, G = self.value(p, n_threads=1)
        for n_threads in (2, 3):
            again, other = self.value(p, n_threads=n_threads)
            assert again == value
            assert_array_equal(other, G)

    def test_the_smallest_batch(self) -> None:
        """The smallest batch that learning may draw is large enough."""
        for n_folds in (2, 3):
            n = self.loss.smallest_batch(n_folds)
            p = LossProblem.random(n, n_folds=min(n, n_folds))
            value, G = self.value(p)
            assert np.isfinite(value)
            assert np.isfinite(G).all()

    # ---- invariances --------------------------------------------------------------------------

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        """Rows in another order have the same value, and the gradient's rows move along."""
        p = LossProblem.random(25, 2, 2)
        order = np.random.default_rng(3).permutation(25)
        value, G = self.value(p)
        again, other = self.value(p.in_order(order))
        tolerance = 1e-10 * float(np.abs(G).max())
        assert_allclose(again, value, rtol=1e-10)
        assert_allclose(other, G[np.ix_(order, order)], rtol=0, atol=tolerance)

    def test_halves_are_averaged(self) -> None:
        """Several halves have the mean of the values and gradients of each."""
        if "halves" not in self.loss.subsets:
            return
        p = LossProblem.random(20, 2, 3)
        alone = [
            self.value(replace(p, halves=p.halves[h], pairs=p.pairs[h]))
            for h in range(len(p.halves))
        ]
        value, G = self.value(p)
        tolerance = 1e-12 * float(np.abs(G).max())
        assert_allclose(value, np.mean([v for v, _ in alone]), rtol=1e-12)
        assert_allclose(G, np.mean([g for _, g in alone], axis=0), rtol=0, atol=tolerance)

    def test_one_half_and_one_target_need_no_second_dimension(self) -> None:
        """A vector of targets is a column, and the rows of a half are one half."""
        p = LossProblem.random(12)
        flat = replace(p, Y=p.Y[:, 0], halves=p.halves[0], pairs=p.pairs[0])
        value, G = self.value(p)
        again, other = self.value(flat)
        assert again == value
        assert_array_equal(other, G)

    def test_the_scale_of_the_kernel_is_no_reason_to_refuse_it(self) -> None:
        """Values are finite for very small and very large kernels."""
        p = LossProblem.random(12, 2, 2)
        for scale in (1e-12, 1e12):
            value, G = self.value(p, scale * p.K)
            assert np.isfinite(value)
            assert np.isfinite(G).all()

    def test_targets_matter_as_the_table_says(self) -> None:
        """The value depends on the targets if and only if the loss uses them."""
        p = LossProblem.random(12, 2, 2)
        other = replace(p, Y=p.Y[::-1].copy())
        assert (self.value(p)[0] != self.value(other)[0]) == self.loss.uses_targets

    def test_the_unit_makes_targets_of_any_scale_alike(self) -> None:
        """A loss that has a unit hardly depends on the scale of the targets, or on their number."""
        p = LossProblem.random(12, 2, 2)
        for scale in (1e-3, 1e3):
            assert self.loss.unit(scale * p.Y) > 0.0
        assert self.loss.unit(np.zeros((3, 1))) > 0.0

    # ---- arguments ----------------------------------------------------------------------------

    def test_arguments_are_not_changed(self) -> None:
        """Matrix and targets are as they were before."""
        p = LossProblem.random(20, 2, 2)
        before = p.K.copy(), p.Y.copy()
        self.value(p)
        for array, copy in zip((p.K, p.Y), before, strict=True):
            assert_array_equal(array, copy)

    def test_other_dtypes_and_orders(self) -> None:
        """float32, lists, Fortran order and views are converted to what float64 has."""
        p = LossProblem.random(20, 2, 2)
        single = replace(p, Y=p.Y.astype(np.float32))
        K = p.K.astype(np.float32)
        value, G = self.value(single, K.astype(np.float64))
        larger = np.zeros((40, 40))
        larger[::2, ::2] = K
        for matrix in (K, K.tolist(), np.asfortranarray(K), larger[::2, ::2]):
            again, other = self.value(replace(single, Y=np.asfortranarray(single.Y)), matrix)
            assert again == value
            assert other.dtype == np.float64
            assert_array_equal(other, G)
        value, G = self.value(p)
        short = {name: getattr(p, name).astype(np.int16) for name in ("halves", "pairs", "folds")}
        others = replace(p, Y=np.asfortranarray(p.Y), **short)
        again, other = self.value(others, np.asfortranarray(p.K))
        assert again == value
        assert_array_equal(other, G)

    def test_numbers_that_are_not_finite_are_refused(self) -> None:
        """NaN and infinity are errors that name the argument."""
        for bad in (np.nan, np.inf):
            p = LossProblem.random(6)
            K = p.K.copy()
            K[1, 4] = bad
            self.assert_raises("K contains NaN", p, K)
            if self.loss.uses_targets:
                p.Y[3] = bad
                self.assert_raises("Y contains NaN", p)

    def test_wrong_shapes_are_refused(self) -> None:
        """Matrices that are not square, and targets of another length, are errors that name them."""
        p = LossProblem.random(6)
        for bad in (p.K[:5], p.K[:, :5]):
            self.assert_raises("K must be square", p, bad)
        self.assert_raises("K must have two dimensions", p, p.K[0])
        self.assert_raises("K is empty", p, np.empty((0, 0)))
        if self.loss.uses_targets:
            self.assert_raises("Y must have 6 rows", replace(p, Y=p.Y[:5]))

    def test_wrong_halves_are_refused(self) -> None:
        """Halves that name rows that there are not, twice, or all, are errors."""
        if "halves" not in self.loss.subsets:
            return
        p = LossProblem.random(6)
        for halves, message in (
            ([0, 1, 6], "halves names a row outside 0..5"),
            ([0, 1, -1], "halves names a row outside 0..5"),
            ([[0, 1, 2], [3, 4, 3]], "halves names row 3 twice in half 1"),
            ([0, 1, 2, 3, 4, 5], "fewer than all 6 rows of K, got 6"),
            (list(range(self.loss.lowest_coarse - 1)), "halves must"),
        ):
            rows: Rows = np.array(halves, np.intp)
            self.assert_raises(message, replace(p, halves=rows))
