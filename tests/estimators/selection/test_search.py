from __future__ import annotations

import numpy as np
import pytest

from kflow import kernels
from kflow.estimators.selection.candidates import (
    FAMILIES,
    MAPS,
    Candidate,
    KernelChoice,
    length_of,
    nugget_of,
)
from kflow.estimators.selection.folds import Rows, folds_of, scale_of
from kflow.estimators.selection.search import Search, Tried
from kflow.learning.gradient_metric import LinearMap


@pytest.fixture
def folds(rng):
    X = rng.normal(size=(120, 4))
    y = np.sin(2.0 * X[:, :1]) + 0.1 * rng.normal(size=(120, 1))
    return folds_of(Rows(X, y), None, rng)


def naive_error(folds, kernel_at, nugget):
    losses = []
    for fold in folds:
        X = fold.kept.points
        kernel = kernel_at(scale_of(X))
        C = np.linalg.solve(kernel(X) + nugget * np.eye(len(X)), fold.kept.targets)
        values = kernel(fold.left_out.points, X) @ C
        losses.append(((values - fold.left_out.targets) ** 2).sum(axis=1))
    return np.concatenate(losses).mean()


def test_no_neighbour_on_the_lattice_is_better(folds):
    search = Search(folds, None, None, 1)
    best = search.kernels()
    assert [tried.candidate.kernel.kernel.family for tried in search.tried] == list(FAMILIES)
    assert best.candidate.error == min(tried.candidate.error for tried in search.tried)
    for tried in search.tried:
        candidate = tried.candidate
        family = FAMILIES[candidate.kernel.kernel.family]
        i, j = candidate.place
        assert candidate.kernel.kernel == family(length_of(i))
        assert candidate.nugget == nugget_of(j)
        for di in (-1, 0, 1):
            for dj in (-1, 0, 1):
                if not -12 <= j + dj <= 3:
                    continue
                length, nugget = length_of(i + di), nugget_of(j + dj)
                error = naive_error(folds, lambda s, k=family, L=length: k(L * s), nugget)
                assert candidate.error <= error * (1 + 1e-7)
                if (di, dj) == (0, 0):
                    assert candidate.error == pytest.approx(error, rel=1e-7)


def test_the_kernel_and_the_nugget_that_are_given_are_kept(folds):
    given = KernelChoice(kernels.Matern52(1.7), relative=False)
    search = Search(folds, given, 0.3, 1)
    best = search.kernels()
    assert best.candidate.kernel == given
    assert best.candidate.nugget == 0.3
    wanted = naive_error(folds, lambda _: kernels.Matern52(1.7), 0.3)
    assert best.candidate.error == pytest.approx(wanted)


def test_a_map_that_finds_the_direction_is_chosen(folds):
    search = Search(folds, None, None, 1)
    plain = search.kernels()
    best = search.maps()
    assert best.candidate.map in MAPS
    assert best.candidate.error < 0.7 * plain.candidate.error
    # Its error is that of the map which each fold learns without the rows left out.
    mapped = []
    for fold in folds:
        X = fold.kept.points
        kernel = plain.candidate.kernel.at(scale_of(X))
        learned = LinearMap.learn(
            X, fold.kept.targets, kernel, plain.candidate.nugget, best.candidate.map
        )
        mapped.append(fold.moved(learned(X), learned(fold.left_out.points)))
    error = naive_error(mapped, best.candidate.kernel.at, best.candidate.nugget)
    assert best.candidate.error == pytest.approx(error)


def test_one_feature_needs_no_map(rng):
    X = rng.normal(size=(60, 1))
    search = Search(folds_of(Rows(X, np.sin(X)), None, rng), None, None, 1)
    assert search.kernels() is search.maps()


def test_more_threads_choose_the_same(folds):
    one, four = Search(folds, None, None, 1), Search(folds, None, None, 4)
    one.kernels()
    four.kernels()
    one.maps()
    four.maps()
    assert [t.candidate for t in one.tried] == [t.candidate for t in four.tried]


def test_layers_are_added_as_long_as_the_error_falls(folds):
    def flow(fold, _kernel, _start, counts):
        for n in counts:
            # The first feature is what counts: others shrink up to 30 layers, then all does.
            factor = {10: 0.5, 30: 0.1, 100: 0.1}[n]
            scale = np.array([0.01 if n == 100 else 1.0, factor, factor, factor])
            yield fold.moved(fold.kept.points * scale, fold.left_out.points * scale)

    search = Search(folds, None, None, 1)
    start = search.kernels()
    found = search.layers(start, flow, (10, 30, 100))
    assert found.candidate.n_layers == 30
    assert found.candidate.error < start.candidate.error
    assert [t.candidate.n_layers for t in search.tried[-3:]] == [10, 30, 100]


def test_a_flow_that_fails_is_no_candidate(folds):
    search = Search(folds, None, None, 1)
    assert search.layers(search.kernels(), lambda *_: iter(()), (10, 30)) is None


def test_all_matrices_singular():
    rows = Rows(np.repeat([[0.0], [1.0]], 20, axis=0), np.ones((40, 1)))
    folds = folds_of(rows, None, np.random.default_rng(0))
    with pytest.raises(ValueError, match="larger interpolation_nugget"):
        Search(folds, None, 0.0, 1).kernels()


@pytest.mark.parametrize(("gain", "clear"), [(0.01, False), (1.0, True)])
def test_clearly_better(rng, gain, clear):
    losses = rng.uniform(1.0, 2.0, 100)
    candidate = Candidate(KernelChoice(kernels.Gaussian(1.0), relative=True), 0.1)
    first = Tried(candidate, [], losses)
    second = Tried(candidate, [], losses - gain + rng.normal(size=100) * 0.5)
    assert second.is_clearly_better_than(first) == clear
    assert not first.is_clearly_better_than(first)
