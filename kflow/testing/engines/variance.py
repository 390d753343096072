"""What engines must compute for emulators: the posterior variance of a component."""

from __future__ import annotations

import numpy as np

from kflow._base.array_types import Doubles
from kflow.engine.interface import VarianceOperator, VarianceParts
from kflow.testing import slow
from kflow.testing.engines.base import EngineTestsBase, same_bits

__all__ = ["PosteriorVarianceTests"]


def _parts(family: str, M: int, d: int, *, with_inner: bool) -> VarianceParts:
    rng = np.random.default_rng(7)

    def factor() -> Doubles:
        # What is above the diagonal is not read.
        lower = np.tril(rng.normal(size=(M, M)) / M, -1) + np.diag(rng.uniform(2.0, 3.0, M))
        return np.asarray(lower + np.triu(np.full((M, M), np.nan), 1))

    return VarianceParts(
        family=family,
        centres=rng.normal(size=(M, d)),
        rates=np.exp(rng.normal(size=(1, d))) / d,
        amplitude=3.0,
        linear=0.25,
        nugget=0.125,
        scale=2.0,
        factor=factor(),
        inner=factor() if with_inner else None,
    )


def _result(operator: VarianceOperator, X: Doubles, n_threads: int) -> Doubles:
    out = np.full((len(X), 1), np.nan)
    operator(X, out, n_threads)
    return out


class PosteriorVarianceTests(EngineTestsBase):
    """Tests of `posterior_variance`."""

    def test_posterior_variance(self) -> None:
        """The definition; each row from its point alone, on any number of threads."""
        for family in ("gaussian", "matern52"):
            for M, d in ((1, 1), (40, 3), (130, 9)):
                for with_inner in (False, True):
                    parts = _parts(family, M, d, with_inner=with_inner)
                    operator = self.engine.posterior_variance(parts)
                    X = np.random.default_rng(8).normal(size=(75, d))
                    one, two = (_result(operator, X, n) for n in (1, 2))
                    alone = _result(operator, X[5:6], 1)
                    same_bits([one, one[5:6]], [two, alone])
                    clean = parts._replace(
                        factor=np.tril(parts.factor),
                        inner=None if parts.inner is None else np.tril(parts.inner),
                    )
                    self.close(one[:, 0], slow.posterior_variance(clean, X))
                    assert _result(operator, X[:0], 1).shape == (0, 1)

    def test_the_parts_of_a_variance_are_copied(self) -> None:
        """What the caller does with the arrays afterwards does not matter."""
        parts = _parts("gaussian", 30, 2, with_inner=True)
        assert parts.inner is not None
        X = np.random.default_rng(8).normal(size=(3, 2))
        operator = self.engine.posterior_variance(parts)
        before = _result(operator, X, 1)
        for array in (parts.centres, parts.rates, parts.factor, parts.inner):
            array[...] = np.nan
        same_bits([before], [_result(operator, X, 1)])
