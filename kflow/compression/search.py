"""The search for a compressed flow: attempts with more and more centres, until one suffices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator, as_positive
from kflow.compression.problem import Attempt, Problem
from kflow.compression.result import Compression, FlowSize
from kflow.flow.estimator_flow import estimator_flow

__all__ = ["compress"]

# Centres of the first attempt, of how many points one of them stands for at least, and by how much
# they grow.
_FIRST, _POINTS_PER_CENTRE, _GROWTH = 64, 5, 2


def compress(
    estimator: Any,
    X: npt.ArrayLike,
    *,
    tolerance: float = 0.1,
    n_layers: int = 4,
    n_centres: int | None = None,
    rank: int | None = None,
    held_out: float = 0.1,
    random_state: Any = None,
) -> Compression:
    """Replace a stored flow by a shorter one with nearly the same map.

    Parameters
    ----------
    estimator : KernelFlow, KernelFlowClassifier, KernelFlowRegressor or a pipeline of these
        Fitted, with its layers. It stays as it is. Of a pipeline of `kflow.make_image_pipeline` or
        `kflow.make_table_pipeline` the flow is compressed, and the encoder is kept.
    X : array_like, shape (N, d)
        Points like those that will be transformed, as the estimator takes them. The training points
        are best: the compressed interpolant then has the same interpolation points, else as many of
        X. No labels are needed.
    tolerance : float
        The largest `position_error` of `Compression` that is accepted.
    n_layers : int
        Layers of the compressed flow, which never has more than the original.
    n_centres : int, optional
        Centres of each layer. If not given they are doubled until the tolerance is met, or there
        are as many as a fifth of the points allows, or the flow is no smaller than the original.
    rank : int, optional
        Move only so many coordinates, the leading singular vectors of X in the flow's. What lies
        outside stays where it is, and that counts in the errors. None: those of the flow.
    held_out : float
        Part of the points, in (0, 1), on which errors are measured; they are not fitted.
    random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
        Source of the points held out and of the centres.

    Returns
    -------
    Compression
        The first attempt within the tolerance, or the one with the smallest error.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If an estimator was not fitted.
    TypeError, ValueError
        For arguments of the wrong kind, shape or values, naming them; for a flow without layers, or
        whose layers were not kept.

    Notes
    -----
    One replay of the original for all points, and for each attempt and layer N M^2 flops and one
    M^3 / 3 factorisation in float64, M centres. Memory: 16 M^2 bytes, and N r numbers for each
    layer. The result does not depend on the number of threads.

    Examples
    --------
    >>> import numpy as np, kflow
    >>> from kflow.presets import FIXED
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> classifier = kflow.KernelFlowClassifier(**FIXED, random_state=0).fit(X, y)
    >>> small = kflow.compress(classifier, X, tolerance=0.1, random_state=0)
    >>> small.reached, small.before.n_layers, small.after.n_layers
    (True, 100, 4)
    """
    if hasattr(estimator, "with_estimator"):  # a pipeline of kflow
        found = compress(
            estimator.estimator,
            estimator.encoder.transform(X),
            tolerance=tolerance,
            n_layers=n_layers,
            n_centres=n_centres,
            rank=rank,
            held_out=held_out,
            random_state=random_state,
        )
        return replace(found, estimator=estimator.with_estimator(found.estimator))
    fitted = estimator_flow(estimator)
    flow = fitted.flow
    if flow.n_layers_ == 0:
        raise ValueError("estimator: its flow has no layers, there is nothing to compress")
    tolerance = as_positive(tolerance, "tolerance")
    n_layers = min(as_count(n_layers, "n_layers", 1), flow.n_layers_)
    part = as_positive(held_out, "held_out")
    if part >= 1.0:
        raise ValueError(f"held_out must be below 1, got {held_out!r}")
    before = FlowSize.of(flow)
    if rank is not None and as_count(rank, "rank", 1) > before.rank:
        raise ValueError(f"rank must be at most {before.rank}, as the flow has, got {rank}")
    points = fitted.scaled(X)
    rng = as_generator(random_state)
    rows, held = _split(len(points), part, rng)
    problem = Problem(fitted, points, rows, held, n_layers, rank)
    if n_centres is not None:
        counts = [min(as_count(n_centres, "n_centres", 1), len(rows))]
    else:
        counts = _numbers_of_centres(len(rows), n_layers, before, problem.rank)
    best = _best_attempt(problem, counts, tolerance, rng)
    compressed, prediction_change = problem.compressed(best.flow)
    return Compression(
        compressed,
        best.position_error <= tolerance,
        best.position_error,
        best.largest_error,
        prediction_change,
        before,
        FlowSize.of(best.flow),
    )


def _split(
    n: int, part: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows to fit and the rows held out, each in ascending order."""
    n_held = max(1, round(part * n))
    if n_held >= n:
        raise ValueError(f"X: of {n} rows {n_held} are held out: pass more, or a smaller held_out")
    held, rows = np.split(rng.permutation(n), [n_held])
    return np.sort(rows), np.sort(held)


def _numbers_of_centres(n_points: int, n_layers: int, before: FlowSize, rank: int) -> list[int]:
    """Return the numbers of centres to try, at least one."""
    most = min(n_points // _POINTS_PER_CENTRE, before.flops // (4 * n_layers * rank))
    counts = [min(_FIRST, n_points)]
    while counts[-1] * _GROWTH <= most:
        counts.append(counts[-1] * _GROWTH)
    return counts


def _best_attempt(
    problem: Problem, counts: list[int], tolerance: float, rng: np.random.Generator
) -> Attempt:
    """Return the first attempt within the tolerance, or the one with the smallest error."""
    best = problem.attempt(counts[0], rng)
    for count in counts[1:]:
        if best.position_error <= tolerance:
            break
        attempt = problem.attempt(count, rng)
        if attempt.position_error < best.position_error:
            best = attempt
    return best
