"""
Numbers with their uncertainty
==============================

Regression with two estimators: one that chooses what predicts best, and one that also says how sure it is.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_friedman1
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import train_test_split

import kflow
from kflow.plotting import ImportanceDisplay

# %%
# The data
# --------
# Friedman's first function of ten features, of which the first five matter, with noise of deviation 1.
# So no method can have an error much below 1.

X, y = make_friedman1(600, noise=1.0, random_state=0)
X, X_test, y, y_test = train_test_split(X, y, test_size=200, random_state=0)

# %%
# What the error is compared with
# -------------------------------
# An error says little alone. The mean of the targets is the prediction of one who knows nothing, and
# ridge regression is a quick first look.


def error(prediction):
    """Root mean squared error on the test rows."""
    return np.sqrt(np.mean((prediction - y_test) ** 2))


print(f"mean of the targets {error(y.mean()):.2f}")
print(f"ridge regression    {error(RidgeCV().fit(X, y).predict(X_test)):.2f}")

# %%
# An estimator that chooses
# -------------------------
# :class:`kflow.KernelFlowRegressor` compares kernels, linear maps of the features and nuggets on four
# folds, and takes a flow of the points only where it helps. ``selection_`` says what it tried.

regressor = kflow.KernelFlowRegressor(random_state=0).fit(X, y)
print(regressor.selection_)
print(f"KernelFlowRegressor {error(regressor.predict(X_test)):.2f}")

# %%
# Which features does it look at? The linear map says so.

ImportanceDisplay.from_estimator(regressor)

# %%
# An estimator that knows how sure it is
# --------------------------------------
# :class:`kflow.GPRegressor` learns a kernel of three parts, the first with a length scale for each feature. A
# long one means that the feature has no effect there.

model = kflow.GPRegressor(random_state=0).fit(X, y)
mean, std = model.predict(X_test, return_std=True)
print(f"GPRegressor         {error(mean):.2f}")
print(model.kernel_)

# %%
# Is the uncertainty right? About 95 % of the test targets should lie within 1.96 deviations.

inside = np.abs(mean - y_test) < 1.96 * std
print(f"{inside.mean():.0%} of the test targets are in their interval")

order = np.argsort(mean)
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.errorbar(
    np.arange(len(order)), mean[order], 1.96 * std[order], fmt="none", ecolor="#56B4E9"
)
ax.plot(mean[order], color="#0072B2", label="prediction, with its 95 % interval")
ax.plot(y_test[order], ".", color="#D55E00", markersize=4, label="test target")
ax.set(xlabel="test rows, by their prediction", ylabel="y")
ax.legend(frameon=False)

# %%
# Which of the two? Only the second has deviations. Their errors are close: here the second is better, on the
# measured tables of :doc:`/comparison` it is more often the first.
