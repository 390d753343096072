"""Computer models with fields as outputs, fast enough to make as many runs as an emulator needs.

Three are test functions that others have published; two are small models of physics: the reflectance of
an atmosphere, and waves in shallow water. `SIMULATORS` holds all by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import as_count, as_generator
from kflow._base.array_types import Doubles
from kflow._base.short_repr import ShortRepr
from kflow.data.arrays import as_matrix

__all__ = ["SIMULATORS", "Simulator"]

# Runs that are computed at a time.
_CHUNK = 250


@dataclass(frozen=True, eq=False, repr=False)
class Simulator(ShortRepr):
    """A function of d inputs within bounds, whose m outputs lie on a grid.

    Attributes
    ----------
    name : str
        The name in ``SIMULATORS``.
    inputs : tuple of str
        Names of the inputs.
    lower, upper : ndarray, shape (d,)
        Bounds of the inputs.
    grid_shape : tuple of int
        The shape of the field that the outputs make up, row by row; m is the product.
    function : callable
        Takes inputs (n, d) and returns outputs (n, m).

    Examples
    --------
    >>> from kflow.simulators import SIMULATORS
    >>> spill = SIMULATORS["spill"]
    >>> X = spill.draw(3, random_state=0)
    >>> X.shape, spill(X).shape, spill.grid_shape
    ((3, 4), (3, 1000), (5, 200))
    """

    name: str
    inputs: tuple[str, ...]
    lower: Doubles
    upper: Doubles
    grid_shape: tuple[int, ...]
    function: Callable[[Doubles], Doubles] = field(repr=False)

    def draw(self, n: int, random_state: int | None | np.random.Generator = None) -> Doubles:
        """Draw a Latin hypercube of inputs within the bounds.

        Parameters
        ----------
        n : int
            Number of runs.
        random_state : None, int, numpy.random.SeedSequence or numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray, shape (n, d)
            Each input has one value in each of n equal parts of its range.
        """
        rng = as_generator(random_state)
        n, d = as_count(n, "n", 1), len(self.inputs)
        cells = np.stack([rng.permutation(n) for _ in range(d)], axis=1)
        return self.lower + (cells + rng.random((n, d))) / n * (self.upper - self.lower)

    def __call__(self, X: npt.ArrayLike) -> Doubles:
        """Run the model.

        Parameters
        ----------
        X : array_like, shape (n, d)
            Inputs.

        Returns
        -------
        ndarray, shape (n, m), float64
            Outputs.
        """
        x: Doubles = as_matrix(X, "X", dtype=np.float64, n_columns=len(self.inputs)).astype(
            np.float64, copy=False
        )
        parts = [self.function(x[i : i + _CHUNK]) for i in range(0, len(x), _CHUNK)]
        return np.concatenate([np.empty((0, int(np.prod(self.grid_shape)))), *parts])


# ---- published test functions -------------------------------------------------------------------

_SPILL_S = np.array([0.5, 1.0, 1.5, 2.0, 2.5])
_SPILL_T = 0.3 * np.arange(1, 201)


def _spill(X: Doubles) -> Doubles:
    """Return the concentrations of a pollutant that is spilled twice into a channel.

    N. Bliznyuk, D. Ruppert, C. Shoemaker, R. Regis, S. Wild and P. Mugunthan, Bayesian calibration and
    uncertainty analysis for computationally expensive models using optimization and radial basis
    function approximation, J. Comput. Graph. Stat. 17 (2008), 270-294, on the grid of the Virtual
    Library of Simulation Experiments (Surjanovic and Bingham).
    """
    mass, diffusion, place, time = (column[:, None, None] for column in X.T)
    s, t = _SPILL_S[:, None], _SPILL_T
    first = np.exp(-(s**2) / (4.0 * diffusion * t)) / np.sqrt(diffusion * t)
    later = np.where(t > time, t - time, 1.0)
    second = np.exp(-((s - place) ** 2) / (4.0 * diffusion * later)) / np.sqrt(diffusion * later)
    return np.asarray((mass * (first + second * (t > time))).reshape(len(X), -1))


_BOREHOLE_LENGTH = np.linspace(1120.0, 1680.0, 10)
_BOREHOLE_CONDUCTIVITY = np.linspace(9855.0, 12045.0, 10)


def _borehole(X: Doubles) -> Doubles:
    """Return the flow of water through a borehole, for ten lengths and ten conductivities of it.

    W. A. Harper and S. K. Gupta, Sensitivity/uncertainty analysis of a borehole scenario comparing
    Latin hypercube sampling and deterministic sensitivity approaches (1983). Two of the eight inputs
    make up the grid.
    """
    radius, influence, upper_t, upper_head, lower_t, lower_head = (
        column[:, None, None] for column in X.T
    )
    log = np.log(influence / radius)
    leak = 2.0 * _BOREHOLE_LENGTH[:, None] * upper_t / (log * radius**2 * _BOREHOLE_CONDUCTIVITY)
    flow = 2.0 * np.pi * upper_t * (upper_head - lower_head)
    return np.asarray((flow / (log * (1.0 + leak + upper_t / lower_t))).reshape(len(X), -1))


def _wing_weight(X: Doubles) -> Doubles:
    """Return the weight of a light aircraft's wing, one output.

    A. Forrester, A. Sobester and A. Keane, Engineering Design via Surrogate Modelling (2008).
    """
    area, fuel, aspect, sweep, pressure, taper, thickness, load, gross, paint = X.T
    cos = np.cos(np.radians(sweep))
    weight = (
        0.036
        * area**0.758
        * fuel**0.0035
        * (aspect / cos**2) ** 0.6
        * pressure**0.006
        * taper**0.04
        * (100.0 * thickness / cos) ** -0.3
        * (load * gross) ** 0.49
    )
    return np.asarray((weight + area * paint)[:, None])


# ---- reflected light ----------------------------------------------------------------------------

_WAVELENGTHS = np.linspace(0.4, 2.4, 256)

# Centre and width, in micrometres, and strength of the absorption bands of three gases.
_BANDS = (
    ((0.60, 0.06, 0.06), (0.45, 0.03, 0.02)),
    ((0.94, 0.03, 0.9), (1.13, 0.04, 1.1), (1.38, 0.05, 4.0), (1.87, 0.06, 4.5)),
    ((1.44, 0.01, 0.2), (1.60, 0.015, 0.3), (2.01, 0.02, 1.5), (2.06, 0.02, 1.2)),
)


def _two_stream(X: Doubles) -> Doubles:
    """Return the reflectance of an atmosphere above a surface, at 256 wavelengths.

    One homogeneous layer of molecules, aerosol and three gases, by the Eddington approximation of the
    two-stream equations, above a surface that reflects alike in all directions: W. E. Meador and
    W. R. Weaver, Two-stream approximations to radiative transfer in planetary atmospheres, J. Atmos.
    Sci. 37 (1980), 630-643, table 1 and equations 14, 15, 25 and 26.
    """
    sun, depth, exponent, albedo, asymmetry, ozone, water, carbon, level, slope = (
        column[:, None] for column in X.T
    )
    wave = _WAVELENGTHS
    lines = [
        sum(strength / (1.0 + ((wave - centre) / width) ** 2) for centre, width, strength in bands)
        for bands in _BANDS
    ]
    molecules = 0.0088 * wave**-4.05
    aerosol = depth * (wave / 0.55) ** -exponent
    gas = ozone * lines[0] + water * lines[1] + carbon * lines[2]
    tau = molecules + aerosol + gas
    scattering = molecules + albedo * aerosol
    omega = np.minimum(scattering / tau, 0.99999)
    g = albedo * aerosol * asymmetry / scattering
    reflected, transmitted = _layer(tau, omega, g, sun)
    diffuse_reflected, diffuse_transmitted = _diffuse_layer(tau, omega, g)
    surface = np.clip(level + slope * (wave - 1.4), 0.0, 1.0)
    twice = surface * transmitted * diffuse_transmitted / (1.0 - surface * diffuse_reflected)
    return np.asarray(reflected + twice)


def _eddington(omega: Doubles, g: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return gamma_1, gamma_2 and the rate k."""
    gamma1 = (7.0 - omega * (4.0 + 3.0 * g)) / 4.0
    gamma2 = -(1.0 - omega * (4.0 - 3.0 * g)) / 4.0
    return gamma1, gamma2, np.sqrt(gamma1**2 - gamma2**2)


def _layer(tau: Doubles, omega: Doubles, g: Doubles, sun: Doubles) -> tuple[Doubles, Doubles]:
    """Return what a layer reflects and transmits of a beam whose zenith angle has the cosine `sun`."""
    gamma1, gamma2, k = _eddington(omega, g)
    gamma3 = (2.0 - 3.0 * g * sun) / 4.0
    gamma4 = 1.0 - gamma3
    alpha1 = gamma1 * gamma4 + gamma2 * gamma3
    alpha2 = gamma1 * gamma3 + gamma2 * gamma4
    # Both formulas have a removable singularity at k sun = 1.
    ks = np.where(np.abs(k * sun - 1.0) < 1e-5, 1.0 + 1e-5, k * sun)
    down, beam = np.exp(-k * tau), np.exp(-tau / sun)
    # Times exp(-k tau), so that nothing overflows.
    scale = omega / ((1.0 - ks**2) * (k + gamma1 + (k - gamma1) * down**2))
    reflected = scale * (
        (1.0 - ks) * (alpha2 + k * gamma3)
        - (1.0 + ks) * (alpha2 - k * gamma3) * down**2
        - 2.0 * (k * gamma3 - alpha2 * ks) * beam * down
    )
    diffuse = scale * (
        (1.0 + ks) * (alpha1 + k * gamma4) * beam
        - (1.0 - ks) * (alpha1 - k * gamma4) * beam * down**2
        - 2.0 * (k * gamma4 + alpha1 * ks) * down
    )
    return reflected, beam - diffuse


def _diffuse_layer(tau: Doubles, omega: Doubles, g: Doubles) -> tuple[Doubles, Doubles]:
    """Return what a layer reflects and transmits of diffuse light."""
    gamma1, gamma2, k = _eddington(omega, g)
    down = np.exp(-k * tau)
    below = k + gamma1 + (k - gamma1) * down**2
    return gamma2 * (1.0 - down**2) / below, 2.0 * k * down / below


# ---- shallow water ------------------------------------------------------------------------------

_GRAVITY = 9.81
_CELLS, _LENGTH, _STEPS, _TIMES = 64, 10.0, 200, 4


def _shallow_water(X: Doubles) -> Doubles:
    """Return the level of water in a closed channel at four times, after a hump was let go.

    The equations of Saint-Venant for depth h and discharge q with friction proportional to q, by
    finite volumes with Rusanov's flux, on 64 cells over 10 m, for 4 s.
    """
    height, width, place, depth, friction = (column[:, None] for column in X.T)
    dx, dt = _LENGTH / _CELLS, 4.0 / _STEPS
    x = (np.arange(_CELLS) + 0.5) * dx
    h = depth + height * np.exp(-0.5 * ((x - place) / width) ** 2)
    q = np.zeros_like(h)
    levels = []
    for step in range(1, _STEPS + 1):
        # Walls reflect: a mirror cell with the opposite discharge.
        h_all = np.concatenate([h[:, :1], h, h[:, -1:]], axis=1)
        q_all = np.concatenate([-q[:, :1], q, -q[:, -1:]], axis=1)
        speed = np.abs(q_all / h_all) + np.sqrt(_GRAVITY * h_all)
        momentum = q_all**2 / h_all + 0.5 * _GRAVITY * h_all**2
        fastest = np.maximum(speed[:, 1:], speed[:, :-1])
        h_flux = 0.5 * (q_all[:, 1:] + q_all[:, :-1] - fastest * np.diff(h_all, axis=1))
        q_flux = 0.5 * (momentum[:, 1:] + momentum[:, :-1] - fastest * np.diff(q_all, axis=1))
        h = h - dt / dx * np.diff(h_flux, axis=1)
        q = (q - dt / dx * np.diff(q_flux, axis=1)) / (1.0 + dt * friction)
        if step % (_STEPS // _TIMES) == 0:
            levels.append(h)
    return np.stack(levels, axis=1).reshape(len(X), -1)


def _simulator(
    name: str,
    function: Callable[[Doubles], Doubles],
    grid_shape: tuple[int, ...],
    **bounds: tuple[float, float],
) -> Simulator:
    lower, upper = np.array(list(bounds.values())).T
    return Simulator(name, tuple(bounds), lower.copy(), upper.copy(), grid_shape, function)


SIMULATORS: dict[str, Simulator] = {
    simulator.name: simulator
    for simulator in (
        _simulator(
            "spill",
            _spill,
            (5, 200),
            mass=(7.0, 13.0),
            diffusion=(0.02, 0.12),
            place=(0.01, 3.0),
            time=(30.01, 30.295),
        ),
        _simulator(
            "borehole",
            _borehole,
            (10, 10),
            radius=(0.05, 0.15),
            influence=(100.0, 50000.0),
            upper_transmissivity=(63070.0, 115600.0),
            upper_head=(990.0, 1110.0),
            lower_transmissivity=(63.1, 116.0),
            lower_head=(700.0, 820.0),
        ),
        _simulator(
            "wing-weight",
            _wing_weight,
            (1,),
            area=(150.0, 200.0),
            fuel=(220.0, 300.0),
            aspect=(6.0, 10.0),
            sweep=(-10.0, 10.0),
            pressure=(16.0, 45.0),
            taper=(0.5, 1.0),
            thickness=(0.08, 0.18),
            load=(2.5, 6.0),
            gross=(1700.0, 2500.0),
            paint=(0.025, 0.08),
        ),
        _simulator(
            "two-stream",
            _two_stream,
            (256,),
            sun=(0.3, 1.0),
            depth=(0.02, 1.0),
            exponent=(0.5, 2.0),
            albedo=(0.8, 0.99),
            asymmetry=(0.55, 0.8),
            ozone=(0.5, 1.5),
            water=(0.1, 2.0),
            carbon=(0.8, 1.2),
            level=(0.05, 0.5),
            slope=(-0.1, 0.1),
        ),
        _simulator(
            "shallow-water",
            _shallow_water,
            (_TIMES, _CELLS),
            height=(0.05, 0.5),
            width=(0.5, 1.5),
            place=(2.0, 8.0),
            depth=(0.5, 1.5),
            friction=(0.0, 0.5),
        ),
    )
}
