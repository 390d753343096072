from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from kflow.cli import main
from kflow.demos import DEMOS
from kflow.demos.published import PUBLISHED


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


FEATURES = ("pixels", "scattering")


@pytest.mark.slow
@pytest.mark.parametrize("features", FEATURES)
def test_one_digit_of_each_class_classifies_the_others(digits, features):
    numbers = digits[1]["numbers"][features]
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


@pytest.mark.slow
def test_scattering_errs_less(digits):
    errors = [digits[1]["numbers"][features]["errors"][-1]["average"] for features in FEATURES]
    assert errors[1] < errors[0]
    remaining = digits[1]["numbers"]["remaining_errors"]
    assert len(remaining["scattering"]["rows"]) < len(remaining["pixels"]["rows"])


@pytest.mark.slow
@pytest.mark.parametrize("features", FEATURES)
def test_what_is_measured_while_digits_flow(digits, features):
    numbers = digits[1]["numbers"][features]
    assert numbers["window"] == [381, 400]
    assert numbers["curve"]["layers"][0] == 1
    assert numbers["curve"]["layers"][-1] == numbers["n_layers"] == 400
    distances = numbers["class_distances"]
    assert distances["layers"][0] == 0
    ratio = np.array(distances["within"]) / np.array(distances["between"])
    assert ratio[0] > 0.3
    assert ratio[-1] < 0.05


@pytest.mark.slow
def test_the_geometry_of_digits(digits):
    numbers = digits[1]["numbers"]
    for features in FEATURES:
        geometry = numbers[features]["geometry"]
        dimension = geometry["dimension"]
        assert dimension["layers"][0] == 0
        assert dimension["explained"][-1] < 0.5 * dimension["explained"][0]
        fooling = numbers["fooling"][features]
        for name in ("before", "after"):
            assert fooling[name]["not_found"] == 0
            assert 0.02 < fooling[name]["relative_median"] < 0.5
    constants = numbers["pixels"]["geometry"]["lipschitz"]
    bound, local = (np.array(constants[name]) for name in ("log10_bound", "local_max"))
    assert (np.log10(local) <= bound + 1e-6).all()
    assert bound[0] == 0


@pytest.mark.slow
def test_the_files_of_digits(digits):
    folder, results, page = digits
    figures = {path.stem for path in (folder / "figures").iterdir()}
    assert {"loss", "errors", "class-distances", "images", "one-per-class", "one-shot"} <= figures
    assert {"adversarial", "fooled", "lipschitz", "remaining-pixels"} <= figures
    for features in FEATURES:
        own = {"points-pca", "points-classes", "points-animated", "margins", "dimension-explained"}
        assert {f"{name}-{features}" for name in own} <= figures
    assert page.count("<img") == len(figures)
    assert "kflow demo digits --quick" in page
    assert set(results["numbers"]["seconds"]) >= {"fooling", "layers of pixels alone"}
    assert "scattering of all images alone" in page
    settings = results["settings"]
    assert (settings["encoder J (scattering)"], settings["dtype"]) == (1, "float32")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar-10"])
def test_large_sets_need_a_folder(name, tmp_path):
    done = CliRunner().invoke(main, ["demo", name, "--output", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "--data-dir" in done.output
    assert name in DEMOS


def test_published_tables():
    for tables in PUBLISHED.values():
        for rows in tables.values():
            for average, low, high, _ in rows.values():
                assert low <= average <= high
