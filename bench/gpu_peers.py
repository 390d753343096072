"""What `gpu.py` puts beside kflow: the same layer in plain PyTorch and in JAX, and EigenPro.

A layer is written as one would write it: one half, the batch in float64 with one Cholesky factorisation
for all and one for the half, the points in float32 with the kernel matrix as a whole, and the rms rule.
With A = K + I, V = A^-1 Y, W = A_cc^-1 Y_c and D = tr(Y' V), rho = 1 - tr(Y_c' W) / D, and its descent is
-4 (diag(M 1) Z - M Z) for the weights M = (dK / d(r^2)) o ((rho - 1) V V' + W W') / D.

EigenPro (Ma and Belkin, Kernel machines that adapt to GPUs for effective large batch training, 2019) is not
here: it is the user's own copy of https://github.com/EigenPro/EigenPro-pytorch. Its second version takes all
training points for centres; the third is for models whose centres are fewer than the data.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

NUGGET, STEP_SIZE, LENGTH_SCALE = 1.0, 0.02, 1.0

# EigenPro's kernel of MNIST: a Gaussian of pixels between 0 and 1.
BANDWIDTH = 5.0

# A layer of all points, given the rows of its batch: the points after it.
LayerFunction = Callable[[Any], Any]


def synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


# ---- PyTorch ----------------------------------------------------------------------------------


def torch_layer(X: np.ndarray, Y: np.ndarray, device: str) -> LayerFunction:
    points, targets = (torch.from_numpy(a).to(device) for a in (X, Y))

    def layer(batch: np.ndarray) -> torch.Tensor:
        rows = torch.from_numpy(batch).to(device)
        z, y = points[rows].double(), targets[rows]
        r2 = torch.cdist(z, z).square()
        k = torch.exp(-0.5 * r2)
        a = k + NUGGET * torch.eye(len(z), dtype=torch.float64, device=device)
        half = len(z) // 2
        factor, part = torch.linalg.cholesky(a), torch.linalg.cholesky(a[:half, :half])
        v, w = torch.cholesky_solve(y, factor), torch.cholesky_solve(y[:half], part)
        total, coarse = (y * v).sum(), (y[:half] * w).sum()
        g = -(coarse / total) * (v @ v.T)
        g[:half, :half] += w @ w.T
        weights = -0.5 * g * k / total
        descent = -4.0 * (weights.sum(1)[:, None] * z - weights @ z)
        c = torch.cholesky_solve(descent, factor).float()
        x2, z2 = points.square().sum(1), points[rows].square().sum(1)
        moved = torch.exp(-0.5 * (x2[:, None] + z2 - 2.0 * points @ points[rows].T)) @ c
        step = STEP_SIZE * (points.square().sum() / moved.square().sum()).sqrt()
        return points + step * moved

    return layer


# ---- JAX --------------------------------------------------------------------------------------


def _jax_device(device: str) -> Any:
    """Return JAX's name for a device of PyTorch; RuntimeError if this JAX has none."""
    # JAX would take three quarters of the device's memory for itself. It reads this when imported.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", True)
    wanted = torch.device(device)
    kind = "gpu" if wanted.type == "cuda" else wanted.type
    return jax.devices(kind)[wanted.index or 0]


def jax_is_missing(device: str) -> str | None:
    """Return why JAX cannot run on a device, None if it can."""
    if find_spec("jax") is None:
        return "it is not installed (pip install 'jax[cuda12]', or jax for processors)"
    try:
        _jax_device(device)
    except (RuntimeError, IndexError) as error:
        return f"it has no device {device!r} here ({str(error).splitlines()[0]})"
    return None


def jax_layer(X: np.ndarray, Y: np.ndarray, device: str) -> LayerFunction:
    place = _jax_device(device)
    import jax
    import jax.numpy as jnp
    from jax.scipy.linalg import cho_solve, cholesky

    points, targets = jax.device_put(X, place), jax.device_put(Y, place)

    @jax.jit
    def compiled(x: Any, y_all: Any, rows: Any) -> Any:
        z, y = x[rows].astype(jnp.float64), y_all[rows]
        squares = (z * z).sum(1)
        k = jnp.exp(-0.5 * (squares + squares[:, None] - 2.0 * z @ z.T))
        a = k + NUGGET * jnp.eye(len(z))
        half = len(z) // 2
        factor, part = cholesky(a, lower=True), cholesky(a[:half, :half], lower=True)
        v, w = cho_solve((factor, True), y), cho_solve((part, True), y[:half])
        total, coarse = (y * v).sum(), (y[:half] * w).sum()
        g = -(coarse / total) * (v @ v.T)
        g = g.at[:half, :half].add(w @ w.T)
        weights = -0.5 * g * k / total
        descent = -4.0 * (weights.sum(1)[:, None] * z - weights @ z)
        c = cho_solve((factor, True), descent).astype(x.dtype)
        x2, z2 = (x * x).sum(1), (x[rows] ** 2).sum(1)
        # Products of all digits, as PyTorch's are if nobody asked for less.
        with jax.default_matmul_precision("highest"):
            moved = jnp.exp(-0.5 * (x2[:, None] + z2 - 2.0 * x @ x[rows].T)) @ c
        step = STEP_SIZE * jnp.sqrt((x * x).sum() / (moved * moved).sum())
        return x + step.astype(x.dtype) * moved

    def layer(batch: np.ndarray) -> Any:
        return compiled(points, targets, jax.device_put(batch, place)).block_until_ready()

    return layer


# ---- EigenPro ---------------------------------------------------------------------------------


class Reached(NamedTuple):
    """The error on the test images after so many seconds, with what was done in them."""

    by: str
    what: str
    seconds: float
    error: float


def eigenpro_is_missing(folder: str | None) -> str | None:
    """Return why EigenPro cannot run, None if it can."""
    if folder is None:
        return "--eigenpro names no folder of https://github.com/EigenPro/EigenPro-pytorch"
    if not (Path(folder) / "eigenpro2" / "models.py").is_file():
        return f"{folder} has no eigenpro2/models.py, as EigenPro-pytorch has"
    return None


def eigenpro(
    folder: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    device: str,
    epochs: list[int],
) -> Iterator[Reached]:
    """Yield what EigenPro reaches in some numbers of epochs, each by a fit from the start.

    Its time is that of the whole fit, without its own evaluations between epochs. Images have pixels
    between 0 and 1; labels are one-hot rows.
    """
    sys.path.insert(0, folder)
    from eigenpro2.kernels import gaussian
    from eigenpro2.models import KernelModel

    x, y, x_test, y_test = (
        torch.from_numpy(np.asarray(a, np.float32)).to(device) for a in (*train, *test)
    )
    memory = 8
    if torch.device(device).type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory // 2**30 - 1
    for n in epochs:
        torch.manual_seed(0)
        synchronise(device)
        start = time.perf_counter()
        model = KernelModel(
            lambda a, b: gaussian(a, b, bandwidth=BANDWIDTH), x, y.shape[1], device=device
        )
        model.fit(x, y, epochs=n, mem_gb=memory, run_epoch_eval=False)
        synchronise(device)
        seconds = time.perf_counter() - start
        scores = torch.cat([model.forward(part) for part in x_test.split(2000)])
        wrong = (scores.argmax(1) != y_test.argmax(1)).double().mean()
        yield Reached("EigenPro", "1 epoch" if n == 1 else f"{n} epochs", seconds, float(wrong))
