"""How fast is a flow on a graphics processor, next to its limit and to plain PyTorch?

    $ python bench/gpu.py --data-dir DIR --json FILE      # on one GPU, in some minutes
    $ python bench/gpu.py --small --device cpu            # does it run?

layer       median milliseconds of a layer of N points with batches of N_f in d dimensions, points of
            float32, with products in float32 and, by precision="tf32", in TF32, also with step_over="batch";
            its limit for either: four N N_f d flops over the rate of the device's own products, and one
            Cholesky factorisation of N_f in float64; and the same layer in plain PyTorch (both) and in JAX
            (compiled, float32), without kflow
flow        seconds of the flow of MNIST's preset in both, and errors on all test images
recipes     by precision="tf32", seconds of the slides' recipes: 12000 layers of MNIST, 50000 of Fashion-MNIST, d = 784; of as
            many layers as fit into --budget seconds for everything, and what all would take at that rate
transform   seconds of 10^6 points through MNIST's preset
accuracy    by precision="tf32", the time to the error on MNIST's test images, of flows of more and more layers, of an interpolant of
            the pixels, and of EigenPro's epochs with the same kernel: all from images to a model
precision   with --precision, and nothing else: how far rho and F_n after 50 and 300 layers are from those of
            precision="float64", by the compiled core and in the other precisions, with nuggets from
            1e-6 to 1. rho: the largest difference in a layer; F_n: the largest difference of a coordinate,
            as a part of the largest coordinate; float64: whether layers fell back to it. Processors have
            no TF32: factors are rounded to it before their products. Before that, the errors of MNIST's
            preset in each precision, of the digits' without --data-dir
profile     with --profile, and nothing else: the operations of a layer that take the device most time

JAX and EigenPro are left out, with a line that says why, where they are missing. EigenPro is the user's own
copy of github.com/EigenPro/EigenPro-pytorch: --eigenpro names its folder.

Results are checked before anything is timed: 50 layers of a small flow agree with the compiled core, and
a layer by PyTorch and by JAX with the slow reference.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from importlib import metadata
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from gpu_peers import (
    BANDWIDTH,
    LENGTH_SCALE,
    NUGGET,
    STEP_SIZE,
    LayerFunction,
    Reached,
    eigenpro,
    eigenpro_is_missing,
    jax_is_missing,
    jax_layer,
    synchronise,
    torch_layer,
)
from measuring import Table, check_close, clusters, parser, write_json
from tf32 import tensor_cores

import kflow
from kflow.datasets import load_dataset
from kflow.engine.torch.precision import float32_products
from kflow.errors import PrecisionWarning
from kflow.kernels import Gaussian
from kflow.presets import PRESETS
from kflow.testing import slow

SHAPES = [(60000, 600, 784), (60000, 600, 150), (60000, 1200, 150)]
SMALL = [(2000, 60, 20)]

FAST = "tf32"

# Columns of the table of layers, in milliseconds, and their names in results.
TIMES = {
    "limit": "limit_ms",
    "kflow": "kflow_ms",
    "PyTorch": "torch_ms",
    "JAX": "jax_ms",
    "TF32: kflow": "kflow_tf32_ms",
    "on batch": "kflow_tf32_batch_ms",
    "limit ": "limit_tf32_ms",
    "PyTorch ": "torch_tf32_ms",
}


def milliseconds(action: Callable[[], Any], device: str, repeats: int) -> float:
    """Return the median time of an action, after three that are not counted."""
    times = []
    for _ in range(repeats + 3):
        synchronise(device)
        start = time.perf_counter()
        action()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[3:]))


def check(device: str) -> tuple[float, bool]:
    """Return how far 50 layers are from the compiled core's, as a part of the largest coordinate.

    The second value is whether points that are replayed in another order arrive at the same bits.
    """
    X, Y = clusters(300, 8, "float64")
    flows = [
        kflow.KernelFlow(
            Gaussian(2.0),
            n_layers=50,
            batch_size=60,
            nugget=0.1,
            step="rms",
            step_size=0.02,
            dtype="float64",
            random_state=0,
            device=chosen,
        ).fit(X, Y)
        for chosen in (None, device)
    ]
    core, other = (flow.points_ for flow in flows)
    difference = float(np.abs(core - other).max() / np.abs(core).max())
    assert difference < 1e-9, f"wrong result: differs by {difference:.2g} of its size"
    order = np.random.default_rng(0).permutation(len(X))
    same_bits = np.array_equal(flows[1].transform(X[order]), other[order])
    print(f"points in another order arrive at the same bits: {'yes' if same_bits else 'no'}")
    return difference, same_bits


def check_peer(make: Callable[[np.ndarray, np.ndarray, str], LayerFunction], device: str) -> None:
    """Compare a layer of a peer with the slow reference."""
    X, Y = clusters(200, 12)
    batch = np.random.default_rng(0).choice(200, 60, replace=False)
    kernel = Gaussian(LENGTH_SCALE)
    expected = slow.layer(
        X,
        Y,
        batch,
        np.arange(30)[None],
        kernel=kernel,
        nugget=NUGGET,
        step="rms",
        step_size=STEP_SIZE,
    )
    moved = slow.move(X, expected.Z, expected.C, kernel=kernel, step=expected.step) - X
    points = make(X, Y, device)(batch)
    got = points.cpu().numpy() if isinstance(points, torch.Tensor) else np.asarray(points)
    check_close(got - X, moved, 1e-4)


def other_precisions(device: str, small: bool) -> list[dict[str, Any]]:
    """Return how far flows in other precisions are from those in float64, and print it."""
    table = Table(
        {
            "points": ">8",
            "nugget": "7.0e",
            "precision": ">11",
            "layers": "6d",
            "rho": "8.1e",
            "F_n": "8.1e",
            "float64": ">7",
        }
    )
    names = ["core", "mixed"]
    n, n_batch, depths = (300, 40, (5, 10)) if small else (1000, 200, (50, 300))
    rows = []
    for dtype in ("float64", "float32"):
        X, Y = clusters(n, 20, dtype)
        for nugget in (1e-6, 1e-4, 1e-2, 1.0):
            for n_layers in depths:

                def run(name: str) -> tuple[kflow.KernelFlow, bool]:
                    place = {} if name == "core" else {"device": device, "precision": name}
                    flow = kflow.KernelFlow(
                        Gaussian(5.0),
                        n_layers=n_layers,  # noqa: B023 (called in the same round)
                        batch_size=n_batch,
                        nugget=nugget,  # noqa: B023
                        step="rms",
                        step_size=0.01,
                        dtype=dtype,  # noqa: B023
                        random_state=0,
                        layers="none",
                        **place,
                    )
                    with warnings.catch_warnings(record=True) as told:
                        warnings.simplefilter("always", PrecisionWarning)
                        flow.fit(X, Y)  # noqa: B023
                    return flow, any("is computed in float64" in str(w.message) for w in told)

                exact, _ = run("float64")
                for name in names + (["tf32", "mixed+tf32"] if dtype == "float32" else []):
                    with tensor_cores(device):
                        flow, fell_back = run(name)
                    rho = np.abs(flow.history_["rho"] - exact.history_["rho"]).max()
                    scale = np.abs(exact.points_).max()
                    moved = np.abs(flow.points_ - exact.points_).max() / scale
                    answer = "yes" if fell_back else "no"
                    table.row(dtype, nugget, name, n_layers, rho, moved, answer)
                    rows.append(
                        {
                            "dtype": dtype,
                            "nugget": nugget,
                            "precision": name,
                            "n_layers": n_layers,
                            "rho": float(rho),
                            "points": float(moved),
                            "fell_back": fell_back,
                        }
                    )
    return rows


def test_error(model: kflow.KernelFlowClassifier, data: Any) -> float:
    """Return the part of the test images that a model takes for another class."""
    return float(np.mean(model.predict(data.X_test) != data.y_test))


def errors_by_precision(folder: str | None, device: str, small: bool) -> list[dict[str, Any]]:
    """Return the errors of a preset on all test images, by the core and in each precision."""
    table = Table({"precision": "<10", "error, %": "8.2f", "rho at the end": "8.5f"})
    name = "digits" if folder is None else "mnist"
    data = load_dataset(name, folder)
    settings = {**PRESETS[name], **({"n_layers": 5} if small else {}), "random_state": 0}
    found = []
    for precision in ("core", "float64", "tf32", "mixed+tf32"):
        place = {} if precision == "core" else {"device": device, "precision": precision}
        with tensor_cores(device):
            model = kflow.KernelFlowClassifier(**settings, **place)
            model.fit(data.X_train, data.y_train)
            wrong = test_error(model, data)
        rho = float(np.mean(model.flow_.history_["rho"][-20:]))
        table.row(precision, 100 * wrong, rho)
        found.append({"dataset": name, "precision": precision, "error": wrong, "rho": rho})
    return found


def flow_of_layers(n: int, n_batch: int, d: int, device: str, **options: Any) -> kflow.KernelFlow:
    """Return a flow whose layers are timed: it has run three, which are not."""
    X, Y = clusters(n, d)
    return kflow.KernelFlow(
        Gaussian(LENGTH_SCALE),
        n_layers=3,
        batch_size=n_batch,
        nugget=NUGGET,
        step="rms",
        step_size=STEP_SIZE,
        random_state=0,
        layers="none",
        device=device,
        **options,
    ).fit(X, Y)


def layer_of_kflow(shape: tuple[int, int, int], device: str, repeats: int, **options: Any) -> float:
    flow = flow_of_layers(*shape, device, **options).run(repeats)
    return 1e3 * float(np.median(flow.history_["seconds"][3:]))


def layer_of_peer(
    make: Callable[[np.ndarray, np.ndarray, str], LayerFunction],
    shape: tuple[int, int, int],
    device: str,
    repeats: int,
) -> float:
    """Return the time of a layer by plain PyTorch or JAX, whose batch comes from the host."""
    n, n_batch, d = shape
    layer = make(*clusters(n, d), device)
    rng = np.random.default_rng(0)
    return milliseconds(lambda: layer(rng.choice(n, n_batch, replace=False)), device, repeats)


def limit(shape: tuple[int, int, int], device: str, repeats: int) -> float:
    n, n_batch, d = shape
    a = torch.randn(n, d, device=device)
    b = torch.randn(d, n_batch, device=device)
    k = torch.randn(n, n_batch, device=device)
    m = torch.eye(n_batch, dtype=torch.float64, device=device)
    first = milliseconds(lambda: a @ b, device, repeats)
    second = milliseconds(lambda: k @ b.T, device, repeats)
    return first + second + milliseconds(lambda: torch.linalg.cholesky(m), device, repeats)


def profiles(device: str, small: bool) -> list[dict[str, Any]]:
    """Return the operations of layers that take the device most time, and print them."""
    kinds = torch.profiler.ProfilerActivity
    on_cuda = torch.device(device).type == "cuda"
    time_of = attrgetter("self_device_time_total" if on_cuda else "self_cpu_time_total")
    table = Table({"us a layer": "8.1f", "times": "6.1f", "operation": "<100s"})
    found, n_layers = [], 10
    for shape in SMALL if small else SHAPES:
        for step_over in ("all", "batch"):
            flow = flow_of_layers(*shape, device, precision=FAST, step_over=step_over)
            with torch.profiler.profile(activities=[kinds.CUDA if on_cuda else kinds.CPU]) as seen:
                flow.run(n_layers)
                synchronise(device)
            print(f"(N, N_f, d) = {shape}, step_over={step_over!r}")
            operations = sorted(seen.key_averages(), key=time_of, reverse=True)[:25]
            parts = [(time_of(x) / n_layers, x.count / n_layers, x.key) for x in operations]
            for part in parts:
                table.row(*part)
            found.append({"shape": shape, "step_over": step_over, "operations": parts})
    return found


def preset_flow(folder: str | None, device: str, precision: str, small: bool) -> dict[str, Any]:
    """Return seconds and errors of MNIST's preset, of the digits if there is no folder."""
    name = "digits" if folder is None else "mnist"
    data = load_dataset(name, folder)
    settings = {**PRESETS[name], **({"n_layers": 5} if small else {}), "random_state": 0}
    model = kflow.KernelFlowClassifier(**settings, device=device, precision=precision)
    start = time.perf_counter()
    model.fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    n_points = 2000 if small else 1_000_000
    many = np.resize(data.X_test, (n_points, data.X_test.shape[1])).astype(np.float32)
    start = time.perf_counter()
    model.transform(many)
    transform_seconds = time.perf_counter() - start
    return {
        "dataset": name,
        "precision": precision,
        "seconds": seconds,
        "flow_seconds": float(model.flow_.history_["seconds"].sum()),
        "error": test_error(model, data),
        "n_transformed": n_points,
        "transform_seconds": transform_seconds,
    }


def recipe(
    name: str, folder: str, n_layers: int, most_seconds: float, device: str
) -> dict[str, Any]:
    """Return the seconds of layers as the slides ran them: all pixels, batches of 600.

    The layers are as many as fit into some seconds, by the time of the first hundred.
    """
    data = load_dataset(name, folder)
    X = data.X_train / np.linalg.norm(data.X_train, axis=1, keepdims=True)
    flow = kflow.KernelFlow(
        n_layers=0,
        batch_size=600,
        nugget=1.0,
        step="relative",
        random_state=0,
        layers="none",
        device=device,
        precision=FAST,
    ).fit(X.astype(np.float32), kflow.one_hot(data.y_train))
    first = min(100, n_layers)
    start = time.perf_counter()
    flow.run(first)
    rate = (time.perf_counter() - start) / first
    run = min(n_layers, max(first, int(most_seconds / rate)))
    flow.run(run - first)
    seconds = time.perf_counter() - start
    return {
        "dataset": name,
        "n_layers": n_layers,
        "n_layers_run": run,
        "seconds": seconds,
        "seconds_of_all": seconds / run * n_layers,
    }


def time_to_accuracy(
    folder: str | None, eigenpro_folder: str | None, device: str, small: bool
) -> list[Reached]:
    """Return what kflow, and EigenPro if it is here, reach on MNIST in how long."""
    name = "digits" if folder is None else "mnist"
    data = load_dataset(name, folder)
    found = []
    for n_layers in (2, 5) if small else (40, 120, 360):
        settings = {**PRESETS[name], "n_layers": n_layers, "random_state": 0}
        start = time.perf_counter()
        model = kflow.KernelFlowClassifier(**settings, device=device, precision=FAST)
        model.fit(data.X_train, data.y_train)
        seconds = time.perf_counter() - start
        what = f"flow of {n_layers} layers"
        found.append(Reached("kflow", what, seconds, test_error(model, data)))

    largest = float(data.X_train.max())
    X, T = ((a / largest).astype(np.float32) for a in (data.X_train, data.X_test))
    Y = kflow.one_hot(data.y_train, np.float32)
    for m in (200,) if small else (5000, 20000):
        rows = np.random.default_rng(0).permutation(len(X))[:m]
        start = time.perf_counter()
        u = kflow.Interpolant(
            X[rows], Y[rows], kernel=Gaussian(BANDWIDTH), nugget=1e-3, device=device
        )
        seconds = time.perf_counter() - start
        wrong = float(np.mean(u(T).argmax(1) != np.unique(data.y_train).searchsorted(data.y_test)))
        found.append(Reached("kflow", f"interpolant of {m} images", seconds, wrong))

    missing = eigenpro_is_missing(eigenpro_folder)
    if eigenpro_folder is None or missing:
        print(f"EigenPro is left out: {missing}", flush=True)
        return found
    test = T, kflow.one_hot(data.y_test, np.float32)
    epochs = [1, 2] if small else [1, 2, 5, 10]
    return [*found, *eigenpro(eigenpro_folder, (X, Y), test, device, epochs)]


def layers(device: str, small: bool) -> tuple[list[dict[str, Any]], str | None]:
    """Return the times of layers of all shapes, and why JAX is left out if it is."""
    repeats = 3 if small else 50
    check_peer(torch_layer, device)
    missing = jax_is_missing(device)
    if missing is None:
        check_peer(jax_layer, device)
    else:
        print(f"JAX is left out: {missing}", flush=True)
    table = Table({"N": "6d", "N_f": "5d", "d": "4d", **dict.fromkeys(TIMES, "9.3f")})
    rows = []
    for shape in SMALL if small else SHAPES:
        here = (shape, device, repeats)
        measured = [limit(*here), layer_of_kflow(*here), layer_of_peer(torch_layer, *here)]
        measured.append(None if missing else layer_of_peer(jax_layer, *here))
        measured.append(layer_of_kflow(*here, precision=FAST))
        measured.append(layer_of_kflow(*here, precision=FAST, step_over="batch"))
        with float32_products(tf32=True):
            measured += [limit(*here), layer_of_peer(torch_layer, *here)]
        table.row(*shape, *measured)
        rows.append(dict(zip(("N", "N_f", "d", *TIMES.values()), (*shape, *measured), strict=True)))
    return rows, missing


def recipes(
    data_dir: str | None, fashion_dir: str | None, end: float, device: str
) -> list[dict[str, Any]]:
    """Return the slides' recipes whose data are here, within the seconds up to `end`."""
    wanted = [
        (name, folder, n_layers)
        for name, folder, n_layers in (
            ("mnist", data_dir, 12000),
            ("fashion-mnist", fashion_dir, 50000),
        )
        if folder is not None
    ]
    found = []
    for i, (name, folder, n_layers) in enumerate(wanted):
        share = n_layers / sum(n for _, _, n in wanted[i:])
        left = max(0.0, share * (end - time.perf_counter()))
        found.append(recipe(name, folder, n_layers, left, device))
        print(found[-1], flush=True)
    return found


def main() -> None:
    start = time.perf_counter()
    options = parser(__doc__)
    options.add_argument("--device", default="cuda")
    options.add_argument("--data-dir", help="the folder of MNIST; digits without it")
    options.add_argument("--fashion-dir", help="the folder of Fashion-MNIST")
    options.add_argument("--recipes", action="store_true", help="also the slides' recipes")
    options.add_argument("--eigenpro", metavar="DIR", help="a copy of EigenPro-pytorch")
    options.add_argument("--budget", type=float, default=330.0, help="seconds of everything")
    options.add_argument("--small", action="store_true", help="small sizes, for tests")
    options.add_argument("--precision", action="store_true", help="other precisions, and no times")
    options.add_argument("--profile", action="store_true", help="what takes time, and no more")
    args = options.parse_args()
    if args.profile:
        write_json(args, profiles=profiles(args.device, args.small))
        return
    if args.precision:
        errors = errors_by_precision(args.data_dir, args.device, args.small)
        write_json(args, errors=errors, precisions=other_precisions(args.device, args.small))
        return
    difference, same_bits = check(args.device)
    rows, jax_missing = layers(args.device, args.small)
    flows = [
        preset_flow(args.data_dir, args.device, precision, args.small)
        for precision in ("float64", FAST)
    ]
    print(*flows, sep="\n", flush=True)
    reached = time_to_accuracy(args.data_dir, args.eigenpro, args.device, args.small)
    table = Table({"by": "<8s", "what": "<28s", "seconds": "8.2f", "error, %": "8.2f"})
    for by, what, seconds, error in reached:
        table.row(by, what, seconds, 100 * error)
    found = (
        recipes(args.data_dir, args.fashion_dir, start + args.budget, args.device)
        if args.recipes
        else []
    )
    device = torch.device(args.device)
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    write_json(
        args,
        rows=rows,
        flows=flows,
        accuracy=[row._asdict() for row in reached],
        recipes=found,
        difference=difference,
        same_bits=same_bits,
        chip=chip,
        torch=torch.__version__,
        jax=None if jax_missing else metadata.version("jax"),
        seconds=time.perf_counter() - start,
    )


if __name__ == "__main__":
    main()
