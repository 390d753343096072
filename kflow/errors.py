"""The exceptions and warnings that are kflow's own; other errors are ValueError or TypeError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = [
    "BoundsWarning",
    "DivergenceError",
    "EngineWarning",
    "FlowWarning",
    "JitterWarning",
    "LearningWarning",
    "ModelFileError",
    "PrecisionWarning",
    "SingularKernelError",
    "StandstillWarning",
    "StorageError",
    "TargetsWarning",
]


class SingularKernelError(np.linalg.LinAlgError):
    """The kernel matrix plus nugget is not positive definite to working precision."""


class DivergenceError(ArithmeticError):
    """A layer produced non-finite values or moved the points by far more than their size.

    The flow that raised it stays at the last good layer. `kflow.learn_kernel` raises it if its loss
    is finite nowhere.
    """


class StorageError(MemoryError):
    """The layers of a flow, or data, will not fit where they are to be kept."""


class ModelFileError(ValueError):
    """A file is not a kflow model, or it is damaged."""


def not_fitted(message: str) -> ValueError:
    """Return scikit-learn's NotFittedError, which is a ValueError and an AttributeError.

    Scikit-learn is imported only here, so that ``import kflow`` stays fast.
    """
    from sklearn.exceptions import NotFittedError

    error: ValueError = NotFittedError(message)
    return error


@contextmanager
def damaged(part: str) -> Iterator[None]:
    """Raise ModelFileError, naming a part of the model, for whatever damaged data raises inside."""
    try:
        yield
    except (MemoryError, ModelFileError):
        raise
    except Exception as error:  # RNG states alone raise five kinds
        raise ModelFileError(f"the model's {part} cannot be used: {error}") from None


class LearningWarning(UserWarning):
    """Something about `kflow.learn_kernel`'s result that its user should know."""


class JitterWarning(LearningWarning):
    """Kernel matrices were not positive definite until something was added to their diagonals."""


class BoundsWarning(LearningWarning):
    """A learned parameter is at one of its bounds."""


class EngineWarning(UserWarning):
    """A flow goes on with another engine, or another build of it, than the one that ran it so far.

    Or a device runs a flow in a slower way than it should.
    """


class PrecisionWarning(UserWarning):
    """Results have few digits, because of rounding errors in the precision of the points.

    Or a device's precision does not do for some layers: in mixed precision they are computed in float64, with
    TF32 they are not.
    """


class FlowWarning(UserWarning):
    """Something about a flow, or about what it was given, that its user should know."""


class StandstillWarning(FlowWarning):
    """The kernel's length scale is so far from the data's that the points cannot move."""


class TargetsWarning(FlowWarning):
    """Whole numbers that look like labels of classes are learned as numbers."""
