"""Products of rows with a matrix."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles, FloatArray
from kflow.engine import HOST
from kflow.engine.threads import resolve_n_threads

__all__ = ["product"]


def product(X: FloatArray, A: Doubles) -> Doubles:
    """Return X A in float64. Each row depends on its row of X alone, not on how X is cut into chunks."""
    out = np.empty((len(X), A.shape[1]))
    X, A = np.ascontiguousarray(X, np.float64), np.ascontiguousarray(A)
    HOST.product(X, A, out, resolve_n_threads(None))
    return out
