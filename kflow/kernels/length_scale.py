"""Kernels with a length scale: one number, or one for each dimension."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from kflow._base.array_types import FloatArray
from kflow.kernels.base import DEFAULT_BOUNDS, Bounds, Kernel, Value
from kflow.kernels.features import Identity, Scaling

if TYPE_CHECKING:
    from kflow.kernels.program import Contraction, Program, Term

__all__ = ["LengthScaleKernel"]


@dataclass(frozen=True, repr=False)
class LengthScaleKernel(Kernel):
    """Base of the kernels that are one leaf of the core, a function of points over length scales.

    One length scale is the core's business; one for each dimension scales the points before.
    """

    length_scale: Value = 1.0
    length_scale_bounds: Bounds = field(default=DEFAULT_BOUNDS, kw_only=True)

    _parameters: ClassVar[tuple[str, ...]] = ("length_scale",)
    # Whether it is a function of distances: then digits are saved by a centre among the points.
    _of_distances: ClassVar[bool] = True

    def _core_family(self) -> str:
        return self._family

    def _core_settings(self) -> dict[str, Any]:
        return {}

    def _emit(self, program: Program) -> int:
        family, settings = self._core_family(), self._core_settings()
        if isinstance(self.length_scale, tuple):
            centre = program.centre() if self._of_distances else 0.0
            features = program.add_features(Scaling(self.length_scale, centre))
            return program.add_leaf(family, 1.0, features, **settings)
        features = program.add_features(Identity())
        return program.add_leaf(family, self.length_scale, features, **settings)

    def _own_gradient(self, contraction: Contraction, term: Term) -> list[FloatArray]:
        if self.length_scale_bounds == "fixed":
            return []
        if isinstance(self.length_scale, tuple):
            return [contraction.features_gradient(term)["length_scale"]]
        return [contraction.length_scale[term.number]]
