"""Tests of an engine's composite kernels: terms that build on earlier terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.interface import Profile, Term
from kflow.kernels import Gaussian, Kernel, Polynomial, RationalQuadratic
from kflow.testing import slow
from kflow.testing.engines.base import DTYPES, EngineTestsBase

__all__ = ["CompositeKernelTests"]

# 0.9 ((2 Gaussian(u_0) + 0.5 RationalQuadratic(u_1)) (1.5 Polynomial(u_0)) + 3) + 0.7 given
TERMS = (
    Term("leaf", 2.0, Profile("gaussian", 1.3), source=0),
    Term("leaf", 0.5, Profile("rational_quadratic", 1.7, 0.8), source=1),
    Term("sum", 1.0, left=0, right=1),
    Term("leaf", 1.5, Profile("polynomial", 2.0, 0.7, 2), source=0),
    Term("product", 1.0, left=2, right=3),
    Term("constant", 3.0),
    Term("sum", 0.9, left=4, right=5),
    Term("given", 0.7, source=0),
    Term("sum", 1.0, left=6, right=7),
)


def _leaf(profile: Profile, u: FloatArray, v: FloatArray) -> FloatArray:
    _, length_scale, alpha, degree = profile
    kernels: dict[str, Kernel] = {
        "gaussian": Gaussian(length_scale),
        "rational_quadratic": RationalQuadratic(length_scale, alpha),
        "polynomial": Polynomial(length_scale, alpha, degree),
    }
    return slow.gram(u, v, kernel=kernels[profile.family])


def _matrix(
    terms: Sequence[Term],
    X: Sequence[FloatArray],
    Z: Sequence[FloatArray],
    given: Sequence[FloatArray],
    number: int = -1,
) -> FloatArray:
    """Return the value of a term, by recursion over those that it builds on."""
    term = terms[number]

    def part(earlier: int) -> FloatArray:
        return _matrix(terms, X, Z, given, earlier)

    if term.profile is not None:
        value = _leaf(term.profile, X[term.source], Z[term.source])
    elif term.operation == "constant":
        value = np.ones((len(X[0]), len(Z[0])))
    elif term.operation == "given":
        value = given[term.source].astype(np.float64)
    elif term.operation == "sum":
        value = part(term.left) + part(term.right)
    else:
        value = part(term.left) * part(term.right)
    return np.asarray(term.factor * value)


def _with_factor(number: int, by: float) -> list[Term]:
    """Return the terms with exp(by) before one of them."""
    terms = list(TERMS)
    terms[number] = terms[number]._replace(factor=terms[number].factor * float(np.exp(by)))
    return terms


def _with_profile(number: int, length_scale: float = 0.0, alpha: float = 0.0) -> list[Term]:
    """Return the terms with another log length scale, or another alpha, in a leaf."""
    terms = list(TERMS)
    profile = terms[number].profile
    assert profile is not None
    changed = profile._replace(
        length_scale=profile.length_scale * float(np.exp(length_scale)),
        alpha=profile.alpha + alpha,
    )
    terms[number] = terms[number]._replace(profile=changed)
    return terms


def _near(got: float, along: Callable[[float], float]) -> None:
    """Assert that a derivative is that of a function at 0, by central differences."""
    expected = (along(1e-5) - along(-1e-5)) / 2e-5
    assert abs(got - expected) <= 1e-6 * (1 + abs(expected))


class CompositeKernelTests(EngineTestsBase):
    """Tests of `evaluate`, `apply_terms` and `contract`."""

    def test_evaluate_and_apply_terms(self) -> None:
        """A kernel with terms of all kinds, and its product with a matrix."""
        for dtype in DTYPES:
            self._check_terms(dtype)

    def _check_terms(self, dtype: np.dtype[np.floating[Any]]) -> None:
        rng = np.random.default_rng(4)
        X, Z = ([rng.normal(size=(n, d)).astype(dtype) for d in (2, 3)] for n in (37, 19))
        given = [rng.normal(size=(37, 19)).astype(dtype)]
        C = rng.normal(size=(19, 2)).astype(dtype)

        def compute(n_threads: int) -> list[FloatArray]:
            K, product = (np.full((37, columns), np.nan, dtype) for columns in (19, 2))
            self.engine.evaluate(TERMS, X, Z, given, K, n_threads)
            self.engine.apply_terms(TERMS, X, Z, given, C, product, n_threads)
            return [K, product]

        K, product = self.on_one_and_two_threads(compute)
        expected = _matrix(TERMS, X, Z, given)
        self.close(K, expected)
        self.close(product, expected @ C)

    def test_contract(self) -> None:
        """Derivatives by all that a kernel depends on, compared with differences."""
        rng = np.random.default_rng(5)
        X = [rng.normal(size=(21, d)) for d in (2, 3)]
        given, G = (A + A.T for A in rng.normal(size=(2, 21, 21)))

        def compute(n_threads: int) -> list[FloatArray]:
            features = [np.full(points.shape, np.nan) for points in X]
            matrix = np.full((21, 21), np.nan)
            numbers = self.engine.contract(TERMS, X, [given], G, [*features], [matrix], n_threads)
            return [*numbers, *features, matrix]

        def loss(
            terms: Sequence[Term] = TERMS,
            points: Sequence[FloatArray] = X,
            fixed: FloatArray = given,
        ) -> float:
            return float(np.vdot(G, _matrix(terms, points, points, [fixed])))

        factor, length_scale, shape, u, v, matrix = self.on_one_and_two_threads(compute)
        for i, term in enumerate(TERMS):
            _near(factor[i], lambda h, i=i: loss(_with_factor(i, h)))  # type: ignore[misc]
            if term.profile is not None:
                _near(length_scale[i], lambda h, i=i: loss(_with_profile(i, h)))  # type: ignore[misc]
                _near(shape[i], lambda h, i=i: loss(_with_profile(i, alpha=h)))  # type: ignore[misc]
        by = [rng.normal(size=points.shape) for points in X]
        _near(float(np.vdot(u, by[0])), lambda h: loss(points=[X[0] + h * by[0], X[1]]))
        _near(float(np.vdot(v, by[1])), lambda h: loss(points=[X[0], X[1] + h * by[1]]))
        _near(float(np.vdot(matrix, given)), lambda h: loss(fixed=(1 + h) * given))

    def test_contract_without_features(self) -> None:
        """Derivatives by the features are left out where they are not wanted."""
        rng = np.random.default_rng(6)
        X = [rng.normal(size=(21, d)) for d in (2, 3)]
        G = rng.normal(size=(21, 21))
        G += G.T
        terms = TERMS[:7]
        features = [np.empty(points.shape) for points in X]
        some = self.engine.contract(terms, X, [], G, [None, None], [], 1)
        every = self.engine.contract(terms, X, [], G, [*features], [], 1)
        for got, expected in zip(some, every, strict=True):
            self.close(got, expected)
