"""Running layers: what happens after each layer, wherever the points are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeAlias

import numpy as np

from kflow._base.generators import generator_state
from kflow._base.interrupt import DeferredInterrupt
from kflow.engine.interface import Layer
from kflow.engine.threads import resolve_n_threads
from kflow.errors import StorageError
from kflow.flow.callbacks import callback_states, ends_flow
from kflow.flow.layer_by_layer import run_in_memory
from kflow.flow.settings import FlowSettings
from kflow.flow.state import FlowState
from kflow.flow.streaming import run_elsewhere
from kflow.layers.block import LayerRecord

__all__ = ["run"]

_log = logging.getLogger("kflow")

_Report: TypeAlias = Callable[[float], None]


def run(flow: FlowSettings, state: FlowState, n: int, n_before: int = 0) -> None:
    """Run `n` more layers.

    Parameters
    ----------
    flow : FlowSettings
        The flow: it has the settings, and its callbacks are called with it.
    state : FlowState
        The state of the flow.
    n : int
        How many layers.
    n_before : int
        Number of layers at which the progress bar starts.

    Notes
    -----
    Layers are run one by one if the points are in memory, and a block at a time, ahead of the
    points, if these are elsewhere. In both cases the layers are passed to the same function. It
    makes them count, shows them to the progress bar and the callbacks, and writes them to the
    checkpoint.
    """
    with ExitStack() as stack:
        stack.enter_context(_checkpoint_held(flow, state))
        state.store.reserve(n)
        report: _Report | None = None
        if flow.progress and n > 0:
            from kflow._base.progress import flow_progress

            report = stack.enter_context(flow_progress(n, n_before))
        interrupt = stack.enter_context(DeferredInterrupt())
        stack.enter_context(flow.computing_engine().lease())
        end = state.n_layers + n

        def keep(layers: Sequence[Layer], records: Sequence[LayerRecord], generator: Any) -> bool:
            """Make layers count, and return whether to stop."""
            state.count(layers, records, generator)
            if report is not None:
                for record in records:
                    report(record.rho)
            # A list, not a generator: every callback must see every layer, whatever the others
            # return.
            stops = [callback for callback in flow.callbacks if callback(flow)]
            state.has_ended = any(map(ends_flow, stops))
            state.n_seen = state.n_layers
            # If points are in memory, layers come one by one, but a file should hold `every`
            # layers.
            written = _write_block(flow, state, flow.every if state.elsewhere is None else 1)
            if written or state.elsewhere is not None:
                _log_time_left(state, end)
            return bool(stops) or interrupt.requested

        if state.elsewhere is None:
            run_in_memory(state, flow, n, keep, lambda: _write_block(flow, state))
        else:
            run_elsewhere(state, state.elsewhere, flow, n, keep)


@contextmanager
def _checkpoint_held(flow: FlowSettings, state: FlowState) -> Iterator[None]:
    """Hold the checkpoint while layers run, and write the last layers, whatever ends the run."""
    if state.checkpoint is None:
        yield
        return
    with state.checkpoint.running(state.records):
        state.n_seen = state.n_layers
        _write_block(flow, state)  # layers that could not be written before, on a full disk
        try:
            yield
        except BaseException:
            with suppress(StorageError):  # the first error is the one to report
                _write_block(flow, state)
            raise
        _write_block(flow, state)


def _write_block(flow: FlowSettings, state: FlowState, at_least: int = 1) -> bool:
    """Write the layers that are in no file yet, if there are at least `at_least` of them.

    If a callback failed after the last layer, nothing is written: when the flow is resumed, that
    layer is run again and the callbacks see it again.

    Returns
    -------
    bool
        Whether any were written.
    """
    checkpoint = state.checkpoint
    if checkpoint is None or state.n_seen < state.n_layers:
        return False
    first = checkpoint.layers.n_written
    if state.n_layers - first < at_least:
        return False
    checkpoint.layers.write(
        state.records[first:],
        state.reductions.get(first),
        {
            "generator": generator_state(state.rng),
            "callbacks": callback_states(flow.callbacks),
            "ended": state.has_ended,
            "engine": flow.computing_engine().identity,
        },
    )
    if checkpoint.is_time_for_points(state.points.n_bytes):
        positions = state.positions(resolve_n_threads(flow.n_threads))
        checkpoint.keep_points(positions, state.n_layers)
    return True


def _log_time_left(state: FlowState, end: int) -> None:
    n_layers = end - state.n_layers
    if n_layers:
        seconds = np.mean([record.seconds for record in state.records[-20:]])
        _log.info("%d layers to go, about %.0f s", n_layers, n_layers * seconds)
