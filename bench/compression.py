"""How much smaller and faster does a stored flow get, at what price?

    $ python bench/compression.py --data-dir ../shared/data/mnist   # fits the preset first
    $ python bench/compression.py --data-dir ../shared/data/mnist --model mnist.kflow
    $ python bench/compression.py --quick                           # digits

Fits the preset of MNIST, or loads a model that was fitted on all its training images and kept its
layers, and compresses it by `kflow.compress` to several tolerances and with several settings, from
the training images alone. Each row of the table is one compressed model: layers, centres and rank,
size of the layers in float32 and float16, time to move the test images (the shortest of some, the
original's taken in turn with them), position error and share of changed classes on training images
held out of the compression, and the error on the test images. The first row is the original.

A compressed flow is checked first: its transform against the slow reference on some rows, and its
predictions against those of the model that was saved and loaded.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import REST, Table, check_close, parser, timed, write_json

import kflow
from kflow.compression import FlowSize
from kflow.datasets import Dataset, load_dataset
from kflow.presets import PRESETS
from kflow.testing import slow as testing

# All directions count in the position error, so that it stays large with a low rank.
SETTINGS: list[dict[str, Any]] = [
    {"rank": 50, "n_centres": 8000},
    {"rank": 50, "n_centres": 2500},
    {"tolerance": 0.2},
    {"tolerance": 0.1},
]
QUICK: list[dict[str, Any]] = [{"rank": 20, "n_centres": 100}, {"tolerance": 0.2}]

SIZES = {
    "layers": "6d",
    "centres": "7d",
    "rank": "4d",
    "MB": "7.2f",
    "in float16": "10.2f",
    "smaller": "7.1f",
    "position": "8.4f",
    "changed": "7.2%",
    "test error": "10.2%",
    "compress s": "10.0f",
}
TIMES = {"layers": "6d", "centres": "7d", "rank": "4d", "transform s": "11.3f", "faster": "6.1f"}


def moved_by(model: Any, X: np.ndarray) -> np.ndarray:
    """Return where the flow of a model takes points, as its interpolant sees them."""
    return model.flow_.replay().final(X, model.scaling_, reduced=True)


def check(compressed: Any, X: np.ndarray) -> None:
    """Compare a compressed model with the slow reference, and with itself after a save."""
    flow = compressed.flow_
    few = X[np.linspace(0, len(X) - 1, 12).astype(int)]
    points = next(flow.trajectory(compressed.scaling_(few), [0], reduced=True))
    for z, c, step in flow.replay().store:
        moved = testing.move(points, z, step * c, kernel=flow.kernel_)
        points = moved.astype(points.dtype)
    check_close(moved_by(compressed, few), points, 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        compressed.save(Path(folder) / "model.kflow")
        loaded = kflow.load(Path(folder) / "model.kflow")
    assert (loaded.predict(few) == compressed.predict(few)).all(), "the loaded model differs"


def original(args: argparse.Namespace, data: Dataset) -> Any:
    """Return the model to compress."""
    if args.model is not None:
        return kflow.load(args.model)
    settings = dict(PRESETS[data.name])
    if args.quick:
        settings |= {"n_layers": 60, "nugget": 0.1, "step": "rms", "step_size": 0.02}
    estimator = kflow.KernelFlowClassifier(**settings, random_state=args.seed)
    return estimator.fit(data.X_train, data.y_train)


def transform_seconds(models: list[Any], X: np.ndarray, repeats: int) -> list[float]:
    """Return the shortest time of each model, taken in turn, so that noise falls on all alike."""
    best = [float("inf")] * len(models)
    for _ in range(repeats):
        for number, model in enumerate(models):
            time.sleep(REST)
            seconds = timed(lambda model=model: moved_by(model, X))
            best[number] = min(best[number], seconds)
    return best


def row(model: Any, size: FlowSize, data: Dataset) -> dict[str, Any]:
    """Return what is known of a model but its times."""
    return {
        "layers": size.n_layers,
        "centres": size.n_centres,
        "rank": size.rank,
        "bytes_float32": size.n_bytes,
        "bytes_float16": size.n_bytes // 2,
        "flops": size.flops,
        "test_error": float((model.predict(data.X_test) != data.y_test).mean()),
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--data-dir", help="holds MNIST's four files")
    options.add_argument("--model", help="a model that was fitted on all training images")
    options.add_argument("--quick", action="store_true", help="digits, and few layers")
    options.add_argument("--repeats", type=int, default=3, help="of each transform")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    data = load_dataset("digits" if args.quick else "mnist", args.data_dir)
    teacher = original(args, data)
    models, rows = [teacher], [row(teacher, FlowSize.of(teacher.flow_), data)]
    table = Table(SIZES)
    for settings in [None, *(QUICK if args.quick else SETTINGS)]:
        if settings is not None:
            start = time.perf_counter()
            small = kflow.compress(teacher, data.X_train, random_state=args.seed, **settings)
            seconds = time.perf_counter() - start
            check(small.estimator, data.X_test)
            models.append(small.estimator)
            rows.append(
                {
                    **row(small.estimator, small.after, data),
                    "settings": settings,
                    "compress_s": seconds,
                    "reached": small.reached,
                    "position_error": small.position_error,
                    "largest_error": small.largest_error,
                    "changed": small.prediction_change,
                }
            )
        result = rows[-1]
        result["smaller"] = rows[0]["bytes_float32"] / result["bytes_float32"]
        table.row(
            *(result[name] for name in ("layers", "centres", "rank")),
            *(result[name] / 1e6 for name in ("bytes_float32", "bytes_float16")),
            *(result.get(name) for name in ("smaller", "position_error", "changed")),
            *(result.get(name) for name in ("test_error", "compress_s")),
        )
    print()
    times = transform_seconds(models, data.X_test, args.repeats)
    table = Table(TIMES)
    for result, seconds in zip(rows, times, strict=True):
        result["transform_s"], result["faster"] = seconds, times[0] / seconds
        names = ("layers", "centres", "rank", "transform_s", "faster")
        table.row(*(result[name] for name in names))
    args.data_dir = args.model = None  # paths of this machine
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
