"""Which parameters of an estimator are given, and which are to be chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sklearn.base import clone

from kflow._base.arguments import as_count, as_nugget
from kflow.estimators.auto import is_auto
from kflow.estimators.gradient_metric import GradientMetric
from kflow.kernels import Radial, check_isotropic

__all__ = ["Wanted"]


@dataclass(frozen=True)
class Wanted:
    """The parameters that a choice is about. None stands for one that is to be chosen.

    Attributes
    ----------
    kernel : Radial, "default" or None
        The kernel; "default" for the default Gaussian.
    metric : GradientMetric, "none" or None
        The linear map; "none" for no map.
    n_layers : int or None
        Layers of the flow.
    nugget : float or None
        Nugget of the interpolant.
    """

    kernel: Radial | str | None
    metric: GradientMetric | str | None
    n_layers: int | None
    nugget: float | None

    @classmethod
    def by(cls, estimator: Any) -> Wanted:
        """Read the parameters of an estimator.

        Raises
        ------
        TypeError, ValueError
            For a parameter of the wrong kind, naming it.
        """
        kernel, metric = estimator.kernel, estimator.metric
        if not is_auto(kernel):
            kernel = "default" if kernel is None else check_isotropic(kernel)
        if not (is_auto(metric) or metric is None or isinstance(metric, GradientMetric)):
            raise TypeError(
                f'metric must be "auto", None or a kflow.GradientMetric, got {metric!r}'
            )
        n_layers, nugget = estimator.n_layers, estimator.interpolation_nugget
        return cls(
            None if is_auto(kernel) else kernel,
            "none" if metric is None else None if is_auto(metric) else metric,
            None if is_auto(n_layers) else as_count(n_layers, "n_layers", 0),
            None if is_auto(nugget) else as_nugget(nugget, "interpolation_nugget"),
        )

    def with_seed(self, seed: int, n_threads: int | None) -> Wanted:
        """Return the same with a seed and threads for a given metric that has none of its own."""
        if not isinstance(self.metric, GradientMetric):
            return self
        own = {"random_state": seed, "n_threads": n_threads}
        metric = clone(self.metric)
        metric.set_params(**{k: v for k, v in own.items() if getattr(metric, k) is None})
        return replace(self, metric=metric)

    @property
    def is_settled(self) -> bool:
        """Whether everything is given."""
        return None not in (self.kernel, self.metric, self.n_layers, self.nugget)
