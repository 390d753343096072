from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kflow.datasets import Dataset
from kflow.demos import Options
from kflow.demos.fooling import add_fooling
from kflow.demos.image_flow import ImageSettings, fitted_flow
from kflow.demos.report import Report
from kflow.presets import FIXED


@pytest.fixture(scope="module")
def flows():
    digits = load_digits()
    X, y = digits.data.astype(np.float32), digits.target
    data = Dataset("digits", X[:400], y[:400], X[400:500], y[400:500], "classification", (8, 8))
    settings = {**FIXED, "n_layers": 5, "interpolation_nugget": 0.1, "random_state": 0}
    of = {
        "pixels": ImageSettings("pixels", None, {**settings, "scaling": "unit"}),
        "scattering": ImageSettings(
            "scattering", {"J": 1, "n_components": 15}, {**settings, "scaling": None}
        ),
    }
    return {features: fitted_flow(data, each, Options()) for features, each in of.items()}


def test_both_are_fooled_in_the_same_units(flows):
    report = Report("A title", "A summary.", "a command")
    rows = np.arange(10, 60)
    numbers = add_fooling(report, flows, rows, {"max_points": 8, "n_refinements": 2}, 0)
    for features in flows:
        for when in ("before", "after"):
            told = numbers[features][when]
            assert (told["n_points"], told["not_found"]) == (8, 0)
            assert told["right"] == 8 - told["misclassified"]
            assert 0.03 < told["relative_median"] < 0.5
            assert 30 < told["median_norm"] < 90  # pixels reach from 0 to 16
        assert 0.3 < numbers[features]["ratio_median"] < 3.0
    assert 0.2 < numbers["scattering_over_pixels"] < 5.0
    text = report.markdown()
    assert text.count("times the adversarial distance") == 3
    assert {"adversarial", "fooled"} == {
        part.name for part in report.sections[0].parts if hasattr(part, "kind")
    }
