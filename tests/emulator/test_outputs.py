from __future__ import annotations

import numpy as np
import pytest

from kflow.emulator import outputs
from kflow.emulator.outputs import OutputReduction


def data(rng, n, m, rank):
    return rng.normal(size=(n, rank)) @ rng.normal(size=(rank, m)) * 3.0 + 10.0


def reference(Y, q):
    """Principal components of standardised outputs by one singular value decomposition."""
    Z = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    return np.linalg.svd(Z, full_matrices=False)[2][:q]


@pytest.mark.parametrize("shape", [(60, 9), (20, 50)])
def test_components_are_those_of_the_svd(shape, rng, dtype):
    Y = data(rng, *shape, rank=8).astype(dtype)
    reduction = OutputReduction.fit(Y, 3, "standard", rng)
    expected = reference(Y.astype(np.float64), 3)
    np.testing.assert_allclose(
        np.abs(reduction.components @ expected.T), np.eye(3), atol=1e-4 if dtype == "f4" else 1e-9
    )
    scores = reduction.reduced(Y)
    np.testing.assert_allclose(scores.std(axis=0), 1.0, rtol=1e-4)
    np.testing.assert_allclose(reduction.reduced(reduction.outputs(scores)), scores, atol=1e-6)


def test_random_combinations_find_them_too(rng, monkeypatch):
    monkeypatch.setattr(outputs, "_GRAM", 10)
    Y = data(rng, 150, 140, rank=12)
    reduction = OutputReduction.fit(Y, 5, "standard", rng)
    np.testing.assert_allclose(
        np.abs(reduction.components @ reference(Y, 5).T), np.eye(5), atol=1e-8
    )


def test_a_share_of_the_variance(rng):
    Y = data(rng, 40, 10, rank=4)
    assert OutputReduction.fit(Y, 0.0, "standard", rng).n_components == 4
    assert OutputReduction.fit(Y, "auto", "standard", rng).n_components == 4
    Z = (Y - Y.mean(axis=0)) / Y.std(axis=0)
    shares = 1.0 - np.cumsum(np.linalg.svd(Z, compute_uv=False)[:4] ** 2) / Z.size
    assert OutputReduction.fit(Y, float(shares[1]) + 1e-9, "standard", rng).n_components == 2


def test_truncation_is_that_of_other_rows(rng):
    """Few rows fit their own components; what is left of others is larger."""
    noise = rng.normal(size=(4000, 30))
    Y, others = noise[:40], noise[40:]
    reduction = OutputReduction.fit(Y, 8, "standard", rng)
    own = (Y - reduction.outputs(reduction.reduced(Y))) / reduction.scale
    new = (others - reduction.outputs(reduction.reduced(others))) / reduction.scale
    true, naive = np.sqrt(np.square(new).mean()), np.sqrt(np.square(own).mean())
    said = np.sqrt(np.square(reduction.truncation).mean())
    assert abs(said - true) < 0.5 * abs(naive - true)


def test_without_scaling_large_outputs_count_more(rng):
    Y = np.column_stack([1e3 * rng.normal(size=50), rng.normal(size=50)])
    reduction = OutputReduction.fit(Y, 1, None, rng)
    np.testing.assert_allclose(np.abs(reduction.components), [[1.0, 0.0]], atol=1e-2)
    np.testing.assert_allclose(reduction.spread, Y.std(axis=0))


def test_variances_and_jacobians_are_mapped_back(rng):
    Y = data(rng, 60, 5, rank=5)
    reduction = OutputReduction.fit(Y, 2, "standard", rng)
    back = (reduction.components * reduction.deviations[:, None]).T * reduction.scale[:, None]
    variances = rng.uniform(size=(3, 2))
    expected = [np.diag(back @ np.diag(v) @ back.T) for v in variances]
    expected += np.square(reduction.truncation * reduction.scale)
    np.testing.assert_allclose(reduction.output_variances(variances), expected)
    J = rng.normal(size=(3, 2, 4))
    np.testing.assert_allclose(reduction.output_jacobians(J), [back @ one for one in J])
