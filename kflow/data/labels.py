"""Classes that are read from targets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray

__all__ = ["ClassLabels"]

# A column with more distinct values than this number holds no classes, but values of a regression.
_MOST_CLASSES = 100


class ClassLabels:
    """Whether targets look like classes (one-hot rows or few distinct numbers), and which ones.

    Parameters
    ----------
    chunks : iterable of ndarray, (n_i, m)
        All targets.

    Raises
    ------
    ValueError
        If all targets are the same.
    """

    def __init__(self, chunks: Iterable[FloatArray]) -> None:
        values: npt.NDArray[Any] = np.empty(0)
        n, one_hot, constant = 0, True, True
        first: FloatArray | None = None
        for targets in chunks:
            n += len(targets)
            first = targets[:1].copy() if first is None else first
            constant = constant and bool((targets == first).all())
            if targets.shape[1] == 1:
                if len(values) <= _MOST_CLASSES:
                    values = np.unique(np.append(values, targets))[: _MOST_CLASSES + 1]
            else:
                zero_one = bool(((targets == 0) | (targets == 1)).all())
                one_hot = one_hot and zero_one and bool((targets.sum(axis=1) == 1).all())
        if n and constant:
            raise ValueError(
                "Y has one class or value only, from which nothing can be learned: pass targets of "
                "at least two classes or values"
            )
        self._values, self._n_rows = values, n
        few = len(values) <= max(2, min(_MOST_CLASSES, n // 10))
        assert first is not None
        self.are_classes = few if first.shape[1] == 1 else one_hot

    @property
    def n_values(self) -> int:
        """Number of distinct values of a single column; 101 stands for more, 0 for several columns."""
        return len(self._values)

    @property
    def may_be_classes(self) -> bool:
        """Whether a single column has three or more distinct values, each of them twice on average."""
        return 3 <= self.n_values <= min(_MOST_CLASSES, self._n_rows // 2)

    def __call__(self, targets: FloatArray) -> npt.NDArray[np.intc] | None:
        """Return the class number of each row of targets (n, m); None if they are not classes."""
        if not self.are_classes:
            return None
        if targets.shape[1] == 1:
            return np.searchsorted(self._values, targets[:, 0]).astype(np.intc)
        codes: npt.NDArray[np.intc] = targets.argmax(axis=1).astype(np.intc)
        return codes
