"""What the tests of engines share: how results are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow import kernels
from kflow.engine.interface import Engine

__all__ = ["DTYPES", "RADIAL", "EngineTestsBase", "raises", "same_bits"]

DTYPES: tuple[np.dtype[np.floating[Any]], ...] = (np.dtype(np.float32), np.dtype(np.float64))
RADIAL: tuple[kernels.Radial, ...] = (
    kernels.Gaussian(1.3),
    kernels.Laplacian(1.1),
    kernels.Matern32(1.7),
    kernels.Matern52(2.1),
    kernels.RationalQuadratic(1.2, alpha=0.7),
    kernels.InverseMultiquadric(1.4),
    kernels.Cauchy(1.6),
    kernels.Wendland(2.5, dimension=9),
)


def same_bits(first: Sequence[npt.ArrayLike], second: Sequence[npt.ArrayLike]) -> None:
    """Assert that two sequences of arrays are the same, also in their dtypes."""
    for a, b in zip(first, second, strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def raises(error: type[Exception], call: Callable[[], object]) -> Exception:
    """Return the error of this type that a call raises."""
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


class EngineTestsBase:
    """The engine under test, and how its results are compared."""

    engine: Engine
    tolerance: ClassVar[float] = 1000.0

    def close(
        self, got: npt.ArrayLike, expected: npt.ArrayLike, kernel: kernels.Kernel | None = None
    ) -> None:
        """Assert that a result is as expected, to within ``tolerance``.

        With a kernel that is not smooth where points coincide, the errors of distances count more.
        """
        values, reference = np.asarray(got), np.asarray(expected, np.float64)
        epsilon = float(np.finfo(values.dtype).eps)
        if isinstance(kernel, kernels.Laplacian):
            epsilon **= 0.8
        most = self.tolerance * epsilon * max(1.0, float(np.abs(reference).max(initial=0.0)))
        np.testing.assert_allclose(values, reference, rtol=0, atol=most, err_msg=repr(kernel))

    def on_one_and_two_threads(self, compute: Callable[[int], Sequence[Any]]) -> Sequence[Any]:
        """Return what a function computes on one thread; on two, it must be the same."""
        one = compute(1)
        same_bits(one, compute(2))
        return one
