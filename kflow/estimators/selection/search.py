"""The search for kernel, nugget, linear map and number of layers with the least error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np

from kflow._base.array_types import Doubles
from kflow._base.workers import Workers
from kflow.errors import SingularKernelError
from kflow.estimators.selection.candidates import (
    FAMILIES,
    MAPS,
    Candidate,
    KernelChoice,
    length_of,
    nugget_of,
)
from kflow.estimators.selection.folds import Fold, scale_of
from kflow.estimators.selection.lattice import Place, descend
from kflow.kernels import Radial
from kflow.learning.gradient_metric import LinearMap, MapSettings, learned_metric

__all__ = ["FoldFlow", "Search", "Tried"]

# Limits of the lattice: length scales from 1/8 to 22 times the spread of the points, nuggets from
# 1e-6 to 30.
_LENGTHS = range(-4, 7)
_NUGGETS = range(-12, 4)
_START = (0, -2)

# A map has d^2 numbers, and its roots cost d^3: with more features than this none is tried.
_MAX_FEATURES = 1000

# Behind a sharp map a kernel that is not smooth does well, whichever did before.
_BEHIND_A_MAP = "laplacian"

# The one family there is if the kernel is given.
_GIVEN = "given"

# The flow of a fold: its kernel, what it goes on from, and numbers of layers; it yields the fold as
# it is after each of these numbers.
FoldFlow: TypeAlias = Callable[[Fold, Radial, Candidate, Sequence[int]], Iterator[Fold]]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Tried:
    """A candidate with its error, and what it predicted.

    Attributes
    ----------
    candidate : Candidate
        The candidate.
    predictions : list of ndarray
        Its predictions of the rows that each fold leaves out.
    losses : ndarray, shape (n,)
        Its weighted squared errors, fold after fold.
    """

    candidate: Candidate
    predictions: list[Doubles]
    losses: Doubles

    def is_clearly_better_than(self, other: Tried) -> bool:
        """Whether its error is less by more than one standard error of the difference.

        So much is asked of what costs more than it usually gains (the "one standard error rule" of
        Breiman, Friedman, Olshen and Stone, Classification and Regression Trees, 1984).
        """
        gain = other.losses - self.losses
        return bool(gain.mean() > gain.std() / np.sqrt(len(gain)))


class Search:
    """Errors of candidates on the rows that folds leave out.

    Parameters
    ----------
    folds : sequence of Fold
        The folds.
    kernel : KernelChoice or None
        The kernel, if it is given; else several are tried.
    nugget : float or None
        The nugget of the interpolant, if it is given.
    n_threads : int
        Threads. Each works on a fold, so that their number does not change a result.
    tell : callable, optional
        Called after each kind of candidates.

    Attributes
    ----------
    tried : list of Tried
        The best of each kind that was tried, in this order.
    """

    def __init__(
        self,
        folds: Sequence[Fold],
        kernel: KernelChoice | None,
        nugget: float | None,
        n_threads: int,
        tell: Callable[[], None] | None = None,
    ) -> None:
        self._folds, self._given, self._nugget = list(folds), kernel, nugget
        self._tell = tell
        self._n_threads = min(n_threads, len(self._folds))
        self._behind: dict[MapSettings | None, list[Fold]] = {None: self._folds}
        self._plain: Tried | None = None
        self.tried: list[Tried] = []

    # ---- what is tried ------------------------------------------------------------------------

    def kernels(self) -> Tried:
        """Try kernels of several families, length scales and nuggets; return the best.

        Raises
        ------
        ValueError
            If all kernel matrices are numerically singular.
        """
        found: list[Tried] = []
        for family in FAMILIES if self._given is None else (_GIVEN,):
            start = min(found, key=_error).candidate.place if found else _START
            found += self._descent(None, family, start)
        if not found:
            raise ValueError(
                "X: every kernel matrix of its rows is numerically singular, so that no nugget can "
                "be chosen: remove duplicate rows, or pass a larger interpolation_nugget"
            )
        self.tried += found
        self._plain = min(found, key=_error)
        return self._plain

    def maps(self) -> Tried:
        """Try linear maps by the gradients of what the best kernel learned; return the best of all."""
        assert self._plain is not None
        plain = self._plain.candidate
        found: list[Tried] = []
        settings_tried = self._maps()
        metrics = self._each(partial(_metric, plain=plain), self._folds) if settings_tried else []
        for settings in settings_tried:
            mapped = self._each(
                partial(_mapped, plain=plain, settings=settings),
                list(zip(self._folds, metrics, strict=True)),
            )
            folds = [fold for fold in mapped if fold is not None]
            if len(folds) == len(mapped):
                self._behind[settings] = folds
                found += self._descent(settings, plain.kernel.kernel.family, plain.place)
        if found and self._given is None and plain.kernel.kernel.family != _BEHIND_A_MAP:
            best = min(found, key=_error).candidate
            found += self._descent(best.map, _BEHIND_A_MAP, plain.place)
        self.tried += found
        return min([self._plain, *found], key=_error)

    def layers(self, start: Tried, flow: FoldFlow, counts: Sequence[int]) -> Tried | None:
        """Try flows that go on from what was chosen, until more layers do not lower the error.

        Parameters
        ----------
        start : Tried
            What was chosen without a flow.
        flow : callable
            It makes the flow of one fold.
        counts : sequence of int
            Numbers of layers, in ascending order.

        Returns
        -------
        Tried or None
            The best number of layers; None if no flow came as far as the first one.
        """
        before, best = start.candidate, _error(start)
        folds = self._behind[before.map]
        # A flow keeps the kernel that it has before the points move.
        kernels = [before.kernel.at(scale_of(fold.kept.points)) for fold in folds]
        moving = [
            flow(fold, kernel, before, counts) for fold, kernel in zip(folds, kernels, strict=True)
        ]
        found: list[Tried] = []
        for n_layers in counts:
            moved = self._each(lambda fold: next(fold, None), moving)
            if any(fold is None for fold in moved):
                break  # a flow that diverges or meets a singular matrix is no candidate
            here = [fold for fold in moved if fold is not None]
            found += self._nuggets(here, kernels, before.with_layers(n_layers))
            if not found or not _error(found[-1]) < best:
                break
            best = _error(found[-1])
        self.tried += found
        return min(found, key=_error) if found else None

    # ---- how ----------------------------------------------------------------------------------

    def _maps(self) -> list[MapSettings]:
        d = self._folds[0].kept.points.shape[1]
        return list(MAPS) if 1 < d <= _MAX_FEATURES else []

    def _descent(self, settings: MapSettings | None, family: str, start: Place) -> list[Tried]:
        """Return the best length scale and nugget of a family of kernels, if there is any."""
        folds = self._behind[settings]
        scales = [scale_of(fold.kept.points) for fold in folds]

        def candidate(place: Place) -> tuple[Candidate, list[Radial]]:
            choice = self._given
            if choice is None:
                choice = KernelChoice(FAMILIES[family](length_of(place[0])), relative=True)
            kernels = [choice.at(scale) for scale in scales]
            return Candidate(choice, self._nugget_at(place[1]), settings), kernels

        lengths = _LENGTHS if self._given is None else range(1)
        return self._best(folds, candidate, start, lengths)

    def _nuggets(
        self, folds: Sequence[Fold], kernels: list[Radial], start: Candidate
    ) -> list[Tried]:
        """Return the best nugget of a candidate, if there is any."""

        def candidate(place: Place) -> tuple[Candidate, list[Radial]]:
            return replace(start, nugget=self._nugget_at(place[1])), kernels

        return self._best(folds, candidate, start.place, range(1))

    def _best(
        self,
        folds: Sequence[Fold],
        candidate: Callable[[Place], tuple[Candidate, list[Radial]]],
        start: Place,
        lengths: range,
    ) -> list[Tried]:
        known: dict[Place, Tried | None] = {}

        def error(place: Place) -> float:
            known[place] = self._try(folds, *candidate(place))
            return _error(known[place])

        nuggets = _NUGGETS if self._nugget is None else range(1)
        within = (_nearest(start[0], lengths), _nearest(start[1], nuggets))
        best = known[descend(error, within, (lengths, nuggets))]
        if self._tell is not None:
            self._tell()
        return [] if best is None else [best]

    def _nugget_at(self, j: int) -> float:
        return nugget_of(j) if self._nugget is None else self._nugget

    def _try(
        self, folds: Sequence[Fold], candidate: Candidate, kernels: Sequence[Radial]
    ) -> Tried | None:
        """Return a candidate's errors; None if a kernel matrix is singular."""
        predictions = self._each(
            lambda pair: pair[0].predictions(pair[1], candidate.nugget),
            list(zip(folds, kernels, strict=True)),
        )
        made = [values for values in predictions if values is not None]
        if len(made) < len(folds):
            return None
        losses = np.concatenate(
            [_losses(fold, values) for fold, values in zip(folds, made, strict=True)]
        )
        if not np.isfinite(losses).all():
            return None
        return Tried(replace(candidate, error=float(losses.mean())), made, losses)

    def _each(self, function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
        if self._n_threads == 1:
            return [function(item) for item in items]
        with Workers(min(self._n_threads, len(items))) as workers:
            return list(workers.map(function, items))


def _error(tried: Tried | None) -> float:
    error = None if tried is None else tried.candidate.error
    return float("inf") if error is None else error


def _losses(fold: Fold, predictions: Doubles) -> Doubles:
    squares = np.square(predictions - fold.left_out.targets).sum(axis=1)
    weights = fold.left_out.weights
    return np.asarray(squares if weights is None else squares * weights)


def _nearest(number: int, within: range) -> int:
    return min(max(number, within[0]), within[-1])


def _metric(fold: Fold, *, plain: Candidate) -> Doubles | None:
    """Return the gradient outer product of the plain candidate's interpolant, if there is one."""
    kept = fold.kept
    kernel = plain.kernel.at(scale_of(kept.points))
    try:
        return learned_metric(
            kept.points, kept.targets, kernel, plain.nugget, weights=kept.weights, n_threads=1
        )
    except SingularKernelError:
        return None


def _mapped(
    fold_and_metric: tuple[Fold, Doubles | None], *, plain: Candidate, settings: MapSettings
) -> Fold | None:
    """Map a fold by what it learns with the plain candidate; None if it learns nothing."""
    fold, M = fold_and_metric
    if M is None:
        return None
    kept = fold.kept.points
    kernel = plain.kernel.at(scale_of(kept))
    try:
        learned = LinearMap.learn(
            kept,
            fold.kept.targets,
            kernel,
            plain.nugget,
            settings,
            weights=fold.kept.weights,
            M=M,
            n_threads=1,
        )
    except (SingularKernelError, ValueError):
        return None
    return fold.moved(learned(kept), learned(fold.left_out.points))
