from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import Dataset
from kflow.demos import remaining_errors
from kflow.demos.remaining_errors import add_remaining_errors
from kflow.demos.report import Report


class Flow:
    """A flow that gets some of the test images wrong."""

    def __init__(self, data, wrong):
        self.data = data
        self.classifier = type("Classifier", (), {"interpolation_rows_": np.arange(7)})
        self.wrong = wrong

    def predicted(self):
        labels = self.data.y_test.copy()
        labels[self.wrong] = (labels[self.wrong] + 1) % 10
        return labels


@pytest.fixture
def data(rng):
    y = np.arange(40) % 10
    X = rng.random((40, 16)).astype(np.float32)
    return Dataset("fashion-mnist", X, y, X, y, "classification", (4, 4))


def test_all_of_a_few_and_some_of_many(data, monkeypatch):
    monkeypatch.setattr(remaining_errors, "_ALL", 5)
    monkeypatch.setattr(remaining_errors, "_SOME", 4)
    flows = {"pixels": Flow(data, np.arange(3, 11)), "scattering": Flow(data, np.array([5, 20]))}
    report = Report("A title", "A summary.", "a command")
    numbers = add_remaining_errors(report, flows, 0)
    assert numbers["pixels"]["rows"].tolist() == list(range(3, 11))
    assert numbers["scattering"]["predicted"].tolist() == [6, 1]
    assert numbers["by_both"] == 1
    text = report.markdown()
    assert "8 by pixels and 2 by scattering wrong, 1 of them by both" in text
    assert "A sample of 4 of the test images that are misclassified by pixels: 8, 20.00 %" in text
    assert "All test images that are misclassified by scattering: 2, 5.00 %" in text


def test_no_error_has_no_picture(data):
    flows = {"pixels": Flow(data, np.array([], int)), "scattering": Flow(data, np.array([1]))}
    report = Report("A title", "A summary.", "a command")
    add_remaining_errors(report, flows, 0)
    assert report.markdown().count("![") == 1
