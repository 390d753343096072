from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import norm

from kflow import kernels
from kflow.errors import BoundsWarning, DivergenceError, SingularKernelError
from kflow.estimators import gp_learning
from kflow.estimators.gp_learning import (
    KernelSearch,
    default_kernel,
    flexible_kernel,
    leave_one_out_densities,
)
from kflow.estimators.gp_solvers import ScaledRows

OPTIONS = {
    "batches": "uniform",
    "n_batches": 1,
    "n_halves": 2,
    "optimizer": "lbfgs",
    "n_steps": 5,
    "n_threads": None,
}


@pytest.fixture
def data(rng):
    X = rng.normal(size=(40, 2))
    Y = np.column_stack([np.sin(2 * X[:, 0]), X[:, 1]]) + 0.1 * rng.normal(size=(40, 2))
    return ScaledRows(X, Y)


def search(learn="e2", **changes):
    return KernelSearch(
        **{
            "learn": learn,
            "kernel": None,
            "nugget": 0.01,
            "nugget_bounds": None,
            "learn_nugget": True,
            "is_factored": True,
            "batch_size": 1000,
            "n_folds": 5,
            "options": OPTIONS,
            **changes,
        }
    )


def test_a_loss_that_there_is_not():
    with pytest.raises(ValueError, match=r"learn must be one of \('auto', 'rho'"):
        search("r2")


@pytest.mark.parametrize("weighted", [False, True])
def test_densities_are_those_of_each_row_from_all_others(rng, data, weighted):
    kernel, weights = kernels.Matern52(1.5), np.exp(rng.normal(size=40)) if weighted else None
    found = leave_one_out_densities(
        kernel, 0.1, ScaledRows(data.points, np.column_stack([data.targets, np.zeros(40)]), weights)
    )
    A = kernel(data.points) + np.diag(0.1 / (np.ones(40) if weights is None else weights))
    residuals, variances = np.empty((40, 2)), np.empty(40)
    for i in range(40):
        rest = np.arange(40) != i
        w = np.linalg.solve(A[np.ix_(rest, rest)], A[rest, i])
        residuals[i] = data.targets[i] - w @ data.targets[rest]
        variances[i] = A[i, i] - w @ A[rest, i]
    amplitudes = np.sqrt(np.mean(residuals**2 / variances[:, None], axis=0))
    expected = norm.logpdf(residuals, scale=amplitudes * np.sqrt(variances)[:, None]).sum(axis=1)
    np.testing.assert_allclose(found + 2 * norm.logpdf(0.0), expected, rtol=1e-8)


def test_densities_of_a_singular_matrix(data):
    found = leave_one_out_densities(kernels.Gaussian(1e4), 0.0, data)
    np.testing.assert_array_equal(found, -np.inf)


def test_the_least_nugget():
    assert search()._bounds("e2", 100) == (1e-12, 1e4)
    assert search()._bounds("e2", 10000)[0] == pytest.approx(2.2e-11, rel=0.01)
    assert search()._bounds("nlml", 100) == (1e-8, 1e4)
    assert search(is_factored=False)._bounds("e2", 100) == (1e-8, 1e4)
    assert search(nugget_bounds=(0.1, 1.0))._bounds("e2", 100) == (0.1, 1.0)


def test_where_there_is_no_noise_the_nugget_is_small(rng):
    X = rng.uniform(-1.0, 1.0, (60, 1))
    learned = search(options={**OPTIONS, "n_steps": 50})(ScaledRows(X, np.sin(3 * X)), rng)
    assert learned.nugget < 1e-9


# ---- rho ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_rho_takes_no_signal_for_noise(seed):
    """With a learned nugget alone rho ends at its upper bound here, where all is noise."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2.0, 2.0, (150, 2))
    y = np.sin(2 * X[:, :1]) + 0.5 * rng.normal(size=(150, 1))
    learned = search("rho", options={**OPTIONS, "n_steps": 50})(ScaledRows(X, y), rng)
    assert learned.nugget < 10.0
    A = learned.kernel(X) + learned.nugget * np.eye(150)
    mean = learned.kernel(X) @ np.linalg.solve(A, y)
    assert np.mean((mean - np.sin(2 * X[:, :1])) ** 2) < 0.1


def test_rho_with_a_given_nugget(rng, data):
    assert search("rho", learn_nugget=False)(data, rng).nugget == 0.01


# ---- a choice of losses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gain", "chosen"),
    [(1.0, "Scaled"), (-1.0, "Matern52"), (0.01, "Matern52"), (np.inf, "Scaled")],
)
def test_the_likelihood_needs_clearly_larger_densities(rng, data, monkeypatch, gain, chosen):
    noise = 0.1 * rng.normal(size=40)
    densities = {"Matern52": noise, "Scaled": gain + 2 * noise}
    monkeypatch.setattr(
        gp_learning,
        "leave_one_out_densities",
        lambda kernel, *_: densities[type(kernel).__name__],
    )
    assert type(search("auto")(data, rng).kernel).__name__ == chosen


def test_auto_is_one_of_the_two(data):
    learned = {
        learn: search(learn)(data, np.random.default_rng(0)) for learn in ("auto", "e2", "nlml")
    }
    named = learned["auto"].kernel.parameter_names
    assert named in (learned["e2"].kernel.parameter_names, learned["nlml"].kernel.parameter_names)


def test_auto_is_e2_for_conjugate_gradients(data):
    auto, e2 = (
        search(learn, is_factored=False)(data, np.random.default_rng(0)) for learn in ("auto", "e2")
    )
    assert (auto.kernel, auto.nugget) == (e2.kernel, e2.nugget)


def test_the_likelihood_has_an_amplitude():
    assert search("nlml")._start("nlml", 2) == 1.0 * default_kernel(2)
    assert search("e2")._start("e2", 2) == default_kernel(2)
    given = kernels.Gaussian(1.0) + kernels.Linear()
    assert search("auto", kernel=given)._start("nlml", 2) == 1.0 * given
    assert search("auto", kernel=given)._start("e2", 2) == given
    assert search("nlml", kernel=given)._start("nlml", 2) == given
    assert search("auto", kernel=2.0 * given)._start("nlml", 2) == 2.0 * given


@pytest.mark.parametrize("failing", [["e2"], ["nlml"], ["e2", "nlml"]])
@pytest.mark.parametrize("error", [DivergenceError, SingularKernelError])
def test_a_loss_that_fails_leaves_the_other(rng, data, monkeypatch, failing, error):
    by = KernelSearch._by

    def fail(self, loss, *arguments):
        if loss in failing:
            raise error("it fails")
        return by(self, loss, *arguments)

    monkeypatch.setattr(KernelSearch, "_by", fail)
    if len(failing) == 2:
        with pytest.raises(error, match="it fails"):
            search("auto")(data, rng)
    else:
        assert search("auto")(data, rng).nugget > 0.0


def test_warnings_are_those_of_the_chosen_one(rng, data, monkeypatch):
    by = KernelSearch._by

    def warn(self, loss, *arguments):
        warnings.warn(f"of {loss}", BoundsWarning, stacklevel=1)
        return by(self, loss, *arguments)

    monkeypatch.setattr(KernelSearch, "_by", warn)
    densities = {"Matern52": np.zeros(40), "Scaled": np.ones(40)}
    monkeypatch.setattr(
        gp_learning,
        "leave_one_out_densities",
        lambda kernel, *_: densities[type(kernel).__name__],
    )
    with pytest.warns(BoundsWarning) as caught:
        search("auto")(data, rng)
    assert [str(warning.message) for warning in caught] == ["of nlml"]


def test_map_is_the_likelihood_with_priors_on_the_length_scales(data):
    found = search("map")(data, np.random.default_rng(0))
    given = {"length_scale": (2.0 * np.sqrt(2.0), 1.0)}
    wanted = search("nlml", kernel=flexible_kernel(2), options={**OPTIONS, "priors": given})(
        data, np.random.default_rng(0)
    )
    assert found.kernel == wanted.kernel
    assert found.nugget == wanted.nugget


def test_map_takes_other_kernels_and_priors(data):
    for kernel in (1.0 * kernels.Matern32(1.0), 1.0 * kernels.Constant(1.0)):
        assert search("map", kernel=kernel)(data, np.random.default_rng(0)).nugget > 0.0
    priors = {"length_scale": (3.0, 1e-3)}
    strict = search("map", kernel=kernels.Gaussian(1.0), options={**OPTIONS, "priors": priors})
    found = strict(data, np.random.default_rng(0))
    assert found.kernel.length_scale == pytest.approx(3.0, rel=0.01)
