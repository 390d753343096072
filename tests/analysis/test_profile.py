from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels
from kflow.analysis._profile import SmoothProfile


@pytest.mark.parametrize(
    "kernel",
    [
        kernels.Gaussian(0.7),
        kernels.RationalQuadratic(1.3, alpha=2.5),
        kernels.InverseMultiquadric(0.9),
        kernels.Cauchy(2.0),
    ],
    ids=lambda kernel: type(kernel).__name__,
)
def test_derivatives_by_differences(kernel):
    profile = SmoothProfile.of(kernel)
    s = np.linspace(0.01, 4.0, 40)
    np.testing.assert_allclose(profile.derivative(s, 0), kernel.value_at(np.sqrt(s)), rtol=1e-12)
    np.testing.assert_allclose(
        profile.derivative(s, 1), kernel.slope_formula(s, kernel.length_scale)
    )
    h = 1e-5
    for order in (1, 2, 3):
        difference = profile.derivative(s + h, order - 1) - profile.derivative(s - h, order - 1)
        np.testing.assert_allclose(profile.derivative(s, order), difference / (2 * h), rtol=1e-7)
        assert profile.largest(order) >= np.abs(profile.derivative(s, order)).max()
    # The norms come from derivatives of k(r) = f(r^2) at 0, of which the second is the curvature.
    assert profile.norm(0) == pytest.approx(1.0)
    assert profile.norm(1) ** 2 == pytest.approx(kernel.curvature)
    r = 0.02 * np.arange(-3, 4)
    even = np.polynomial.Polynomial.fit(r, kernel.value_at(np.abs(r)), 6).convert().coef
    assert profile.norm(2) ** 2 == pytest.approx(24.0 * even[4], rel=0.02)


@pytest.mark.parametrize("kernel", [kernels.Laplacian(), kernels.Gaussian([1.0, 2.0])])
def test_other_kernels_are_refused(kernel):
    with pytest.raises(TypeError, match="whose derivatives are bounded"):
        SmoothProfile.of(kernel)
