"""The algebra of a batch never waits for numbers of the device: it runs where there are none."""

from __future__ import annotations

import pytest
import torch

from kflow.engine.torch.batch import decide
from kflow.kernels import Gaussian, Laplacian, Wendland


@pytest.mark.parametrize("kernel", [Gaussian(2.0), Laplacian(1.0), Wendland(4.0, dimension=3)])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("labelled", [False, True])
def test_tensors_without_numbers(kernel, mixed, labelled):
    m, k, n_moving, n_targets = 20, 5, 4, 3
    double = {"dtype": torch.float64, "device": "meta"}
    labels = torch.empty(m, dtype=torch.int32, device="meta") if labelled else None
    decision = decide(
        torch.empty(m, k, device="meta"),
        torch.empty(m, n_targets, **double),
        labels,
        torch.empty(2, 10, dtype=torch.int64, device="meta"),
        torch.empty(2, **double),
        profile=kernel.profile,
        n_moving=n_moving,
        capped=True,
        mixed=mixed,
        tf32=True,
    )
    assert decision.coefficients.shape == (m, n_moving)
    assert decision.coefficients.dtype == torch.float32
    assert decision.measured.shape == (6,)
    assert decision.extent.shape == (4,)
