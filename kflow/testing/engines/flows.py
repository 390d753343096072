"""Tests of an engine's moving points: what happens to the points of a flow, layer by layer."""

from __future__ import annotations

import copy
import pickle

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.device_array import to_host
from kflow.engine.interface import (
    Diverged,
    Layer,
    LayerOptions,
    LayerReport,
    MovingPoints,
    NotPositiveDefinite,
)
from kflow.testing.engines.base import EngineTestsBase, raises, same_bits
from kflow.testing.engines.example import KERNEL, OPTIONS, FlowExample, Run, examples, numbers

__all__ = ["FlowTests"]


def positions(points: MovingPoints, n_layers: int) -> list[FloatArray]:
    """Return copies of the positions after so many layers."""
    points.settle(n_layers, 1)
    assert points.n_layers == n_layers
    return [coordinates.copy() for coordinates in points.to_host()]


class FlowTests(EngineTestsBase):
    """Tests of `moving_points`."""

    def _points(self, flow: FlowExample, n_layers: int = 0) -> MovingPoints:
        return self.engine.moving_points(flow.copies(), flow.n_fixed, KERNEL.profile, n_layers)

    def _run(
        self,
        points: MovingPoints,
        flow: FlowExample,
        n_layers: int,
        options: LayerOptions = OPTIONS,
        n_threads: int = 1,
        first: int = 0,
    ) -> Run:
        """Run layers, each with the batch of its number."""
        return [
            points.layer(i, flow.batches[i], flow.targets, flow.labels, options, n_threads)
            for i in range(first, n_layers)
        ]

    def _check_run(self, flow: FlowExample, options: LayerOptions) -> None:
        points, again = self._points(flow), self._points(flow)
        run = self._run(points, flow, 2, options)
        repeated = self._run(again, flow, 2, options, n_threads=2)
        found = positions(points, 2)
        same_bits([*numbers(run), *found], [*numbers(repeated), *positions(again, 2)])
        sets, dtype = list(flow.sets), flow.sets[0].dtype
        for number, result in enumerate(run):
            sets, layer, report = flow.reference(sets, number, options)
            for got, value in zip(numbers([result]), numbers([(layer, report)]), strict=True):
                self.close(np.asarray(got, dtype), value)
        for got, reference in zip(found, sets, strict=True):
            assert got.dtype == dtype
            self.close(got, reference)

    def test_layers_of_a_flow(self) -> None:
        """Two layers by every rule, measured on all points and on the batch."""
        for flow in examples():
            for step in ("relative", "rms", "absolute", "fixed"):
                for over_batch in (False, True):
                    self._check_run(flow, OPTIONS._replace(step=step, over_batch=over_batch))

    def test_long_rows_of_the_gradient(self) -> None:
        """Rows of the gradient are shortened."""
        for flow in examples():
            self._check_run(flow, OPTIONS._replace(gradient_cap=1.1))

    def test_fixed_coordinates(self) -> None:
        """What is fixed keeps every bit."""
        for flow in examples():
            points = self._points(flow)
            self._run(points, flow, 3)
            before = [x[:, flow.n_moving :] for x in flow.sets]
            same_bits([x[:, flow.n_moving :] for x in positions(points, 3)], before)

    def test_flows_without_classes(self) -> None:
        """Labels change nothing but the ratio of class distances."""
        flow = next(examples())
        points, with_labels = self._points(flow), self._points(flow)
        _, report = points.layer(0, flow.batches[0], flow.targets, None, OPTIONS, 1)
        assert np.isnan(report.class_distance_ratio)
        self._run(with_labels, flow, 1)
        same_bits(positions(points, 1), positions(with_labels, 1))

    # ---- layers that were run elsewhere -------------------------------------------------------

    def test_replay_is_the_arithmetic_of_the_run(self) -> None:
        """Points that go through a flow's layers later arrive at the same bits."""
        for flow in examples():
            points, later, replayed = self._points(flow), self._points(flow), flow.copies()
            layers = [layer for layer, _ in self._run(points, flow, 3)]
            later.through(layers[:1], 1)
            later.through(layers[1:], 2)
            assert later.n_layers == 3
            for x in replayed:
                self.engine.replay(x, layers, KERNEL.profile, 1)
            same_bits(positions(points, 3), replayed)
            same_bits(positions(later, 3), replayed)

    def test_batches_alone_give_the_same_layers(self) -> None:
        """A layer that is measured on its batch needs the other points only to move them."""
        options = OPTIONS._replace(over_batch=True)
        for flow in examples():
            rows = flow.batches[0].rows
            ((layer, report),) = self._run(self._points(flow), flow, 1, options)
            runner = self.engine.batch_runner(flow.n_fixed, KERNEL.profile)
            alone, same = runner.layer(
                flow.sets[0][rows],
                flow.batches[0],
                flow.targets[rows],
                flow.labels[rows],
                options,
                1,
            )
            same_bits([*alone, *same], [*layer, *report])

    def test_coordinates_in_part_and_on_the_device(self) -> None:
        """Rows, and arrays of the engine's device, are those that come to the host."""
        for flow in examples():
            points, rows = self._points(flow), np.array([3, 0, 2])
            self._run(points, flow, 1)
            points.settle(1, 1)
            same_bits([points.training_rows(rows)], [points.to_host()[0][rows]])
            same_bits([to_host(x) for x in points.on_device()], points.to_host())

    def test_what_numpy_reads_is_not_adopted(self) -> None:
        """NumPy arrays, their scalars and lists are for NumPy, whatever device the engine has."""
        for value in (np.eye(2), np.float64(1.0), [[1.0]], None):
            assert self.engine.adopt(value, "X") is None

    # ---- interruptions ------------------------------------------------------------------------

    def test_settling_twice(self) -> None:
        """What is settled already changes no more."""
        for flow in examples():
            points = self._points(flow)
            self._run(points, flow, 2)
            same_bits(positions(points, 2), positions(points, 2))

    def test_layers_between_looks_at_the_points(self) -> None:
        """To settle after every layer gives the same bits as to settle at the end."""
        for flow in examples():
            points, other = self._points(flow), self._points(flow)
            run = self._run(points, flow, 3)
            looked: list[tuple[Layer, LayerReport]] = []
            for i in range(3):
                looked.extend(self._run(other, flow, i + 1, first=i))
                positions(other, i + 1)
            same_bits(numbers(looked), numbers(run))
            same_bits(positions(other, 3), positions(points, 3))

    def test_a_layer_that_comes_again(self) -> None:
        """A layer that the caller did not count is forgotten."""
        for flow in examples():
            expected, points = self._points(flow), self._points(flow)
            run = self._run(expected, flow, 2)
            for number in range(2):
                other = flow.batches[3]
                points.layer(number, other, flow.targets, flow.labels, OPTIONS, 1)
                again = self._run(points, flow, number + 1, first=number)
                same_bits(numbers(again), numbers(run[number : number + 1]))
            same_bits(positions(points, 2), positions(expected, 2))

    def test_settling_without_the_last_layer(self) -> None:
        """A layer that the caller did not count is not settled."""
        for flow in examples():
            expected, points = self._points(flow), self._points(flow)
            self._run(expected, flow, 1)
            self._run(points, flow, 2)
            same_bits(positions(points, 1), positions(expected, 1))

    def test_going_on_from_positions(self) -> None:
        """Points that contain layers already go on as those that ran them."""
        for flow in examples():
            whole, part = self._points(flow), self._points(flow)
            self._run(whole, flow, 3)
            self._run(part, flow, 2)
            on = self.engine.moving_points(positions(part, 2), flow.n_fixed, KERNEL.profile, 2)
            self._run(on, flow, 3, first=2)
            same_bits(positions(on, 3), positions(whole, 3))

    def test_rest_and_copies(self) -> None:
        """Points that rested, and copies and pickles of settled ones, go on with the same bits."""
        for flow in examples():
            whole, points = self._points(flow), self._points(flow)
            self._run(whole, flow, 3)
            self._run(points, flow, 2)
            points.settle(2, 1)
            others = [copy.deepcopy(points), pickle.loads(pickle.dumps(points))]
            points.rest()
            expected = positions(whole, 3)
            for each in (points, *others):
                self._run(each, flow, 3, first=2)
                same_bits(positions(each, 3), expected)

    # ---- errors -------------------------------------------------------------------------------

    def _check_error(
        self, flow: FlowExample, error: type[Exception], options: LayerOptions
    ) -> Exception:
        """Return the error of a second layer, after which everything is as it was before."""
        expected, points = self._points(flow), self._points(flow)
        self._run(expected, flow, 1)
        self._run(points, flow, 1)
        raised = raises(error, lambda: self._run(points, flow, 2, options, first=1))
        same_bits(positions(points, 1), positions(expected, 1))
        self._run(expected, flow, 2, first=1)
        self._run(points, flow, 2, first=1)
        same_bits(positions(points, 2), positions(expected, 2))
        return raised

    def test_singular_kernel_matrices(self) -> None:
        """Points of a batch that coincide are named by their positions in it."""
        for flow in examples():
            rows = flow.batches[1].rows
            flow.sets[0][rows[2]] = flow.sets[0][rows[15]]
            error = self._check_error(flow, NotPositiveDefinite, OPTIONS._replace(nugget=0.0))
            assert sorted(error.args) == [2, 15]

    def test_divergence(self) -> None:
        """A step beyond all bounds moves no point, wherever it is measured."""
        for flow in examples():
            for over_batch in (False, True):
                options = OPTIONS._replace(step="fixed", step_size=1e30, over_batch=over_batch)
                self._check_error(flow, Diverged, options)
