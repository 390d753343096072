"""Kernels with a length scale: one number, or one for each dimension."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile
from kflow.kernels.base import Kernel
from kflow.kernels.features import Identity, Scaling
from kflow.kernels.parameters import DEFAULT_BOUNDS, Bounds, Value
from kflow.kernels.program import Contraction, Program, Term

__all__ = ["LengthScaleKernel"]


@dataclass(frozen=True, repr=False)
class LengthScaleKernel(Kernel):
    """Base of the kernels that are one profile of an engine, on points over length scales.

    The engine divides by a single length scale; several are divided by before, one in each dimension.
    """

    length_scale: Value = 1.0
    length_scale_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _parameters: ClassVar[tuple[str, ...]] = ("length_scale",)
    # Whether it is a function of distances: then a centre among the points saves digits.
    _of_distances: ClassVar[bool] = True

    def profile_at(self, length_scale: float) -> Profile:
        """Return the profile that engines evaluate, with this length scale."""
        return Profile(self.family, length_scale)

    def emit(self, program: Program) -> int:
        """Append the profile and the points that it reads."""
        if isinstance(self.length_scale, tuple):
            centre = program.centre() if self._of_distances else 0.0
            features = program.add_features(Scaling(self.length_scale, centre))
            return program.add_leaf(self.profile_at(1.0), features)
        return program.add_leaf(
            self.profile_at(self.length_scale), program.add_features(Identity())
        )

    def own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        """Return the derivatives with respect to the logarithms of the length scales."""
        if self.length_scale_bounds == "fixed":
            return []
        if isinstance(self.length_scale, tuple):
            return [contraction.features_gradient(term)["length_scale"]]
        return [contraction.length_scale[term.number]]
