from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow import kernels, losses


def test_a_kernel_that_is_too_wide():
    X = np.linspace(0, 1, 30)[:, None]
    K = kflow.gram(X, kernel=kernels.Gaussian(1.0))
    with pytest.raises(
        kflow.SingularKernelError, match=r"kernel matrix of 30 points.*larger nugget"
    ):
        losses.nlml(K, X[:, 0])
