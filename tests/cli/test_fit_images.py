from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from sklearn.datasets import load_digits

import kflow
from kflow.datasets import DATASETS
from kflow.presets import AUGMENTED, FIXED, PRESETS, SCATTERING, Preset


@pytest.fixture
def folder(tmp_path):
    """IDX files of 400 digits for training and 100 for the test."""
    digits = load_digits()
    pixels, labels = (digits.images * 15).astype(np.uint8), digits.target.astype(np.uint8)
    for part, rows in (("train", slice(400)), ("t10k", slice(400, 500))):
        for name, array in (("images-idx3", pixels[rows]), ("labels-idx1", labels[rows])):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (tmp_path / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
    np.savez(tmp_path / "new.npz", X=pixels[400:500].reshape(100, -1))
    return tmp_path


@pytest.fixture(autouse=True)
def preset(monkeypatch):
    estimator = {**FIXED, "n_layers": 4, "batch_size": 40, "scaling": None}
    monkeypatch.setitem(SCATTERING, "mnist", Preset({"J": 1, "n_components": 20}, estimator))


def test_scattering_from_images_to_predictions(run, folder):
    out = folder / "out"
    data = ("--dataset", "mnist", "--data-dir", folder, "--preset", "scattering")
    result = run("fit", *data, "--output", out, "--cv", 2, "--n-draws", 1)
    assert (
        "9 maps of 5 x 5 by scattering for each of 500 images, then 20 coordinates" in result.stderr
    )
    assert "2-fold" in result.stderr or "cross-validation" in result.stderr.lower()
    results = json.loads((out / "results.json").read_text())
    assert results["n_test"] == 100
    assert results["model_error"] < 0.1

    predicted = run("predict", out / "model.kflow", folder / "new.npz").stdout.split()
    truth = load_digits().target[400:500]
    assert np.mean(np.array(predicted, int) != truth) == pytest.approx(results["model_error"])
    told = json.loads(run("info", out / "model.kflow", "--json").stdout)
    assert told["images"] == {"image_shape": [8, 8], "map_shape": [9, 5, 5], "n_components": 20}
    assert type(kflow.load(out / "model.kflow")).__name__ == "ImagePipeline"


def test_copies_and_views_from_images_to_predictions(run, folder, monkeypatch):
    estimator = SCATTERING["mnist"].estimator
    encoder = {"J": 1, "n_components": 20, "n_filters": 6, "patch_size": 3, "n_cells": 2}
    copies = {"n_copies": 2, "shift": 1}
    monkeypatch.setitem(AUGMENTED, "mnist", Preset(encoder, estimator, copies, 3))
    out = folder / "out"
    data = ("--dataset", "mnist", "--data-dir", folder, "--preset", "augmented")
    result = run("fit", *data, "--output", out, "--n-draws", 1, "--cv", 2)
    assert "Copies: 2 of each image for training; predictions are averages over 3" in result.stderr
    assert "by scattering and 12 maps of 2 x 2 by resemblance to patches" in result.stderr
    results = json.loads((out / "results.json").read_text())
    assert (results["n_train"], results["n_test"]) == (1200, 100)
    model = kflow.load(out / "model.kflow")
    assert model.augmentation == kflow.features.Augmentation(**copies)
    X, y = np.load(folder / "new.npz")["X"], load_digits().target[400:500]
    assert np.mean(model.predict(X) != y) == pytest.approx(results["model_error"])
    told = json.loads(run("info", out / "model.kflow", "--json").stdout)["images"]
    assert told["patch_map_shape"] == [12, 2, 2]
    assert (told["augmentation"]["n_copies"], told["n_views"]) == (2, 3)
    predicted = run("predict", out / "model.kflow", folder / "new.npz").stdout.split()
    np.testing.assert_array_equal(np.array(predicted, int), model.predict(X))


def test_data_sets_without_a_preset(run):
    result = run("fit", "--preset", "augmented", code=2)
    assert "--preset augmented needs --dataset mnist or" in result.stderr


def test_a_preset_belongs_to_a_known_data_set(run):
    result = run("fit", "--data", "a.npz", "--preset", "scattering", code=2)
    assert "--preset belongs to --dataset" in result.stderr


def test_every_data_set_has_both_presets():
    assert set(PRESETS) == set(SCATTERING) == set(DATASETS)


def test_scattering_of_photographs(run, tmp_path, monkeypatch, rng):
    Image = pytest.importorskip("PIL.Image")
    for number in range(80):  # a red and a blue class
        pixels = rng.integers(0, 100, (8, 8, 3), np.uint8)
        pixels[..., 2 * (number % 2)] += 100
        part = "train" if number < 60 else "test"
        file = tmp_path / part / ("red", "blue")[number % 2] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    estimator = {**FIXED, "n_layers": 2, "batch_size": 20, "scaling": None}
    patches = {"n_filters": 4, "patch_size": 3, "n_cells": 2}
    small = {**SCATTERING["cifar-10"].encoder, **patches, "J": 1, "n_components": 10}
    monkeypatch.setitem(SCATTERING, "cifar-10", Preset(small, estimator))
    data = ("--dataset", "cifar-10", "--data-dir", tmp_path, "--preset", "scattering")
    results = json.loads(run("fit", *data, "--no-save", "--n-draws", 1, "--json").stdout)
    assert (results["dataset"], results["n_train"], results["n_test"]) == ("cifar-10", 60, 20)
    assert results["model_error"] < 0.1


def test_folders_of_images(run, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:200], digits.target, strict=False)):
        file = tmp_path / "images" / f"digit {label}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(file)
    flow = ("--n-layers", 2, "--batch-size", 40, "--kernel", "gaussian", "--metric", "none")
    nuggets = ("--nugget", 3, "--interpolation-nugget", 1)
    out = tmp_path / "out"
    result = run("fit", "--data", tmp_path / "images", *flow, *nuggets, "--output", out)
    assert "images for training" in result.stderr
    lines = run("predict", out / "model.kflow", tmp_path / "images").stdout.splitlines()
    assert lines[0].startswith("file,prediction,probability_digit 0,probability_digit 1")
    right = [line.split("/")[0] == line.split(",")[1] for line in lines[1:]]
    assert np.mean(right) > 0.8
    for option in ("--id", "--target"):  # which images have not
        run("predict", out / "model.kflow", tmp_path / "images", option, "name", code=2)
    wrong = run("fit", "--data", tmp_path / "images", "--task", "regression", code=2)
    assert "their folders are their classes" in wrong.stderr
