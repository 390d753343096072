"""What engines must compute for images: scattering transforms, and their gradients."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow.engine.interface import ScatteringFilters
from kflow.testing import slow
from kflow.testing.engines.base import DTYPES, EngineTestsBase, same_bits

__all__ = ["ScatteringTests"]


def _filters(
    dtype: npt.DTypeLike, sides: tuple[int, int], n_scales: int, max_order: int
) -> ScatteringFilters:
    """Return filters without a meaning, for images of 11 x 9 pixels with zeros around."""
    rng = np.random.default_rng(3)
    n_angles, out = 2, (3, 2)
    at = [(sides[0] >> level, sides[1] >> level) for level in range(n_scales)]
    count = [n_angles * max(n_scales - (level + (level > 0)), 0) for level in range(n_scales)]

    def drawn(*shape: int) -> npt.NDArray[np.floating]:
        return np.asarray(rng.normal(size=shape), dtype)

    return ScatteringFilters(
        image=(11, 9),
        row_of=[place if place < 11 else -1 for place in range(sides[0])],
        col_of=[place % 9 for place in range(sides[1])],
        n_scales=n_scales,
        n_angles=n_angles,
        max_order=max_order,
        out=out,
        waves=[drawn(n, *shape) for n, shape in zip(count, at, strict=True)],
        smooth_rows=[drawn(out[0], rows) for rows, _ in at],
        smooth_cols=[drawn(out[1], cols) for _, cols in at],
    )


# Sides with the factors 2, 3, 4, 5 and 7, one scale to three, one order and two.
_EXAMPLES = (
    ((12, 10), 1, 2),
    ((16, 12), 2, 2),
    ((20, 12), 2, 1),
    ((24, 40), 3, 2),
    ((14, 28), 1, 1),
)


class ScatteringTests(EngineTestsBase):
    """Tests of `scattering`."""

    def test_scattering(self) -> None:
        """The definition; each row from its image alone, on any number of threads."""
        for dtype in DTYPES:
            for example in _EXAMPLES:
                filters = _filters(dtype, *example)
                operator = self.engine.scattering(filters)
                images = np.random.default_rng(4).normal(size=(37, 99)).astype(dtype)
                one, two = (np.full((37, filters.n_features), np.nan, dtype) for _ in range(2))
                operator.transform(images, one, 1)
                operator.transform(images, two, 2)
                alone = np.full((1, filters.n_features), np.nan, dtype)
                operator.transform(images[5:6], alone, 1)
                same_bits([one, one[5:6]], [two, alone])
                self.close(one[:3], slow.scattering(filters, images[:3]))

    def test_gradients_of_scattering(self) -> None:
        """The derivative along a direction, by differences of the definition."""
        rng = np.random.default_rng(5)
        for example in _EXAMPLES:
            filters = _filters(np.float64, *example)
            images, along = rng.normal(size=(2, 19, 99))
            covectors = rng.normal(size=(19, filters.n_features))
            one, two = np.full((2, 19, 99), np.nan)
            operator = self.engine.scattering(filters)
            operator.pull_back(images, covectors, one, 1)
            operator.pull_back(images, covectors, two, 2)
            same_bits([one], [two])
            h = 1e-6
            ahead, behind = (
                slow.scattering(filters, images[:2] + by * along[:2]) for by in (h, -h)
            )
            expected = (covectors[:2] * (ahead - behind)).sum(axis=1) / (2.0 * h)
            got = (one[:2] * along[:2]).sum(axis=1)
            np.testing.assert_allclose(got, expected, rtol=1e-5)

    def test_images_without_anything(self) -> None:
        """Zeros have features 0 and, since 0 is taken for the slope of a modulus, finite gradients."""
        filters = _filters(np.float32, (16, 12), 2, 2)
        operator = self.engine.scattering(filters)
        images, gradients = np.zeros((2, 2, 99), np.float32)
        features = np.full((2, filters.n_features), np.nan, np.float32)
        operator.transform(images, features, 1)
        assert not features.any()
        operator.pull_back(images, np.ones_like(features), gradients, 1)
        assert np.isfinite(gradients).all()
        operator.transform(images[:0], features[:0], 1)
