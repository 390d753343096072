"""
Choosing settings
=================

What to look at when a flow does not do what it should: rho, the distances of classes, and errors from few
points. The page :doc:`/how-to/settings` has a measured table.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kflow

# %%
# The data: images of norm 1, 600 of them to learn from.

X, y = load_digits(return_X_y=True)
X = X / np.linalg.norm(X, axis=1, keepdims=True)
X, X_test, y, y_test = train_test_split(
    X, y, train_size=600, stratify=y, random_state=0
)

# %%
# First: the default kernel, and a nugget
# ---------------------------------------
# With ``kernel=None`` the length scale comes from the data, so that the nugget is the setting that matters
# most. Three flows differ in nothing else.

common = {"n_layers": 120, "batch_size": 150, "step": "rms", "step_size": 0.02}
nuggets = {
    "0.01": 0.01,
    "1": 1.0,
    "0.01, then 1": {0: 0.01, 60: 1.0},
}
flows = {
    name: kflow.KernelFlow(**common, nugget=nugget, random_state=0).fit(
        X, kflow.one_hot(y), follow={"test": X_test}
    )
    for name, nugget in nuggets.items()
}

# %%
# Look at rho
# -----------
# rho is noisy, so a running mean over ten layers is drawn. On the right: how far points of one class are
# from each other, as a part of how far those of different classes are. It says how far the classes have
# collapsed.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for name, flow in flows.items():
    for ax, key in ((left, "rho"), (right, "class_distance_ratio")):
        smooth = np.convolve(flow.history_[key], np.full(10, 0.1), mode="valid")
        ax.plot(smooth, label=f"nugget {name}")
left.set(xlabel="layer", ylabel="rho")
right.set(xlabel="layer", ylabel="distance ratio of classes", yscale="log")
left.legend(frameon=False)

# %%
# A smaller rho is not always better: with another nugget it means something else. The same nugget at the
# end makes the last two comparable.

# %%
# Look at errors
# --------------
# What counts is the error on other points, from many and from few interpolation points.


def error(flow, rows):
    """Part of the test digits that an interpolant from some training rows gets wrong."""
    values = kflow.one_hot(y)[rows]
    interpolant = kflow.Interpolant(
        flow.points_[rows], values, kernel=flow.kernel_, nugget=0.01
    )
    return np.mean(interpolant(flow.follow_["test"]).argmax(axis=1) != y_test)


one_each = [np.flatnonzero(y == digit)[:1] for digit in range(10)]
for name, flow in flows.items():
    ten, everything = error(flow, np.concatenate(one_each)), error(flow, np.arange(600))
    print(
        f"nugget {name:12}: {ten:6.1%} wrong from ten points, {everything:.1%} from all"
    )

# %%
# What to change, and when
# ------------------------
# * rho stays at 0.5: the length scale does not fit the data, or the steps are far too large.
# * rho hardly moves: larger steps, or more layers.
# * rho rises again: smaller steps.
# * few points are bad, rho is small: smaller batches, or a larger nugget at the end.
# * all points get worse: fewer layers, and a smaller nugget.
