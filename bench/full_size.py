"""With all training images, does a learned deformation predict better than the kernel without one?

    $ python bench/full_size.py --dataset fashion-mnist --data-dir DIR
    $ python bench/full_size.py --dataset mnist --data-dir DIR --test
    $ python bench/full_size.py --dataset fashion-mnist --data-dir DIR --held-out 0 --nuggets 0.07 --test

`bench/generalisation.py images` asks this of 12 000 images, which a factorisation can still solve for.
Here the kernel matrix is stored once, in float32 (14.4 GB for 60 000 images), and kernel ridge
regression is solved by conjugate gradients, all classes at once, from large nuggets to small ones, each
from the solution before. A pivoted Cholesky factorisation of low rank preconditions them.

The images are their pixels' square roots, divided by their norm, in their leading directions. The sides:

* unflowed: these;
* metric: what x -> c M^(power / 2) x makes of them, for the mean outer product M of the gradients of
  the solution of "unflowed" at `--sample` of the images, as in `kflow.GradientMetric`;
* mean: the mean of both predictions;
* flow: the images after so many layers (`--n-layers`).

With `--held-out`, so many training images measure, and choose a nugget for each side. With `--test`, all
images train then, and each side predicts the test set once with its nugget: the first of `--nuggets` if
no image was held out. Printed are the parts of wrong labels, the residual |A C - Y| / |Y| of the worst
class, iterations, seconds since the row before, and the most memory used so far. Of the data set
"digits", held-out images are too few to tell the sides apart: it shows that the script runs.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from generalisation import PROFILES, Rows, flow_of_images, scale_of
from measuring import Table, parser, write_json

from kflow import kernels
from kflow.datasets import DATASETS, Dataset, load_dataset
from kflow.learning.gradient_metric import gradient_outer_product, power_of_metric
from kflow.linear.conjugate_gradients import conjugate_gradients
from kflow.linear.interpolant import Interpolant
from kflow.linear.low_rank import Preconditioner, low_rank

# Profile, length scale, power of M, and nuggets: with 12 000 images they were the best, or among
# those that 10 000 other training images could not tell apart.
SETTINGS = {
    "fashion-mnist": ("rational quadratic", 0.58, 0.25, (0.2, 0.07)),
    "mnist": ("gaussian", 0.8, 1.0, (0.01,)),
    "digits": ("gaussian", 0.8, 1.0, (0.03, 0.01)),
}

COLUMNS = {
    "side": "<12s",
    "nugget": "7g",
    "error": "7.2%",
    "residual": "8.1e",
    "iterations": "4d",
    "s": "7.1f",
    "GB": "6.2f",
}
# For each side, those that it may choose from.
Nuggets: TypeAlias = Mapping[str, Sequence[float]]


class Solved(NamedTuple):
    """What kernel ridge regression with one nugget predicts; of a mean, only this is known."""

    nugget: float | None
    coefficients: np.ndarray | None
    values: np.ndarray
    residual: float | None
    n_iterations: int | None

    def error(self, y: np.ndarray) -> float:
        return float(np.mean(self.values.argmax(axis=1) != y))


def peak_memory() -> float:
    """Bytes of this process at most so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def pixels(data: Dataset, rows: Any, n_new: int, rank: int) -> tuple[Rows, np.ndarray]:
    """Return the training images of some rows, and new ones: the next, or the test set if none."""
    train, held = np.split(rows, [len(rows) - n_new])
    X, y = np.asarray(data.X_train, np.float32), np.asarray(data.y_train)
    X_new, y_new = (X[held], y[held]) if n_new else (data.X_test, data.y_test)
    classes, codes = np.unique(y[train], return_inverse=True)
    X, X_new = unit_rows(X[train]), unit_rows(np.asarray(X_new, np.float32))
    vectors = np.linalg.eigh(X.T.astype(float) @ X).eigenvectors
    basis = vectors[:, ::-1][:, :rank].astype(np.float32)
    Y = 2.0 * np.eye(len(classes))[codes] - 1.0
    return Rows(X @ basis, Y, X_new @ basis), np.searchsorted(classes, y_new)


def unit_rows(X: np.ndarray) -> np.ndarray:
    """Square roots of the pixels, each image divided by its norm."""
    roots = np.sqrt(X.reshape(len(X), -1))
    return roots / np.linalg.norm(roots, axis=1, keepdims=True)


def ridge(
    rows: Rows, kernel: kernels.Radial, nuggets: Sequence[float], args: Any
) -> Iterator[Solved]:
    """Yield the solution and the predictions for each nugget, from the largest."""
    K = kernel(rows.X)
    rng = np.random.default_rng(args.seed)
    approximation = low_rank(kernel, rows.X.astype(float), args.pivots, rng)
    C = None
    for nugget in sorted(nuggets, reverse=True):

        def product(V: np.ndarray, nugget: float = nugget) -> np.ndarray:
            # Rounding errors of float32 are far below the tolerance.
            return K @ V.astype(np.float32) + nugget * V

        solution = conjugate_gradients(
            product,
            rows.Y,
            preconditioner=Preconditioner(approximation, nugget),
            start=C,
            tolerance=args.tolerance,
        )
        C = solution.coefficients
        values = kernel.interpolate(rows.X_new, rows.X, C.astype(np.float32))
        yield Solved(nugget, C, values, float(solution.residuals.max()), solution.n_iterations)


def mapped(rows: Rows, M: np.ndarray, power: float) -> Rows:
    """Map the points by a power of the metric; their spread stays what it was."""
    A = power_of_metric(M, power, diagonal=False)
    X, X_new = rows.X @ A.T, rows.X_new @ A.T
    factor = scale_of(rows.X) / scale_of(X)
    return Rows((factor * X).astype(np.float32), rows.Y, (factor * X_new).astype(np.float32))


def flowed(rows: Rows, kernel: kernels.Radial, args: Any) -> Iterator[tuple[int, Rows]]:
    """Yield the points after so many layers."""
    flow = flow_of_images(rows, kernel, args)
    for n in args.n_layers:
        flow.run(n - flow.n_layers_)
        yield n, Rows(flow.points_, rows.Y, flow.follow_["new"])


def best(
    side: str, rows: Rows, y_new: np.ndarray, kernel: kernels.Radial, nuggets: Nuggets, args: Any
) -> Generator[tuple[str, Solved], None, Solved]:
    """Yield what each nugget gives; return what the best one gives."""
    found = []
    for solved in ridge(rows, kernel, nuggets.get(side, args.nuggets), args):
        yield side, solved
        found.append(solved)
    return min(found, key=lambda solved: solved.error(y_new))


def sides(
    rows: Rows, y_new: np.ndarray, nuggets: Nuggets, args: Any
) -> Iterator[tuple[str, Solved]]:
    """Yield each side's name and solution, with all nuggets that it may choose from."""
    profile, length = SETTINGS[args.dataset][:2]
    kernel = PROFILES[profile](length * scale_of(rows.X))
    plain = yield from best("unflowed", rows, y_new, kernel, nuggets, args)
    if args.powers:
        C = plain.coefficients.astype(np.float32)
        u = Interpolant.from_coefficients(rows.X, C, kernel=kernel, nugget=plain.nugget)
        # A mean over points needs not all of them.
        M = gradient_outer_product(u, rows.X[: args.sample])
    for power in args.powers:
        after = mapped(rows, M, power)
        metric = yield from best(f"metric {power:g}", after, y_new, kernel, nuggets, args)
        mean = (plain.values + metric.values) / 2.0
        yield f"mean {power:g}", Solved(None, None, mean, None, None)
    for n, after in flowed(rows, kernel, args) if args.n_layers else ():
        yield from best(f"flow {n}", after, y_new, kernel, nuggets, args)


def compare(part: str, rows: Rows, y_new: np.ndarray, nuggets: Nuggets, args: Any) -> list[Any]:
    """Print and return the rows of the table that are measured with one part of the data."""
    print(f"{len(rows.X)} training images, {len(y_new)} of the {part}", flush=True)
    table, out, clock = Table(COLUMNS), [], time.perf_counter()
    for side, solved in sides(rows, y_new, nuggets, args):
        now = time.perf_counter()
        measured = (solved.nugget, solved.error(y_new), solved.residual, solved.n_iterations)
        row = (side, *measured, now - clock, peak_memory() / 1e9)
        table.row(*row)
        out.append({"part": part, "n": len(rows.X), **dict(zip(COLUMNS, row, strict=True))})
        clock = now
    return out


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--dataset", choices=DATASETS, default="digits")
    options.add_argument("--data-dir")
    options.add_argument("--held-out", type=int, default=10_000, help="at most a fifth")
    options.add_argument("--test", action="store_true", help="look at the test set in the end")
    options.add_argument("--nuggets", type=float, nargs="+", help="to choose from")
    options.add_argument("--powers", type=float, nargs="*", help="of the metric")
    options.add_argument("--n-layers", type=int, nargs="*", default=[], help="of a flow")
    options.add_argument("--batch", type=int, default=1200, help="points of the flow's batches")
    options.add_argument("--rank", type=int, default=200, help="directions of the images")
    options.add_argument("--sample", type=int, default=5000, help="images for the metric")
    options.add_argument("--pivots", type=int, default=2000, help="rank of the preconditioner")
    options.add_argument("--tolerance", type=float, default=1e-3, help="of the residuals")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args()
    _, _, power, nuggets = SETTINGS[args.dataset]
    args.nuggets = args.nuggets or nuggets
    args.powers = [power] if args.powers is None else args.powers
    data = load_dataset(args.dataset, args.data_dir)
    order = np.random.default_rng(args.seed).permutation(len(data.X_train))
    n_held = min(args.held_out, len(order) // 5)
    found, chosen = [], {}
    if n_held:
        found = compare("held-out", *pixels(data, order, n_held, args.rank), {}, args)
        # The last one of a side stays, which is its best.
        for row in sorted(found, key=lambda row: row["error"], reverse=True):
            chosen[row["side"]] = [row["nugget"]]
    else:
        args.nuggets = args.nuggets[:1]
    if args.test:
        found += compare("test", *pixels(data, order, 0, args.rank), chosen, args)
    write_json(args, rows=found)


if __name__ == "__main__":
    main()
