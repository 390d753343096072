"""Which change of a flow keeps the kernel good when all points are interpolation points?

    $ python bench/levers.py --dataset fashion-mnist --data-dir DIR
    $ python bench/levers.py --dataset fashion-mnist --data-dir DIR --levers smooth "large nugget"

Flows of `--n` training images, and the error of kernel ridge regression on `--held-out` others, with
all points and with a quarter of them, after some layers; the test set stays out of it. The flow is
written out here, from kernel matrices and losses, so that parts of it can be replaced:

* moving_length: the displacement interpolates with a kernel of a length scale this many times as long;
* moving_nugget: and with this nugget instead of the loss's;
* loss: what is descended, one of `kflow.losses`: rho, e2, loo;
* noise: the batch's points are perturbed, by this part of the root mean square of a coordinate;
* from: batches are drawn from this many of the training points only;
* batch, nugget, step_size, gradient_cap as in `kflow.KernelFlow`, with the rms step and two halves.

The smaller rho is, the more the flow has deformed the points: compare rows at the same rho.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from generalisation import PROFILES, Rows, image_rows, ridge, scale_of
from measuring import Table, parser, write_json
from scipy.linalg import cho_factor, cho_solve

import kflow
from kflow import kernels, losses
from kflow.datasets import DATASETS

DEFAULTS: dict[str, Any] = {
    "moving_length": 1.0,
    "moving_nugget": None,
    "loss": "rho",
    "noise": 0.0,
    "from": None,
    "batch": 800,
    "nugget": 0.25,
    "step_size": 0.02,
    "gradient_cap": 1.0,
}
LEVERS: dict[str, dict[str, Any]] = {
    "none": {},
    "smooth": {"moving_length": 2.0},
    "smoother": {"moving_length": 4.5},
    "large nugget": {"moving_nugget": 30.0},
    "smooth, nugget": {"moving_length": 2.0, "moving_nugget": 3.0},
    "large batch": {"batch": 2400, "moving_length": 2.0},
    "e2": {"loss": "e2"},
    "loo": {"loss": "loo"},
    "noise": {"noise": 0.5, "moving_length": 2.0},
    "from a third": {"from": 4000},
}


def slope(profile: str, K: np.ndarray, length: float) -> np.ndarray:
    """dk / d(r^2)."""
    return (-0.5 / length**2) * (K if profile == "gaussian" else K * K)


def descent(
    Z: np.ndarray,
    Y: np.ndarray,
    kernel: kernels.Radial,
    profile: str,
    lever: dict[str, Any],
    rng: Any,
) -> tuple[float, np.ndarray]:
    """Return the loss of a batch, and the direction in which its points descend it."""
    K = kernel(Z)
    A = K + lever["nugget"] * np.eye(len(Z))
    first, second = np.split(rng.permutation(len(Z)), 2)
    subsets = () if lever["loss"] == "loo" else ([np.sort(first), np.sort(second)],)
    value, G = getattr(losses, lever["loss"])(A, Y, *subsets)
    # Each pair of points occurs twice in the sum over G.
    W = 4.0 * G * slope(profile, K, kernel.length_scale)
    np.fill_diagonal(W, 0.0)
    g = -(W.sum(axis=1)[:, None] * Z - W @ Z)
    lengths = np.linalg.norm(g, axis=1)
    most = lever["gradient_cap"] * np.median(lengths)
    return value, g * np.minimum(1.0, most / np.maximum(lengths, 1e-300))[:, None]


def check_descent(Z: np.ndarray, Y: np.ndarray, kernel: kernels.Radial, profile: str) -> None:
    """Compare the direction with that of the engine."""
    lever = {**DEFAULTS, "gradient_cap": np.inf}
    _, g = descent(Z, Y, kernel, profile, lever, np.random.default_rng(0))
    halves = np.split(np.random.default_rng(0).permutation(len(Z)), 2)
    expected = -np.mean(
        [
            kflow.rho_gradient(Z, Y, np.sort(half), kernel=kernel, nugget=lever["nugget"])[1]
            for half in halves
        ],
        axis=0,
    )
    assert np.abs(g - expected).max() <= 1e-9 * np.abs(expected).max(), "the gradient is wrong"


def flow(
    rows: Rows, profile: str, length: float, lever: dict[str, Any], layers: list[int], seed: int
) -> Iterator[tuple[int, float, Rows]]:
    """Yield the number of layers, the mean loss of the last ten, and the points, now and then."""
    rng = np.random.default_rng(seed)
    n, points = len(rows.X), np.concatenate([rows.X, rows.X_new])
    kernel = PROFILES[profile](length * scale_of(rows.X))
    moving = PROFILES[profile](lever["moving_length"] * kernel.length_scale)
    nugget = lever["nugget"] if lever["moving_nugget"] is None else lever["moving_nugget"]
    check_descent(points[:50].astype(float), rows.Y[:50], kernel, profile)
    values = []
    for layer in range(max(layers) + 1):
        if layer in layers:
            mean = float(np.mean(values[-10:])) if values else None
            yield layer, mean, Rows(points[:n].copy(), rows.Y, points[n:].copy())
        batch = rng.choice(lever["from"] or n, lever["batch"], replace=False)
        Z = points[batch].astype(float)
        Z += lever["noise"] * np.sqrt(np.mean(Z**2)) * rng.normal(size=Z.shape)
        value, g = descent(Z, rows.Y[batch], kernel, profile, lever, rng)
        values.append(value)
        C = cho_solve(cho_factor(moving(Z) + nugget * np.eye(len(Z)), lower=True), g)
        G = moving.apply(points, Z.astype(points.dtype), C.astype(points.dtype))
        points += lever["step_size"] * np.sqrt(np.sum(points[:n] ** 2) / np.sum(G[:n] ** 2)) * G


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--dataset", choices=DATASETS, default="digits")
    options.add_argument("--data-dir")
    options.add_argument("--n", type=int, default=12_000, help="training images")
    options.add_argument("--held-out", type=int, default=15_000, help="images to measure with")
    options.add_argument("--rank", type=int, default=100)
    options.add_argument("--n-layers", type=int, nargs="+", default=[0, 20, 60])
    options.add_argument("--levers", nargs="+", choices=LEVERS, default=list(LEVERS))
    options.add_argument("--set", default="{}", help="settings of all of them, as a JSON object")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    rows, _, held, profile, length = image_rows(args)
    quarter = args.n // 4
    table = Table(
        {
            "lever": "<15s",
            "layers": "6d",
            "all": "8.2%",
            f"{quarter}": "8.2%",
            "loss": "8.3f",
            "s": "7.1f",
        }
    )
    out = []
    for name in args.levers:
        lever = {**DEFAULTS, **LEVERS[name], **json.loads(args.set)}
        start = time.perf_counter()
        for layers, loss, after in flow(rows, profile, length, lever, args.n_layers, args.seed):
            errors = []
            for n in (args.n, quarter):
                some = Rows(after.X[:n], after.Y[:n], after.X_new)
                ((_, values),) = ridge(some, profile, length, (0.1,))
                errors.append(float(np.mean(values.argmax(axis=1) != held)))
            elapsed = time.perf_counter() - start
            table.row(name, layers, *errors, loss, elapsed)
            row = {"lever": name, "layers": layers, "all": errors[0], "quarter": errors[1]}
            out.append({**row, "loss": loss, "seconds": elapsed})
    write_json(args, rows=out)


if __name__ == "__main__":
    main()
