"""A flow in a model file: its settings in JSON, its points in arrays, its layers in blocks."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_from_state, generator_state
from kflow.data.arrays import as_matrix
from kflow.data.labels import ClassLabels
from kflow.engine.threads import resolve_n_threads
from kflow.errors import ModelFileError, damaged
from kflow.flow.settings import FlowSettings
from kflow.flow.state import FlowState
from kflow.kernels import check_isotropic, from_dict
from kflow.layers.block import HISTORY, LayerRecord, into_blocks
from kflow.layers.positions import TRAINING, Positions
from kflow.layers.rank_reduction import RankReduction
from kflow.layers.stores import LayerShape, LayerStore, open_layers
from kflow.layers.subspace import Subspace, check_orthonormal
from kflow.storage.block_file import STORED_DTYPES, decode_block, encode_block
from kflow.storage.model_file import ModelReader

__all__ = ["export_flow", "import_flow"]

_Settings = TypeVar("_Settings", bound=FlowSettings)

# Largest size of a block in a model file. Reading and writing take this much memory besides the
# flow.
_BLOCK_BYTES = 2**25


def export_flow(
    settings: FlowSettings, state: FlowState, layers_dtype: str | None = None
) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any] | bytes]]]:
    """Return the settings and the parts that `kflow.storage.model_file.write_model` takes.

    Raises
    ------
    ValueError
        For an unknown `layers_dtype`.
    """
    if layers_dtype not in (None, *STORED_DTYPES):
        raise ValueError(
            f"layers_dtype must be one of {STORED_DTYPES} or None, got {layers_dtype!r}"
        )
    points = state.positions(resolve_n_threads(settings.n_threads))
    subspace, names = state.subspace, list(points.followed)
    n_stored = min(len(state.store), state.n_layers)
    content = {
        "n_layers": settings.n_layers,
        **settings.to_dict(),
        "energy_dropped": 0.0 if subspace is None else subspace.energy_dropped,
        "rotations": [[reduction.layer, reduction.kept] for reduction in points.reductions],
        "kernel": state.kernel.to_dict(),
        "follow": names,
        "n_stored": n_stored,
        "random_state": generator_state(state.rng),
        "engine": settings.computing_engine().identity,
    }

    def parts() -> Iterator[tuple[str, npt.NDArray[Any] | bytes]]:
        yield "targets", _shortest(state.targets)
        for name, member in _members(names).items():
            yield member, points.sets[name]
            if points.reductions:
                yield f"{member}_frozen", points.frozen[name]
        if subspace is not None:
            yield "basis", subspace.basis
        for number, reduction in enumerate(points.reductions):
            if reduction.layer >= n_stored:  # the reduction is in no block
                yield f"rotation{number:06d}", reduction.matrix
        for name, values in state.history().items():
            yield f"history_{name}", values
        if n_stored:
            widest = state.store[0]
            size = max(1, _BLOCK_BYTES // (widest.centres.nbytes + widest.coefficients.nbytes))
            flow_id = uuid.uuid4().hex
            records = state.records[:n_stored]
            for block in into_blocks(state.store, records, state.reductions, size):
                yield _block_name(block.first), encode_block(block, flow_id, dtype=layers_dtype)

    return content, parts()


def import_flow(
    reader: ModelReader, settings: dict[str, Any], make: Callable[..., _Settings]
) -> tuple[_Settings, FlowState]:
    """Return the flow of a model file: its settings and its state.

    Parameters
    ----------
    reader : ModelReader
        The file.
    settings : dict
        The settings that `export_flow` returned.
    make : callable
        Makes the flow's settings from the arguments of `FlowSettings`.

    Raises
    ------
    ModelFileError
        If the file does not hold a valid flow.
    """
    with damaged("settings"):
        kernel = check_isotropic(from_dict(settings["kernel"]))
        flow = make(kernel, n_layers=settings["n_layers"], **FlowSettings.stored(settings))
        stored = _Stored.of(settings)
    training, targets = _read_points(reader, flow)
    history = [_numbers(reader, f"history_{name}", "float64", 1) for name in HISTORY]
    n_layers = len(history[0])
    uneven = any(len(values) != n_layers for values in history)
    if stored.n_stored not in (0, n_layers) or uneven:
        raise ModelFileError("the model's arrays do not fit together")
    records = [LayerRecord(*row) for row in np.column_stack(history).tolist()]
    with damaged("coordinates"):
        subspace, ranks = _read_coordinates(reader, flow, stored, training.shape[1], n_layers)
        rank_of = np.repeat(ranks, np.diff([*stored.firsts, n_layers]))
        if (history[HISTORY.index("rank")] != rank_of).any():
            raise ValueError("rank")
    shape = flow.layer_shape(subspace)
    reductions: dict[int, RankReduction] = {}
    if not stored.n_stored:
        flow.layers = "none" if n_layers else "memory"
    store = open_layers("memory" if stored.n_stored else flow.layers, shape, ranks[0])
    if stored.n_stored:
        with damaged("layers"):
            reductions = _read_layers(reader, store, shape, rank_of, any_size=len(training) == 0)
    with damaged("coordinates"):
        _complete_reductions(reader, stored, ranks, reductions)
    positions = _read_positions(reader, flow, stored, training, ranks, reductions)
    return flow, FlowState.of(
        flow,
        kernel=kernel,
        subspace=subspace,
        n_features=ranks[0] if subspace is None else len(subspace.basis),
        positions=positions,
        targets=targets,
        labels=ClassLabels([targets])(targets),
        store=store,
        rng=stored.generator,
        records=records,
    )


class _Stored(NamedTuple):
    """The entries in the settings of a model file that are no settings of the flow.

    Attributes
    ----------
    generator : numpy.random.Generator
        Source of the next batches.
    names : list of str
        Names of the followed sets.
    n_stored : int
        How many layers the file holds.
    turns : list of tuple of int
        For each fall of the rank: the layer that comes next, and how many coordinates are kept.
    energy_dropped : float
        Part of the sum of squares that lies outside the subspace.
    """

    generator: np.random.Generator
    names: list[str]
    n_stored: int
    turns: list[tuple[int, int]]
    energy_dropped: float

    @classmethod
    def of(cls, settings: dict[str, Any]) -> _Stored:
        names = [str(name) for name in settings["follow"]]
        if TRAINING in names or len(set(names)) < len(names):
            raise ValueError(f"follow: {names}")
        return cls(
            generator_from_state(settings["random_state"]),
            names,
            int(settings["n_stored"]),
            [(int(layer), int(kept)) for layer, kept in settings["rotations"]],
            float(settings["energy_dropped"]),
        )

    @property
    def firsts(self) -> list[int]:
        """The first layers of each rank."""
        return [0, *(layer for layer, _ in self.turns)]


def _numbers(reader: ModelReader, name: str, dtype: str, ndim: int = 2) -> npt.NDArray[Any]:
    array = reader.array(name, ndim=ndim)
    if array.dtype.kind != "f":
        raise ModelFileError(f"the model's {name} are damaged: dtype {array.dtype}")
    return np.ascontiguousarray(array, dtype)


def _read_points(reader: ModelReader, flow: FlowSettings) -> tuple[FloatArray, FloatArray]:
    """Return the coordinates and the targets of the training points."""
    with damaged("points and targets"):
        training = as_matrix(_numbers(reader, "points", flow.dtype), "points", dtype=flow.dtype)
        n = len(training)
        if 0 < n < flow.batch_size:  # a flow without points has only its layers
            raise ValueError(f"{n} points are fewer than batch_size={flow.batch_size}")
        stored = reader.array("targets", ndim=2)
        if stored.dtype.kind != "f" and stored.dtype != np.uint8:
            raise ValueError(f"targets of dtype {stored.dtype}")
        return training, as_matrix(stored, "targets", dtype="float64", n_rows=n)


def _read_coordinates(
    reader: ModelReader, flow: FlowSettings, stored: _Stored, k: int, n_layers: int
) -> tuple[Subspace | None, list[int]]:
    """Return the subspace, and the ranks: the first one, and the rank after each reduction."""
    subspace, ranks, n_fixed = None, [k], 0
    if flow.rank is not None:
        basis = check_orthonormal(_numbers(reader, "basis", "float64"))
        subspace = Subspace(basis, stored.energy_dropped)
        ranks, n_fixed = [subspace.rank, *(kept for _, kept in stored.turns)], 1
    firsts = stored.firsts
    if (subspace is None and stored.turns) or not all(a < b for a, b in pairwise(firsts)):
        raise ValueError("rotations")
    if k != ranks[-1] + n_fixed or firsts[-1] > n_layers:
        raise ValueError(f"{k} coordinates")
    return subspace, ranks


def _complete_reductions(
    reader: ModelReader,
    stored: _Stored,
    ranks: list[int],
    reductions: dict[int, RankReduction],
) -> None:
    """Add the reductions that are in no block, and check all of them."""
    for number, (layer, kept) in enumerate(stored.turns):
        if layer >= stored.n_stored:
            name = f"rotation{number:06d}"
            matrix = check_orthonormal(_numbers(reader, name, "float64"))
            reductions[layer] = RankReduction(layer, matrix, kept)
        size = len(reductions[layer].matrix)
        fits = reductions[layer].matrix.shape == (size, size) == (ranks[number],) * 2
        if not fits or reductions[layer].kept != kept or not 1 <= kept < size:
            raise ValueError(f"rotation {number}: {size} coordinates, kept {kept}")
    if len(reductions) != len(stored.turns):
        raise ValueError(f"{len(reductions)} reductions for {len(stored.turns)}")


def _read_positions(
    reader: ModelReader,
    flow: FlowSettings,
    stored: _Stored,
    training: FloatArray,
    ranks: list[int],
    reductions: dict[int, RankReduction],
) -> Positions:
    """Return the positions of the training points and of the followed points."""
    sets, frozen = {}, {}
    for name, member in _members(stored.names).items():
        sets[name] = training if name == TRAINING else _numbers(reader, member, flow.dtype)
        frozen[name] = sets[name][:, :0].copy()
        if stored.turns:
            frozen[name] = _numbers(reader, f"{member}_frozen", flow.dtype)
        wanted = (len(sets[name]), ranks[0] - ranks[-1])
        if sets[name].shape[1] != training.shape[1] or frozen[name].shape != wanted:
            raise ModelFileError("the model's arrays do not fit together")
    return Positions(sets, frozen, tuple(reductions[layer] for layer in sorted(reductions)))


def _read_layers(
    reader: ModelReader,
    store: LayerStore,
    shape: LayerShape,
    ranks: npt.NDArray[Any],
    *,
    any_size: bool,
) -> dict[int, RankReduction]:
    """Put the layers of a model file into a store, and return the reductions that they hold.

    With `any_size`, as for a flow without points, layers may have any number of centres.
    """
    reductions = {}
    flow_id: str | None = None
    while len(store) < len(ranks):
        first = len(store)
        name = _block_name(first)
        block, flow_id, _ = decode_block(
            reader.read(name), name, flow_id, remedy="save the model again"
        )
        z, c, _ = block.layers[0]
        rank = int(ranks[first])
        size = len(z) if any_size else shape.batch_size
        if (
            block.first != first
            or block.end > len(ranks)
            or (ranks[first : block.end] != rank).any()
            or z.shape != (size, rank + shape.n_fixed)
            or c.shape != (size, rank)
            or z.dtype != shape.dtype
        ):
            raise ModelFileError("the model's layers do not fit its points")
        if block.reduction is not None:
            reductions[first] = block.reduction
        for number, layer in enumerate(block.layers, first):
            store.put(number, layer)
    return reductions


def _block_name(first: int) -> str:
    return f"blocks/{first:08d}.safetensors"


def _shortest(targets: FloatArray) -> npt.NDArray[Any]:
    """Return the same numbers in the shortest dtype that holds them; one-hot rows become bytes."""
    for dtype in (np.uint8, np.float32):
        with np.errstate(over="ignore", invalid="ignore"):
            shorter = targets.astype(dtype)
        if np.array_equal(shorter, targets) and not np.signbit(targets[targets == 0.0]).any():
            return shorter
    return targets


def _members(follow: Iterable[str]) -> dict[str, str]:
    """Return, for each set of points, the name under which a model file holds it."""
    return {TRAINING: "points", **{name: f"follow{number}" for number, name in enumerate(follow)}}
