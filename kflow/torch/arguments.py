"""Arguments as tensors: floating-point points and targets, and subsets of the rows.

What Python checks about subsets is checked on the host; keep them there, as NumPy arrays or tensors of
the CPU, if the points are on another device.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from kflow.losses.arguments import as_folds, as_halves, as_pairs

__all__ = [
    "as_float64",
    "as_points",
    "as_targets",
    "folds_of",
    "halves_of",
    "in_dtype_of",
    "pairs_of",
]


def as_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float64, on the host if its device has no such numbers."""
    if tensor.device.type == "mps":
        return tensor.cpu().double()
    return tensor.double()


def in_dtype_of(value: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """Return a result on the device of what was given, and in its precision, at least float32."""
    return value.to(given.device, torch.promote_types(given.dtype, torch.float32))


def _check_float(value: Any, name: str, remedy: str) -> None:
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, got {type(value).__name__}: {remedy}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be of a floating-point dtype, got {value.dtype}: {remedy}")


def as_points(X: Any, name: str = "X") -> torch.Tensor:
    """Return X, which must be a matrix of floating-point numbers."""
    _check_float(X, name, "pass a tensor of shape (n, d)")
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape (n, d), n and d at least 1, got {tuple(X.shape)}: "
            "features of other shapes can be flattened, X.flatten(1)"
        )
    return X


def as_targets(Y: Any, n: int, like: torch.Tensor) -> torch.Tensor:
    """Return Y as `n` rows of float64 on the device of `like`."""
    _check_float(Y, "Y", "for labels pass torch.nn.functional.one_hot(labels).double()")
    if Y.ndim not in (1, 2) or Y.shape[0] != n or Y.numel() == 0:
        raise ValueError(f"Y must have shape ({n}, m) or ({n},), got {tuple(Y.shape)}")
    return as_float64(Y.reshape(n, -1)).to(like.device)


def _host(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def _rows(value: Any, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.array(value, np.int64)).to(like.device)


@torch.compiler.disable
def halves_of(halves: Any, n: int, like: torch.Tensor, lowest: int = 1) -> torch.Tensor:
    """Return coarse subsets as (n_halves, n_coarse) row numbers on the device of `like`."""
    return _rows(as_halves(_host(halves), n, lowest), like)


@torch.compiler.disable
def folds_of(folds: Any, n: int, like: torch.Tensor) -> list[torch.Tensor]:
    """Return the rows of each fold, on the device of `like`."""
    numbers = as_folds(_host(folds), n)
    return [_rows(np.flatnonzero(numbers == k), like) for k in range(int(numbers.max()) + 1)]


@torch.compiler.disable
def pairs_of(pairs: Any, halves: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
    """Return pairs as (n_halves, n_pairs, 2) row numbers, on the device of Y."""
    rows = as_pairs(_host(pairs), as_halves(_host(halves), len(Y)), np.asarray(_host(Y)))
    return _rows(rows.reshape(len(halves), -1, 2), Y)
