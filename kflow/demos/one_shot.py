"""One shot: how the error depends on which training image of each class is drawn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow.demos import Options
from kflow.demos.image_flow import (
    Draws,
    FlowOfImages,
    fitted_flow,
    image_settings,
    load_images,
    one_per_class,
)
from kflow.demos.report import Report, percent
from kflow.flow.estimator_flow import estimator_flow
from kflow.plotting import ErrorDisplay, ImageStripDisplay, SpreadDisplay

__all__ = ["run"]

# Draws at the end, and at each of several layers on the way there.
_DRAWS, _DRAWS_ON_THE_WAY = 1000, 100
_QUICK_DRAWS, _QUICK_DRAWS_ON_THE_WAY = 200, 20
_LAYERS = 9

_QUANTILES = {"least": 0.0, "5 %": 0.05, "median": 0.5, "95 %": 0.95, "largest": 1.0}


def run(options: Options) -> Report:
    """Return the report, of digits or, with a folder of data, of MNIST."""
    name = "digits" if options.data_dir is None else "mnist"
    settings = image_settings(name, "pixels", options)
    images = fitted_flow(load_images(name, options), settings, options)
    n_draws = _QUICK_DRAWS if options.quick else _DRAWS
    rng = np.random.default_rng([options.seed, 1])
    with options.steps(n_draws, "draw") as done:
        draws = one_per_class(images, n_draws, rng, done)
    medians = {kind: float(np.median(errors)) for kind, errors in _errors(draws).items()}
    report = Report(
        "One shot: one training image per class",
        f"Of each class of {'digits' if name == 'digits' else 'MNIST'} one training image is drawn, "
        f"{n_draws} times, and the test images are classified by interpolation from those "
        f"{draws.rows.shape[1]} images. Before the flow the result depends on the draw: half of the "
        f"draws have more than {percent(medians['before the flow'])} errors, and they spread from "
        f"{percent(draws.unflowed.min())} to {percent(draws.unflowed.max())}. With the learned "
        f"kernel {_range(draws.flowed)}.",
        options.command("one-shot"),
    )
    report.settings.update(data=name, **images.described())
    _spread(report, draws)
    _on_the_way(
        report,
        images,
        draws.rows[: _QUICK_DRAWS_ON_THE_WAY if options.quick else _DRAWS_ON_THE_WAY],
    )
    _extremes(report, images, draws)
    report.numbers.update(
        n_layers=images.flow.n_layers_, errors=draws.flowed, errors_before=draws.unflowed
    )
    return report


def _range(errors: npt.NDArray[np.float64]) -> str:
    low, median, high = (float(value) for value in np.quantile(errors, (0.0, 0.5, 1.0)))
    if low == high:
        return f"all have {percent(median)}"
    return f"they lie between {percent(low)} and {percent(high)}, with median {percent(median)}"


def _errors(draws: Draws) -> dict[str, npt.NDArray[np.float64]]:
    return {"before the flow": draws.unflowed, "after the flow": draws.flowed}


def _spread(report: Report, draws: Draws) -> None:
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    SpreadDisplay(_errors(draws)).plot(figure.subplots())
    rows = [
        [
            kind,
            *(percent(float(value)) for value in np.quantile(errors, list(_QUANTILES.values()))),
            percent(float(errors.mean())),
            percent(float(errors.std())),
        ]
        for kind, errors in _errors(draws).items()
    ]
    report.section("The errors of all draws").figure(
        figure, "spread", f"Test errors of {len(draws.rows)} draws of one image per class."
    ).table(
        ["kernel", *_QUANTILES, "average", "standard deviation"],
        rows,
        f"Quantiles of the test errors of {len(draws.rows)} draws.",
    )


def _on_the_way(report: Report, images: FlowOfImages, rows: npt.NDArray[np.intp]) -> None:
    flow, data = images.flow, images.data
    layers = np.unique(np.linspace(0, flow.n_layers_, _LAYERS).astype(int)).tolist()
    source = estimator_flow(images.classifier)
    # Only the images that were drawn need to be carried along.
    drawn, places = np.unique(rows, return_inverse=True)
    places = places.reshape(rows.shape)
    train, test = (
        flow.trajectory(source.scaled(X), layers, reduced=True)
        for X in (data.X_train[drawn], data.X_test)
    )
    errors = np.array(
        [
            [images.error(place, points, test_points, data.y_train[drawn]) for place in places]
            for points, test_points in zip(train, test, strict=True)
        ]
    )
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    low, median, high = np.quantile(errors, (0.05, 0.5, 0.95), axis=1)
    display = ErrorDisplay(layers, {rows.shape[1]: median}).plot(figure.subplots())
    display.ax_.fill_between(layers, low, high, color=display.lines_[0].get_color(), alpha=0.2)
    display.ax_.set_ylim(0.8 * max(float(low.min()), 1e-4), 1.25 * float(high.max()))
    report.section(
        "From layer to layer",
        f"The first {len(rows)} of the draws, with the kernels K_n of several layers n.",
    ).figure(
        figure,
        "layers",
        "Median of the test errors against the layer, and the range of the middle 90 % of the "
        "draws.",
    )
    report.numbers["layers"] = {
        "layers": layers,
        "5 %": low,
        "median": median,
        "95 %": high,
    }


def _extremes(report: Report, images: FlowOfImages, draws: Draws) -> None:
    data = images.data
    assert data.image_shape is not None
    section = report.section(
        "The worst draws",
        "The images with which the test error is largest, before the flow and after it.",
    )
    for name, errors in (("before", draws.unflowed), ("after", draws.flowed)):
        rows = draws.rows[int(errors.argmax())]
        figure = Figure(figsize=(7.0, 2.4), layout="constrained")
        ImageStripDisplay.from_estimator(
            images.classifier,
            data.X_train[rows],
            data.y_train[rows],
            image_shape=data.image_shape,
            ax=figure.subplots(),
        )
        section.figure(
            figure,
            f"worst-{name}",
            f"The worst draw {name} the flow, with {percent(float(errors.max()))} errors: one "
            "image x of each class, F_n(x), and F_n(x) - x.",
        )
