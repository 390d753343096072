"""The settings of a flow, and the checks of their values whenever they are set."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from kflow._base.arguments import (
    MOST_HALVES,
    as_cap,
    as_choice,
    as_count,
    as_flag,
    as_functions,
    as_nugget,
    as_number,
    as_positive,
    float_dtype,
    shown,
)
from kflow._base.parameter_names import NamedParameters
from kflow._base.short_repr import ShortRepr
from kflow.engine import PRECISIONS, engine_names, get_engine
from kflow.engine.interface import Engine, LayerOptions
from kflow.engine.threads import resolve_n_threads
from kflow.flow.callbacks import Callback
from kflow.flow.schedules import SCHEDULES, Schedule
from kflow.kernels import Radial, check_isotropic
from kflow.layers.motion import Motion
from kflow.layers.stores import LayerShape, StoreMaker, check_place
from kflow.layers.subspace import Subspace, check_rank

__all__ = ["STEP_OVER", "STEP_RULES", "FlowSettings", "setting_names"]

STEP_RULES = ("relative", "rms", "absolute", "fixed")
STEP_OVER = ("all", "batch")

# The settings that the layers depend on, besides the kernel and the seed. Files hold these
# settings.
_STORED = (
    "batch_size",
    "coarse_fraction",
    *SCHEDULES,
    "step_over",
    "n_halves",
    "rank",
    "shrink_every",
    "shrink_tolerance",
    "dtype",
)

# The settings that cannot change once the flow has begun, since they decide on the shape and the
# place of its layers, or on the coordinates and the place of its points.
_FIXED = frozenset(
    {
        "kernel",
        "batch_size",
        "step_over",
        "rank",
        "dtype",
        "random_state",
        "layers",
        "checkpoint",
        "memory_budget",
        "engine",
        "device",
        "precision",
    }
)


# The engine that knows devices.
_DEVICE_ENGINE = "torch"


def _as_kernel(value: Any) -> Radial | None:
    return None if value is None else check_isotropic(value)


def _as_fraction(value: Any) -> float:
    fraction = as_positive(value, "coarse_fraction")
    if fraction >= 1:
        raise ValueError(f"coarse_fraction must be below 1, got {shown(value)}")
    return fraction


def _as_step_rule(value: Any) -> str:
    return as_choice(value, "step", STEP_RULES)


def _as_step_over(value: Any) -> str:
    return as_choice(value, "step_over", STEP_OVER)


def _as_folder(value: Any) -> str | os.PathLike[str] | None:
    if value is not None and not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be a folder or None, got {shown(value)}")
    if value == "":
        raise ValueError("checkpoint is empty: pass the name of a folder, or None")
    return value


def _as_budget(value: Any) -> int | None:
    if value is None:
        return None
    number = as_number(value, "memory_budget")
    if number < 1:
        raise ValueError(f"memory_budget must be a number of bytes, got {shown(value)}")
    return int(number)


def _as_callbacks(value: Any) -> tuple[Callback, ...]:
    return as_functions(value, "callbacks", "the flow")


def _as_n_threads(value: Any) -> int | None:
    resolve_n_threads(value)
    return None if value is None else int(value)


def _as_engine(value: Any) -> str:
    return get_engine(as_choice(value, "engine", engine_names())).name


def _as_device(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise TypeError(f"device must be the name of a device or None, got {shown(value)}")
    get_engine(_DEVICE_ENGINE, value)  # an error where it cannot be used
    return value


_STEP_CHECKS: dict[str, Callable[[Any], Any]] = {
    "nugget": as_nugget,
    "step": _as_step_rule,
    "step_size": lambda value: as_positive(value, "step_size"),
    "gradient_cap": lambda value: as_cap(value, "gradient_cap"),
}


def _scheduled(name: str) -> Callable[[Any], Any]:
    """Return the check of a setting that may be a schedule; it keeps the user's value, or a copy."""

    def check(value: Any) -> Any:
        Schedule(value, name, _STEP_CHECKS[name])
        return dict(value) if isinstance(value, Mapping) else value

    return check


# The check of each setting: a function that returns the value to keep.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "kernel": _as_kernel,
    "n_layers": lambda value: as_count(value, "n_layers", 0),
    "batch_size": lambda value: as_count(value, "batch_size", 4),
    "coarse_fraction": _as_fraction,
    **{name: _scheduled(name) for name in SCHEDULES},
    "step_over": _as_step_over,
    "n_halves": lambda value: as_count(value, "n_halves", 1, MOST_HALVES),
    "rank": check_rank,
    "shrink_every": lambda value: as_count(value, "shrink_every", 0),
    "shrink_tolerance": lambda value: as_positive(value, "shrink_tolerance"),
    "dtype": lambda value: float_dtype(value).name,
    "random_state": lambda value: value,
    "n_threads": _as_n_threads,
    "layers": check_place,
    "checkpoint": _as_folder,
    "every": lambda value: as_count(value, "every", 1),
    "memory_budget": _as_budget,
    "callbacks": _as_callbacks,
    "progress": lambda value: as_flag(value, "progress"),
    "engine": _as_engine,
    "device": _as_device,
    "precision": lambda value: as_choice(value, "precision", PRECISIONS),
}


def _unknown(cls: type, name: str) -> str:
    similar = get_close_matches(name, _CHECKS, 1)
    hint = f": did you mean {similar[0]}?" if similar else ""
    return f"{cls.__name__} has no setting {name!r}{hint}"


class FlowSettings(NamedParameters, ShortRepr):
    """The settings of a flow, which are checked whenever they are set.

    The parameters are those of `kflow.KernelFlow`, where their meaning is described.

    Raises
    ------
    AttributeError
        If an attribute is set that is no setting, or that cannot change once the flow has begun.
    TypeError, ValueError
        For values of the wrong kind; the message names the setting and what it may be.
    """

    kernel: Radial | None
    n_layers: int
    batch_size: int
    coarse_fraction: float
    nugget: Any
    step: Any
    step_size: Any
    step_over: str
    gradient_cap: Any
    n_halves: int
    rank: str | int | float | None
    shrink_every: int
    shrink_tolerance: float
    dtype: str
    random_state: Any
    n_threads: int | None
    layers: str | StoreMaker
    checkpoint: str | os.PathLike[str] | None
    every: int
    memory_budget: int | None
    callbacks: tuple[Callback, ...]
    progress: bool
    engine: str
    device: str | None
    precision: str

    def __init__(
        self,
        kernel: Radial | None = None,
        *,
        n_layers: int,
        batch_size: int = 600,
        coarse_fraction: float = 0.5,
        nugget: Any = 0.01,
        step: Any = "relative",
        step_size: Any = 0.1,
        step_over: str = "all",
        gradient_cap: Any = math.inf,
        n_halves: int = 1,
        rank: str | int | float | None = None,
        shrink_every: int = 0,
        shrink_tolerance: float = 1e-4,
        dtype: npt.DTypeLike = "float32",
        random_state: Any = None,
        n_threads: int | None = None,
        layers: str | StoreMaker = "memory",
        checkpoint: str | os.PathLike[str] | None = None,
        every: int = 20,
        memory_budget: float | None = None,
        callbacks: Iterable[Callback] = (),
        progress: bool = False,
        engine: str = "cpu",
        device: str | None = None,
        precision: str = "float64",
    ) -> None:
        given = dict(locals())
        for name in setting_names():
            setattr(self, name, given[name])

    def __setattr__(self, name: str, value: Any) -> None:
        """Check a setting and keep it."""
        if name in _CHECKS:
            if name in _FIXED and self.has_begun:
                raise AttributeError(
                    f"{name} cannot change once the flow has begun: make a new "
                    f"{type(self).__name__} with the other {name}"
                )
            value = _CHECKS[name](value)
            self._check_together(name, value)
        elif not name.startswith("_"):
            if hasattr(type(self), name):
                raise AttributeError(f"{name} is no setting and cannot be set")
            raise AttributeError(_unknown(type(self), name))
        super().__setattr__(name, value)

    def _check_together(self, name: str, value: Any) -> None:
        """Raise an error if a value does not fit the other settings."""
        rank = value if name == "rank" else getattr(self, "rank", None)
        shrink_every = value if name == "shrink_every" else getattr(self, "shrink_every", 0)
        if shrink_every and rank is None:
            raise ValueError(
                f"shrink_every={shrink_every} needs a rank to start from: pass rank='auto'"
            )
        device = value if name == "device" else getattr(self, "device", None)
        precision = value if name == "precision" else getattr(self, "precision", "float64")
        if precision != "float64" and device is None:
            raise ValueError(
                f"precision={precision!r} is a matter of devices, and there is none: pass "
                "device='cuda', or leave precision='float64' for the compiled core"
            )

    # ---- as scikit-learn's estimators have them -----------------------------------------------

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name.

        Parameters
        ----------
        deep : bool
            Whether to add the parameters of the kernel, such as ``"kernel__length_scale"``.
        """
        params = {name: getattr(self, name) for name in setting_names()}
        if deep and self.kernel is not None:
            params |= {f"kernel__{name}": v for name, v in self.kernel.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Any:
        """Set settings, and with ``kernel__...`` parameters of the kernel.

        Returns
        -------
        KernelFlow
            The flow itself.

        Raises
        ------
        AttributeError
            For a setting that cannot change once the flow has begun.
        TypeError, ValueError
            For a name that is none, or a value that it may not have.
        """
        prefix = "kernel__"
        nested = {k[len(prefix) :]: v for k, v in params.items() if k.startswith(prefix)}
        for name, value in params.items():
            if name in _CHECKS:
                setattr(self, name, value)
            elif not name.startswith(prefix):
                raise ValueError(_unknown(type(self), name))
        if nested:
            if self.kernel is None:
                raise ValueError(
                    f"{prefix}{next(iter(nested))}: there is no kernel, pass one first"
                )
            self.kernel = self.kernel.with_params(**nested)
        return self

    def __sklearn_clone__(self) -> Any:
        """Return an unfitted flow of the same settings; `sklearn.base.clone` calls this.

        Callbacks and generators are copied, as they have states of their own.
        """
        return type(self)(**deepcopy(self.get_params(deep=False)))

    def facts(self) -> dict[str, Any]:
        """Return what `repr` shows: the settings that are not the defaults."""
        parameters = inspect.signature(FlowSettings).parameters
        settings = {name: getattr(self, name) for name in setting_names()}
        return {
            name: value
            for name, value in settings.items()
            if not (value is parameters[name].default or value == parameters[name].default)
        }

    # ---- what the settings make ---------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether the flow has begun, so that some settings can no longer change."""
        return False

    def schedules(self) -> dict[str, Schedule[Any]]:
        """Return the settings that may change from layer to layer, as functions of the layer."""
        return {
            name: Schedule(getattr(self, name), name, check) for name, check in _STEP_CHECKS.items()
        }

    def layer_options(self) -> Callable[[int], LayerOptions]:
        """Return a function that gives the options of each layer.

        It raises TypeError or ValueError if a schedule that is a function returns a value that the
        setting may not have.
        """
        schedules = self.schedules()
        over_batch = self.step_over == "batch"

        def options(layer: int) -> LayerOptions:
            values = {name: schedule(layer) for name, schedule in schedules.items()}
            return LayerOptions(**values, over_batch=over_batch)

        if all(schedule.is_constant for schedule in schedules.values()):
            same = options(0)
            return lambda _: same
        return options

    def computing_engine(self) -> Engine:
        """Return the engine that runs the layers: the one of the device, if there is one."""
        if self.device is None:
            return get_engine(self.engine)
        return get_engine(_DEVICE_ENGINE, self.device, self.precision)

    def motion(self, kernel: Radial) -> Motion:
        """Return the motion of points with a kernel."""
        return Motion(self.computing_engine(), kernel.profile, resolve_n_threads(self.n_threads))

    def layer_shape(self, subspace: Subspace | None) -> LayerShape:
        """Return what the layers of a flow in a subspace have in common."""
        return LayerShape(self.batch_size, 0 if subspace is None else 1, self.point_dtype)

    @property
    def point_dtype(self) -> np.dtype[Any]:
        """The precision of the points."""
        return np.dtype(self.dtype)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings that the layers depend on, except kernel and seed, as JSON data.

        The entry of a schedule that is a function is None.
        """
        return {
            name: Schedule.to_json(getattr(self, name))
            if name in SCHEDULES
            else getattr(self, name)
            for name in _STORED
        }

    @classmethod
    def stored(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings in the result of `to_dict` as arguments of the class.

        In place of a schedule that was a function there is a function that raises an error when it
        is called.

        Raises
        ------
        KeyError
            If a setting is missing.
        """
        arguments = {name: settings[name] for name in _STORED}
        for name in SCHEDULES:
            if arguments[name] is None:
                arguments[name] = _MissingSchedule(name)
        return {**arguments, "dtype": str(arguments["dtype"])}


# Python names the function in its error for a missing n_layers.
FlowSettings.__init__.__qualname__ = "KernelFlow.__init__"


class _MissingSchedule:
    """Takes the place of a schedule that was a function when its flow was saved."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _layer: int) -> Any:
        raise ValueError(f"it was a function, which the file does not hold: set flow.{self._name}")


@lru_cache
def setting_names() -> tuple[str, ...]:
    """Return the names of all settings, in the order of the parameters."""
    return tuple(inspect.signature(FlowSettings).parameters)
