"""
A time series
=============

A forecast of a chaotic system: learn the map from the last state to the next one, and iterate it.
"""

import numpy as np
from matplotlib import pyplot as plt

from kflow.kernels import Gaussian, Matern52, Polynomial
from kflow.timeseries import Forecaster, lorenz63, valid_prediction_time

# %%
# The data
# --------
# Lorenz's system of three coordinates, every 0.05 units of time. Forecasts begin at five places, and the
# 600 states before each place are what they learn from.

series = lorenz63(1300, time_step=0.05, random_state=0)
places = (600, 700, 800, 900, 1000)

# %%
# Three kernels
# -------------
# A Gaussian whose length scale is the median distance of the rows; a sum of kernels as it is written here;
# and the same sum with learned parameters. The loss e2 is the error of what half of a batch predicts
# for the other half. ``increments=True`` learns the differences of states, which are small here.

start = 1.0 * Gaussian(1.0) + 1.0 * Matern52(1.0) + 0.1 * Polynomial()
common = {"delay": 1, "increments": True, "nugget": 1e-8, "random_state": 0}
forecasters = {
    "Gaussian, median distance": Forecaster(None, learn=None, **common),
    "sum, not learned": Forecaster(start, learn=None, **common),
    "sum, learned by e2": Forecaster(start, learn="e2", **common),
}

# %%
# How long is a forecast right?
# -----------------------------
# Two states that are close drift apart by a factor of e in one Lyapunov time, 1 / 0.9056 here. So no
# forecast is right for ever. The valid time is how long its error stays below 0.4 of the spread of the
# series. A single forecast may be lucky: look at several.

forecasts = {}
for name, forecaster in forecasters.items():
    valid = []
    for place in places:
        forecaster.fit(series[place - 600 : place])
        forecasts[name] = forecaster.predict(300)
        true = series[place : place + 300]
        valid.append(
            valid_prediction_time(
                true, forecasts[name], time_step=0.05, lyapunov=0.9056
            )
        )
    times = " ".join(f"{time:4.1f}" for time in valid)
    print(f"{name:26} {times}  median {np.median(valid):.1f} Lyapunov times")

# %%
# Learning makes the forecasts of the sum longer. It is no magic: the plain Gaussian is good here, too. On other
# systems other kernels are: see the measured forecasts on the page :doc:`/performance`.

print(forecasters["sum, learned by e2"].kernel_)

# %%
# The first coordinate after the last place:

time = 0.05 * 0.9056 * np.arange(300)
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
ax.plot(time, series[1000:, 0], "k--", linewidth=1, label="truth")
for name, forecast in forecasts.items():
    ax.plot(time, forecast[:, 0], linewidth=1.2, label=name)
ax.set(xlabel="Lyapunov times", ylabel="$x_1$", ylim=(-30, 22))
ax.legend(ncols=2, frameon=False, loc="lower center")

# %%
# One coordinate alone
# --------------------
# If only one column is seen, some states of the past make up for the others (Takens's theorem): pass
# ``delay=5`` or so. :doc:`/how-to/time-series` has more.
