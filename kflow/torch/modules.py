"""Modules of PyTorch: losses of features, which draw their halves, folds and pairs themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from kflow._base.arguments import (
    MOST_HALVES,
    as_choice,
    as_count,
    as_flag,
    as_generator,
    as_positive,
)
from kflow._base.generators import generator_state, set_generator_state
from kflow.kernels import Gaussian, Kernel
from kflow.learning.batches import draw_folds, draw_halves, nearest_pairs
from kflow.losses import get_loss
from kflow.torch.arguments import as_float64, in_dtype_of
from kflow.torch.distances import squared_distances
from kflow.torch.kernels import KernelModule
from kflow.torch.points import evaluate

__all__ = ["KernelLoss", "RhoLoss"]

_SCALES = ("median", "rms", "none")

# Where most rows of features coincide, as those of units that no input activates, their median squared
# distance is rounding, and no unit of the other distances: it must be more than this part of their mean.
_COINCIDING = 1e-8

# A sum of squared deviations that is a smaller part of the sum of squares is rounding.
_ROUNDING = 1e-24


class KernelLoss(torch.nn.Module):
    """A loss of a kernel as a criterion: called with features and targets of a batch.

    Parameters
    ----------
    loss : str
        A key of ``kflow.torch.losses.LOSSES``, such as "rho" or "e2".
    kernel : kflow.kernels.Kernel, torch.nn.Module or None
        The kernel. None: `kflow.kernels.Gaussian` with length scale 1. A module, such as a
        `KernelModule`, is used as it is.
    scale : str
        By what features are divided before the kernel sees them, so that a length scale of 1 suits every
        layer: "median", the median distance of two rows of the batch, a constant for derivatives (where
        most rows coincide: the root of the mean squared distance);
        "rms", the root of the mean squared distance, which is differentiated, so that features cannot
        gain by growing or shrinking; or "none".
    nugget : float
        What is added to the diagonal of the kernel matrix, positive.
    learn_kernel, learn_nugget : bool
        Whether the free parameters of a `kflow.kernels.Kernel`, and the nugget, are parameters of the
        module, to be learned with those of the network; both by their logarithms.
    normalize : bool
        Divide e2, loo and kfold by the sum of the squared targets, and nlml by the number of targets, so
        that a weight means the same for batches of every size.
    n_halves, n_folds : int
        How many halves or folds are drawn at each call, for the losses that take them. Halves come in
        complementary pairs.
    n_classes : int, optional
        Number of classes of integer labels. None: the largest label of each batch plus 1; columns of
        classes that are missing change no loss but nlml.
    random_state : int, numpy.random.Generator or None
        Source of the draws. Its state is a part of ``state_dict()``.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, naming them.

    Notes
    -----
    Everything is computed in float64, in autocast regions too; costs are those of the functions, for
    the n rows of the batch. The draws are made on the host.

    Examples
    --------
    >>> import torch
    >>> from kflow.torch import KernelLoss
    >>> criterion = KernelLoss("e2", n_classes=2, random_state=0)
    >>> features = torch.randn(8, 3, 2, 2, requires_grad=True)
    >>> labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    >>> criterion(features, labels).backward()
    >>> features.grad.shape
    torch.Size([8, 3, 2, 2])
    """

    log_nugget: torch.Tensor

    def __init__(
        self,
        loss: str = "rho",
        *,
        kernel: Any = None,
        scale: str = "median",
        nugget: float = 0.01,
        learn_kernel: bool = False,
        learn_nugget: bool = False,
        normalize: bool = True,
        n_halves: int = 2,
        n_folds: int = 5,
        n_classes: int | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__()
        self._needs = get_loss(loss)
        self.loss = loss
        self.scale = as_choice(scale, "scale", _SCALES)
        self.normalize = as_flag(normalize, "normalize")
        self.n_halves = as_count(n_halves, "n_halves", 1, MOST_HALVES)
        self.n_folds = as_count(n_folds, "n_folds", 2)
        self.n_classes = None if n_classes is None else as_count(n_classes, "n_classes", 1)
        self._rng = as_generator(random_state)
        learns = as_flag(learn_kernel, "learn_kernel")
        if kernel is None or isinstance(kernel, Kernel):
            kernel = KernelModule(Gaussian() if kernel is None else kernel, learn=learns)
        elif not isinstance(kernel, torch.nn.Module):
            raise TypeError(
                f"kernel must be one of kflow.kernels or a torch.nn.Module, got {kernel!r}"
            )
        elif learns:
            raise ValueError(
                "learn_kernel=True is for kernels of kflow.kernels: a module's own parameters say "
                "what is learned"
            )
        self.kernel = kernel
        log_nugget = torch.tensor(math.log(as_positive(nugget, "nugget")), dtype=torch.float64)
        if as_flag(learn_nugget, "learn_nugget"):
            self.log_nugget = torch.nn.Parameter(log_nugget)
        else:
            self.register_buffer("log_nugget", log_nugget)

    # What depends on draws of the host is no graph: in compiled code it runs between two of them.
    @torch.compiler.disable
    def forward(self, features: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Return the loss of a batch.

        Parameters
        ----------
        features : tensor, shape (n, ...)
            One entry for each row of the batch, of any further shape: they are flattened.
        targets : tensor, shape (n,) of an integer dtype or bool, or (n, ...) of a floating-point dtype
            Labels, which become one-hot rows, or targets, which are flattened. None for mmd.

        Returns
        -------
        tensor, shape ()
            In the dtype of the features, at least float32.

        Raises
        ------
        SingularKernelError
            If the kernel matrix is numerically singular: pass a larger nugget.
        TypeError, ValueError
            For arguments of the wrong kind or shape, and for batches that are too small.
        """
        if not isinstance(features, torch.Tensor) or not features.is_floating_point():
            raise TypeError("features must be a tensor of floating-point numbers")
        n = features.shape[0] if features.ndim else 0
        smallest = self._needs.smallest_batch(self.n_folds)
        if n < smallest:
            raise ValueError(
                f"features must have at least {smallest} rows for loss={self.loss!r}, got {n}: leave "
                "small batches out, as DataLoader(drop_last=True) does"
            )
        x = as_float64(features.reshape(n, -1))
        x = x / self._unit_of_distance(x)
        y = self._targets(targets, n, x)
        subsets = self._draw(x, y, n)
        # A module of somebody else's expects the dtype that the network computes in.
        points = x if isinstance(self.kernel, KernelModule) else x.to(features)
        value = evaluate(self.loss, points, (y, *subsets), self.kernel, self.log_nugget.exp())
        if self.normalize:
            value = value / self._unit_of_loss(y)
        return in_dtype_of(value, features)

    def _unit_of_distance(self, x: torch.Tensor) -> torch.Tensor | float:
        if self.scale == "none" or len(x) < 2:
            return 1.0
        # The mean over pairs of |x - z|^2 is twice the variance.
        deviations = (x - x.mean(0)).square().sum()
        differ = deviations > _ROUNDING * x.detach().square().sum()
        unit = torch.where(differ, 2 * deviations / (len(x) - 1), 1.0)
        if self.scale == "median":
            with torch.no_grad():
                r2 = squared_distances(x, None, direct=False)
                upper = torch.ones_like(r2, dtype=torch.bool).triu(1)
                median = r2[upper].median()
                unit = torch.where(median > _COINCIDING * unit, median, unit)
        return unit.sqrt()

    def _targets(self, targets: Any, n: int, x: torch.Tensor) -> torch.Tensor | None:
        """Return targets as n rows of float64, labels as one-hot rows."""
        if not self._needs.uses_targets:
            return None
        if not isinstance(targets, torch.Tensor):
            raise TypeError(f"targets must be a tensor, got {type(targets).__name__}")
        if targets.shape[:1] != (n,):
            raise ValueError(
                f"targets must have {n} rows as the features, got {tuple(targets.shape)}"
            )
        if targets.is_floating_point():
            return as_float64(targets.reshape(n, -1)).to(x.device)
        if targets.ndim != 1:
            raise ValueError(
                f"targets of dtype {targets.dtype} must be labels of shape ({n},), got "
                f"{tuple(targets.shape)}: convert other targets to floating-point numbers"
            )
        if self.n_classes is None and self.loss == "nlml":
            raise ValueError("n_classes must be given for labels: loss='nlml' depends on it")
        n_classes = -1 if self.n_classes is None else self.n_classes
        return as_float64(torch.nn.functional.one_hot(targets.long(), n_classes)).to(x.device)

    def _draw(self, x: torch.Tensor, y: torch.Tensor | None, n: int) -> tuple[Any, ...]:
        """Draw the subsets that the loss takes."""
        drawn: dict[str, Any] = {}
        for name in self._needs.subsets:
            if name == "halves":
                drawn[name] = draw_halves(self._rng, n, self.n_halves)
            elif name == "folds":
                drawn[name] = draw_folds(self._rng, n, self.n_folds)
            else:
                assert y is not None
                points, values = (np.asarray(t.detach().cpu()) for t in (x, y))
                drawn[name] = nearest_pairs(points, values, drawn["halves"])
        return tuple(drawn.values())

    def _unit_of_loss(self, y: torch.Tensor | None) -> Any:
        if y is None or self.loss not in ("e2", "loo", "kfold", "nlml"):
            return 1.0
        if self.loss == "nlml":
            return float(y.numel())
        size = y.detach().square().sum()
        return torch.where(size > 0, size, 1.0)

    def get_extra_state(self) -> Any:
        """Return the state of the draws, for ``state_dict()``."""
        return generator_state(self._rng)

    def set_extra_state(self, state: Any) -> None:
        """Take up the state of the draws from ``load_state_dict()``."""
        set_generator_state(self._rng, state)

    def extra_repr(self) -> str:
        """Return the settings as text."""
        nugget = float(self.log_nugget.detach().exp())
        return f"loss={self.loss!r}, scale={self.scale!r}, nugget={nugget:.4g}"


class RhoLoss(KernelLoss):
    """`KernelLoss` with the loss rho: 0 where half of a batch says as much as all of it, at most 1.

    Parameters
    ----------
    **settings
        As for `KernelLoss`, by keyword.

    Notes
    -----
    rho does not depend on the scale of the targets.

    Examples
    --------
    >>> import torch
    >>> from kflow.torch import RhoLoss
    >>> rho = RhoLoss(n_halves=4, random_state=0)
    >>> value = rho(torch.randn(16, 5), torch.randn(16, 2))
    >>> bool(0 <= value <= 1)
    True
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__("rho", **settings)
