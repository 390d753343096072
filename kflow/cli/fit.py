"""``kflow fit``: fit a model and measure its test error."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from kflow.cli.fit_checkpoint import FitCheckpoint
from kflow.cli.fit_options import FitOptions
from kflow.cli.options import (
    ESTIMATOR_DEFAULTS,
    FLOW_OPTIONS,
    as_json_option,
    n_threads_option,
    seed_option,
    table_format_options,
    with_options,
)
from kflow.cli.output import note, print_data, results_table
from kflow.cli.process import log_shown
from kflow.datasets import DATASETS
from kflow.engine import PRECISIONS
from kflow.presets import IMAGE_PRESETS

__all__ = ["fit"]

_DATA_OPTIONS = (
    click.option(
        "--dataset",
        type=click.Choice(DATASETS),
        help="A known data set.  [default: digits]",
    ),
    click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help="Folder of the files of that data set: IDX files, gzipped or not, or images.zip for "
        "cifar-10. digits needs none.",
    ),
    click.option(
        "--preset",
        type=click.Choice(["pixels", *IMAGE_PRESETS]),
        help="What the images of a known data set are to the flow: their pixels, or their wavelet "
        "scattering, with which it errs less; augmented: it learns from changed copies too, which takes "
        "several times as long.  [default: pixels]",
    ),
    click.option(
        "--data",
        type=click.Path(path_type=Path),
        help="File of your own data instead of a known data set: a table (.csv, .tsv, .txt, also "
        "compressed, or .parquet), whose cells may be text or empty, arrays (.npz), or a folder or "
        ".zip of PNG and JPEG images with a subfolder for each class.",
    ),
    click.option(
        "--target",
        help="Column (of a table) or array (.npz) of --data to predict.  [default: last column; y]",
    ),
    click.option(
        "--task",
        type=click.Choice(["classification", "regression"]),
        help="What to do with --data.  [default: from the targets]",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="COLUMNS",
        help="Columns of a table to leave out, separated by commas. May be given several times.",
    ),
    click.option(
        "--id",
        metavar="COLUMN",
        help="Column of a table that names its rows: no feature, but a column of the predictions.",
    ),
)

_EVALUATION_OPTIONS = (
    click.option(
        "--cv",
        type=click.IntRange(2),
        metavar="K",
        help="Before the fit, tell the error of K-fold cross-validation on the training points.",
    ),
    click.option(
        "--early-stopping",
        is_flag=True,
        help="Stop before --n-layers when one interpolation point per class does as well as 2000.",
    ),
    click.option(
        "--validation-fraction",
        type=float,
        help="Part of the training points that is held out for --early-stopping.  [default: "
        f"{ESTIMATOR_DEFAULTS['validation_fraction']:g}]",
    ),
    click.option(
        "--n-draws",
        type=click.IntRange(1),
        default=5,
        show_default=True,
        help="Number of random interpolants behind each test error.",
    ),
)

_FILE_OPTIONS = (
    click.option(
        "--output",
        type=click.Path(path_type=Path),
        default="kflow-output",
        show_default=True,
        help="Folder for the model, the results and the pictures.",
    ),
    click.option("--force", is_flag=True, help="Replace the model that --output holds already."),
    click.option(
        "--layers-dtype",
        type=click.Choice(["float16", "float32", "float64"]),
        help="Precision of the layers in the model file; float16 halves the file.  [default: that of "
        "the points]",
    ),
    click.option(
        "--every",
        type=click.IntRange(1),
        default=20,
        show_default=True,
        help="Number of layers in each file of the checkpoint.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the unfinished run in --output, with its arguments; start it if there is "
        "none.",
    ),
    click.option("--no-save", is_flag=True, help="Write no files."),
)

_PRINTING_OPTIONS = (
    as_json_option("Print the results as JSON instead of a table."),
    click.option("--quiet", is_flag=True, help="Print the results only."),
    click.option(
        "--verbose", is_flag=True, help="Tell which files are written, and how long it takes."
    ),
)


@click.command()
@with_options(
    *_DATA_OPTIONS,
    *table_format_options(),
    *FLOW_OPTIONS,
    seed_option(),
    n_threads_option(),
    click.option(
        "--device",
        metavar="NAME",
        help="Where the layers of the flow run, such as cuda; needs kflow[torch].  "
        "[default: the compiled core]",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        help="How exactly a --device computes.  [default: float64]",
    ),
    *_EVALUATION_OPTIONS,
    *_FILE_OPTIONS,
    *_PRINTING_OPTIONS,
)
@click.pass_context
def fit(context: click.Context, /, verbose: bool, **values: Any) -> None:
    """Fit a model and measure its test error.

    Of a table, a quarter of the rows is held out for the test error. What is predicted, what becomes
    of each column, and what was found out about the file is told before the fit.

    A known data set has a preset of these options. Values marked 0:VALUE,N:VALUE may change during
    the flow: 0:0.01,800:1.0 is 0.01 until layer 800, then 1.0.

    Ctrl-C ends the flow after its layer, then evaluates and saves it; a second one aborts. Whatever
    ends the run before the flow is complete, OUTPUT/checkpoint keeps its layers, and
    kflow fit --resume --output OUTPUT goes on with them.
    """
    options = FitOptions.of(values)
    if options.resume and options.no_save:
        raise click.UsageError("--no-save leaves nothing for --resume")
    if not (options.no_save or options.resume or options.force):
        _refuse_to_replace(context, options)
    arguments = options.arguments()
    checkpoint = None if options.no_save else FitCheckpoint(options.output)
    if checkpoint is not None:
        checkpoint.clean()
        if options.resume and checkpoint.exists():
            known = checkpoint.merged(arguments, _given(context, arguments))
            options = options.with_arguments(known)
        elif options.resume and (results := options.complete_results()):
            if not options.quiet:
                note(f"The run in {options.output} is complete")
            print_data(results, options.as_json, results_table)
            return
    from kflow.cli.fit_run import FitRun, FitSteps

    steps = context.find_object(FitSteps) or FitSteps()
    with log_shown(verbose):
        FitRun(options, arguments, checkpoint, steps).run()


def _refuse_to_replace(context: click.Context, options: FitOptions) -> None:
    """Refuse to replace a model in a folder that the user named; in the default one it is told."""
    if options.model_file.is_file() and _given(context, ["output"]):
        raise click.UsageError(
            f"{options.model_file} holds an earlier model: pass --force to replace it, or another "
            "--output to keep it"
        )


def _given(context: click.Context, names: Iterable[str]) -> list[str]:
    """Return which of some parameters the command line gives."""
    command_line = click.core.ParameterSource.COMMANDLINE
    return [name for name in names if context.get_parameter_source(name) is command_line]
