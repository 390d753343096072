"""What does a setting do to the error on images held out of the training set?

    $ python bench/tuning.py --dataset mnist --data-dir ../shared/data/mnist
    $ python bench/tuning.py --dataset mnist --data-dir ../shared/data/mnist --metric
    $ python bench/tuning.py --dataset mnist --data-dir ../shared/data/mnist \\
          --set '{"batch_size": 600, "gradient_cap": Infinity}' --n-layers 200
    $ python bench/tuning.py --dataset mnist --data-dir ../shared/data/mnist --scattering \\
          --encoder '{"n_components": 200}'
    $ python bench/tuning.py --dataset mnist --data-dir ../shared/data/mnist --scattering \\
          --augmentation '{"n_copies": 4, "shift": 1}' --n-views 5

Runs the flow of a preset, with some settings replaced, on all training images but 10000 (or a fifth,
if that is less), and prints the errors of interpolants on those along the way. This is how presets
are chosen: the test set stays out of it.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
from measuring import Table, parser, write_json

import kflow
from kflow.data.scaling import Preprocessing
from kflow.datasets import DATASETS, load_dataset
from kflow.evaluation import interpolation_errors
from kflow.features import Augmentation, ImageEncoder
from kflow.features.copies import copies_encoded, iterate_views, targets_of_copies
from kflow.presets import PRESETS, SCATTERING


class Checkpoints:
    """Callback that evaluates the flow now and then, off the clock."""

    def __init__(self, y: np.ndarray, y_held: np.ndarray, nugget: float, every: int, last: int):
        self._y, self._y_held, self._nugget = y, y_held, nugget
        self._every, self._last = every, last
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._table = Table(
            {"layers": "6d", "s": "6.1f", "points": "6d", "average": "8.2%", "max": "8.2%"}
        )
        self._start = time.perf_counter()

    def __call__(self, flow: kflow.KernelFlow) -> None:
        layers = flow.n_layers_
        if layers % self._every and layers != self._last:
            return
        self.seconds += time.perf_counter() - self._start
        errors = interpolation_errors(
            flow.reduced_points_,
            self._y,
            flow.reduced_follow_["held"],
            self._y_held,
            kernel=flow.kernel_,
            nugget=self._nugget,
            rng=np.random.default_rng(1),
            n_draws=20,
            n_interpolation=(2000, 600, 60, 10),
        )
        for error in errors:
            row = (layers, self.seconds, error.n_interpolation, error.average, error.max)
            self._table.row(*row)
            names = ("layers", "seconds", "n_interpolation", "average", "max")
            self.rows.append(dict(zip(names, row, strict=True)))
        self._start = time.perf_counter()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--dataset", choices=DATASETS, default="digits")
    options.add_argument("--data-dir")
    options.add_argument("--set", default="{}", help="settings, as a JSON object")
    options.add_argument("--n-layers", type=int, help="instead of the preset's")
    options.add_argument("--every", type=int, default=100, help="layers between evaluations")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--metric", action="store_true", help="a GradientMetric before the flow")
    options.add_argument("--scattering", action="store_true", help="scattering for pixels")
    options.add_argument("--encoder", default="{}", help="settings of the ImageEncoder, as JSON")
    options.add_argument("--augmentation", help="settings of an Augmentation, as JSON")
    options.add_argument("--n-views", type=int, default=1, help="views of each held-out image")
    args = options.parse_args()
    data = load_dataset(args.dataset, args.data_dir)
    n = len(data.X_train)
    order = np.random.default_rng(123).permutation(n)
    held, kept = np.split(order, [min(10_000, n // 5)])
    preset = SCATTERING[args.dataset].estimator if args.scattering else PRESETS[args.dataset]
    settings = {**preset, **json.loads(args.set), "random_state": args.seed}
    if args.n_layers is not None:
        settings["n_layers"] = args.n_layers
    if isinstance(settings.get("kernel"), dict):
        settings["kernel"] = kflow.kernels.from_dict(settings["kernel"])
    augmentation = None
    if args.augmentation is not None:
        augmentation = Augmentation.from_dict(json.loads(args.augmentation))
    y = targets_of_copies(augmentation, data.y_train[kept])
    checkpoints = Checkpoints(
        y,
        data.y_train[held],
        settings["interpolation_nugget"],
        args.every,
        settings["n_layers"],
    )
    X, X_held = data.X_train[kept], data.X_train[held]
    if args.scattering:
        given = {**SCATTERING[args.dataset].encoder, **json.loads(args.encoder)}
        start = time.perf_counter()
        encoder = ImageEncoder(**given, image_shape=data.image_shape).fit(X)
        X = copies_encoded(encoder, augmentation, X)
        X_held = np.concatenate(list(iterate_views(encoder, augmentation, args.n_views, X_held)))
        print(f"encoded in {time.perf_counter() - start:.0f} s")
    if args.metric:
        scaling = Preprocessing.fit(X, settings.pop("scaling"))
        X, X_held, settings["scaling"] = scaling(X), scaling(X_held), None
        metric = kflow.GradientMetric(random_state=args.seed).fit(X, data.y_train[kept])
        X, X_held = metric.transform(X), metric.transform(X_held)
    estimator = kflow.KernelFlowClassifier(**settings, layers="none", callbacks=[checkpoints])
    estimator.fit(X, y, follow={"held": X_held})
    write_json(args, rows=checkpoints.rows)


if __name__ == "__main__":
    main()
