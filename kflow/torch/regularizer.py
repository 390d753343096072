"""The losses of kernels on the inner layers of a network, beside the loss of its output."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch

from kflow._base.arguments import as_nonnegative
from kflow.torch.modules import KernelLoss, RhoLoss

__all__ = ["KernelFlowRegularizer"]


def _record_nothing(module: Any, inputs: Any, output: Any) -> None:
    """Stand for a recorder in copies of a model, which no regularizer listens to."""


def _no_recorder() -> Any:
    return _record_nothing


class _Recorder:
    """A forward hook that keeps the last output of one layer in training mode."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self._layer = layer
        self.output: Any = None

    def __call__(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        # Replicas of data parallelism share the hooks of the layer that they are copies of.
        if module is self._layer and module.training:
            self.output = output

    def __reduce__(self) -> tuple[Any, ...]:
        # In a deep copy or in a file of the model a recorder would write to the original's regularizer.
        return _no_recorder, ()


class KernelFlowRegularizer(torch.nn.Module):
    """A weighted sum of losses of kernels on the outputs of some layers of a network.

    The network and its output stay as they are: forward hooks keep the layers' outputs of the last batch in
    training mode, and a call with the batch's targets returns what to add to the loss of the output.

    Parameters
    ----------
    model : torch.nn.Module
        The network. It does not become a part of this module.
    layers : iterable of str or torch.nn.Module
        Layers whose outputs, one tensor each, are taken: names as in ``model.named_modules()``, or the
        modules themselves.
    weight : float or sequence of float
        Factor of the layers' losses, one number or one for each layer, not negative.
    loss : KernelLoss, optional
        The loss, of which each layer gets a copy. None: ``RhoLoss()``. All copies draw the same halves.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers.
    losses : torch.nn.ModuleList
        Their losses. Where these learn parameters of kernels, an optimizer has to be given
        ``regularizer.parameters()`` besides those of the model.
    values : dict of str to tensor
        The layers' losses in the last call, without weights, detached.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind, and for layers that the model does not have.

    Notes
    -----
    G. R. Yoo and H. Owhadi, Deep regularization and direct training of the inner layers of neural networks
    with kernel flows, arXiv:2002.08335, who use e2 with Gaussian kernels. A layer that a forward pass
    calls several times counts with its last output. Copies of the model, and models that are read from
    files, do not record; nor do replicas of ``torch.nn.DataParallel``. `attach` takes another model.

    Examples
    --------
    >>> import torch
    >>> from kflow.torch import KernelFlowRegularizer
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> regularizer = KernelFlowRegularizer(model, ["1"], weight=0.1)
    >>> x, labels = torch.randn(16, 4), torch.arange(16) % 3
    >>> loss = torch.nn.functional.cross_entropy(model(x), labels) + regularizer(labels)
    >>> loss.backward()
    """

    def __init__(
        self,
        model: torch.nn.Module,
        layers: Iterable[str | torch.nn.Module],
        *,
        weight: Any = 1.0,
        loss: KernelLoss | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        self.layers = _names(model, layers)
        self.weights = _weights(weight, len(self.layers))
        if loss is not None and not isinstance(loss, KernelLoss):
            raise TypeError(f"loss must be a KernelLoss, such as RhoLoss(), got {loss!r}")
        each = RhoLoss() if loss is None else loss
        self.losses = torch.nn.ModuleList([copy.deepcopy(each) for _ in self.layers])
        self.values: dict[str, torch.Tensor] = {}
        self._recorders: dict[str, _Recorder] = {}
        self._handles: list[Any] = []
        self.attach(model)

    def attach(self, model: torch.nn.Module) -> KernelFlowRegularizer:
        """Record the layers of a model, and no longer those of another one.

        Parameters
        ----------
        model : torch.nn.Module
            A network with layers of the same names, such as a copy of the first.

        Returns
        -------
        KernelFlowRegularizer
            This regularizer.
        """
        modules = dict(model.named_modules())
        missing = [name for name in self.layers if name not in modules]
        if missing:
            raise ValueError(f"model has no layer {missing[0]!r}; it has {_known(modules)}")
        self.detach()
        for name in self.layers:
            recorder = _Recorder(modules[name])
            self._recorders[name] = recorder
            self._handles.append(modules[name].register_forward_hook(recorder))
        return self

    def detach(self) -> None:
        """Remove the hooks from the model."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._recorders = [], {}

    # As `KernelLoss.forward`.
    @torch.compiler.disable
    def forward(self, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Return the weighted sum of the layers' losses on the last batch.

        Parameters
        ----------
        targets : tensor
            Labels or targets of the batch that the model has just seen, as `KernelLoss` takes them.

        Returns
        -------
        tensor, shape ()
            The outputs that were kept are let go of.

        Raises
        ------
        RuntimeError
            If the model has not been called in training mode since the last call.
        """
        total: Any = 0.0
        outputs = {name: self._take(name) for name in self.layers}
        for name, weight, loss in zip(self.layers, self.weights, self.losses, strict=True):
            value = loss(outputs[name], targets)
            self.values[name] = value.detach()
            total = total + weight * value
        result: torch.Tensor = total
        return result

    def _take(self, name: str) -> torch.Tensor:
        recorder = self._recorders.get(name)
        if recorder is None:
            raise RuntimeError(
                "the regularizer is attached to no model, as one that was copied or detached: call "
                "attach(model)"
            )
        output, recorder.output = recorder.output, None
        if output is None:
            raise RuntimeError(
                f"layer {name!r} has no output to take: call the model, in training mode, before the "
                "regularizer, once for each call of it"
            )
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                f"layer {name!r} returns {type(output).__name__}, which is no tensor: name a layer "
                "within it or after it"
            )
        return output

    def __deepcopy__(self, memo: dict[int, Any]) -> KernelFlowRegularizer:
        """Return a copy that is attached to no model."""
        new = copy.copy(self)
        memo[id(self)] = new
        state = {**self.__dict__, "_recorders": {}, "_handles": []}
        new.__dict__ = copy.deepcopy(state, memo)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hooks out of files."""
        return {**self.__dict__, "_recorders": {}, "_handles": []}

    def extra_repr(self) -> str:
        """Return layers and weights as text."""
        return ", ".join(f"{n}: {w:g}" for n, w in zip(self.layers, self.weights, strict=True))


def _known(modules: dict[str, Any]) -> str:
    return ", ".join(repr(name) for name in modules if name)


def _names(model: torch.nn.Module, layers: Any) -> tuple[str, ...]:
    """Return the names of layers that are given by name or as modules."""
    if isinstance(layers, (str, torch.nn.Module)):
        raise TypeError(f"layers must be a list of layers, got {layers!r}: pass [{layers!r}]")
    modules = dict(model.named_modules())
    numbers = {id(module): name for name, module in modules.items()}
    names = []
    for layer in layers:
        name = numbers.get(id(layer)) if isinstance(layer, torch.nn.Module) else layer
        if not isinstance(name, str) or name not in modules:
            raise ValueError(f"layers: model has no layer {layer!r}; it has {_known(modules)}")
        names.append(name)
    if not names:
        raise ValueError("layers must name at least one layer")
    if len(set(names)) < len(names):
        raise ValueError(f"layers names a layer twice: {names}")
    return tuple(names)


def _weights(weight: Any, n: int) -> tuple[float, ...]:
    """Return one weight for each of n layers."""
    given = list(weight) if isinstance(weight, Iterable) and not isinstance(weight, str) else None
    if given is None:
        return (as_nonnegative(weight, "weight"),) * n
    if len(given) != n:
        raise ValueError(f"weight must be one number or {n}, one for each layer, got {len(given)}")
    return tuple(as_nonnegative(number, f"weight[{i}]") for i, number in enumerate(given))
