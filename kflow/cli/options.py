"""The options of the commands: those of the flow, those that several commands share, and old names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import click

from kflow.flow.settings import STEP_RULES
from kflow.kernels.radial import RADIAL

__all__ = [
    "ESTIMATOR_DEFAULTS",
    "FLOW_OPTIONS",
    "as_json_option",
    "current_name",
    "n_threads_option",
    "seed_option",
    "table_format_options",
    "with_options",
]

Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

# Options that had other names before: the command line and checkpoints still accept these, and the
# help does not show them.
_FORMER_NAMES = {"draws": "n-draws", "layers": "n-layers", "threads": "n-threads"}

# The defaults of the estimators, which the help tells. Their own signatures hold them, but importing
# the estimators for --help takes longer than everything else: a test compares both.
ESTIMATOR_DEFAULTS: dict[str, Any] = {
    "kernel": "auto",
    "metric": "auto",
    "n_layers": "auto",
    "batch_size": "auto",
    "nugget": "auto",
    "interpolation_nugget": "auto",
    "step": "rms",
    "step_size": 0.02,
    "step_over": "all",
    "gradient_cap": 1.0,
    "n_halves": 2,
    "rank": None,
    "shrink_every": 0,
    "shrink_tolerance": 1e-4,
    "scaling": "standard",
    "dtype": "float64",
    "validation_fraction": 0.1,
}

# Wendland's is positive definite in few dimensions only, and tables have many.
_KERNELS = [name for name in RADIAL if name != "wendland"]

_SCHEDULE = "VALUE|0:VALUE,N:VALUE"


def current_name(name: str) -> str:
    """Return the name, without hyphens in front, that an option has today."""
    return _FORMER_NAMES.get(name, name)


def with_options(*options: Option) -> Option:
    """Return a decorator that gives a command some options, in this order."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


# ---- values ---------------------------------------------------------------------------------------


def _schedule(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser of a value, or of ``first layer:value,first layer:value``."""

    def parse(text: str) -> Any:
        try:
            if ":" not in text:
                return kind(text)
            pieces = [piece.split(":", 1) for piece in text.split(",")]
            return {int(first): kind(piece.strip()) for first, piece in pieces}
        except ValueError:
            raise click.BadParameter(
                f"{text!r} is neither a value nor a schedule such as 0:0.01,800:1.0"
            ) from None

    return parse


def _auto_or(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser of ``auto`` or of a value."""

    def parse(text: str) -> Any:
        if text == "auto":
            return text
        try:
            return kind(text)
        except ValueError:
            raise click.BadParameter(f"{text!r} is neither auto nor a number") from None

    return parse


def _rank(text: str) -> str | int | float:
    """Parse a rank, where 0 stands for none."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    if text != "auto":
        raise click.BadParameter(f"{text!r} is neither auto, a whole number nor a fraction")
    return text


# ---- options of the flow --------------------------------------------------------------------------


def _estimator_option(name: str, text: str, **attributes: Any) -> Option:
    """Declare an option for a parameter of the estimators, and tell its default."""
    default = ESTIMATOR_DEFAULTS[name]
    shown = 0 if name == "rank" else f"{default:g}" if isinstance(default, float) else default
    return click.option(
        f"--{name.replace('_', '-')}",
        help=f"{text}  [default: the preset's, else {shown}]",
        **attributes,
    )


FLOW_OPTIONS: tuple[Option, ...] = (
    _estimator_option(
        "n_layers", "Number of layers of the flow.", type=_auto_or(int), metavar="auto|N"
    ),
    _estimator_option(
        "batch_size", "Number of points drawn in each layer.", type=_auto_or(int), metavar="auto|N"
    ),
    _estimator_option(
        "nugget",
        "Nugget of the flow: what is added to the diagonal of the kernel matrix of a batch.",
        type=_auto_or(_schedule(float)),
        metavar=f"auto|{_SCHEDULE}",
    ),
    _estimator_option(
        "interpolation_nugget",
        "Nugget of the final interpolant.",
        type=_auto_or(float),
        metavar="auto|VALUE",
    ),
    _estimator_option(
        "step",
        f"Rule for the length of a step: {', '.join(STEP_RULES[:-1])} or {STEP_RULES[-1]}.",
        type=_schedule(str),
        metavar=_SCHEDULE,
    ),
    _estimator_option(
        "step_size",
        "Size of a step, in the units of that rule.",
        type=_schedule(float),
        metavar=_SCHEDULE,
    ),
    _estimator_option(
        "step_over",
        "Points on which the rule is measured.",
        type=click.Choice(["all", "batch"]),
    ),
    _estimator_option(
        "gradient_cap",
        "Largest length of a row of the gradient, in medians of all lengths; inf for no limit.",
        type=_schedule(float),
        metavar=_SCHEDULE,
    ),
    _estimator_option(
        "n_halves",
        "Number of random halves of a batch over which the loss rho is averaged.",
        type=int,
    ),
    _estimator_option(
        "rank",
        "Run in the span of the data (auto), in its N leading directions, or in as few as drop that "
        "FRACTION of the sum of squares; 0 for all features.",
        type=_rank,
        metavar="auto|N|FRACTION",
    ),
    _estimator_option(
        "shrink_every",
        "Number of layers after which directions that the flow no longer needs are dropped, again and "
        "again; 0 for never.",
        type=int,
    ),
    _estimator_option(
        "shrink_tolerance",
        "Largest mean change of squared distances by each drop, relative to their mean.",
        type=float,
    ),
    _estimator_option(
        "scaling",
        "Scaling of the data: each feature to mean 0 and variance 1 (standard), each row to norm 1 "
        "(unit), or none.",
        type=click.Choice(["standard", "unit", "none"]),
    ),
    _estimator_option(
        "kernel",
        "Kernel K_1 of the flow; auto chooses it with its length scale.",
        type=click.Choice(["auto", *_KERNELS]),
    ),
    _estimator_option(
        "metric",
        "Linear map of the scaled data, learned from gradients.",
        type=click.Choice(["auto", "none"]),
    ),
    click.option(
        "--length-scale",
        type=float,
        help="Length scale of the kernel, in units of the scaled data, for a --kernel that is "
        "given.  [default for gaussian: chosen from the data]",
    ),
    _estimator_option(
        "dtype", "Precision of the points.", type=click.Choice(["float32", "float64"])
    ),
)


# ---- options of several commands ------------------------------------------------------------------


def seed_option() -> Option:
    """Declare ``--seed``."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Seed of all random draws.",
    )


def n_threads_option() -> Option:
    """Declare ``--n-threads``."""
    return click.option(
        "--n-threads",
        type=int,
        help="Number of threads.  [default: KFLOW_NUM_THREADS or OMP_NUM_THREADS of the environment, "
        "else the physical cores]",
    )


def table_format_options() -> tuple[Option, ...]:
    """Declare how a table in a file of text is written."""
    return (
        click.option(
            "--separator",
            default="auto",
            show_default=True,
            help="What separates the cells of a table: one character, or tab, semicolon, bar, comma or "
            "space; auto finds it out.",
        ),
        click.option(
            "--encoding",
            default="auto",
            show_default=True,
            help="Encoding of a table, such as utf-8 or latin-1; auto finds it out.",
        ),
        click.option(
            "--decimal",
            type=click.Choice(["auto", ".", ","]),
            default="auto",
            show_default=True,
            help="Decimal mark of the numbers in a table; auto finds it out.",
        ),
    )


def as_json_option(text: str) -> Option:
    """Declare ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help=text)
