from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import Emulator, ModelFileError
from kflow.emulator.component_kernel import PROFILES, component_kernel
from kflow.emulator.mean import MeanFunction
from kflow.simulators import SIMULATORS
from kflow.storage.model_file import ModelReader, write_model

FEW_STEPS = {"n_steps": 15, "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks([Emulator(n_steps=2, random_state=0)])
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def field(X):
    """Eight outputs of very different size, all smooth functions of the first two inputs."""
    t = np.linspace(0.0, 1.0, 8)
    values = np.sin(X[:, :1] + 2.0 * t) + 0.3 * X[:, 1:2] * t + 0.1 * X[:, :1] * X[:, 1:2]
    return values * 10.0 ** np.arange(-3, 5) + 5.0


@pytest.fixture
def X(rng):
    return rng.uniform(-1.0, 1.0, size=(80, 3)) * [1.0, 2.0, 10.0] + [0.0, 0.0, 100.0]


@pytest.fixture
def T(rng):
    return rng.uniform(-1.0, 1.0, size=(30, 3)) * [1.0, 2.0, 10.0] + [0.0, 0.0, 100.0]


@pytest.fixture(params=[2000, 40], ids=["all rows", "inducing points"])
def emulator(request, X):
    return Emulator(**FEW_STEPS, n_inducing=request.param).fit(X, field(X))


def differences(function, X, step=1e-3):
    """Central differences, (n, m, d)."""
    columns = []
    for k, size in enumerate(X.std(axis=0)):
        shift = np.zeros(X.shape[1])
        shift[k] = step * size
        columns.append((function(X + shift) - function(X - shift)) / (2.0 * shift[k]))
    return np.stack(columns, axis=-1)


# ---- predictions --------------------------------------------------------------------------------


def test_fields_are_predicted_with_their_deviations(emulator, T):
    mean, std = emulator.predict(T, return_std=True)
    Y = field(T)
    assert mean.shape == std.shape == Y.shape
    relative = np.sqrt(np.square(mean - Y).mean(axis=0)) / Y.std(axis=0)
    assert (relative < 0.02).all()
    assert (np.abs(mean - Y) < 6.0 * std).all()
    assert (std < 0.1 * Y.std(axis=0)).all()
    np.testing.assert_array_equal(emulator.predict(T), mean)


def test_jacobians_are_those_of_differences(emulator, T):
    J = emulator.jacobian(T)
    expected = differences(emulator.predict, T)
    assert J.shape == (30, 8, 3)
    # In the units of outputs and inputs.
    unit = field(T).std(axis=0)[:, None] / T.std(axis=0)
    np.testing.assert_allclose(J / unit, expected / unit, atol=1e-4)


@pytest.mark.parametrize("name", PROFILES)
def test_the_mean_is_a_product_with_the_kernel(name, rng):
    kernel = component_kernel(name, 3)
    points, X, c = rng.normal(size=(9, 3)), rng.normal(size=(5, 3)), rng.normal(size=9)
    mean = MeanFunction(kernel, points, c)
    np.testing.assert_allclose(mean(X, 1), kernel(X, points) @ c)
    np.testing.assert_allclose(
        mean.jacobian(X, 1), differences(lambda x: mean(x, 1)[:, None], X)[:, 0], atol=1e-6
    )
    # At a point of its own the radial part has no slope.
    np.testing.assert_allclose(
        mean.jacobian(points, 1),
        differences(lambda x: mean(x, 1)[:, None], points)[:, 0],
        atol=1e-5,
    )


def test_a_row_is_predicted_from_its_inputs_alone(emulator, T):
    """In a batch, alone, on threads, and however the numbers come: the same bits."""
    mean, J = emulator.predict(T), emulator.jacobian(T)
    for i in (0, 8, 29):
        np.testing.assert_array_equal(emulator.predict(T[i : i + 1])[0], mean[i])
        np.testing.assert_array_equal(emulator.jacobian(T[i : i + 1])[0], J[i])
    emulator.set_params(n_threads=2)
    np.testing.assert_array_equal(emulator.predict(T), mean)
    np.testing.assert_array_equal(emulator.predict(np.asfortranarray(T)), mean)
    np.testing.assert_array_equal(emulator.predict(T.tolist()), mean)


def test_a_copy_by_pickle_predicts_the_same(emulator, T):
    twin = pickle.loads(pickle.dumps(emulator))
    np.testing.assert_array_equal(twin.predict(T), emulator.predict(T))


def test_scores_are_what_outputs_are_made_of(emulator, X, T):
    scores, std = emulator.predict_scores(T, return_std=True)
    assert scores.shape == std.shape == (30, emulator.n_components_)
    np.testing.assert_allclose(emulator.reduce(emulator.predict(T)), scores, atol=1e-8)
    training = emulator.reduce(field(X))
    np.testing.assert_allclose(training.mean(axis=0), 0.0, atol=1e-8)
    np.testing.assert_allclose(training.std(axis=0), 1.0)


def test_held_out_errors_are_those_of_other_rows(X, T):
    emulator = Emulator(**FEW_STEPS, n_components=1).fit(X, field(X))
    held = emulator.held_out_
    error = np.sqrt(np.square(emulator.predict(T) - field(T)).mean(axis=0))
    np.testing.assert_allclose(held.rmse, error, rtol=0.5)  # the truncation is most of it
    np.testing.assert_allclose(held.truncation, held.rmse, rtol=0.3)
    np.testing.assert_allclose(held.deviations, field(X).std(axis=0))
    assert held.n_rows == 80
    assert "8 outputs by 1 components, 80 rows held out" in held.summary()
    many = Emulator(**FEW_STEPS, n_inducing=40).fit(X, field(X)).held_out_
    assert many.n_rows == 8


def test_truncation_is_added_to_the_variance(X, T):
    whole = Emulator(**FEW_STEPS, n_components=3).fit(X, field(X))
    short = Emulator(**FEW_STEPS, n_components=1).fit(X, field(X))
    variance = np.square(short.predict(T, return_std=True)[1])
    assert (short.truncation_ > 3.0 * whole.truncation_).all()
    assert (variance >= np.square(short.truncation_)).all()


def test_noise_is_learned(rng, X, T):
    clean = field(X)[:, :1]
    noisy = clean + 0.2 * clean.std() * rng.normal(size=clean.shape)
    std = Emulator(**FEW_STEPS).fit(X, noisy).predict(T, return_std=True)[1]
    np.testing.assert_allclose(std / clean.std(), 0.2, rtol=0.4)


def test_inputs_are_reduced_to_the_directions_that_matter(rng):
    X = rng.normal(size=(300, 12))
    W = rng.normal(size=(12, 2))
    Y = np.column_stack([np.sin(X @ W[:, 0] / 4), np.square(X @ W[:, 1] / 4)])
    emulator = Emulator(**FEW_STEPS, kernel="matern52", input_components=2).fit(X, Y)
    directions = emulator.input_directions_ / emulator._inputs.scale[:, None]
    # The same plane: no residual of one in the other.
    residual = W - directions @ np.linalg.lstsq(directions, W, rcond=None)[0]
    assert np.linalg.norm(residual) < 0.2 * np.linalg.norm(W)
    before, after = emulator.input_errors_
    assert after < before
    T = rng.normal(size=(10, 12))
    unit = Y.std(axis=0)[:, None]
    np.testing.assert_allclose(
        emulator.jacobian(T) / unit, differences(emulator.predict, T) / unit, atol=1e-4
    )
    share = Emulator(**FEW_STEPS, kernel="matern52", input_components=0.2).fit(X, Y)
    assert share.input_directions_.shape[1] < 12


def test_the_number_of_threads_does_not_matter(X, T):
    first, second = (
        Emulator(**FEW_STEPS, n_threads=n).fit(X, field(X)).predict(T, return_std=True)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(first, second)


# ---- extremes -----------------------------------------------------------------------------------


def test_one_output_of_one_dimension(X, T):
    y = field(X)[:, 2]
    emulator = Emulator(**FEW_STEPS).fit(X, y)
    mean, std = emulator.predict(T, return_std=True)
    assert mean.shape == std.shape == (30,)
    assert emulator.jacobian(T).shape == (30, 3)
    assert emulator.reduce(y).shape == (80, 1)
    column = Emulator(**FEW_STEPS).fit(X, y[:, None])
    np.testing.assert_array_equal(column.predict(T)[:, 0], mean)
    assert emulator.score(T, field(T)[:, 2]) > 0.99


def test_one_input(rng):
    X = rng.uniform(-2.0, 2.0, size=(25, 1))
    emulator = Emulator(**FEW_STEPS).fit(X, np.hstack([np.sin(X), X**2]))
    np.testing.assert_allclose(emulator.predict([[0.5]]), [[np.sin(0.5), 0.25]], atol=1e-2)


def test_one_row_is_refused_and_two_are_taken():
    with pytest.raises(ValueError, match="X has one row, n_samples = 1: an emulator needs"):
        Emulator().fit([[1.0, 2.0]], [[1.0]])
    emulator = Emulator(**FEW_STEPS).fit([[0.0], [1.0]], [[0.0, 1.0], [1.0, 3.0]])
    mean, std = emulator.predict([[0.0], [0.5]], return_std=True)
    assert np.isfinite(mean).all()
    assert (std > 0.0).all()


def test_duplicate_rows(X, T):
    twice = np.concatenate([X, X[:40]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emulator = Emulator(**FEW_STEPS).fit(twice, field(twice))
    error = np.abs(emulator.predict(T) - field(T)) / field(T).std(axis=0)
    assert error.max() < 0.1


def test_constant_outputs_and_inputs(X, T):
    Y = np.column_stack([np.full(80, 7.0), field(X)[:, 0], np.full(80, 0.1)])
    X[:, 2] = 3.0
    T[:, 2] = 3.0
    emulator = Emulator(**FEW_STEPS).fit(X, Y)
    mean, std = emulator.predict(T, return_std=True)
    np.testing.assert_allclose(mean[:, [0, 2]], [[7.0, 0.1]] * 30, rtol=1e-12)
    assert (std[:, [0, 2]] < 1e-12).all()
    np.testing.assert_array_equal(emulator.held_out_.relative[[0, 2]], 0.0)
    flat = Emulator(**FEW_STEPS).fit(X, Y[:, :1])
    assert flat.n_components_ == 0
    mean, std = flat.predict(T, return_std=True)
    np.testing.assert_array_equal(mean, 7.0)
    np.testing.assert_array_equal(std, 0.0)
    np.testing.assert_array_equal(flat.jacobian(T), 0.0)


def test_float32_is_taken(X, T):
    Y = field(X).astype(np.float32)
    emulator = Emulator(**FEW_STEPS).fit(X.astype(np.float32), Y)
    mean = emulator.predict(T.astype(np.float32))
    assert mean.dtype == np.float64
    assert (np.abs(mean - field(T)) < 0.05 * field(T).std(axis=0)).all()


def test_more_outputs_than_rows(rng):
    X = rng.uniform(-1.0, 1.0, size=(30, 2))
    t = np.linspace(0.0, 3.0, 500)
    emulator = Emulator(**FEW_STEPS).fit(X, np.sin(X[:, :1] + t) * X[:, 1:])
    T = rng.uniform(-0.8, 0.8, size=(9, 2))
    expected = np.sin(T[:, :1] + t) * T[:, 1:]
    assert np.abs(emulator.predict(T) - expected).max() < 0.1


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "cubic"}, "kernel must be one of"),
        ({"loss": "mean"}, "loss must be one of"),
        ({"n_components": 0}, "n_components must be at least 1"),
        ({"n_components": 9}, "n_components must be at most 8"),
        ({"n_components": 1.5}, "n_components must be a whole number, or as a float a share"),
        ({"n_components": "all"}, "n_components must be one of"),
        ({"output_scaling": "unit"}, "output_scaling must be one of"),
        ({"input_components": 4}, "input_components must be at most 3"),
        ({"input_components": 2.0}, "input_components must be a whole number, or as a float"),
        ({"n_inducing": 0}, "n_inducing must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
    ],
)
def test_wrong_options_are_named(options, message, X):
    with pytest.raises(ValueError, match=message):
        Emulator(**options).fit(X, field(X))


def test_wrong_arrays_are_refused(X, T):
    Y = field(X)
    with pytest.raises(ValueError, match="NaN"):
        Emulator().fit(np.where(X > 0.5, np.nan, X), Y)
    with pytest.raises(ValueError, match="NaN"):
        Emulator().fit(X, np.where(Y > 6.0, np.nan, Y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Emulator().fit(X, Y[:-1])
    with pytest.raises(NotFittedError):
        Emulator().predict(T)
    emulator = Emulator(**FEW_STEPS).fit(X, Y)
    with pytest.raises(ValueError, match="features"):
        emulator.jacobian(T[:, :2])
    with pytest.raises(ValueError, match="y must have 8 columns"):
        emulator.reduce(Y[:, :2])


def test_a_fit_that_fails_leaves_the_earlier_one(X, T):
    emulator = Emulator(**FEW_STEPS).fit(X, field(X))
    before = emulator.predict(T)
    with pytest.raises(ValueError, match="kernel"):
        emulator.set_params(kernel="cubic").fit(X[:10], field(X[:10]))
    np.testing.assert_array_equal(emulator.predict(T), before)


# ---- files --------------------------------------------------------------------------------------


def test_it_comes_back_as_it_was_saved(emulator, T, tmp_path):
    emulator.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.get_params() == {**emulator.get_params(), "n_threads": None}
    np.testing.assert_array_equal(loaded.predict(T), emulator.predict(T))
    np.testing.assert_array_equal(loaded.jacobian(T), emulator.jacobian(T))
    np.testing.assert_allclose(loaded.predict(T, True)[1], emulator.predict(T, True)[1], rtol=1e-9)
    assert loaded.kernels_ == emulator.kernels_
    assert loaded.held_out_.summary() == emulator.held_out_.summary()
    assert clone(loaded).get_params() == loaded.get_params()


def test_names_and_directions_come_back(X, T, tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=["a", "b", "c"])
    emulator = Emulator(**FEW_STEPS, input_components=2).fit(table, field(X))
    emulator.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert list(loaded.feature_names_in_) == ["a", "b", "c"]
    assert loaded.input_errors_ == emulator.input_errors_
    rows = pandas.DataFrame(T, columns=["a", "b", "c"])
    np.testing.assert_array_equal(loaded.predict(rows), emulator.predict(rows))


def _rewritten(source, target, change_settings=None, **changes):
    with ModelReader(source) as reader:
        names = [name[: -len(".npy")] for name in reader._members if name.endswith(".npy")]
        arrays = {name: reader.array(name) for name in names}
        settings = reader.settings
    settings.update(change_settings or {})
    write_model(target, "Emulator", settings, {**arrays, **changes}.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"points": np.zeros((3, 3))},
        {"coefficients": np.zeros((1, 1))},
        {"nuggets": np.array([-1.0])},
        {"output_mean": np.zeros(3)},
        {"output_scale": np.full(8, np.nan)},
        {"input_scale": np.zeros(3)},
        {"noise_factor_0": np.zeros(5)},
        {"held_out_rmse": np.zeros(2)},
        {"change_settings": {"kernels": [{"kernel": "gaussian", "length_scale": 1.0}]}},
        {"change_settings": {"n_features_in": 5}},
    ],
    ids=str,
)
def test_damaged_files_are_refused(changes, X, tmp_path):
    emulator = Emulator(**FEW_STEPS, n_inducing=20, n_components=1).fit(X, field(X))
    emulator.save(tmp_path / "model")
    _rewritten(tmp_path / "model", tmp_path / "damaged", **changes)
    with pytest.raises(ModelFileError):
        kflow.load(tmp_path / "damaged")


@pytest.mark.slow
def test_the_spill_at_many_rows():
    spill = SIMULATORS["spill"]
    X, T = spill.draw(600, random_state=0), spill.draw(200, random_state=1)
    Y = spill(T)
    emulator = Emulator(random_state=0, n_components=12, n_inducing=300).fit(X, spill(X))
    mean, std = emulator.predict(T, return_std=True)
    error = np.abs(mean - Y)
    assert np.median(np.sqrt(np.square(error).mean(axis=0)) / Y.std(axis=0)) < 0.06
    assert 0.9 < np.mean(error < 1.96 * std) < 1.0


@pytest.mark.slow
def test_few_directions_of_many_inputs():
    # Three directions of 60 inputs matter, and none of the inputs alone.
    rng = np.random.default_rng(0)
    W = np.linalg.qr(rng.normal(size=(60, 3)))[0]
    t = np.linspace(0.0, 1.0, 8)

    def model(X):
        U = X @ W
        return np.sin(2.0 * U[:, :1] + 3.0 * t) + U[:, 1:2] * t + np.exp(-(U[:, 2:] ** 2)) * (1 - t)

    X, T = rng.normal(size=(900, 60)), rng.normal(size=(200, 60))
    errors = []
    for n_directions in (None, 3):
        emulator = Emulator(input_components=n_directions, n_steps=15, random_state=0)
        emulator.fit(X, model(X))
        errors.append(np.abs(emulator.predict(T) - model(T)).mean())
    assert errors[1] < 0.6 * errors[0]
    found = np.linalg.qr(emulator.input_directions_)[0]
    assert np.linalg.svd(W.T @ found, compute_uv=False).min() > 0.8
