"""Other forecasters of chaotic systems, from their formulas: reservoirs, those without one, persistence.

All have the interface of `kflow.timeseries.Forecaster`: fit(series) of shape (T, q), and
predict(n_steps, histories) of shape (s, L, q), which returns (s, n_steps, q), NaN where a forecast ran
away.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import scipy.linalg
import scipy.sparse

Array = np.ndarray

# A forecast so many deviations away has run away.
FAR = 100.0


def ridge_regression(features: Array, targets: Array, ridge: float) -> Array:
    """Return the weights W (p, q) of least |F W - Y|^2 + n ridge |W|^2.

    By a QR decomposition of the longer system, because normal equations lose half the digits.
    """
    n, p = features.shape
    longer = np.concatenate([features, np.sqrt(n * ridge) * np.eye(p)])
    right = np.concatenate([targets, np.zeros((p, targets.shape[1]))])
    return np.asarray(scipy.linalg.lstsq(longer, right, lapack_driver="gelsy", cond=1e-15)[0])


class Scaled:
    """Columns of mean 0 and variance 1."""

    def scale(self, series: Array) -> Array:
        self.mean, self.deviation = series.mean(axis=0), series.std(axis=0)
        return self.scaled(series)

    def scaled(self, values: Array) -> Array:
        return (values - self.mean) / self.deviation

    def unscaled(self, values: Array) -> Array:
        return values * self.deviation + self.mean


@dataclass
class EchoStateNetwork(Scaled):
    """A leaky reservoir of tanh units whose readout is a ridge regression.

    r_{k+1} = (1 - leak) r_k + leak tanh(W r_k + W_in [1, x_k]), and x_{k+1} or x_{k+1} - x_k is linear in
    1, x_k, r_{k+1} and the squares of every other unit: H. Jaeger, GMD report 148 (2001);
    M. Lukosevicius, A practical guide to applying echo state networks (2012); J. Pathak, B. Hunt,
    M. Girvan, Z. Lu and E. Ott, Phys. Rev. Lett. 120 (2018) 024102 for the squares.
    """

    radius: float = 0.9
    leak: float = 1.0
    input_scale: float = 0.5
    ridge: float = 1e-6
    increments: bool = True
    n_units: int = 300
    degree: int = 10
    n_washout: int = 100
    seed: int = 0

    def fit(self, series: Array) -> EchoStateNetwork:
        x = self.scale(series)
        rng = np.random.default_rng(self.seed)
        n, q = self.n_units, x.shape[1]
        W = scipy.sparse.random(
            n,
            n,
            density=self.degree / n,
            random_state=rng,
            data_rvs=lambda size: rng.uniform(-1.0, 1.0, size),
        ).toarray()
        W *= self.radius / np.abs(np.linalg.eigvals(W)).max()
        self.W = scipy.sparse.csr_array(W)
        self.W_in = self.input_scale * rng.uniform(-1.0, 1.0, (n, 1 + q))
        states, _ = self.listen(x[None, :-1])
        features = self.features(x[:-1], states[0])[self.n_washout :]
        targets = x[1:] - x[:-1] if self.increments else x[1:]
        self.weights = ridge_regression(features, targets[self.n_washout :], self.ridge)
        return self

    def step(self, r: Array, x: Array) -> Array:
        """Return the units (s, n) that follow r when they see x (s, q)."""
        drive = (self.W @ r.T).T + self.W_in[:, 0] + x @ self.W_in[:, 1:].T
        return (1.0 - self.leak) * r + self.leak * np.tanh(drive)

    def listen(self, x: Array) -> tuple[Array, Array]:
        """Return the units (s, L, n) while they see histories (s, L, q), and the last of them."""
        r = np.zeros((len(x), self.n_units))
        states = np.empty((*x.shape[:2], self.n_units))
        for k in range(x.shape[1]):
            r = self.step(r, x[:, k])
            states[:, k] = r
        return states, r

    @staticmethod
    def features(x: Array, r: Array) -> Array:
        return np.concatenate([np.ones((len(x), 1)), x, r, r[:, ::2] ** 2], axis=1)

    def predict(self, n_steps: int, histories: Array) -> Array:
        x = self.scaled(histories)
        _, r = self.listen(x)
        x = x[:, -1]
        forecast = np.empty((len(x), n_steps, x.shape[1]))
        for k in range(n_steps):
            following = self.features(x, r) @ self.weights
            x = x + following if self.increments else following
            x = np.where(np.abs(x) > FAR, np.nan, x)
            forecast[:, k] = x
            r = self.step(r, x)
        return self.unscaled(forecast)


@dataclass
class NextGenerationReservoir(Scaled):
    """x_{k+1} - x_k by a ridge regression on the monomials of some delays: no reservoir.

    The monomials of degree 0 to `order` in x_k, x_{k-skip}, ..., x_{k-(delay-1) skip}:
    D. J. Gauthier, E. Bollt, A. Griffith and W. A. S. Barbosa, Nature Communications 12 (2021) 5564.
    """

    delay: int = 2
    skip: int = 1
    order: int = 2
    ridge: float = 1e-6

    def fit(self, series: Array) -> NextGenerationReservoir:
        x = self.scale(series)
        n = len(x) - self.reach
        rows = np.concatenate([x[lag : lag + n - 1] for lag in self.lags], axis=1)
        features = self.features(rows)
        # Monomials have very different sizes, and a ridge should not see that.
        self.size = np.sqrt(np.square(features).mean(axis=0))
        targets = np.diff(x[self.reach :], axis=0)
        self.weights = ridge_regression(features / self.size, targets, self.ridge)
        return self

    @property
    def reach(self) -> int:
        return (self.delay - 1) * self.skip

    @property
    def lags(self) -> range:
        return range(0, self.reach + 1, self.skip)

    def features(self, rows: Array) -> Array:
        columns = [np.ones(len(rows)), *rows.T]
        for degree in range(2, self.order + 1):
            for chosen in combinations_with_replacement(range(rows.shape[1]), degree):
                columns.append(np.prod(rows[:, chosen], axis=1))
        return np.stack(columns, axis=1)

    def predict(self, n_steps: int, histories: Array) -> Array:
        window = self.scaled(histories)[:, -self.reach - 1 :]
        forecast = np.empty((len(window), n_steps, window.shape[2]))
        for k in range(n_steps):
            rows = window[:, list(self.lags)].reshape(len(window), -1)
            x = window[:, -1] + (self.features(rows) / self.size) @ self.weights
            x = np.where(np.abs(x) > FAR, np.nan, x)
            forecast[:, k] = x
            window = np.concatenate([window[:, 1:], x[:, None]], axis=1)
        return self.unscaled(forecast)


@dataclass
class Persistence:
    """The last state stays."""

    def fit(self, series: Array) -> Persistence:
        self.n_columns = series.shape[1]
        return self

    def predict(self, n_steps: int, histories: Array) -> Array:
        return np.repeat(np.asarray(histories)[:, -1:], n_steps, axis=1)
