"""How much do the features of images tell a kernel, without any flow?

    $ python bench/image_features.py --dataset cifar-10 --data-dir ../shared/data/cifar-10
    $ python bench/image_features.py --dataset cifar-10 --data-dir ../shared/data/cifar-10 \\
          --encoders '[{"J": 3}, {"n_filters": 512}]'
    $ python bench/image_features.py --quick                        # digits

For each setting of `ImageEncoder`, the error of an interpolant from 10000 training images (or half of
them) on 10000 others (or the other half), with the Gaussian exp(-1.5 r^2 / msd), where msd is the mean
squared distance, and nugget 0.1. A setting takes a minute, where a flow takes ten: this is how features
are compared before flows are. The test set stays out of it.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
from measuring import Table, parser, write_json

import kflow
from kflow.datasets import DATASETS, load_dataset
from kflow.features import ImageEncoder

ENCODERS: list[dict[str, Any]] = [
    {},
    {"colours": "rgb"},
    {"J": 1},
    {"J": 3},
    {"L": 12},
    {"max_order": 1},
    {"n_filters": 256},
    {"n_filters": 512},
]
QUICK: list[dict[str, Any]] = [{"J": 1}, {"J": 1, "n_filters": 16, "patch_size": 3, "n_cells": 2}]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--dataset", choices=DATASETS, default="digits")
    options.add_argument("--data-dir")
    options.add_argument("--encoders", help="settings of encoders, as a JSON list of objects")
    options.add_argument("--n-components", type=int, default=800)
    options.add_argument("--quick", action="store_true", help="digits")
    args = options.parse_args()
    data = load_dataset("digits" if args.quick else args.dataset, args.data_dir)
    n = min(10_000, len(data.X_train) // 2)
    order = np.random.default_rng(0).permutation(len(data.X_train))
    train, held = order[:n], order[n : 2 * n]
    encoders = QUICK if args.quick else ENCODERS
    if args.encoders is not None:
        encoders = json.loads(args.encoders)
    in_colour = data.image_shape is not None and len(data.image_shape) > 2
    table = Table({"features": "9d", "error": "8.2%", "s": "6.0f", "encoder": "<60s"})
    rows = []
    for settings in encoders:
        start = time.perf_counter()
        given = {"padding": "reflect" if in_colour else "zero", "n_components": args.n_components}
        encoder = ImageEncoder(**{**given, **settings}, image_shape=data.image_shape)
        Z = encoder.fit(data.X_train[train]).transform(data.X_train[train])
        msd = 2.0 * float(Z.var(axis=0, dtype=np.float64).sum())
        interpolant = kflow.Interpolant(
            Z,
            kflow.one_hot(data.y_train[train]),
            kernel=kflow.kernels.Gaussian(math.sqrt(msd / 3.0)),
            nugget=0.1,
        )
        values = interpolant(encoder.transform(data.X_train[held]))
        predicted = np.unique(data.y_train[train])[values.argmax(axis=1)]
        row = {
            "encoder": settings,
            "n_features": encoder.components_.shape[0],
            "error": float((predicted != data.y_train[held]).mean()),
            "seconds": time.perf_counter() - start,
        }
        assert row["error"] < 0.9, "the features say nothing of the classes"
        table.row(row["n_features"], row["error"], row["seconds"], json.dumps(settings))
        rows.append(row)
    args.data_dir = None  # a path of this machine
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
