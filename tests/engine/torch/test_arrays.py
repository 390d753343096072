"""Tensors in, tensors out: flows and estimators on PyTorch's CPU device."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import kflow
from kflow.errors import TargetsWarning
from kflow.kernels import Gaussian, Laplacian

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

N, D = 150, 6

SETTINGS = {
    "n_layers": 10,
    "batch_size": 40,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.02,
    "n_halves": 2,
    "random_state": 0,
    "device": "cpu",
}


class Foreign:
    """An array of a library of which nothing is known but DLPack."""

    def __init__(self, tensor):
        self._tensor = tensor

    def __dlpack__(self, **options):
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._tensor.__dlpack_device__()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    return X, kflow.one_hot((X[:, 0] * X[:, 1] > 0).astype(int)), rng.normal(size=(20, D))


@pytest.fixture
def labelled(data):
    X, Y, T = data
    return X, Y.argmax(axis=1), T


@pytest.fixture
def no_trips(monkeypatch):
    """Let points of the size of the training data not come to the host."""
    for name in ("cpu", "numpy", "tolist", "__array__", "__dlpack__"):
        original = getattr(torch.Tensor, name)

        def refused(self, *arguments, _original=original, _name=name, **options):
            assert len(self.shape) < 2 or len(self) < N, f"{_name} of {tuple(self.shape)}"
            return _original(self, *arguments, **options)

        monkeypatch.setattr(torch.Tensor, name, refused)


def flow(**settings):
    return kflow.KernelFlow(settings.pop("kernel", Gaussian(3.0)), **{**SETTINGS, **settings})


def tensors(*arrays):
    return [torch.tensor(array) for array in arrays]


def same(found, expected, tolerance=0.0):
    """Assert that a tensor of the CPU holds the numbers of a NumPy array, in its dtype."""
    assert isinstance(found, torch.Tensor)
    assert isinstance(expected, np.ndarray)
    assert found.numpy().dtype == expected.dtype
    assert found.device == torch.device("cpu")
    np.testing.assert_allclose(found.numpy(), expected, rtol=0.0, atol=tolerance)


def results(fitted, T):
    return [
        fitted.points_,
        fitted.follow_["test"],
        fitted.reduced_points_,
        fitted.reduced_follow_["test"],
        fitted.transform(T),
        fitted.transform(T, n_layers=4, reduced=True),
        *fitted.trajectory(T, [0, 4, 4, 10]),
        *(points for _, points in fitted.iterate_points()),
    ]


# ---- flows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", [{}, {"step_over": "batch"}, {"kernel": Laplacian(3.0)}])
def test_a_flow_of_tensors_is_that_of_arrays_to_the_last_bit(data, dtype, options):
    X, Y, T = data
    arrays = flow(dtype=dtype, **options).fit(X, Y, follow={"test": T})
    x, y, t = tensors(X, Y, T)
    ours = flow(dtype=dtype, **options).fit(x, y, follow={"test": t})
    for found, expected in zip(results(ours, t), results(arrays, T), strict=True):
        same(found, expected)
    np.testing.assert_array_equal(ours.history_["rho"], arrays.history_["rho"])
    np.testing.assert_array_equal(ours.targets_, arrays.targets_)
    same(ours.run(2).points_, arrays.run(2).points_)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": None},
        {"rank": "auto"},
        {"rank": 3},
        {"rank": 0.05},
        {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.1},
    ],
)
def test_what_is_measured_on_the_device_has_other_last_digits(data, dtype, options):
    X, Y, T = data
    arrays = flow(dtype=dtype, **options).fit(X, Y, follow={"test": T})
    x, y, t = tensors(X, Y, T)
    ours = flow(dtype=dtype, **options).fit(x, y, follow={"test": t})
    assert ours.rank_ == arrays.rank_
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for found, expected in zip(results(ours, t), results(arrays, T), strict=True):
        if found.shape[1] == D:
            same(found, expected, tolerance)
    # The coordinates of a subspace are those of directions whose sign is not determined.
    np.testing.assert_allclose(
        torch.cdist(ours.reduced_points_, ours.reduced_points_),
        torch.cdist(*tensors(arrays.reduced_points_, arrays.reduced_points_)),
        atol=1e-5 if dtype == "float64" else 1e-2,
    )


def test_more_features_than_points(data):
    X, Y, _ = data
    wide = np.hstack([X, X[:, ::-1]] * 20)[:100]
    arrays = flow(kernel=None, rank="auto", dtype="float64").fit(wide, Y[:100])
    ours = flow(kernel=None, rank="auto", dtype="float64").fit(*tensors(wide, Y[:100]))
    assert ours.rank_ == arrays.rank_ == D
    same(ours.points_, arrays.points_, 1e-11)
    same(ours.transform(torch.tensor(wide)), arrays.transform(wide), 1e-11)


@pytest.mark.usefixtures("no_trips")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": None},
        {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.1},
        {"step_over": "batch", "rank": 3, "shrink_every": 3, "shrink_tolerance": 0.1},
    ],
)
def test_points_make_no_trip_through_the_host(data, options):
    X, Y, T = data
    x, t = tensors(X, T)
    ours = flow(**options).fit(x, Y, follow={"test": t})
    points = [ours.points_, ours.reduced_points_, ours.transform(x), *ours.trajectory(x, [2, 10])]
    assert all(isinstance(each, torch.Tensor) and len(each) == N for each in points)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_given_is_not_written_to(data, dtype):
    given = [array.to(getattr(torch, dtype)) for array in tensors(*data)]
    before = [array.clone() for array in given]
    x, y, t = given
    ours = flow(dtype=dtype).fit(x, y, follow={"test": t})
    first = ours.points_
    kept = first.clone()
    ours.transform(x)
    list(ours.trajectory(t, [0, 10]))
    ours.run(2)
    for array, expected in zip([*given, first], [*before, kept], strict=True):
        assert torch.equal(array, expected)
    # Nor does the flow hold on to it.
    expected = ours.points_
    x.zero_()
    expected.clone()[...] = 0.0
    assert torch.equal(ours.points_, expected)


def test_results_are_copies(data):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    ours = flow().fit(x, y, follow={"test": t})
    for name in ("points_", "reduced_points_"):
        before = getattr(ours, name).clone()
        getattr(ours, name).zero_()
        assert torch.equal(getattr(ours, name), before)
    ours.follow_["test"].zero_()
    assert ours.follow_["test"].any()


@pytest.mark.parametrize("wrapped", [True, False])
def test_anything_with_dlpack(data, wrapped):
    X, Y, T = data
    arrays = flow().fit(X, Y)
    x, y, t = tensors(X, Y, T)
    ours = flow().fit(Foreign(x), Foreign(y) if wrapped else Y)
    same(ours.points_, arrays.points_)
    same(ours.transform(Foreign(t)), arrays.transform(T))
    for found, expected in zip(
        ours.trajectory(Foreign(t), [0, 9]), arrays.trajectory(T, [0, 9]), strict=True
    ):
        same(found, expected)
    assert torch.equal(t, torch.tensor(T))


def test_transform_returns_what_it_is_given(data):
    X, Y, T = data
    t = torch.tensor(T)
    for fitted in (flow().fit(X, Y), flow().fit(*tensors(X, Y))):
        assert isinstance(fitted.transform(T), np.ndarray)
        same(fitted.transform(t), fitted.transform(T))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "uint8"])
def test_dtypes_and_strides(data, dtype):
    X, Y, _ = data
    given = torch.tensor(np.abs(X) * 20.0).to(getattr(torch, dtype))
    expected = flow(kernel=Gaussian(40.0)).fit(given.double().numpy(), Y).points_
    same(flow(kernel=Gaussian(40.0)).fit(given, Y).points_, expected)
    same(flow(kernel=Gaussian(40.0)).fit(given.T.contiguous().T, Y).points_, expected)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("options", [{}, {"rank": "auto", "shrink_every": 3}])
def test_copies_go_on(data, copied, options):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    ours = flow(**options).fit(x, y, follow={"test": t})
    same(copied(ours).run(3).points_, ours.run(3).points_.numpy())


def test_a_checkpoint_goes_on_whatever_it_began_with(data, tmp_path):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    whole = flow(n_layers=20).fit(X, Y, follow={"test": T})
    for number, (first, then) in enumerate((((x, y, t), (X, Y, T)), ((X, Y, T), (x, y, t)))):
        options = {"checkpoint": tmp_path / str(number), "every": 3}
        flow(**options).fit(first[0], first[1], follow={"test": first[2]})
        resumed = flow(n_layers=20, **options)
        resumed.fit(then[0], then[1], follow={"test": then[2]}, resume=True)
        assert isinstance(resumed.points_, type(then[0]))
        np.testing.assert_array_equal(resumed.points_, whole.points_)
        np.testing.assert_array_equal(resumed.follow_["test"], whole.follow_["test"])


def test_a_file_holds_what_a_flow_of_arrays_does(data, tmp_path):
    X, Y, _ = data
    for options in ({}, {"rank": "auto", "shrink_every": 3}):
        ours = flow(dtype="float64", **options).fit(*tensors(X, Y))
        ours.save(tmp_path / "flow")
        loaded = kflow.load(tmp_path / "flow")
        # What lies in a subspace is restored by a product, here on the device, there on the host.
        np.testing.assert_allclose(loaded.points_, ours.points_, rtol=0.0, atol=1e-13)
        np.testing.assert_array_equal(loaded.reduced_points_, ours.reduced_points_)
        np.testing.assert_allclose(loaded.transform(X), ours.points_, atol=1e-9)


def test_integer_targets_are_told_of(data):
    X = data[0]
    labels = torch.tensor(np.arange(N) % 3)
    with pytest.warns(TargetsWarning, match="3 different whole numbers"):
        flow().fit(torch.tensor(X), labels)


# ---- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_values_without_meaning_name_their_argument(data, value):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    for name, array in (("X", x), ("Y", y), (r"follow\['test'\]", t)):
        if name == "Y" and value == 1e300:
            continue
        bad = array.clone()
        bad[3, 1] = value
        given = {"X": x, "Y": y, r"follow\['test'\]": t, name: bad}
        with pytest.raises(ValueError, match=rf"^{name} contains"):
            flow().fit(given["X"], given["Y"], follow={"test": given[r"follow\['test'\]"]})
    fitted, bad = flow().fit(x, y), t.clone()
    bad[0, 0] = value
    with pytest.raises(ValueError, match=r"^X contains"):
        fitted.transform(bad)


def test_shapes_name_their_argument(data):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    with pytest.raises(ValueError, match=r"^X must have two dimensions"):
        flow().fit(x[:, 0], y)
    with pytest.raises(ValueError, match=rf"^Y must have {N} rows"):
        flow().fit(x, y[:-1])
    with pytest.raises(ValueError, match=r"^X is empty"):
        flow().fit(x[:0], y[:0])
    fitted = flow().fit(x, y)
    with pytest.raises(ValueError, match=rf"^X must have {D} columns"):
        fitted.transform(t[:, :2])
    assert fitted.transform(t[:0]).shape == (0, D)
    assert fitted.transform(t[:1]).shape == (1, D)


def test_other_devices_are_named(data):
    X, Y, _ = data
    elsewhere = torch.empty(N, D, device="meta")
    with pytest.raises(TypeError, match=r"^X is on the device 'meta', and the flow on 'cpu'"):
        flow().fit(elsewhere, Y)
    with pytest.raises(TypeError, match=r"^Y is on the device 'meta'"):
        flow().fit(torch.tensor(X), torch.empty(N, device="meta"))
    with pytest.raises(TypeError, match=r"^follow\['a'\] is on the device 'meta'"):
        flow().fit(torch.tensor(X), Y, follow={"a": elsewhere})
    fitted = flow().fit(X, Y)
    with pytest.raises(TypeError, match=r"^X is on the device 'meta'"):
        fitted.transform(elsewhere)
    # A flow of the compiled core says how it would be done.
    with pytest.raises(TypeError, match=r"^X is on the device meta.*device='meta'"):
        flow(device=None).fit(elsewhere, Y)


def test_the_compiled_core_reads_tensors_in_memory(data):
    X, Y, T = data
    x, y, t = tensors(X, Y, T)
    found = flow(device=None).fit(x, y)
    assert isinstance(found.points_, np.ndarray)
    np.testing.assert_array_equal(found.points_, flow(device=None).fit(X, Y).points_)
    assert isinstance(found.transform(t), np.ndarray)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_derivatives_are_refused(data, device):
    X, Y, _ = data
    x = torch.tensor(X, requires_grad=True)
    with pytest.raises(ValueError, match=r"^X requires a gradient.*X.detach\(\)"):
        flow(device=device).fit(x, Y)
    flow(device=device).fit(x.detach(), Y)


def test_sparse_complex_and_tiny_tensors_are_refused(data):
    X, Y, _ = data
    with pytest.raises(TypeError, match=r"^X is sparse.*to_dense"):
        flow().fit(torch.tensor(X).to_sparse(), Y)
    with pytest.raises(TypeError, match=r"^X must hold real numbers"):
        flow().fit(torch.tensor(X).cfloat(), Y)
    with pytest.raises(TypeError, match=r"^X has dtype torch.float8_e5m2: pass X.float\(\)"):
        flow().fit(torch.tensor(X).to(torch.float8_e5m2), Y)


def test_followed_points_are_of_the_kind_of_the_others(data):
    X, Y, T = data
    x, t = tensors(X, T)
    for points, followed in ((x, T), (X, t)):
        with pytest.raises(TypeError, match=r"^follow\['test'\] and X must both be"):
            flow().fit(points, Y, follow={"test": followed})


# ---- estimators ---------------------------------------------------------------------------------

OPTIONS = {"n_layers": 5, "random_state": 0, "device": "cpu"}


def predictions(classifier, T):
    return [
        classifier.transform(T),
        classifier.decision_function(T),
        classifier.predict_proba(T),
        classifier.predict(T),
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"metric": None},
        {},
        {"scaling": "unit", "dtype": "float32"},
        {"scaling": None, "metric": kflow.GradientMetric(), "class_weight": "balanced"},
        {"n_interpolation": 40, "rank": 4},
        {"kernel": Gaussian(2.0), "interpolation_nugget": 0.1, "nugget": 0.1, "metric": None},
        {"early_stopping": True},
        {"kernel": Laplacian(3.0), "n_layers": 0},
    ],
)
def test_a_classifier_of_tensors(labelled, options):
    X, y, T = labelled
    arrays = kflow.KernelFlowClassifier(**{**OPTIONS, **options}).fit(X, y)
    x, labels, t = tensors(X, y, T)
    ours = kflow.KernelFlowClassifier(**{**OPTIONS, **options}).fit(x, labels)
    # The settings are chosen by a search that ends where the error changes no more.
    for found, expected in zip(predictions(ours, t), predictions(arrays, T), strict=True):
        same(found, expected, 1e-5)
    for found, expected in zip(predictions(ours, t), predictions(ours, T), strict=True):
        same(found, expected, 1e-5 if options.get("dtype") == "float32" else 1e-12)
    assert ours.score(x, labels) == ours.score(X, y)
    assert ours.n_features_in_ == D


@pytest.mark.parametrize("shape", ["one", "column", "many"])
def test_a_regressor_of_tensors(data, shape):
    X, _, T = data
    y = {"one": X[:, 0], "column": X[:, :1], "many": X[:, :2]}[shape]
    arrays = kflow.KernelFlowRegressor(**OPTIONS).fit(X, y)
    x, values, t = tensors(X, y, T)
    ours = kflow.KernelFlowRegressor(**OPTIONS).fit(x, values, follow={"test": t})
    same(ours.predict(t), arrays.predict(T), 1e-5)
    assert ours.predict(t).shape == arrays.predict(T).shape
    assert isinstance(ours.flow_.follow_["test"], torch.Tensor)


@pytest.mark.parametrize("class_", [kflow.KernelFlowClassifier, kflow.KernelFlowRegressor])
@pytest.mark.parametrize("options", [{}, {"rank": 4}, {"scaling": "unit", "metric": None}])
@pytest.mark.usefixtures("no_trips")
def test_points_of_estimators_make_no_trip_through_the_host(labelled, class_, options):
    X, y, _ = labelled
    x, labels = tensors(X, y)
    # Fewer rows than there are serve for the choice and the interpolant.
    few = {"n_interpolation": 40, "kernel": None, "nugget": 0.1, "interpolation_nugget": 0.1}
    ours = class_(**{**OPTIONS, **few, "metric": None, **options}).fit(x, labels)
    ours.predict(x)
    ours.transform(x)
    if class_ is kflow.KernelFlowClassifier:
        predictions(ours, x)


def test_labels_and_weights(labelled):
    X, y, T = labelled
    x, t = tensors(X, T)
    weights = np.arange(N) % 3
    options = {**OPTIONS, "metric": None}
    text = kflow.KernelFlowClassifier(**options).fit(x, np.array(["no", "yes"])[y], None)
    assert text.predict(t).dtype.kind == "U"
    arrays = kflow.KernelFlowClassifier(**options).fit(X, y, sample_weight=weights)
    ours = kflow.KernelFlowClassifier(**options).fit(x, y.tolist(), sample_weight=weights)
    np.testing.assert_array_equal(ours.interpolation_rows_, arrays.interpolation_rows_)
    same(ours.predict_proba(t), arrays.predict_proba(T), 1e-5)
    # Labels may be on the device, and the points not.
    mixed = kflow.KernelFlowClassifier(**options).fit(X, torch.tensor(y))
    assert isinstance(mixed.predict(T), np.ndarray)


def test_an_estimator_forgets_the_names_of_columns(labelled):
    pandas = pytest.importorskip("pandas")
    X, y, T = labelled
    table = pandas.DataFrame(X, columns=list("abcdef"))
    classifier = kflow.KernelFlowClassifier(**OPTIONS).fit(table, y)
    assert hasattr(classifier, "feature_names_in_")
    classifier.fit(*tensors(X, y))
    assert not hasattr(classifier, "feature_names_in_")
    classifier.predict(torch.tensor(T))


def test_files_of_estimators_of_tensors(labelled, tmp_path):
    X, y, T = labelled
    ours = kflow.KernelFlowClassifier(**OPTIONS).fit(*tensors(X, y))
    ours.save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    same(ours.predict_proba(torch.tensor(T)), loaded.predict_proba(T), 1e-6)


def test_estimators_name_what_they_refuse(labelled):
    X, y, T = labelled
    x, labels, t = tensors(X, y, T)
    for class_ in (kflow.KernelFlowClassifier, kflow.KernelFlowRegressor):
        estimator = class_(**OPTIONS)
        bad = x.clone()
        bad[2, 2] = float("nan")
        with pytest.raises(ValueError, match=r"^X contains NaN"):
            estimator.fit(bad, labels)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            estimator.fit(x, labels[:-1])
        with pytest.raises(ValueError, match="minimum of 4"):
            estimator.fit(x[:3], labels[:3])
        with pytest.raises(TypeError, match=r"^X is on the device 'meta'"):
            estimator.fit(x.to("meta"), labels)
        with pytest.raises(TypeError, match=r"^y is on the device 'meta'"):
            estimator.fit(x, labels.to("meta"))
        with pytest.raises(ValueError, match=r"^y requires a gradient"):
            estimator.fit(x, labels.double().requires_grad_())
        estimator.fit(x, labels)
        with pytest.raises(ValueError, match=rf"^X must have {D} columns"):
            estimator.predict(t[:, :3])
        with pytest.raises(ValueError, match=r"^X is empty"):
            estimator.predict(t[:0])


def test_few_points_duplicates_and_one_feature():
    x = torch.tensor([[0.0], [1.0], [1.0], [2.0]], dtype=torch.float64)
    y = torch.tensor([0, 1, 1, 0])
    options = {"kernel": Gaussian(1.0), "nugget": 0.1, "step": "rms", "device": "cpu"}
    ours = kflow.KernelFlow(n_layers=3, batch_size=4, random_state=0, **options)
    ours.fit(x, y.double())
    assert ours.points_.shape == (4, 1)
    classifier = kflow.KernelFlowClassifier(n_layers=2, random_state=0, device="cpu").fit(x, y)
    assert classifier.predict(x[:1]).tolist() == [0]


# ---- scikit-learn's array API dispatch ----------------------------------------------------------


def test_dispatch_of_scikit_learn(run_python):
    run_python(
        """
        import os
        os.environ["SCIPY_ARRAY_API"] = "1"
        import numpy as np, sklearn, torch, kflow
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        X = np.random.default_rng(0).normal(size=(60, 4))
        y = (X[:, 0] > 0).astype(int)
        x, labels = torch.tensor(X), torch.tensor(y)
        for device in (None, "cpu"):
            options = {"n_layers": 3, "random_state": 0, "device": device}
            expected = kflow.KernelFlowClassifier(**options).fit(X, y)
            values = kflow.KernelFlowRegressor(**options).fit(X, X[:, 0]).predict(X)
            with sklearn.config_context(array_api_dispatch=True):
                classifier = kflow.KernelFlowClassifier(**options).fit(x, labels)
                for name in ("predict", "predict_proba", "decision_function", "transform"):
                    found = getattr(classifier, name)(x)
                    assert isinstance(found, torch.Tensor), name
                    np.testing.assert_allclose(found, getattr(expected, name)(X), atol=1e-6)
                assert classifier.score(x, labels) == expected.score(X, y)
                regressor = kflow.KernelFlowRegressor(**options).fit(x, x[:, 0])
                assert isinstance(regressor.predict(x), torch.Tensor)
                np.testing.assert_allclose(regressor.predict(x), values, atol=1e-6)
                pipeline = make_pipeline(StandardScaler(), classifier).fit(x, labels)
                assert isinstance(pipeline.predict(x), torch.Tensor)
                words = kflow.KernelFlowClassifier(**options).fit(X, np.array(["a", "b"])[y])
                assert isinstance(words.predict(x), np.ndarray)
        classifier = kflow.KernelFlowClassifier(n_layers=0, random_state=0).fit(x, labels)
        assert isinstance(classifier.predict(x), np.ndarray)
        """
    )
