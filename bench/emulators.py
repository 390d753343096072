"""How good are emulators of five computer models, and how many microseconds does a prediction take?

    $ python bench/emulators.py                                          # N = 500
    $ python bench/emulators.py --n 5000 50000 --seeds 1 --methods kflow kflow-1000 svgp
    $ python bench/emulators.py --simulators spill --picture FILE        # errors of each output

The models are `kflow.simulators`. All methods get the same runs, a Latin hypercube, and the same 1000
test runs, which nothing is chosen by. The others emulate the scores of the components that
kflow.Emulator has chosen, and their predictions are mapped back like its own.

kflow       kflow.Emulator as it comes
kflow-1000  with n_inducing=1000; kflow-4000 likewise
kflow-e2    with loss="e2"; kflow-loo, kflow-kfold and kflow-rho likewise
sklearn     GaussianProcessRegressor for each component: ConstantKernel * Matern(nu=2.5, a length scale
            per input) + WhiteKernel, no restarts; up to 1000 rows
gpytorch    batched exact Gaussian processes, Matern 5/2 with a length scale per input, in float64, 100
            steps of Adam at a rate of 0.1; up to 1000 rows
svgp        GPyTorch's variational ones, batched, 500 inducing points for each component, in float64,
            batches of 1024, Adam at a rate of 0.01 for --svgp-seconds

local       with the kernels and nuggets of kflow.Emulator, the posterior given the 50 rows nearest to
            each test run in units of the length scales: no smooth mean, but the near rows all count

"median" and "all" are root mean square errors over the deviation of each output, the median and the
root mean square of all outputs; "inside" the part of test outputs inside their interval of 95 %;
"promised" what kflow itself says of its error; "mean us" and "std us" microseconds for a test run out of
1000 predicted at once, without and with deviations, "one us" those of a call with a single row, and "one
std us" those of one with deviations. "part" is the part of the machine's limit that is reached, see `Limits`.
Means over seeds; for seconds and microseconds medians. All methods run on one thread, and times are
those of the processor, which hardly depend on what else the machine does.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from limit import Rates
from measuring import Table, best_blas, median, parser, restart_with, write_json
from scipy.linalg import solve_triangular
from scipy.spatial import cKDTree
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

import kflow
from kflow.simulators import SIMULATORS

Array = np.ndarray
N_TEST, SMALL = 1000, 1000
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "KFLOW")}
METHODS = (
    *(
        "kflow",
        "kflow-1000",
        "kflow-4000",
        "kflow-e2",
        "kflow-loo",
        "kflow-kfold",
        "kflow-rho",
    ),
    *("local", "sklearn", "gpytorch", "svgp"),
)

# ---- the others, on scores --------------------------------------------------------------------


class SklearnScores:
    def __init__(self, U: Array, Z: Array, seconds: float) -> None:
        del seconds
        d = U.shape[1]
        self._models = []
        for z in Z.T:
            kernel = ConstantKernel() * Matern(2.0 * np.sqrt(d) * np.ones(d), (1e-2, 1e3), nu=2.5)
            kernel += WhiteKernel(1e-4, (1e-9, 1e2))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                self._models.append(GaussianProcessRegressor(kernel).fit(U, z))

    def __call__(self, U: Array, with_std: bool) -> tuple[Array, Array | None]:
        if not with_std:
            return np.stack([model.predict(U) for model in self._models], axis=1), None
        pairs = [model.predict(U, return_std=True) for model in self._models]
        means, stds = (np.stack(parts, axis=1) for parts in zip(*pairs, strict=True))
        return means, stds**2


class GpytorchScores:
    """Exact processes, one for each component in one batch."""

    def __init__(self, U: Array, Z: Array, seconds: float) -> None:
        import gpytorch
        import torch

        del seconds
        torch.manual_seed(0)
        shape = torch.Size([Z.shape[1]])
        x = torch.as_tensor(U).expand(Z.shape[1], *U.shape)
        z = torch.as_tensor(Z.T.copy())

        class Model(gpytorch.models.ExactGP):
            def __init__(self, likelihood: Any) -> None:
                super().__init__(x, z, likelihood)
                self.mean_module = gpytorch.means.ConstantMean(batch_shape=shape)
                base = gpytorch.kernels.MaternKernel(
                    nu=2.5, ard_num_dims=U.shape[1], batch_shape=shape
                )
                base.lengthscale = 2.0 * U.shape[1] ** 0.5
                self.covar_module = gpytorch.kernels.ScaleKernel(base, batch_shape=shape)

            def forward(self, x: Any) -> Any:
                return gpytorch.distributions.MultivariateNormal(
                    self.mean_module(x), self.covar_module(x)
                )

        likelihood = gpytorch.likelihoods.GaussianLikelihood(
            batch_shape=shape, noise_constraint=gpytorch.constraints.GreaterThan(1e-8)
        )
        likelihood.noise = 1e-4
        self._model, self._likelihood = Model(likelihood).double(), likelihood.double()
        self._model.train()
        optimizer = torch.optim.Adam(self._model.parameters(), lr=0.1)
        loss = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, self._model)
        for _ in range(100):
            optimizer.zero_grad()
            value = -loss(self._model(x), z).sum()
            value.backward()
            optimizer.step()
        self._model.eval()
        self._likelihood.eval()

    def __call__(self, U: Array, with_std: bool) -> tuple[Array, Array | None]:
        import gpytorch
        import torch

        x = torch.as_tensor(U).expand(self._model.train_targets.shape[0], *U.shape)
        with torch.no_grad(), gpytorch.settings.skip_posterior_variances(not with_std):
            found = self._likelihood(self._model(x))
            return found.mean.numpy().T, found.variance.numpy().T if with_std else None


class SvgpScores:
    """Variational processes, one for each component in one batch."""

    def __init__(self, U: Array, Z: Array, seconds: float) -> None:
        import gpytorch
        import torch

        torch.manual_seed(0)
        shape, d = torch.Size([Z.shape[1]]), U.shape[1]
        x, z = torch.as_tensor(U), torch.as_tensor(Z)
        start = x[torch.randperm(len(x))[:500]]

        class Model(gpytorch.models.ApproximateGP):
            def __init__(self) -> None:
                points = start.expand(*shape, *start.shape).clone()
                strategy = gpytorch.variational.VariationalStrategy(
                    self,
                    points,
                    gpytorch.variational.CholeskyVariationalDistribution(
                        len(start), batch_shape=shape
                    ),
                    learn_inducing_locations=True,
                )
                super().__init__(strategy)
                self.mean_module = gpytorch.means.ConstantMean(batch_shape=shape)
                base = gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=d, batch_shape=shape)
                base.lengthscale = 2.0 * d**0.5
                self.covar_module = gpytorch.kernels.ScaleKernel(base, batch_shape=shape)

            def forward(self, x: Any) -> Any:
                return gpytorch.distributions.MultivariateNormal(
                    self.mean_module(x), self.covar_module(x)
                )

        self._model = Model().double()
        self._likelihood = gpytorch.likelihoods.GaussianLikelihood(
            batch_shape=shape, noise_constraint=gpytorch.constraints.GreaterThan(1e-8)
        ).double()
        self._likelihood.noise = 1e-2
        parameters = [*self._model.parameters(), *self._likelihood.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.01)
        loss = gpytorch.mlls.VariationalELBO(self._likelihood, self._model, num_data=len(x))
        end = time.process_time() + seconds
        while time.process_time() < end:
            rows = torch.randint(len(x), (min(1024, len(x)),))
            optimizer.zero_grad()
            value = -loss(self._model(x[rows]), z[rows].T).sum()
            value.backward()
            optimizer.step()
        self._model.eval()
        self._likelihood.eval()

    def __call__(self, U: Array, with_std: bool) -> tuple[Array, Array | None]:
        import gpytorch
        import torch

        with torch.no_grad(), gpytorch.settings.skip_posterior_variances(not with_std):
            found = self._likelihood(self._model(torch.as_tensor(U)))
            return found.mean.numpy().T, found.variance.numpy().T if with_std else None


class LocalScores:
    """A small system for each test run and component."""

    def __init__(self, U: Array, Z: Array, emulator: kflow.Emulator) -> None:
        self._parts = []
        for kernel, nugget, z in zip(emulator.kernels_, emulator.nuggets_, Z.T, strict=True):
            lengths = np.array(kernel.kernels[0].kernel.length_scale)
            self._parts.append((kernel, nugget, lengths, cKDTree(U / lengths), U, z))

    def __call__(self, U: Array, with_std: bool) -> tuple[Array, Array | None]:
        del with_std
        found = np.array([self._component(U, *part) for part in self._parts])
        return found[:, 0].T, found[:, 1].T

    @staticmethod
    def _component(
        U: Array, kernel: Any, nugget: float, lengths: Array, tree: Any, points: Array, z: Array
    ) -> Array:
        mean, variance = np.empty(len(U)), kernel.diag(U) + nugget
        for i, rows in enumerate(tree.query(U / lengths, min(50, len(points)))[1]):
            matrix = kernel(points[rows])
            matrix.flat[:: len(rows) + 1] += nugget + 1e-10 * matrix[0, 0]
            cross = kernel(points[rows], U[i : i + 1])
            half = solve_triangular(
                np.linalg.cholesky(matrix), np.column_stack([cross, z[rows]]), lower=True
            )
            mean[i] = half[:, 0] @ half[:, 1]
            variance[i] -= half[:, 0] @ half[:, 0]
        return np.array([mean, np.maximum(variance, nugget)])


OTHERS = {"sklearn": SklearnScores, "gpytorch": GpytorchScores, "svgp": SvgpScores}


# ---- one measurement --------------------------------------------------------------------------


def measured(
    predict: Callable[[Array, bool], tuple[Array, Array | None]],
    T: Array,
    Y: Array,
    std: Array,
    repeats: int,
) -> dict[str, float]:
    """Errors at test runs, and the time of a prediction."""
    predict(T[:2], True)
    times: dict[str, float] = {}
    cases = (("mean", T, False), ("std", T, True), ("one", T[:1], False), ("one_std", T[:1], True))
    for name, rows, with_std in cases:
        found = []
        for _ in range(1 if with_std and len(rows) > 1 else repeats):
            start = time.process_time()
            result = predict(rows, with_std)
            found.append(1e6 * (time.process_time() - start) / len(rows))
        times[f"us_{name}"] = median(found)
        if name == "std":
            mean, deviation = result
    assert deviation is not None
    error, varies = np.abs(mean - Y), std > 0.0
    relative = np.sqrt(np.square(error).mean(axis=0))[varies] / std[varies]
    return {
        "median": float(np.median(relative)),
        "all": float(np.sqrt(np.mean(relative**2))),
        "worst": float(relative.max()),
        "inside": float(np.mean(error[:, varies] <= 1.96 * deviation[:, varies])),
        **times,
    }


class Limits:
    """Microseconds of a prediction if its products had the rate of a large matrix product, and nothing else
    took time than the values of the radial kernels, at the rate of values in the first-level cache.
    """

    def __init__(self) -> None:
        self._rates = Rates(1000)

    def __call__(self, emulator: kflow.Emulator, n_runs: int) -> dict[str, float]:
        gemm = self._rates.gemm("float64")
        q, n, d = emulator.n_components_, emulator.n_inducing_, emulator.n_features_in_
        m = emulator.components_.shape[1]
        families = [kernel.kernels[0].kernel.family for kernel in emulator.kernels_]
        values = sum(n * self._rates.profile(family, "float64") for family in families)
        mean = values + 2.0 * q * (n * d + m) / gemm
        # One triangular solution, and with inducing points two.
        std = mean + q * (2.0 * m + (2 if n_runs > n else 1) * float(n) ** 2) / gemm
        return {"mean": 1e6 * mean, "std": 1e6 * std}


def fitted(
    folder: str | None,
    name: str,
    n: int,
    seed: int,
    method: str,
    options: dict[str, Any],
    X: Array,
    Y: Array,
) -> tuple[kflow.Emulator, float]:
    """Fit an emulator, or read it from `folder` where an earlier call has left it; and the seconds."""
    file = None if folder is None else Path(folder) / f"{name}-{n}-{seed}-{method}.kflow"
    if file is not None and file.with_suffix(".seconds").exists():
        return kflow.load(file), float(file.with_suffix(".seconds").read_text())
    start = time.process_time()
    emulator = kflow.Emulator(random_state=seed, **options).fit(X, Y)
    seconds = time.process_time() - start
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        emulator.save(file)
        file.with_suffix(".seconds").write_text(repr(seconds))
    return emulator, seconds


def run(args: Any, limits: Limits, name: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Measure all methods on the same runs of a model."""
    simulator = SIMULATORS[name]
    X, T = simulator.draw(n, seed), simulator.draw(N_TEST, 1000 + seed)
    Y, Y_test = simulator(X), simulator(T)
    std = Y.std(axis=0)
    rows: list[dict[str, Any]] = []
    first: kflow.Emulator | None = None
    for method in args.methods:
        options: dict[str, Any] = {}
        if method.removeprefix("kflow-").isdigit():
            options = {"n_inducing": int(method.removeprefix("kflow-"))}
        elif method.startswith("kflow-"):
            options = {"loss": method.removeprefix("kflow-")}
        elif (
            (method != "kflow" and first is None)
            or (method in ("sklearn", "gpytorch") and n > SMALL)
            or (method in ("gpytorch", "svgp") and find_spec("gpytorch") is None)
        ):
            continue
        start = time.process_time()
        promised = None
        if method in (*OTHERS, "local"):
            assert first is not None
            inputs, outputs = first._inputs, first._outputs
            scores: Any
            if method == "local":
                scores = LocalScores(inputs(X), first.reduce(Y), first)
            else:
                scores = OTHERS[method](inputs(X), first.reduce(Y), args.svgp_seconds)

            def predict(
                T: Array,
                with_std: bool,
                scores: Any = scores,
                inputs: Any = inputs,
                outputs: Any = outputs,
            ) -> tuple[Array, Array | None]:
                mean, variance = scores(inputs(T), with_std)
                mean = outputs.outputs(mean)
                return mean, None if variance is None else np.sqrt(
                    outputs.output_variances(variance)
                )

        else:
            emulator, kept_seconds = fitted(args.keep, name, n, seed, method, options, X, Y)
            first = first or emulator
            relative = emulator.held_out_.relative
            promised = float(np.median(relative[std > 0.0]))

            def predict(
                T: Array, with_std: bool, emulator: Any = emulator
            ) -> tuple[Array, Array | None]:
                return (
                    emulator.predict(T, return_std=True)
                    if with_std
                    else (emulator.predict(T), None)
                )

        seconds = time.process_time() - start if method in (*OTHERS, "local") else kept_seconds
        found = measured(predict, T, Y_test, std, 1 if method == "local" else 5)
        if method not in (*OTHERS, "local"):
            bound = limits(emulator, n)
            found |= {f"part_{key}": bound[key] / found[f"us_{key}"] for key in bound}
        rows.append({"simulator": name, "n": n, "seed": seed, "method": method, **found})
        rows[-1].update(
            fit_seconds=seconds,
            promised=promised,
            components=first.n_components_,
            outputs=Y.shape[1],
        )
        if args.picture and method == "kflow" and seed == 0:
            picture(args.picture, first, simulator.grid_shape)
    return rows


def picture(file: str, emulator: kflow.Emulator, grid_shape: tuple[int, ...]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from kflow.plotting import EmulatorDisplay

    display = EmulatorDisplay.from_estimator(emulator, grid_shape=grid_shape)
    display.figure_.savefig(file, dpi=120)


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, and medians of times, for each model, number of runs and method."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["simulator"], row["n"], row["method"]), []).append(row)
    result = []
    for same in groups.values():
        one = {key: same[0][key] for key in ("simulator", "n", "method", "components", "outputs")}
        one["seeds"] = len(same)
        for key in ("median", "all", "worst", "inside", "promised"):
            values = [row[key] for row in same]
            one[key] = None if None in values else float(np.mean(values))
            one[f"{key}_spread"] = None if None in values else float(np.ptp(values) / 2.0)
        times = ("fit_seconds", "us_mean", "us_std", "us_one", "us_one_std")
        for key in (*times, "part_mean", "part_std"):
            values = [row[key] for row in same if row.get(key) is not None]
            one[key] = median(values) if values else None
        result.append(one)
    return result


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--simulators", nargs="+", default=list(SIMULATORS), choices=SIMULATORS)
    arguments.add_argument("--n", nargs="+", type=int, default=[500])
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["kflow", "sklearn", "gpytorch"]
    )
    arguments.add_argument("--svgp-seconds", type=float, default=60.0)
    arguments.add_argument("--picture", metavar="FILE")
    arguments.add_argument(
        "--keep",
        metavar="FOLDER",
        help="leave fitted emulators here, and read those that are there instead of fitting them",
    )
    arguments.add_argument(
        "--merge",
        nargs="+",
        metavar="FILE",
        help="measure nothing, and put the rows of files together",
    )
    args = arguments.parse_args()
    restart_with(**ONE_THREAD, **best_blas())
    columns = {"simulator": "14s", "n": "6d", "method": "11s", "components": "3d"}
    columns |= {"median": "8.1e", "all": "8.1e", "inside": "6.3f", "promised": "8.1e"}
    columns |= {"fit_seconds": "7.1f", "us_mean": "7.1f", "us_std": "7.0f", "us_one": "7.0f"}
    columns |= {"us_one_std": "7.0f", "part_mean": "6.2f", "part_std": "6.2f"}
    table = Table(columns)
    rows: list[dict[str, Any]] = []
    if args.merge:
        for file in args.merge:
            rows += json.loads(Path(file).read_text())["rows"]
        # The same measurement may have been a part of several.
        keys = ("simulator", "n", "method", "seed")
        rows = list({tuple(row[key] for key in keys): row for row in rows}.values())
        for mean in means(rows):
            table.row(*(mean[name] for name in columns))
        write_json(args, rows=rows, means=means(rows))
        return
    limits = Limits()
    for name in args.simulators:
        for n in args.n:
            seeds = range(args.seeds)
            mine = [row for seed in seeds for row in run(args, limits, name, n, seed)]
            rows += mine
            for mean in means(mine):
                table.row(*(mean[name] for name in columns))
            write_json(args, rows=rows, means=means(rows))  # so far


if __name__ == "__main__":
    main()
