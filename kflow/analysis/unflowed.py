"""A classifier without the layers of its flow: what the kernel does before it is learned."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from kflow.analysis._classifier import as_model, training_data
from kflow.flow.kernel_flow import KernelFlow
from kflow.flow.without_run import state_before_layers
from kflow.linear.interpolant import Interpolant
from kflow.operations import one_hot

__all__ = ["unflowed"]


def unflowed(classifier: Any, X: npt.ArrayLike, y: npt.ArrayLike) -> Any:
    """Return the same classifier without layers, to compare a classifier with.

    Everything else is the same: the scaling, the coordinates, the kernel, the nugget, and the
    interpolation points, which are where they were before the flow moved them.

    Parameters
    ----------
    classifier : KernelFlowClassifier or the result of kflow.make_image_pipeline
        The fitted classifier, or an encoder of images and the classifier behind it.
    X : array_like, shape (N, d)
        The points on which it was fitted, all of them and in the same order; for a pipeline images.
    y : array_like, shape (N,)
        The labels of X.

    Returns
    -------
    KernelFlowClassifier or pipeline
        A new classifier, fitted, whose flow has no layers; of a pipeline one with the same encoder.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the classifier has not been fitted.
    SingularKernelError
        If the kernel matrix of the interpolation points is numerically singular before the flow.
    TypeError, ValueError
        If it is another estimator, its layers were not kept, or it was not fitted on X and y.

    Notes
    -----
    It takes m^3 / 3 flops for m interpolation points. A new fit with ``n_layers=0``, the classifier's
    ``flow_.kernel_`` and the same int as ``random_state`` gives the same classifier.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> import kflow
    >>> from kflow.analysis import unflowed
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = kflow.KernelFlowClassifier(n_layers=30, random_state=0).fit(X, y)
    >>> before = unflowed(classifier, X, y)
    >>> before.flow_.n_layers_, bool(before.score(X, y) > 0.9)
    (0, True)
    """
    from sklearn.base import clone

    from kflow.estimators.image_pipeline import make_image_pipeline

    model = as_model(classifier)
    points, codes = training_data(model, X, y)
    classifier = model.classifier
    fitted: KernelFlow = classifier.flow_
    flow = KernelFlow(
        fitted.kernel_,
        n_layers=0,
        batch_size=fitted.batch_size,
        rank=fitted.rank,
        dtype=fitted.dtype,
        n_threads=fitted.n_threads,
    )
    targets = one_hot(codes)
    state = state_before_layers(
        flow, points, targets, kernel=fitted.kernel_, subspace=fitted.state_.subspace
    )
    first = flow.adopt(state).positions().training
    before = clone(classifier).set_params(
        kernel=fitted.kernel_,
        n_layers=0,
        early_stopping=False,
        layers="memory",
        checkpoint=None,
        callbacks=(),
    )
    rows = classifier.interpolation_rows_
    before.flow_ = flow
    before.interpolation_rows_ = rows.copy()
    before.interpolant_ = Interpolant(
        first[rows],
        targets[rows],
        kernel=fitted.kernel_,
        nugget=classifier.interpolant_.nugget,
        sample_weight=classifier.interpolant_.sample_weight,
        n_threads=classifier.n_threads,
    )
    before.n_layers_ = 0
    before.interpolation_nugget_ = classifier.interpolant_.nugget
    before.stopping_ = before.temperature_ = None
    for name in (
        "classes_",
        "n_features_in_",
        "feature_names_in_",
        "scaling_",
        "selection_",
        "map_importances_",
    ):
        if hasattr(classifier, name):
            setattr(before, name, getattr(classifier, name))
    if model.encoder is None:
        return before
    return make_image_pipeline(before, encoder=model.encoder)
