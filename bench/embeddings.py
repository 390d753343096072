"""How well do two coordinates tell held-out digits apart: by PCA, NCA, UMAP and a flow?

    $ pip install umap-learn
    $ python bench/embeddings.py --picture docs/images/embeddings.png

Every method learns from 1347 digits and maps 450 others: PCA and UMAP without labels, NCA, UMAP and the flow
with them. The flow's 64 coordinates are drawn by their linear map to the places of the classes, learned from the
training points as well. Printed: the error of the nearest class mean and of five nearest neighbours, with the
training points' coordinates, and seconds. UMAP is left out where it is not installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from measuring import parser, write_json
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid, NeighborhoodComponentsAnalysis

import kflow
from kflow.plotting import PointsDisplay
from kflow.presets import PRESETS

Planar = tuple[np.ndarray, np.ndarray]


def by_pca(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Planar:
    del y  # it knows no labels
    model = PCA(2).fit(X)
    return model.transform(X), model.transform(X_test)


def by_nca(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Planar:
    model = NeighborhoodComponentsAnalysis(2, random_state=0).fit(X, y)
    return model.transform(X), model.transform(X_test)


def by_umap(labels: bool) -> Callable[..., Planar]:
    def embed(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Planar:
        from umap import UMAP

        model = UMAP(random_state=0, n_jobs=1).fit(X, y if labels else None)
        return model.embedding_, model.transform(X_test)

    return embed


def by_flow(n_layers: int) -> Callable[..., Planar]:
    def embed(X: np.ndarray, y: np.ndarray, X_test: np.ndarray) -> Planar:
        settings = {**PRESETS["digits"], "n_layers": n_layers}
        flow = kflow.KernelFlowClassifier(**settings, random_state=0).fit(X, y)
        moved, moved_test = flow.transform(X), flow.transform(X_test)
        angles = 2.0 * np.pi * y / 10.0
        places = np.column_stack([np.cos(angles), np.sin(angles)])
        middle = moved.mean(axis=0)
        plane = np.linalg.lstsq(moved - middle, places, rcond=0.02)[0]
        return (moved - middle) @ plane, (moved_test - middle) @ plane

    return embed


def drawn(planes: dict[str, np.ndarray], labels: np.ndarray) -> Figure:
    """Return a figure with a panel for each method."""
    n_rows = -(-len(planes) // 3)
    figure = Figure(figsize=(7.8, 2.9 * n_rows), dpi=110, layout="constrained")
    axes = list(figure.subplots(n_rows, 3).ravel())
    for ax, (name, points) in zip(axes, planes.items(), strict=False):
        low, high = np.percentile(points, [1, 99], axis=0)
        unit = (points - (low + high) / 2.0) / (high - low).max()
        PointsDisplay(unit, labels).plot(ax, class_names="means", size=6.0)
        ax.set(title=name, xlabel="", ylabel="", xticks=[], yticks=[])
    for ax in axes[len(planes) :]:
        ax.set_axis_off()
    return figure


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--picture", metavar="FILE")
    options.add_argument("--n-layers", type=int, default=400)
    options.add_argument("--n", type=int, default=1347, help="training digits")
    args = options.parse_args()
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, train_size=args.n, test_size=450, stratify=y, random_state=0
    )
    methods: dict[str, Callable[..., Planar]] = {"PCA": by_pca, "NCA": by_nca}
    if find_spec("umap"):
        methods |= {"UMAP": by_umap(False), "UMAP with labels": by_umap(True)}
    else:
        print("UMAP is left out: it is not installed")
    methods["kernel flow"] = by_flow(args.n_layers)
    rows, planes = [], {}
    print("| method | nearest class mean | five neighbours | s |")
    print("|---|---|---|---|")
    for name, method in methods.items():
        start = time.perf_counter()
        points, points_test = method(X, y, X_test)
        seconds = time.perf_counter() - start
        row: dict[str, Any] = {"method": name, "seconds": seconds}
        for key, model in (("mean", NearestCentroid()), ("neighbours", KNeighborsClassifier(5))):
            row[key] = 1.0 - float(model.fit(points, y).score(points_test, y_test))
        rows.append(row)
        planes[name] = points_test
        print(
            f"| {name} | {row['mean']:.1%} | {row['neighbours']:.1%} | {seconds:.1f} |", flush=True
        )
    if args.picture:
        drawn(planes, y_test).savefig(args.picture)
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
