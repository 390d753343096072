"""Kernels given by a user's functions."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import kflow
from kflow.kernels import FunctionKernel, Gaussian


def value(X, Z, length, weights):
    """A Gaussian of points with weighted coordinates; the weights may have any sign."""
    r2 = ((X[:, None] * weights - Z[None] * weights) ** 2).sum(axis=2)
    return np.exp(-r2 / (2 * length**2))


def gradient(X, G, length, weights):
    K = value(X, X, length, weights)
    squares = (X[:, None] - X[None]) ** 2
    return {
        "length": np.vdot(G * K, (squares * weights**2).sum(axis=2)) / length**3,
        "weights": -np.einsum("ij,ijk->k", G * K, squares) * weights / length**2,
    }


def points_gradient(X, G, length, weights):
    W = G * value(X, X, length, weights)
    return -2 * weights**2 / length**2 * (W.sum(axis=1)[:, None] * X - W @ X)


@pytest.fixture
def parameters():
    return {"length": 1.5, "weights": np.array([1.0, -0.5, 2.0])}


@pytest.fixture
def kernel(parameters):
    return FunctionKernel(
        value,
        parameters,
        positive=["length"],
        bounds={"length": (0.1, 10.0)},
        gradient=gradient,
        points_gradient=points_gradient,
    )


def test_parameters_in_theta(kernel):
    np.testing.assert_allclose(kernel.theta, [np.log(1.5), 1.0, -0.5, 2.0])
    np.testing.assert_allclose(kernel.bounds[0], np.log([0.1, 10.0]))
    assert (kernel.bounds[1:] == [-np.inf, np.inf]).all()
    assert kernel.parameter_names == ["length", "weights[0]", "weights[1]", "weights[2]"]
    moved = kernel.clone_with_theta([0.0, 3.0, 4.0, 5.0])
    assert moved.parameters["length"] == 1.0
    np.testing.assert_array_equal(moved.parameters["weights"], [3.0, 4.0, 5.0])
    assert kernel.parameters["length"] == 1.5


def test_derivatives_given_and_by_differences_agree(kernel, parameters, rng):
    X = rng.normal(size=(12, 3))
    G = rng.normal(size=(12, 12))
    G += G.T
    plain = FunctionKernel(value, parameters, positive=["length"])
    for build in (lambda k: k, lambda k: 2.0 * k + Gaussian(1.0) * k):
        given = build(kernel).contract(X, G, points=True)
        computed = build(plain).contract(X, G, points=True)
        for a, b in zip(given, computed, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)


def test_it_is_a_kernel_like_others(kernel, rng):
    X = rng.normal(size=(30, 3))
    Y = np.sin(X[:, :1])
    interpolant = kflow.Interpolant(X, Y, kernel=kernel, nugget=1e-8)
    np.testing.assert_allclose(interpolant(X), Y, atol=1e-4)
    np.testing.assert_allclose(kernel.diag(X), 1.0)
    np.testing.assert_allclose(kernel.apply(X, X[:5], Y[:5]), kernel(X, X[:5]) @ Y[:5])
    assert kernel(X.astype(np.float32)).dtype == np.float32


def test_fixed_parameters(parameters):
    kernel = FunctionKernel(
        value, parameters, positive=["length"], bounds={"weights": "fixed"}, gradient=gradient
    )
    assert kernel.parameter_names == ["length"]
    theta_gradient, _ = kernel.contract(np.eye(3), np.ones((3, 3)))
    assert theta_gradient.shape == (1,)


def test_no_parameters():
    kernel = FunctionKernel(lambda X, Z: X @ Z.T + 1.0)
    assert kernel.theta.shape == (0,)
    assert kernel.contract(np.eye(3), np.ones((3, 3)))[0].shape == (0,)
    np.testing.assert_array_equal(kernel(np.eye(2)), [[2.0, 1.0], [1.0, 2.0]])


def test_diagonal_function(rng):
    X = rng.normal(size=(4, 2))
    kernel = FunctionKernel(lambda X, Z: X @ Z.T, diagonal=lambda X: (X**2).sum(axis=1))
    np.testing.assert_allclose(kernel.diag(X), np.diag(kernel(X)))


def test_wrong_results_are_explained(rng):
    X = rng.normal(size=(4, 2))
    G = np.ones((4, 4))
    with pytest.raises(
        ValueError, match=r"function of .* must return shape \(4, 4\), got \(4, 2\)"
    ):
        FunctionKernel(lambda X, _: X)(X)
    with pytest.raises(ValueError, match="finite real numbers"):
        FunctionKernel(lambda X, Z: np.full((len(X), len(Z)), np.nan))(X)
    with pytest.raises(ValueError, match="finite real numbers"):
        FunctionKernel(lambda X, Z: np.full((len(X), len(Z)), "a"))(X)
    good = {"function": lambda X, Z, a: a * (X @ Z.T), "parameters": {"a": 1.0}}
    with pytest.raises(ValueError, match=r"must return a mapping with the keys \['a'\]"):
        FunctionKernel(**good, gradient=lambda *_, a: a).contract(X, G)
    with pytest.raises(ValueError, match=r"gradient\['a'\] of .* must return shape \(\)"):
        FunctionKernel(**good, gradient=lambda *_, a: {"a": np.ones(2) * a}).contract(X, G)
    with pytest.raises(ValueError, match=r"points_gradient of .* must return shape \(4, 2\)"):
        FunctionKernel(**good, points_gradient=lambda *_, a: a).contract(X, G, points=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"parameters": {"a": -1.0}}, "a must be positive"),
        ({"parameters": {"a": np.nan}}, "finite number or vector"),
        ({"parameters": {"a": np.ones((2, 2))}}, "finite number or vector"),
        ({"parameters": {"a": 1.0}, "positive": ["b"]}, "positive names"),
        ({"parameters": {"a": 1.0}, "bounds": {"b": (0, 1)}}, "bounds names"),
        ({"parameters": {"a": 1.0}, "bounds": {"a": (2, 3)}}, "outside its bounds"),
        ({"parameters": {"a": 1.0}, "bounds": {"a": (0, 3)}}, "must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FunctionKernel(lambda X, Z, **_: X @ Z.T, **arguments)


def test_functions_are_called_and_not_stored():
    with pytest.raises(TypeError, match="function must be callable"):
        FunctionKernel("gaussian")
    with pytest.raises(TypeError, match="gradient must be callable"):
        FunctionKernel(value, gradient=3)
    with pytest.raises(TypeError, match="no file can hold"):
        (FunctionKernel(value) + Gaussian()).to_dict()


def test_repr(parameters):
    assert repr(FunctionKernel(value, parameters, positive=["length"])) == (
        "FunctionKernel(value, length=1.5, weights=[1, -0.5, 2])"
    )


def test_caller_cannot_change_the_kernel(parameters):
    kernel = FunctionKernel(value, parameters, positive=["length"])
    parameters["weights"][0] = 100.0
    assert kernel.parameters["weights"][0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        kernel.parameters["weights"][0] = 100.0
    kernel.parameters["length"] = 100.0  # of a copy
    assert kernel.parameters["length"] == 1.5
    with pytest.raises(AttributeError, match="cannot be changed"):
        kernel.function = gradient


def test_equality_and_hash(parameters):
    kernel = FunctionKernel(value, parameters, positive=["length"])
    assert kernel == FunctionKernel(value, parameters, positive=["length"])
    assert hash(kernel) == hash(FunctionKernel(value, parameters, positive=["length"]))
    assert kernel != FunctionKernel(gradient, parameters, positive=["length"])
    assert kernel != FunctionKernel(value, {**parameters, "length": 2.0}, positive=["length"])
    assert kernel + Gaussian() != FunctionKernel(gradient) + Gaussian()


def test_copies_and_pickles(parameters, rng):
    kernel = FunctionKernel(value, parameters, positive=["length"])
    X = rng.normal(size=(5, 3))
    for twin in (copy.deepcopy(kernel), pickle.loads(pickle.dumps(kernel))):
        assert twin == kernel
        np.testing.assert_array_equal(twin(X), kernel(X))


def test_parts_that_are_functions_are_never_formed_as_a_whole(rng):
    shapes = []

    def linear(X, Z):
        shapes.append((len(X), len(Z)))
        return X @ Z.T

    X, Z, C = rng.normal(size=(3000, 1)), rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1))
    product = (FunctionKernel(linear) + Gaussian()).apply(X, Z, C)
    np.testing.assert_allclose(product, X @ (Z.T @ C) + Gaussian().apply(X, Z, C), atol=1e-8)
    assert len(shapes) > 1
    assert max(n * m for n, m in shapes) < 3000 * 2000


def test_learning_steps_back_from_numbers_that_are_not_finite(rng):
    def walled(X, Z, length):
        r2 = (X - Z.T) ** 2
        return np.exp(-r2 / (2 * length**2)) if length < 1.2 else np.full_like(r2, np.nan)

    x = rng.uniform(size=(40, 1))
    with pytest.warns(kflow.errors.LearningWarning, match="not finite"):
        learned = kflow.learn_kernel(
            FunctionKernel(walled, {"length": 1.0}),
            x,
            x[:, 0],
            loss="e2",
            random_state=0,
            n_steps=30,
        )
    assert learned.kernel.parameters["length"] < 1.2
