"""The scattering transform of the compiled core."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.cpu import _core
from kflow.engine.interface import ScatteringFilters, ScatteringOperator

__all__ = ["CpuScattering"]


class CpuScattering(ScatteringOperator):
    """As many images side by side as a register has lanes; see `ScatteringOperator`."""

    def __init__(self, filters: ScatteringFilters) -> None:
        dtype = filters.smooth_rows[0].dtype
        core = _core.ScatteringFloat if dtype == np.float32 else _core.ScatteringDouble
        self._core = core(
            image=filters.image,
            row_of=filters.row_of,
            col_of=filters.col_of,
            n_scales=filters.n_scales,
            n_angles=filters.n_angles,
            max_order=filters.max_order,
            out=filters.out,
            # The core's inverse Fourier transforms lack their factor.
            waves=[
                (waves / max(waves[0].size, 1)).ravel() if len(waves) else waves.ravel()
                for waves in filters.waves
            ],
            smooth_rows=[matrix.ravel() for matrix in filters.smooth_rows],
            smooth_cols=[matrix.ravel() for matrix in filters.smooth_cols],
        )

    def transform(self, images: FloatArray, out: FloatArray, n_threads: int) -> None:
        """Write the maps of images to `out`."""
        self._core.transform(images, out, n_threads)

    def pull_back(
        self, images: FloatArray, covectors: FloatArray, out: FloatArray, n_threads: int
    ) -> None:
        """Write gradients by images to `out`."""
        self._core.pull_back(images, covectors, out, n_threads)
