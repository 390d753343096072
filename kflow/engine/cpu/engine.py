"""The engine of compiled C++ on the processor: a thin layer over the extension module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import Doubles, FloatArray, Rows
from kflow.engine.cholesky import lower_factor, smallest_pivot, solve_factored
from kflow.engine.cpu import _core
from kflow.engine.cpu.convert import (
    are_extreme,
    core_errors,
    core_expression,
    core_profile,
    is_extreme,
)
from kflow.engine.cpu.means import CpuMeans
from kflow.engine.cpu.moving_points import CpuBatchRunner, CpuMovingPoints
from kflow.engine.cpu.scattering import CpuScattering
from kflow.engine.cpu.variance import CpuVariance
from kflow.engine.interface import (
    Engine,
    Layer,
    MeansParts,
    NotPositiveDefinite,
    Profile,
    ScatteringFilters,
    Term,
    VarianceParts,
)

__all__ = ["CpuEngine"]

_LOSSES: dict[str, Callable[..., float]] = {
    "rho": _core.loss_rho,
    "e2": _core.loss_e2,
    "lyapunov": _core.loss_lyapunov,
    "kfold": _core.loss_kfold,
    "nlml": _core.loss_nlml,
    "mmd": _core.loss_mmd,
}


def _double(array: FloatArray) -> FloatArray:
    return array.astype(np.float64)


def in_double(action: Callable[..., None], *arrays: FloatArray) -> None:
    """Call an action with arrays of float64, and write what it left in the last one back.

    For length scales whose squares are no numbers of float32.
    """
    # What the last array holds before is not read: it may be no numbers at all.
    given, out = map(_double, arrays[:-1]), np.empty(arrays[-1].shape)
    action(*given, out)
    with np.errstate(over="ignore"):
        arrays[-1][...] = out


class CpuEngine(Engine):
    """Threads, vector instructions and float64 for the algebra of batches; see `Engine`."""

    name: ClassVar[str] = "cpu"

    @property
    def build(self) -> str:
        """The SIMD level, on which the last digits of results depend."""
        return _core.simd_level()

    def lease(self) -> AbstractContextManager[None]:
        """Keep the team of threads between calls."""
        return _core.TeamLease()

    def all_finite(self, X: npt.NDArray[Any], n_threads: int, largest: float | None = None) -> bool:
        """Return whether there is no NaN, no infinity and nothing larger."""
        factor = 1.0 if largest is None else float(np.finfo(X.dtype).max) / largest
        return _core.all_finite(X, factor, n_threads)

    # ---- flows --------------------------------------------------------------------------------

    def moving_points(
        self, sets: Sequence[FloatArray], n_fixed: int, profile: Profile, n_layers: int
    ) -> CpuMovingPoints:
        """Return the points of a flow: the very arrays, which will be changed."""
        return CpuMovingPoints(sets, n_fixed, profile, n_layers)

    def batch_runner(self, n_fixed: int, profile: Profile) -> CpuBatchRunner:
        """Return what runs layers on their batches alone."""
        return CpuBatchRunner(n_fixed, profile)

    def replay(
        self, points: FloatArray, layers: Sequence[Layer], profile: Profile, n_threads: int
    ) -> None:
        """Move points through layers, in place."""
        _core.replay(points, layers, core_profile(profile, points.dtype), n_threads)

    def push_layer_forward(
        self, points: FloatArray, layer: Layer, profile: Profile, T: FloatArray, n_threads: int
    ) -> None:
        """Multiply directions by a layer's derivative, in place."""
        z, c, _ = layer
        _core.push_layer_forward(points, z, c, core_profile(profile, points.dtype), T, n_threads)

    def pull_layer_back(
        self, points: FloatArray, layer: Layer, profile: Profile, A: FloatArray, n_threads: int
    ) -> None:
        """Multiply covectors by a layer's transposed derivative, in place."""
        z, c, _ = layer
        _core.pull_layer_back(points, z, c, core_profile(profile, points.dtype), A, n_threads)

    # ---- kernel matrices ----------------------------------------------------------------------

    def gram(
        self, X: FloatArray, Z: FloatArray, profile: Profile, out: FloatArray, n_threads: int
    ) -> None:
        """Write K(X, Z) to `out`."""
        if is_extreme(profile, X.dtype):
            in_double(lambda x, z, o: self.gram(x, z, profile, o, n_threads), X, Z, out)
            return
        _core.gram(X, Z, core_profile(profile, X.dtype), out, n_threads)

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
        """Write base + step K(X, Z) C to `out`, in tiles: K(X, Z) never exists as a whole."""
        if is_extreme(profile, X.dtype):
            first = None if base is None else base.astype(np.float64)
            in_double(
                lambda x, z, c, o: self.apply(x, z, c, profile, step, first, o, n_threads),
                *(X, Z, C, out),
            )
            return
        _core.apply(X, Z, C, core_profile(profile, X.dtype), step, base, out, n_threads)

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
        if is_extreme(profile, X.dtype):
            in_double(
                lambda x, z, c, a, o: self.pull_back(x, z, c, profile, a, o, n_threads),
                *(X, Z, C, A, out),
            )
            return
        _core.pull_back(X, Z, C, core_profile(profile, X.dtype), A, out, n_threads)

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
            x, z, k = (list(map(_double, arrays)) for arrays in (X, Z, given))
            in_double(lambda o: self.evaluate(terms, x, z, k, o, n_threads), out)
            return
        _core.evaluate(core_expression(terms, out.dtype), X, Z, given, out, n_threads)

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
            x, z, k = (list(map(_double, arrays)) for arrays in (X, Z, given))
            in_double(lambda c, o: self.apply_terms(terms, x, z, k, c, o, n_threads), C, out)
            return
        _core.apply_expression(core_expression(terms, out.dtype), X, Z, given, C, out, n_threads)

    def contract(
        self,
        terms: Sequence[Term],
        X: Sequence[FloatArray],
        given: Sequence[FloatArray],
        G: FloatArray,
        features: Sequence[FloatArray | None],
        given_gradients: Sequence[FloatArray],
        n_threads: int,
    ) -> tuple[Doubles, Doubles, Doubles]:
        """Return sum_ij G_ij dK_ij for all that K depends on."""
        expression = core_expression(terms, G.dtype)
        return _core.contract(expression, X, given, G, features, given_gradients, n_threads)

    def product(self, X: FloatArray, A: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write X A to `out`."""
        _core.product(X, A, out, n_threads)

    def solve(self, A: Doubles, Y: FloatArray) -> Doubles:
        """Return A^-1 Y by LAPACK, on one thread."""
        factor = lower_factor(A, smallest_pivot(len(A), A.diagonal()))
        if factor is None:
            raise NotPositiveDefinite(-1, -1)
        return solve_factored(factor, Y)

    def posterior_means(self, parts: MeansParts) -> CpuMeans:
        """Return posterior means."""
        return CpuMeans(parts)

    def posterior_variance(self, parts: VarianceParts) -> CpuVariance:
        """Return a posterior variance."""
        return CpuVariance(parts)

    def scattering(self, filters: ScatteringFilters) -> CpuScattering:
        """Return a scattering transform."""
        return CpuScattering(filters)

    # ---- losses -------------------------------------------------------------------------------

    def rho(
        self,
        X: FloatArray,
        Y: FloatArray,
        order: Rows,
        n_coarse: int,
        profile: Profile,
        nugget: float,
        gradient: FloatArray | None,
        n_threads: int,
    ) -> float:
        """Return rho of points, and its gradient by them."""
        of_core = core_profile(profile, X.dtype)
        with core_errors:
            return _core.rho(X, Y, order, n_coarse, of_core, nugget, gradient, n_threads)

    def loss(
        self,
        name: str,
        K: FloatArray,
        arguments: Sequence[npt.NDArray[Any] | None],
        gradient: FloatArray | None,
        n_threads: int,
    ) -> float:
        """Return a loss of a kernel matrix, and its gradient by that."""
        with core_errors:
            return _LOSSES[name](K, *arguments, gradient, n_threads)

    def leave_one_out(
        self,
        K: FloatArray,
        Y: FloatArray,
        residuals: FloatArray,
        variances: FloatArray,
        n_threads: int,
    ) -> None:
        """Write residuals and variances of leaving each point out."""
        with core_errors:
            _core.leave_one_out(K, Y, residuals, variances, n_threads)
