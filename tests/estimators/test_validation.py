from __future__ import annotations

import numpy as np
import pytest

import kflow

X = np.random.default_rng(0).normal(size=(30, 2))
WORDS = np.array(list("abc") * 10)


@pytest.mark.parametrize(
    "estimator", [kflow.KernelFlowRegressor(n_layers=1), kflow.GPRegressor(n_steps=1)]
)
@pytest.mark.parametrize("y", [WORDS, WORDS.astype(object), WORDS.tolist()])
def test_text_targets_of_a_regression(estimator, y):
    with pytest.raises(ValueError, match=r"y holds text, such as 'a', .*KernelFlowClassifier"):
        estimator.fit(X, y)


@pytest.mark.parametrize("estimator", [kflow.KernelFlowClassifier(), kflow.GPRegressor()])
def test_columns_of_text(estimator):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"age": X[:, 0], "town": pd.Categorical(WORDS)})
    with pytest.raises(ValueError, match=r"column 'town' holds text .*make_table_pipeline"):
        estimator.fit(table, np.arange(30) % 2)
    with pytest.raises(ValueError, match=r"column 1 holds text .* such as 'a'"):
        estimator.fit(table.to_numpy(object), np.arange(30) % 2)
