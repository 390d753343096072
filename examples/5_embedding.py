"""
An embedding that knows the labels
==================================

A flow as an embedding: new points go where their class is. Beside it PCA, which knows no labels, and NCA,
a linear map that knows them.
"""

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestCentroid, NeighborhoodComponentsAnalysis

import kflow
from kflow.plotting import PointsDisplay

# %%
# The data: digits of 8 x 8 pixels. All pictures show the 450 that are held out.

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Three embeddings
# ----------------
# Each learns from the training digits and then maps the others. A flow keeps the 64 dimensions of the
# digits. To draw it, a linear map takes the moved training points to ten places on a circle, one for each
# class.

pca = PCA(2).fit(X)
nca = NeighborhoodComponentsAnalysis(2, max_iter=20, random_state=0).fit(X, y)

settings = {**kflow.presets.PRESETS["digits"], "n_layers": 400}
flow = kflow.KernelFlowClassifier(**settings, random_state=0).fit(X, y)
moved = flow.transform(X)
places = np.column_stack([np.cos(2 * np.pi * y / 10), np.sin(2 * np.pi * y / 10)])
plane = np.linalg.lstsq(moved - moved.mean(axis=0), places, rcond=0.02)[0]


def flowed(points):
    """Coordinates of points in the plane, behind the flow."""
    return (flow.transform(points) - moved.mean(axis=0)) @ plane


# %%
# How well do two coordinates tell the digits apart? A new digit gets the class whose mean is nearest.

figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
maps = {"PCA": pca.transform, "NCA": nca.transform, "Kernel flow": flowed}
for ax, (name, embed) in zip(axes, maps.items(), strict=True):
    nearest = NearestCentroid().fit(embed(X), y)
    error = 1.0 - nearest.score(embed(X_test), y_test)
    PointsDisplay(embed(X_test), y_test).plot(ax, class_names="means")
    ax.set(title=f"{name}: {error:.1%} wrong", xlabel="", ylabel="")

# %%
# PCA keeps variance, which has little to do with classes. NCA keeps neighbours, as far as a linear map of
# two coordinates can. The flow is not linear, and moved the points for 400 layers so that half of them
# predict the others.
#
# UMAP and the same methods in numbers
# ------------------------------------
# UMAP is the usual choice for pictures. It is not among the packages that kflow needs, so this picture
# and table were made once, by ``python bench/embeddings.py --picture docs/images/embeddings.png``.
#
# .. figure:: /images/embeddings.png
#    :alt: The held-out digits by PCA, NCA, UMAP without and with labels, and a kernel flow
#
#    450 held-out digits in two coordinates.
#
# ================  ==================  ===============  ========
# method            nearest class mean  five neighbours  seconds
# ================  ==================  ===============  ========
# PCA               40.0 %              38.2 %           0.1
# NCA               25.6 %              25.3 %           9.0
# UMAP              14.4 %              2.2 %            23.8
# UMAP with labels  3.6 %               2.9 %            3.2
# kernel flow       1.6 %               1.6 %            4.0
# ================  ==================  ===============  ========
#
# Errors on the held-out digits; seconds on two cores that other processes used, too. UMAP's first
# use compiles it, which is a part of its 23.8 s.
#
# Without labels, UMAP is the right tool: its neighbourhoods are nearly pure, and a flow needs targets. With
# labels, both separate the classes. What is different: the map of a flow is a smooth function with a
# formula, so that distances after it say how alike the learned kernel finds two points, and new points
# take the same way as the others. :doc:`/comparison` says which tool to take when.
