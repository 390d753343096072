from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from kflow.cli.command import main

from kflow.datasets import Dataset
from kflow.demos import DEMOS, Options, image_flow
from kflow.demos.images import PUBLISHED


def report_of(name, folder):
    """Run the small form of a demo by the command line and return its numbers and its page."""
    done = CliRunner().invoke(main, ["demo", name, "--quick", "--quiet", "--output", str(folder)])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == str(folder / "report.html")
    results = json.loads((folder / "results.json").read_text())
    return results, (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, *report_of("digits", folder)


def test_one_digit_of_each_class_classifies_the_others(digits):
    numbers = digits[1]["numbers"]
    for row in numbers["errors"]:
        assert row["min"] <= row["average"] <= row["max"] < 0.03
        assert row["std"] < 0.01
    assert [row["n_interpolation"] for row in numbers["errors"]] == [600, 60, 10]
    before = {row["n_interpolation"]: row["average"] for row in numbers["errors_before"]}
    assert before[10] > 0.2 > before[60] > 0.05
    one = numbers["one_per_class"]
    assert len(one["errors"]) == len(one["errors_before"]) > 10
    assert max(one["errors"]) < 0.05
    assert np.median(one["errors_before"]) > 0.2
    assert numbers["rho"]["last"] < 0.2 * numbers["rho"]["first"]


def test_what_is_measured_while_digits_flow(digits):
    numbers = digits[1]["numbers"]
    assert numbers["window"] == [381, 400]
    assert numbers["curve"]["layers"][0] == 1
    assert numbers["curve"]["layers"][-1] == numbers["n_layers"] == 400
    distances = numbers["class_distances"]
    assert distances["layers"][0] == 0
    ratio = np.array(distances["within"]) / np.array(distances["between"])
    assert ratio[0] > 0.3
    assert ratio[-1] < 0.05


def test_the_geometry_of_digits(digits):
    geometry = digits[1]["numbers"]["geometry"]
    dimension = geometry["dimension"]
    assert dimension["layers"][0] == 0
    assert dimension["explained"][-1] < 0.5 * dimension["explained"][0]
    bound, local = (np.array(geometry["lipschitz"][name]) for name in ("log10_bound", "local_max"))
    assert (np.log10(local) <= bound + 1e-6).all()
    assert bound[0] == 0
    for name in ("before", "after"):
        assert geometry["adversarial"][name]["not_found"] == 0
        assert 0.02 < geometry["adversarial"][name]["median"] < 0.5


def test_the_files_of_digits(digits):
    folder, _, page = digits
    figures = sorted(path.stem for path in (folder / "figures").iterdir())
    assert {"loss", "errors", "class-distances", "images", "one-per-class"} <= set(figures)
    assert {"points-pca", "points-classes", "adversarial", "lipschitz", "margins"} <= set(figures)
    assert page.count("<img") == len(figures)
    assert "kflow demo digits --quick" in page


def test_one_shot(tmp_path):
    results, page = report_of("one-shot", tmp_path)
    numbers = results["numbers"]
    assert len(numbers["errors"]) == len(numbers["errors_before"]) == 200
    assert max(numbers["errors"]) < 0.05
    assert np.std(numbers["errors_before"]) > 0.03
    layers = numbers["layers"]
    assert layers["layers"][0] == 0
    assert layers["layers"][-1] == numbers["n_layers"]
    for low, median, high in zip(layers["5 %"], layers["median"], layers["95 %"], strict=True):
        assert low <= median <= high
    assert layers["median"][-1] < 0.1 * layers["median"][0]
    assert "The worst draws" in page


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_large_sets_need_a_folder(name, tmp_path):
    done = CliRunner().invoke(main, ["demo", name, "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "--data-dir" in done.output
    assert name in DEMOS


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_small_form_of_large_sets(name, monkeypatch, rng):
    y = np.arange(3600) % 10
    data = Dataset(
        name,
        rng.normal(size=(3600, 9)),
        y,
        rng.normal(size=(600, 9)),
        y[:600],
        "classification",
        (3, 3),
    )
    monkeypatch.setattr(image_flow, "load_dataset", lambda *_: data)
    whole, preset = image_flow.load_images(name, Options())
    small, settings = image_flow.load_images(name, Options(quick=True, seed=3, n_threads=1))
    assert (len(whole.y_train), len(small.y_train), len(small.y_test)) == (3600, 600, 100)
    assert settings["n_layers"] == preset["n_layers"] // 3
    assert max(settings["nugget"]) == max(preset["nugget"]) // 3
    assert (settings["random_state"], settings["n_threads"]) == (3, 1)


def test_published_tables():
    for tables in PUBLISHED.values():
        for rows in tables.values():
            for average, low, high, _ in rows.values():
                assert low <= average <= high
