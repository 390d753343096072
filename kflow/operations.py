"""Operations on NumPy arrays: kernel matrices, the loss rho with its gradient, and moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow import losses
from kflow._base.arguments import as_nugget, as_number, common_dtype
from kflow._base.array_types import FloatArray
from kflow.data.arrays import as_matrix, check_out, refuse_masked
from kflow.engine import HOST
from kflow.engine.interface import NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import SingularKernelError
from kflow.kernels import Kernel, check_isotropic, check_kernel, is_isotropic

__all__ = ["gram", "move", "one_hot", "rho", "rho_gradient", "singular_kernel_error"]


def singular_kernel_error(
    error: Exception, nugget: float, rows: npt.NDArray[np.intp]
) -> SingularKernelError:
    """Return the error for a failed factorisation; `rows` are the rows of X that the engine got."""
    first, second = error.args
    if first >= 0:
        pair = sorted((int(rows[first]), int(rows[second])))
        reason = f"rows {pair[0]} and {pair[1]} of X coincide"
        remedy = "remove duplicates, or pass a larger nugget"
    else:
        reason = "its points are too close together for the kernel's length scale"
        remedy = "pass a larger nugget or a kernel with a shorter length scale"
    return SingularKernelError(
        f"the kernel matrix of {len(rows)} points with nugget={nugget:g} is numerically singular: "
        f"{reason}; {remedy}"
    )


def one_hot(labels: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> FloatArray:
    """Encode class labels as targets of a flow.

    Parameters
    ----------
    labels : array_like, shape (N,)
        Labels of any sortable kind.
    dtype : dtype
        The dtype of the result.

    Returns
    -------
    ndarray, shape (N, n_classes)
        Each row is 1 in the column of its class and 0 elsewhere. Columns are in sorted order of the
        classes.
    """
    refuse_masked(labels, "labels")
    array = np.asarray(labels)
    if array.ndim != 1:
        raise ValueError(f"labels must have one dimension, got shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("labels contain NaN or infinity: remove those rows")
    classes, codes = np.unique(array, return_inverse=True)
    return np.eye(len(classes), dtype=dtype)[codes]


def gram(
    X: npt.ArrayLike,
    Z: npt.ArrayLike | None = None,
    *,
    kernel: Kernel,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """Return the kernel matrix K(X, Z).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points. float32 and float64 are used as they are; anything else becomes float64.
    Z : array_like, shape (m, d), optional
        Other points; X itself if not given.
    kernel : kflow.kernels.Kernel
        The kernel K.
    out : ndarray, shape (n, m), optional
        C-contiguous array of the result's dtype that receives the result.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    ndarray, shape (n, m)
        float32 if X and Z both are, else float64.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or dtype, naming them.

    Notes
    -----
    The cost is 2 n m d flops and n m evaluations of the profile.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> kflow.gram(np.array([[0.0], [1.0]]), kernel=kflow.kernels.Gaussian(1.0)).round(4)
    array([[1.    , 0.6065],
           [0.6065, 1.    ]])
    """
    return check_kernel(kernel)(X, Z, out=out, n_threads=n_threads)


def _coarse_first(coarse: npt.ArrayLike, n: int) -> tuple[npt.NDArray[np.intp], int]:
    """Return all row numbers, those of `coarse` (rows or a mask) first, and how many are coarse."""
    index = np.asarray(coarse)
    if index.dtype == bool and index.shape == (n,):
        index = np.flatnonzero(index)
    if index.ndim != 1 or index.dtype.kind not in "iu":
        raise TypeError("coarse must hold row numbers of X, or be a boolean mask with one per row")
    if len(index) == 0 or len(index) >= n:
        raise ValueError(f"coarse must name at least 1 and fewer than all {n} rows of X")
    if index.min() < 0 or index.max() >= n:
        raise ValueError(f"coarse names a row outside 0..{n - 1}")
    rest = np.ones(n, bool)
    rest[index] = False
    if n - rest.sum() != len(index):
        raise ValueError("coarse names a row twice")
    return np.concatenate([index, np.flatnonzero(rest)]).astype(np.intp), len(index)


def _rho(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    coarse: npt.ArrayLike,
    kernel: Kernel,
    nugget: float,
    want_gradient: bool,
    n_threads: int | None,
) -> tuple[float, FloatArray | None]:
    check_kernel(kernel)
    value = as_nugget(nugget)
    x = as_matrix(X, "X", dtype=np.float64, allow_no_rows=False, are_points=True)
    kernel.check_dimension(x.shape[1])
    y = as_matrix(Y, "Y", dtype=np.float64, n_rows=len(x), column_if_1d=True)
    order, n_coarse = _coarse_first(coarse, len(x))
    threads = resolve_n_threads(n_threads)
    if not is_isotropic(kernel):
        K = gram(x, kernel=kernel, n_threads=threads)
        if not HOST.all_finite(K, threads):
            raise ValueError(
                f"kernel: {kernel!r} is not finite on X: pass a larger length scale, or scale X"
            )
        K.flat[:: len(K) + 1] += value
        loss, G = losses.rho(K, y, order[:n_coarse], gradient=want_gradient, n_threads=threads)
        return loss, None if G is None else kernel.contract(x, G, points=True)[1]
    gradient = np.empty_like(x) if want_gradient else None
    try:
        loss = HOST.rho(x, y, order, n_coarse, kernel.profile, value, gradient, threads)
    except NotPositiveDefinite as error:
        raise singular_kernel_error(error, value, order) from None
    return loss, gradient


def rho(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    coarse: npt.ArrayLike,
    *,
    kernel: Kernel,
    nugget: float,
    n_threads: int | None = None,
) -> float:
    r"""Return the loss of a kernel when only the coarse points are interpolated instead of all.

    With :math:`A = K(X, X) + \lambda I`, the `nugget` :math:`\lambda` and the coarse rows c,

    .. math:: \rho = 1 - \frac{\operatorname{tr}(Y_c^\top A_{cc}^{-1} Y_c)}{\operatorname{tr}(Y^\top A^{-1} Y)},

    which is the squared RKHS distance between the two interpolants, divided by the squared norm of
    the interpolant of all points.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points. The computation is in float64.
    Y : array_like, shape (n, m) or (n,)
        Targets; one-hot rows for classes (`kflow.one_hot`).
    coarse : array_like of int, or of bool with shape (n,)
        The rows of the coarse subset: at least one, but not all.
    kernel : kflow.kernels.Kernel
        The kernel K.
    nugget : float
        Added to the diagonal of both kernel matrices; not negative.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    float
        In [0, 1]; 0 if all targets are 0.

    Raises
    ------
    SingularKernelError
        If A is numerically singular, for instance because X has duplicate rows and `nugget` is 0.
    TypeError, ValueError
        For arguments of the wrong kind, shape or dtype, naming them.

    Notes
    -----
    The cost is that of one Cholesky factorisation: n^3 / 3 + n^2 (d + m) flops.

    References
    ----------
    H. Owhadi and G. R. Yoo, Kernel Flows: from learning kernels from data into the abyss,
    J. Comp. Phys. 389 (2019), 22-47.
    """
    return _rho(X, Y, coarse, kernel, nugget, False, n_threads)[0]


def rho_gradient(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    coarse: npt.ArrayLike,
    *,
    kernel: Kernel,
    nugget: float,
    n_threads: int | None = None,
) -> tuple[float, FloatArray]:
    r"""Return the loss `rho` and its gradient with respect to the points.

    Parameters
    ----------
    X, Y, coarse, kernel, nugget, n_threads
        As for `rho`.

    Returns
    -------
    rho : float
        The loss rho of these points.
    gradient : ndarray, shape (n, d)
        d rho / d X in float64: the gradient itself, not the descent direction.

    Raises
    ------
    SingularKernelError, TypeError, ValueError
        As for `rho`.

    Notes
    -----
    With :math:`D = \operatorname{tr}(Y^\top A^{-1} Y)`, :math:`\hat y = A^{-1} Y`, and
    :math:`\hat z = A_{cc}^{-1} Y_c` on the coarse rows and zero elsewhere,

    .. math:: \mathrm d\rho = -\frac1D \sum_{ij} \left( (1 - \rho)\, \hat y \hat y^\top
        - \hat z \hat z^\top \right)_{ij} \mathrm dK_{ij}.

    This takes 2 n^2 (d + 2 m) flops more than `rho`.
    """
    loss, gradient = _rho(X, Y, coarse, kernel, nugget, True, n_threads)
    assert gradient is not None
    return loss, gradient


def move(
    X: npt.ArrayLike,
    Z: npt.ArrayLike,
    C: npt.ArrayLike,
    *,
    kernel: Kernel,
    step: float = 1.0,
    out: FloatArray | None = None,
    n_threads: int | None = None,
) -> FloatArray:
    """Move points by kernel interpolation: X + step K(X, Z) C.

    Parameters
    ----------
    X : array_like, shape (n, d)
        Points to move. float32 and float64 are used as they are; anything else becomes float64.
    Z : array_like, shape (m, d)
        The centres, one in each row.
    C : array_like, shape (m, d)
        The coefficients of the centres, one row for each.
    kernel : kflow.kernels.Kernel
        The kernel K.
    step : float
        Factor of the displacements.
    out : ndarray, shape (n, d), optional
        C-contiguous array of the result's dtype that receives the result. `out=X` moves in place.
    n_threads : int, optional
        Threads; see `kflow.get_num_threads`. The result does not depend on it.

    Returns
    -------
    ndarray, shape (n, d)
        float32 if X, Z and C all are, else float64.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, shape or dtype, naming them.

    Notes
    -----
    The cost is 4 n m d flops and n m evaluations of the profile. K(X, Z) is computed tile by tile
    and is never in memory as a whole.
    """
    radial = check_isotropic(kernel)
    threads = resolve_n_threads(n_threads)
    dtype = common_dtype(X, Z, C)
    x = as_matrix(X, "X", dtype=dtype, n_threads=threads, are_points=True)
    radial.check_dimension(x.shape[1])
    z = as_matrix(Z, "Z", dtype=dtype, n_columns=x.shape[1], are_points=True)
    c = as_matrix(C, "C", dtype=dtype, n_columns=x.shape[1], n_rows=z.shape[0])
    factor = as_number(step, "step")
    result = np.empty_like(x) if out is None else check_out(out, x.shape, dtype)
    if np.may_share_memory(result, c):
        c = c.copy()
    if np.may_share_memory(result, z):
        z = z.copy()
    same = result.ctypes.data == x.ctypes.data
    if not same and np.may_share_memory(result, x):
        raise ValueError("out overlaps X without being X: pass out=X or a separate array")
    HOST.apply(x, z, c, radial.profile, factor, x, result, threads)
    return result
