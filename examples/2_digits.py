"""
Handwritten digits
==================

A flow of images: a classifier that in the end needs one image of each digit.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import kflow
from kflow.plotting import ErrorDisplay, ImageStripDisplay, LossDisplay, PointsDisplay

# %%
# The data: 1797 images of 8 x 8 pixels, a quarter of them held out.

images, labels = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(
    images.astype(np.float32), labels, test_size=0.25, stratify=labels, random_state=0
)

# %%
# Fit and predict
# ---------------
# :class:`kflow.KernelFlowClassifier` is a scikit-learn estimator: it scales the images, runs the flow,
# and interpolates the one-hot labels with the learned kernel.
#
# A setting can change during the flow. Here the first 200 layers have a small nugget and learn detail.
# The other 200 have a large one and pull each class together.

classifier = kflow.KernelFlowClassifier(
    kernel=None,  # a Gaussian, and no linear map
    metric=None,
    n_layers=400,
    batch_size=200,
    n_halves=2,
    nugget={0: 0.01, 200: 1.0},
    step={0: "relative", 200: "rms"},
    step_size={0: 0.1, 200: 0.02},
    gradient_cap=np.inf,
    interpolation_nugget=0.01,
    scaling="unit",
    random_state=0,
)
classifier.fit(X, y)
print(f"test error {1.0 - classifier.score(X_test, y_test):.1%}")

# %%
# How good is the kernel?
# -----------------------
# Not one test error, but several: interpolants from 600, 60 and 10 training images, drawn at random
# with the same number of each digit. At the start ten images say little. In the end, they say as much
# as 600: that is what the flow is for.

ErrorDisplay.from_estimator(classifier, X, y, X_test, y_test)

# %%
# The loss falls in both phases. The step in the middle is the change of the nugget.

LossDisplay.from_estimator(classifier)

# %%
# What the flow does to images
# ----------------------------
# A point of the flow is an image, wherever it goes. :math:`F_n(x)` takes on what the images of its
# class have in common.

shown = [int(np.flatnonzero(y_test == digit)[0]) for digit in range(10)]
ImageStripDisplay.from_estimator(classifier, X_test[shown], image_shape=(8, 8))

# %%
# All test images, by a linear map to the plane that tells the classes apart as well as can be after
# the last layer.

PointsDisplay.from_estimator(
    classifier, X_test, y_test, layers=[0, 200, 400], projection="classes"
)

# %%
# Keep it
# -------
# A model file holds arrays and JSON, and no code. :func:`kflow.load` gives back the classifier.

import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "digits.kflow")
    classifier.save(file)
    again = kflow.load(file)
print(np.array_equal(again.predict(X_test), classifier.predict(X_test)))
