"""How much smaller and faster does a stored flow get, at what price?

    $ python bench/compression.py --data-dir ../shared/data/mnist   # fits the preset first
    $ python bench/compression.py --data-dir ../shared/data/mnist --model mnist.kflow
    $ python bench/compression.py --data-dir ../shared/data/mnist --scattering
    $ python bench/compression.py --quick                           # digits; also with --scattering

Fits the preset of MNIST, or loads a model that was fitted on all its training images and kept its
layers, and compresses it by `kflow.compress` to several tolerances and with several settings, from
the training images alone. Each row of the table is one compressed model: layers, centres and rank,
size of the layers in float32 and float16, time to move the test images (the shortest of some, the
original's taken in turn with them), position error and share of changed classes on training images
held out of the compression, and the error on the test images. The first row is the original.

With --scattering the model takes images and holds their encoder, and the second table also tells the size of its
file and the time from the pixels of the test images to their classes.

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
from kflow.presets import PRESETS, SCATTERING
from kflow.testing import slow as testing

# All directions count in the position error, so that it stays large with a low rank.
SETTINGS: list[dict[str, Any]] = [
    {"rank": 50, "n_centres": 8000},
    {"rank": 50, "n_centres": 2500},
    {"tolerance": 0.2},
    {"tolerance": 0.1},
]
OF_SCATTERING: list[dict[str, Any]] = [
    {"n_centres": 7500},
    {"rank": 100, "n_centres": 7500},
    {"rank": 50, "n_centres": 7500},
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
TIMES = {
    "layers": "6d",
    "centres": "7d",
    "rank": "4d",
    "transform s": "11.3f",
    "faster": "6.1f",
    "predict s": "9.2f",
    "file MB": "7.1f",
}


def classifier_of(model: Any) -> Any:
    """Return the classifier of a pipeline, or the model itself."""
    return getattr(model, "estimator", model)


def inputs_of(model: Any, X: np.ndarray) -> np.ndarray:
    """Return what the classifier of a model takes."""
    return model.encoder.transform(X) if hasattr(model, "encoder") else X


def moved_by(classifier: Any, X: np.ndarray) -> np.ndarray:
    """Return where the flow of a classifier takes points, as its interpolant sees them."""
    return classifier.flow_.replay().final(X, classifier.scaling_, reduced=True)


def file_bytes(model: Any) -> int:
    """Return the size of a model's file."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.kflow")
        return (Path(folder) / "model.kflow").stat().st_size


def check(compressed: Any, X: np.ndarray) -> None:
    """Compare a compressed model with the slow reference, and with itself after a save."""
    classifier = classifier_of(compressed)
    flow = classifier.flow_
    few = X[np.linspace(0, len(X) - 1, 12).astype(int)]
    inputs = inputs_of(compressed, few)
    points = next(flow.trajectory(classifier.scaling_(inputs), [0], reduced=True))
    for z, c, step in flow.replay().store:
        moved = testing.move(points, z, step * c, kernel=flow.kernel_)
        points = moved.astype(points.dtype)
    check_close(moved_by(classifier, inputs), points, 1e-3)
    with tempfile.TemporaryDirectory() as folder:
        compressed.save(Path(folder) / "model.kflow")
        loaded = kflow.load(Path(folder) / "model.kflow")
    assert (loaded.predict(few) == compressed.predict(few)).all(), "the loaded model differs"


def original(args: argparse.Namespace, data: Dataset) -> Any:
    """Return the model to compress."""
    if args.model is not None:
        return kflow.load(args.model)
    preset = SCATTERING[data.name]
    settings = dict(preset.estimator if args.scattering else PRESETS[data.name])
    if args.quick:
        settings |= {"n_layers": 60, "nugget": 0.1, "step": "rms", "step_size": 0.02}
    model = kflow.KernelFlowClassifier(**settings, random_state=args.seed)
    if args.scattering:
        encoder = kflow.features.ImageEncoder(**preset.encoder, image_shape=data.image_shape)
        model = kflow.make_image_pipeline(model, encoder=encoder)
    return model.fit(data.X_train, data.y_train)


def transform_seconds(models: list[Any], X: np.ndarray, repeats: int) -> list[float]:
    """Return the shortest time of each model, taken in turn, so that noise falls on all alike."""
    best = [float("inf")] * len(models)
    for _ in range(repeats):
        for number, model in enumerate(models):
            time.sleep(REST)
            classifier, inputs = classifier_of(model), inputs_of(model, X)
            seconds = timed(lambda c=classifier, rows=inputs: moved_by(c, rows))
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
    options.add_argument("--scattering", action="store_true", help="a model of images")
    options.add_argument("--quick", action="store_true", help="digits, and few layers")
    options.add_argument("--repeats", type=int, default=3, help="of each transform")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    data = load_dataset("digits" if args.quick else "mnist", args.data_dir)
    teacher = original(args, data)
    models = [teacher]
    rows = [row(teacher, FlowSize.of(classifier_of(teacher).flow_), data)]
    table = Table(SIZES)
    wanted = QUICK if args.quick else OF_SCATTERING if args.scattering else SETTINGS
    for settings in [None, *wanted]:
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
    for model, result, seconds in zip(models, rows, times, strict=True):
        result["transform_s"], result["faster"] = seconds, times[0] / seconds
        result["predict_s"] = timed(lambda model=model: model.predict(data.X_test))
        result["bytes_of_file"] = file_bytes(model)
        names = ("layers", "centres", "rank", "transform_s", "faster", "predict_s")
        table.row(*(result[name] for name in names), result["bytes_of_file"] / 1e6)
    args.data_dir = args.model = None  # paths of this machine
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
