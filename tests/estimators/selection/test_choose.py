from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import log_loss

import kflow
from kflow import GradientMetric, KernelFlowClassifier, KernelFlowRegressor, kernels
from kflow.estimators.selection.choose import MAX_ROWS, MIN_ROWS
from kflow.presets import FIXED


@pytest.fixture
def X(rng):
    """Six features, of which two matter."""
    return rng.normal(size=(160, 6)) * [1, 2, 5, 10, 1, 1] + 3


@pytest.fixture(params=["classifier", "regressor"])
def make(request):
    """Return an estimator of either kind that chooses."""
    kind = KernelFlowClassifier if request.param == "classifier" else KernelFlowRegressor
    return lambda **options: kind(**{"random_state": 0, **options})


@pytest.fixture
def y(make, X):
    """Return targets of either kind that depend on the first two features."""
    values = np.sin((X[:, 0] - 3) * 2) + (X[:, 1] - 3) / 2
    return np.where(values > 0, "up", "down") if is_classifier(make()) else values


def is_classifier(model):
    return isinstance(model, KernelFlowClassifier)


def test_the_choice_beats_what_is_fixed(make, rng):
    X = rng.normal(size=(400, 6))
    values = np.sin(2 * X[:, 0]) + X[:, 1] / 2
    y = values > 0 if is_classifier(make()) else values
    train, test = np.arange(150), np.arange(150, 400)
    chosen = make().fit(X[train], y[train])
    fixed = make(**FIXED).fit(X[train], y[train])
    assert chosen.score(X[test], y[test]) > fixed.score(X[test], y[test])
    assert chosen.selection_.chosen.map is not None
    importances = chosen.feature_importances_
    assert importances.sum() == pytest.approx(1.0)
    assert set(importances.argsort()[-2:]) == {0, 1}


def test_the_choice_depends_on_the_seed_and_not_on_threads(make, X, y):
    one = make(n_threads=1).fit(X, y)
    two = make(n_threads=3).fit(X, y)
    assert one.selection_ == two.selection_
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))


def test_what_is_given_is_kept(make, X, y):
    kernel = kernels.Matern32(2.0)
    model = make(kernel=kernel, interpolation_nugget=0.25, metric=None).fit(X, y)
    assert model.flow_.kernel_ == kernel
    assert model.interpolant_.nugget == model.interpolation_nugget_ == 0.25
    assert model.scaling_.components is None
    assert {candidate.map for candidate in model.selection_.tried} == {None}


def test_a_flow_of_given_layers(make, X, y):
    model = make(n_layers=7).fit(X, y)
    assert model.flow_.n_layers_ == model.n_layers_ == 7
    assert model.selection_.chosen.n_layers == 7
    assert np.isfinite(model.selection_.chosen.error)
    assert model.interpolation_nugget_ == model.selection_.chosen.nugget
    assert model.flow_.batch_size == 80


def test_a_flow_of_many_layers_is_not_run_on_folds(make, X, y):
    model = make(n_layers=101).fit(X, y)
    assert model.flow_.n_layers_ == 101
    assert "too many layers" in str(model.selection_)
    assert model.selection_.chosen.error is None


def test_without_a_flow(make, X, y):
    model = make(n_layers=0).fit(X, y)
    assert model.flow_.n_layers_ == 0
    assert {candidate.n_layers for candidate in model.selection_.tried} == {0}


def test_a_metric_of_ones_own(make, X, y):
    metric = GradientMetric(power=1.0, diagonal=True)
    model = make(metric=metric, n_layers=0).fit(X, y)
    assert not hasattr(metric, "components_")
    components = model.scaling_.components
    assert np.count_nonzero(components) == 6
    labels = "labels" if is_classifier(model) else "numbers"
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    own = clone(metric).set_params(targets=labels).fit(scaled, y)
    np.testing.assert_allclose(components, own.components_, rtol=1e-9)
    np.testing.assert_allclose(model.transform(X), own.transform(scaled), atol=1e-9)
    np.testing.assert_allclose(model.feature_importances_, own.feature_importances_)


def test_all_given_chooses_nothing(make, X, y):
    model = make(**FIXED).fit(X, y)
    assert model.selection_.tried == ()
    assert "all parameters were given" in str(model.selection_)
    assert not is_classifier(model) or model.temperature_ is None


def test_few_rows_choose_nothing(make, X, y):
    model = make().fit(X[: MIN_ROWS - 1], y[: MIN_ROWS - 1])
    assert "too few" in str(model.selection_)
    assert model.flow_.n_layers_ == 0
    assert make().fit(X[:MIN_ROWS], y[:MIN_ROWS]).selection_.n_rows == MIN_ROWS


def test_many_rows_choose_with_some(rng, make):
    X = rng.normal(size=(MAX_ROWS + 100, 2))
    y = X[:, 0] > 0 if is_classifier(make()) else X[:, 0]
    model = make(kernel=kernels.Gaussian(1.0), metric=None, n_layers=0).fit(X, y)
    assert model.selection_.n_rows == MAX_ROWS
    assert len(model.interpolant_.centres) == len(X)


def test_each_row_is_mapped_alone(make, X, y):
    model = make(metric=GradientMetric(power=1.0), n_layers=5).fit(X, y)
    whole = model.transform(X)
    np.testing.assert_array_equal(
        np.vstack([model.transform(row[None]) for row in X[:9]]), whole[:9]
    )
    follow = model.fit(X, y, {"some": X[:9]}).flow_.follow_["some"]
    np.testing.assert_allclose(follow, whole[:9], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"metric": GradientMetric(power=1.0), "n_layers": 3}])
def test_the_file_has_everything(make, X, y, options, tmp_path):
    model = make(**options).fit(X, y)
    model.save(tmp_path / "model")
    again = kflow.load(tmp_path / "model")
    assert again.selection_ == model.selection_
    assert str(again.get_params()) == str({**model.get_params(), "n_threads": None})
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(again.feature_importances_, model.feature_importances_)
    assert again.interpolation_nugget_ == model.interpolation_nugget_
    if is_classifier(model):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("n_layers", [0, 3])
def test_importances_without_a_map(make, X, y, n_layers):
    model = make(metric=None, n_layers=n_layers).fit(X, y)
    if n_layers:
        with pytest.raises(AttributeError, match="needs a linear map"):
            _ = model.feature_importances_
    else:
        assert set(model.feature_importances_.argsort()[-2:]) == {0, 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "gauss"}, "kernel"),
        ({"metric": "full"}, "metric must be"),
        ({"n_layers": "many"}, "n_layers must be"),
        ({"interpolation_nugget": "small"}, "interpolation_nugget must be"),
        ({"batch_size": "all"}, "batch_size must be"),
        ({"nugget": -1.0}, "nugget"),
    ],
)
def test_other_words_are_refused(make, X, y, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make(**options).fit(X, y)


def test_rows_that_all_coincide(make, y):
    with pytest.raises(ValueError, match="coincide"):
        make(scaling=None).fit(np.ones((160, 2)), y)


def test_most_rows_coincide(make, X, y):
    points = np.ones((160, 6))
    points[:2] = X[:2]
    model = make().fit(points, y)
    assert np.isfinite(model.transform(points)).all()


@pytest.mark.parametrize("options", [{}, {"scaling": None}, {"kernel": None, "metric": None}])
def test_a_weight_of_two_is_a_row_twice(make, X, y, options):
    X, y = X[:30], y[:30]
    weights = np.arange(30) % 3
    weighted = make(**options).fit(X, y, sample_weight=weights)
    repeated = make(**options).fit(X.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-9)
    if is_classifier(weighted):
        expected = repeated.decision_function(X)
        np.testing.assert_allclose(weighted.decision_function(X), expected, rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-6)
    assert set(weighted.interpolation_rows_) == set(np.flatnonzero(weights))


def test_weights_count_in_the_choice(make, X, y):
    weights = np.ones(160)
    weights[:80] = 0.0
    weighted = make().fit(X, y, sample_weight=weights)
    alone = make().fit(X[80:], y[80:])
    assert [c.map for c in weighted.selection_.tried] == [c.map for c in alone.selection_.tried]
    np.testing.assert_allclose(weighted.transform(X), alone.transform(X), rtol=1e-6, atol=1e-9)


def test_balanced_classes_are_found(rng):
    X = rng.normal(size=(400, 2))
    y = np.zeros(400, int)
    y[:30] = 1
    X[:30] += 1.0
    plain = KernelFlowClassifier(random_state=0).fit(X, y)
    balanced = KernelFlowClassifier(random_state=0, class_weight="balanced").fit(X, y)
    assert (balanced.predict(X) == 1).sum() > 2 * (plain.predict(X) == 1).sum()


def test_probabilities(rng):
    X = rng.normal(size=(600, 2))
    y = (X[:, 0] + rng.normal(size=600) > 0).astype(int)
    model = KernelFlowClassifier(random_state=0).fit(X[:300], y[:300])
    probabilities = model.predict_proba(X[300:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities > 0).all()
    # The best that can be: the label is the sign of a normal variable with a known mean.
    from scipy.stats import norm

    best = log_loss(y[300:], norm.cdf(X[300:, 0]))
    assert log_loss(y[300:], probabilities) < 1.1 * best
    differences = model.decision_function(X[300:])
    assert differences.shape == (300,)
    np.testing.assert_array_equal(differences > 0, model.predict(X[300:]) == 1)


def test_the_choice_shows_its_progress(make, X, y, capsys):
    make(progress=True, n_layers=0).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "candidate" in captured.err
    make(n_layers=0).fit(X, y)
    assert capsys.readouterr().err == ""


def test_early_stopping_needs_a_number_of_layers(X, y, make):
    if is_classifier(make()):
        with pytest.raises(ValueError, match="pass n_layers"):
            make(early_stopping=True).fit(X, y)


# ---- what folds and weights may look like ---------------------------------------------------------


@pytest.mark.parametrize("metric", ["auto", GradientMetric()])
def test_a_single_row_of_a_class_or_of_another_value(make, rng, metric):
    X = rng.normal(size=(60, 3))
    y = np.zeros(60, int if is_classifier(make()) else float)
    y[7] = 1
    model = make(metric=metric).fit(X, y)
    assert model.flow_.n_layers_ == 0
    assert np.isfinite(model.transform(X)).all()


def test_a_rank_counts_in_the_choice(rng):
    X = rng.normal(size=(300, 12)) * np.geomspace(5.0, 0.5, 12)
    y = np.sin(X[:, 0]) + np.sin(X[:, 1])
    reduced = KernelFlowRegressor(rank=2, scaling=None, n_layers=0, random_state=0)
    reduced.fit(X[:150], y[:150])
    assert {candidate.map for candidate in reduced.selection_.tried} == {None}
    directions = np.linalg.svd(X[:150], full_matrices=False)[2][:2]
    by_hand = clone(reduced).set_params(rank=None).fit(X[:150] @ directions.T, y[:150])
    error = np.mean((reduced.predict(X[150:]) - y[150:]) ** 2)
    assert error < 2.0 * np.mean((by_hand.predict(X[150:] @ directions.T) - y[150:]) ** 2)


def test_a_rank_and_a_flow(make, X, y):
    model = make(rank=3, n_layers=5).fit(X, y)
    assert model.selection_.chosen.error is not None
    assert model.flow_.rank_ == 3


def test_all_directions_are_no_features(make, X, y):
    model = make(rank="auto", n_layers=0, metric=None).fit(X, y)
    with pytest.raises(AttributeError, match="rank=None"):
        _ = model.feature_importances_


@pytest.mark.parametrize("unit", [1e-6, 1e4])
def test_the_unit_of_the_weights_says_nothing(make, X, y, unit):
    plain = make().fit(X, y)
    weighted = make().fit(X, y, sample_weight=np.full(160, unit))
    tried = zip(plain.selection_.tried, weighted.selection_.tried, strict=True)
    assert all(a.place == b.place for a, b in tried)
    if is_classifier(plain):
        np.testing.assert_array_equal(weighted.predict(X), plain.predict(X))
        assert weighted.temperature_ == pytest.approx(plain.temperature_, rel=1e-6)
    else:
        np.testing.assert_allclose(weighted.predict(X), plain.predict(X), atol=1e-3)


def test_a_given_metric_follows_the_seed(make, X, y):
    settings = {"metric": GradientMetric(max_points=60), "n_layers": 0}
    first, second = (make(**settings).fit(X, y).scaling_.components for _ in range(2))
    np.testing.assert_array_equal(first, second)
    other = make(**settings, random_state=1).fit(X, y).scaling_.components
    assert (other != first).any()


@pytest.mark.parametrize("weights", [{"up": -1.0}, {"up": np.nan}, {"up": 0.0}, {"up": np.inf}])
def test_class_weights_that_are_none(rng, weights):
    X = rng.normal(size=(50, 2))
    y = np.where(X[:, 0] > 0, "up", "down")
    with pytest.raises(ValueError, match="class_weight must hold positive finite numbers"):
        KernelFlowClassifier(class_weight=weights).fit(X, y)


def test_too_few_rows_with_a_weight(make, X, y):
    weights = np.zeros(160)
    weights[:3] = 1.0
    with pytest.raises(ValueError, match="sample_weight is positive for 3 rows"):
        make().fit(X, y, sample_weight=weights)


def test_weights_are_part_of_the_model(make, X, y, rng, tmp_path):
    weights = rng.uniform(0.2, 3.0, 160)
    model = make(n_layers=0).fit(X, y, sample_weight=weights)
    np.testing.assert_array_equal(model.interpolant_.sample_weight, weights)
    targets = model.interpolant_.targets()
    if is_classifier(model):
        np.testing.assert_allclose(targets, kflow.one_hot(y), atol=1e-6)
        before = kflow.analysis.unflowed(model, X, y)
        np.testing.assert_allclose(before.decision_function(X), model.decision_function(X))
    model.save(tmp_path / "model")
    again = kflow.load(tmp_path / "model")
    np.testing.assert_array_equal(again.interpolant_.sample_weight, weights)


def test_many_features_are_not_mapped(make, rng):
    X = rng.normal(size=(60, 1001))
    y = X[:, 0] > 0 if is_classifier(make()) else X[:, 0]
    model = make(n_layers=0).fit(X, y)
    assert {candidate.map for candidate in model.selection_.tried} == {None}


def test_no_temperature_of_what_was_not_tried(X):
    y = X[:, 0] > 3
    early = KernelFlowClassifier(n_layers=20, early_stopping=True, random_state=0).fit(X, y)
    assert early.temperature_ is None
    assert "may stop early" in str(early.selection_)
    assert KernelFlowClassifier(n_layers=101, random_state=0).fit(X, y).temperature_ is None


def test_numbers_that_cannot_be_squared(make, X, y):
    with pytest.raises(ValueError, match="overflow"):
        make(scaling=None).fit(X * 1e200, y)
