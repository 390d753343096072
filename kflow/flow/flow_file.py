"""A flow in a model file: settings in JSON, its points in arrays, its layers in blocks."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.array_types import FloatArray
from kflow._base.generators import generator_from_state, generator_state
from kflow.data.arrays import as_matrix
from kflow.data.labels import ClassLabels
from kflow.errors import ModelFileError, damaged
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.schedules import SCHEDULES
from kflow.kernels import check_isotropic, from_dict
from kflow.layers.block import HISTORY, Record, cut
from kflow.layers.positions import CarriedPoints
from kflow.layers.rank_reduction import Rotation
from kflow.layers.stores import LayerShape, LayerStore, MemoryLayers, open_layers
from kflow.layers.subspace import Subspace, check_orthonormal
from kflow.storage.block_file import STORED_DTYPES, decode_block, encode_block
from kflow.storage.model_file import ModelReader

__all__ = ["export_flow", "import_flow"]

# Of a block in a model file, at most: what reading and writing take besides the flow.
_BLOCK_BYTES = 2**25


def export_flow(
    flow: KernelFlow, layers_dtype: str | None = None
) -> tuple[dict[str, Any], Iterator[tuple[str, npt.NDArray[Any] | bytes]]]:
    """Return settings and parts of a model file: see `kflow.model_file.write_model`.

    Raises
    ------
    ValueError
        For an unknown `layers_dtype`.
    """
    if layers_dtype not in (None, *STORED_DTYPES):
        raise ValueError(
            f"layers_dtype must be one of {STORED_DTYPES} or None, got {layers_dtype!r}"
        )
    flow._positions("")  # from here on the points hold all layers
    points, subspace = flow._carried, flow._subspace
    names = [name for name in points.sets if name]
    n_stored = min(len(flow._store), flow.n_layers_)
    settings = {
        "n_layers": flow.n_layers,
        **flow._settings(),
        "energy_dropped": flow.energy_dropped_,
        "rotations": [[rotation.layer, rotation.kept] for rotation in points.rotations],
        "kernel": flow.kernel_.to_dict(),
        "follow": names,
        "n_stored": n_stored,
        "random_state": generator_state(flow._rng),
    }

    def parts() -> Iterator[tuple[str, npt.NDArray[Any] | bytes]]:
        yield "targets", _shortest(flow._targets)
        for name, member in _members(names).items():
            yield member, points.sets[name]
            if points.rotations:
                yield f"{member}_frozen", points.frozen[name]
        if subspace is not None:
            yield "basis", subspace.basis
        for number, rotation in enumerate(points.rotations):
            if rotation.layer >= n_stored:  # in no block
                yield f"rotation{number:06d}", rotation.matrix
        for name, values in flow.history_.items():
            yield f"history_{name}", values
        if n_stored:
            widest = flow._store[0]
            size = max(1, _BLOCK_BYTES // (widest.centres.nbytes + widest.coefficients.nbytes))
            rotations = {rotation.layer: rotation for rotation in points.rotations}
            flow_id = uuid.uuid4().hex
            for block in cut(flow._store, flow._records[:n_stored], rotations, size):
                yield _block_name(block.first), encode_block(block, flow_id, dtype=layers_dtype)

    return settings, parts()


def import_flow(reader: ModelReader, settings: dict[str, Any]) -> KernelFlow:
    """Return the flow of a model file.

    Raises
    ------
    ModelFileError
        If what the file holds is no flow.
    """
    with damaged("settings"):
        # A schedule that was a function is missing: using it is an error that says so.
        schedules: dict[str, Any] = {
            name: _MissingSchedule(name) if settings[name] is None else settings[name]
            for name in SCHEDULES
        }
        kernel = check_isotropic(from_dict(settings["kernel"]))
        flow = KernelFlow(
            kernel,
            n_layers=settings["n_layers"],
            batch_size=settings["batch_size"],
            coarse_fraction=settings["coarse_fraction"],
            **schedules,
            step_over=settings["step_over"],
            n_halves=settings["n_halves"],
            rank=settings["rank"],
            shrink_every=settings["shrink_every"],
            shrink_tolerance=settings["shrink_tolerance"],
            dtype=str(settings["dtype"]),
        )
        generator = generator_from_state(settings["random_state"])
        names = [str(name) for name in settings["follow"]]
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"follow: {names}")
        n_stored = int(settings["n_stored"])
        turns = [(int(layer), int(kept)) for layer, kept in settings["rotations"]]
        energy_dropped = float(settings["energy_dropped"])

    def numbers(name: str, dtype: str, ndim: int = 2) -> npt.NDArray[Any]:
        array = reader.array(name, ndim=ndim)
        if array.dtype.kind != "f":
            raise ModelFileError(f"the model's {name} are damaged: dtype {array.dtype}")
        return np.ascontiguousarray(array, dtype)

    with damaged("points and targets"):
        training = as_matrix(numbers("points", flow.dtype), "points", dtype=flow.dtype)
        n, k = training.shape
        if 0 < n < flow.batch_size:  # without points it has its layers only
            raise ValueError(f"{n} points are fewer than batch_size={flow.batch_size}")
        stored = reader.array("targets", ndim=2)
        if stored.dtype.kind != "f" and stored.dtype != np.uint8:
            raise ValueError(f"targets of dtype {stored.dtype}")
        targets = as_matrix(stored, "targets", dtype="float64", n_rows=n)
    history = [numbers(f"history_{name}", "float64", 1) for name in HISTORY]
    n_layers = len(history[0])
    uneven = any(len(values) != n_layers for values in history)
    if n_stored not in (0, n_layers) or uneven:
        raise ModelFileError("the model's arrays do not fit together")
    records: list[Record] = [tuple(row) for row in np.column_stack(history).tolist()]

    with damaged("coordinates"):
        subspace, ranks, n_fixed = None, [k], 0
        if flow.rank is not None:
            subspace = Subspace(check_orthonormal(numbers("basis", "float64")), energy_dropped)
            ranks, n_fixed = [subspace.rank, *(kept for _, kept in turns)], 1
        firsts = [0, *(layer for layer, _ in turns)]
        if (subspace is None and turns) or not all(a < b for a, b in pairwise(firsts)):
            raise ValueError("rotations")
        if k != ranks[-1] + n_fixed or firsts[-1] > n_layers:
            raise ValueError(f"{k} coordinates")
        rank_of = np.repeat(ranks, np.diff([*firsts, n_layers]))
        if (history[HISTORY.index("rank")] != rank_of).any():
            raise ValueError("rank")

    shape = LayerShape(flow.batch_size, n_fixed, np.dtype(flow.dtype))
    rotations: dict[int, Rotation] = {}
    if n_stored:
        store: LayerStore = MemoryLayers(shape, ranks[0])
        with damaged("layers"):
            rotations = _read_layers(reader, store, shape, rank_of, any_size=n == 0)
    else:
        flow.layers = "none" if n_layers else "memory"
        store = open_layers(flow.layers, shape, ranks[0])
    with damaged("coordinates"):
        for number, (layer, kept) in enumerate(turns):
            if layer >= n_stored:
                matrix = check_orthonormal(numbers(f"rotation{number:06d}", "float64"))
                rotations[layer] = Rotation(layer, matrix, kept)
            size = len(rotations[layer].matrix)
            fits = rotations[layer].matrix.shape == (size, size) == (ranks[number],) * 2
            if not fits or rotations[layer].kept != kept or not 1 <= kept < size:
                raise ValueError(f"rotation {number}: {size} coordinates, kept {kept}")
        if len(rotations) != len(turns):
            raise ValueError(f"{len(rotations)} rotations for {len(turns)}")
    sets, frozen = {}, {}
    for name, member in _members(names).items():
        sets[name] = training if name == "" else numbers(member, flow.dtype)
        frozen[name] = sets[name][:, :0].copy()
        if turns:
            frozen[name] = numbers(f"{member}_frozen", flow.dtype)
        wanted = (len(sets[name]), ranks[0] - ranks[-1])
        if sets[name].shape[1] != k or frozen[name].shape != wanted:
            raise ModelFileError("the model's arrays do not fit together")
    in_order = tuple(rotations[layer] for layer in sorted(rotations))
    flow._begin(
        kernel,
        subspace,
        k if subspace is None else len(subspace.basis),
        CarriedPoints(sets, frozen, in_order),
        targets,
        ClassLabels([targets]),
        store,
        generator,
        records,
    )
    return flow


def _read_layers(
    reader: ModelReader,
    store: LayerStore,
    shape: LayerShape,
    ranks: npt.NDArray[Any],
    *,
    any_size: bool,
) -> dict[int, Rotation]:
    """Bring the layers of a model file into a store; return the rotations that they hold.

    Those of a flow without points may have any number of centres.
    """
    rotations = {}
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
        if block.rotation is not None:
            rotations[first] = block.rotation
        for number, layer in enumerate(block.layers, first):
            store.put(number, layer)
    return rotations


def _block_name(first: int) -> str:
    return f"blocks/{first:08d}.safetensors"


def _shortest(targets: FloatArray) -> npt.NDArray[Any]:
    """Return the same numbers in the shortest of a few dtypes that hold them: one-hot rows in bytes."""
    for dtype in (np.uint8, np.float32):
        with np.errstate(over="ignore", invalid="ignore"):
            shorter = targets.astype(dtype)
        if np.array_equal(shorter, targets) and not np.signbit(targets[targets == 0.0]).any():
            return shorter
    return targets


def _members(follow: Iterable[str]) -> dict[str, str]:
    """Return under which names a model file holds the training and the followed points."""
    return {"": "points", **{name: f"follow{number}" for number, name in enumerate(follow)}}


class _MissingSchedule:
    """Stands for a schedule that was a function when its flow was saved."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _layer: int) -> Any:
        raise ValueError(f"it was a function, which the file does not hold: set flow.{self._name}")
