from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str
compiler: str
C_API: object

class NotPositiveDefinite(Exception): ...
class Diverged(Exception): ...

class Profile:
    def __init__(
        self, family: str, length_scale: float, alpha: float = 1.0, degree: int = 1
    ) -> None: ...

class LayerOptions:
    def __init__(
        self,
        profile: Profile,
        nugget: float,
        step: str,
        step_size: float,
        gradient_cap: float,
        n_coarse: int,
        n_halves: int,
        over_batch: bool,
    ) -> None: ...

class Batch:
    def __init__(self) -> None: ...

class Expression:
    def __init__(self) -> None: ...
    def append(
        self,
        operation: str,
        factor: float = 1.0,
        profile: Profile | None = None,
        source: int = -1,
        left: int = -1,
        right: int = -1,
    ) -> None: ...

class TeamLease:
    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

_Floats = npt.NDArray[np.floating[Any]]
_Rows = npt.NDArray[np.intp]

def simd_level() -> str: ...
def simd_levels() -> list[str]: ...
def set_simd_level(name: str) -> None: ...
def parallel_backend() -> str: ...
def max_team_size() -> int: ...
def team_threshold() -> float: ...
def set_team_threshold(multiply_adds: float) -> None: ...
def forked_after_team() -> bool: ...
def all_finite(X: _Floats, factor: float, n_threads: int) -> bool: ...
def evaluate_profile(r2: _Floats, profile: Profile, repeats: int = 1) -> None: ...
def gram(X: _Floats, Z: _Floats, profile: Profile, out: _Floats, n_threads: int) -> None: ...
def apply(
    X: _Floats,
    Z: _Floats,
    C: _Floats,
    profile: Profile,
    step: float,
    base: _Floats | None,
    out: _Floats,
    n_threads: int,
) -> None: ...
def product(X: _Floats, A: _Floats, out: _Floats, n_threads: int) -> None: ...
def pull_back(
    X: _Floats,
    Z: _Floats,
    C: _Floats,
    profile: Profile,
    A: _Floats,
    out: _Floats,
    n_threads: int,
) -> None: ...
def evaluate(
    expression: Expression,
    X: Sequence[_Floats],
    Z: Sequence[_Floats],
    given: Sequence[_Floats],
    out: _Floats,
    n_threads: int,
) -> None: ...
def apply_expression(
    expression: Expression,
    X: Sequence[_Floats],
    Z: Sequence[_Floats],
    given: Sequence[_Floats],
    C: _Floats,
    out: _Floats,
    n_threads: int,
) -> None: ...
def contract(
    expression: Expression,
    X: Sequence[_Floats],
    given: Sequence[_Floats],
    G: _Floats,
    features: Sequence[_Floats | None],
    given_gradients: Sequence[_Floats],
    n_threads: int,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]: ...
def rho(
    X: _Floats,
    Y: _Floats,
    order: _Rows,
    n_coarse: int,
    profile: Profile,
    nugget: float,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_rho(
    K: _Floats,
    Y: _Floats,
    halves: _Rows,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_e2(
    K: _Floats,
    Y: _Floats,
    halves: _Rows,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_lyapunov(
    K: _Floats,
    Y: _Floats,
    halves: _Rows,
    pairs: _Rows,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_kfold(
    K: _Floats,
    Y: _Floats,
    folds: _Rows | None,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_nlml(
    K: _Floats,
    Y: _Floats,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def loss_mmd(
    K: _Floats,
    halves: _Rows,
    gradient: _Floats | None,
    n_threads: int,
) -> float: ...
def leave_one_out(
    K: _Floats, Y: _Floats, residuals: _Floats, variances: _Floats, n_threads: int
) -> None: ...
def settle(
    sets: Sequence[tuple[_Floats, _Floats]],
    pending: float,
    settled: _Rows,
    layer: int,
    n_threads: int,
) -> None: ...
def flow_layer(
    sets: Sequence[tuple[_Floats, _Floats]],
    pending: float,
    settled: _Rows,
    layer: int,
    Y: _Floats,
    labels: npt.NDArray[np.intc] | None,
    batch: _Rows,
    further_halves: _Rows,
    options: LayerOptions,
    z: _Floats,
    c: _Floats,
    workspace: Batch,
    n_threads: int,
) -> tuple[float, float, float]: ...
def batch_layer(
    z: _Floats,
    Y: _Floats,
    labels: npt.NDArray[np.intc] | None,
    further_halves: _Rows,
    options: LayerOptions,
    c: _Floats,
    workspace: Batch,
    n_threads: int,
) -> tuple[float, float, float]: ...
def replay(
    points: _Floats,
    layers: Sequence[tuple[_Floats, _Floats, float]],
    profile: Profile,
    n_threads: int,
) -> None: ...
def push_layer_forward(
    points: _Floats, z: _Floats, c: _Floats, profile: Profile, t: _Floats, n_threads: int
) -> None: ...
def pull_layer_back(
    points: _Floats, z: _Floats, c: _Floats, profile: Profile, a: _Floats, n_threads: int
) -> None: ...

class MeansFloat:
    def __init__(
        self,
        *,
        families: Sequence[str],
        centres: _Floats,
        rates: _Floats,
        coefficients: _Floats,
        linear: _Floats,
        back: _Floats,
        offset: _Floats,
    ) -> None: ...
    def scores(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...
    def outputs(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...
    def gradients(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...

class MeansDouble:
    def __init__(
        self,
        *,
        families: Sequence[str],
        centres: _Floats,
        rates: _Floats,
        coefficients: _Floats,
        linear: _Floats,
        back: _Floats,
        offset: _Floats,
    ) -> None: ...
    def scores(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...
    def outputs(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...
    def gradients(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...

class PosteriorVariance:
    def __init__(
        self,
        *,
        family: str,
        centres: _Floats,
        rates: _Floats,
        amplitude: float,
        linear: float,
        nugget: float,
        scale: float,
        factor: _Floats,
        inner: _Floats | None,
    ) -> None: ...
    def __call__(self, X: _Floats, out: _Floats, n_threads: int) -> None: ...

class ScatteringFloat:
    def __init__(
        self,
        *,
        image: tuple[int, int],
        row_of: Sequence[int],
        col_of: Sequence[int],
        n_scales: int,
        n_angles: int,
        max_order: int,
        out: tuple[int, int],
        waves: Sequence[_Floats],
        smooth_rows: Sequence[_Floats],
        smooth_cols: Sequence[_Floats],
    ) -> None: ...
    def transform(self, images: _Floats, out: _Floats, n_threads: int) -> None: ...
    def pull_back(
        self, images: _Floats, covectors: _Floats, out: _Floats, n_threads: int
    ) -> None: ...

class ScatteringDouble:
    def __init__(
        self,
        *,
        image: tuple[int, int],
        row_of: Sequence[int],
        col_of: Sequence[int],
        n_scales: int,
        n_angles: int,
        max_order: int,
        out: tuple[int, int],
        waves: Sequence[_Floats],
        smooth_rows: Sequence[_Floats],
        smooth_cols: Sequence[_Floats],
    ) -> None: ...
    def transform(self, images: _Floats, out: _Floats, n_threads: int) -> None: ...
    def pull_back(
        self, images: _Floats, covectors: _Floats, out: _Floats, n_threads: int
    ) -> None: ...
