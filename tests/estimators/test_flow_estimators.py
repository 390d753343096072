from __future__ import annotations

import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import kflow
from kflow import (
    DivergenceError,
    KernelFlowClassifier,
    KernelFlowRegressor,
    SingularKernelError,
    kernels,
)
from kflow.estimators.base import MAX_INTERPOLATION

SETTINGS = {"n_layers": 5, "batch_size": 20, "random_state": 0}


@parametrize_with_checks(
    [
        KernelFlowClassifier(n_layers=30, random_state=0),
        KernelFlowClassifier(n_layers=30, random_state=0, early_stopping=True),
        KernelFlowRegressor(n_layers=30, random_state=0),
    ]
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@pytest.fixture
def X(rng):
    """Four features of different size and mean; rows 0 to 39 of one class, the others of two."""
    X = rng.normal(size=(80, 4))
    X[40:60] += [3, 0, 0, 0]
    X[60:] += [0, 3, 0, 0]
    return X * [1, 2, 5, 10] + [1, 0, 20, 0]


@pytest.fixture
def labels():
    return np.repeat(["plain", "first", "second"], [40, 20, 20])


@pytest.fixture(params=["classifier", "regressor"])
def make(request):
    """Return an estimator of either kind, with few layers."""
    kind = KernelFlowClassifier if request.param == "classifier" else KernelFlowRegressor
    return lambda **options: kind(**{**SETTINGS, **options})


@pytest.fixture
def y(make, X, labels):
    """Return what either kind can learn."""
    return labels if isinstance(make(), KernelFlowClassifier) else X[:, 0] + X[:, 1] ** 2


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


# ---- what it learns ---------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
def test_scaling(make, X, y, scaling):
    model = make(scaling=scaling, n_layers=0, dtype="float64").fit(X, y)
    wanted = {
        "standard": (X - X.mean(axis=0)) / X.std(axis=0),
        "unit": X / np.linalg.norm(X, axis=1, keepdims=True),
        None: X,
    }[scaling]
    np.testing.assert_allclose(model.flow_.points_, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(model.transform(X), model.flow_.points_)
    assert model.energy_dropped_ == 0
    assert np.isfinite(make(scaling=scaling).fit(X, y).score(X, y))


def test_rank(make, X, y):
    whole = make(n_layers=20, dtype="float64").fit(X, y)
    rotated = make(n_layers=20, dtype="float64", rank=4).fit(X, y)
    # In all dimensions nothing is lost, and no kernel sees the rotation.
    assert rotated.energy_dropped_ == 0
    np.testing.assert_allclose(
        rotated.interpolant_.coefficients, whole.interpolant_.coefficients, rtol=1e-6, atol=1e-9
    )
    projected = make(rank=3).fit(X, y)
    assert projected.flow_.rank_ == 3
    assert projected.transform(X).shape == (80, 4)
    assert len(projected.get_feature_names_out()) == 4
    assert projected.n_features_in_ == projected.flow_.n_features_in_ == 4
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    energies = np.linalg.svd(scaled, compute_uv=False) ** 2
    assert projected.energy_dropped_ == pytest.approx(energies[3] / energies.sum())


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
@pytest.mark.parametrize("rank", [4, "auto", 1e-12])
def test_rank_loses_nothing_of_data_in_a_subspace(rng, make, X, y, scaling, rank):
    wide = (X / X.std(axis=0)) @ rng.normal(size=(4, 30))
    wide = wide - wide.mean(axis=0)
    other = rng.normal(size=(9, 30))  # not in the span
    options = {"scaling": scaling, "dtype": "float64", "n_layers": 10}
    model = make(rank=rank, **options).fit(wide, y, follow={"other": other})
    full = make(**options).fit(wide, y, follow={"other": other})
    assert model.flow_.rank_ == 4
    assert model.energy_dropped_ < 1e-12
    assert model.flow_.kernel_ == full.flow_.kernel_
    np.testing.assert_allclose(model.transform(wide), full.transform(wide), atol=1e-8)
    np.testing.assert_allclose(model.transform(other), full.transform(other), atol=1e-8)
    np.testing.assert_allclose(model._scores(other), full._scores(other), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(
        model.interpolant_.centres,
        model.flow_.reduced_points_,
    )
    np.testing.assert_allclose(
        model.flow_.reduced_follow_["other"],
        model._transform(other, reduced=True),
        atol=1e-10,
    )


def test_shrinking(make, X, y, tmp_path):
    wide = np.hstack([X, 0.01 * X**2])
    options = {"rank": "auto", "shrink_every": 2, "shrink_tolerance": 0.1, "n_layers": 9}
    model = make(**options).fit(wide, y)
    assert model.flow_.rank_ < 8
    assert model.transform(wide).shape == (80, 8)
    tolerance = {"rtol": 0, "atol": 1e-3}
    np.testing.assert_allclose(model.transform(wide), model.flow_.points_, **tolerance)
    assert model.score(wide, y) > 0.5
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, model, wide)
    assert_same(pickle.loads(pickle.dumps(model)), model, wide)
    assert (loaded.rank, loaded.shrink_every, loaded.shrink_tolerance) == ("auto", 2, 0.1)
    assert_same(loaded.fit(wide, y), model, wide)


@pytest.mark.parametrize("scaling", ["standard", "unit", None])
@pytest.mark.parametrize("rank", ["auto", 5])
def test_a_rank_makes_no_copy_of_the_data(rng, scaling, rank):
    X = rng.normal(size=(30_000, 40)).astype(np.float32)
    X[:, 8:] = X[:, :32] + X[:, :1]
    settings = {**SETTINGS, "n_layers": 1, "n_interpolation": 10}
    model = KernelFlowRegressor(**settings, scaling=scaling, rank=rank)
    y = X[:, 0] + X[:, 1]
    model.fit(X[:100], y[:100])  # imports
    tracemalloc.start()
    try:
        model.fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    rank = model.flow_.rank_
    # Points, displacements and those of the next run, and the targets a few times.
    assert peak < 4 * len(X) * 3 * (rank + 1) + 8 * 8 * len(X) + X.nbytes / 2


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"rank": 0}, ValueError, "rank must be at least 1"),
        ({"rank": 5}, ValueError, "rank must lie between 1 and the 4 features"),
        ({"rank": 2.0}, ValueError, r"rank as a part of .* got 2.0: .* pass an int"),
        ({"rank": "all"}, TypeError, "rank must be None, 'auto', a whole number"),
        ({"shrink_every": 5}, ValueError, "shrink_every=5 needs a rank"),
        ({"shrink_every": 0.5}, TypeError, "shrink_every must be a whole number"),
        ({"shrink_tolerance": -1}, ValueError, "shrink_tolerance must be positive"),
        ({"scaling": "minmax"}, ValueError, "scaling must be one of"),
        ({"dtype": None}, ValueError, "dtype must be 'float32' or 'float64', got None"),
        ({"dtype": "float16"}, ValueError, "dtype must be"),
        ({"batch_size": "ten"}, TypeError, "batch_size must be a whole number"),
        ({"batch_size": 3}, ValueError, "batch_size must be at least 4"),
        ({"n_layers": -1}, ValueError, "n_layers"),
        ({"nugget": None}, TypeError, "nugget"),
        ({"kernel": "gaussian"}, TypeError, "kernel"),
        ({"layers": 3}, ValueError, "layers must be"),
        ({"callbacks": print}, TypeError, "callbacks must be a list"),
        ({"n_interpolation": 81}, ValueError, "n_interpolation"),
        ({"n_interpolation": 0}, ValueError, "n_interpolation must be at least 1"),
        ({"n_interpolation": 9.0}, TypeError, "n_interpolation must be a whole number"),
        (
            {"interpolation_nugget": -1},
            ValueError,
            "interpolation_nugget must be finite and not negative",
        ),
        ({"interpolation_nugget": "1"}, TypeError, "interpolation_nugget must be a number"),
    ],
    ids=str,
)
def test_bad_parameters_are_named_before_the_flow(make, X, y, option, error, message):
    layers = []
    with pytest.raises(error, match=message):
        make(**{"callbacks": [layers.append], **option}).fit(X, y)
    assert layers == []


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float64"), "float32"], ids=str)
def test_dtypes(make, X, y, dtype):
    assert make(dtype=dtype).fit(X, y).transform(X).dtype == dtype


def test_a_batch_larger_than_the_data(make, X, y):
    assert make(batch_size=1000).fit(X, y).flow_.batch_size == 80


@pytest.mark.parametrize("n", [3, 9, 10, 60])
def test_interpolation_points_of_the_classes(X, labels, n):
    model = KernelFlowClassifier(**SETTINGS, n_interpolation=n).fit(X, labels)
    rows = rows_of(centres(model), model)
    assert len(set(rows)) == n
    counts = np.unique(labels[rows], return_counts=True)[1]
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def centres(model):
    return model.interpolant_.centres


def rows_of(points, model):
    """Return which training points these are."""
    place = {point.tobytes(): row for row, point in enumerate(model.flow_.points_)}
    return [place[point.tobytes()] for point in points]


def test_interpolation_points_that_the_classes_do_not_have(X, labels):
    with pytest.raises(ValueError, match=r"n_interpolation: class .* pass at most 60"):
        KernelFlowClassifier(**SETTINGS, n_interpolation=63).fit(X, labels)
    with pytest.raises(ValueError, match=r"n_interpolation: .*less than one point for each of 3"):
        KernelFlowClassifier(**SETTINGS, n_interpolation=2).fit(X, labels)


def test_interpolation_points_of_a_regression(X):
    assert len(centres(KernelFlowRegressor(**SETTINGS, n_interpolation=7).fit(X, X[:, 0]))) == 7
    assert len(centres(KernelFlowRegressor(**SETTINGS).fit(X, X[:, 0]))) == 80


@pytest.mark.parametrize("n_rare", [30, 900])
def test_more_rows_than_interpolation_points(rng, n_rare):
    n = MAX_INTERPOLATION + 500
    y = np.zeros(n, dtype=int)
    y[:n_rare] = 1
    X = rng.normal(size=(n, 2)) + 4 * y[:, None]
    order = rng.permutation(n)
    X, y = X[order], y[order]
    model = KernelFlowClassifier(**{**SETTINGS, "n_layers": 1}).fit(X, y)
    # As balanced as can be: all of a rare class.
    rows = rows_of(centres(model), model)
    assert len(set(rows)) == len(rows) == MAX_INTERPOLATION
    assert y[rows].sum() == n_rare
    assert model.score(X, y) > 0.95
    model = KernelFlowRegressor(**{**SETTINGS, "n_layers": 1}).fit(X, y)
    assert len(centres(model)) == MAX_INTERPOLATION


def test_string_labels(X, labels):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    assert model.classes_.tolist() == ["first", "plain", "second"]
    assert set(model.predict(X)) <= set(model.classes_)
    assert model.score(X, labels) > 0.8
    codes = np.unique(labels, return_inverse=True)[1]
    numbers = KernelFlowClassifier(**SETTINGS).fit(X, codes)
    np.testing.assert_array_equal(model.classes_[numbers.predict(X)], model.predict(X))
    objects = KernelFlowClassifier(**SETTINGS).fit(X, labels.astype(object))
    np.testing.assert_array_equal(objects.predict(X), model.predict(X))


def test_probabilities(X, labels):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (80, 3)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))


def test_several_targets(X):
    Y = np.column_stack([X[:, 0], 1000 * X[:, 1] + 5])
    model = KernelFlowRegressor(**SETTINGS, interpolation_nugget=0.01).fit(X, Y)
    assert model.predict(X).shape == (80, 2)
    assert model.score(X, Y) > 0.8
    column = KernelFlowRegressor(**SETTINGS).fit(X, X[:, :1])
    flat = KernelFlowRegressor(**SETTINGS).fit(X, X[:, 0])
    assert column.predict(X).shape == (80, 1)
    np.testing.assert_array_equal(column.predict(X)[:, 0], flat.predict(X))


@pytest.mark.parametrize("constant", [0.1, 0.0, -1e9 / 3])
def test_a_constant_target_is_not_noise(X, constant):
    y = X[:, 0]
    noisy = np.full(80, constant)
    noisy[::2] *= 1 + np.finfo(np.float64).eps
    for second in (np.full(80, constant), noisy):
        model = KernelFlowRegressor(**SETTINGS).fit(X, np.column_stack([y, second]))
        np.testing.assert_allclose(model.predict(X)[:, 1], constant, rtol=1e-14)
        targets = model.flow_.targets_
        assert np.abs(targets[:, 1]).max() <= 1e-15 * abs(constant)
        assert targets[:, 0].std() == pytest.approx(1)
    alone = KernelFlowRegressor(**SETTINGS).fit(X, y)
    exact = KernelFlowRegressor(**SETTINGS).fit(X, np.column_stack([y, np.full(80, constant)]))
    np.testing.assert_allclose(exact.predict(X)[:, 0], alone.predict(X))


# ---- how it runs ------------------------------------------------------------------------------


def test_follow(make, X, y):
    model = make().fit(X, y, follow={"first": X[:5], "list": X[5:7].tolist()})
    assert set(model.flow_.follow_) == {"first", "list"}
    points = model.flow_.points_
    np.testing.assert_allclose(model.flow_.follow_["first"], points[:5], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.flow_.follow_["list"], points[5:7], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.transform(X[:5]), points[:5], rtol=1e-4, atol=1e-5)
    assert_same(model, make().fit(X, y), X)


def test_bad_follow(make, X, y):
    for follow in (X, [X], [], 3, "test"):
        with pytest.raises(TypeError, match="follow must map names to arrays"):
            make().fit(X, y, follow=follow)
    with pytest.raises(ValueError, match="3 features"):
        make().fit(X, y, follow={"test": X[:, :3]})


def test_callbacks_and_progress(make, X, y, capfd):
    seen = []
    model = make(callbacks=[lambda flow: seen.append(flow.n_layers_)]).fit(X, y)
    assert seen == [1, 2, 3, 4, 5]
    early = make(callbacks=[lambda flow: flow.n_layers_ == 2]).fit(X, y)
    assert early.flow_.n_layers_ == 2
    assert np.isfinite(early.score(X, y))
    assert_same(early, make(n_layers=2).fit(X, y), X)
    assert model.progress is False
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", [3, "RandomState"])
def test_random_state(make, X, y, seed):
    def new():
        state = np.random.RandomState(3) if seed == "RandomState" else seed
        return make(random_state=state, n_interpolation=30).fit(X, y)

    first = new()
    assert_same(first, new(), X)
    other = make(random_state=4, n_interpolation=30).fit(X, y)
    assert not np.array_equal(first.flow_.points_, other.flow_.points_)
    first = make(random_state=None).fit(X, y)
    assert not np.array_equal(first.flow_.points_, make(random_state=None).fit(X, y).flow_.points_)


def test_threads_do_not_matter(make, X, y):
    assert_same(make(n_threads=1).fit(X, y), make(n_threads=3).fit(X, y), X)


def test_without_layers(make, X, y):
    model = make(layers="none").fit(X, y, follow={"test": X[:3]})
    np.testing.assert_array_equal(model.flow_.points_, make().fit(X, y).flow_.points_)
    np.testing.assert_allclose(
        model.flow_.follow_["test"], model.flow_.points_[:3], rtol=1e-4, atol=1e-5
    )
    for use in (model.transform, model.predict):
        with pytest.raises(ValueError, match="were not kept"):
            use(X)


def test_layers_in_a_checkpoint(make, X, y, tmp_path):
    model = make(checkpoint=tmp_path / "checkpoint").fit(X, y)
    assert (tmp_path / "checkpoint" / "block-00000000.safetensors").stat().st_size > 0
    assert_same(model, make().fit(X, y), X)
    before = model.predict(X)
    with pytest.raises(FileExistsError, match="holds a flow already"):
        model.fit(X[:70], y[:70])
    np.testing.assert_array_equal(model.predict(X), before)
    with pytest.raises(ValueError, match=r"holds a flow with other .*X"):
        model.fit(X[:70], y[:70], resume=True)
    np.testing.assert_array_equal(model.fit(X, y, resume=True).predict(X), before)
    model.set_params(checkpoint=tmp_path / "fresh").fit(X, y)
    np.testing.assert_array_equal(model.predict(X), before)
    # The file holds the layers; what is loaded does not go back to the folder.
    model.save(tmp_path / "model")
    (tmp_path / "fresh" / "block-00000000.safetensors").unlink()
    loaded = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), before)
    assert loaded.layers == "memory"
    assert loaded.checkpoint is None


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0)])
def test_a_checkpoint_needs_a_seed(make, X, y, tmp_path, random_state):
    model = make(checkpoint=tmp_path / "checkpoint").set_params(random_state=random_state)
    with pytest.raises(ValueError, match="random_state must be an int where there is a checkpoint"):
        model.fit(X, y)


def test_resume_needs_a_checkpoint(make, X, y):
    with pytest.raises(ValueError, match="resume=True needs the checkpoint"):
        make().fit(X, y, resume=True)


# ---- early stopping ---------------------------------------------------------------------------

EARLY = {**SETTINGS, "n_layers": 200, "early_stopping": True, "validation_fraction": 0.2}


@pytest.fixture
def apart(X):
    """Rows of three classes that can be told apart."""
    return X + np.repeat([[0, 0, 0, 0], [4, 0, 0, 0], [0, 8, 0, 0]], [40, 20, 20], axis=0)


def kept_rows(model, X):
    """Return the rows for the flow and those held out, which no layers leave where they were."""
    start = clone(model).set_params(n_layers=0, scaling=None, dtype="float64").fit(X[0], X[1])
    place = {row.tobytes(): number for number, row in enumerate(X[0])}
    return [
        np.array([place[row.tobytes()] for row in points])
        for points in (start.flow_.points_, start.flow_.follow_["validation"])
    ]


def test_early_stopping_is_the_shorter_flow_of_the_rows_kept(apart, labels):
    model = KernelFlowClassifier(**EARLY).fit(apart, labels)
    n = model.flow_.n_layers_
    assert n == model.stopping_.stopped_at == model.stopping_.layers[-1]
    assert 10 <= n < 200
    assert list(model.stopping_.errors) == [48, 3]
    kept, held = kept_rows(model, (apart, labels))
    assert sorted([*kept, *held]) == list(range(80))
    assert np.unique(labels[held], return_counts=True)[1].tolist() == [4, 8, 4]
    # What is held out has no influence, not even on the scaling.
    whole = KernelFlowClassifier(**{**SETTINGS, "n_layers": n}).fit(apart[kept], labels[kept])
    assert_same(model, whole, apart)
    np.testing.assert_array_equal(model.interpolant_.centres, model.flow_.points_)
    np.testing.assert_allclose(
        model.flow_.follow_["validation"], model.transform(apart[held]), rtol=1e-4, atol=1e-5
    )
    assert whole.stopping_ is None


def test_early_stopping_follows_from_the_seed(apart, labels):
    def fit(seed):
        options = {**EARLY, "random_state": seed, "n_layers": 40}
        return KernelFlowClassifier(**options).fit(apart, labels)

    first, again, other = fit(0), fit(0), fit(1)
    assert_same(first, again, apart)
    assert first.stopping_.errors == again.stopping_.errors
    assert not np.array_equal(first.flow_.points_, other.flow_.points_)
    state = fit(np.random.RandomState(5))
    assert_same(state, fit(np.random.RandomState(5)), apart)


def test_classes_that_do_not_collapse_run_through(X, labels):
    model = KernelFlowClassifier(**{**EARLY, "step": "fixed", "step_size": 1e-9, "n_layers": 60})
    model.fit(X, labels)
    assert model.flow_.n_layers_ == 60
    assert model.stopping_.stopped_at is None
    assert model.stopping_.layers == [1, *range(3, 61, 3)]


def test_early_stopping_beside_other_callbacks_and_follow(apart, labels):
    seen = []
    frame = pd.DataFrame(apart, columns=list("abcd"))
    model = KernelFlowClassifier(**EARLY, callbacks=[lambda flow: seen.append(flow.n_layers_)])
    model.fit(frame, labels, follow={"test": frame[:3]})
    assert len(seen) == model.stopping_.stopped_at
    assert set(model.flow_.follow_) == {"test", "validation"}
    with pytest.raises(ValueError, match="follow: 'validation' is the name of the rows held out"):
        model.fit(frame, labels, follow={"validation": frame})
    model.set_params(early_stopping=False, n_layers=3)
    model.fit(frame, labels, follow={"validation": frame})
    assert len(model.flow_.follow_["validation"]) == 80


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"early_stopping": "yes"}, TypeError, "early_stopping must be True or False"),
        ({"early_stopping": None}, TypeError, "early_stopping must be True or False"),
        ({"validation_fraction": 0.0}, ValueError, "validation_fraction must lie between 0 and 1"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must lie between 0 and 1"),
        ({"validation_fraction": "0.1"}, TypeError, "validation_fraction must be a number"),
        ({"validation_fraction": 0.99}, ValueError, "a smaller validation_fraction"),
        ({"n_interpolation": 60}, ValueError, "n_interpolation: class .* pass at most 48"),
        ({"interpolation_nugget": -1}, ValueError, "interpolation_nugget must be finite"),
        ({"n_layers": -1}, ValueError, "n_layers must be at least 0"),
    ],
    ids=str,
)
def test_bad_parameters_of_early_stopping(X, labels, option, error, message):
    layers = []
    with pytest.raises(error, match=message):
        KernelFlowClassifier(**{**EARLY, "callbacks": [layers.append], **option}).fit(X, labels)
    assert layers == []


def test_early_stopping_needs_rows_of_every_class(X, labels):
    model = KernelFlowClassifier(**EARLY)
    for n in (1, 2):
        with pytest.raises(ValueError, match=rf"early_stopping .* {n} rows of class .*second"):
            model.fit(X[: 60 + n], labels[: 60 + n])
    assert not hasattr(model, "stopping_")


def test_early_stopping_is_saved_as_a_parameter(apart, labels, tmp_path):
    model = KernelFlowClassifier(**EARLY).fit(apart, labels)
    assert_same(pickle.loads(pickle.dumps(model)), model, apart)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert (loaded.early_stopping, loaded.validation_fraction) == (True, 0.2)
    assert loaded.stopping_ is None
    assert_same(loaded, model, apart)
    assert_same(loaded.fit(apart, labels), model, apart)
    assert loaded.stopping_.errors == model.stopping_.errors


def test_the_classifier_adds_early_stopping_to_the_common_parameters():
    own = {"early_stopping": False, "validation_fraction": 0.1}
    common = KernelFlowRegressor().get_params()
    assert KernelFlowClassifier().get_params() == {**common, **own}


# ---- failures ---------------------------------------------------------------------------------


def fail_at(layer, error):
    def callback(flow):
        if flow.n_layers_ == layer:
            raise error

    return callback


def test_divergence_leaves_the_last_good_layer(make, X, y):
    wild = {"step": "fixed", "step_size": lambda layer: 1e-3 if layer < 3 else 1e30}
    model = make(**wild)
    with pytest.raises(DivergenceError, match="layer 3"):
        model.fit(X, y)
    assert model.flow_.n_layers_ == 3
    good = make(step="fixed", step_size=1e-3, n_layers=3).fit(X, y)
    assert_same(model, good, X)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("callback")], ids=repr)
def test_an_interrupted_fit_is_usable(make, X, y, error):
    model = make(callbacks=[fail_at(2, error)])
    with pytest.raises(type(error)):
        model.fit(X, y)
    assert_same(model, make(n_layers=2).fit(X, y), X)


def other_data(X, y):
    """As many classes or targets and features as the usual data has not."""
    if y.dtype.kind == "U":
        return X[:, :3], np.where(X[:, 0] > 0, "new", "other")
    return X[:, :3], X[:, :2]


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"rank": 4}, ValueError),
        ({"scaling": "minmax"}, ValueError),
        ({"nugget": -1.0}, ValueError),
        ({"kernel": "gaussian"}, TypeError),
        ({"n_interpolation": 81}, ValueError),
        ({"follow": {"test": np.ones((2, 4))}}, ValueError),
        ({"follow": {"": np.ones((2, 3))}}, ValueError),
        ({"random_state": "seed"}, ValueError),
    ],
    ids=str,
)
def test_a_failed_refit_leaves_the_earlier_fit_whole(make, X, y, option, error):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make().fit(frame, y)
    before = pickle.loads(pickle.dumps(model))
    options = dict(option)
    follow = options.pop("follow", None)
    model.set_params(**options)
    with pytest.raises(error):
        model.fit(*other_data(X, y), follow=follow)
    assert model.n_features_in_ == 4
    assert model.feature_names_in_.tolist() == list("abcd")
    assert_same(model, before, frame)
    assert {name for name in vars(model) if name.endswith("_")} == {
        name for name in vars(before) if name.endswith("_")
    }


def test_a_failed_first_fit_leaves_nothing(make, X, y):
    model = make(nugget=-1.0)
    with pytest.raises(ValueError, match="nugget"):
        model.fit(X, y)
    assert [name for name in vars(model) if name.endswith("_") or name.startswith("_")] == []
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_a_refit_that_fails_later_replaces_all(make, X, y):
    model = make().fit(X, y)
    model.set_params(callbacks=[fail_at(2, RuntimeError("callback"))])
    data = other_data(X, y)
    with pytest.raises(RuntimeError, match="callback"):
        model.fit(*data)
    assert_same(model, make(n_layers=2).fit(*data), data[0])
    assert model.n_features_in_ == 3
    assert np.isfinite(model.score(*data))


def twice(X, y):
    """Rows that come twice: singular without a nugget."""
    return np.concatenate([X, X]), np.concatenate([y, y])


def test_a_singular_interpolant(make, X, y):
    model = make().fit(X, y)
    model.set_params(interpolation_nugget=0.0)
    with pytest.raises(SingularKernelError, match="interpolation points"):
        model.fit(*twice(X, y))
    # The flow is what took the time.
    assert model.flow_.n_layers_ == 5
    assert len(model.flow_.points_) == 160
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DivergenceError("callback")], ids=repr)
def test_a_singular_interpolant_does_not_hide_the_flows_error(make, X, y, error):
    model = make(interpolation_nugget=0.0, callbacks=[fail_at(2, error)])
    with pytest.raises(type(error)) as caught:
        model.fit(*twice(X, y))
    assert caught.value is error
    assert model.flow_.n_layers_ == 2
    with pytest.raises(NotFittedError):
        model.predict(X)


# ---- scikit-learn's machinery -----------------------------------------------------------------


def test_parameters(make):
    model = make(kernel=kernels.Matern32(2.0), nugget={0: 1.0, 5: 0.1})
    assert model.get_params()["kernel"] == kernels.Matern32(2.0)
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert model.set_params(n_layers=7, rank=2) is model
    assert (model.n_layers, model.rank, copy.n_layers) == (7, 2, 5)
    with pytest.raises(ValueError, match="Invalid parameter 'layer'"):
        model.set_params(layer=3)


def test_grid_search_in_a_pipeline():
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(
        StandardScaler(), KernelFlowClassifier(n_layers=5, random_state=0, scaling=None)
    )
    grid = {
        "kernelflowclassifier__nugget": [0.5, 3.0],
        "kernelflowclassifier__interpolation_nugget": [0.1, 1.0],
    }
    search = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.9
    assert search.predict(X).shape == (150,)


def test_a_transformer_in_a_pipeline(X, labels):
    pipeline = make_pipeline(
        KernelFlowClassifier(**SETTINGS), KernelFlowClassifier(**SETTINGS, scaling=None)
    )
    assert pipeline.fit(X, labels).score(X, labels) > 0.8


def test_pickle_and_clone_of_a_fitted_estimator(make, X, y):
    model = make().fit(X, y)
    assert_same(pickle.loads(pickle.dumps(model)), model, X)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)


def test_names_and_frames(make, X, y):
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(80) + 100)
    model = make(rank=2).fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcd")
    kind = type(model).__name__.lower()
    names = [f"{kind}{number}" for number in range(4)]
    assert model.get_feature_names_out().tolist() == names
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("dcba")])
    out = model.set_output(transform="pandas").transform(frame)
    assert isinstance(out, pd.DataFrame)
    assert out.columns.tolist() == names
    assert out.index.tolist() == frame.index.tolist()
    model.set_output(transform="default")
    np.testing.assert_array_equal(model.transform(frame), out.to_numpy())


# ---- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"scaling": "unit", "dtype": "float64", "n_interpolation": 30},
        {"scaling": None, "rank": 3, "kernel": kernels.RationalQuadratic(9.0, alpha=0.7)},
        {"rank": 2, "nugget": {0: 3.0, 2: 0.5}, "n_halves": 3, "coarse_fraction": 0.3},
    ],
    ids=str,
)
def test_round_trip(make, X, y, tmp_path, options):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = make(**options).fit(frame, y, follow={"test": frame[:3]})
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert type(loaded) is type(model)
    assert_same(loaded, model, frame)
    assert loaded.get_params() == {
        **model.get_params(),
        "nugget": {str(k): v for k, v in options["nugget"].items()}
        if "nugget" in options
        else model.nugget,
    }
    assert loaded.energy_dropped_ == model.energy_dropped_
    assert loaded.n_features_in_ == 4
    assert loaded.feature_names_in_.tolist() == list("abcd")
    if isinstance(model, KernelFlowClassifier):
        assert loaded.classes_.tolist() == model.classes_.tolist()
        np.testing.assert_array_equal(loaded.predict_proba(frame), model.predict_proba(frame))
    # It can be saved, and fitted, again.
    loaded.save(tmp_path / "again")
    assert_same(kflow.load(tmp_path / "again"), model, frame)
    assert_same(loaded.fit(frame, y), model, frame)


def test_round_trip_of_several_targets(X, tmp_path):
    for Y in (X[:, :2], X[:, :1]):
        model = KernelFlowRegressor(**SETTINGS).fit(X, Y)
        model.save(tmp_path / "model")
        assert_same(kflow.load(tmp_path / "model"), model, X)


@pytest.mark.parametrize(
    "y",
    [np.arange(80) % 3 - 1, np.arange(80) % 2 == 0, np.float32(np.arange(80) % 2)],
    ids=lambda y: str(y.dtype),
)
def test_round_trip_of_labels(X, y, tmp_path):
    model = KernelFlowClassifier(**SETTINGS).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.classes_.dtype == y.dtype
    assert_same(loaded, model, X)


def test_round_trip_of_text_in_objects(X, labels, tmp_path):
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels.astype(object))
    model.save(tmp_path / "model")
    assert_same(kflow.load(tmp_path / "model"), model, X)


@pytest.mark.parametrize(
    "options",
    [
        {"nugget": np.int64(3), "step_size": np.float32(0.01)},
        {"nugget": np.float32(3), "step": np.str_("rms")},
        {"nugget": {0: np.float32(3)}, "n_layers": np.int32(5)},
        {"nugget": {np.int64(0): 3}, "interpolation_nugget": np.float32(1)},
        {"rank": np.int64(3), "random_state": np.int64(0), "batch_size": np.int16(20)},
    ],
    ids=str,
)
def test_numpy_numbers_as_parameters(make, X, y, tmp_path, options):
    model = make(**options).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, model, X)
    assert_same(loaded.fit(X, y), model, X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.dtype("float64")], ids=str)
def test_dtypes_are_saved_by_name(make, X, y, tmp_path, dtype):
    model = make(dtype=dtype).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert loaded.dtype == np.dtype(dtype).name
    assert_same(loaded.fit(X, y), model, X)


def test_what_belongs_to_the_machine_is_not_saved(make, X, y, tmp_path):
    model = make(n_threads=3, callbacks=[lambda _: None], checkpoint=tmp_path / "layers").fit(X, y)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model") as archive:
        stored = json.loads(archive.read("model.json"))["settings"]["parameters"]
    assert not {"n_threads", "callbacks", "layers", "checkpoint", "every", "progress"} & set(stored)
    loaded = kflow.load(tmp_path / "model")
    assert (loaded.n_threads, loaded.flow_.n_threads, loaded.layers) == (None, None, "memory")
    assert (tuple(loaded.callbacks), loaded.progress) == ((), False)


def test_functions_are_not_saved(make, X, y, tmp_path):
    model = make(nugget=lambda _: 3.0).fit(X, y)
    model.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert_same(loaded, model, X)
    with pytest.raises(TypeError, match="nugget must be a number"):
        loaded.fit(X, y)
    assert_same(loaded, model, X)


def test_labels_that_no_file_holds(X, labels, tmp_path):
    # scikit-learn refuses most of them already.
    model = KernelFlowClassifier(**SETTINGS).fit(X, labels)
    model.classes_ = np.array([0, "one", (2,)], dtype=object)
    with pytest.raises(TypeError, match="neither numbers nor text"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_only_a_fitted_estimator_is_saved(make, tmp_path):
    with pytest.raises(NotFittedError):
        make().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
