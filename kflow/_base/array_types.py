"""The types of arrays that are used in signatures."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Doubles", "FloatArray", "Rows"]

# An array of float32 or float64.
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

# An array of float64.
Doubles: TypeAlias = npt.NDArray[np.float64]

# An array of row numbers.
Rows: TypeAlias = npt.NDArray[np.intp]
