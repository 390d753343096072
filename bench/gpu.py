"""How fast is a flow on a graphics processor, next to its limit and to plain PyTorch?

    $ python bench/gpu.py --data-dir DIR --json FILE      # on one GPU, in some minutes
    $ python bench/gpu.py --small --device cpu            # does it run?

layer       median milliseconds of a layer of N points with batches of N_f in d dimensions, float32; its
            limit: four N N_f d flops over the rate of the device's own products, and one Cholesky
            factorisation of N_f in float64; and the same layer in plain PyTorch, without kflow
flow        seconds of the flow of MNIST's preset, and errors from 10 and 600 images, next to the core's
recipes     seconds of the slides' recipes: 12000 layers of MNIST, 50000 of Fashion-MNIST, d = 784
transform   seconds of 10^6 points through MNIST's preset
precision   with --precision, and nothing else: how far rho and F_n after 50 and 300 layers are from those of
            precision="float64", by the compiled core and in the other precisions, with nuggets from
            1e-6 to 1. rho: the largest difference in a layer; F_n: the largest difference of a coordinate,
            as a part of the largest coordinate; float64: whether layers fell back to it

Results are checked before anything is timed: 50 layers of a small flow agree with the compiled core.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measuring import Table, clusters, parser, write_json

import kflow
from kflow.datasets import load_dataset
from kflow.errors import PrecisionWarning
from kflow.kernels import Gaussian

SHAPES = [(60000, 600, 784), (60000, 600, 150), (60000, 1200, 150)]
SMALL = [(2000, 60, 20)]


def synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


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


def check(device: str) -> float:
    """Return how far 50 layers are from the compiled core's, as a part of the largest coordinate."""
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
    return difference


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
    if torch.device(device).type == "cuda":
        names += ["tf32", "mixed+tf32"]
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
                    return flow, any(w.category is PrecisionWarning for w in told)

                exact, _ = run("float64")
                for name in names:
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


def layer_of_kflow(n: int, n_batch: int, d: int, device: str, repeats: int) -> float:
    X, Y = clusters(n, d)
    flow = kflow.KernelFlow(
        Gaussian(1.0),
        n_layers=repeats + 3,
        batch_size=n_batch,
        nugget=1.0,
        step="rms",
        step_size=0.02,
        random_state=0,
        layers="none",
        device=device,
    ).fit(X, Y)
    return 1e3 * float(np.median(flow.history_["seconds"][3:]))


def layer_of_torch(n: int, n_batch: int, d: int, device: str, repeats: int) -> float:
    """Return the time of a layer as one would write it, with one half and the matrix as a whole."""
    X, Y = (torch.from_numpy(a).to(device) for a in clusters(n, d))
    generator = torch.Generator().manual_seed(0)

    def layer() -> torch.Tensor:
        rows = torch.randperm(n, generator=generator)[:n_batch].to(device)
        z, y = X[rows].double(), Y[rows]
        r2 = torch.cdist(z, z).square()
        k = torch.exp(-0.5 * r2)
        a = k + torch.eye(n_batch, dtype=torch.float64, device=device)
        half = n_batch // 2
        factor, part = torch.linalg.cholesky(a), torch.linalg.cholesky(a[:half, :half])
        v, w = torch.cholesky_solve(y, factor), torch.cholesky_solve(y[:half], part)
        total, coarse = (y * v).sum(), (y[:half] * w).sum()
        g = -(coarse / total) * (v @ v.T)
        g[:half, :half] += w @ w.T
        weights = -0.5 * g * k / total
        c = torch.cholesky_solve(-4.0 * (weights.sum(1)[:, None] * z - weights @ z), factor).float()
        x2, z2 = X.square().sum(1), X[rows].square().sum(1)
        moved = torch.exp(-0.5 * (x2[:, None] + z2 - 2.0 * X @ X[rows].T)) @ c
        step = 0.02 * (X.square().sum() / moved.square().sum()).sqrt()
        return X + step * moved

    return milliseconds(layer, device, repeats)


def limit(n: int, n_batch: int, d: int, device: str, repeats: int) -> float:
    a = torch.randn(n, d, device=device)
    b = torch.randn(d, n_batch, device=device)
    k = torch.randn(n, n_batch, device=device)
    m = torch.eye(n_batch, dtype=torch.float64, device=device)
    first = milliseconds(lambda: a @ b, device, repeats)
    second = milliseconds(lambda: k @ b.T, device, repeats)
    return first + second + milliseconds(lambda: torch.linalg.cholesky(m), device, repeats)


def preset_flow(folder: str | None, device: str, n_layers: int | None) -> dict[str, Any]:
    """Return seconds and errors of MNIST's preset, of the digits if there is no folder."""
    from kflow.presets import PRESETS

    name = "digits" if folder is None else "mnist"
    data = load_dataset(name, folder)
    parameters = {**PRESETS[name], "random_state": 0}
    if n_layers is not None:
        parameters["n_layers"] = n_layers
    model = kflow.KernelFlowClassifier(**parameters, device=device)
    start = time.perf_counter()
    model.fit(data.X_train, data.y_train)
    seconds = time.perf_counter() - start
    wrong = float(np.mean(model.predict(data.X_test) != data.y_test))
    layers = float(model.flow_.history_["seconds"].sum())
    n_points = 2000 if folder is None else 1_000_000
    many = np.resize(data.X_test, (n_points, data.X_test.shape[1])).astype(np.float32)
    start = time.perf_counter()
    model.transform(many)
    return {
        "dataset": name,
        "seconds": seconds,
        "flow_seconds": layers,
        "error": wrong,
        "n_transformed": n_points,
        "transform_seconds": time.perf_counter() - start,
    }


def recipe(name: str, folder: str, n_layers: int, device: str) -> dict[str, Any]:
    """Return the seconds of a flow as the slides ran it: all pixels, batches of 600."""
    data = load_dataset(name, folder)
    X = data.X_train / np.linalg.norm(data.X_train, axis=1, keepdims=True)
    flow = kflow.KernelFlow(
        n_layers=n_layers,
        batch_size=600,
        nugget=1.0,
        step="relative",
        random_state=0,
        layers="none",
        device=device,
    )
    start = time.perf_counter()
    flow.fit(X.astype(np.float32), kflow.one_hot(data.y_train))
    return {"dataset": name, "n_layers": n_layers, "seconds": time.perf_counter() - start}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--device", default="cuda")
    options.add_argument("--data-dir", help="the folder of MNIST; digits without it")
    options.add_argument("--fashion-dir", help="the folder of Fashion-MNIST")
    options.add_argument("--recipes", action="store_true", help="also the slides' recipes")
    options.add_argument("--small", action="store_true", help="small sizes, for tests")
    options.add_argument("--precision", action="store_true", help="other precisions, and no times")
    args = options.parse_args()
    if args.precision:
        write_json(args, precisions=other_precisions(args.device, args.small))
        return
    difference = check(args.device)
    repeats = 3 if args.small else 50
    columns = {"N": "6d", "N_f": "5d", "d": "4d", "limit, ms": "8.3f", "kflow": "8.3f"}
    table, rows = Table({**columns, "PyTorch": "8.3f"}), []
    for shape in SMALL if args.small else SHAPES:
        measured = [
            function(*shape, args.device, repeats)
            for function in (limit, layer_of_kflow, layer_of_torch)
        ]
        table.row(*shape, *measured)
        names = ("N", "N_f", "d", "limit_ms", "kflow_ms", "torch_ms")
        rows.append(dict(zip(names, (*shape, *measured), strict=True)))
    flow = preset_flow(args.data_dir, args.device, 5 if args.small else None)
    print(flow)
    recipes = []
    if args.recipes:
        for name, folder, n_layers in (
            ("mnist", args.data_dir, 12000),
            ("fashion-mnist", args.fashion_dir, 50000),
        ):
            recipes.append(recipe(name, folder, n_layers, args.device))
            print(recipes[-1])
    device = torch.device(args.device)
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    write_json(
        args,
        rows=rows,
        flow=flow,
        recipes=recipes,
        difference=difference,
        chip=chip,
        torch=torch.__version__,
    )


if __name__ == "__main__":
    main()
