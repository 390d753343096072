from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.errors import ModelFileError
from kflow.storage.model_file import write_model


@pytest.mark.parametrize(
    "model",
    [
        kflow.KernelFlow(n_layers=2, batch_size=10),
        kflow.KernelFlowClassifier(n_layers=2),
        kflow.KernelFlowRegressor(n_layers=2),
        kflow.GPRegressor(n_steps=1),
        kflow.StackedGPRegressor(estimator=kflow.GPRegressor(n_steps=1)),
        kflow.Emulator(n_steps=1, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_kind_comes_back_as_it_was_saved(model, rng, tmp_path):
    X = rng.normal(size=(30, 2))
    model.fit(X, (X[:, 0] > 0).astype(int)).save(tmp_path / "model")
    loaded = kflow.load(tmp_path / "model")
    assert type(loaded) is type(model)
    use = "predict" if hasattr(model, "predict") else "transform"
    np.testing.assert_array_equal(getattr(loaded, use)(X), getattr(model, use)(X))


def test_other_kinds_are_refused(tmp_path):
    write_model(tmp_path / "model", "Forest", {}, ())
    with pytest.raises(ModelFileError, match="holds a 'Forest', which this kflow does not know"):
        kflow.load(tmp_path / "model")


@pytest.mark.slow
def test_a_flow_is_read_without_scikit_learn(run_python, tmp_path):
    run_python(
        f"""
        import sys, numpy as np, kflow
        X = np.random.default_rng(0).normal(size=(20, 2))
        path = {str(tmp_path / "model")!r}
        kflow.KernelFlow(n_layers=1, batch_size=10).fit(X, X[:, 0]).save(path)
        assert kflow.load(path).n_layers_ == 1
        assert "sklearn" not in sys.modules
        """
    )
