"""Kernel matrices as differentiable functions of points and of the kernel's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from kflow._base.arguments import as_flag
from kflow.kernels import Kernel, check_kernel
from kflow.torch.arguments import as_float64, as_points, in_dtype_of
from kflow.torch.distances import squared_distances
from kflow.torch.profiles import KINKED, profile

__all__ = ["KernelLike", "KernelModule", "gram", "matrix_of"]

# A kernel of kflow, or a function (a module) from points (n, d) to their kernel matrix (n, n).
KernelLike: TypeAlias = "Kernel | Callable[[torch.Tensor], torch.Tensor]"


class _Theta:
    """Hands the entries of theta out in its order: a kernel's own, then those of its parts."""

    def __init__(self, theta: torch.Tensor | None) -> None:
        self._theta, self._next = theta, 0

    def own(self, kernel: Kernel, like: torch.Tensor) -> dict[str, Any]:
        """Return the values of the kernel's own parameters, whole numbers besides."""
        given = kernel.get_params(deep=False)
        values: dict[str, Any] = {}
        for name, value in given.items():
            if f"{name}_bounds" not in given:
                continue
            if self._theta is None or given[f"{name}_bounds"] == "fixed":
                values[name] = torch.tensor(value, dtype=like.dtype, device=like.device)
                continue
            size = len(value) if isinstance(value, tuple) else 1
            part = self._theta[self._next : self._next + size].exp()
            self._next += size
            values[name] = part if isinstance(value, tuple) else part[0]
        return values


def _matrix(kernel: Kernel, X: torch.Tensor, Z: torch.Tensor | None, theta: _Theta) -> torch.Tensor:
    """Return K(X, Z) in float64; Z is None for X itself."""
    parameters = kernel.get_params(deep=False)
    p = theta.own(kernel, X)
    others = X if Z is None else Z
    family = kernel.family
    if family in ("sum", "product"):
        parts = torch.stack([_matrix(part, X, Z, theta) for part in parameters["kernels"]])
        return parts.sum(0) if family == "sum" else parts.prod(0)
    if family == "scaled":
        return p["amplitude"] * _matrix(parameters["kernel"], X, Z, theta)
    if family == "constant":
        return p["value"] * X.new_ones(len(X), len(others))
    if family == "linear":
        return (X / p["length_scale"]) @ (others / p["length_scale"]).T
    if family == "polynomial":
        products = (X / p["length_scale"]) @ (others / p["length_scale"]).T
        return (products + p["offset"]) ** parameters["degree"]
    if family == "periodic":
        r2 = squared_distances(_circles(X, p), None if Z is None else _circles(Z, p), direct=False)
        return profile("gaussian", r2)
    if family == "function":
        raise TypeError(
            "kernel: PyTorch cannot differentiate a FunctionKernel, which is a function of NumPy's "
            "arrays: pass a function of tensors, K = function(X), in its place"
        )
    scaled = X / p["length_scale"], None if Z is None else Z / p["length_scale"]
    t = squared_distances(*scaled, direct=family in KINKED)
    return profile(family, t, p.get("alpha"), parameters.get("dimension", 0))


def _circles(X: torch.Tensor, p: dict[str, Any]) -> torch.Tensor:
    """Return points on circles, whose distances are those of the periodic kernel."""
    turns = X / p["period"]
    angles = 2.0 * math.pi * (turns - turns.detach().round())
    return torch.cat([angles.cos() / p["length_scale"], angles.sin() / p["length_scale"]], 1)


def _check_theta(kernel: Kernel, theta: torch.Tensor) -> torch.Tensor:
    expected = kernel.theta.shape
    if not isinstance(theta, torch.Tensor) or tuple(theta.shape) != expected:
        got = tuple(theta.shape) if isinstance(theta, torch.Tensor) else type(theta).__name__
        raise ValueError(f"theta must be a tensor of shape {expected} for {kernel!r}, got {got}")
    return theta


def gram(
    X: torch.Tensor,
    Z: torch.Tensor | None = None,
    *,
    kernel: Kernel,
    theta: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the kernel matrix K(X, Z), as `kflow.gram` does, differentiable.

    Parameters
    ----------
    X : tensor, shape (n, d)
        Points, of any floating-point dtype.
    Z : tensor, shape (m, d), optional
        Other points; X itself if not given.
    kernel : kflow.kernels.Kernel
        The kernel; not a `kflow.kernels.FunctionKernel`.
    theta : tensor, shape (p,), optional
        Logarithms of the kernel's free parameters, in the order of its ``theta``, to differentiate by.
        None: the kernel's own numbers.

    Returns
    -------
    tensor, shape (n, m)
        Computed in float64; in the dtype of X, at least float32.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or shape, naming them.

    Notes
    -----
    2 n m d flops. Derivatives by points that coincide are finite for every kernel; where the kernel has a
    kink, as the Laplacian, they are taken as 0.
    """
    check_kernel(kernel)
    x = as_float64(as_points(X))
    kernel.check_dimension(x.shape[1])
    z = None
    if Z is not None:
        z = as_float64(as_points(Z, "Z")).to(x.device)
        if z.shape[1] != x.shape[1]:
            raise ValueError(f"Z must have {x.shape[1]} columns as X, got {z.shape[1]}")
    free = None if theta is None else as_float64(_check_theta(kernel, theta)).to(x.device)
    return in_dtype_of(_matrix(kernel, x, z, _Theta(free)), X)


class KernelModule(torch.nn.Module):
    """A kernel as a module of PyTorch, whose parameters an optimizer can learn.

    Parameters
    ----------
    kernel : kflow.kernels.Kernel
        The kernel and its initial parameters; those that are ``"fixed"`` stay as they are.
    learn : bool
        Whether `theta` is a parameter; else it is a buffer, part of the state but not learned.

    Attributes
    ----------
    theta : torch.nn.Parameter or tensor, shape (p,), float64
        Logarithms of the free parameters, in the order of the kernel's ``theta``. A module that
        is moved to another dtype rounds them.

    Examples
    --------
    >>> import torch, kflow
    >>> from kflow.torch import KernelModule
    >>> module = KernelModule(kflow.kernels.Gaussian(2.0))
    >>> K = module(torch.zeros(3, 2))
    >>> K.sum().backward()
    >>> module.to_kernel()
    Gaussian(length_scale=2)
    """

    theta: torch.Tensor

    def __init__(self, kernel: Kernel, *, learn: bool = True) -> None:
        super().__init__()
        self._kernel = check_kernel(kernel)
        theta = torch.tensor(kernel.theta, dtype=torch.float64)
        if as_flag(learn, "learn"):
            self.theta = torch.nn.Parameter(theta)
        else:
            self.register_buffer("theta", theta)

    def forward(self, X: torch.Tensor, Z: torch.Tensor | None = None) -> torch.Tensor:
        """Return the kernel matrix K(X, Z), as `gram` does.

        Parameters
        ----------
        X, Z
            As for `gram`.
        """
        return gram(X, Z, kernel=self._kernel, theta=self.theta)

    def to_kernel(self) -> Kernel:
        """Return the kernel with the parameters of now, clipped to its bounds."""
        theta = self.theta.detach().cpu().double().numpy()
        bounds = self._kernel.bounds
        return self._kernel.clone_with_theta(np.clip(theta, bounds[:, 0], bounds[:, 1]))

    def extra_repr(self) -> str:
        """Return the kernel as text."""
        return repr(self.to_kernel())


def matrix_of(kernel: Any, X: torch.Tensor) -> torch.Tensor:
    """Return the kernel matrix of points in float64, of a kernel or of a function of tensors."""
    if isinstance(kernel, Kernel):
        return gram(as_float64(as_points(X)), kernel=kernel)
    if not callable(kernel):
        raise TypeError(
            "kernel must be one of kflow.kernels, such as Gaussian(), or a function (a module) of "
            f"points that returns their kernel matrix, got {kernel!r}"
        )
    points = as_points(X)
    K = kernel(as_float64(points) if isinstance(kernel, KernelModule) else points)
    if not isinstance(K, torch.Tensor) or tuple(K.shape) != (len(X), len(X)):
        got = tuple(K.shape) if isinstance(K, torch.Tensor) else type(K).__name__
        raise ValueError(f"kernel must return a tensor of shape {(len(X), len(X))}, got {got}")
    return as_float64(K)
