"""What every place for points must pass, and the simplest place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from kflow._base.array_types import FloatArray, Rows
from kflow.data.sources import as_source
from kflow.errors import DivergenceError
from kflow.flow.kernel_flow import KernelFlow
from kflow.kernels import Gaussian
from kflow.layers.block import Block
from kflow.layers.positions import Positions
from kflow.layers.subspace import Subspace
from kflow.points.protocol import Place, PointsRequest, ShardedPoints, Ticket
from kflow.testing.examples import flat_data, numbered_folder

__all__ = ["MemoryPlace", "PlaceTests"]


class MemoryPlace:
    """The simplest place: one shard, in memory. It shows what a place has to do."""

    def open_points(self, request: PointsRequest) -> ShardedPoints:
        """Return the points."""
        return _MemoryPoints(request)


class _MemoryPoints:
    def __init__(self, request: PointsRequest) -> None:
        self._request = request
        first = request.first(slice(0, request.n_points))
        self._positions, self._n_layers = Positions.of(first), 0

    def _bring(self, n_layers: int) -> None:
        """Move the points through the blocks that they have not seen."""
        for block in self._request.blocks_since(self._n_layers, n_layers):
            self._move(block)

    def _move(self, block: Block) -> None:
        self._positions = self._positions.through(block, self._request.motion)
        self._n_layers = block.end

    def gather(self, rows: Rows, n_layers: int) -> FloatArray:
        """Return some points after so many layers."""
        self._bring(n_layers)
        return self._positions.training[rows]

    def advance(self, block: Block, rows: Rows) -> Ticket:
        """Move all points through a block."""
        self._bring(block.first)
        self._move(block)
        gathered = self._positions.training[rows]
        return lambda: gathered

    def shards(self, n_layers: int) -> Iterator[Positions]:
        """Yield all points after so many layers."""
        self._bring(n_layers)
        yield self._positions


class PlaceTests:
    """Tests for a place of points, to be inherited by a class whose name begins with Test.

    pytest then runs them, with a folder of its own for each test. The flow whose points are there
    must be the flow whose points are in memory, to the last bit.

    Examples
    --------
    >>> from contextlib import nullcontext
    >>> from kflow.testing import MemoryPlace, PlaceTests
    >>> class TestMemoryPlace(PlaceTests):
    ...     def open(self, folder):
    ...         return nullcontext(MemoryPlace())
    """

    def open(self, folder: Path) -> AbstractContextManager[Place]:
        """Return a context in which the place can be used.

        Parameters
        ----------
        folder : Path
            An empty folder, for a place that needs one.
        """
        raise NotImplementedError

    # ---- the protocol -------------------------------------------------------------------------

    def test_points_before_all_layers(self, tmp_path: Path) -> None:
        """Rows are gathered in the order in which they are asked for."""
        for number, dtype in enumerate(("float32", "float64")):
            X, _ = flat_data(120)
            with self.open(numbered_folder(tmp_path, number)) as place:
                request = _request(X, dtype)
                points = place.open_points(request)
                expected = request.first(slice(0, len(X)))
                for rows in ([0], [119, 3, 57], range(120), []):
                    index = np.array(rows, np.intp)
                    gathered = points.gather(index, 0)
                    assert gathered.dtype == np.dtype(dtype)
                    np.testing.assert_array_equal(gathered, expected[index])
                np.testing.assert_array_equal(_all_of(points, 0), expected)

    def test_points_move_through_blocks(self, tmp_path: Path) -> None:
        """Points are where the blocks take them, those of the rows asked for as well as all."""
        X, Y = flat_data(120)
        for number, options in enumerate(_OPTIONS):
            flow = _flow(**options).fit(X, Y)
            blocks = list(flow.state_.blocks_between(0, flow.n_layers_))
            kept: list[Block] = []
            with self.open(numbered_folder(tmp_path, number)) as place:
                points = place.open_points(
                    _request(X, flow.dtype, flow.state_.subspace, kept, flow)
                )
                expected = Positions.of(_request(X, flow.dtype, flow.state_.subspace).first(_ALL))
                rows = np.array([7, 100, 3], np.intp)
                for block in blocks:
                    kept.append(block)
                    ticket = points.advance(block, rows)
                    expected = expected.through(block, flow.motion(flow.kernel_))
                    np.testing.assert_array_equal(ticket(), expected.training[rows])
                np.testing.assert_array_equal(_all_of(points, flow.n_layers_), flow.reduced_points_)

    def test_points_that_lag_behind_catch_up(self, tmp_path: Path) -> None:
        """Blocks that a place was never told of are asked for."""
        X, Y = flat_data(120)
        for number, options in enumerate(_OPTIONS):
            flow = _flow(**options).fit(X, Y)
            kept = list(flow.state_.blocks_between(0, flow.n_layers_))
            with self.open(numbered_folder(tmp_path, number)) as place:
                subspace = flow.state_.subspace
                points = place.open_points(_request(X, flow.dtype, subspace, kept, flow))
                rows = np.array([5, 0], np.intp)
                gathered = points.gather(rows, flow.n_layers_)
                np.testing.assert_array_equal(gathered, flow.reduced_points_[rows])
                np.testing.assert_array_equal(_all_of(points, flow.n_layers_), flow.reduced_points_)

    # ---- flows --------------------------------------------------------------------------------

    def test_the_same_flow(self, tmp_path: Path) -> None:
        """The flow is that of points in memory."""
        X, Y = flat_data(120)
        for number, options in enumerate(_OPTIONS):
            expected = _flow(**options).fit(X, Y, follow={"test": X[:9] + 0.1})
            with self.open(numbered_folder(tmp_path, number)) as place:
                flow = _flow(**options).fit(X, Y, follow={"test": X[:9] + 0.1}, client=place)
                _assert_same_flow(flow, expected)
                _assert_same_flow(flow.run(3), expected.run(3))

    def test_a_small_flow(self, tmp_path: Path) -> None:
        """All points may be in the batch, and have one coordinate."""
        X, Y = flat_data(120)
        X, Y = X[:8, :1], Y[:8]
        expected = _flow(batch_size=8).fit(X, Y)
        with self.open(tmp_path) as place:
            _assert_same_flow(_flow(batch_size=8).fit(X, Y, client=place), expected)

    def test_a_callback_ends_the_flow(self, tmp_path: Path) -> None:
        """After a flow has ended within its layers, all points are where its last layer left them."""
        X, Y = flat_data(120)

        def stop(flow: Any) -> bool:
            return bool(flow.n_layers_ >= 6)

        with self.open(tmp_path) as place:
            flow = _flow(callbacks=[stop]).fit(X, Y, client=place)
            expected = _flow(n_layers=flow.n_layers_).fit(X, Y)
            assert 6 <= flow.n_layers_ < 13
            _assert_same_flow(flow, expected)
            flow.callbacks = ()
            _assert_same_flow(flow.run(4), expected.run(4))

    def test_a_failing_layer_leaves_the_flow_at_the_last_good_one(self, tmp_path: Path) -> None:
        """The layers before the one that failed count, and their points have moved."""
        X, Y = flat_data(120)
        steps = {0: 0.05, 7: 1e30}
        with self.open(tmp_path) as place:
            flow = _flow(step="fixed", step_size=steps)
            try:
                flow.fit(X, Y, client=place)
            except DivergenceError:
                pass
            else:
                raise AssertionError("the flow must diverge")
            assert flow.n_layers_ == 7
            expected = _flow(step="fixed", step_size=0.05, n_layers=7).fit(X, Y)
            _assert_same_flow(flow, expected)
            flow.step_size = expected.step_size = 0.02
            _assert_same_flow(flow.run(3), expected.run(3))


_ALL = slice(0, 120)

_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"dtype": "float64", "rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.3},
    {"rank": 2, "n_halves": 2, "every": 1},
)


def _flow(**options: Any) -> KernelFlow:
    settings: dict[str, Any] = {
        "n_layers": 13,
        "batch_size": 20,
        "nugget": 0.1,
        "step": "rms",
        "step_size": 0.05,
        "step_over": "batch",
        "random_state": 0,
        "every": 4,
        **options,
    }
    return KernelFlow(Gaussian(2.0), **settings)


def _request(
    X: FloatArray,
    dtype: str,
    subspace: Subspace | None = None,
    kept: list[Block] | None = None,
    flow: KernelFlow | None = None,
) -> PointsRequest:
    """Return a request for points whose stored blocks are those of a list."""
    flow = _flow(dtype=dtype) if flow is None else flow
    blocks = [] if kept is None else kept

    def blocks_since(first: int, end: int) -> Iterator[Block]:
        return (block for block in blocks if first <= block.first and block.end <= end)

    return PointsRequest(
        source=as_source(X, np.dtype(dtype), "X"),
        subspace=subspace,
        dtype=np.dtype(dtype),
        batch_size=20,
        every=4,
        motion=flow.motion(Gaussian(2.0)),
        flow_id="of-a-test",
        blocks_since=blocks_since,
    )


def _all_of(points: ShardedPoints, n_layers: int) -> FloatArray:
    return np.concatenate([shard.training for shard in points.shards(n_layers)])


def _assert_same_flow(flow: KernelFlow, expected: KernelFlow) -> None:
    assert flow.n_layers_ == expected.n_layers_
    np.testing.assert_array_equal(flow.reduced_points_, expected.reduced_points_)
    np.testing.assert_array_equal(flow.points_, expected.points_)
    for name, points in expected.reduced_follow_.items():
        np.testing.assert_array_equal(flow.reduced_follow_[name], points)
    for name, values in expected.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(flow.history_[name], values)
