"""The periodic kernel.

Formula: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), section 4.2.3.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile
from kflow.kernels.base import Kernel
from kflow.kernels.features import Periodicity
from kflow.kernels.parameters import DEFAULT_BOUNDS, Bounds, Value, as_tuple
from kflow.kernels.program import Contraction, Program, Term

__all__ = ["Periodic"]


@dataclass(frozen=True, repr=False)
class Periodic(Kernel):
    r""":math:`\exp(-2 \sum_k \sin^2(\pi (x_k - z_k) / p_k) / \ell_k^2)`.

    Positive definite in every dimension, as a Gaussian of points on circles; two points that lie
    whole periods apart coincide for it. A locally periodic kernel is ``Periodic() * Gaussian()``.

    Parameters
    ----------
    length_scale : float or sequence of float
        Positive, without unit: l is the width of a bump, as a multiple of period / (2 pi). One
        number, or one for each dimension.
    period : float or sequence of float
        Positive, in the units of the points; one number, or one for each dimension.
    length_scale_bounds, period_bounds : tuple of float, or "fixed"
        The smallest and the largest value that learning may give each.
    """

    length_scale: Value = 1.0
    period: Value = 1.0
    length_scale_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)
    period_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    family: ClassVar[str] = "periodic"
    _parameters: ClassVar[tuple[str, ...]] = ("length_scale", "period")

    def emit(self, program: Program) -> int:
        """Append a Gaussian of points on circles."""
        circles = Periodicity(as_tuple(self.period), as_tuple(self.length_scale))
        return program.add_leaf(Profile("gaussian", 1.0), program.add_features(circles))

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivatives with respect to the logarithms of the length scales and periods."""
        gradient = contraction.features_gradient(term)
        return [gradient[name] for name, _ in self._free()]

    def _diagonal(self, X: FloatArray) -> FloatArray:
        return np.ones(len(X), X.dtype)
