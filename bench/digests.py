"""Are the results of two versions of kflow the same, bit for bit?

    $ python bench/digests.py --write old.json      # with one version
    $ python bench/digests.py --compare old.json    # with the other, on the same machine

Computes small results of everything that kflow offers, by its public functions only, and reports
the SHA-256 digests of their dtypes, shapes and bytes. What must be the same anyhow, such as a flow
on a cluster and in memory, is checked, too. Other machines round differently: only digests of one
SIMD level can be compared, and it takes the same NumPy, SciPy and processor to be sure.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import logging
import math
import pickle
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import numpy as np

import kflow
from kflow import analysis, kernels, losses, pde, timeseries

Named = Iterator[tuple[str, Any]]

DTYPES = ("float32", "float64")
PACKAGES = ("numpy", "scipy", "scikit-learn")

RADIAL = {
    "gaussian": kernels.Gaussian(2.3),
    "laplacian": kernels.Laplacian(2.1),
    "matern32": kernels.Matern32(2.7),
    "matern52": kernels.Matern52(3.1),
    "rational-quadratic": kernels.RationalQuadratic(2.2, alpha=0.7),
    "inverse-multiquadric": kernels.InverseMultiquadric(2.4),
    "cauchy": kernels.Cauchy(2.6),
    "wendland": kernels.Wendland(9.0, dimension=8),
}
LENGTHS = (1.5, 2.5, 3.0, 2.0, 4.0)
OTHER = {
    "anisotropic": kernels.Matern52(LENGTHS),
    "periodic": kernels.Periodic(1.2, 5.0),
    "periodic-anisotropic": kernels.Periodic(LENGTHS, 6.0),
    "linear": kernels.Linear(1.7),
    "linear-anisotropic": kernels.Linear(LENGTHS),
    "polynomial": kernels.Polynomial(2.0, offset=0.8, degree=3),
    "constant": kernels.Constant(0.6),
    "sum": 1.3 * kernels.Gaussian(2.0) + 0.4 * kernels.Linear(1.5) + kernels.Constant(0.2),
    "product": kernels.Periodic(1.1, 7.0) * kernels.Laplacian(3.0),
    "nested": 0.5
    * (kernels.Matern32(LENGTHS) + 0.3 * kernels.Polynomial(3.0, degree=2))
    * (kernels.RationalQuadratic(4.0) + 0.1),
}

# ---- digests ----------------------------------------------------------------------------------


def digest(value: Any) -> str:
    """SHA-256 of arrays, numbers, texts, and of lists and mappings of them."""
    state = hashlib.sha256()
    _update(state, value)
    return state.hexdigest()


def _update(state: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        state.update(f"mapping {len(value)};".encode())
        for key in sorted(value, key=str):
            _update(state, str(key))
            _update(state, value[key])
    elif isinstance(value, (list, tuple)):
        state.update(f"list {len(value)};".encode())
        for item in value:
            _update(state, item)
    elif value is None or isinstance(value, (str, bool, int)):
        state.update(f"{type(value).__name__} {value!r};".encode())
    elif isinstance(value, float):
        state.update(f"float {float(value).hex()};".encode())
    else:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f"no digest of {value!r}")
        state.update(f"array {array.dtype.str} {array.shape};".encode())
        state.update(np.ascontiguousarray(array).tobytes())


CASES: dict[str, Callable[[Path], Named]] = {}


def case(function: Callable[[Path], Named]) -> Callable[[Path], Named]:
    """Add a function that is given an empty folder and yields names and results."""
    CASES[function.__name__.replace("_", "-")] = function
    return function


def computed(name: str) -> dict[str, str]:
    """Digests of a case by their full names."""
    result: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part, value in CASES[name](Path(folder)):
            full = f"{name}/{part}"
            assert full not in result, f"{full} twice"
            result[full] = digest(value)
    return result


def check_same(first: Iterable[tuple[str, Any]], second: Iterable[tuple[str, Any]]) -> None:
    """Raise AssertionError unless all parts have the same digests."""
    for (name, value), (_, other) in zip(first, second, strict=True):
        assert digest(value) == digest(other), f"not the same: {name}"


def prefixed(prefix: str, parts: Iterable[tuple[str, Any]]) -> Named:
    for name, value in parts:
        yield f"{prefix}/{name}", value


# ---- flows ------------------------------------------------------------------------------------

FLOW: dict[str, Any] = {
    "n_layers": 10,
    "batch_size": 40,
    "nugget": 0.1,
    "step": "rms",
    "step_size": 0.05,
    "random_state": 3,
}
SHRINKING: dict[str, Any] = {"rank": "auto", "shrink_every": 3, "shrink_tolerance": 0.05}


def falling_nugget(layer: int) -> float:
    return 0.1 / (1 + layer)


def constant_size(_: int) -> float:
    return 0.03


FLOWS: dict[str, dict[str, Any]] = {
    "rms": {},
    "relative": {"step": "relative", "step_size": 0.1},
    "absolute": {"step": "absolute", "step_size": 0.1},
    "fixed": {"step": "fixed", "step_size": 0.01, "n_halves": 2},
    "two-halves": {"n_halves": 2, "step": "relative"},
    "three-halves": {"n_halves": 3, "coarse_fraction": 0.3},
    "gradient-cap": {"gradient_cap": 1.5},
    "over-batch": {"step_over": "batch", "n_halves": 2},
    "relative-over-batch": {"step_over": "batch", "step": "relative"},
    "absolute-over-batch": {"step_over": "batch", "step": "absolute"},
    "schedules": {
        "nugget": {0: 0.3, 4: 0.03},
        "step": {0: "rms", 5: "relative"},
        "step_size": {0: 0.05, 3: 0.02, 8: 0.01},
        "gradient_cap": {0: math.inf, 6: 2.0},
    },
    "functions": {"nugget": falling_nugget, "step_size": constant_size},
    "rank-auto": {"rank": "auto"},
    "rank-3": {"rank": 3, "n_halves": 2},
    "rank-part": {"rank": 0.05},
    "shrinking": SHRINKING,
    "shrinking-over-batch": {**SHRINKING, "step_over": "batch", "gradient_cap": 2.0},
    "one-thread": {"n_threads": 1, "n_halves": 2},
    "odd-batch": {"batch_size": 37, "n_halves": 2},
    "no-layers": {"n_layers": 0},
}


def flow_data(n: int = 150, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of three classes, their one-hot targets, and other points."""
    rng = np.random.default_rng(7)
    labels = np.arange(n) % 3
    X = 1.5 * rng.normal(size=(3, d))[labels] + rng.normal(size=(n, d))
    X[:, -1] *= 0.01
    return X, kflow.one_hot(labels), rng.normal(size=(23, d))


def history(flow: kflow.KernelFlow) -> dict[str, np.ndarray]:
    return {name: values for name, values in flow.history_.items() if name != "seconds"}


def state_of(flow: kflow.KernelFlow) -> Named:
    """Where the points of a flow are, and how they came there."""
    yield (
        "points",
        {
            "points": flow.points_,
            "reduced": flow.reduced_points_,
            "follow": flow.follow_,
            "reduced_follow": flow.reduced_follow_,
            "iterated": np.concatenate([points for _, points in flow.iterate_points()]),
        },
    )
    yield "history", history(flow)
    yield (
        "facts",
        {
            "n_layers": flow.n_layers_,
            "rank": flow.rank_,
            "energy_dropped": flow.energy_dropped_,
            "kernel": flow.kernel_.to_dict(),
            "targets": flow.targets_,
            "n_features": flow.n_features_in_,
        },
    )


def map_of(flow: kflow.KernelFlow, T: np.ndarray) -> Named:
    """Where a flow takes other points."""
    some = [0, flow.n_layers_ // 3, flow.n_layers_ // 2, flow.n_layers_]
    yield (
        "replay",
        [
            flow.transform(T),
            flow.transform(T, reduced=True),
            flow.transform(T, n_layers=some[2]),
            list(flow.trajectory(T, some)),
            list(flow.trajectory(T, some, reduced=True)),
        ],
    )
    derivatives = []
    for n_layers in (None, some[2]):
        near = flow.linearize(T, n_layers=n_layers)
        rng = np.random.default_rng(1)
        forward = near.push_forward(rng.normal(size=T.shape))
        back = near.pull_back(rng.normal(size=near.points.shape))
        derivatives += [near.points, forward, back]
    yield "derivative", derivatives


def all_of(flow: kflow.KernelFlow, T: np.ndarray) -> Named:
    yield from state_of(flow)
    yield from map_of(flow, T)


def fitted(follow: bool = True, **options: Any) -> kflow.KernelFlow:
    X, Y, T = flow_data()
    names = {"test": T, "more": T[:2] + 0.1} if follow else None
    return kflow.KernelFlow(**{**FLOW, **options}).fit(X, Y, names)


@case
def flow(folder: Path) -> Named:
    """Flows in memory, saved and loaded, and run on."""
    T = flow_data()[2]
    for dtype in DTYPES:
        for name, options in FLOWS.items():
            flow = fitted(dtype=dtype, **options)
            before = list(all_of(flow, T))
            yield from prefixed(f"{name}/{dtype}", before)
            flow.save(folder / "flow.kflow")
            loaded = kflow.load(folder / "flow.kflow")
            check_same(all_of(loaded, T), before)
            if name == "functions":  # which no file can hold
                loaded.nugget, loaded.step_size = flow.nugget, flow.step_size
            again, copied = pickle.loads(pickle.dumps(loaded)), copy.copy(flow)
            after = list(all_of(flow.run(4), T))
            yield from prefixed(f"{name}/{dtype}/4-more", after)
            for other in (loaded, again, copied):
                check_same(all_of(other.run(4), T), after)


@case
def flow_kernels(_: Path) -> Named:
    """Flows with each kernel that they take."""
    T = flow_data()[2]
    for dtype in DTYPES:
        for name, kernel in RADIAL.items():
            for kind, options in {"plain": {}, "shrinking": SHRINKING}.items():
                flow = fitted(kernel=kernel, dtype=dtype, **options)
                yield f"{name}/{kind}/{dtype}", list(all_of(flow, T))


@case
def flow_shapes(_: Path) -> Named:
    """Flows of other numbers of points, dimensions and targets."""
    shapes = [(40, 1, 40, 1), (61, 2, 13, 2), (130, 19, 64, 7), (90, 70, 33, 3), (700, 3, 250, 1)]
    for n, d, batch_size, m in shapes:
        rng = np.random.default_rng(n)
        X, Y, T = rng.normal(size=(n, d)), rng.normal(size=(n, m)), rng.normal(size=(11, d))
        for dtype in DTYPES:
            options = {**FLOW, "batch_size": batch_size, "n_layers": 5, "dtype": dtype}
            flow = kflow.KernelFlow(**options).fit(X, Y)
            yield f"{n}x{d}-batch-{batch_size}-targets-{m}/{dtype}", list(all_of(flow, T))
    X = np.asfortranarray(rng.normal(size=(80, 4)).astype(np.float32))
    flow = kflow.KernelFlow(**FLOW).fit(X, np.arange(80) % 2)
    yield "fortran-order", list(all_of(flow, X[:5]))


@case
def flow_random_states(_: Path) -> Named:
    """What a flow draws from the sources of randomness that it takes."""
    rng = np.random.default_rng(5)
    yield "generator", [*state_of(fitted(random_state=rng)), int(rng.integers(2**60))]
    yield "seed-sequence", list(state_of(fitted(random_state=np.random.SeedSequence(6))))


@case
def flow_layers(folder: Path) -> Named:
    """Flows that keep no layers, or fewer digits of them in a file."""
    T = flow_data()[2]
    yield "none", list(state_of(fitted(layers="none", **SHRINKING)))
    for dtype in DTYPES:
        flow = fitted(dtype=dtype, **SHRINKING)
        for digits in ("float16", "float32"):
            flow.save(folder / "flow.kflow", layers_dtype=digits)
            yield f"{digits}/of-{dtype}", list(all_of(kflow.load(folder / "flow.kflow"), T))


@case
def flow_failures(_: Path) -> Named:
    """Where flows stay that cannot go on."""
    X, Y, T = flow_data()
    for name, error, nugget, size in (
        ("singular", kflow.SingularKernelError, {0: 0.1, 4: 0.0}, 0.05),
        ("diverged", kflow.DivergenceError, 0.1, {0: 0.05, 6: 1e30}),
    ):
        options = {**FLOW, "nugget": nugget, "step_size": size, "step": "fixed", "batch_size": 150}
        flow = kflow.KernelFlow(**options)
        try:
            flow.fit(np.concatenate([X[:-1], X[:1]]), Y)
        except error:
            yield name, list(all_of(flow, T))
        else:
            raise AssertionError(f"the flow that should be {name} is not")


# ---- flows with a checkpoint ------------------------------------------------------------------

CHECKPOINTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "over-batch": {"step_over": "batch", "n_halves": 3},
    "shrinking": SHRINKING,
    "shrinking-over-batch": {**SHRINKING, "step_over": "batch", "rank": 0.001},
}


@case
def resumed(folder: Path) -> Named:
    """Flows that were resumed are those that were not."""
    X, Y, T = flow_data()
    follow = {"test": T}
    for dtype in DTYPES:
        for name, options in CHECKPOINTED.items():
            place = folder / f"{name}-{dtype}"
            settings = {**FLOW, "dtype": dtype, **options}
            at_once = kflow.KernelFlow(**{**settings, "n_layers": 12}).fit(X, Y, follow)
            expected = list(all_of(at_once, T))
            for n_layers in (6, 12, 12):
                settings.update(n_layers=n_layers, checkpoint=place, every=4)
                flow = kflow.KernelFlow(**settings).fit(X, Y, follow, resume=True)
                if n_layers == 6:
                    yield f"{name}/{dtype}/6-layers", list(all_of(flow, T))
                else:
                    check_same(all_of(flow, T), expected)
            yield from prefixed(f"{name}/{dtype}/12-layers", expected)


class Killed(Exception):
    """Ends a fit as if the process had died."""


def killed_after(n_layers: int) -> Callable[[kflow.KernelFlow], None]:
    def callback(flow: kflow.KernelFlow) -> None:
        if flow.n_layers_ == n_layers:
            raise Killed

    return callback


@case
def ended(folder: Path) -> Named:
    """Flows that callbacks ended, and callbacks that remember."""
    from kflow.evaluation import ErrorCurve, ErrorWindow
    from kflow.stopping import CollapseStopping, hold_out

    X, _, T = flow_data(240)
    labels = np.arange(240) % 3
    kept, held = hold_out(labels, 0.2, np.random.default_rng(0))
    yield "hold-out", [kept, held]
    Y, follow = kflow.one_hot(labels[kept]), {"validation": X[held], "test": X[held]}

    def callbacks() -> list[Any]:
        options: dict[str, Any] = {"nugget": 0.1, "rng": np.random.default_rng(1)}
        stopping = CollapseStopping(
            labels[kept], labels[held], every=2, tolerance=0.1, n_interpolation=30, **options
        )
        curve = ErrorCurve(
            labels[kept], labels[held], every=3, n_interpolation=[30, 3], n_draws=2, **options
        )
        window = ErrorWindow(
            labels[kept], labels[held], first=2, last=4, n_interpolation=[20], **options
        )
        return [stopping, curve, window]

    def fit(place: Path | None, *more: Any, **options: Any) -> tuple[kflow.KernelFlow, Any]:
        states = callbacks()
        settings = {**FLOW, "nugget": 1.0, "n_layers": 40, "every": 3, **options}
        flow = kflow.KernelFlow(**settings, checkpoint=place, callbacks=[*states, *more])
        flow.fit(X[kept], Y, follow, resume=place is not None)
        remembered = [callback.to_state() for callback in states]
        for state in remembered:
            state["generator"] = json.dumps(state["generator"], sort_keys=True, default=str)
        return flow, remembered

    for name, options in CHECKPOINTED.items():
        flow, states = fit(None, **options)
        expected = [*all_of(flow, T), ("callbacks", states)]
        yield from prefixed(name, expected)
        try:
            fit(folder / name, killed_after(5), **options)
        except Killed:
            pass
        else:
            raise AssertionError("nothing ended the fit")
        for _ in range(2):  # the second one finds an ended flow
            flow, states = fit(folder / name, **options)
            check_same([*all_of(flow, T), ("callbacks", states)], expected)
    place = folder / "function"
    ends = [lambda flow: flow.n_layers_ == 5]
    for n_layers in (8, 12):
        flow = kflow.KernelFlow(
            **{**FLOW, "n_layers": n_layers}, checkpoint=place, every=2, callbacks=ends
        )
        flow.fit(X[kept], Y, resume=True)
        assert flow.n_layers_ == 5
    yield "function", list(all_of(flow, T))
    yield "function/run", list(all_of(flow.run(3), T))


# Bytes with which the points below are in several files.
BUDGET = 1.25e6

STREAMED: dict[str, dict[str, Any]] = {
    "plain": {},
    "relative": {"step": "relative", "kernel": kernels.Laplacian(2.0)},
    "shrinking": {**SHRINKING, "shrink_tolerance": 0.3},
    "rank-3": {"rank": 3, "n_halves": 3, "gradient_cap": 1.5},
    "every-1": {"every": 1, "n_layers": 4, "nugget": {0: 0.1, 2: 1.0}},
}


def many_data(dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 5)).astype(dtype)
    return X, np.sign(X[:, 0] * X[:, 1])


def streaming(**options: Any) -> dict[str, Any]:
    return {**FLOW, "batch_size": 30, "step_over": "batch", "every": 4, **options}


@case
def on_disk(folder: Path) -> Named:
    """Flows whose points are on the disk are those in memory."""
    for dtype in DTYPES:
        X, Y = many_data(dtype)
        T = X[:17] + np.asarray(0.1, dtype)
        for name, options in STREAMED.items():
            settings = streaming(dtype=dtype, **options)
            memory = kflow.KernelFlow(**settings).fit(X, Y, {"test": T})
            expected = list(all_of(memory, T))
            yield from prefixed(f"{name}/{dtype}", expected)
            settings.update(checkpoint=folder / f"{name}-{dtype}", memory_budget=BUDGET)
            n_layers = settings["n_layers"]
            for count in (n_layers // 2, n_layers):
                settings["n_layers"] = count
                flow = kflow.KernelFlow(**settings).fit(X, Y, {"test": T}, resume=True)
            check_same(all_of(flow, T), expected)
            check_same(all_of(flow.run(3), T), all_of(memory.run(3), T))


class Sliced:
    """An array of which only slices of rows can be had, as of a file."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._array[rows]


@case
def sources(folder: Path) -> Named:
    """Flows of points that are read from files, or come in chunks, are those of arrays."""
    X, Y = many_data("float32")
    np.save(folder / "X.npy", X)
    ends = [0, 1, 700, 701, 3500, 6000]
    pairs = list(pairwise(ends))
    given = {
        "memory-map": (np.load(folder / "X.npy", mmap_mode="r"), Y),
        "sliced": (Sliced(X.astype(np.float64)), Sliced(Y)),
        "chunks": ([(X[start:end], Y[start:end]) for start, end in pairs], None),
    }
    settings = streaming(**SHRINKING)
    expected = list(all_of(kflow.KernelFlow(**settings).fit(X, Y), X[:9]))
    yield from prefixed("flow", expected)
    for name, (points, targets) in given.items():
        settings.update(checkpoint=folder / name, memory_budget=BUDGET)
        for n_layers in (7, FLOW["n_layers"]):
            settings["n_layers"] = n_layers
            flow = kflow.KernelFlow(**settings).fit(points, targets, resume=True)
        check_same(all_of(flow, X[:9]), expected)
        flow.save(folder / "flow.kflow")
        check_same(map_of(kflow.load(folder / "flow.kflow"), X[:9]), map_of(flow, X[:9]))


@case
def cluster(folder: Path) -> Named:
    """Flows whose points are on a cluster are those in memory."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            local_directory=str(folder / "dask"),
        ) as workers,
        Client(workers, set_as_default=False) as client,
    ):
        client.wait_for_workers(2, timeout=30)
        for name, options in STREAMED.items():
            dtype = "float64" if name == "rank-3" else "float32"
            X, Y = many_data(dtype)
            T = X[:17] + np.asarray(0.1, dtype)
            settings = streaming(dtype=dtype, **options)
            expected = list(all_of(kflow.KernelFlow(**settings).fit(X, Y, {"test": T}), T))
            flow = kflow.KernelFlow(**settings).fit(X, Y, {"test": T}, client=client)
            parts = list(all_of(flow, T))
            check_same(parts, expected)
            yield from prefixed(name, parts)
        place = folder / "flow"
        for n_layers, where in ((4, client), (7, None), (10, client)):
            settings = streaming(n_layers=n_layers, checkpoint=place, **SHRINKING)
            if where is None:
                settings["memory_budget"] = BUDGET
            flow = kflow.KernelFlow(**settings).fit(X, Y, resume=True, client=where)
        parts = list(all_of(flow, T))
        check_same(all_of(kflow.KernelFlow(**streaming(**SHRINKING)).fit(X, Y), T), parts)
        yield from prefixed("resumed-here-and-there", parts)


# ---- estimators -------------------------------------------------------------------------------


def class_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of three classes that overlap, their labels, and other points."""
    rng = np.random.default_rng(11)
    codes = rng.integers(3, size=180)
    X = rng.normal(size=(180, 6)) + 1.2 * rng.normal(size=(3, 6))[codes]
    return X * [1.0, 10.0, 0.1, 1.0, 1.0, 3.0], codes, X[:40] + 0.3


def value_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, two columns of values, and other points."""
    rng = np.random.default_rng(12)
    X = rng.uniform(size=(160, 5))
    y = np.sin(6 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.05 * rng.normal(size=160)
    return X, np.column_stack([y, X[:, 3] - y**2]), rng.uniform(size=(30, 5))


# With these nothing is chosen: the defaults of versions that had no "auto" do not depend on it.
GIVEN: dict[str, Any] = {
    "kernel": None,
    "n_layers": 100,
    "batch_size": 100,
    "nugget": 3.0,
    "step_size": 0.01,
    "gradient_cap": float("inf"),
    "interpolation_nugget": 1.0,
    "dtype": "float32",
}
# Parameters that versions without "auto" do not have.
LATER = {"metric", "class_weight"}
if "metric" in inspect.signature(kflow.KernelFlowClassifier).parameters:
    GIVEN["metric"] = None

ESTIMATORS: dict[str, dict[str, Any]] = {
    "defaults": {"n_layers": 20},
    "unit": {"scaling": "unit", "rank": "auto", "n_interpolation": 30},
    "unscaled": {"scaling": None, "step": "relative", "nugget": {0: 1.0, 6: 0.1}},
    "shrinking": {**SHRINKING, "step_over": "batch"},
    "laplacian": {"kernel": kernels.Laplacian(3.0), "n_halves": 3, "gradient_cap": 2.0},
    "no-layers": {"n_layers": 0},
}


def estimator_of(model: Any, T: np.ndarray, *, is_loaded: bool = False) -> Named:
    yield "predict", model.predict(T)
    yield "transform", model.transform(T)
    if hasattr(model, "predict_proba"):
        yield "predict_proba", model.predict_proba(T)
        yield "classes", model.classes_
    yield (
        "model",
        {
            "rows": model.interpolation_rows_,
            "centres": model.interpolant_.centres,
            "coefficients": model.interpolant_.coefficients,
            "energy_dropped": model.energy_dropped_,
            "names": [str(name) for name in model.get_feature_names_out()],
        },
    )
    yield from prefixed("flow", state_of(model.flow_))
    if not is_loaded:
        parameters = sorted(model.get_params().items())
        yield "settings", {name: str(value) for name, value in parameters if name not in LATER}


def estimators(
    kind: Callable[..., Any], X: np.ndarray, y: np.ndarray, T: np.ndarray, folder: Path
) -> Named:
    for dtype in DTYPES:
        for name, options in ESTIMATORS.items():
            settings = {**GIVEN, "n_layers": 8, "batch_size": 60, "random_state": 2, **options}
            settings["dtype"] = dtype
            model = kind(**settings).fit(X, y, {"test": T})
            yield from prefixed(f"{name}/{dtype}", estimator_of(model, T))
            model.save(folder / "model.kflow")
            parts = list(estimator_of(kflow.load(folder / "model.kflow"), T, is_loaded=True))
            check_same(parts, estimator_of(model, T, is_loaded=True))
            again = pickle.loads(pickle.dumps(model))
            check_same(parts, estimator_of(again, T, is_loaded=True))
    settings.update(n_layers=9, every=2, dtype="float32", **SHRINKING)
    expected = list(estimator_of(kind(**settings).fit(X, y), T, is_loaded=True))
    yield from prefixed("resumed", expected)
    for n_layers in (5, 9):
        settings.update(n_layers=n_layers, checkpoint=folder / "flow")
        model = kind(**settings).fit(X, y, resume=True)
    check_same(estimator_of(model, T, is_loaded=True), expected)


@case
def classifier(folder: Path) -> Named:
    X, y, T = class_data()
    yield from estimators(kflow.KernelFlowClassifier, X, y, T, folder)
    words = np.array(["one", "two", "three"])[y]
    model = kflow.KernelFlowClassifier(
        **{**GIVEN, "n_layers": 5, "batch_size": 50}, random_state=1
    ).fit(X, words)
    yield from prefixed("words", estimator_of(model, T))
    model.save(folder / "words.kflow")
    yield "words/loaded", kflow.load(folder / "words.kflow").predict(T)
    random = np.random.RandomState(4)
    model = kflow.KernelFlowClassifier(**{**GIVEN, "n_layers": 5}, random_state=random).fit(
        X.astype("f4"), y
    )
    yield from prefixed("random-state", estimator_of(model, T))


@case
def early_stopping(folder: Path) -> Named:
    X, y, T = class_data()
    X = X + 2.0 * np.eye(6)[y]
    for name, options in {
        "plain": {},
        "shrinking": SHRINKING,
        "scaled": {"scaling": "unit"},
    }.items():
        settings = {**GIVEN, "random_state": 3, "early_stopping": True, **options}
        model = kflow.KernelFlowClassifier(**settings, validation_fraction=0.2).fit(X, y)
        stopping = model.stopping_
        yield f"{name}/stopping", [stopping.layers, stopping.errors, stopping.stopped_at]
        yield from prefixed(name, estimator_of(model, T))
        model.save(folder / "model.kflow")
        loaded = kflow.load(folder / "model.kflow")
        check_same(estimator_of(loaded, T, is_loaded=True), estimator_of(model, T, is_loaded=True))


@case
def regressor(folder: Path) -> Named:
    X, Y, T = value_data()
    yield from estimators(kflow.KernelFlowRegressor, X, Y[:, 0], T, folder)
    model = kflow.KernelFlowRegressor(
        **{**GIVEN, "n_layers": 6}, random_state=1, n_interpolation=70
    ).fit(X, Y)
    yield from prefixed("two-columns", estimator_of(model, T))
    model.save(folder / "two.kflow")
    yield "two-columns/loaded", kflow.load(folder / "two.kflow").predict(T)


GAUSSIAN_PROCESSES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "nlml": {"learn": "nlml", "n_steps": 20},
    "rho": {"learn": "rho", "n_steps": 20, "batch_size": 80, "batches": "neighbours"},
    "kfold-adam": {"learn": "kfold", "optimizer": "adam", "n_steps": 30, "batch_size": 70},
    "loo-restarts": {"learn": "loo", "n_restarts": 1, "n_steps": 15, "scaling": "unit"},
    "as-it-is": {
        "learn": None,
        "kernel": kernels.Matern32(2.0) + kernels.Linear(),
        "scaling": None,
    },
    "cg": {"solver": "cg", "learn": None, "kernel": kernels.Gaussian(2.0), "subset_size": 60},
    "cg-learned": {"solver": "cg", "n_steps": 20, "max_memory": 1e5},
    "subset": {"solver": "subset", "subset_size": 70, "n_steps": 20},
}


def process_of(model: kflow.GPRegressor, T: np.ndarray) -> Named:
    yield "predict", [model.predict(T), *model.predict(T, return_std=True)]
    yield (
        "model",
        {
            "kernel": model.kernel_.to_dict(),
            "nugget": model.nugget_,
            "scale": model.scale_,
            "solver": model.solver_,
            "n_iterations": model.n_iterations_,
            "points": model.X_train_,
            "coefficients": model.coefficients_,
        },
    )


@case
def gaussian_process(folder: Path) -> Named:
    X, Y, T = value_data()
    for name, options in GAUSSIAN_PROCESSES.items():
        for columns, y in {"one": Y[:, 0], "two": Y}.items():
            model = kflow.GPRegressor(random_state=5, **options).fit(X, y)
            parts = list(process_of(model, T))
            yield from prefixed(f"{name}/{columns}", parts)
            model.save(folder / "model.kflow")
            check_same(process_of(kflow.load(folder / "model.kflow"), T), parts)
            check_same(process_of(pickle.loads(pickle.dumps(model)), T), parts)
        if model.learned_ is not None:
            yield f"{name}/learned", learned_of(model.learned_)


# ---- learned kernels --------------------------------------------------------------------------


def learned_of(learned: kflow.LearnedKernel) -> dict[str, Any]:
    return {
        "theta": learned.kernel.theta,
        "nugget": learned.nugget,
        "loss": learned.loss,
        "history": learned.history,
        "best_step": learned.best_step,
        "n_steps": learned.n_steps,
        "restarts": learned.restarts,
    }


def frobenius(K: np.ndarray, Y: np.ndarray) -> tuple[float, np.ndarray]:
    """A loss of one's own: how far a kernel matrix is from that of the targets."""
    difference = K - Y @ Y.T
    return float((difference**2).sum()), 2.0 * difference


@case
def learning(_: Path) -> Named:
    X, Y, _ = value_data()
    start = 0.8 * kernels.Gaussian([1.0] * 5) + 0.1 * kernels.Linear(2.0)
    common: dict[str, Any] = {"n_steps": 15, "batch_size": 60, "random_state": 8}
    for loss in losses.LOSSES:
        learned = kflow.learn_kernel(start, X, Y, loss=loss, **common)
        yield f"loss/{loss}", learned_of(learned)
    for optimizer in ("adam", "sgd", "nesterov", "lbfgs"):
        for loss in ("rho", "e2"):
            options = {**common, "optimizer": optimizer, "loss": loss, "n_batches": 2}
            yield f"{optimizer}/{loss}", learned_of(kflow.learn_kernel(start, X, Y, **options))
    others: dict[str, dict[str, Any]] = {
        "neighbours": {"batches": "neighbours"},
        "restarts": {"n_restarts": 2, "loss": "loo"},
        "nugget-kept": {"learn_nugget": False, "nugget": 0.05},
        "own-loss": {"loss": frobenius},
        "folds": {"loss": "kfold", "n_folds": 4},
        "halves": {"n_halves": 3, "learning_rate": 0.1},
        "all-rows": {"batch_size": None, "n_steps": 5},
        "one-thread": {"n_threads": 1},
        "callback": {"callbacks": [lambda state: state.step == 6]},
    }
    for name, options in others.items():
        learned = kflow.learn_kernel(start, X, Y[:, 0], **{**common, **options})
        yield f"with/{name}", learned_of(learned)
    for name, kernel in {**RADIAL, **OTHER}.items():
        for loss in ("rho", "nlml"):
            options = {**common, "n_steps": 6, "loss": loss, "nugget": 0.1}
            yield f"kernel/{name}/{loss}", learned_of(kflow.learn_kernel(kernel, X, Y, **options))
    own = kernels.FunctionKernel(
        brownian, {"power": 1.0, "shift": [0.5, 0.2]}, bounds={"power": (0.5, 1.5)}
    )
    learned = kflow.learn_kernel(own + kernels.Gaussian(1.0), X[:, :2], Y, **common)
    yield "kernel/function", learned_of(learned)


def brownian(X: np.ndarray, Z: np.ndarray, power: float, shift: np.ndarray) -> np.ndarray:
    """A kernel of one's own: a product of Brownian motions on (0, infinity)."""
    a, b = X[:, None] + shift, Z[None] + shift
    return np.prod(np.minimum(a, b), axis=2) ** power


@case
def optimizers(_: Path) -> Named:
    from kflow.optimizers import RULES, cosine_decay

    rng = np.random.default_rng(2)
    gradients = rng.normal(size=(8, 4))
    for name, rule in RULES.items():
        follow = rule()
        yield name, [follow(gradient) for gradient in gradients]
    yield "cosine-decay", [cosine_decay(step, 10) for step in range(10)]


# ---- kernels, losses, operations --------------------------------------------------------------


@case
def kernel(_: Path) -> Named:
    rng = np.random.default_rng(4)
    for dtype in DTYPES:
        X, Z = (rng.normal(size=(n, 5)).astype(dtype) for n in (71, 45))
        C = rng.normal(size=(45, 3)).astype(dtype)
        G = rng.normal(size=(71, 71))
        for name, kernel in {**RADIAL, **OTHER}.items():
            yield (
                f"{name}/{dtype}/values",
                [
                    kflow.gram(X, kernel=kernel),
                    kernel(X, Z),
                    kernel.diag(X),
                    kernel.apply(X, Z, C),
                    kernel.apply(X, Z, C, n_threads=1),
                ],
            )
            yield f"{name}/{dtype}/derivatives", kernel.contract(X, G + G.T, points=True)
            yield f"{name}/{dtype}/derivatives-of-parameters", kernel.contract(X, G)
    rng = np.random.default_rng(9)
    for d in (1, 2, 3, 8, 17, 64, 130):
        X, Z = (rng.normal(size=(n, d)) / np.sqrt(d) for n in (33, 19))
        values = []
        for dtype in DTYPES:
            for kernel in (kernels.Gaussian(1.1), kernels.Matern52(0.9), kernels.Linear(1.2)):
                values += [kernel(X.astype(dtype), Z.astype(dtype)), kernel(X.astype(dtype))]
        yield f"dimensions/{d}", values


@case
def kernel_descriptions(_: Path) -> Named:
    for name, kernel in {**RADIAL, **OTHER}.items():
        same = kernels.from_dict(json.loads(json.dumps(kernel.to_dict())))
        assert same == kernel
        moved = kernel.clone_with_theta(kernel.theta + 0.25)
        yield (
            name,
            {
                "text": repr(kernel),
                "data": json.dumps(kernel.to_dict(), sort_keys=True),
                "theta": kernel.theta,
                "bounds": kernel.bounds,
                "names": kernel.parameter_names,
                "parameters": {key: repr(value) for key, value in kernel.get_params().items()},
                "moved": [repr(moved), moved.theta],
                "curvature": getattr(kernel, "curvature", None) if name in RADIAL else None,
            },
        )


@case
def kernel_function(_: Path) -> Named:
    rng = np.random.default_rng(5)
    X, Z, C = rng.uniform(size=(30, 2)), rng.uniform(size=(20, 2)), rng.normal(size=(20, 2))
    G = rng.normal(size=(30, 30))
    own = kernels.FunctionKernel(brownian, {"power": 0.9, "shift": [0.5, 0.2]})
    for name, kernel in {"alone": own, "sum": 0.5 * own + kernels.Gaussian([1.0, 2.0])}.items():
        yield name, [kernel(X, Z), kernel.diag(X), kernel.apply(X, Z, C), repr(kernel)]
        yield f"{name}/derivatives", kernel.contract(X, G, points=True)


@case
def loss(_: Path) -> Named:
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(80, 3)), rng.normal(size=(80, 2))
    halves = np.array([rng.permutation(80)[:40] for _ in range(3)])
    folds = rng.permutation(80) % 5
    outside = [np.setdiff1d(np.arange(80), half) for half in halves]
    pairs = np.stack([np.column_stack([rows[:20], rows[20:]]) for rows in outside])
    more = {"rho": [halves], "e2": [halves], "kfold": [folds], "mmd": [halves]}
    more.update(loo=[], nlml=[], lyapunov=[halves, pairs])
    for name, kernel in {
        "gaussian": kernels.Gaussian(1.5),
        "laplacian": kernels.Laplacian(1.0),
    }.items():
        K = kernel(X) + 0.05 * np.eye(80)
        for key, arguments in more.items():
            function = getattr(losses, key)
            yield f"{key}/{name}", function(K, Y, *arguments)
            yield f"{key}/{name}/value", function(K, Y, *arguments, gradient=False)[0]
        yield f"leave-one-out/{name}", losses.leave_one_out(K, Y[:, 0])


@case
def operations(_: Path) -> Named:
    rng = np.random.default_rng(3)
    for dtype in DTYPES:
        X, Z, C = (rng.normal(size=shape).astype(dtype) for shape in ((90, 4), (37, 4), (37, 4)))
        Y = rng.normal(size=(90, 2))
        coarse = np.arange(0, 90, 2)
        for name, kernel in RADIAL.items():
            interpolant = kflow.Interpolant(X, Y, kernel=kernel, nugget=0.01)
            A = rng.normal(size=(37, 2))
            yield (
                f"{name}/{dtype}",
                {
                    "rho": kflow.rho(X, Y, coarse, kernel=kernel, nugget=0.1),
                    "gradient": kflow.rho_gradient(X, Y, coarse, kernel=kernel, nugget=0.1),
                    "move": kflow.move(X, Z, C, kernel=kernel, step=0.3),
                    "interpolant": interpolant(Z),
                    "pull_back": interpolant.pull_back(Z, A),
                    "coefficients": interpolant.coefficients,
                },
            )
        nested = OTHER["sum"]
        interpolant = kflow.Interpolant(X, Y, kernel=nested, nugget=0.01)
        gradient = kflow.rho_gradient(X, Y, coarse, kernel=nested, nugget=0.1)
        yield f"composite/{dtype}", [interpolant(Z), gradient]
        out = X.copy()
        kflow.move(out, Z, C, kernel=RADIAL["gaussian"], out=out, n_threads=1)
        yield f"in-place/{dtype}", out
    yield "one-hot", [kflow.one_hot(["b", "a", "c", "a"]), kflow.one_hot([3, 1, 3], "float32")]


# ---- time series, equations -------------------------------------------------------------------


@case
def systems(_: Path) -> Named:
    logistic, henon = timeseries.logistic_map(120), timeseries.henon_map(150, random_state=2)
    lorenz = timeseries.lorenz63(160, random_state=1)
    yield "series", [logistic, henon, lorenz]
    yield "embedding", timeseries.delay_embedding(henon, 3, horizon=2)
    times = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, size=150))
    several, clocks = [henon, henon[:20]], [times, times[:20]]
    yield "embedding/times", timeseries.delay_embedding(several, 2, times=clocks)
    for measure in ("hausdorff", "energy"):
        distance = timeseries.attractor_distance(henon, henon[20:90] + 0.01, measure=measure)
        yield f"distance/{measure}", distance
    valid = timeseries.valid_prediction_time(lorenz, lorenz * np.linspace(1, 3, 160)[:, None])
    yield "valid-prediction-time", valid
    exponent = timeseries.lyapunov_exponent(
        lambda x: np.array([1.0 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]]), [0.1, 0.1], 300
    )
    yield "lyapunov", exponent


FORECASTERS: dict[str, dict[str, Any]] = {
    "defaults": {"learn_options": {"n_steps": 10}},
    "as-it-is": {"learn": None, "delay": 2, "scaling": None, "nugget": 1e-6},
    "rho": {"learn": "rho", "learn_options": {"n_steps": 8, "learn_nugget": True}, "delay": 2},
    "increments": {"learn": "lyapunov", "learn_options": {"n_steps": 5}, "increments": True},
    "few-rows": {
        "learn": "loo",
        "learn_options": {"n_steps": 10, "optimizer": "adam"},
        "n_interpolation": 60,
        "kernel": kernels.Matern52(1.0) + kernels.Linear(),
        "nugget": 1e-4,
    },
}


@case
def forecaster(_: Path) -> Named:
    henon, logistic = timeseries.henon_map(180), timeseries.logistic_map(150)
    for name, options in FORECASTERS.items():
        model = timeseries.Forecaster(random_state=0, **options).fit(henon[:140])
        window = henon[3 : 3 + options.get("delay", 1)]
        yield (
            name,
            {
                "predict": model.predict(8),
                "from": model.predict(5, history=[henon[20:30], henon[50:60]]),
                "one_step": model.one_step(henon[140:]),
                "theta": model.kernel_.theta,
                "nugget": model.nugget_,
                "learned": None if model.learned_ is None else learned_of(model.learned_),
                "lyapunov": timeseries.lyapunov_exponent(model, window, 40, n_transient=10),
            },
        )
    model = timeseries.Forecaster(learn=None).fit(logistic[:100])
    yield "flat", [model.predict(4), *model.one_step(logistic[90:])]
    times = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.06, size=150))
    series = timeseries.lorenz63(times=times)
    model = timeseries.Forecaster(delay=2, learn=None, increments=True, nugget=1e-6)
    model.fit(series[:120], times[:120])
    yield (
        "times",
        [model.predict(10, times=times[120:130]), *model.one_step(series[100:], times[100:])],
    )
    model.fit([series[:60], series[70:130]])
    yield "several", [model.predict(5), model.predict(3, history=[series[:9], series[9:20]])]


@case
def sparse(_: Path) -> Named:
    henon = timeseries.henon_map(150)
    X, Y = timeseries.delay_embedding(henon, 1)
    candidates = timeseries.dictionary(1.5)
    yield "dictionary", [repr(kernel) for kernel in candidates]
    for name, options in {
        "rho": {},
        "loo": {"loss": "loo", "learn": False},
        "kfold": {"loss": "kfold", "n_rounds": 1},
        "nlml": {"loss": "nlml", "penalty": 0.1, "learn": False},
    }.items():
        learned = timeseries.learn_sparse_kernel(
            candidates,
            X,
            Y,
            batch_size=50,
            n_batches=2,
            max_steps=20,
            learn_options={"n_steps": 5} if options.get("learn", True) else None,
            random_state=0,
            **options,
        )
        yield (
            name,
            {
                "kernel": repr(learned.kernel),
                "theta": learned.kernel.theta,
                "weights": learned.weights,
                "survivors": list(learned.survivors),
                "nugget": learned.nugget,
                "loss": learned.loss,
                "history": learned.history,
            },
        )
        if name == "rho":
            model = timeseries.Forecaster(learned.kernel, nugget=1e-6, learn=None).fit(henon)
            yield "forecast", model.predict(6)


@case
def equation(_: Path) -> Named:
    x, u, a = pde.example_problem(40, random_state=0)
    several = pde.example_problem(40, n_solutions=3, noise=0.01, random_state=1)
    grid = np.linspace(0.0, 1.0, 21)
    yield "problem", [x, u, a(grid), several[0], several[1]]
    for name, (points, values), options in (
        ("adam", (x, u), {}),
        ("lbfgs", several[:2], {"optimizer": "lbfgs", "n_modes": 6}),
        ("no-nugget", (x, u), {"nugget": 0.0, "learn_nugget": False, "n_halves": 2}),
    ):
        learned = pde.learn_conductivity(
            points, values, n_steps=15, truth=a, random_state=0, **options
        )
        errors = pde.half_errors(learned.kernel, points, values, nugget=1e-3, n_halves=4)
        yield (
            name,
            {
                "conductivity": learned.conductivity(grid),
                "history": learned.history,
                "errors": learned.errors,
                "rho": learned.rho,
                "nugget": learned.nugget,
                "half_errors": errors,
            },
        )
    kernel = pde.true_greens_kernel(a, 16)
    G = np.random.default_rng(0).normal(size=(40, 40))
    points = x[:, None]
    yield "kernel", [kernel(points), kernel.diag(points), kernel.contract(points, G, points=True)]


# ---- what looks at flows ----------------------------------------------------------------------


def compression_of(small: kflow.Compression) -> dict[str, Any]:
    sizes = {
        f"{when}-{name}": getattr(getattr(small, when), name)
        for when in ("before", "after")
        for name in ("n_layers", "n_centres", "rank", "n_bytes", "flops")
    }
    names = ("reached", "position_error", "largest_error", "prediction_change")
    return {**sizes, **{name: getattr(small, name) for name in names}}


@case
def compression(folder: Path) -> Named:
    X, y, T = class_data()
    settings: dict[str, Any] = {"n_layers": 24, "batch_size": 60, "random_state": 0}
    given = {**GIVEN, **settings}
    models = {
        "classifier": kflow.KernelFlowClassifier(**given).fit(X, y),
        "shrinking": kflow.KernelFlowClassifier(**given, **SHRINKING).fit(X, y),
        "regressor": kflow.KernelFlowRegressor(**{**given, "dtype": "float64"}).fit(X, y),
        "flow": kflow.KernelFlow(**{**FLOW, **settings}).fit(X, y),
    }
    for name, model in models.items():
        for kind, options in {"": {}, "/few": {"n_centres": 30, "n_layers": 2, "rank": 3}}.items():
            small = kflow.compress(model, X, tolerance=0.05, random_state=0, **options)
            yield f"{name}{kind}/errors", compression_of(small)
            results = [small.estimator.transform(T)]
            if name != "flow":
                results += [small.estimator.predict(T), model.predict(T)]
            yield f"{name}{kind}/results", results
            small.estimator.save(folder / "small.kflow")
            loaded = kflow.load(folder / "small.kflow")
            check_same([("loaded", loaded.transform(T))], [("small", results[0])])
            twice = kflow.compress(loaded, X, n_layers=1, random_state=1)
            yield f"{name}{kind}/twice", [compression_of(twice), twice.estimator.transform(T)]


def fields(result: Any, *leave_out: str) -> dict[str, Any]:
    """The arrays of a frozen dataclass."""
    return {name: value for name, value in vars(result).items() if name not in leave_out}


@case
def look(_: Path) -> Named:
    """Measurements of `kflow.analysis`, `kflow.evaluation` and `kflow.linear_separation`."""
    from kflow import evaluation, linear_separation

    X, y, T = class_data()
    for name, options in {"plain": {}, "shrinking": SHRINKING}.items():
        model = kflow.KernelFlowClassifier(
            **{**GIVEN, "n_layers": 12}, random_state=0, **options
        ).fit(X, y)
        flow = model.flow_
        dimensions = analysis.effective_dimension(model, X, y, layers=[0, 5, 12])
        yield f"{name}/dimension", [fields(dimensions), dimensions.summary()]
        lengths = analysis.lipschitz(model, X, y, layers=[0, 6, 12], max_points=8)
        yield f"{name}/lipschitz", [fields(lengths), lengths.summary()]
        yield f"{name}/lipschitz-bound", analysis.lipschitz_bound(flow)
        margins = analysis.class_margins(model, X, y, layers=[0, 12], training=(X, y))
        yield f"{name}/margins", [fields(margins), margins.summary()]
        distances = analysis.adversarial_distance(model, X, y, max_points=12)
        yield f"{name}/adversarial", [fields(distances), distances.summary()]
        plain = analysis.unflowed(model, X, y)
        yield f"{name}/unflowed", [plain.predict(T), plain.predict_proba(T), plain.transform(T)]
        points = flow.reduced_points_
        errors = evaluation.interpolation_errors(
            points[:150],
            y[:150],
            points[150:],
            y[150:],
            kernel=flow.kernel_,
            nugget=0.1,
            rng=np.random.default_rng(0),
            n_interpolation=[60, 12, 3],
        )
        yield f"{name}/errors", [fields(error) for error in errors]
        yield f"{name}/distances", evaluation.class_distances(points, y)
        yield f"{name}/distance-ratio", evaluation.class_distance_ratio(points, y)
    yield "participation", analysis.participation_ratio(X)
    yield "explained", analysis.explained_dimension(X)
    yield "neighbours", analysis.neighbour_dimension(X, max_points=50, random_state=0)
    yield "hypothesis-margins", analysis.hypothesis_margins(X, y)
    yield "regression-errors", evaluation.regression_errors(X[:, 0], X[:, 1])
    two = y < 2
    yield "best-line", fields(linear_separation.best_line(X[two][:, [0, 3]], y[two]))
    apart = X[two] + 50.0 * y[two][:, None]
    yield "hyperplane", fields(linear_separation.separating_hyperplane(apart, y[two]))


@case
def reference(_: Path) -> Named:
    """The slow reference of `kflow.testing`."""
    from kflow import testing

    X, Y, _ = flow_data(60)
    for name, rule in {"relative": {"step": "relative"}, "rms": {"step": "rms"}}.items():
        result = testing.flow(
            X,
            Y,
            kernel=kernels.Gaussian(2.0),
            n_layers=3,
            rng=np.random.default_rng(0),
            batch_size=30,
            nugget=0.1,
            step_size=0.05,
            n_halves=2,
            **rule,
        )
        yield name, result.points


@case
def command_line(folder: Path) -> Named:
    """`kflow fit`, `kflow predict` and `kflow info` of small tables."""
    from click.testing import CliRunner

    (kflow_command,) = metadata.entry_points(group="console_scripts", name="kflow")
    kflow_main = kflow_command.load()

    def run(*arguments: object) -> str:
        done = CliRunner().invoke(kflow_main, [str(argument) for argument in arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    given = ["--kernel", "gaussian", "--nugget", 3, "--step-size", 0.01, "--gradient-cap", "inf"]
    given += ["--dtype", "float32"]
    if "metric" in GIVEN:
        given += ["--metric", "none", "--interpolation-nugget", 1]
    X, y, T = class_data()
    for name, target, options in (
        ("classification", y, ["--n-halves", 2]),
        ("regression", X[:, 0] * X[:, 2], ["--rank", "auto", "--shrink-every", 4]),
    ):
        np.savez(folder / "data.npz", X=X, y=target)
        np.savetxt(folder / "new.csv", T, delimiter=",", header="a,b,c,d,e,f", comments="")
        output = folder / name
        settings = ["--n-layers", 9, "--batch-size", 50, "--json", "--quiet", "--output", output]
        results = json.loads(
            run("fit", "--data", folder / "data.npz", "--task", name, *settings, *given, *options)
        )
        model = {key: value for key, value in results["model"].items() if "second" not in key}
        yield f"{name}/results", [results["errors"], model]
        yield f"{name}/predict", run("predict", output / "model.kflow", folder / "new.csv")
        info = json.loads(run("info", "--json", output / "model.kflow"))
        yield f"{name}/kernel", info["kernel"]


# ---- command ----------------------------------------------------------------------------------


def this_machine() -> dict[str, str]:
    """What digests depend on besides kflow."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        processor = platform.processor()
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {"processor": processor, "python": platform.python_version(), **versions}


def compare(expected: dict[str, str], names: list[str], is_all: bool) -> int:
    """Print a line for each digest and return how many are not the same."""
    n_different = n_same = 0
    for name in names:
        known = {full for full in expected if full.split("/")[0] == name}
        try:
            digests, error = computed(name), ""
        except Exception as failure:
            traceback.print_exc()
            digests, error = {}, f" ({type(failure).__name__}: {failure})"
            if not known:
                print(f"{name}: FAILED{error}")
                n_different += 1
        for full in sorted(known | digests.keys()):
            if full not in digests:
                verdict = f"FAILED{error}" if error else "MISSING"
            elif full not in known:
                verdict = "NEW"
            else:
                verdict = "same" if digests[full] == expected[full] else "DIFFERENT"
            n_same += verdict == "same"
            n_different += verdict != "same"
            print(f"{full}: {verdict}", flush=True)
    for full in sorted(expected):
        if is_all and full.split("/")[0] not in CASES:
            print(f"{full}: MISSING")
            n_different += 1
    print(f"{n_same} the same, {n_different} not")
    return n_different


@click.command(help=__doc__.replace("\n\n    $", "\n\n\b\n    $") if __doc__ else None)
@click.option("--write", type=click.Path(path_type=Path), help="Write the digests to this file.")
@click.option(
    "--compare",
    "compared",
    type=click.Path(path_type=Path, exists=True),
    help="Compare with the digests in this file; status 1 if one is not the same.",
)
@click.option("--only", type=click.Choice(sorted(CASES)), multiple=True, help="Only these cases.")
def main(write: Path | None, compared: Path | None, only: tuple[str, ...]) -> None:
    if (write is None) == (compared is None):
        raise click.UsageError("pass one of --write FILE and --compare FILE")
    names = sorted(set(only) or CASES)
    level, machine = kflow.build_config()["simd_level"], this_machine()
    print(f"{Path(kflow.__file__).parent}, SIMD level {level}", file=sys.stderr)
    start = time.perf_counter()
    if write is not None:
        digests = {full: value for name in names for full, value in computed(name).items()}
        report = {"simd_level": level, "machine": machine, "digests": dict(sorted(digests.items()))}
        write.write_text(json.dumps(report, indent=1) + "\n")
        print(f"{len(digests)} digests in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        return
    assert compared is not None
    report = json.loads(compared.read_text())
    if report["simd_level"] != level:
        raise click.ClickException(
            f"{compared} has digests of the SIMD level {report['simd_level']!r}, and this is "
            f"{level!r}, which rounds differently: write them again on this machine, or set "
            f"KFLOW_SIMD_LEVEL={report['simd_level']} if it has that level, too"
        )
    for name, value in report["machine"].items():
        if machine.get(name) != value:
            print(f"note: {name} was {value}, and is {machine.get(name)}", file=sys.stderr)
    n_different = compare(report["digests"], names, not only)
    print(f"{time.perf_counter() - start:.0f} s", file=sys.stderr)
    if n_different:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
