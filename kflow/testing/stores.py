"""What every store of layers must pass."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from kflow.engine.interface import Layer
from kflow.errors import StorageError
from kflow.flow.kernel_flow import KernelFlow
from kflow.kernels import Gaussian
from kflow.layers.stores import LayerShape, LayerStore
from kflow.testing.examples import flat_data, numbered_folder

__all__ = ["StoreTests"]

_SHAPES = [
    LayerShape(4, n_fixed, np.dtype(dtype))
    for n_fixed in (0, 1)
    for dtype in ("float32", "float64")
]


class StoreTests:
    """Tests for a store of layers, to be inherited by a class whose name begins with Test.

    pytest then runs them, with a folder of its own for each test.

    Attributes
    ----------
    keeps_layers : bool
        Whether the store gives back what it was given; False for one that forgets.

    Examples
    --------
    >>> from kflow.layers import MemoryLayers
    >>> from kflow.testing import StoreTests
    >>> class TestMemoryLayers(StoreTests):
    ...     def make(self, shape, rank, folder):
    ...         return MemoryLayers(shape, rank)
    """

    keeps_layers = True

    def make(self, shape: LayerShape, rank: int, folder: Path) -> LayerStore:
        """Return an empty store.

        Parameters
        ----------
        shape : LayerShape
            What the layers have in common.
        rank : int
            Of the first layer.
        folder : Path
            An empty folder, for a store that needs one.
        """
        raise NotImplementedError

    # ---- what is put comes back ---------------------------------------------------------------

    def test_it_is_empty_at_first(self, tmp_path: Path) -> None:
        """An empty store has no layer to give."""
        store = self.make(_SHAPES[0], 3, tmp_path)
        assert len(store) == 0
        assert list(store) == []
        _assert_no_layer(store, 0)

    def test_layers_come_back_bit_for_bit(self, tmp_path: Path) -> None:
        """Layers come back in order, in their dtype, one by one and all together, more than once."""
        for number, shape in enumerate(_SHAPES):
            store = self.make(shape, 3, numbered_folder(tmp_path, number))
            expected = _some_layers(shape, [3, 3, 3])
            for index, layer in enumerate(expected):
                store.put(index, layer)
                if self.keeps_layers:
                    assert len(store) == index + 1
            for _ in range(2):
                self._assert_holds(store, expected)

    def test_the_rank_may_fall(self, tmp_path: Path) -> None:
        """Later layers may have fewer columns."""
        for number, shape in enumerate(_SHAPES):
            store = self.make(shape, 3, numbered_folder(tmp_path, number))
            expected = _some_layers(shape, [3, 2, 2, 1])
            for index, layer in enumerate(expected):
                store.put(index, layer)
            self._assert_holds(store, expected)

    def test_a_layer_replaces_all_from_its_number_on(self, tmp_path: Path) -> None:
        """A layer that is put again, as its run was interrupted, is the last one then."""
        store = self.make(_SHAPES[0], 3, tmp_path)
        layers = _some_layers(_SHAPES[0], [3] * 4)
        for index, layer in enumerate(layers[:3]):
            store.put(index, layer)
        store.put(1, layers[3])
        self._assert_holds(store, [layers[0], layers[3]])

    def test_numbers_beyond_the_layers_are_refused(self, tmp_path: Path) -> None:
        """There is no layer after the last one."""
        store = self.make(_SHAPES[0], 3, tmp_path)
        (layer,) = _some_layers(_SHAPES[0], [3])
        store.put(0, layer)
        _assert_no_layer(store, 1)
        _assert_no_layer(store, 10**6)

    def test_two_readers_at_once(self, tmp_path: Path) -> None:
        """Iterators do not disturb each other, nor those that ask for one layer."""
        if not self.keeps_layers:
            return
        store = self.make(_SHAPES[0], 3, tmp_path)
        expected = _some_layers(_SHAPES[0], [3] * 5)
        for index, layer in enumerate(expected):
            store.put(index, layer)
        for (one, other), layer in zip(zip(store, store, strict=True), expected, strict=True):
            _assert_same_layer(one, layer)
            _assert_same_layer(other, layer)
            _assert_same_layer(store[0], expected[0])

    def test_a_copy_is_as_good(self, tmp_path: Path) -> None:
        """Pickled, a store gives the same layers."""
        store = self.make(_SHAPES[0], 3, tmp_path)
        expected = _some_layers(_SHAPES[0], [3, 3])
        for index, layer in enumerate(expected):
            store.put(index, layer)
        self._assert_holds(pickle.loads(pickle.dumps(store)), expected)

    # ---- room ---------------------------------------------------------------------------------

    def test_room_is_asked_for_before_a_run(self, tmp_path: Path) -> None:
        """A few layers fit; so many that nobody has the room do not."""
        store = self.make(LayerShape(1000, 1, np.dtype("float64")), 1000, tmp_path)
        store.reserve(0)
        store.reserve(1)
        if self.keeps_layers:
            try:
                store.reserve(10**12)
            except StorageError:
                pass
            else:
                raise AssertionError("a store must raise StorageError where layers will not fit")

    # ---- a flow -------------------------------------------------------------------------------

    def test_a_flow_with_it_is_the_same_flow(self, tmp_path: Path) -> None:
        """Whatever keeps the layers, a flow moves the same points, and others by the same layers."""
        X, Y = flat_data(80)
        for number, options in enumerate(
            ({}, {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.3})
        ):
            settings: dict[str, Any] = {
                "n_layers": 8,
                "batch_size": 20,
                "nugget": 0.1,
                "random_state": 0,
                "dtype": "float64",
                **options,
            }
            folder = numbered_folder(tmp_path, number)

            def keep(shape: LayerShape, rank: int, folder: Path = folder) -> LayerStore:
                return self.make(shape, rank, folder)

            expected = KernelFlow(Gaussian(2.0), **settings).fit(X, Y)
            flow = KernelFlow(Gaussian(2.0), layers=keep, **settings).fit(X, Y)
            np.testing.assert_array_equal(flow.points_, expected.points_)
            if self.keeps_layers:
                np.testing.assert_array_equal(flow.transform(X + 0.1), expected.transform(X + 0.1))
                for flows in zip(
                    flow.trajectory(X, [0, 3, 8]), expected.trajectory(X, [0, 3, 8]), strict=True
                ):
                    np.testing.assert_array_equal(*flows)
            flow.run(2)
            np.testing.assert_array_equal(flow.points_, expected.run(2).points_)

    def _assert_holds(self, store: LayerStore, expected: list[Layer]) -> None:
        if not self.keeps_layers:
            expected = []
        assert len(store) == len(expected)
        for layer, other in zip(store, expected, strict=True):
            _assert_same_layer(layer, other)
        for number, other in enumerate(expected):
            _assert_same_layer(store[number], other)


def _some_layers(shape: LayerShape, ranks: list[int]) -> list[Layer]:
    rng = np.random.default_rng(len(ranks))
    return [
        Layer(
            rng.normal(size=(shape.batch_size, rank + shape.n_fixed)).astype(shape.dtype),
            rng.normal(size=(shape.batch_size, rank)).astype(shape.dtype),
            float(rng.random()),
        )
        for rank in ranks
    ]


def _assert_same_layer(layer: Layer, expected: Layer) -> None:
    for array, other in zip(layer[:2], expected[:2], strict=True):
        assert array.dtype == other.dtype
        np.testing.assert_array_equal(array, other)
    assert layer.step == expected.step


def _assert_no_layer(store: LayerStore, number: int) -> None:
    try:
        store[number]
    except IndexError:
        return
    raise AssertionError(f"layer {number} is not there: a store must raise IndexError")
