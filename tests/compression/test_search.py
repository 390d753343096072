from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import kflow
from kflow import KernelFlow, kernels
from kflow.compression import FlowSize
from kflow.presets import FIXED

KERNEL = kernels.Gaussian(1.0)


def make_data(n=200, d=3):
    X = np.random.default_rng(0).normal(size=(n, d))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


def make_flow(X, y, **options):
    settings = {"n_layers": 20, "batch_size": 40, "nugget": 1.0, "step": "rms", "random_state": 0}
    return KernelFlow(KERNEL, **{**settings, "step_size": 0.02, **options}).fit(X, y)


@pytest.fixture(scope="module")
def classifier():
    X, y = make_data(300)
    return (
        kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 60, "random_state": 0}).fit(X, y),
        X,
        y,
    )


# ---- the fit ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"rank": 2}, {"rank": "auto", "shrink_every": 5, "shrink_tolerance": 0.05}]
)
@pytest.mark.parametrize("rank", [None, 1])
def test_errors_are_those_of_the_maps(options, rank, dtype):
    X, y = make_data()
    flow = make_flow(X, y, dtype=dtype, **options)
    small = kflow.compress(
        flow, X, n_layers=3, n_centres=20, rank=rank, held_out=0.2, random_state=1
    )
    held = np.sort(np.random.default_rng(1).permutation(200)[:40])
    F, G = (f.transform(X).astype(np.float64) for f in (flow, small.estimator))
    distances = np.linalg.norm(F[:, None] - F, axis=2)
    unit = math.sqrt((distances**2).sum() / (200 * 199))
    errors = np.linalg.norm(G - F, axis=1)[held] / unit
    assert small.position_error == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-2)
    assert small.largest_error == pytest.approx(errors.max(), rel=1e-2)
    assert math.isnan(small.prediction_change)
    assert small.after.rank == (rank or small.before.rank)
    if rank is None:
        assert small.position_error < 0.1


def test_more_centres_come_closer():
    X, y = make_data(600)
    flow = make_flow(X, y)
    few, many = (kflow.compress(flow, X, n_centres=n, random_state=0) for n in (10, 100))
    assert many.position_error < 0.5 * few.position_error
    assert not few.reached or few.position_error <= 0.1


@pytest.mark.slow
def test_centres_grow_until_the_tolerance_is_met():
    X, y = make_data(2000)
    flow = make_flow(X, y, n_layers=100, batch_size=200, nugget=0.01)
    coarse = kflow.compress(flow, X, tolerance=1.0, random_state=0)
    fine = kflow.compress(flow, X, tolerance=0.8 * coarse.position_error, random_state=0)
    assert coarse.reached
    assert coarse.after.n_centres == 4 * 64
    assert fine.reached
    assert fine.after.n_centres > coarse.after.n_centres
    never = kflow.compress(flow, X, tolerance=1e-12, random_state=0)
    assert not never.reached
    assert never.position_error <= fine.position_error
    assert never.after.flops < flow.n_layers_ * 200 * 4 * 3


def test_sizes():
    X, y = make_data()
    flow = make_flow(X, y, rank=2)
    assert FlowSize.of(flow) == FlowSize(
        20, n_centres=800, rank=2, n_bytes=800 * 5 * 4, flops=800 * 10
    )


# ---- estimators -------------------------------------------------------------------------------


def test_classifier(classifier, tmp_path):
    original, X, y = classifier
    before = original.predict(X)
    small = kflow.compress(original, X, n_centres=60, random_state=0)
    compressed = small.estimator
    assert isinstance(compressed, kflow.KernelFlowClassifier)
    assert small.prediction_change <= 0.1
    assert (compressed.predict(X) != before).mean() < 0.05
    assert compressed.score(X, y) > 0.9
    np.testing.assert_array_equal(compressed.interpolation_rows_, original.interpolation_rows_)
    assert original.flow_.n_layers_ == 60
    np.testing.assert_array_equal(original.predict(X), before)
    compressed.save(tmp_path / "model.kflow")
    loaded = kflow.load(tmp_path / "model.kflow")
    np.testing.assert_array_equal(loaded.predict_proba(X), compressed.predict_proba(X))


def test_points_that_were_not_trained_on(classifier):
    original, X, y = classifier
    other = np.random.default_rng(5).normal(size=(400, 3))
    small = kflow.compress(original, other, n_centres=60, random_state=0)
    assert not hasattr(small.estimator, "interpolation_rows_")
    assert small.estimator.score(X, y) > original.score(X, y) - 0.1
    fewer = kflow.compress(original, X[:50], n_centres=20, random_state=0)
    assert not hasattr(fewer.estimator, "interpolation_rows_")
    assert len(fewer.estimator.interpolant_.centres) == 45


def test_regressor():
    X, _ = make_data(300)
    y = np.column_stack([X[:, 0] * X[:, 1], X[:, 2]])
    original = kflow.KernelFlowRegressor(**{**FIXED, "n_layers": 50, "random_state": 0}).fit(X, y)
    small = kflow.compress(original, X, n_centres=80, random_state=0)
    assert 0 < small.prediction_change < 0.3
    predicted = small.estimator.predict(X)
    assert predicted.shape == y.shape
    assert np.abs(predicted - original.predict(X)).mean() < 0.1


def test_held_out_points_are_not_predicted_from_their_own_label():
    X = np.random.default_rng(0).normal(size=(300, 3))
    y = np.random.default_rng(1).integers(2, size=300)  # nothing but learned by heart
    original = kflow.KernelFlowClassifier(
        **{**FIXED, "n_layers": 60, "random_state": 0, "interpolation_nugget": 1e-3}
    ).fit(X, y)
    small = kflow.compress(original, X, n_centres=10, n_layers=2, random_state=0)
    # Each is predicted right from its own label, but not alike from the others'.
    assert small.prediction_change > (small.estimator.predict(X) != original.predict(X)).mean()


def test_same_seed_same_flow(classifier):
    original, X, _ = classifier
    first, second = (kflow.compress(original, X, n_centres=30, random_state=3) for _ in range(2))
    assert first.position_error == second.position_error
    np.testing.assert_array_equal(first.estimator.transform(X), second.estimator.transform(X))


# ---- flows without points ---------------------------------------------------------------------


@pytest.mark.parametrize("rank", [None, 2])
def test_a_flow_without_points(rank, tmp_path):
    X, y = make_data()
    small = kflow.compress(make_flow(X, y, rank=rank), X, n_centres=3, random_state=0).estimator
    assert small.points_.shape == (0, 3)
    assert small.targets_.shape == (0, 1)
    assert len(small.history_["rho"]) == 4
    with pytest.raises(ValueError, match=r"no training points.*cannot run"):
        small.run(1)
    small.save(tmp_path / "flow.kflow")
    expected = small.transform(X)
    for other in (kflow.load(tmp_path / "flow.kflow"), copy.copy(small)):
        np.testing.assert_array_equal(other.transform(X), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(other)).transform(X), expected)
        with pytest.raises(ValueError, match="cannot run"):
            other.run(1)
    start, end = small.trajectory(X, [0, 4])
    np.testing.assert_allclose(start, X, atol=1e-6)
    np.testing.assert_array_equal(end, expected)
    reduced = small.transform(X, reduced=True)
    np.testing.assert_array_equal(small.linearize(X).points, reduced)
    again = kflow.compress(small, X, n_layers=2, n_centres=20, random_state=0)
    assert again.after.n_layers == 2


# ---- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance"),
        ({"n_layers": 0}, "n_layers"),
        ({"n_centres": 0}, "n_centres"),
        ({"rank": 4}, "rank must be at most 3"),
        ({"rank": 0}, "rank"),
        ({"held_out": 1.0}, "held_out"),
        ({"X": np.zeros((5, 2))}, "X must have 3 columns"),
        ({"X": np.full((5, 3), np.nan)}, "X contains NaN"),
        ({"X": np.zeros((1, 3))}, "X: of 1 rows 1 are held out"),
        ({"random_state": "a"}, "random_state"),
    ],
)
def test_bad_arguments(options, message):
    X, y = make_data(50)
    flow = make_flow(X, y, n_layers=2)
    with pytest.raises((TypeError, ValueError), match=message):
        kflow.compress(flow, **{"X": X, **options})


def test_estimators_without_layers():
    X, y = make_data(50)
    with pytest.raises(NotFittedError):
        kflow.compress(kflow.KernelFlowClassifier(), X)
    with pytest.raises(ValueError, match="nothing to compress"):
        kflow.compress(make_flow(X, y, n_layers=0), X)
    with pytest.raises(ValueError, match="not kept"):
        kflow.compress(make_flow(X, y, layers="none"), X)


def test_two_points_that_coincide():
    X, y = make_data(50)
    flow = make_flow(X, y, n_layers=2)
    small = kflow.compress(flow, np.zeros((2, 3)), random_state=0)
    assert small.after.n_centres == 2
    assert small.position_error < 1e-3


def test_pipelines_keep_their_encoder(rng, tmp_path):
    X = rng.random((120, 8, 8))
    y = (X[:, :, :4].sum(axis=(1, 2)) > X[:, :, 4:].sum(axis=(1, 2))).astype(int)
    estimator = kflow.KernelFlowClassifier(**{**FIXED, "n_layers": 20, "random_state": 0})
    encoder = kflow.features.ImageEncoder(J=1, n_components=8)
    pipeline = kflow.make_image_pipeline(estimator, encoder=encoder).fit(X, y)
    options = {"n_layers": 2, "n_centres": 30, "random_state": 0}
    small = kflow.compress(pipeline, X, **options)
    inner = kflow.compress(pipeline.estimator, pipeline.encoder.transform(X), **options)
    np.testing.assert_array_equal(
        small.estimator.decision_function(X),
        inner.estimator.decision_function(pipeline.encoder.transform(X)),
    )
    assert (small.position_error, small.after) == (inner.position_error, inner.after)
    assert pipeline.estimator.flow_.n_layers_ == 20
    small.estimator.save(tmp_path / "small.kflow")
    loaded = kflow.load(tmp_path / "small.kflow")
    np.testing.assert_array_equal(loaded.predict(X), small.estimator.predict(X))
