"""The types of arrays that signatures name."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Doubles", "FloatArray", "Rows"]

# Of float32 or float64.
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

# Of float64.
Doubles: TypeAlias = npt.NDArray[np.float64]

# Numbers of rows.
Rows: TypeAlias = npt.NDArray[np.intp]
