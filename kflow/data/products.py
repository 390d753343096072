"""Products of rows with a matrix."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine import HOST
from kflow.engine.device_array import DeviceArray
from kflow.engine.threads import resolve_n_threads

__all__ = ["product"]

Real = TypeVar("Real", bound=np.floating[Any])


def product(X: FloatArray, A: npt.NDArray[Real], n_threads: int | None = None) -> npt.NDArray[Real]:
    """Return X A in the dtype of A.

    Each row depends on its row of X alone, not on how X is cut into chunks. The product is where X is.
    """
    if isinstance(X, DeviceArray):
        return cast("npt.NDArray[Real]", X.product(A))
    out = np.empty((len(X), A.shape[1]), A.dtype)
    X, A = np.ascontiguousarray(X, A.dtype), np.ascontiguousarray(A)
    HOST.product(X, A, out, resolve_n_threads(n_threads))
    return out
