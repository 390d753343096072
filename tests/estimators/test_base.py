from __future__ import annotations

import pickle
import tracemalloc

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
    KernelFlowClassifier,
    KernelFlowRegressor,
    kernels,
)
from kflow.engine import HOST
from kflow.presets import FIXED
from kflow.storage.model_file import ModelReader

SETTINGS = {**FIXED, "n_layers": 5, "batch_size": 20, "random_state": 0}


def assert_same(first, second, X):
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    np.testing.assert_array_equal(first.transform(X), second.transform(X))
    np.testing.assert_array_equal(first.interpolant_.coefficients, second.interpolant_.coefficients)


@pytest.mark.slow
@parametrize_with_checks(
    [
        KernelFlowClassifier(random_state=0),
        KernelFlowClassifier(**{**FIXED, "n_layers": 30}, random_state=0, early_stopping=True),
        KernelFlowRegressor(random_state=0),
    ],
    expected_failed_checks=lambda estimator: (
        {"check_sample_weight_equivalence_on_dense_data": "rows that are held out are drawn"}
        if getattr(estimator, "early_stopping", False)
        else {}
    ),
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


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


@pytest.mark.slow
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
    moved, expected = (one.flow_.replay().final(other, one.scaling_, True) for one in (model, full))
    np.testing.assert_allclose(
        model.interpolant_(moved), full.interpolant_(expected), rtol=1e-6, atol=1e-8
    )
    np.testing.assert_array_equal(
        model.interpolant_.centres,
        model.flow_.reduced_points_,
    )
    np.testing.assert_allclose(model.flow_.reduced_follow_["other"], moved, atol=1e-10)


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_only_a_fitted_estimator_is_saved(make, tmp_path):
    with pytest.raises(NotFittedError):
        make().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_names_the_engine_that_computed(make, X, y, tmp_path):
    make().fit(X, y).save(tmp_path / "model")
    with ModelReader(tmp_path / "model") as reader:
        assert reader.settings["flow"]["engine"] == [HOST.name, HOST.build]
