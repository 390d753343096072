from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels, losses
from kflow.kernels import Gaussian, Laplacian, Linear, Periodic, Polynomial
from kflow.timeseries import (
    Forecaster,
    delay_embedding,
    dictionary,
    henon_map,
    learn_sparse_kernel,
    lorenz63,
)
from kflow.timeseries.sparse_weights import MeanLoss


@pytest.fixture(scope="module")
def lorenz():
    return lorenz63(500, time_step=0.1)


@pytest.fixture(scope="module")
def henon_pairs():
    return delay_embedding(henon_map(150), 1)


def test_the_quadratic_kernel_explains_a_quadratic_map(henon_pairs):
    X, Y = henon_pairs
    candidates = [Laplacian(), Gaussian(), Polynomial(degree=2), Periodic(1.0, 5.0)]
    result = learn_sparse_kernel(candidates, X, Y, learn=False, nugget=1e-6, random_state=0)
    assert result.survivors == (2,)
    np.testing.assert_array_equal(result.weights, [0, 0, 1, 0])
    scale = candidates[2].diag(X).mean()
    np.testing.assert_allclose(result.kernel(X), candidates[2](X) / scale, rtol=1e-12)
    forecaster = Forecaster(result.kernel, scaling=None, nugget=1e-10, learn=None)
    _, errors = forecaster.fit(henon_map(150)).one_step(henon_map(100, random_state=1))
    assert np.abs(errors).max() < 1e-6


@pytest.mark.slow
def test_weights_form_a_path_on_the_simplex_that_goes_down(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    candidates = [Laplacian(), Gaussian(), Polynomial()]
    result = learn_sparse_kernel(
        candidates, X, Y, learn=False, penalty=0.01, n_batches=2, random_state=0
    )
    history = result.history
    assert (history["weights"] >= 0).all()
    np.testing.assert_allclose(history["weights"].sum(axis=1), 1)
    assert set(history["round"]) == {0, 1}
    for number, penalty in ((0, 0.0), (1, 0.01)):
        part = history["round"] == number
        cost = history["loss"][part] + penalty * (1 - history["weights"][part].max(axis=1))
        assert (np.diff(cost) <= 1e-12).all()
    assert result.loss == history["loss"][-1]
    np.testing.assert_array_equal(result.weights, history["weights"][-1])
    scales = np.array([kernel.diag(X).mean() for kernel in candidates])
    expected = sum(w / s * k(X) for w, s, k in zip(result.weights, scales, candidates, strict=True))
    np.testing.assert_allclose(result.kernel(X), expected, rtol=1e-10)


def test_a_penalty_leaves_fewer_kernels(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    settings = {"nugget": 0.01, "learn": False, "n_batches": 2, "random_state": 0}
    free, priced = (
        learn_sparse_kernel(dictionary(2.0)[:7], X, Y, penalty=penalty, **settings)
        for penalty in (0.0, 1.0)
    )
    assert len(free.survivors) > len(priced.survivors) == 1


def test_the_scale_of_kernels_and_targets_does_not_matter(henon_pairs):
    X, Y = henon_pairs
    settings = {"learn": False, "nugget": 1e-3, "penalty": 0.0, "random_state": 0}
    plain = learn_sparse_kernel([Laplacian(), Gaussian()], X, Y, **settings)
    scaled = learn_sparse_kernel([1e4 * Laplacian(), 1e-4 * Gaussian()], X, 1e5 * Y, **settings)
    np.testing.assert_allclose(scaled.weights, plain.weights, rtol=1e-6)
    np.testing.assert_allclose(scaled.kernel(X), plain.kernel(X), rtol=1e-6)


@pytest.mark.slow
def test_parameters_are_learned_too(lorenz):
    z = (lorenz[:150] - lorenz[:150].mean(axis=0)) / lorenz[:150].std(axis=0)
    X, Y = delay_embedding(z, 1)
    candidates = [Gaussian(0.3), Linear(), kernels.Constant()]
    options = {"n_steps": 40}
    settings = {"loss": "e2", "penalty": 1e-6, "nugget": 1e-6, "random_state": 0}
    fixed = learn_sparse_kernel(candidates, X, Y, learn=False, **settings)
    learned = learn_sparse_kernel(candidates, X, Y, learn_options=options, **settings)
    assert learned.loss < 0.5 * fixed.loss
    assert learned.nugget == 1e-6
    assert set(learned.history["round"]) == {0, 1, 2}
    again = learn_sparse_kernel(candidates, X, Y, learn_options=options, n_threads=3, **settings)
    np.testing.assert_array_equal(again.weights, learned.weights)
    assert again.kernel == learned.kernel


def test_the_nugget_of_a_sparse_kernel_is_learned_on_request(henon_pairs):
    options = {"n_steps": 5, "learn_nugget": True}
    result = learn_sparse_kernel(
        [Gaussian(), Linear()], *henon_pairs, learn_options=options, n_rounds=1, random_state=0
    )
    assert result.nugget != 1e-4


def test_kernels_without_parameters_need_no_learning(henon_pairs):
    fixed = [Gaussian(length_scale_bounds="fixed"), Laplacian(length_scale_bounds="fixed")]
    result = learn_sparse_kernel(fixed, *henon_pairs, random_state=0)
    assert result.weights.sum() == pytest.approx(1)


def test_kernels_of_low_rank_need_others(rng):
    # Without a nugget the linear kernel alone is singular, and the largest penalty cannot leave it.
    X = rng.normal(size=(30, 2))
    result = learn_sparse_kernel(
        [Linear(), Gaussian()],
        X,
        X @ [1.0, 2.0],
        nugget=0.0,
        penalty=0.0,
        learn=False,
        random_state=0,
    )
    assert 1 in result.survivors


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kernels": [Gaussian()]}, ValueError, "kernels must be at least two"),
        ({"kernels": Gaussian() + Linear()}, TypeError, "pass its parts"),
        ({"kernels": [Gaussian(), "linear"]}, TypeError, "must be one of"),
        ({"kernels": [Gaussian(), Gaussian((1.0, 1.0, 1.0))]}, ValueError, "length_scale"),
        ({"penalty": -1.0}, ValueError, "penalty must not be negative"),
        ({"loss": "mse"}, ValueError, "loss must be one of"),
        ({"nugget": -1.0}, ValueError, "nugget must be finite"),
        ({"tolerance": 0.0}, ValueError, "tolerance must be positive"),
        ({"n_rounds": 0}, ValueError, "n_rounds must be at least 1"),
        ({"learn": 1}, TypeError, "learn must be True or False"),
        ({"learn_options": []}, TypeError, "learn_options must be a mapping"),
        ({"learn_options": {"nugget": 1.0}}, ValueError, "learn_options: 'nugget' is an argument"),
        ({"X": [[1.0, 2.0]], "Y": [1.0]}, ValueError, "X has 1 row"),
        ({"Y": np.zeros(10)}, ValueError, "Y is zero everywhere"),
        ({"Y": np.ones(9)}, ValueError, "Y must have 10 rows"),
    ],
)
def test_sparse_learning_says_what_is_wrong(rng, changes, error, message):
    arguments = {
        "kernels": [Gaussian(), Linear()],
        "X": rng.normal(size=(10, 2)),
        "Y": rng.normal(size=10),
        **changes,
    }
    with pytest.raises(error, match=message):
        learn_sparse_kernel(**arguments)


@pytest.mark.slow
@pytest.mark.parametrize("loss", list(losses.LOSSES))
def test_the_loss_that_is_learned_by_has_the_gradient_of_the_weights(rng, loss, monkeypatch):
    averages = []

    class Recorded(MeanLoss):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            averages.append(self)

    monkeypatch.setattr("kflow.timeseries.sparse.MeanLoss", Recorded)
    X, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 2))
    candidates = [Gaussian(), Laplacian(2.0), Linear()]
    learn_sparse_kernel(
        candidates,
        X,
        Y,
        loss=loss,
        nugget=0.1,
        learn=False,
        batch_size=20,
        max_steps=1,
        random_state=0,
    )
    weights = np.array([0.5, 0.2, 0.3])
    gradient = averages[0](weights).gradient
    for i, step in enumerate(1e-6 * np.eye(3)):
        difference = averages[0](weights + step).loss - averages[0](weights - step).loss
        assert difference / 2e-6 == pytest.approx(gradient[i], rel=1e-5, abs=1e-8)
