"""The reader of model files in C++: its results are those of Python, and nothing else is read as a model."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from soak.mutations import damaged, resealed

import kflow
from kflow import KernelFlow, KernelFlowClassifier, KernelFlowRegressor, kernels

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,  # where the C++ tests have not been built yet
    pytest.mark.skipif(not (ROOT / "csrc" / "model").is_dir(), reason="without the sources"),
    pytest.mark.skipif(shutil.which("cmake") is None, reason="without CMake"),
]


@pytest.fixture(scope="session")
def tool():
    """The program csrc/tests/model_values.cpp, built beside the C++ tests."""
    build = ["cmake", "--build", "--preset", "default", "--target", "model_values"]
    for command in (["cmake", "--preset", "default"], build):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return ROOT / "build" / "default" / "csrc" / "tests" / "model_values"


@pytest.fixture
def run(tool, tmp_path):
    """Save a model and run the program on it; a path stands for a file that exists."""

    def run(model, *arguments, points=b"", **options):
        path = model
        if not isinstance(model, Path):
            path = tmp_path / "model.kflow"
            model.save(path, **options)
        environment = {**os.environ, "KFLOW_SIMD_LEVEL": kflow.build_config()["simd_level"]}
        return subprocess.run(
            [tool, path, *map(str, arguments)], input=points, capture_output=True, env=environment
        )

    return run


@pytest.fixture
def values(run):
    def values(model, what, X, *, n_threads=1, **options):
        done = run(model, what, X.dtype.name, n_threads, points=X.tobytes(), **options)
        assert done.returncode == 0, done.stderr
        return np.frombuffer(done.stdout).reshape(len(X), -1)

    return values


@pytest.fixture
def message(run):
    def message(model, *arguments, points=b""):
        done = run(model, *arguments, points=points)
        assert done.returncode == 2
        return done.stderr.decode()

    return message


def classes(rng, n=120, d=11):
    X = rng.normal(size=(n, d)) * np.linspace(1.0, 9.0, d) + 3.0
    return X, (X[:, 0] > 3.0).astype(int) + (X[:, 1] > 3.0)


SETTINGS = {
    "plain": {},
    "unit": {"scaling": "unit"},
    "none": {"scaling": None},
    "rank": {"rank": 7},
    "shrinking": {"rank": "auto", "shrink_every": 2, "shrink_tolerance": 0.2},
    "map": {"metric": kflow.GradientMetric()},
    "unit map": {"metric": kflow.GradientMetric(), "scaling": "unit"},
    "no layers": {"n_layers": 0},
}


def classifier(kernel=None, **settings):
    return KernelFlowClassifier(
        kernel,
        **{
            "metric": None,
            "n_layers": 6,
            "batch_size": 40,
            "nugget": 1.0,
            "interpolation_nugget": 0.1,
            "random_state": 0,
            **settings,
        },
    )


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_classifier(rng, values, settings, dtype):
    X, y = classes(rng)
    model = classifier(kernels.Matern52(4.0), **settings, dtype=dtype.name).fit(X, y)
    for points in (X, X.astype(np.float32)):
        scores = model.decision_function(points)
        assert np.array_equal(values(model, "predict", points), scores)
        assert np.array_equal(values(model, "predict", points, n_threads=3), scores)
        assert np.array_equal(values(model, "classify", points)[:, 0], model.predict(points))
        probabilities = values(model, "probabilities", points)
        assert np.allclose(probabilities, model.predict_proba(points), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("d", [1, 2, 3, 9, 140, 300])
def test_norms_are_those_of_numpy(rng, values, d, dtype):
    X, y = classes(rng, d=max(d, 2))
    X = X[:, :d]
    model = classifier(scaling="unit", rank="auto", dtype=dtype.name).fit(X, y)
    for points in (X, X.astype(np.float32)):
        assert np.array_equal(values(model, "predict", points), model.decision_function(points))


def test_every_kernel(rng, values, kernel, dtype):
    X, y = classes(rng)
    model = classifier(kernel, dtype=dtype.name).fit(X, y)
    assert np.array_equal(values(model, "predict", X), model.decision_function(X))


def test_a_kernel_of_compact_support(rng, values):
    X, y = classes(rng)
    model = classifier(kernels.Wendland(9.0, dimension=11)).fit(X, y)
    assert np.array_equal(values(model, "predict", X), model.decision_function(X))


def test_more_rows_than_go_together(rng, values):
    X, y = classes(rng, n=2500)
    model = classifier(scaling="unit").fit(X[:300], y[:300])
    assert np.array_equal(values(model, "predict", X), model.decision_function(X))


@pytest.mark.parametrize("layers_dtype", ["float16", "float32", "float64"])
def test_precisions_of_the_file(rng, values, tmp_path, layers_dtype, dtype):
    X, y = classes(rng)
    model = classifier(dtype=dtype.name).fit(X, y)
    scores = values(model, "predict", X, layers_dtype=layers_dtype)
    assert np.array_equal(scores, kflow.load(tmp_path / "model.kflow").decision_function(X))


def test_several_blocks(rng, values, monkeypatch):
    monkeypatch.setattr("kflow.flow.flow_file._BLOCK_BYTES", 2000)
    X, y = classes(rng)
    model = classifier().fit(X, y)
    assert np.array_equal(values(model, "predict", X), model.decision_function(X))


@pytest.mark.parametrize("n_outputs", [None, 1, 3])
def test_a_regressor(rng, values, n_outputs, dtype):
    X, _ = classes(rng)
    y = X[:, :n_outputs] * 10.0 - 1.0 if n_outputs else np.sin(X[:, 0])
    model = KernelFlowRegressor(
        None,
        metric=None,
        n_layers=5,
        batch_size=40,
        nugget=1.0,
        interpolation_nugget=0.1,
        random_state=0,
        dtype=dtype.name,
    ).fit(X, y)
    predicted = model.predict(X).reshape(len(X), -1)
    assert np.array_equal(values(model, "predict", X), predicted)


def test_a_flow(rng, values, dtype):
    X, y = classes(rng)
    flow = KernelFlow(n_layers=5, batch_size=40, nugget=1.0, dtype=dtype.name, random_state=0)
    flow.fit(X, kflow.one_hot(y), follow={"more": X[:3]})
    assert np.array_equal(values(flow, "transform", X), flow.transform(X))


@pytest.mark.parametrize(
    "labels",
    [[-3, 70000, 5], ["ä", "b", "日本"], [1.0, -2.0, 300.0], np.array([1, 2, 250], np.uint8)],
    ids=["int", "text", "float", "bytes"],
)
def test_labels(rng, run, labels):
    X, y = classes(rng)
    model = classifier().fit(X, np.asarray(labels)[y])
    head, *names = run(model).stdout.decode().split("\n")
    assert head == "KernelFlowClassifier 11 6 3"
    assert names == [str(label) for label in model.classes_.tolist()]


# ---- refusals -----------------------------------------------------------------------------------


@pytest.fixture
def saved(rng, tmp_path):
    X, y = classes(rng, d=3)
    path = tmp_path / "saved.kflow"
    classifier(rank=2, n_layers=3).fit(X, y).save(path)
    return path


def test_other_models_are_refused_by_name(rng, message):
    X, y = classes(rng)
    gp = kflow.GPRegressor(kernels.Gaussian(2.0)).fit(X[:20], X[:20, 0])
    assert "holds a GPRegressor, which this reader does not know" in message(gp)
    flow = KernelFlow(n_layers=2, batch_size=20, nugget=1.0, layers="none", random_state=0)
    assert "layers were not kept" in message(flow.fit(X, kflow.one_hot(y)))
    flow = KernelFlow(n_layers=2, batch_size=20, nugget=1.0, rank=3, random_state=0)
    flow.fit(X, kflow.one_hot(y))
    assert "rank" in message(flow, "transform", "float64", 1, points=X.tobytes())
    assert "no outputs" in message(flow, "predict", "float64", 1, points=X.tobytes())
    assert "no classes" in message(flow, "classify", "float64", 1, points=X.tobytes())


def test_bad_points_are_refused(saved, message):
    for bad in (np.nan, np.inf, 1e200):
        points = np.full((2, 3), bad)
        assert "not finite" in message(saved, "predict", "float64", 1, points=points.tobytes())
    assert "n_threads" in message(saved, "predict", "float64", 0, points=bytes(24))


def test_a_file_that_is_not_there(tmp_path, message):
    assert "cannot be read" in message(tmp_path / "nothing.kflow")
    empty = tmp_path / "empty.kflow"
    empty.touch()
    assert "no ZIP archive" in message(empty)


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, content, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m.pop("points.npy"), "lacks a member"),
        (lambda m: m.update({"more.npy": b"x"}), "one too many"),
        (
            lambda m: m.update(
                {
                    "more.npy": b"x",
                    "model.json": m["model.json"].replace(
                        b'"points.npy"', b'"points.npy", "more.npy"'
                    ),
                }
            ),
            "has more.npy, which this reader does not know",
        ),
        (
            lambda m: m.update(
                {"model.json": m["model.json"].replace(b'"version": 5', b'"version": 6')}
            ),
            "newer kflow",
        ),
        (
            lambda m: m.update(
                {"model.json": m["model.json"].replace(b'"version": 5', b'"version": 4')}
            ),
            "older kflow",
        ),
        (
            lambda m: m.update({"blocks/00000000.safetensors": b"\x00" * 8}),
            "blocks/00000000.safetensors: its text is no JSON",
        ),
        (
            lambda m: m.update(
                {
                    "blocks/00000000.safetensors": m["blocks/00000000.safetensors"][:-1]
                    + bytes([m["blocks/00000000.safetensors"][-1] ^ 1])
                }
            ),
            "its checksum is wrong",
        ),
    ],
    ids=["missing", "unknown", "listed", "newer", "older", "no block", "flipped"],
)
def test_damage_is_named(saved, message, change, expected):
    content = members(saved)
    change(content)
    rewrite(saved, content)
    text = message(saved)
    assert text.startswith(str(saved))
    assert expected in text


def test_compressed_members_are_refused(saved, message):
    rewrite(saved, members(saved), zipfile.ZIP_DEFLATED)
    assert "is compressed" in message(saved)


def test_every_flipped_byte_is_seen(saved, run):
    raw = saved.read_bytes()
    rng = np.random.default_rng(0)
    where = np.append(rng.integers(len(raw), size=60), np.arange(len(raw) - 22, len(raw)))
    kept = 0
    for place in where:
        saved.write_bytes(raw[:place] + bytes([raw[place] ^ 255]) + raw[place + 1 :])
        kept += run(saved).returncode == 0  # in what no reader needs, such as dates
    assert kept < len(where) // 4


def test_no_damage_ends_the_program(saved, run):
    raw, rng = saved.read_bytes(), np.random.default_rng(1)
    points, statuses = np.zeros((4, 3)).tobytes(), set()
    for _ in range(150):
        changed = resealed(raw, "zip", rng) if rng.random() < 0.7 else damaged(raw, rng)
        saved.write_bytes(changed)
        statuses.add(run(saved, "probabilities", "float64", 1, points=points).returncode)
    assert statuses <= {0, 2}
    assert 2 in statuses
