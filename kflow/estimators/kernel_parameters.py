"""Parameters of an estimator's kernel, which are set by replacing the kernel: it cannot change."""

from __future__ import annotations

from typing import Any

from kflow._base.parameter_names import NamedParameters
from kflow.kernels import check_kernel

__all__ = ["KernelParameters"]


class KernelParameters(NamedParameters):
    """A base class whose `set_params` sets parameters of the kernel, such as ``kernel__length_scale``."""

    kernel: Any

    def set_params(self, **params: Any) -> Any:
        """Set the parameters of this estimator, and with ``kernel__...`` those of its kernel.

        Raises
        ------
        TypeError, ValueError
            For a parameter of the kernel, if there is no kernel or it has no such parameter.
        """
        prefix = "kernel__"
        nested = {k[len(prefix) :]: v for k, v in params.items() if k.startswith(prefix)}
        own = {k: v for k, v in params.items() if not k.startswith(prefix)}
        super().set_params(**own)  # type: ignore[misc]
        if nested:
            self.kernel = check_kernel(self.kernel).with_params(**nested)
        return self
