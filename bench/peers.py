"""One layer of the flow by kflow and by other means, for `side_by_side.py`.

All hold the points in float32, compute on the batch in float64, draw the same batches, factor the
batch's matrix once (the first coarse subset is its leading block), and move by tiles under the
relative step rule: 4 N N_f d flops for everyone. The kernel is the Gaussian. `Loops` alone does what
is natural to write down first: double loops, explicit inverses, float64 throughout.

With A = K + nugget I = L L', V = L^-1 Y and D = |V|^2, the coarse subset c has
rho = 1 - tr(Y_c' A_cc^-1 Y_c) / D, and minus the gradient of rho at the batch Z is
(2 / D) (diag(W 1) Z - W Z), W = -(M o K) / l^2, M = (1 - rho) y y' - z z', y = A^-1 Y and
z = A_cc^-1 Y_c on c, zero elsewhere.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import threadpoolctl

import kflow
from kflow.testing import slow as testing


@dataclass(frozen=True)
class Settings:
    """Of the flow."""

    length_scale: float
    batch_size: int
    n_halves: int
    n_threads: int
    nugget: float = 0.01
    step_size: float = 0.1
    seed: int = 0


def tiles(n: int, *sizes: int) -> list[int]:
    return sorted({min(size, n) for size in sizes})


class Peer:
    """A flow that runs layer after layer."""

    # What may be chosen, for n points: the fastest will be.
    @staticmethod
    def choices(n: int) -> list[dict[str, Any]]:  # noqa: ARG004
        return [{}]

    def __init__(self, X: np.ndarray, Y: np.ndarray, settings: Settings) -> None:
        self.settings = settings
        self.n = len(X)
        self.rho = math.nan
        self._rng = np.random.default_rng(settings.seed)
        self._X, self._Y = X.copy(), (Y if Y.ndim == 2 else Y[:, None]).astype(float)

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        s = self.settings
        return testing.draw(self._rng, self.n, s.batch_size, 0.5, s.n_halves)

    def layer(self) -> None:
        """Run a layer; when it returns, all of it has happened."""
        raise NotImplementedError

    def points(self) -> np.ndarray:
        return self._X.copy()


class Kflow(Peer):
    name = "kflow"

    def __init__(self, X: np.ndarray, Y: np.ndarray, settings: Settings) -> None:
        super().__init__(X, Y, settings)
        self._flow = kflow.KernelFlow(
            kflow.kernels.Gaussian(settings.length_scale),
            n_layers=0,
            batch_size=settings.batch_size,
            nugget=settings.nugget,
            step="relative",
            step_size=settings.step_size,
            n_halves=settings.n_halves,
            random_state=settings.seed,
            n_threads=settings.n_threads,
            layers="none",
        ).fit(X, Y)

    def layer(self) -> None:
        self._flow.run(1)
        self.rho = self._flow.state_.records[-1].rho

    def points(self) -> np.ndarray:
        return self._flow.points_


# ---- NumPy ------------------------------------------------------------------------------------


def triangular(L: np.ndarray, B: np.ndarray, transposed: bool = False) -> np.ndarray:
    return scipy.linalg.solve_triangular(L, B, trans=transposed, lower=True, check_finite=False)


def loss_and_coefficients(
    Z: np.ndarray, Y: np.ndarray, subsets: np.ndarray, settings: Settings
) -> tuple[float, np.ndarray]:
    """Return rho and C = A^-1 (-d rho / dZ)."""
    gamma = 0.5 / settings.length_scale**2
    squares = np.einsum("ij,ij->i", Z, Z)
    K = Z @ Z.T
    K *= 2 * gamma
    K -= gamma * squares
    K -= gamma * squares[:, None]
    np.exp(K, out=K)
    A = K.copy()
    A.flat[:: len(A) + 1] += settings.nugget
    L = scipy.linalg.cholesky(A, lower=True, check_finite=False)
    V = triangular(L, Y)
    D = (V * V).sum()
    y = triangular(L, V, True)
    M = np.zeros_like(K)
    rho = 0.0
    for i, c in enumerate(subsets):
        if i == 0:
            z = triangular(L[: len(c), : len(c)], V[: len(c)], True)
            mine = (V[len(c) :] ** 2).sum() / D
        else:
            factor = scipy.linalg.cho_factor(A[np.ix_(c, c)], lower=True, check_finite=False)
            z = scipy.linalg.cho_solve(factor, Y[c], check_finite=False)
            mine = 1.0 - (Y[c] * z).sum() / D
        padded = np.zeros_like(Y)
        padded[c] = z
        M += (1.0 - mine) * (y @ y.T) - padded @ padded.T
        rho += mine / len(subsets)
    M *= K
    M *= -2 * gamma / len(subsets)
    g = (2.0 / D) * (M.sum(axis=1)[:, None] * Z - M @ Z)
    return float(rho), triangular(L, triangular(L, g), True)


class NumPy(Peer):
    """Tiles in buffers that are used again, either on a pool of threads or on BLAS's own."""

    name = "NumPy"

    @staticmethod
    def choices(n: int) -> list[dict[str, Any]]:
        pool = [{"tile": tile, "pool": True} for tile in tiles(n, 128, 256, 512, 1024)]
        return pool + [{"tile": tile, "pool": False} for tile in tiles(n, 512, 2048, 8192)]

    def __init__(
        self, X: np.ndarray, Y: np.ndarray, settings: Settings, tile: int, pool: bool
    ) -> None:
        super().__init__(X, Y, settings)
        self._G = np.zeros_like(self._X)
        self._tiles = [slice(start, start + tile) for start in range(0, self.n, tile)]
        self._buffers = threading.local()
        self._shape = (tile, settings.batch_size)
        self._n_threads = settings.n_threads if pool else 1
        self._executor = ThreadPoolExecutor(self._n_threads) if self._n_threads > 1 else None
        self._blas = threadpoolctl.ThreadpoolController()

    def _each_tile(self, function: Any) -> list[Any]:
        return list((self._executor.map if self._executor else map)(function, self._tiles))

    def layer(self) -> None:
        limit = self._blas.limit(limits=1, user_api="blas")
        with limit if self._executor else contextlib.nullcontext():
            self._layer()

    def _layer(self) -> None:
        batch, subsets = self._draw()
        Z = self._X[batch]
        self.rho, C = loss_and_coefficients(Z.astype(float), self._Y[batch], subsets, self.settings)
        gamma = 0.5 / self.settings.length_scale**2
        right = np.ascontiguousarray((2 * gamma * Z).T, np.float32)
        offset = (-gamma * np.einsum("ij,ij->i", Z, Z)).astype(np.float32)
        C = C.astype(np.float32)

        def displace(rows: slice) -> float:
            x, g = self._X[rows], self._G[rows]
            if not hasattr(self._buffers, "K"):
                self._buffers.K = np.empty(self._shape, np.float32)
            K = self._buffers.K[: len(x)]
            norms = np.einsum("ij,ij->i", x, x)
            np.matmul(x, right, out=K)
            K += offset
            K -= np.float32(gamma) * norms[:, None]
            np.exp(K, out=K)
            np.matmul(K, C, out=g)
            moves = np.einsum("ij,ij->i", g, g)
            both = (norms > 0) & (moves > 0)
            return float((norms[both] / moves[both]).min(initial=math.inf))

        step = np.float32(self.settings.step_size * math.sqrt(min(self._each_tile(displace))))

        def add(rows: slice) -> None:
            self._G[rows] *= step
            self._X[rows] += self._G[rows]

        self._each_tile(add)


# ---- PyTorch ----------------------------------------------------------------------------------


class Torch(Peer):
    """Eager in buffers, or with what is between the products compiled into one pass."""

    name = "PyTorch"
    package = "torch"
    compiles = True

    @staticmethod
    def choices(n: int) -> list[dict[str, Any]]:
        sizes = tiles(n, 256, 1024, 4096, 16384)
        how = (False, True) if Torch.compiles else (False,)
        return [{"tile": tile, "compiled": compiled} for compiled in how for tile in sizes]

    def __init__(
        self, X: np.ndarray, Y: np.ndarray, settings: Settings, tile: int, compiled: bool
    ) -> None:
        import torch

        super().__init__(X, Y, settings)
        torch.set_num_threads(settings.n_threads)
        self._torch = torch
        self._X, self._Y = torch.from_numpy(self._X), torch.from_numpy(self._Y)
        self._G = torch.zeros_like(self._X)
        self._K = torch.empty(tile, settings.batch_size)
        self._tile = tile

        def profile(K: Any, offset: Any, norms: Any) -> Any:
            return K.add_(offset).sub_(norms).exp_()

        self._profile = torch.compile(profile) if compiled else profile

    def _batch(self, Z: Any, Y: Any, subsets: Any) -> Any:
        torch, s = self._torch, self.settings
        gamma = 0.5 / s.length_scale**2
        squares = (Z * Z).sum(1)
        K = (Z @ Z.T).mul_(2 * gamma).sub_(gamma * squares).sub_(gamma * squares[:, None]).exp_()
        A = K.clone()
        A.diagonal().add_(s.nugget)
        L = torch.linalg.cholesky(A)
        V = torch.linalg.solve_triangular(L, Y, upper=False)
        D = (V * V).sum()
        y = torch.linalg.solve_triangular(L.T, V, upper=True)
        M, rho = torch.zeros_like(K), 0.0
        for i, c in enumerate(subsets):
            if i == 0:
                n = len(c)
                z = torch.linalg.solve_triangular(L[:n, :n].T, V[:n], upper=True)
                mine = (V[n:] ** 2).sum() / D
            else:
                z = torch.cholesky_solve(Y[c], torch.linalg.cholesky(A[c][:, c]))
                mine = 1.0 - (Y[c] * z).sum() / D
            padded = torch.zeros_like(Y)
            padded[c] = z
            M += (1.0 - mine) * (y @ y.T) - padded @ padded.T
            rho += mine / len(subsets)
        M.mul_(K).mul_(-2 * gamma / len(subsets))
        g = (2.0 / D) * (M.sum(1)[:, None] * Z - M @ Z)
        return float(rho), torch.cholesky_solve(g, L)

    def layer(self) -> None:
        torch = self._torch
        with torch.no_grad():
            batch, subsets = (torch.from_numpy(rows) for rows in self._draw())
            Z = self._X[batch]
            self.rho, C = self._batch(Z.double(), self._Y[batch], subsets)
            gamma = 0.5 / self.settings.length_scale**2
            right, offset = (2 * gamma * Z).T.contiguous(), -gamma * (Z * Z).sum(1)
            C = C.float()
            least = math.inf
            for x, g in zip(self._X.split(self._tile), self._G.split(self._tile), strict=True):
                K = self._K[: len(x)]
                norms = torch.linalg.vecdot(x, x)
                torch.mm(x, right, out=K)
                self._profile(K, offset, gamma * norms[:, None])
                torch.mm(K, C, out=g)
                moves = torch.linalg.vecdot(g, g)
                ratios = torch.where((norms > 0) & (moves > 0), norms / moves, math.inf)
                least = min(least, float(ratios.min()))
            self._X.add_(self._G, alpha=self.settings.step_size * math.sqrt(least))

    def points(self) -> np.ndarray:
        return self._X.numpy().copy()


# ---- JAX --------------------------------------------------------------------------------------


class Jax(Peer):
    """The whole layer compiled by XLA, in equal tiles one after the other, the points donated."""

    name = "JAX"
    package = "jax"

    @staticmethod
    def choices(n: int) -> list[dict[str, Any]]:
        return [{"tile": tile} for tile in tiles(n, 1000, 4000, 15000, n)]

    def __init__(self, X: np.ndarray, Y: np.ndarray, settings: Settings, tile: int) -> None:
        import jax

        assert jax.config.jax_enable_x64, "set JAX_ENABLE_X64=1: the batch needs float64"
        super().__init__(X, Y, settings)
        self._X, self._Y = jax.numpy.array(self._X), jax.numpy.array(self._Y)
        self._layer = jax.jit(self._compilable(tile), donate_argnums=0)

    def _compilable(self, tile: int) -> Any:
        import jax
        import jax.numpy as jnp
        from jax.scipy.linalg import cho_solve, cholesky, solve_triangular

        s = self.settings
        gamma = 0.5 / s.length_scale**2

        def loss_and_coefficients(Z: Any, Y: Any, subsets: Any) -> Any:
            squares = (Z * Z).sum(1)
            K = jnp.exp(gamma * (2 * Z @ Z.T - squares - squares[:, None]))
            A = K + s.nugget * jnp.eye(len(Z))
            L = cholesky(A, lower=True)
            V = solve_triangular(L, Y, lower=True)
            D = (V * V).sum()
            y = solve_triangular(L, V, trans=1, lower=True)
            M, rho = jnp.zeros_like(K), 0.0
            for i in range(s.n_halves):  # unrolled
                c = subsets[i]
                n = len(c)
                if i == 0:
                    z = solve_triangular(L[:n, :n], V[:n], trans=1, lower=True)
                    mine = (V[n:] ** 2).sum() / D
                else:
                    z = cho_solve((cholesky(A[c][:, c], lower=True), True), Y[c])
                    mine = 1.0 - (Y[c] * z).sum() / D
                padded = jnp.zeros_like(Y).at[c].set(z)
                M += (1.0 - mine) * (y @ y.T) - padded @ padded.T
                rho += mine / s.n_halves
            W = M * K * (-2 * gamma / s.n_halves)
            g = (2.0 / D) * (W.sum(1)[:, None] * Z - W @ Z)
            return rho, cho_solve((L, True), g)

        def layer(X: Any, Y: Any, batch: Any, subsets: Any) -> Any:
            Z = X[batch]
            rho, C = loss_and_coefficients(Z.astype(float), Y[batch], subsets)
            C = C.astype(X.dtype)
            right = (2 * gamma * Z).T.astype(X.dtype)
            offset = (-gamma * (Z * Z).sum(1)).astype(X.dtype)

            def displace(x: Any) -> Any:
                norms = (x * x).sum(1)
                K = jnp.exp(x @ right + offset - X.dtype.type(gamma) * norms[:, None])
                g = K @ C
                moves = (g * g).sum(1)
                ratios = jnp.where((norms > 0) & (moves > 0), norms / moves, jnp.inf)
                return g, ratios.min()

            # Rows of zeros have no say in the step.
            padded = jnp.pad(X, ((0, -len(X) % tile), (0, 0)))
            if tile == len(X):
                G, least = displace(X)
            else:
                G, least = jax.lax.map(displace, padded.reshape(-1, tile, X.shape[1]))
            step = (s.step_size * jnp.sqrt(least.min())).astype(X.dtype)
            return X + step * G.reshape(-1, X.shape[1])[: len(X)], rho

        return layer

    def layer(self) -> None:
        self._X, rho = self._layer(self._X, self._Y, *self._draw())
        self._X.block_until_ready()
        self.rho = float(rho)

    def points(self) -> np.ndarray:
        return np.array(self._X)


# ---- loops ------------------------------------------------------------------------------------


class Loops(Peer):
    name = "Python loops"

    def __init__(self, X: np.ndarray, Y: np.ndarray, settings: Settings) -> None:
        super().__init__(X.astype(float), Y, settings)

    def _kernel_matrix(self, X: np.ndarray, Z: np.ndarray) -> np.ndarray:
        K = np.zeros((len(X), len(Z)))
        for i in range(len(X)):
            for j in range(len(Z)):
                r2 = np.sum((X[i] - Z[j]) ** 2)
                K[i, j] = np.exp(-r2 / (2 * self.settings.length_scale**2))
        return K

    def layer(self) -> None:
        s = self.settings
        batch, subsets = self._draw()
        Z, Y = self._X[batch], self._Y[batch]
        K = self._kernel_matrix(Z, Z)
        A = K + s.nugget * np.eye(len(Z))
        inverse = np.linalg.inv(A)
        y = inverse @ Y
        D = np.trace(Y.T @ y)
        g = np.zeros_like(Z)
        self.rho = 0.0
        for c in subsets:
            z = np.zeros_like(Y)
            z[c] = np.linalg.inv(A[np.ix_(c, c)]) @ Y[c]
            rho = 1 - np.trace(Y.T @ z) / D
            for i in range(len(Z)):
                for j in range(len(Z)):
                    m = (1 - rho) * (y[i] @ y[j]) - z[i] @ z[j]
                    g[i] -= (2 / D) * m * K[i, j] * (Z[i] - Z[j]) / s.length_scale**2
            self.rho += rho / len(subsets)
        C = inverse @ (g / len(subsets))
        G = self._kernel_matrix(self._X, Z) @ C
        norms, moves = np.linalg.norm(self._X, axis=1), np.linalg.norm(G, axis=1)
        both = (norms > 0) & (moves > 0)
        self._X = self._X + s.step_size * np.min(norms[both] / moves[both]) * G


def peers(small: bool) -> Iterator[type[Peer]]:
    """Yield all of them; the loops only where they end."""
    yield from (Kflow, NumPy, Torch, Jax)
    if small:
        yield Loops
