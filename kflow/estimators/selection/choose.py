"""The choice of what is "auto", by errors on rows that folds leave out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from kflow._base.array_types import Doubles
from kflow.engine.threads import resolve_n_threads
from kflow.errors import SingularKernelError
from kflow.estimators.gradient_metric import GradientMetric
from kflow.estimators.selection.candidates import (
    FAMILIES,
    LAYERS,
    MAPS,
    MAX_LAYERS,
    Candidate,
    KernelChoice,
)
from kflow.estimators.selection.flows import moving_fold
from kflow.estimators.selection.folds import N_FOLDS, Fold, Rows, folds_of, scale_of
from kflow.estimators.selection.record import Selection
from kflow.estimators.selection.search import Search, Tried
from kflow.estimators.selection.wanted import Wanted
from kflow.kernels import Gaussian, Radial

__all__ = [
    "ALL_GIVEN",
    "MAX_ROWS",
    "MIN_ROWS",
    "Choice",
    "OutOfFold",
    "choose",
    "default_choice",
]

ALL_GIVEN = "Nothing was chosen: all parameters were given."

# With fewer rows the errors of a fold are noise.
MIN_ROWS = 40

# More rows make the choice slower and hardly better: the cost grows as their third power.
MAX_ROWS = 1200

# Kinds of candidates at most: kernels, maps and one more kernel behind the best, numbers of layers.
_MOST_KINDS = len(FAMILIES) + len(MAPS) + 1 + len(LAYERS)

# What is taken where nothing can be tried: the nugget of noisy labels, and the kernel of a flow,
# exp(-1.5 r^2 / msd), in units of the spread of the points, the root of msd / 2.
_NUGGET = 0.1
_KERNEL = KernelChoice(Gaussian(float(np.sqrt(2.0 / 3.0))), relative=True)


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by what was learned without them.

    Attributes
    ----------
    predictions, targets : ndarray, shape (n, q)
        What was predicted for each row, and what was right.
    weights : ndarray, shape (n,), or None
        Weights of the rows.
    """

    predictions: Doubles
    targets: Doubles
    weights: Doubles | None


@dataclass(frozen=True)
class Choice:
    """What a fit goes on with.

    Attributes
    ----------
    selection : Selection
        What was chosen and tried.
    chosen : Candidate
        Kernel, map, number of layers and nugget of the interpolant.
    plain : Candidate
        Kernel and nugget with which the map is learned, and on which the flow's nugget depends.
    interpolation_nugget : float
        Nugget of the interpolant, in units of the weights of the rows; those of candidates are for
        weights of mean 1.
    mean_weight : float
        What the weights of the rows are divided by; 1 if nothing was tried.
    out_of_fold : OutOfFold or None
        What the chosen candidate predicted; None if it was not tried.
    """

    selection: Selection
    chosen: Candidate
    plain: Candidate
    interpolation_nugget: float
    mean_weight: float = 1.0
    out_of_fold: OutOfFold | None = None


def default_choice(wanted: Wanted, reason: str) -> Choice:
    """Return what is given, and defaults for what is not, without trying anything."""
    kernel = wanted.kernel
    candidate = Candidate(
        KernelChoice(kernel, relative=False) if isinstance(kernel, Radial) else _KERNEL,
        _NUGGET if wanted.nugget is None else wanted.nugget,
        n_layers=wanted.n_layers or 0,
    )
    nothing = Selection(None, (), 0, 0, reason)
    return Choice(nothing, candidate, candidate, candidate.nugget)


def choose(
    wanted: Wanted,
    rows: Rows,
    codes: npt.NDArray[np.intp] | None,
    flow_settings: Mapping[str, Any],
    *,
    tries_flow: bool,
    progress: bool,
    n_threads: int | None,
    seed: np.random.SeedSequence,
) -> Choice:
    """Choose what is not given, by the mean squared error on rows that folds leave out.

    Parameters
    ----------
    wanted : Wanted
        What is given; something is not.
    rows : Rows
        Scaled points with their targets and weights, at most `MAX_ROWS` of them.
    codes : ndarray of int, shape (n,), or None
        Classes, of which each fold gets its share.
    flow_settings : mapping
        Settings of the flows.
    tries_flow : bool
        Whether a flow of a given number of layers is run on the folds.
    progress : bool
        Whether to show a progress bar.
    n_threads : int or None
        Threads; the choice does not depend on them.
    seed : numpy.random.SeedSequence
        Source of the folds and of the flows' batches.

    Returns
    -------
    Choice
        First the kernel and the nugget with the least error are found, then a linear map by the
        gradients of what they learned, then a flow that goes on from there. A flow of a number of
        layers that is not given is chosen only if it is better by more than one standard error.

    Raises
    ------
    ValueError
        If all kernel matrices are numerically singular.
    """
    n = len(rows.points)
    mean_weight = 1.0 if rows.weights is None else float(rows.weights.mean())
    if n < MIN_ROWS:
        reason = f"Nothing was tried, because {n} rows are too few: defaults were taken."
        return default_choice(wanted, reason)
    if rows.weights is not None:
        # So that nuggets of the lattice mean the same whatever the unit of the weights is.
        rows = replace(rows, weights=rows.weights / mean_weight)
    given_nugget = None if wanted.nugget is None else wanted.nugget / mean_weight
    fold_seed, flow_seed = seed.spawn(2)
    folds = folds_of(rows, codes, np.random.default_rng(fold_seed))
    if not all(scale_of(fold.kept.points) > 0.0 for fold in folds):
        reason = "Nothing was tried, because nearly all rows coincide: defaults were taken."
        return default_choice(wanted, reason)
    if isinstance(wanted.metric, GradientMetric):
        folds = [_behind(wanted.metric, fold, codes is not None) for fold in folds]
    with _bar(progress) as tell:
        threads = resolve_n_threads(n_threads)
        search = Search(folds, _given_kernel(wanted), given_nugget, threads, tell)
        plain = search.kernels()
        best = search.maps() if wanted.metric is None else plain
        settings = {**flow_settings, "random_state": flow_seed}
        best, outcome = _with_flow(wanted, search, best, settings, tries_flow)
    reason = f"Chosen by the squared error on {N_FOLDS} folds of {n} rows{outcome}"
    tried = tuple(each.candidate for each in search.tried)
    selection = Selection(best.candidate, tried, n, N_FOLDS, reason)
    found = OutOfFold(
        np.concatenate(best.predictions),
        np.concatenate([fold.left_out.targets for fold in folds]),
        None
        if rows.weights is None
        else np.concatenate([_weights(fold.left_out) for fold in folds]),
    )
    return Choice(
        selection,
        best.candidate,
        plain.candidate,
        mean_weight * best.candidate.nugget if wanted.nugget is None else wanted.nugget,
        mean_weight,
        # What was not tried with its flow predicted nothing.
        None if best.candidate.error is None else found,
    )


@contextmanager
def _bar(progress: bool) -> Iterator[Callable[[], None] | None]:
    if not progress:
        yield None
        return
    # Imported here: Rich takes longer to import than a small table takes to be fitted.
    from kflow._base.progress import step_progress

    done = 0
    with step_progress(_MOST_KINDS, "candidate") as advance:

        def tell() -> None:
            nonlocal done
            done += 1
            advance()

        yield tell
        # Kinds that could not win were left out.
        for _ in range(done, _MOST_KINDS):
            advance()


def _with_flow(
    wanted: Wanted, search: Search, best: Tried, settings: Mapping[str, Any], tries_flow: bool
) -> tuple[Tried, str]:
    """Return what was chosen with or without a flow, and the end of the sentence that says so."""
    counts: Sequence[int] = LAYERS if wanted.n_layers is None else (wanted.n_layers,)
    if wanted.n_layers == 0:
        return best, "."
    if not tries_flow:
        return _untried(search, best, counts[0]), ", without the flow, which may stop early."
    if max(counts) > MAX_LAYERS:
        return _untried(search, best, counts[0]), ", without the flow, which has too many layers."
    flow = partial(moving_fold, settings)
    flowed = search.layers(best, flow, counts)
    if wanted.n_layers is not None:
        if flowed is None:
            return _untried(search, best, counts[0]), ", without the flow, which failed there."
        return flowed, "."
    if flowed is not None and flowed.is_clearly_better_than(best):
        return flowed, f": a flow of {flowed.candidate.n_layers} layers helps."
    return best, ": no flow, which does not help clearly."


def _untried(search: Search, best: Tried, n_layers: int) -> Tried:
    """Return what was chosen without the flow as a candidate that has it."""
    candidate = best.candidate.with_layers(n_layers)
    assumed = Tried(candidate, best.predictions, best.losses)
    search.tried.append(assumed)
    return assumed


def _given_kernel(wanted: Wanted) -> KernelChoice | None:
    if wanted.kernel is None:
        return None
    if isinstance(wanted.kernel, Radial):
        return KernelChoice(wanted.kernel, relative=False)
    return _KERNEL


def _behind(metric: GradientMetric, fold: Fold, labels: bool) -> Fold:
    """Map a fold by a metric that it learns itself."""
    kept = fold.kept
    targets = kept.targets.argmax(axis=1) if labels else kept.targets
    own = clone(metric).set_params(targets="labels" if labels else "numbers", n_threads=1)
    try:
        own.fit(kept.points, targets)
    except (SingularKernelError, ValueError):
        return fold  # a single class, or nothing else to learn: no map
    return fold.moved(own.transform(kept.points), own.transform(fold.left_out.points))


def _weights(rows: Rows) -> Doubles:
    assert rows.weights is not None
    return rows.weights
