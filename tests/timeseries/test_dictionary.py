from __future__ import annotations

import numpy as np

from kflow.timeseries import (
    dictionary,
)


def test_a_dictionary_is_positive_semidefinite(rng):
    X = rng.normal(size=(40, 3))
    candidates = dictionary(1.5, period=5.0)
    assert len(set(map(repr, candidates))) == len(candidates) >= 10
    for kernel in candidates:
        K = kernel(X)
        assert np.linalg.eigvalsh(K).min() > -1e-10 * np.trace(K)
