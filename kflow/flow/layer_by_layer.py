"""Running a flow whose points are all in memory: each layer moves all points before the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from kflow.engine.interface import Diverged, Layer, LayerOptions, NotPositiveDefinite
from kflow.engine.threads import resolve_n_threads
from kflow.errors import DivergenceError
from kflow.flow.batch import draw_batch, due_reduction, sample_rows
from kflow.flow.settings import FlowSettings
from kflow.flow.state import FlowState
from kflow.flow.warn import warn_of_standstill
from kflow.layers.block import LayerRecord
from kflow.operations import singular_kernel_error

__all__ = ["KeepLayers", "layer_failure", "run_in_memory"]

# A function that makes layers count and returns whether to stop. It takes the layers, their
# records, and the generator's state after them, or None if the generator is in that state already.
KeepLayers: TypeAlias = Callable[[Sequence[Layer], Sequence[LayerRecord], Any], bool]


def run_in_memory(
    state: FlowState,
    settings: FlowSettings,
    n_layers: int,
    keep: KeepLayers,
    write: Callable[[], object],
) -> None:
    """Run layers one by one.

    Parameters
    ----------
    state : FlowState
        The flow.
    settings : FlowSettings
        Its settings.
    n_layers : int
        How many layers, unless `keep` stops them.
    keep : callable
        Called with each layer.
    write : callable
        Writes the layers that are in no file yet. It is called before the rank falls, since all
        layers of a block have the same rank.

    Raises
    ------
    DivergenceError, SingularKernelError
        If a layer fails; the flow stays at the last good layer.
    """
    options_of = settings.layer_options()
    n_threads = resolve_n_threads(settings.n_threads)
    for _ in range(n_layers):
        number, before = state.n_layers, state.rng.bit_generator.state
        try:
            layer, record = _one_layer(state, settings, options_of(number), n_threads, write)
            if keep([layer], [record], None):
                return
        except BaseException:
            if state.n_layers == number:  # the layer does not count: draw its batch again next time
                state.rng.bit_generator.state = before
            raise


def _one_layer(
    state: FlowState,
    settings: FlowSettings,
    options: LayerOptions,
    n_threads: int,
    write: Callable[[], object],
) -> tuple[Layer, LayerRecord]:
    """Run the next layer, without making it count."""
    start = time.perf_counter()
    number = state.n_layers
    _reduce(state, settings, number, n_threads, write)
    batch = draw_batch(state.rng, state.n_points, settings)
    if number == 0:
        points = state.training_rows(batch.rows, n_threads)
        warn_of_standstill(points, state.kernel.profile, n_threads)
    try:
        layer, report = state.points.layer(
            number, batch, state.targets, state.labels, options, n_threads
        )
    except (NotPositiveDefinite, Diverged) as error:
        raise layer_failure(error, number, options.nugget, batch.rows) from None
    seconds = time.perf_counter() - start
    record = LayerRecord.of(report, seconds=seconds, nugget=options.nugget, rank=state.points.rank)
    return layer, record


def _reduce(
    state: FlowState,
    settings: FlowSettings,
    layer: int,
    n_threads: int,
    write: Callable[[], object],
) -> None:
    """Drop the directions that the flow no longer needs before a layer, if it is time to."""
    if state.points.reduction_before(layer) is not None:  # done before: the layer is tried again
        return

    def points() -> Any:
        on_device = state.points.on_device
        sampled = settings.step_over == "batch"
        if sampled and not on_device:
            return state.training_rows(sample_rows(state.n_points, layer), n_threads)
        training = state.positions(n_threads, on_device=on_device).training
        return training[sample_rows(len(training), layer)] if sampled else training

    reduction = due_reduction(layer, settings, points)
    if reduction is not None:
        write()
        state.points.reduce(reduction, n_threads)


def layer_failure(error: Exception, layer: int, nugget: float, rows: Any) -> Exception:
    """Return the exception to raise for an error in a layer whose batch has the given rows."""
    if isinstance(error, NotPositiveDefinite):
        return singular_kernel_error(error, nugget, rows)
    if isinstance(error, Diverged):
        return DivergenceError(
            f"the flow diverged in layer {layer}: {error}. It stays at the last good layer "
            f"({layer} layers)"
        )
    return error
