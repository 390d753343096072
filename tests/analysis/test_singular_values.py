from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.analysis import lipschitz, singular_values


@pytest.fixture(params=["float32", "float64"])
def flow(request):
    X = np.random.default_rng(0).normal(size=(80, 3))
    return kflow.KernelFlow(
        n_layers=8, batch_size=40, nugget=0.1, dtype=request.param, random_state=0
    ).fit(X, X[:, 0] * X[:, 1] > 0)


def jacobians(flow, X, n_layers):
    near = flow.linearize(X, n_layers=n_layers)
    columns = [near.push_forward(np.tile(unit, (len(X), 1))) for unit in np.eye(X.shape[1])]
    return np.stack(columns, axis=2).astype(np.float64)


def test_values_are_those_of_the_jacobians(flow):
    X = np.random.default_rng(1).normal(size=(9, 3))
    found = singular_values(flow, X, layers=[0, 3, 8], max_points=None)
    assert found.rows.tolist() == list(range(9))
    np.testing.assert_allclose(found.values[0], 1.0, rtol=1e-6)
    rtol = 1e-5 if flow.dtype == "float64" else 3e-3
    for values, n_layers in zip(found.values[1:], (3, 8), strict=True):
        expected = np.linalg.svd(jacobians(flow, X, n_layers), compute_uv=False)
        np.testing.assert_allclose(values, expected, rtol=rtol)


def test_exponents_by_the_definition(flow):
    X = np.random.default_rng(2).normal(size=(5, 3))
    found = singular_values(flow, X, layers=[8], max_points=None)
    J = jacobians(flow, X, 8)
    volumes = np.abs(np.linalg.det(J))
    atol = 1e-5 if flow.dtype == "float64" else 3e-3
    np.testing.assert_allclose(found.mean_exponent, np.log(volumes).mean() / 3, atol=atol)
    gain = np.sqrt((J**2).sum(axis=(1, 2)).mean() / 3)
    np.testing.assert_allclose(found.gain_exponent, np.log(gain), atol=atol)
    squares = np.log(np.linalg.svd(J, compute_uv=False)) ** 2
    np.testing.assert_allclose(found.distance_from_isometry, np.sqrt(squares.mean()), atol=atol)


def test_the_largest_are_the_local_lipschitz_constants(flow):
    X = np.random.default_rng(3).normal(size=(30, 3))
    found = singular_values(flow, X, layers=[8], max_points=7, random_state=4)
    local = lipschitz(flow, X, layers=[8], max_points=7, random_state=4)
    assert found.rows.tolist() == local.rows.tolist()
    np.testing.assert_allclose(found.values[..., 0], local.local)


def test_a_value_that_is_rounded_to_zero_has_a_logarithm(flow):
    found = singular_values(flow, np.zeros((1, 3)), layers=[8])
    found.values[..., -1] = 0.0
    expected = np.log(1e-8 * found.values[..., 0])
    np.testing.assert_allclose(found.logarithms[..., -1], expected)
    assert np.isfinite(found.mean_exponent).all()


def test_one_dimension_and_a_subspace():
    X = np.linspace(-1.0, 1.0, 20)[:, None]
    flow = kflow.KernelFlow(n_layers=2, batch_size=10, random_state=0).fit(X, X[:, 0] > 0)
    assert singular_values(flow, X[:1]).values.shape == (3, 1, 1)
    wide = np.random.default_rng(0).normal(size=(40, 6))
    flow = kflow.KernelFlow(n_layers=2, batch_size=20, rank=2, random_state=0)
    assert singular_values(flow.fit(wide, wide[:, 0] > 0), wide).values.shape == (3, 40, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": np.zeros((3, 4))}, "X must have 3 columns"),
        ({"X": [[np.nan, 0.0, 0.0]]}, "X contains NaN"),
        ({"max_points": 0}, "max_points must be at least 1"),
        ({"layers": [9]}, "layers must be at most 8"),
    ],
)
def test_wrong_arguments(flow, arguments, message):
    with pytest.raises(ValueError, match=message):
        singular_values(flow, **{"X": np.zeros((3, 3)), **arguments})
