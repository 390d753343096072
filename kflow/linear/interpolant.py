"""Optimal-recovery interpolants: predictions of a kernel from a few points."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_nugget, common_dtype, shown
from kflow._base.array_types import FloatArray
from kflow._base.parameter_names import NamedParameters
from kflow._base.short_repr import ShortRepr
from kflow._base.warn import warn_user
from kflow.data.arrays import as_matrix, as_weights
from kflow.data.chunks import empty_rows
from kflow.engine import engine_on
from kflow.engine.interface import Engine, NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import PrecisionWarning
from kflow.kernels import Kernel, check_isotropic, check_kernel
from kflow.linear.factor import singular_error

__all__ = ["Interpolant", "balanced_subset"]

# Rounding errors that are worth a warning, as a part of the values.
_FEW_DIGITS = 1e-3


def balanced_subset(
    labels: npt.NDArray[Any], n_points: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Draw rows at random, equally many of each class.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        The class of each point.
    n_points : int
        Number of rows to draw. If the number of classes does not divide it, some classes, chosen at
        random, have one row more.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of int, shape (n_points,)

    Raises
    ------
    ValueError
        If a class has too few rows, or there are more classes than points.
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if n_points < len(classes):
        raise ValueError(
            f"n_points={n_points} is less than one point for each of {len(classes)} classes"
        )
    share, extra = divmod(n_points, len(classes))
    wanted = np.full(len(classes), share)
    wanted[rng.permutation(len(classes))[:extra]] += 1
    short = np.flatnonzero(counts < wanted)
    if len(short):
        worst = short[0]
        raise ValueError(
            f"class {shown(classes[worst])} has {counts[worst]} points where n_points={n_points} needs "
            f"{wanted[worst]} of each class: pass at most {counts.min() * len(classes)}"
        )
    rows = [
        rng.choice(np.flatnonzero(codes == code), wanted[code], replace=False)
        for code in range(len(classes))
    ]
    return np.concatenate(rows).astype(np.intp)


class Interpolant(NamedParameters, ShortRepr):
    r"""The function through given values that a kernel makes of given points.

    .. math:: u(x) = K(x, Z)\, (K(Z, Z) + \lambda I)^{-1}\, Y

    The `nugget` is :math:`\lambda`; with weights, :math:`\lambda W^{-1}` replaces :math:`\lambda I`.

    Parameters
    ----------
    Z : array_like, shape (m, d)
        Interpolation points, usually rows of a flow's `points_`.
    Y : array_like, shape (m,) or (m, q)
        The values at these points, one row for each.
    kernel : kflow.kernels.Kernel
        The kernel K.
    nugget : float
        Added to the diagonal; not negative.
    sample_weight : array_like, shape (m,), optional
        Positive weights of the points, 1 by default: the nugget of a point is divided by its weight,
        so that a point of weight 2 counts as two points.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`.
    device : str, optional
        A device as PyTorch names it, such as "cuda", "cuda:1" or "cpu", which computes the kernel
        matrices, the coefficients and the predictions. None: the compiled core.

    Attributes
    ----------
    centres : ndarray, shape (m, d)
        The points Z at which values are given.
    sample_weight : ndarray of float64, shape (m,), or None
        The weights of the points, or None.
    coefficients : ndarray, shape (m, q)
        :math:`(K(Z, Z) + \lambda W^{-1})^{-1}\, Y` with the weights W, in the dtype of Z.

    Raises
    ------
    ImportError
        If PyTorch cannot use the device here.
    SingularKernelError
        If the matrix is numerically singular.
    StorageError
        If the device has too little memory for the matrix of the points and its factor.

    Warns
    -----
    PrecisionWarning
        If predictions have rounding errors of more than about a thousandth of Y, as float32 has with a
        small nugget.

    Notes
    -----
    It takes m^3 / 3 flops in float64, and 2 n m (d + q) for n predictions. A device takes 16 m^2 bytes
    for the matrix, and the points that are predicted some thousand at a time. What it gives differs
    from the compiled core's by rounding errors: see the page on graphics processors.
    """

    def __init__(
        self,
        Z: npt.ArrayLike,
        Y: npt.ArrayLike,
        *,
        kernel: Kernel,
        nugget: float,
        sample_weight: npt.ArrayLike | None = None,
        n_threads: int | None = None,
        device: str | None = None,
    ) -> None:
        self.kernel = check_kernel(kernel)
        self.nugget = as_nugget(nugget)
        self.n_threads = n_threads
        self.device = device
        engine = engine_on(device)
        dtype = common_dtype(Z)
        # A copy, so that a later change of Z does not change the interpolant.
        self.centres = as_matrix(Z, "Z", dtype=dtype, allow_no_rows=False, are_points=True).copy()
        values = as_matrix(Y, "Y", dtype=np.float64, n_rows=len(self.centres), column_if_1d=True)
        points = self.centres.astype(np.float64)
        weights = as_weights(sample_weight, len(points))
        self.sample_weight = None if weights is None else weights.copy()
        matrix = np.empty((len(points), len(points)))
        self.kernel.evaluate(points, points, matrix, resolve_n_threads(n_threads), engine)
        matrix.flat[:: len(matrix) + 1] += self.nugget if weights is None else self.nugget / weights
        try:
            solved = engine.solve(matrix, values)
        except NotPositiveDefinite:
            raise singular_error(len(points), "interpolation points", self.nugget) from None
        self.coefficients = np.ascontiguousarray(solved, dtype=dtype)
        self._warn_of_rounding(values)

    def _warn_of_rounding(self, values: FloatArray) -> None:
        """Warn where large coefficients of opposite signs leave few digits of the predictions."""
        epsilon = np.finfo(self.coefficients.dtype).eps
        errors = epsilon * np.linalg.norm(self.coefficients.astype(np.float64), axis=0)
        sizes = np.abs(values).max(axis=0)
        if (errors > _FEW_DIGITS * sizes).any():
            worst = float((errors / np.maximum(sizes, np.finfo(float).tiny)).max())
            warn_user(
                f"predictions have rounding errors of about {worst:.0e} of Y in "
                f"{self.coefficients.dtype}: pass a larger nugget, or Z as float64",
                PrecisionWarning,
            )

    @classmethod
    def from_coefficients(
        cls,
        centres: FloatArray,
        coefficients: FloatArray,
        *,
        kernel: Kernel,
        nugget: float,
        sample_weight: npt.ArrayLike | None = None,
        n_threads: int | None = None,
        device: str | None = None,
    ) -> Interpolant:
        """Return the interpolant K(x, centres) coefficients, from known coefficients."""
        self = cls.__new__(cls)
        self.kernel = check_kernel(kernel)
        self.nugget = as_nugget(nugget)
        self.n_threads = n_threads
        self.device = device
        engine_on(device)  # an error where it cannot be used
        dtype = common_dtype(centres)
        self.centres = as_matrix(centres, "centres", dtype=dtype, allow_no_rows=False).copy()
        self.coefficients = as_matrix(
            coefficients, "coefficients", dtype=dtype, n_rows=len(self.centres)
        ).copy()
        weights = as_weights(sample_weight, len(self.centres))
        self.sample_weight = None if weights is None else weights.copy()
        return self

    def facts(self) -> dict[str, Any]:
        """Return what `repr` shows: the kernel, the nugget and the sizes."""
        (m, d), q = self.centres.shape, self.coefficients.shape[1]
        sizes = {"n_points": m, "n_features": d, "n_outputs": q, "dtype": self.centres.dtype.name}
        return {"kernel": self.kernel, "nugget": self.nugget, **sizes}

    def targets(self) -> FloatArray:
        """Return the values Y that it was made of, (m, q), up to rounding errors."""
        nuggets = self.nugget if self.sample_weight is None else self.nugget / self.sample_weight
        return np.asarray(self(self.centres) + (nuggets * self.coefficients.T).T)

    def __call__(self, X: npt.ArrayLike) -> FloatArray:
        """Return u(X), shape (n, q), in the dtype of Z."""
        dtype = self.centres.dtype
        x = as_matrix(X, "X", dtype=dtype, n_columns=self.centres.shape[1], are_points=True)
        engine = engine_on(self.device)
        return self.kernel.interpolate(
            x, self.centres, self.coefficients, n_threads=self.n_threads, engine=engine
        )

    def by_engine(self, X: FloatArray, engine: Engine) -> FloatArray:
        """Return u(X), shape (n, q), computed by an engine, in the memory in which X is.

        Parameters
        ----------
        X : ndarray or DeviceArray, shape (n, d)
            Finite points.
        engine : Engine
            The engine. The kernel must be a function of the distance alone.
        """
        dtype = self.centres.dtype
        x = as_matrix(X, "X", dtype=dtype, n_columns=self.centres.shape[1], are_points=True)
        profile = check_isotropic(self.kernel).profile
        out = empty_rows(x, self.coefficients.shape[1], dtype)
        threads = resolve_n_threads(self.n_threads)
        engine.apply(x, self.centres, self.coefficients, profile, 1.0, None, out, threads)
        return out

    def pull_back(self, X: npt.ArrayLike, A: npt.ArrayLike) -> FloatArray:
        """Return the gradients of a_i . u(x_i) with respect to x_i.

        Parameters
        ----------
        X : array_like, shape (n, d)
            The points, one in each row.
        A : array_like, shape (n, q)
            Factors of the values at each point, such as 1 for one class and -1 for another.

        Returns
        -------
        ndarray, shape (n, d)
            sum_j 2 k'(|x_i - z_j|^2) (a_i . c_j) (x_i - z_j), in the dtype of Z.

        Raises
        ------
        TypeError, ValueError
            For arguments of the wrong kind or shape, and for kernels that are not functions of the
            distance alone.

        Notes
        -----
        2 n m (2 d + q) flops.
        """
        radial = check_isotropic(self.kernel)
        dtype = self.centres.dtype
        x = as_matrix(X, "X", dtype=dtype, n_columns=self.centres.shape[1], are_points=True)
        a = as_matrix(A, "A", dtype=dtype, n_rows=len(x), n_columns=self.coefficients.shape[1])
        out = np.empty_like(x)
        threads = resolve_n_threads(self.n_threads)
        engine = engine_on(self.device)
        engine.pull_back(x, self.centres, self.coefficients, radial.profile, a, out, threads)
        return out
