"""What the posterior means of several components are made of, and what an engine makes of it.

`kflow.engine.interface` has the rules for all arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from kflow._base.array_types import FloatArray

__all__ = ["MeansOperator", "MeansParts"]


class MeansParts(NamedTuple):
    """The posterior means of q components with the same M centres, and the m outputs that they stand for.

    The score of component c at x is the sum over centres z_j of
    ``coefficients[c, j] k_c(sum_k rates[c, k] (x_k - z_jk)^2)``, plus the product of ``linear[c]`` and x.
    The outputs are ``offset`` plus the scores times ``back``.

    Attributes
    ----------
    families : sequence of str
        The q names of the profiles k_c, which are functions of squared distances, of length scale 1.
    centres : ndarray, shape (M, d)
        Centres.
    rates : ndarray, shape (q, d)
        Positive numbers: 1 over the squares of the length scales.
    coefficients : ndarray, shape (q, M)
        Coefficients.
    linear : ndarray, shape (q, d)
        The linear parts.
    back : ndarray, shape (q, m)
        From scores to outputs.
    offset : ndarray, shape (m,)
        The outputs of scores that are 0.
    """

    families: Sequence[str]
    centres: FloatArray
    rates: FloatArray
    coefficients: FloatArray
    linear: FloatArray
    back: FloatArray
    offset: FloatArray


class MeansOperator(ABC):
    """Posterior means of several components, prepared.

    A row of a result depends on its row of X alone, to the last bit.
    """

    @abstractmethod
    def scores(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the scores at points X, (n, d), to `out`, (n, q)."""

    @abstractmethod
    def outputs(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the outputs at points X, (n, d), to `out`, (n, m)."""

    @abstractmethod
    def gradients(self, X: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the derivatives of the scores by X, (n, d), to `out`, (n, q d).

        Those of the first component come first. Where a profile has no slope at distance 0, it counts
        as 0.
        """
