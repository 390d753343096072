"""The command line: fit a model, predict with it, look at it; experiments with reports.

Exit status: 0; 1 with one line ``Error: ...``; 2 for a malformed command line; 130 if Ctrl-C aborted.
"""

from __future__ import annotations

import ctypes
import errno
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kflow import __version__
from kflow._base.files import check_folder
from kflow._base.json_values import to_json
from kflow.cli.fit_checkpoint import FitCheckpoint
from kflow.datasets import DATASETS
from kflow.demos.command import demo
from kflow.errors import DivergenceError, SingularKernelError
from kflow.kernels.radial import RADIAL

if TYPE_CHECKING:
    import numpy.typing as npt
    from rich.table import Table

    from kflow.datasets import Dataset
    from kflow.estimators.flow_estimators import KernelFlowClassifier, KernelFlowRegressor
    from kflow.evaluation import ErrorCurve
    from kflow.flow.kernel_flow import KernelFlow

    Estimator = KernelFlowClassifier | KernelFlowRegressor

# Wendland's is positive definite in few dimensions only, and tables have many.
_KERNELS = [name for name in RADIAL if name != "wendland"]
_MODEL = "model.kflow"
_RESULTS = "results.json"
_SCHEDULE = "VALUE|0:VALUE,N:VALUE"

# Everything that bad input, a full disk or too little memory can raise. A full traceback would bury
# the one line that helps.
_FAILURES = (
    DivergenceError,
    ImportError,
    MemoryError,
    OSError,
    SingularKernelError,
    TypeError,
    ValueError,
)


class _Group(click.Group):
    """Commands whose failures are one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Aborted", err=True)
            raise click.exceptions.Exit(130) from None
        except BrokenPipeError:  # such as `kflow predict ... | head`, which click knows how to end
            raise
        except _FAILURES as error:
            raise click.ClickException(_one_line(error)) from None


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


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


def _rank(text: str) -> str | int | float:
    """Parse a rank; 0 stands for none."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    if text != "auto":
        raise click.BadParameter(f"{text!r} is neither auto, a whole number nor a fraction")
    return text


class _Stop:
    """Callback that ends the run after the first Ctrl-C; the second one raises KeyboardInterrupt."""

    interrupts = True  # the flow goes on when it is resumed

    def __init__(self) -> None:
        self.requested = False

    def _note(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def __enter__(self) -> _Stop:
        # Otherwise the signal is ignored, as for a job in the background, or somebody else's.
        self._installed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._installed:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, *_: object) -> bool:
        return self.requested


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kflow")
def main() -> None:
    """Kernel Flows: learn a kernel from data, layer by layer."""


main.add_command(demo)


# ---- fit ------------------------------------------------------------------------------------------


@main.command()
@click.option(
    "--dataset",
    type=click.Choice(DATASETS),
    help="A known data set.  [default: digits]",
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of its IDX files.")
@click.option("--data", type=click.Path(path_type=Path), help="Your data: a .npz or .csv file.")
@click.option(
    "--target", help="Array (.npz) or column (.csv) to predict.  [default: y; last column]"
)
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="What to do with --data.  [default: from the targets]",
)
@click.option("--layers", "n_layers", type=int, help="Layers of the flow.")
@click.option("--batch-size", type=int, help="Points drawn in each layer.")
@click.option("--nugget", type=_schedule(float), metavar=_SCHEDULE, help="Nugget of the flow.")
@click.option(
    "--step", type=_schedule(str), metavar=_SCHEDULE, help="relative, rms, absolute or fixed."
)
@click.option(
    "--step-size", type=_schedule(float), metavar=_SCHEDULE, help="Size of a step under that rule."
)
@click.option(
    "--step-over",
    type=click.Choice(["all", "batch"]),
    help="Points on which the rule is measured.",
)
@click.option(
    "--gradient-cap",
    type=_schedule(float),
    metavar=_SCHEDULE,
    help="Longest row of the gradient, in medians of their lengths; inf: any.",
)
@click.option("--n-halves", type=int, help="Halves of a batch over which rho is averaged.")
@click.option(
    "--rank",
    type=_rank,
    metavar="auto|N|FRACTION",
    help="Run in the span of the data (auto), of its N leading directions, or of as few as drop that "
    "fraction of its energy; 0: in all features.",
)
@click.option("--shrink-every", type=int, help="Drop idle directions every so many layers.")
@click.option("--shrink-tolerance", type=float, help="Change of mean squared distance so allowed.")
@click.option("--scaling", type=click.Choice(["standard", "unit", "none"]), help="Of the data.")
@click.option("--kernel", type=click.Choice(_KERNELS), help="K_1.  [default: gaussian]")
@click.option("--length-scale", type=float, help="Of the kernel, in units of the scaled data.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), help="Precision of the points.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Randomness."
)
@click.option("--threads", "n_threads", type=int, help="Threads.  [default: physical cores]")
@click.option(
    "--early-stopping",
    is_flag=True,
    help="Stop before --layers when one interpolation point per class does as well as 2000.",
)
@click.option(
    "--validation-fraction",
    type=float,
    help="Part of the training points held out for --early-stopping.  [default: 0.1]",
)
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Random interpolants behind each test error.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="kflow-output",
    show_default=True,
    help="Folder for model, results and pictures.",
)
@click.option(
    "--layers-dtype",
    type=click.Choice(["float16", "float32", "float64"]),
    help="Precision of the layers in the model file; float16 halves it.  [default: that of the points]",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Layers between two files of the checkpoint.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the unfinished run in --output, with its arguments; start it if there is none.",
)
@click.option("--no-save", is_flag=True, help="Write no files.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--quiet", is_flag=True, help="Print the results only.")
@click.option("--verbose", is_flag=True, help="Tell what is written, and how long it takes.")
def fit(**options: Any) -> None:
    """Fit a model and measure its test error.

    What is not given comes from the data set's preset. Values marked 0:VALUE,N:VALUE may change
    during the flow: 0:0.01,800:1.0 is 0.01 until layer 800, then 1.0.

    Ctrl-C ends the flow after its layer, then evaluates and saves it; a second one aborts. Whatever
    ends the run before the flow is complete, OUTPUT/checkpoint keeps its layers, and
    kflow fit --resume --output OUTPUT goes on with them.
    """
    resume, output = options["resume"], options["output"]
    if resume and options["no_save"]:
        raise click.UsageError("--no-save leaves nothing for --resume")
    arguments = {name: value for name, value in options.items() if name not in _OF_THE_PROCESS}
    checkpoint = None if options["no_save"] else FitCheckpoint(output)
    if checkpoint is not None:
        checkpoint.clean()
        if resume and checkpoint.exists():
            command_line = click.core.ParameterSource.COMMANDLINE
            context = click.get_current_context()
            sources = {name: context.get_parameter_source(name) for name in arguments}
            given = [name for name, source in sources.items() if source is command_line]
            options |= checkpoint.merged(arguments, given)
            for name in ("data", "data_dir"):
                options[name] = None if options[name] is None else Path(options[name])
        elif resume and (results := _finished(output)):
            if not options["quiet"]:
                _note(f"The run in {output} is complete")
            _print(results, options["as_json"], _results_table)
            return
    with _log_shown(options.pop("verbose")):
        _fit(checkpoint, arguments, **options)


# Options of `kflow fit` that say nothing of what comes out.
_OF_THE_PROCESS = ("as_json", "n_threads", "no_save", "output", "quiet", "resume", "verbose")


def _fit(
    checkpoint: FitCheckpoint | None,
    arguments: Mapping[str, Any],
    *,
    dataset: str | None,
    data_dir: Path | None,
    data: Path | None,
    target: str | None,
    task: Any,
    kernel: str | None,
    length_scale: float | None,
    rank: str | int | float | None,
    scaling: str | None,
    seed: int,
    early_stopping: bool,
    validation_fraction: float | None,
    draws: int,
    output: Path,
    layers_dtype: str | None,
    resume: bool,
    no_save: bool,
    as_json: bool,
    quiet: bool,
    **parameters: Any,
) -> None:
    if data is not None and (dataset or data_dir):
        raise click.UsageError("--data excludes --dataset and --data-dir")
    if data is None and (target or task):
        raise click.UsageError("--target and --task belong to --data")
    if validation_fraction is not None and not early_stopping:
        raise click.UsageError("--validation-fraction belongs to --early-stopping")

    import numpy as np

    from kflow.datasets import load_dataset, load_file
    from kflow.estimators.flow_estimators import KernelFlowClassifier, KernelFlowRegressor
    from kflow.presets import PRESETS

    _return_freed_memory()
    note = _silent if quiet else _note
    if data is None:
        points = load_dataset(dataset or "digits", data_dir)
    else:
        points = load_file(data, target, task)
    classify = points.task == "classification"
    if early_stopping and not classify:
        raise click.UsageError("--early-stopping belongs to classification")

    settings = dict(PRESETS.get(points.name, {}) if data is None else {}, random_state=seed)
    settings.update((name, value) for name, value in parameters.items() if value is not None)
    settings.update(_kernel_setting(kernel, length_scale))
    if rank is not None:
        settings["rank"] = rank or None
    if early_stopping:
        settings["early_stopping"] = True
    if validation_fraction is not None:
        settings["validation_fraction"] = validation_fraction
    if scaling is not None:
        settings["scaling"] = None if scaling == "none" else scaling
    settings["progress"] = not quiet
    stop = _Stop()
    estimator: Estimator
    curve: _TestErrors | None = None
    if classify:
        estimator = KernelFlowClassifier(**settings)
        curve = _TestErrors(estimator, points.y_test, seed, min(draws, 3))
        estimator.callbacks = (stop, curve)
    else:
        estimator = KernelFlowRegressor(**settings)
        estimator.callbacks = (stop,)
    if checkpoint is None:  # layers serve prediction only
        estimator.layers = "none" if classify else "memory"
    else:
        remedy = "pass another --output, or --no-save"
        room = max(0, _output_bytes(estimator, points, layers_dtype) - checkpoint.n_bytes)
        check_folder(output, room, remedy, files=(_MODEL,), folders=(checkpoint.folder.name,))
        resuming = checkpoint.exists()
        if not (resume and resuming):
            checkpoint.start(arguments)
        estimator.checkpoint = checkpoint.folder

    failures = _Failures()
    status = None
    with stop:
        note(
            f"{points.name}: {len(points.X_train)} training and {len(points.X_test)} test points in "
            f"{points.X_train.shape[1]} dimensions"
        )
        if checkpoint is not None:
            note(
                f"{estimator.n_layers} layers will take up to "
                f"{_layer_bytes(estimator, points) / 1e6:.3g} MB in {checkpoint.folder}"
            )
        start = time.perf_counter()
        try:
            # Prediction replays the layers anyway; only the errors along the way need the test.
            follow = {"test": points.X_test} if classify else None
            estimator.fit(points.X_train, points.y_train, follow=follow, resume=resume)
        except (Exception, SystemExit) as error:  # Rich exits if nobody reads its progress bar
            if not hasattr(estimator, "interpolant_") or estimator.flow_.n_layers_ == 0:
                if checkpoint is not None and not (resuming or isinstance(error, BlockingIOError)):
                    checkpoint.remove()  # nothing to go on with
                raise
            failures.add(error)
            status = _status(error)
        seconds = time.perf_counter() - start
        flow = estimator.flow_
        seconds += float(
            flow.history_["seconds"][: flow.state_.n_resumed].sum()
        )  # of processes before
        # The flow has its own points, and the evaluation needs the room.
        points = replace(
            points,
            X_train=points.X_train[:0].copy(),
            X_test=points.X_test[:0].copy() if classify else points.X_test,
        )
        n_layers = estimator.flow_.n_layers_
        stopping = estimator.stopping_ if early_stopping else None
        if n_layers == estimator.n_layers:
            status = "complete"
        elif status is None and stopping is not None and stopping.stopped_at == n_layers:
            status = "complete"
            note(f"Done after layer {n_layers} of {estimator.n_layers}: the classes have collapsed")
        elif status is None:
            status = "interrupted"
            note(
                f"Stopped after layer {n_layers} of {estimator.n_layers}: what was learnt so far is "
                + ("evaluated" if no_save else "saved and evaluated")
                + " (Ctrl-C again aborts)"
            )
        if points.feature_names is not None:  # so that the model finds its columns in any table
            estimator.feature_names_in_ = np.array(points.feature_names, dtype=object)
        unwritten = f"not everything could be written to {output}"
        if not no_save:  # first of all, whatever happens to the rest
            with failures.kept(unwritten):
                estimator.save(output / _MODEL, layers_dtype=layers_dtype)
                note(f"The model is in {output / _MODEL}")
        evaluation: dict[str, Any] = {}
        with failures.kept("the model could not be evaluated"):
            evaluation = _evaluate(estimator, points, draws, np.random.default_rng([seed, 2]))
        results = {
            "kflow": __version__,
            "dataset": points.name,
            "task": points.task,
            "n_train": len(points.y_train),
            "n_test": len(points.y_test),
            "status": status,
            "seconds": seconds,
            **evaluation,
            "model": _describe(estimator),
        }
        errors = None if curve is None else curve.seen(estimator.flow_)
        if errors is not None:
            results["curve"] = {"layers": errors.layers, "errors": errors.errors}
        if stopping is not None:
            results["early_stopping"] = {
                "layers": stopping.layers,
                "errors": stopping.errors,
                "stopped_at": stopping.stopped_at,
            }
        if not no_save:
            with failures.kept(unwritten):
                (output / _RESULTS).write_text(to_json(results) + "\n")
                note(f"The results are in {output / _RESULTS}")
            with failures.kept(unwritten):
                _draw(output, estimator.flow_, errors, note)
        if checkpoint is not None:
            if status == "complete" and not failures:
                checkpoint.remove()
            else:
                note(f"kflow fit --resume --output {output} goes on")
        try:  # last, because standard output may be closed
            if evaluation:
                _print(results, as_json, _results_table)
        finally:
            failures.tell()


class _Failures:
    """What went wrong in a run that goes on: told in one line at its end."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, error: BaseException, what: str = "") -> None:
        known = isinstance(error, _FAILURES)
        line = _one_line(error) if known else f"{type(error).__name__}: {_one_line(error)}"
        self._lines.append(f"{what}: {line}" if what else line)

    @contextmanager
    def kept(self, what: str) -> Iterator[None]:
        """Keep an exception for later."""
        try:
            yield
        except Exception as error:
            self.add(error, what)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def tell(self) -> None:
        if self._lines:
            raise click.ClickException("; ".join(dict.fromkeys(self._lines)))


def _status(error: BaseException) -> str:
    if isinstance(error, DivergenceError):
        return "diverged"
    return "singular" if isinstance(error, SingularKernelError) else "failed"


def _note(text: str) -> None:
    with suppress(OSError):  # nobody listens
        click.echo(text, err=True)


def _silent(text: str) -> None:
    pass


def _kernel_setting(kernel: str | None, length_scale: float | None) -> dict[str, Any]:
    from kflow.kernels import from_dict

    if length_scale is not None:
        return {"kernel": from_dict({"kernel": kernel or "gaussian", "length_scale": length_scale})}
    if kernel not in (None, "gaussian"):
        raise click.UsageError(f"--kernel {kernel} needs --length-scale")
    return {}


class _TestErrors:
    """Callback: the test error along the way, of a flow whose points are known once it runs."""

    def __init__(
        self, estimator: KernelFlowClassifier, test_labels: npt.NDArray[Any], seed: int, draws: int
    ) -> None:
        self._estimator = estimator
        self._test_labels = test_labels
        self._seed = seed
        self._draws = draws
        self._curve: ErrorCurve | None = None
        self._state: Any = None

    def seen(self, flow: KernelFlow) -> ErrorCurve | None:
        """Return the errors so far; None if the flow has not been looked at."""
        return self._of(flow) if self._curve is not None or self._state is not None else None

    def _of(self, flow: KernelFlow) -> ErrorCurve:
        if self._curve is None:  # until the flow runs nobody knows which rows were held out of it
            import numpy as np

            from kflow.evaluation import ErrorCurve

            self._curve = ErrorCurve(
                _labels(self._estimator, flow),
                self._test_labels,
                nugget=self._estimator.interpolation_nugget,
                every=max(1, self._estimator.n_layers // 20),
                rng=np.random.default_rng([self._seed, 1]),
                n_draws=self._draws,
            )
            if self._state is not None:
                self._curve.from_state(self._state)
        return self._curve

    def __call__(self, flow: KernelFlow) -> None:
        """Look at the flow after a layer."""
        self._of(flow)(flow)

    def to_state(self) -> Any:
        """Return what it has seen as JSON data."""
        return self._state if self._curve is None else self._curve.to_state()

    def from_state(self, state: Any) -> None:
        """Go on from what `to_state` returned."""
        self._state = state


@contextmanager
def _log_shown(verbose: bool) -> Iterator[None]:
    """Show what the package logs on standard error."""
    log = logging.getLogger("kflow")
    handler, level = _Notes(), log.level
    if verbose:
        log.setLevel(logging.INFO)
        log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Notes(logging.Handler):
    """Shows records of the log as notes: above the progress bar, if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record."""
        _note(record.getMessage())


def _finished(output: Path) -> dict[str, Any]:
    """Return the results of a complete run; nothing if there are none."""
    try:
        results = json.loads((output / _RESULTS).read_text())
        complete = results["status"] == "complete" and (output / _MODEL).exists()
        return dict(results) if complete else {}
    except (OSError, LookupError, TypeError, ValueError):
        return {}


def _layer_bytes(estimator: Estimator, points: Dataset) -> int:
    """Return the room for the layers, rather too much than too little."""
    from kflow.layers.stores import layer_bytes

    n, d = points.X_train.shape
    size = min(estimator.batch_size, n)
    return layer_bytes(
        estimator.n_layers, size, _most_coordinates(estimator, n, d), estimator.dtype
    )


def _most_coordinates(estimator: Estimator, n: int, d: int) -> int:
    if estimator.rank is None:
        return d
    return min(n, d, estimator.rank) if isinstance(estimator.rank, int) else min(n, d)


def _output_bytes(estimator: Estimator, points: Dataset, layers_dtype: str | None) -> int:
    """Return about how much the output needs until it is complete, rather too much than too little.

    The layers count twice: in the checkpoint, and in the model to which they are copied.
    """
    n, d = points.X_train.shape
    rank = _most_coordinates(estimator, n, d)
    n_targets = len(set(points.y_train.tolist())) if points.task == "classification" else 1
    layers = _layer_bytes(estimator, points)
    # Training points, their targets and the interpolant, which may hold as many; the snapshot of the
    # points, and the next one that is to replace it.
    others = 4 * n * (rank + 1 + 2 * n_targets) + 3 * len(points.X_test) * (rank + 1)
    itemsize = 4 if estimator.dtype == "float32" else 8
    n_rotations = min(rank, estimator.n_layers // max(estimator.shrink_every, 1))
    if not estimator.shrink_every:
        n_rotations = 0
    matrices = 2 * 8 * rank * (d + n_rotations * rank)
    parts = {"float16": 2, "float32": 4, "float64": 8, None: itemsize}
    model = layers * parts[layers_dtype] // itemsize
    # Headers and states, of which each block has one; it ends where a rotation comes.
    n_blocks = estimator.n_layers // estimator.every + n_rotations + 2
    pictures = 2**20
    n_bytes: int = 2**12 * n_blocks + layers + model + others * itemsize + matrices + pictures
    return n_bytes


def _return_freed_memory() -> None:
    """Have glibc return every freed block of a megabyte or more to the system.

    Left alone it raises that limit to the size of the largest block freed so far, and arrays that come
    and go by the layer fill the process with holes. A library must not change this, a command may.
    """
    m_mmap_threshold = -3  # malloc.h
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).mallopt(m_mmap_threshold, 2**20)


def _check_file(path: Path) -> None:
    """Find out before the work whether its result can be written."""
    place = path if path.exists() else path.parent
    if not place.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(place))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not os.access(place, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


def _labels(estimator: Estimator, flow: KernelFlow) -> npt.NDArray[Any]:
    """Return the classes of a flow's points, which need not be all of the training points."""
    labels: npt.NDArray[Any] = estimator.classes_[flow.targets_.argmax(axis=1)]
    return labels


def _evaluate(estimator: Estimator, points: Dataset, draws: int, rng: Any) -> dict[str, Any]:
    from kflow.evaluation import class_distance_ratio, interpolation_errors, regression_errors

    if points.task == "regression":
        return {"errors": regression_errors(points.y_test, _predict(estimator, points.X_test))}
    flow = estimator.flow_
    positions = flow.positions()
    train, test = positions.training, positions.sets["test"]
    labels = _labels(estimator, flow)
    predicted = estimator.classes_[estimator.interpolant_(test).argmax(axis=1)]
    errors = interpolation_errors(
        train,
        labels,
        test,
        points.y_test,
        kernel=flow.kernel_,
        nugget=estimator.interpolation_nugget,
        rng=rng,
        n_draws=draws,
        n_threads=estimator.n_threads,
    )
    return {
        "errors": [asdict(row) for row in errors],
        "model_error": float((predicted != points.y_test).mean()),
        "class_distance_ratio": class_distance_ratio(train, labels),
    }


def _predict(estimator: Estimator, X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Predict for columns in the model's order, without scikit-learn's warning of missing names."""
    names = estimator.__dict__.pop("feature_names_in_", None)
    try:
        return estimator.predict(X)
    finally:
        if names is not None:
            estimator.feature_names_in_ = names


def _results_table(results: Mapping[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    model, errors = results["model"], results["errors"]
    rate = model["layers_per_second"]
    table = Table(
        title=f"{results['dataset']}: test error",
        caption=f"{model['n_layers']} layers"
        + (f", {rate:.1f} layers/s" if rate else "")
        + f"; {results['seconds']:.1f} s in all",
        box=box.SIMPLE_HEAD,
    )
    if results["task"] == "regression":
        for name in ("RMSE", "R^2"):
            table.add_column(name, justify="right")
        table.add_row(f"{errors['rmse']:.6g}", f"{errors['r2']:.4f}")
        return table
    for name in ("interpolation points", "average", "min", "max", "std"):
        table.add_column(name, justify="right")
    for row in errors:
        shares = (row[name] for name in ("average", "min", "max", "std"))
        table.add_row(str(row["n_interpolation"]), *(f"{100 * share:.2f} %" for share in shares))
    table.add_row(f"model: {model['n_interpolation']}", f"{100 * results['model_error']:.2f} %")
    return table


def _draw(
    folder: Path, flow: KernelFlow, curve: ErrorCurve | None, note: Callable[[str], None]
) -> None:
    if flow.n_layers_ == 0:
        return
    try:
        from matplotlib.figure import Figure

        from kflow import plotting
    except ImportError:
        note("No pictures: they need Matplotlib, pip install 'kflow[plot]'")
        return
    pictures: dict[str, Callable[[Any], Any]] = {
        "rho.png": lambda ax: plotting.LossDisplay.from_estimator(flow, ax=ax),
    }
    if curve is not None:
        errors = plotting.ErrorDisplay(curve.layers, curve.errors)
        pictures["errors.png"] = errors.plot
        pictures["class-distance-ratio.png"] = lambda ax: (
            plotting.ClassDistanceDisplay.from_estimator(flow, ax=ax)
        )
    for name, draw in pictures.items():
        figure = Figure(figsize=(6.4, 4.0), dpi=150, layout="constrained")
        draw(figure.subplots())
        figure.savefig(folder / name)


# ---- predict --------------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--target",
    help="Column of DATA to leave out, if MODEL knows no names.  [default: the last, if one too many]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="FILE.csv, one prediction in a line, or FILE.npz, array y.  [default: standard output]",
)
def predict(model: Path, data: Path, target: str | None, output: Path | None) -> None:
    """Predict with MODEL for the points in DATA, a .npz file (array X) or a .csv file.

    A model that was fitted to a table finds its columns by their names and ignores others.
    """
    if output is not None and output.suffix.lower() not in (".csv", ".npz"):
        raise click.UsageError("--output must end in .csv or .npz")
    if output is not None:
        _check_file(output)

    import numpy as np

    from kflow.datasets import load_points
    from kflow.persistence import load

    estimator = load(model)
    if not hasattr(estimator, "predict"):
        raise ValueError(f"{model} holds a {type(estimator).__name__}, which predicts nothing")
    names = getattr(estimator, "feature_names_in_", None)
    points = load_points(
        data, estimator.n_features_in_, target, None if names is None else names.tolist()
    )
    predicted = _predict(estimator, points)
    if output is not None and output.suffix.lower() == ".npz":
        np.savez(output, y=predicted)
        return
    lines = "".join(f"{value}\n" for value in predicted.tolist())
    if output is not None:
        output.write_text(lines)
    else:
        click.echo(lines, nl=False)


# ---- info -----------------------------------------------------------------------------------------


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(model: Path, as_json: bool) -> None:
    """Describe MODEL: its kind, kernel, sizes, loss and settings."""
    from kflow.persistence import load

    _print({**_describe(load(model)), "bytes": model.stat().st_size}, as_json, _info_table)


def _describe(model: Any) -> dict[str, Any]:
    from kflow.flow.schedules import SCHEDULES, Schedule

    flow: KernelFlow = getattr(model, "flow_", model)
    history = flow.history_
    rho, seconds = history["rho"], float(history["seconds"].sum())
    estimator = () if model is flow else ("scaling", "interpolation_nugget", "n_interpolation")
    return {
        "kind": type(model).__name__,
        "kernel": flow.kernel_.to_dict(),
        "n_layers": flow.n_layers_,
        "layers_per_second": flow.n_layers_ / seconds if seconds > 0.0 else None,
        "rho": {"first": rho[0], "last": rho[-1]} if len(rho) else None,
        "n_points": len(flow.targets_),
        **({} if model is flow else {"n_interpolation": len(model.interpolant_.centres)}),
        "n_features": int(model.n_features_in_),
        "n_dimensions": flow.rank_,
        "energy_dropped": flow.energy_dropped_,
        "settings": {
            **{name: Schedule.to_json(getattr(flow, name)) for name in SCHEDULES},
            **{
                name: getattr(flow, name)
                for name in ("batch_size", "coarse_fraction", "step_over", "n_halves")
            },
            **{name: getattr(flow, name) for name in ("rank", "shrink_every", "shrink_tolerance")},
            "dtype": flow.dtype,
            **{name: getattr(model, name) for name in estimator},
        },
    }


def _info_table(info: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in _flat(info):
        table.add_row(name, f"{value:.6g}" if isinstance(value, float) else str(value))
    return table


def _flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in data.items():
        nested = isinstance(value, Mapping)
        pairs += _flat(value, f"{prefix}{name} ") if nested else [(f"{prefix}{name}", value)]
    return pairs


# ---- output ---------------------------------------------------------------------------------------


def _print(
    data: Mapping[str, Any], as_json: bool, table: Callable[[Mapping[str, Any]], Table]
) -> None:
    if as_json:
        click.echo(to_json(data))
        return
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(table(data))
