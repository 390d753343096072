"""
The parameters of a kernel
==========================

Where a kernel has length scales, periods and amplitudes, Kernel Flows need no layers: the loss of
random batches tells how to change the parameters.
"""

import numpy as np
from matplotlib import pyplot as plt

import kflow
from kflow.kernels import Gaussian, Periodic

# %%
# The data
# --------
# A wave whose height changes slowly, noisy values of it, and a gap without any.

rng = np.random.default_rng(0)


def truth(t):
    """A wave of period 0.8, modulated."""
    return np.sin(2.0 * np.pi * t / 0.8) * np.exp(-0.5 * ((t - 5.0) / 5.0) ** 2)


t = np.sort(rng.uniform(0.0, 10.0, 400))
t = t[(t < 4.5) | (t > 7.5)]
u = truth(t) + rng.normal(scale=0.1, size=len(t))

# %%
# A kernel with parameters
# ------------------------
# Products and sums of kernels are kernels. This one is locally periodic: a wave that may change its
# shape over the Gaussian's length scale. All three parameters are wrong at the start.

start = Periodic(length_scale=1.0, period=0.7) * Gaussian(length_scale=1.0)
print(start)

# %%
# Learning
# --------
# Each step draws batches of 100 points and halves of them. The loss `e2` is the squared error of what
# the half predicts for the others, and :mod:`kflow.losses` has more. The nugget, which stands for the
# noise, is learned along with the kernel.

learned = kflow.learn_kernel(
    start,
    t[:, None],
    u,
    loss="e2",
    nugget=0.1,
    batch_size=100,
    n_halves=4,
    random_state=0,
)
print(learned.kernel)
print(f"nugget {learned.nugget:.3f}")

# %%
# The loss of each step, and the period's way to 0.8. The history has the parameters' logarithms.

period = np.exp(learned.history["theta"][:, start.parameter_names.index("k1__period")])
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(learned.history["loss"], linewidth=0.8)
left.set(xlabel="step", ylabel="loss e2", ylim=(0.0, None))
right.plot(period)
right.axhline(0.8, color="0.5", linestyle="--")
right.set(xlabel="step", ylabel="period")

# %%
# Prediction
# ----------
# :class:`kflow.GPRegressor` predicts with a kernel and its nugget, and learns both by itself unless
# `learn` is None. In the gap, and beyond the data, the learned kernel goes on as the wave did; the
# first one does not.


def fitted(kernel, nugget):
    """Return a Gaussian process with this kernel as it is."""
    model = kflow.GPRegressor(kernel, nugget=nugget, learn=None, scaling=None)
    return model.fit(t[:, None], u)


# sphinx_gallery_thumbnail_number = 2
models = {
    "at the start": fitted(start, 0.1),
    "learned": fitted(learned.kernel, learned.nugget),
}
new = np.linspace(0.0, 12.0, 600)
figure, panels = plt.subplots(2, 1, figsize=(8, 5), sharex=True, layout="constrained")
for ax, (name, model) in zip(panels, models.items(), strict=True):
    mean, std = model.predict(new[:, None], return_std=True)
    ax.plot(t, u, ".", color="0.6", markersize=4, label="data")
    ax.plot(new, truth(new), "k--", linewidth=1, label="truth")
    ax.plot(new, mean, color="#0072B2", label="mean")
    band = {"color": "#0072B2", "alpha": 0.2, "linewidth": 0}
    ax.fill_between(new, mean - 2 * std, mean + 2 * std, label="two deviations", **band)
    ax.set(title=f"Kernel {name}", ylabel="u", ylim=(-2.2, 2.2))
panels[1].set(xlabel="t")
panels[0].legend(ncols=4, loc="upper center", frameon=False)

# %%
# Which loss?
# -----------
# :func:`kflow.losses.rho` is the loss of the Kernel Flows paper. It finds kernels that need few points.
# For prediction from noisy data `e2` and leave-one-out are the safer choice: see
# :doc:`/parametric`.
