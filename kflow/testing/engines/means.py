"""What engines must compute for emulators: posterior means of several components."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow.engine.interface import MeansOperator, MeansParts
from kflow.testing import slow
from kflow.testing.engines.base import DTYPES, EngineTestsBase, same_bits

__all__ = ["PosteriorMeansTests"]


def _parts(dtype: npt.DTypeLike, M: int, d: int, q: int, m: int) -> MeansParts:
    rng = np.random.default_rng(7)

    def drawn(*shape: int) -> FloatArray:
        return np.asarray(rng.normal(size=shape), dtype)

    return MeansParts(
        families=[("gaussian", "matern52", "matern52")[c % 3] for c in range(q)],
        centres=drawn(M, d),
        rates=np.exp(drawn(q, d)) / np.asarray(d, dtype),
        coefficients=drawn(q, M),
        linear=drawn(q, d),
        back=drawn(q, m),
        offset=drawn(m),
    )


def _results(operator: MeansOperator, parts: MeansParts, X: FloatArray, n: int) -> list[FloatArray]:
    (q, d), m = parts.rates.shape, len(parts.offset)
    out = [np.full((len(X), columns), np.nan, X.dtype) for columns in (q, m, q * d)]
    operator.scores(X, out[0], n)
    operator.outputs(X, out[1], n)
    operator.gradients(X, out[2], n)
    return out


class PosteriorMeansTests(EngineTestsBase):
    """Tests of `posterior_means`."""

    def test_posterior_means(self) -> None:
        """The definition; each row from its point alone, on any number of threads."""
        for dtype in DTYPES:
            for shape in ((1, 1, 1, 1), (150, 5, 4, 70), (64, 3, 0, 2), (30, 12, 7, 3)):
                parts = _parts(dtype, *shape)
                operator = self.engine.posterior_means(parts)
                X = np.random.default_rng(8).normal(size=(37, shape[1])).astype(dtype)
                one, two = (_results(operator, parts, X, n) for n in (1, 2))
                alone = _results(operator, parts, X[5:6], 1)
                same_bits([*one, *(part[5:6] for part in one)], [*two, *alone])
                scores, outputs = slow.posterior_means(parts, X)
                self.close(one[0], scores)
                self.close(one[1], outputs)

    def test_gradients_of_posterior_means(self) -> None:
        """Derivatives by each coordinate, by differences of the definition; also at centres."""
        parts, h = _parts(np.float64, 150, 5, 4, 3), 1e-6
        X = np.concatenate([np.random.default_rng(8).normal(size=(9, 5)), parts.centres[:3]])
        got = _results(self.engine.posterior_means(parts), parts, X, 1)[2].reshape(12, 4, 5)
        for k in range(5):
            along = h * np.eye(5)[k]
            above, below = (slow.posterior_means(parts, X + by * along)[0] for by in (1.0, -1.0))
            np.testing.assert_allclose(got[:, :, k], (above - below) / (2.0 * h), atol=1e-6)

    def test_parts_are_copied(self) -> None:
        """What the caller does with the arrays afterwards does not matter."""
        parts = _parts(np.float64, 30, 2, 3, 4)
        X = np.random.default_rng(8).normal(size=(3, 2))
        operator = self.engine.posterior_means(parts)
        before = _results(operator, parts, X, 1)
        for array in parts[1:]:
            np.asarray(array)[...] = np.nan
        same_bits(before, _results(operator, parts, X, 1))
