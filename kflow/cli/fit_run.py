"""One run of `kflow fit`, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from sklearn.base import clone

from kflow import __version__
from kflow._base.files import check_folder, replacing
from kflow._base.json_values import to_json
from kflow.cli.cross_validation import baseline, cross_validated, told_cross_validation
from kflow.cli.evaluate import ErrorsOnTheWay, error_before, evaluate
from kflow.cli.failures import Failures, run_status
from kflow.cli.fit_checkpoint import FitCheckpoint
from kflow.cli.fit_images import FitImages, encoded_images, preset_for
from kflow.cli.fit_options import FitOptions
from kflow.cli.fit_table import FitTable, load_fit_table
from kflow.cli.info import describe
from kflow.cli.output import no_note, note, print_data, results_table
from kflow.cli.pictures import draw_pictures
from kflow.cli.process import Stop, return_freed_memory
from kflow.cli.room import Estimator, bytes_of_layers, bytes_of_output, most_layers
from kflow.datasets import Dataset, load_dataset, load_file, load_image_folder
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.estimators.regressor import KernelFlowRegressor
from kflow.estimators.selection.wanted import Wanted
from kflow.evaluation import ErrorCurve
from kflow.flow.callbacks import Callback
from kflow.flow.kernel_flow import KernelFlow
from kflow.presets import PRESETS

__all__ = ["FitRun", "FitSteps"]

# Draws behind each test error while the flow runs, which is measured often.
_MAX_DRAWS_ON_THE_WAY = 3


def fit_estimator(
    estimator: Estimator, points: Dataset, follow: Mapping[str, Any] | None, resume: bool
) -> None:
    """Fit an estimator to the training points."""
    estimator.fit(points.X_train, points.y_train, follow=follow, resume=resume)


def save_model(model: Any, path: Path, layers_dtype: str | None) -> None:
    """Write an estimator, or one behind the encoder of a table, to a model file."""
    model.save(path, layers_dtype=layers_dtype)


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results to a JSON file."""
    with replacing(path) as file:
        file.write(f"{to_json(results)}\n".encode())


@dataclass(frozen=True)
class FitSteps:
    """The steps of a run that compute or write, each of which may fail.

    The object of click's context, where there is one, replaces them.

    Attributes
    ----------
    callbacks : tuple of callable
        Further callbacks of the flow, called after those of the run.
    """

    fit: Callable[[Estimator, Dataset, Mapping[str, Any] | None, bool], None] = fit_estimator
    save: Callable[[Any, Path, str | None], None] = save_model
    evaluate: Callable[[Estimator, Dataset, int, np.random.Generator], dict[str, Any]] = evaluate
    write: Callable[[Path, Mapping[str, Any]], None] = write_results
    draw: Callable[[Path, KernelFlow, ErrorCurve | None, Callable[[str], None]], None] = (
        draw_pictures
    )
    callbacks: tuple[Callback, ...] = ()


@dataclass
class FitRun:
    """One run: what it was told, and what it has so far.

    Attributes
    ----------
    options : FitOptions
        The options, those of the unfinished run if it is resumed.
    arguments : mapping
        What the checkpoint of a new run keeps.
    checkpoint : FitCheckpoint or None
        The checkpoint; None if no files are written.
    steps : FitSteps
        The steps that compute or write.
    points : Dataset
        The data, without the points that the flow holds once it has run.
    encoded : FitTable, FitImages or None
        The table or the images that an encoder made points of; None if points are what was read.
    estimator : KernelFlowClassifier or KernelFlowRegressor
        The estimator.
    curve : ErrorsOnTheWay or None
        The test errors after several layers; None for regression.
    before : float or None
        The test error without the flow; None if there is no flow, or no such error.
    results : dict
        What is written and printed at the end.
    status : str or None
        How the flow ended: ``"complete"``, ``"interrupted"``, ``"diverged"``, ``"singular"`` or
        ``"failed"``; None as long as it runs.
    seconds : float
        Time that the fit has taken, also in earlier processes.
    was_begun : bool
        Whether an earlier process has begun the run.
    failures : Failures
        Errors after which the run went on.
    """

    options: FitOptions
    arguments: Mapping[str, Any]
    checkpoint: FitCheckpoint | None
    steps: FitSteps
    points: Dataset = field(init=False)
    estimator: Estimator = field(init=False)
    encoded: FitTable | FitImages | None = None
    curve: ErrorsOnTheWay | None = None
    before: float | None = None
    results: dict[str, Any] = field(default_factory=dict)
    status: str | None = None
    seconds: float = 0.0
    was_begun: bool = False
    failures: Failures = field(default_factory=Failures)

    def run(self) -> None:
        """Do all steps.

        Raises
        ------
        click.UsageError
            For options that do not go together.
        click.ClickException
            At the end, with whatever failed on the way.
        """
        self.options.check()
        return_freed_memory()
        self.load_data()
        self.cross_validate()
        stop = Stop()
        self.make_estimator(stop)
        self.reserve_room()
        with stop:
            self.announce()
            self.fit()
            self.release_points()
            self.conclude()
            self.save()
            self.evaluate()
            self.write()
            self.draw()
            self.close_checkpoint()
            self.report()

    @property
    def is_classification(self) -> bool:
        """Whether the targets are classes."""
        return self.points.task == "classification"

    def note(self, text: str) -> None:
        """Tell the user a line, unless the run is quiet."""
        (no_note if self.options.quiet else note)(text)

    # ---- before the fit ---------------------------------------------------------------------------

    def load_data(self) -> None:
        """Load a known data set or a file."""
        options = self.options
        if options.data is None:
            self.points = load_dataset(options.dataset or "digits", options.data_dir)
            if (preset := options.image_preset(self.points.name)) is not None:
                self.encoded = encoded_images(self.points, preset, options, self.note)
        elif options.is_image_folder:
            images = load_image_folder(options.data)
            preset = preset_for(images.image_shape)
            self.encoded = encoded_images(images, preset, options, self.note)
        elif not options.is_table:
            self.points = load_file(options.data, options.target, options.task)
        else:
            self.encoded = load_fit_table(options.data, options, self.note)
        if self.encoded is not None:
            self.points = self.encoded.points
        if options.early_stopping and not self.is_classification:
            raise click.UsageError("--early-stopping belongs to classification")

    def cross_validate(self) -> None:
        """Tell the cross-validated error, if it is asked for."""
        options, points = self.options, self.points
        if options.cv is None:
            return
        rows = points.X_train if self.encoded is None else self.encoded.training_rows
        result = cross_validated(
            self._unfitted, rows, points.y_train[: len(rows)], points.task, options.cv, options.seed
        )
        self.results["cross_validation"] = result
        self.note(told_cross_validation(result, len(points.y_train), points.task))

    def _unfitted(self) -> Any:
        """Return an estimator for the rows of the data, without callbacks."""
        estimator = self._estimator()
        estimator.progress = False
        return estimator if self.encoded is None else clone(self.encoded.model(estimator))

    def _estimator(self) -> Estimator:
        settings = self.options.estimator_settings(self._preset())
        return (KernelFlowClassifier if self.is_classification else KernelFlowRegressor)(**settings)

    def _preset(self) -> Mapping[str, Any]:
        if self.options.data is not None:
            return {}
        name = self.points.name
        preset = self.options.image_preset(name)
        return PRESETS.get(name, {}) if preset is None else preset.estimator

    def make_estimator(self, stop: Stop) -> None:
        """Make the estimator and its callbacks."""
        options, points = self.options, self.points
        self.estimator = self._estimator()
        callbacks: tuple[Callback, ...] = (stop,)
        if isinstance(self.estimator, KernelFlowClassifier):
            n_draws = min(options.n_draws, _MAX_DRAWS_ON_THE_WAY)
            self.curve = ErrorsOnTheWay(self.estimator, points.y_test, options.seed, n_draws)
            callbacks += (self.curve,)
        self.estimator.callbacks = (*callbacks, *self.steps.callbacks)

    def reserve_room(self) -> None:
        """Check that the output can be written, and begin the checkpoint or find the one to resume."""
        checkpoint, options = self.checkpoint, self.options
        if checkpoint is None:  # layers serve prediction only
            self.estimator.layers = "none" if self.is_classification else "memory"
            return
        needed = bytes_of_output(self.estimator, self.points, options.layers_dtype)
        check_folder(
            options.output,
            max(0, needed - checkpoint.n_bytes),
            "pass another --output, or --no-save",
            files=(options.model_file.name,),
            folders=(checkpoint.folder.name,),
        )
        self.was_begun = checkpoint.exists()
        if not (options.resume and self.was_begun):
            checkpoint.start(self.arguments)
        self.estimator.checkpoint = checkpoint.folder

    def announce(self) -> None:
        """Tell the sizes of the data and of the layers."""
        points = self.points
        self.note(
            f"{points.name}: {len(points.X_train)} training and {len(points.X_test)} test points in "
            f"{points.X_train.shape[1]} dimensions"
        )
        if self.checkpoint is not None and self.options.model_file.exists():
            self.note(
                f"{self.options.model_file} holds an earlier model, which this run will replace"
                + ("" if self.options.force else ": pass another --output to keep it")
            )
        if self.checkpoint is not None:
            megabytes = bytes_of_layers(self.estimator, points) / 1e6
            some = "Up to " if isinstance(self.estimator.n_layers, str) else ""
            self.note(
                f"{some}{most_layers(self.estimator)} layers will take up to {megabytes:.3g} MB in "
                f"{self.checkpoint.folder}"
            )

    # ---- the fit ----------------------------------------------------------------------------------

    def fit(self) -> None:
        """Fit the estimator. What was learned before an error is kept."""
        # Prediction replays the layers anyway; only the errors on the way need the test points.
        follow = {"test": self.points.X_test} if self.is_classification else None
        start = time.perf_counter()
        try:
            self.steps.fit(self.estimator, self.points, follow, self.options.resume)
        except (Exception, SystemExit) as error:  # Rich exits if nobody reads its progress bar
            if not hasattr(self.estimator, "interpolant_") or self.estimator.flow_.n_layers_ == 0:
                self._drop_checkpoint(error)
                raise
            self.failures.add(error)
            self.status = run_status(error)
        elapsed = time.perf_counter() - start
        self.seconds = elapsed + _seconds_before(self.estimator.flow_)

    def _drop_checkpoint(self, error: BaseException) -> None:
        """Remove the checkpoint of a run that failed in its first process, before it had a layer."""
        held_by_another = isinstance(error, BlockingIOError)
        if self.checkpoint is not None and not (self.was_begun or held_by_another):
            self.checkpoint.remove()

    def release_points(self) -> None:
        """Measure the error without the flow, then drop the points: the evaluation needs the memory."""
        points = self.points
        if self.estimator.flow_.n_layers_:
            # Of a diverged flow, or of a nugget that only suits moved points, there may be none.
            with suppress(ArithmeticError, ValueError):
                self.before = error_before(self.estimator, points)
        self.points = replace(
            points,
            X_train=points.X_train[:0].copy(),
            X_test=points.X_test[:0].copy() if self.is_classification else points.X_test,
        )
        if self.encoded is not None:
            rows = self.encoded.training_rows[:0].copy()
            self.encoded = replace(self.encoded, points=self.points, training_rows=rows)

    def conclude(self) -> None:
        """Find out how the flow ended, and tell it if it has fewer layers than it was to have."""
        n_layers, wanted = self.estimator.flow_.n_layers_, self.estimator.n_layers_
        selection = self.estimator.selection_
        if selection.tried or not Wanted.by(self.estimator).is_settled:
            self.note(str(selection))
        if n_layers == wanted:
            self.status = "complete"
        elif self.status is not None:
            return
        elif self.stopping is not None and self.stopping.stopped_at == n_layers:
            self.status = "complete"
            self.note(f"Done after layer {n_layers} of {wanted}: the classes have collapsed")
        else:
            self.status = "interrupted"
            done = "evaluated" if self.options.no_save else "saved and evaluated"
            self.note(
                f"Stopped after layer {n_layers} of {wanted}: what was learned so far is {done} "
                "(Ctrl-C again aborts)"
            )

    @property
    def stopping(self) -> Any:
        """The early stopping of the estimator; None without."""
        return self.estimator.stopping_ if self.options.early_stopping else None

    # ---- after the fit ----------------------------------------------------------------------------

    @property
    def _unwritten(self) -> str:
        return f"not everything could be written to {self.options.output}"

    def save(self) -> None:
        """Write the model: first of all, whatever happens to the rest."""
        if self.options.no_save:
            return
        with self.failures.kept(self._unwritten):
            path = self.options.model_file
            self.steps.save(self._model(), path, self.options.layers_dtype)
            self.note(f"The model is in {path}")

    def _model(self) -> Any:
        """Return what is saved: the estimator, behind its encoder if there is one."""
        return self.estimator if self.encoded is None else self.encoded.model(self.estimator)

    def evaluate(self) -> None:
        """Measure the test error, and put the results together."""
        evaluation: dict[str, Any] = {}
        with self.failures.kept("the model could not be evaluated"):
            evaluation = self.steps.evaluate(
                self.estimator,
                self.points,
                self.options.n_draws,
                np.random.default_rng([self.options.seed, 2]),
            )
        points = self.points
        self.results |= {
            "kflow": __version__,
            "dataset": points.name,
            "task": points.task,
            "n_train": len(points.y_train),
            "n_test": len(points.y_test),
            "status": self.status,
            "seconds": self.seconds,
            "baseline": baseline(points.y_train, points.y_test, points.task),
            **({} if self.before is None else {"error_before": self.before}),
            **evaluation,
            "selection": self.estimator.selection_.to_dict(),
            "model": describe(self.estimator),
        }
        errors = self._error_curve()
        if errors is not None:
            self.results["curve"] = {"layers": errors.layers, "errors": errors.errors}
        if self.stopping is not None:
            self.results["early_stopping"] = {
                name: getattr(self.stopping, name) for name in ("layers", "errors", "stopped_at")
            }

    def _error_curve(self) -> ErrorCurve | None:
        return None if self.curve is None else self.curve.curve(self.estimator.flow_)

    def write(self) -> None:
        """Write the results."""
        if self.options.no_save:
            return
        with self.failures.kept(self._unwritten):
            self.steps.write(self.options.results_file, self.results)
            self.note(f"The results are in {self.options.results_file}")

    def draw(self) -> None:
        """Draw the pictures."""
        if self.options.no_save:
            return
        with self.failures.kept(self._unwritten):
            flow, curve = self.estimator.flow_, self._error_curve()
            self.steps.draw(self.options.output, flow, curve, self.note)

    def close_checkpoint(self) -> None:
        """Remove the checkpoint of a complete run, or tell how to go on with it."""
        if self.checkpoint is None:
            return
        if self.status == "complete" and not self.failures:
            self.checkpoint.remove()
        else:
            self.note(f"kflow fit --resume --output {self.options.output} goes on")

    def report(self) -> None:
        """Print the results, then tell the failures: last, because standard output may be closed."""
        try:
            if "errors" in self.results:
                print_data(self.results, self.options.as_json, results_table)
        finally:
            self.failures.tell()


def _seconds_before(flow: KernelFlow) -> float:
    """Return the time that the layers of earlier processes took."""
    return float(flow.history_["seconds"][: flow.state_.n_resumed].sum())
