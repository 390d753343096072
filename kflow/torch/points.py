"""The losses of `kflow.torch.losses` as functions of points, such as a layer's features of a batch."""

from __future__ import annotations

from typing import Any

import torch

from kflow._base.arguments import as_nugget
from kflow.torch import losses
from kflow.torch.arguments import as_float64, in_dtype_of
from kflow.torch.kernels import KernelLike, matrix_of

__all__ = ["e2", "evaluate", "kfold", "loo", "lyapunov", "mmd", "nlml", "rho"]


def evaluate(
    name: str, X: torch.Tensor, arguments: tuple[Any, ...], kernel: KernelLike, nugget: Any
) -> torch.Tensor:
    """Return a loss, by its name, of kernel(X) + nugget I and of its other arguments."""
    K = matrix_of(kernel, X)
    if isinstance(nugget, torch.Tensor):
        if nugget.numel() != 1:
            raise ValueError(f"nugget must be one number, got shape {tuple(nugget.shape)}")
        diagonal = as_float64(nugget).to(K.device).reshape(()).expand(len(K))
    else:
        diagonal = K.new_full((len(K),), as_nugget(nugget))
    return in_dtype_of(losses.LOSSES[name](K + torch.diag(diagonal), *arguments), X)


def rho(
    X: torch.Tensor, Y: torch.Tensor, halves: Any, *, kernel: KernelLike, nugget: Any = 0.0
) -> torch.Tensor:
    """Return the relative loss of interpolating only the coarse points instead of all.

    Parameters
    ----------
    X : tensor, shape (n, d)
        Points, such as features of a batch, of any floating-point dtype and on any device.
    Y : tensor, shape (n, m) or (n,)
        Targets, floating-point numbers; one-hot rows for classes.
    halves : array_like of int or tensor, shape (n_halves, n_coarse) or (n_coarse,)
        Rows of the coarse subsets: at least one, not all, in each. They are checked on the host.
    kernel : kflow.kernels.Kernel, torch.nn.Module or callable
        A kernel with constant parameters, a `KernelModule` with those that are learned, or a function
        of X that returns a kernel matrix (n, n) without nugget.
    nugget : float or tensor
        What is added to the diagonal of the kernel matrix; a tensor is differentiated by.

    Returns
    -------
    tensor, shape ()
        Computed in float64; in the dtype of X, at least float32.

    Raises
    ------
    SingularKernelError
        If the kernel matrix is numerically singular, as with duplicate points and no nugget.
    TypeError, ValueError
        For arguments of the wrong kind or shape, naming them.

    Notes
    -----
    `kflow.torch.losses.rho` of the kernel matrix, which costs 2 n^2 d flops. Differentiable with respect
    to X, Y, the nugget and the parameters of the kernel; twice, where the kernel is.

    Examples
    --------
    >>> import torch, kflow, kflow.torch
    >>> X = torch.tensor([[0.0], [1.0], [2.0]], requires_grad=True)
    >>> Y = torch.tensor([1.0, 0.0, 1.0])
    >>> value = kflow.torch.rho(X, Y, [0, 1], kernel=kflow.kernels.Gaussian(1.0), nugget=0.1)
    >>> value.backward()
    >>> X.grad.shape
    torch.Size([3, 1])
    """
    return evaluate("rho", X, (Y, halves), kernel, nugget)


def e2(
    X: torch.Tensor, Y: torch.Tensor, halves: Any, *, kernel: KernelLike, nugget: Any = 0.0
) -> torch.Tensor:
    """Return the squared error of what the coarse points predict for the others.

    Parameters
    ----------
    X, Y, halves, kernel, nugget
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.e2` of the kernel matrix.
    """
    return evaluate("e2", X, (Y, halves), kernel, nugget)


def loo(X: torch.Tensor, Y: torch.Tensor, *, kernel: KernelLike, nugget: Any = 0.0) -> torch.Tensor:
    """Return the sum of squared leave-one-out residuals.

    Parameters
    ----------
    X, Y, kernel, nugget
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.loo` of the kernel matrix.
    """
    return evaluate("loo", X, (Y,), kernel, nugget)


def kfold(
    X: torch.Tensor, Y: torch.Tensor, folds: Any, *, kernel: KernelLike, nugget: Any = 0.0
) -> torch.Tensor:
    """Return the sum of squared residuals in cross-validation.

    Parameters
    ----------
    X, Y, kernel, nugget
        As for `rho`.
    folds : array_like of int or tensor, shape (n,)
        Number of each row's fold: 0 to k - 1, each at least once, k >= 2.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.kfold` of the kernel matrix.
    """
    return evaluate("kfold", X, (Y, folds), kernel, nugget)


def nlml(
    X: torch.Tensor, Y: torch.Tensor, *, kernel: KernelLike, nugget: Any = 0.0
) -> torch.Tensor:
    """Return the negative log marginal likelihood of Gaussian processes with this kernel.

    Parameters
    ----------
    X, Y, kernel, nugget
        As for `rho`.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.nlml` of the kernel matrix.
    """
    return evaluate("nlml", X, (Y,), kernel, nugget)


def mmd(
    X: torch.Tensor, Y: torch.Tensor | None, halves: Any, *, kernel: KernelLike, nugget: Any = 0.0
) -> torch.Tensor:
    """Return the squared maximum mean discrepancy between the batch and a half of it.

    Parameters
    ----------
    X, halves, kernel
        As for `rho`; at least two rows in each half.
    Y, nugget : object
        Not used: the discrepancy is one of points, and the diagonal is left out.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.mmd` of the kernel matrix.
    """
    return evaluate("mmd", X, (Y, halves), kernel, nugget)


def lyapunov(
    X: torch.Tensor,
    Y: torch.Tensor,
    halves: Any,
    pairs: Any,
    *,
    kernel: KernelLike,
    nugget: Any = 0.0,
) -> torch.Tensor:
    """Return the squared difference between the divergence rates of a half's map and of the data.

    Parameters
    ----------
    X, Y, halves, kernel, nugget
        As for `rho`.
    pairs : array_like of int or tensor, shape (n_halves, n_pairs, 2) or (n_pairs, 2)
        Rows of neighbouring inputs, both outside the half, of different targets.

    Returns
    -------
    tensor, shape ()
        As for `rho`: `kflow.torch.losses.lyapunov` of the kernel matrix.
    """
    return evaluate("lyapunov", X, (Y, halves, pairs), kernel, nugget)
