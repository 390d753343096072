"""Tests of how an engine makes layers from batches, replays them, and differentiates them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kflow._base.array_types import FloatArray
from kflow.engine.interface import (
    Diverged,
    FlowBatch,
    Layer,
    LayerOptions,
    LayerReport,
    NotPositiveDefinite,
)
from kflow.testing.engines.base import EngineTestsBase, raises, same_bits
from kflow.testing.engines.example import KERNEL, OPTIONS, FlowExample, examples, numbers
from kflow.testing.engines.kernel_matrices import gradients, jacobians

__all__ = ["LayerTests"]

OVER_BATCH = OPTIONS._replace(over_batch=True)


class LayerTests(EngineTestsBase):
    """Tests of `batch_runner`, `replay`, `push_layer_forward` and `pull_layer_back`."""

    def _batch_layer(
        self, flow: FlowExample, options: LayerOptions, n_threads: int = 1
    ) -> tuple[Layer, LayerReport]:
        batch = flow.batches[0]
        runner = self.engine.batch_runner(flow.n_fixed, KERNEL.profile)
        # A smaller batch before it leaves scratch memory of another size behind.
        few = FlowBatch(batch.rows[:20], batch.halves[:0], batch.n_coarse)
        for each in (few, batch):
            rows = each.rows
            result = runner.layer(
                flow.sets[0][rows], each, flow.targets[rows], flow.labels[rows], options, n_threads
            )
        return result

    def test_layers_of_batches(self) -> None:
        """Layers whose step is measured on their batch, by every rule."""
        for flow in examples():
            for step in ("relative", "rms", "absolute", "fixed"):
                options = OVER_BATCH._replace(step=step)
                one, two = (numbers([self._batch_layer(flow, options, n)]) for n in (1, 2))
                same_bits(one, two)
                _, layer, report = flow.reference(flow.sets, 0, options)
                for got, value in zip(one, numbers([(layer, report)]), strict=True):
                    self.close(np.asarray(got, flow.sets[0].dtype), value)

    def test_layers_without_classes(self) -> None:
        """Without labels there is no ratio of class distances."""
        flow = next(examples())
        rows, halves, n_coarse = flow.batches[0]
        layer, report = self.engine.batch_runner(flow.n_fixed, KERNEL.profile).layer(
            flow.sets[0][rows],
            FlowBatch(rows, halves, n_coarse),
            flow.targets[rows],
            None,
            OVER_BATCH,
            1,
        )
        assert np.isnan(report.class_distance_ratio)
        same_bits(layer, self._batch_layer(flow, OVER_BATCH)[0])

    def test_errors_of_batches(self) -> None:
        """A singular matrix and a step beyond all bounds are errors."""
        for flow in examples():
            wide = OVER_BATCH._replace(step="fixed", step_size=1e30)
            raises(Diverged, lambda flow=flow, wide=wide: self._batch_layer(flow, wide))  # type: ignore[misc]
            rows = flow.batches[0].rows
            flow.sets[0][rows[2]] = flow.sets[0][rows[15]]
            singular = OVER_BATCH._replace(nugget=0.0)
            error = raises(
                NotPositiveDefinite,
                lambda flow=flow, singular=singular: self._batch_layer(flow, singular),  # type: ignore[misc]
            )
            assert sorted(error.args) == [2, 15]

    def _layers(self, flow: FlowExample) -> list[Layer]:
        """Return two layers by the reference, in the flow's dtype."""
        sets, layers, dtype = list(flow.sets), [], flow.sets[0].dtype
        for number in range(2):
            sets, layer, _ = flow.reference(sets, number, OPTIONS)
            layers.append(
                Layer(layer.centres.astype(dtype), layer.coefficients.astype(dtype), layer.step)
            )
        return layers

    def test_replay(self) -> None:
        """Points move through layers, whichever other points there are."""
        for flow in examples():
            layers = self._layers(flow)
            one, two = flow.copies()[1], flow.copies()[1]
            self.engine.replay(one, layers, KERNEL.profile, 1)
            self.engine.replay(two, layers, KERNEL.profile, 2)
            alone = flow.sets[1][4:5].copy()
            for layer in layers:
                self.engine.replay(alone, [layer], KERNEL.profile, 1)
            same_bits([one, one[4:5]], [two, alone])
            self.close(one, self._moved(flow, layers))

    def _moved(self, flow: FlowExample, layers: Sequence[Layer]) -> FloatArray:
        sets = list(flow.sets)
        for number in range(len(layers)):
            sets = flow.reference(sets, number, OPTIONS)[0]
        return sets[1]

    def test_derivatives_of_layers(self) -> None:
        """Directions are pushed forward, and covectors pulled back, in place."""
        for flow in examples():
            x, (z, c, step), q = flow.sets[1], self._layers(flow)[0], flow.n_moving
            layer = Layer(z, (step * c).astype(x.dtype), 1.0)
            start = np.random.default_rng(2).normal(size=x.shape).astype(x.dtype)
            (pushed, pulled), again = (self._derivatives(x, layer, start, n) for n in (1, 2))
            same_bits([pushed, pulled], again)
            expected = start.astype(np.float64)
            jacobian = jacobians(x, z, layer.coefficients, KERNEL)
            expected[:, :q] += np.einsum("nqd,nd->nq", jacobian, start.astype(np.float64))
            self.close(pushed, expected)
            back = gradients(x, z, layer.coefficients, start[:, :q], KERNEL)
            self.close(pulled, start + back)

    def _derivatives(
        self, x: FloatArray, layer: Layer, start: FloatArray, n_threads: int
    ) -> tuple[FloatArray, FloatArray]:
        pushed, pulled = start.copy(), start.copy()
        self.engine.push_layer_forward(x, layer, KERNEL.profile, pushed, n_threads)
        self.engine.pull_layer_back(x, layer, KERNEL.profile, pulled, n_threads)
        return pushed, pulled
