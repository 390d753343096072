"""How long does one step of learning a kernel take, by kflow and by automatic differentiation?

    $ python bench/learning_step.py              # batch of 600 points, five kernels, ten parameters
    $ python bench/learning_step.py --preset smoke

A step is the kernel matrix of a batch, rho on one half, and the gradient with respect to all
parameters and the nugget. The kernel is a sum of five (Gaussian, Laplacian, Matern 3/2 and 5/2,
rational quadratic), each with an amplitude and a length scale. The same step in PyTorch with
autograd, and with the kernels of GPyTorch and autograd; both are left out, with a line that says so,
where they are not installed (pip install torch gpytorch; the CPU build). All compute in float64,
with the same threads, and all gradients are compared with kflow's first.

"floor" is what a step cannot do without: one Cholesky factorisation and one kernel matrix. Two floors
are given: LAPACK's factorisation (the faster of SciPy's and NumPy's, with AVX-512 kernels) and
kflow's matrix of all five kernels; and kflow's own factorisation (the value of rho alone) and the
matrix of the Gaussian alone. Seconds are medians, interleaved; several steps are timed together.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.linalg
from measuring import (
    Table,
    best_blas,
    check_close,
    parser,
    restart_with,
    seconds,
    write_json,
)

import kflow
from kflow import kernels, losses

SIZES = {"full": [(600, 8), (600, 100), (200, 8), (1200, 8)], "smoke": [(40, 3)]}
NUGGET = 0.01

# Steps that are timed together.
STEPS = 10


def environment(n_threads: int) -> dict[str, str]:
    names = ("KFLOW", "OMP", "OPENBLAS", "MKL")
    return {**{f"{name}_NUM_THREADS": str(n_threads) for name in names}, **best_blas()}


def five_kernels(d: int) -> kernels.Kernel:
    scale = np.sqrt(d)
    return (
        1.0 * kernels.Gaussian(1.0 * scale)
        + 0.8 * kernels.Laplacian(1.5 * scale)
        + 0.6 * kernels.Matern32(0.8 * scale)
        + 0.4 * kernels.Matern52(1.2 * scale)
        + 0.2 * kernels.RationalQuadratic(0.9 * scale, alpha=1.0, alpha_bounds="fixed")
    )


class Kflow:
    name = "kflow"

    def __init__(self, X: np.ndarray, Y: np.ndarray, coarse: np.ndarray) -> None:
        self.X, self.Y, self.coarse = X, Y, coarse
        self.kernel = five_kernels(X.shape[1])
        self.A = np.empty((len(X), len(X)))

    def step(self) -> tuple[float, np.ndarray]:
        kflow.gram(self.X, kernel=self.kernel, out=self.A)
        self.A.flat[:: len(self.A) + 1] += NUGGET
        value, G = losses.rho(self.A, self.Y, self.coarse)
        theta_gradient, _ = self.kernel.contract(self.X, G)
        return value, np.append(theta_gradient, NUGGET * np.trace(G))


class Torch:
    name = "PyTorch"
    package = "torch"

    def __init__(self, X: np.ndarray, Y: np.ndarray, coarse: np.ndarray) -> None:
        import torch

        self.torch = torch
        fine = np.setdiff1d(np.arange(len(X)), coarse)
        order = np.concatenate([coarse, fine])
        self.n_coarse = len(coarse)
        self.X, self.Y = torch.tensor(X[order]), torch.tensor(Y[order])
        start = np.append(five_kernels(X.shape[1]).theta, np.log(NUGGET))
        self.theta = torch.tensor(start, requires_grad=True)
        self.eye = torch.eye(len(X), dtype=torch.float64)

    def matrix(self) -> Any:
        torch = self.torch
        a, b, c, d, e = self.theta[0:10:2].exp()
        squares = (self.X**2).sum(dim=1)
        r2 = (squares[:, None] + squares[None] - 2 * self.X @ self.X.T).clamp(min=0)
        # The derivative of the root at 0 is infinite.
        r = (r2 + 1e-300).sqrt()
        lengths = self.theta[1:10:2].exp()
        h3, h5 = 3**0.5 * r / lengths[2], 5**0.5 * r / lengths[3]
        return (
            a * torch.exp(-r2 / (2 * lengths[0] ** 2))
            + b * torch.exp(-r / lengths[1])
            + c * (1 + h3) * torch.exp(-h3)
            + d * (1 + h5 + h5**2 / 3) * torch.exp(-h5)
            + e / (1 + r2 / (2 * lengths[4] ** 2))
        )

    def loss(self, K: Any, nugget: Any) -> Any:
        L = self.torch.linalg.cholesky(K + nugget * self.eye)
        V = self.torch.linalg.solve_triangular(L, self.Y, upper=False) ** 2
        return V[self.n_coarse :].sum() / V.sum()

    def step(self) -> tuple[float, np.ndarray]:
        self.theta.grad = None
        value = self.loss(self.matrix(), self.theta[10].exp())
        value.backward()
        return float(value.detach()), self.theta.grad.numpy().copy()


class GPyTorch(Torch):
    name = "GPyTorch"
    package = "gpytorch"

    def __init__(self, X: np.ndarray, Y: np.ndarray, coarse: np.ndarray) -> None:
        super().__init__(X, Y, coarse)
        import gpytorch.kernels as gk

        torch = self.torch
        start = np.exp(five_kernels(X.shape[1]).theta)
        parts = [gk.RBFKernel()] + [gk.MaternKernel(nu=nu) for nu in (0.5, 1.5, 2.5)]
        parts.append(gk.RQKernel())
        self.covariance = sum(
            (gk.ScaleKernel(part) for part in parts[1:]), gk.ScaleKernel(parts[0])
        ).double()
        self.raw: list[Any] = []
        for i, scaled in enumerate(self.covariance.kernels):
            scaled.outputscale, scaled.base_kernel.lengthscale = start[2 * i], start[2 * i + 1]
            self.raw += [scaled.raw_outputscale, scaled.base_kernel.raw_lengthscale]
        parts[-1].alpha = 1.0
        parts[-1].raw_alpha.requires_grad_(False)
        self.log_nugget = torch.tensor(np.log(NUGGET), dtype=torch.float64, requires_grad=True)
        self.start = start

    def step(self) -> tuple[float, np.ndarray]:
        self.covariance.zero_grad()
        self.log_nugget.grad = None
        value = self.loss(self.covariance(self.X).to_dense(), self.log_nugget.exp())
        value.backward()
        # Its parameters are softplus(raw): d / dlog p = d / draw p / (1 - exp(-p)).
        gradient = np.array([float(raw.grad) for raw in self.raw])
        gradient *= self.start / -np.expm1(-self.start)
        return float(value.detach()), np.append(gradient, float(self.log_nugget.grad))


def available() -> list[type[Any]]:
    kinds: list[type[Any]] = [Kflow]
    for kind in (Torch, GPyTorch):
        if find_spec(kind.package) is None:
            print(f"{kind.name} is left out: it is not installed")
        else:
            kinds.append(kind)
    return kinds


def repeated(function: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        for _ in range(STEPS):
            function()

    return run


def measure(n: int, d: int, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    Y = np.sin(X[:, :1]) + 0.1 * rng.normal(size=(n, 1))
    coarse = rng.permutation(n)[: n // 2]
    runners = [kind(X, Y, coarse) for kind in available()]
    value, gradient = runners[0].step()
    differences = []
    for runner in runners:
        other_value, other = runner.step()
        assert abs(other_value - value) < 1e-8, f"{runner.name}: rho is {other_value}, not {value}"
        differences.append(check_close(other, gradient, 1e-6))

    kernel, gaussian = five_kernels(d), kernels.Gaussian(np.sqrt(d))
    out = np.empty((n, n))
    A = kernel(X) + NUGGET * np.eye(n)
    floors: dict[str, Callable[[], object]] = {
        "SciPy Cholesky": lambda: scipy.linalg.cholesky(A, lower=True, check_finite=False),
        "NumPy Cholesky": lambda: np.linalg.cholesky(A),
        "matrix of five": lambda: kflow.gram(X, kernel=kernel, out=out),
        "kflow Cholesky": lambda: losses.rho(A, Y, coarse, gradient=False),
        "matrix of one": lambda: kflow.gram(X, kernel=gaussian, out=out),
    }
    functions = [runner.step for runner in runners] + list(floors.values())
    times = [t / STEPS for t in seconds(*map(repeated, functions), repeats=repeats)]
    parts = dict(zip(floors, times[len(runners) :], strict=True))
    lapack = min(parts["SciPy Cholesky"], parts["NumPy Cholesky"]) + parts["matrix of five"]
    own = parts["kflow Cholesky"] + parts["matrix of one"]
    return {
        "n": n,
        "d": d,
        "steps": {runner.name: t for runner, t in zip(runners, times, strict=False)},
        "differences": dict(zip((r.name for r in runners), differences, strict=True)),
        "parts": parts,
        "floor": lapack,
        "own_floor": own,
        "over_floor": times[0] / lapack,
        "over_own_floor": times[0] / own,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--preset", choices=SIZES, default="full")
    arguments.add_argument("--repeats", type=int, default=9)
    arguments.add_argument("--n-threads", type=int, default=kflow.get_num_threads())
    args = arguments.parse_args()
    restart_with(**environment(args.n_threads))
    results = [measure(n, d, args.repeats) for n, d in SIZES[args.preset]]

    table = Table(
        {
            "n": "5d",
            "d": "4d",
            "step by": "<10s",
            "ms": "9.3f",
            "ratio": "6.2f",
            "difference": "8.1e",
        }
    )
    for result in results:
        for name, time in result["steps"].items():
            ratio = time / result["steps"]["kflow"]
            table.row(
                result["n"], result["d"], name, 1e3 * time, ratio, result["differences"][name]
            )
    print()
    table = Table({"n": "5d", "d": "4d", **dict.fromkeys(results[0]["parts"], "9.3f")})
    for result in results:
        table.row(result["n"], result["d"], *(1e3 * t for t in result["parts"].values()), note="ms")
    print()
    table = Table({"n": "5d", "d": "4d", "kflow / floor": "6.2f", "kflow / own floor": "6.2f"})
    for result in results:
        table.row(result["n"], result["d"], result["over_floor"], result["over_own_floor"])
    packages = [p for p in ("torch", "gpytorch") if find_spec(p) is not None]
    write_json(args, packages, results=results)


if __name__ == "__main__":
    main()
