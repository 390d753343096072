"""
A first flow, in the plane
==========================

Two spirals, wound into each other. A flow moves their points, layer by layer, until each spiral lies
together and the two lie apart.
"""

import numpy as np
from matplotlib import pyplot as plt

import kflow
from kflow.plotting import (
    DecisionRegionDisplay,
    LossDisplay,
    PointsDisplay,
    VelocityDisplay,
)

# %%
# The data
# --------
# 125 points on each spiral, a little noise, and the labels +1 and -1, after the "Swiss roll
# cheesecake" of Owhadi and Yoo.

rng = np.random.default_rng(0)
angle = 3.0 * np.pi * np.sqrt(rng.uniform(0.1, 1.0, 125))
spiral = (
    np.column_stack([np.cos(angle), np.sin(angle)]) * angle[:, None] / (3.0 * np.pi)
)
X = np.concatenate([spiral, -spiral]) + rng.normal(scale=0.02, size=(250, 2))
y = np.repeat([1, -1], 125)

# %%
# The flow
# --------
# Each layer draws a batch of the points and half of the batch. The loss rho, between 0 and 1, says how
# much the half loses against the batch when both interpolate the labels. The layer moves the batch
# against rho's gradient, and every other point by kernel interpolation of that movement. Here the
# batch is all 250 points, so that only the half is random.
#
# The nugget is added to the kernel matrix's diagonal. A large one like this pulls classes together.
# The step rule moves the points by a hundredth of their norm in each layer, in the mean square.

flow = kflow.KernelFlow(
    kflow.kernels.Gaussian(length_scale=0.3),
    n_layers=800,
    batch_size=250,
    nugget=1.0,
    step="rms",
    step_size=0.01,
    random_state=0,
)
flow.fit(X, y)

# %%
# What the flow did
# -----------------
# The points after n layers, :math:`F_n(X)`; :math:`F_0(X)` is the data as it is.

figure, axes = plt.subplots(2, 2, figsize=(6.4, 6.2), layout="compressed")
PointsDisplay.from_estimator(flow, X, y, layers=[0, 200, 500, 800], ax=axes.ravel())

# %%
# The loss of each layer. It is noisy, because each layer draws another half.

LossDisplay.from_estimator(flow)

# %%
# :math:`F_n` is defined everywhere, not only at the training points. So is the velocity of a layer,
# :math:`F_{n+1}(x) - F_n(x)`, drawn here on a grid and averaged over 20 layers.

VelocityDisplay.from_estimator(flow, X, y, n_layers=200, span=20, grid=24)

# %%
# What the learned kernel predicts
# --------------------------------
# The learned kernel is :math:`K_n(x, x') = K_1(F_n(x), F_n(x'))`. Ten points chosen at random, five on
# each spiral, tell little of a spiral to the kernel :math:`K_1` with which the flow began.

few = np.concatenate(
    [rng.choice(np.flatnonzero(y == label), 5, replace=False) for label in (1, -1)]
)
centres, values = flow.transform(X[few]), y[few]


def error_of(n_layers):
    """Part of the 250 points that an interpolant from the ten gets wrong."""
    moved = flow.transform(X, n_layers=n_layers)
    interpolant = kflow.Interpolant(
        moved[few], values, kernel=flow.kernel_, nugget=0.01
    )
    return np.mean(np.sign(interpolant(moved)[:, 0]) != y)


for n_layers in (0, 200, 500, 800):
    print(f"after {n_layers:3} layers: {error_of(n_layers):.1%} wrong")

# %%
# The same in a picture: the regions of the two classes with :math:`K_n`, in the coordinates
# of the data.

# sphinx_gallery_thumbnail_number = 4
DecisionRegionDisplay.from_estimator(flow, X, y, nugget=0.01, grid_resolution=120)
