"""The exceptions that are kflow's own; everything else is a ValueError or a TypeError."""

from __future__ import annotations

import numpy as np

__all__ = ["DivergenceError", "ModelFileError", "SingularKernelError", "StorageError"]


class SingularKernelError(np.linalg.LinAlgError):
    """The kernel matrix plus nugget is not positive definite to working precision."""


class DivergenceError(ArithmeticError):
    """A layer produced non-finite values or moved the points by far more than their size.

    The flow that raised it stays at the last good layer.
    """


class StorageError(MemoryError):
    """The layers of a flow will not fit where they are to be kept."""


class ModelFileError(ValueError):
    """A file is not a kflow model, or it is damaged."""
