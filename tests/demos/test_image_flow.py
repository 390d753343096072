from __future__ import annotations

import numpy as np
import pytest

from kflow.datasets import Dataset
from kflow.demos import Options, image_flow


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
