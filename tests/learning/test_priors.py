from __future__ import annotations

import numpy as np
import pytest

import kflow
from kflow.kernels import Gaussian, Linear, Matern52
from kflow.learning.priors import Priors

KERNEL = 2.0 * Gaussian([1.0, 3.0]) + 0.5 * Linear()


def test_it_is_the_density_of_the_logarithms():
    z = np.append(KERNEL.theta, np.log(0.1))
    value, gradient = Priors(KERNEL, True, {"length_scale": (2.0, 0.5), "nugget": (0.01, 2.0)})(z)
    lengths = [np.log(0.5), np.log(1.5), np.log(0.5)]
    expected = 0.5 * np.square(lengths).sum() / 0.25 + 0.5 * np.log(10.0) ** 2 / 4.0
    assert value == pytest.approx(expected)
    named = Priors(KERNEL, True, {"length_scale": (2.0, 0.5), "nugget": (0.01, 2.0)})
    slopes = [(named(z + step)[0] - named(z - step)[0]) / 2e-6 for step in 1e-6 * np.eye(len(z))]
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("length_scale", 3),
        ("length_scale[1]", 1),
        ("k1__kernel__length_scale", 2),
        ("k1__kernel__length_scale[0]", 1),
        ("amplitude", 2),
        ("k2__amplitude", 1),
    ],
)
def test_names_are_full_or_without_their_part(name, n):
    _, gradient = Priors(KERNEL, False, {name: (100.0, 1.0)})(KERNEL.theta)
    assert np.count_nonzero(gradient) == n


def test_a_strong_prior_decides(rng):
    X = rng.uniform(size=(60, 2))
    y = np.sin(9.0 * X[:, 0])
    for loss in ("nlml", "e2"):
        learned = kflow.learn_kernel(
            Matern52([1.0, 1.0]),
            X,
            y,
            loss=loss,
            priors={"length_scale": (0.7, 1e-3)},
            optimizer="lbfgs",
            random_state=0,
        )
        np.testing.assert_allclose(learned.kernel.length_scale, 0.7, rtol=0.05)


def test_a_wide_prior_changes_next_to_nothing(rng):
    X = rng.uniform(size=(60, 1))
    y = np.sin(9.0 * X[:, 0]) + 0.1 * rng.normal(size=60)
    options = {"loss": "nlml", "optimizer": "lbfgs", "random_state": 0}
    plain = kflow.learn_kernel(1.0 * Gaussian(0.3), X, y, **options)
    wide = kflow.learn_kernel(
        1.0 * Gaussian(0.3), X, y, priors={"length_scale": (0.3, 1e4)}, **options
    )
    np.testing.assert_allclose(wide.kernel.theta, plain.kernel.theta, atol=1e-3)


def test_what_is_no_prior_is_refused():
    for priors, match in (
        ({"length": (1.0, 1.0)}, "no learned parameter is named 'length'"),
        ({"nugget": (1.0, 1.0)}, "no learned parameter is named 'nugget'"),
        ({"length_scale": (0.0, 1.0)}, r"priors\['length_scale'\]\[0\]"),
        ({"length_scale": (1.0, -1.0)}, r"priors\['length_scale'\]\[1\]"),
    ):
        with pytest.raises(ValueError, match=match):
            Priors(KERNEL, False, priors)
    for priors in ([("length_scale", (1.0, 1.0))], {"length_scale": 1.0}):
        with pytest.raises(TypeError, match="priors"):
            Priors(KERNEL, False, priors)
