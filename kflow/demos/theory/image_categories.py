"""Categories of images that a formula defines: whether some behave like two classes of photographs."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow.analysis import neighbour_dimension, participation_ratio
from kflow.datasets import letter_images, load_dataset
from kflow.demos import Options
from kflow.demos.report import Report, Section, percent
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.matched_manifolds import (
    UNIT_ERROR,
    UNIT_PART,
    Shape,
    kernel_error,
    looks,
    match,
    normalised,
)
from kflow.demos.theory.pair_of_classes import FLOW, RANK, Effort, Pair, behaviour
from kflow.plotting import ImageGridDisplay

__all__ = ["run"]

# What a colour contributes to grey (ITU-R BT.601).
_GREY = np.array([0.299, 0.587, 0.114])

# Measures whose differences are compared as they are, as those of errors, and not as a part of them.
_SHARES = ("error before", "error after", "nearest wrong", "one-shot error")

_FULL = Effort()
_QUICK = Effort(candidates=8, refined=4, sizes=2, n_layers=30, stops=3, seeds=1, attack=8, draws=20)


def _load(options: Options) -> tuple[Pair, tuple[int, int], tuple[str, str]]:
    """Return cat and dog in grey, or two digits if there is no folder of data; in random order."""
    classes: tuple[Any, Any]
    if options.data_dir is None:
        data, classes = load_dataset("digits"), (3, 8)
    else:
        data, classes = load_dataset("cifar-10", options.data_dir), ("cat", "dog")
    shape = data.image_shape
    assert shape is not None
    rng = np.random.default_rng([options.seed, 0])
    parts: list[Any] = []
    for X, y in ((data.X_train, data.y_train), (data.X_test, data.y_test)):
        rows = rng.permutation(np.flatnonzero(np.isin(y, classes)))
        images = X[rows].astype(np.float64)
        grey = images if len(shape) == 2 else images.reshape(len(rows), -1, 3) @ _GREY
        parts += [grey, (y[rows] == classes[1]).astype(np.intp)]
    X, X_test = normalised(parts[0], parts[2])
    first, second = (str(each) for each in classes)
    return Pair(X, parts[1], X_test, parts[3]), (shape[0], shape[1]), (first, second)


def run(options: Options) -> Report:
    """Return the report, of cat and dog with the folder of CIFAR-10, else of two digits."""
    effort = _QUICK if options.quick else _FULL
    pair, image_shape, names = _load(options)
    told = " and ".join(names)
    n_fit = min(effort.n_fit, len(pair.X))
    largest = 2 * (min(effort.largest, 2 * int(np.bincount(pair.y).min())) // 2)
    sizes = [2 * (largest // 2 ** (effort.sizes - i)) for i in range(effort.sizes)]
    total = effort.candidates + effort.refined + 2 * effort.seeds * len(sizes)
    with options.steps(total, "step") as done:
        wanted = looks(pair.X[:n_fit], pair.y[:n_fit], options.n_threads)
        shape, found, apart = match(wanted, n_fit, image_shape, effort, options, done)
        real, made = [], []
        for j in range(effort.seeds):
            real.append(behaviour(pair, sizes, effort, j, options, done))
            X, y = shape.draw(image_shape, len(pair.X) + len(pair.X_test), [options.seed, 4, j])
            n = len(pair.X)
            X, X_test = normalised(X[:n], X[n:])
            twin = Pair(X, y[:n], X_test, y[n:])
            made.append(behaviour(twin, sizes, effort, j, options, done))
    report = Report(
        "Do categories of images that a formula defines behave like " + told + "?",
        "",
        options.command("image-categories"),
        settings={
            "images": f"{len(pair.X)} for training, {len(pair.X_test)} for testing, "
            f"{image_shape[0]} times {image_shape[1]} pixels in grey",
            "flow": {**FLOW, "n_layers": effort.n_layers, "rank": RANK},
            "seeds": effort.seeds,
        },
    )
    letters = _letters(report)
    _pictures(report, pair, shape, image_shape, names, options)
    _fit(report, told, shape, wanted, found, n_fit)
    rows = _compare(report, told, real, made, sizes, effort)
    unlike = sorted((row for row in rows if row["off"] > 1.0), key=lambda row: -row["off"])
    n_alike = len(rows) - len(unlike)
    report.numbers.update(
        letters=letters,
        parameters=asdict(shape),
        wanted=wanted,
        found=found,
        apart=apart,
        sizes=sizes,
        real=real,
        made=made,
        measures=rows,
    )
    most = {row["name"]: row for row in rows}
    plain, flowed = (most[f"error from {sizes[-1]} images, {kind}"] for kind in ("no flow", "flow"))
    report.summary = (
        f"**{_verdict(n_alike, len(rows)).capitalize()}: manifolds of dimension {shape.dimension} in "
        f"{math.prod(image_shape)} pixels, matched to {told} by dimension, class means and errors of a kernel "
        f"without a flow, agree with them in {n_alike} of {len(rows)} measures of what is learned: from "
        f"{sizes[-1]} images a kernel makes {_told(plain['made'])} errors for {_told(plain['real'])}, and a "
        f"flow {_told(flowed['made'])} for {_told(flowed['real'])}.** The formula has the curvature "
        f"{shape.curvature:.2g}, shares {100 * shape.overlap:.0f} % of its tangents between the categories, "
        f"and keeps their centres {shape.distance:.2g} apart, where the images have the norm 1."
    )
    _claims(report, told, shape, math.prod(image_shape), len(rows), unlike, letters)
    return report


def _verdict(n_alike: int, n_measures: int) -> str:
    """Return whether two pairs behave alike: yes for nine of ten measures, no for less than half of them."""
    if 10 * n_alike >= 9 * n_measures:
        return "yes"
    return "in part" if 2 * n_alike >= n_measures else "no"


def _told(values: Any) -> str:
    return f"{np.mean(values):.3g} ± {np.std(values):.2g}"


def _figure(columns: int = 1, height: float = 3.2) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.4, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _letters(report: Report) -> dict[str, float]:
    """Describe the category T: two dimensions in 100 pixels."""
    X = np.vstack([letter_images(100, letter, 0) for letter in ("T", "L")])
    y = np.repeat([0, 1], 100)
    T = np.vstack([letter_images(100, letter, 1) for letter in ("T", "L")])
    found = {
        "participation": participation_ratio(X[y == 0]),
        "neighbours": neighbour_dimension(X[y == 0]),
        "error": kernel_error(X, y, T, y, 1),
    }
    images = np.vstack([X[:4], X[100:104]])
    display = ImageGridDisplay(images.reshape(-1, 10, 10))
    figure = Figure(figsize=display.size(8), layout="constrained")
    display.plot(figure.subplots(), n_columns=8)
    report.section(
        "The T category",
        "All images of a T whose bar and stem have any brightness are a plane in 100 dimensions. Measured on "
        f"100 of them the dimension by nearest neighbours is {found['neighbours']:.2f}, and the participation "
        f"ratio {found['participation']:.2f}. A kernel tells T from L, without a flow, with "
        f"{percent(found['error'])} errors: a category that is a plane is too easy to teach anything.",
    ).figure(
        figure, "letters", "Four images of T and four of L, from kflow.datasets.letter_images."
    )
    return found


def _pictures(
    report: Report,
    pair: Pair,
    shape: Shape,
    image_shape: tuple[int, int],
    names: tuple[str, str],
    options: Options,
) -> None:
    X, y = shape.draw(image_shape, 16, [options.seed, 4, 0])
    images, titles = [], []
    for points, labels, told in ((pair.X[:200], pair.y[:200], names), (X, y, ("0", "1"))):
        for label in (0, 1):
            chosen = points[labels == label][:4]
            low, high = chosen.min(axis=1, keepdims=True), chosen.max(axis=1, keepdims=True)
            images.append((chosen - low) / (high - low))
            titles += [told[label]] * len(chosen)
    display = ImageGridDisplay(np.vstack(images).reshape(-1, *image_shape), titles)
    figure = Figure(figsize=display.size(8), layout="constrained")
    display.plot(figure.subplots(), n_columns=8)
    report.section(
        "Manifolds",
        "The images of a category are x = b + T t + N f(U t): a centre, m tangents with normally distributed "
        "coordinates, and as many normals towards which the manifold bends, with one curvature at the "
        "centre, and more on one side than on the other. Tangents and normals are random mixtures of long "
        "waves. `kflow.datasets.ImageManifolds` draws them.",
    ).figure(
        figure,
        "images",
        f"Above: images of {names[0]} and {names[1]} without their mean. Below: images of the two "
        "categories that match them.",
    )


def _fit(
    report: Report,
    told: str,
    shape: Shape,
    wanted: dict[str, float],
    found: dict[str, float],
    n_fit: int,
) -> None:
    rows: list[list[Any]] = [[name, wanted[name], found[name]] for name in wanted]
    report.section(
        f"The manifolds that match {told}",
        f"Random parameters, then small changes to the best ones, are compared by six measures of {n_fit} "
        "training images that need no flow. Errors are compared in units of 2 points, the others in units of "
        "10 %. Test images have no part in it.",
    ).table(
        ["parameter", "value"],
        [[name, value] for name, value in asdict(shape).items()],
        "The parameters found; lengths are parts of the images' norm before they are scaled.",
    ).table(["measure", told, "manifolds"], rows, "The measures by which they were found.")


def _compare(
    report: Report,
    told: str,
    real: list[dict[str, Any]],
    made: list[dict[str, Any]],
    sizes: list[int],
    effort: Effort,
) -> list[dict[str, Any]]:
    section = report.section(
        "What a flow does to both",
        f"Flows learn both pairs: {told} from random parts of the training images, the manifolds with new "
        "directions and new images for each seed. Test images were looked at once for each number.",
    )
    _curves(section, told, real, made, sizes)
    layers = real[0]["layers"][-1]
    wanted = [
        *((f"error from {n} images, no flow", "error before", i) for i, n in enumerate(sizes)),
        *((f"error from {n} images, flow", "error after", i) for i, n in enumerate(sizes)),
        ("participation ratio of a class after the flow", "participation", -1),
        ("dimension of a class by neighbours after the flow", "neighbours", -1),
        ("dimension of noisy copies after the flow", "tangent", -1),
        ("median margin of the interpolant", "margin", 0),
        ("share whose nearest neighbour is of the other class, before", "nearest wrong", 0),
        ("the same after the flow", "nearest wrong", -1),
        ("median adversarial distance before", "adversarial", 0),
        ("median adversarial distance after", "adversarial", -1),
        ("mean error from one image of each class, before", "one-shot error", 0),
        ("mean error from one image of each class, after", "one-shot error", -1),
        ("spread of that error over draws, before", "one-shot spread", 0),
        ("spread of that error over draws, after", "one-shot spread", -1),
    ]
    rows: list[dict[str, Any]] = []
    for name, key, place in wanted:
        ones, others = ([float(each[key][place]) for each in part] for part in (real, made))
        one, other = float(np.mean(ones)), float(np.mean(others))
        unit = UNIT_ERROR if key in _SHARES else UNIT_PART * abs(one)
        spread = math.hypot(float(np.std(ones)), float(np.std(others)))
        rows.append(
            {
                "name": name,
                "real": ones,
                "made": others,
                "ratio": other / one if one > 0.0 else math.nan,
                "off": abs(one - other) / max(unit, 2.0 * spread),
            }
        )
    section.table(
        ["measure", told, "manifolds", "ratio", "alike?"],
        [
            [
                row["name"],
                _told(row["real"]),
                _told(row["made"]),
                f"{row['ratio']:.2f}",
                "yes" if row["off"] <= 1.0 else "no",
            ]
            for row in rows
        ],
        f"Means ± standard deviations over {effort.seeds} seeds, after {layers} layers. Alike are measures "
        "that differ by at most 10 %, errors and shares by at most 2 points, or any by two standard "
        "deviations. The norm of images is 1.",
    )
    return rows


def _curves(
    section: Section,
    told: str,
    real: list[dict[str, Any]],
    made: list[dict[str, Any]],
    sizes: list[int],
) -> None:
    kinds = ((told, real, "o"), ("manifolds", made, "s"))
    figure, axes = _figure(2)
    for number, (name, part, marker) in enumerate(kinds):
        for key, style in (("error before", ":"), ("error after", "-")):
            values = 100 * np.array([each[key] for each in part])
            axes[0].errorbar(
                sizes,
                values.mean(axis=0),
                values.std(axis=0),
                color=f"C{number}",
                linestyle=style,
                marker=marker,
                capsize=3,
                label=f"{name}, {'no flow' if key == 'error before' else 'flow'}",
            )
        for key, style in (("tangent", "-"), ("neighbours", "--"), ("participation", ":")):
            values = np.array([each[key] for each in part])
            text = {
                "tangent": "noisy copies",
                "neighbours": "neighbours",
                "participation": "participation",
            }
            axes[1].plot(
                part[0]["layers"],
                values.mean(axis=0),
                style,
                color=f"C{number}",
                marker=marker,
                label=f"{name}, {text[key]}",
            )
    axes[0].set(xscale="log", ylim=0, xlabel="training images", ylabel="test error, %")
    axes[1].set(yscale="log", xlabel="layer n", ylabel="dimension")
    axes[0].set_xticks(sizes, [str(size) for size in sizes])
    axes[0].minorticks_off()
    for ax in axes:
        ax.legend(fontsize=6)
    section.figure(
        figure,
        "behaviour",
        "Left: test error against the number of training images. Right: dimension along the flow, of noisy "
        "copies of one image (the tangent plane), of a class by nearest neighbours, and the participation "
        "ratio of a class.",
    )


def _claims(
    report: Report,
    told: str,
    shape: Shape,
    n_pixels: int,
    n_measures: int,
    unlike: list[dict[str, Any]],
    letters: dict[str, float],
) -> None:
    differ = "; ".join(f"{row['name']} ({row['ratio']:.2f} times)" for row in unlike[:3])
    claims = [
        Claim(
            "The T category is two-dimensional in 100 pixels (Hopcroft)",
            "2",
            f"{letters['neighbours']:.2f} by neighbours",
            "yes, and a plane",
        ),
        Claim(
            "Categories of dimension 200 in 1024 pixels, not symmetric, may be like cat and dog (Hopcroft)",
            "-",
            f"{n_measures - len(unlike)} of {n_measures} measures agree, with dimension {shape.dimension} in {n_pixels} "
            "pixels",
            f"{_verdict(n_measures - len(unlike), n_measures)}; farthest off: {differ}",
        ),
    ]
    add_claims(
        report,
        claims,
        f"We know of no earlier attempt to find manifolds that a flow treats like {told}. Those above agree in "
        "what is usually said of a manifold, its dimension and the distance of the means, and not in how fast "
        "they are learned: a theorem about such manifolds would leave out what makes the real classes as "
        "they are. Few parameters were tried, so that others may come nearer.",
    )
