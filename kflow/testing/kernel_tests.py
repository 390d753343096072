"""What every kernel must pass."""

from __future__ import annotations

import json
import pickle
from typing import Any, ClassVar

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from kflow._base.array_types import Doubles, FloatArray
from kflow.kernels import Kernel, Radial, from_dict, is_isotropic
from kflow.testing.finite_differences import differences
from kflow.testing.slow.kernels import gram

__all__ = ["KernelTests"]


_PRECISIONS: tuple[np.dtype[np.floating[Any]], ...] = (np.dtype(np.float32), np.dtype(np.float64))


class KernelTests:
    """Tests of a kernel, for pytest: inherit, and set `kernel`.

    The kernel may also be set by a fixture, for many kernels at once.

    Attributes
    ----------
    kernel : kflow.kernels.Kernel
        The kernel.
    n_columns : int
        Number of columns of the points.
    shapes : tuple of (int, int)
        Numbers of rows of X and Z.
    is_data : bool
        Whether the kernel can be stored as plain data.
    is_symmetric_in_bits : bool
        Whether K(X, X) is its own transpose without rounding errors.

    Examples
    --------
    >>> from kflow import kernels
    >>> from kflow.testing import KernelTests
    >>> class TestMyKernel(KernelTests):
    ...     kernel = kernels.Gaussian(1.3) * kernels.Linear(2.0)
    >>> TestMyKernel().test_values()
    """

    kernel: Kernel
    n_columns: int = 3
    shapes: ClassVar[tuple[tuple[int, int], ...]] = ((1, 1), (13, 7), (110, 37))
    is_data: bool = True
    is_symmetric_in_bits: bool = True

    # ---- to be overridden ---------------------------------------------------------------------

    def points(self, n: int, seed: int = 0) -> Doubles:
        """Return points, (n, n_columns), that the kernel can take."""
        return np.random.default_rng(seed).normal(size=(n, self.n_columns))

    def slow_matrix(self, kernel: Kernel, X: FloatArray, Z: FloatArray) -> FloatArray:
        """Return K(X, Z) by the formula, in the precision of X and Z."""
        return gram(X, Z, kernel=kernel)

    # ---- values -------------------------------------------------------------------------------

    def test_values(self) -> None:
        """The matrix and its products agree with the formula, in both precisions."""
        rng = np.random.default_rng(1)
        for dtype in _PRECISIONS:
            for n, m in self.shapes:
                X, Z = self.points(n).astype(dtype), self.points(m, 1).astype(dtype)
                C: FloatArray = rng.normal(size=(m, 3)).astype(dtype)
                expected = self.slow_matrix(
                    self.kernel, X.astype(np.longdouble), Z.astype(np.longdouble)
                )
                scale = max(float(np.abs(expected).max()), 1e-3)
                tolerance = 100 * float(np.finfo(dtype).eps) * scale
                values = self.kernel(X, Z)
                assert values.dtype == dtype
                assert_allclose(values, expected.astype(np.float64), rtol=0, atol=tolerance)
                wanted = (expected @ C).astype(np.float64)
                for product in (self.kernel.apply(X, Z, C), self.kernel.interpolate(X, Z, C)):
                    assert product.dtype == dtype
                    assert_allclose(product, wanted, rtol=0, atol=10 * np.sqrt(m) * tolerance)

    def test_radial_profile(self) -> None:
        """The profile of a radial kernel is 1 at 0, and that of its matrix."""
        if not isinstance(self.kernel, Radial):
            return
        assert_allclose(self.kernel.value_at(0.0), 1.0, rtol=1e-15)
        if is_isotropic(self.kernel):
            X, Z = self.points(9), self.points(8, 1)
            r = np.sqrt(((X[:, None] - Z[None]) ** 2).sum(axis=2))
            assert_allclose(self.kernel(X, Z), self.kernel.value_at(r), rtol=0, atol=1e-13)

    def test_radial_curvature(self) -> None:
        """The curvature of a radial kernel bounds how fast it falls from 1."""
        if isinstance(self.kernel, Radial) and is_isotropic(self.kernel):
            r = np.geomspace(1e-3, 1e2, 200) * self.kernel.profile.length_scale
            fall = 2 * (1 - self.kernel.value_at(r))
            assert (fall <= self.kernel.curvature * r**2 + 1e-15).all()

    def test_symmetry_and_diagonal(self) -> None:
        """The matrix of one set of points is symmetric, and `diag` is its diagonal."""
        for dtype in _PRECISIONS:
            for n in (1, 15, 97, 200):
                X = self.points(n).astype(dtype)
                matrix = self.kernel(X)
                if self.is_symmetric_in_bits:
                    assert_array_equal(matrix, matrix.T)
                tolerance = 50 * float(np.finfo(dtype).eps) * float(np.abs(matrix).max())
                assert_allclose(matrix, matrix.T, rtol=0, atol=tolerance)
                assert_allclose(matrix, self.kernel(X, X.copy()), rtol=0, atol=tolerance)
                assert_allclose(self.kernel.diag(X), np.diag(matrix), rtol=0, atol=tolerance)

    def test_positive_semi_definiteness(self) -> None:
        """No eigenvalue is negative by more than a rounding error."""
        values = np.linalg.eigvalsh(self.kernel(self.points(60)))
        assert values.min() > -1e-12 * values.max()

    def test_single_and_double_precision_agree(self) -> None:
        """The matrix in float32 is that in float64, rounded."""
        X = self.points(40).astype(np.float32)
        double = self.kernel(X.astype(np.float64))
        scale = float(np.abs(double).max())
        assert_allclose(self.kernel(X), double, rtol=0, atol=1e-5 * scale)

    def test_no_rows(self) -> None:
        """Empty sets of points have empty matrices."""
        X, nothing = self.points(3), np.empty((0, self.n_columns))
        assert self.kernel(nothing, X).shape == (0, 3)
        assert self.kernel(X, nothing).shape == (3, 0)
        assert self.kernel.diag(nothing).shape == (0,)
        assert_array_equal(self.kernel.apply(X, nothing, np.empty((0, 2))), np.zeros((3, 2)))

    def test_out(self) -> None:
        """A given array receives the matrix."""
        X, out = self.points(9), np.empty((9, 9))
        assert self.kernel(X, out=out) is out
        assert_array_equal(out, self.kernel(X))

    # ---- derivatives --------------------------------------------------------------------------

    def _symmetric(self, n: int) -> Doubles:
        G = np.random.default_rng(2).normal(size=(n, n))
        return np.asarray(G + G.T)

    def test_derivatives(self) -> None:
        """Derivatives by theta and by the points are those of finite differences."""
        X, G = self.points(21), self._symmetric(21)
        theta_gradient, X_gradient = self.kernel.contract(X, G, points=True)

        def loss(theta: Doubles, points: Doubles) -> float:
            moved = self.kernel.clone_with_theta(theta)
            return float(np.vdot(G, self.slow_matrix(moved, points, points)))

        scale = float(np.abs(G).sum() * np.abs(self.kernel(X)).max())
        expected = differences(lambda theta: loss(theta, X), self.kernel.theta)
        assert_allclose(theta_gradient, expected, rtol=1e-8, atol=1e-9 * scale)
        expected = differences(lambda points: loss(self.kernel.theta, points), X)
        assert X_gradient is not None
        assert_allclose(X_gradient, expected, rtol=1e-7, atol=1e-9 * scale)
        # Without the points only half of the tiles is computed.
        alone, nothing = self.kernel.contract(X, G)
        assert nothing is None
        assert_allclose(alone, theta_gradient, rtol=1e-11, atol=1e-13 * scale)

    def test_derivatives_at_duplicates_are_finite(self) -> None:
        """Derivatives at points that coincide are finite."""
        X = np.repeat(self.points(5), 2, axis=0)
        theta_gradient, X_gradient = self.kernel.contract(X, np.ones((10, 10)), points=True)
        assert X_gradient is not None
        assert np.isfinite(theta_gradient).all()
        assert np.isfinite(X_gradient).all()

    def test_only_the_symmetric_part_of_a_derivative_counts(self) -> None:
        """G and its transpose have the same contraction."""
        X = self.points(8)
        G = np.random.default_rng(3).normal(size=(8, 8))
        for one, two in zip(
            self.kernel.contract(X, G, points=True),
            self.kernel.contract(X, G.T, points=True),
            strict=True,
        ):
            assert one is not None
            assert two is not None
            assert_array_equal(one, two)

    # ---- threads ------------------------------------------------------------------------------

    def test_threads_do_not_change_a_bit(self) -> None:
        """Results on one, two and three threads are the same."""
        X, G = self.points(150), self._symmetric(150)
        results = [
            (
                self.kernel(X, n_threads=n),
                self.kernel.apply(X, X[:40], G[:40, :2], n_threads=n),
                self.kernel.interpolate(X, X[:40].copy(), G[:40, :2].copy(), n_threads=n),
                *self.kernel.contract(X, G, points=True, n_threads=n),
            )
            for n in (1, 2, 3)
        ]
        for others in results[1:]:
            for one, other in zip(results[0], others, strict=True):
                assert one is not None
                assert other is not None
                assert_array_equal(one, other)

    # ---- the value ----------------------------------------------------------------------------

    def test_theta(self) -> None:
        """Theta has a name and bounds for each entry, and other values give another kernel."""
        theta, bounds = self.kernel.theta, self.kernel.bounds
        assert theta.dtype == np.float64
        assert bounds.shape == (len(theta), 2)
        assert len(set(self.kernel.parameter_names)) == len(theta)
        assert ((bounds[:, 0] <= theta) & (theta <= bounds[:, 1])).all()
        moved = self.kernel.clone_with_theta(np.clip(theta + 0.1, bounds[:, 0], bounds[:, 1]))
        assert type(moved) is type(self.kernel)
        assert moved.parameter_names == self.kernel.parameter_names
        back = moved.clone_with_theta(theta)
        assert_allclose(back.theta, theta, rtol=1e-14, atol=1e-14)
        X = self.points(5)
        assert_allclose(back(X), self.kernel(X), rtol=1e-12)

    def test_parameters_by_name(self) -> None:
        """A copy with the same arguments is the same kernel."""
        arguments = self.kernel.get_params(deep=False)
        assert self.kernel.with_params(**arguments) == self.kernel
        assert type(self.kernel)(**arguments) == self.kernel
        assert arguments.keys() <= self.kernel.get_params().keys()

    def test_plain_data(self) -> None:
        """A kernel survives JSON, if it can be stored."""
        if not self.is_data:
            try:
                self.kernel.to_dict()
            except TypeError:
                return
            raise AssertionError("to_dict must raise TypeError for a kernel that is no data")
        twin = from_dict(json.loads(json.dumps(self.kernel.to_dict())))
        assert type(twin) is type(self.kernel)
        assert twin == self.kernel
        assert hash(twin) == hash(self.kernel)

    def test_pickling(self) -> None:
        """A kernel survives pickling."""
        assert pickle.loads(pickle.dumps(self.kernel)) == self.kernel

    def test_kernels_cannot_be_changed(self) -> None:
        """Attributes cannot be set."""
        for name in self.kernel.get_params(deep=False):
            try:
                setattr(self.kernel, name, 1.0)
            except AttributeError:
                continue
            raise AssertionError(f"{name} can be set")

    def test_composites(self) -> None:
        """Sums, products and multiples are those of the matrices."""
        X, Z = self.points(12), self.points(9, 1)
        K = self.kernel(X, Z)
        scale = float(np.abs(K).max())
        composite = 2.0 * self.kernel + self.kernel * self.kernel + 0.5
        assert_allclose(
            composite(X, Z), 2.0 * K + K * K + 0.5, rtol=1e-12, atol=1e-13 * (scale + scale**2)
        )
        assert composite == 2.0 * self.kernel + self.kernel * self.kernel + 0.5
