"""New classes from one image each: what a flow that has seen other classes does for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles, Rows
from kflow.datasets import ImageManifolds, load_dataset
from kflow.demos import Options
from kflow.demos.report import Report, percent
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.new_classes import (
    N_SHARED,
    one_shot_error,
    shared_variation,
    within_class_map,
)
from kflow.demos.theory.spread import spread
from kflow.flow.kernel_flow import KernelFlow
from kflow.operations import one_hot

__all__ = ["run"]

# Classes that are new, from which one image each is drawn.
_N_NEW = 5

# Ridges of the linear map, as parts of the largest variance.
_RIDGES = (0.003, 0.03, 0.3)

_FAMILY: dict[str, Any] = {
    "image_shape": (12, 12),
    "dimension": 20,
    "curvature": 2.0,
    "distance": 1.0,
}


@dataclass(frozen=True)
class _Effort:
    """How much is computed, in the full and in the small form."""

    layers: tuple[int, ...] = (0, 10, 20, 30, 40, 60, 80, 100, 150)
    draws: int = 15
    n_pictures: int = 260
    seen_pictures: tuple[int, ...] = (2, 3, 4, 5)
    splits: int = 6
    n_family: int = 480
    seen_family: tuple[int, ...] = (2, 4, 8, 16, 32)
    overlaps: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
    seen_overlaps: tuple[int, ...] = (5, 16)
    seeds: int = 4

    def flow(self, n_points: int, seed: int, options: Options) -> KernelFlow:
        """Return the flow, which is the same for all images."""
        return KernelFlow(
            n_layers=self.layers[-1],
            batch_size=min(200, n_points // 2),
            nugget=0.1,
            step="rms",
            step_size=0.02,
            n_halves=2,
            dtype="float32",
            random_state=seed,
            n_threads=options.n_threads,
        )


_FULL = _Effort()
_QUICK = _Effort(
    layers=(0, 20, 40, 60),
    draws=5,
    n_pictures=120,
    seen_pictures=(2, 5),
    splits=2,
    n_family=320,
    seen_family=(2, 16),
    overlaps=(0.0, 0.9),
    seen_overlaps=(8,),
    seeds=1,
)


@dataclass(frozen=True, eq=False)
class _Task:
    """Images of classes that are seen, and of new ones: those to draw from, and those to classify."""

    seen: tuple[Doubles, Rows]
    pool: tuple[Doubles, Rows]
    test: tuple[Doubles, Rows]


def _along(task: _Task, effort: _Effort, seed: int, options: Options) -> list[float]:
    """Return the error on the new classes after each number of layers."""
    X, y = task.seen
    flow = effort.flow(len(X), seed, options).fit(X.astype(np.float32), one_hot(y))
    both = (
        flow.trajectory(each.astype(np.float32), effort.layers, reduced=True)
        for each in (task.pool[0], task.test[0])
    )
    return [
        one_shot_error(
            pool,
            task.pool[1],
            test,
            task.test[1],
            flow.kernel_,
            effort.draws,
            np.random.default_rng(seed),
        )
        for pool, test in zip(*both, strict=True)
    ]


def _linear(task: _Task, ridge: float, effort: _Effort, seed: int, options: Options) -> float:
    """Return the error on the new classes after the linear map of the seen ones."""
    X, y = task.seen
    A = within_class_map(X, y, ridge)
    flow = effort.flow(len(X), seed, options).set_params(n_layers=0).fit(X @ A, one_hot(y))
    return one_shot_error(
        task.pool[0] @ A,
        task.pool[1],
        task.test[0] @ A,
        task.test[1],
        flow.kernel_,
        effort.draws,
        np.random.default_rng(seed),
    )


def run(options: Options) -> Report:
    """Return the report, of digits or, with a folder of data, of its images."""
    effort = _QUICK if options.quick else _FULL
    total = len(effort.seen_pictures) * effort.splits
    total += len(effort.seen_family) * effort.seeds
    total += len(effort.seen_overlaps) * len(effort.overlaps) * effort.seeds
    report = Report(
        "Does a flow learn how to learn? New classes from a single image each",
        "",
        options.command("unseen-classes"),
        settings={
            "flow": "Gaussian kernel, nugget 0.1, steps of 2 % (rms), at most "
            f"{effort.layers[-1]} layers",
            "manifolds": f"{_FAMILY}, {effort.n_family} images of the seen classes",
            "draws of single images": effort.draws,
        },
    )
    with options.steps(total, "flow") as done:
        pictures = _picture_numbers(effort, options, done)
        family = _family_numbers(effort, options, done)
        shared = _overlap_numbers(effort, options, done)
    _pictures(report, effort, pictures)
    _family(report, effort, family)
    _overlaps(report, effort, shared, pictures)
    report.numbers.update(pictures=pictures, family=family, shared=shared)
    gain = np.array(pictures["best_gain"][-1])
    few, many = family["flow"][0], family["flow"][-1]
    report.summary = (
        f"**A flow can learn how to learn, if it sees many classes that share what varies within them: of "
        f"manifolds with {100 * family['overlap']:.0f} % common directions, the error on {_N_NEW} new classes from one "
        f"image each falls from {spread(family['before'][-1], '.1f')} % without a flow to {spread(few, '.1f')} % after "
        f"{family['seen'][0]} classes and to {spread(many, '.1f')} % after {family['seen'][-1]}, with as many images; "
        f"on {pictures['name']} it stays where it was, {spread(pictures['before'][-1], '.1f')} %, with a gain of "
        f"{spread(100 * gain, '.1f')} points at best.** A flow that goes on until its own classes have collapsed takes "
        f"the new ones with it: {spread(pictures['end'][-1], '.1f')} % errors."
    )
    _claims(report, pictures, family, shared)
    return report


def _figure(columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    return figure, figure.subplots(1, columns, sharey=columns > 1)


def _add_line(ax: Any, x: Any, values: Doubles, text: str) -> None:
    """Draw the means of rows against x, with their standard deviations."""
    ax.errorbar(x, values.mean(axis=1), values.std(axis=1), marker="o", capsize=3, label=text)


def _load(options: Options) -> tuple[str, Doubles, Rows, Doubles, Rows]:
    """Return scaled images of ten classes for training and for testing."""
    name = "digits" if options.data_dir is None else "mnist"
    data = load_dataset(name, options.data_dir)
    told = "handwritten digits" if options.data_dir is None else "the images of the folder"
    every = 1 if options.data_dir is None else 10
    X, T = (
        (each / np.linalg.norm(each, axis=1, keepdims=True)).astype(np.float64)
        for each in (data.X_train[::every], data.X_test[::every])
    )
    y, t = (each[::every].astype(np.intp) for each in (data.y_train, data.y_test))
    return told, X, y, T, t


def _picture_numbers(effort: _Effort, options: Options, done: Any) -> dict[str, Any]:
    name, X, y, T, t = _load(options)
    errors = np.empty((2, len(effort.seen_pictures), effort.splits, len(effort.layers)))
    for j in range(effort.splits):
        rng = np.random.default_rng([options.seed, 1, j])
        order = rng.permutation(10)
        new, rest = order[:_N_NEW], order[_N_NEW:]
        for i, s in enumerate(effort.seen_pictures):
            some = effort.n_pictures // s
            rows = np.concatenate([np.flatnonzero(y == label)[:some] for label in rest[:s]])
            codes = np.searchsorted(np.sort(rest[:s]), y[rows]).astype(np.intp)
            # The images from which one of each class is drawn: for the seen ones those of the flow.
            groups = (np.isin(y, new), rows), (np.isin(t, new), np.isin(t, rest[:s]))
            for kind, (pool, test) in enumerate(zip(*groups, strict=True)):
                task = _Task((X[rows], codes), (X[pool], y[pool]), (T[test], t[test]))
                errors[kind, i, j] = _along(task, effort, options.seed + j, options)
            done()
    labels = np.unique(y)
    own = np.concatenate([np.flatnonzero(y == label)[: effort.n_pictures // 2] for label in labels])
    return {
        "name": name,
        "classes_seen": list(effort.seen_pictures),
        "layers": list(effort.layers),
        "unseen": errors[0],
        "seen": errors[1],
        "shared_variation": shared_variation(X[own], y[own]),
    }


def _pictures(report: Report, effort: _Effort, found: dict[str, Any]) -> None:
    """Add the section, and what is told of the curves to the numbers."""
    name, seen, unseen = found["name"], np.asarray(found["seen"]), np.asarray(found["unseen"])
    figure, axes = _figure(2)
    for ax, values, title in zip(
        axes, (seen, unseen), ("classes that were seen", f"{_N_NEW} new classes"), strict=True
    ):
        for i, s in enumerate(effort.seen_pictures):
            mean, deviation = 100 * values[i].mean(axis=0), 100 * values[i].std(axis=0)
            (line,) = ax.plot(effort.layers, mean, marker=".", label=f"{s} classes seen")
            ax.fill_between(
                effort.layers,
                mean - deviation,
                mean + deviation,
                alpha=0.15,
                color=line.get_color(),
            )
        ax.set(xlabel="layer n", title=title)
    axes[0].set_ylabel("error from one image each, %")
    axes[1].legend(fontsize=7)
    gains = unseen[:, :, :1] - unseen
    best = gains.mean(axis=1).argmax(axis=1)
    best_gain = [gains[i, :, n] for i, n in enumerate(best)]
    rows_told = [
        [
            s,
            spread(100 * seen[i, :, -1], ".1f"),
            spread(100 * unseen[i, :, 0], ".1f"),
            spread(100 * best_gain[i], ".1f"),
            effort.layers[best[i]],
            spread(100 * unseen[i, :, -1], ".1f"),
        ]
        for i, s in enumerate(effort.seen_pictures)
    ]
    report.section(
        f"New classes of {name}",
        f"A flow sees some classes, always {effort.n_pictures} images of all of them together. Then one "
        f"image of each of {_N_NEW} other classes is drawn, and test images of these are classified by "
        "interpolation with the learned kernel K_n. Of the number of layers that is best for the new classes, "
        "chosen afterwards, the gain is an upper bound of what an honest choice could reach.",
    ).figure(
        figure,
        "pictures",
        f"Errors from one image of each class, of classes that the flow has seen and of {_N_NEW} that it has "
        f"not: mean over {effort.splits} draws of the classes, and their standard deviation.",
    ).table(
        [
            "classes seen",
            "error on them, %",
            "on new ones before, %",
            "best gain, points",
            "at layer",
            f"after {effort.layers[-1]} layers, %",
        ],
        rows_told,
        f"Means ± standard deviations over {effort.splits} draws of the classes, each over {effort.draws} "
        "draws of the single images. The test images were looked at once for each entry of the curves.",
    )
    found.update(
        before=100 * unseen[:, :, 0],
        end=100 * unseen[:, :, -1],
        best_gain=best_gain,
    )


def _manifold_tasks(
    overlap: float, n_seen: int, effort: _Effort, seed: int
) -> tuple[tuple[_Task, _Task], float]:
    """Return tasks of the same seen classes, to choose by and to test, and how much classes share."""
    n_classes = max(*effort.seen_family, *effort.seen_overlaps) + 2 * _N_NEW
    manifolds = ImageManifolds(
        n_classes=n_classes, overlap=overlap, random_state=[seed, 1], **_FAMILY
    )
    per_class = max(effort.n_family // n_seen, 60)
    X, y = manifolds.draw(n_classes * per_class, [seed, 2])
    T, t = manifolds.draw(n_classes * 60, [seed, 3])
    part = effort.n_family // n_seen
    seen = np.concatenate(
        [np.flatnonzero(y == 2 * _N_NEW + label)[:part] for label in range(n_seen)]
    )
    codes = (y[seen] - 2 * _N_NEW).astype(np.intp)
    tasks = []
    for first in (0, _N_NEW):
        pool, test = ((each >= first) & (each < first + _N_NEW) for each in (y, t))
        tasks.append(_Task((X[seen], codes), (X[pool], y[pool]), (T[test], t[test])))
    return (tasks[0], tasks[1]), shared_variation(X[y < 2 * _N_NEW], y[y < 2 * _N_NEW])


@dataclass(frozen=True)
class _Found:
    """Errors on new classes in percent: before, with the layer and the ridge chosen on other new classes."""

    before: float
    flow: float
    layer: int
    linear: float
    shared: float


def _measured(overlap: float, n_seen: int, effort: _Effort, seed: int, options: Options) -> _Found:
    (choice, test), shared = _manifold_tasks(overlap, n_seen, effort, seed)
    chosen = int(np.argmin(_along(choice, effort, seed, options)))
    errors = _along(test, effort, seed, options)
    ridge = min(_RIDGES, key=lambda ridge: _linear(choice, ridge, effort, seed, options))
    linear = _linear(test, ridge, effort, seed, options)
    return _Found(
        100 * errors[0], 100 * errors[chosen], effort.layers[chosen], 100 * linear, shared
    )


def _family_numbers(effort: _Effort, options: Options, done: Any) -> dict[str, Any]:
    overlap = 0.9
    found: list[list[_Found]] = []
    for s in effort.seen_family:
        found.append([])
        for j in range(effort.seeds):
            found[-1].append(_measured(overlap, s, effort, options.seed + j, options))
            done()
    columns = {
        name: [[getattr(one, name) for one in row] for row in found]
        for name in ("before", "flow", "linear", "layer")
    }
    return {"overlap": overlap, "seen": list(effort.seen_family), **columns}


def _family(report: Report, effort: _Effort, columns: dict[str, Any]) -> None:
    overlap = columns["overlap"]
    figure, ax = _figure()
    texts = {"before": "no flow", "flow": "flow", "linear": "linear map"}
    for name, text in texts.items():
        _add_line(ax, effort.seen_family, np.array(columns[name]), text)
    ax.set(xscale="log", xlabel="classes seen", ylabel="error on new classes, %", ylim=0)
    ax.set_xticks(effort.seen_family, [str(s) for s in effort.seen_family], minor=False)
    ax.minorticks_off()
    ax.legend()
    report.section(
        "Many classes that a formula defines",
        f"Ten classes are few. `kflow.datasets.ImageManifolds` makes as many as are wanted, which share "
        f"{100 * overlap:.0f} % of the directions in which they vary. The flow sees {effort.n_family} images "
        "in any case, of few classes or of many. The number of layers, and the ridge of the linear map that "
        f"evens out what varies within the seen classes, are chosen on {_N_NEW} further classes that are "
        "neither seen nor tested.",
    ).figure(
        figure,
        "family",
        f"Errors on {_N_NEW} new classes from one image each against the number of classes seen, with the "
        "same number of images; means and standard deviations over seeds.",
    ).table(
        ["classes seen", "no flow, %", "flow, %", "layers", "linear map, %"],
        [
            [
                s,
                *(
                    spread(columns[name][i], ".1f")
                    for name in ("before", "flow", "layer", "linear")
                ),
            ]
            for i, s in enumerate(effort.seen_family)
        ],
        f"Means ± standard deviations over {effort.seeds} seeds, each with manifolds, images and a flow of "
        "its own.",
    )


def _overlap_numbers(effort: _Effort, options: Options, done: Any) -> dict[str, Any]:
    shape = (len(effort.seen_overlaps), len(effort.overlaps), effort.seeds)
    gains, linear, shared = np.empty((3, *shape))
    for place in np.ndindex(shape):
        i, j, k = place
        found = _measured(
            effort.overlaps[j], effort.seen_overlaps[i], effort, options.seed + 100 + k, options
        )
        gains[place] = 100 * (1.0 - found.flow / found.before)
        linear[place] = 100 * (1.0 - found.linear / found.before)
        shared[place] = 100 * found.shared
        done()
    return {
        "classes_seen": list(effort.seen_overlaps),
        "overlaps": list(effort.overlaps),
        "shared_variation": shared,
        "gain": gains,
        "linear_gain": linear,
    }


def _overlaps(
    report: Report, effort: _Effort, found: dict[str, Any], pictures: dict[str, Any]
) -> None:
    gains, linear, shared = (
        np.asarray(found[name]) for name in ("gain", "linear_gain", "shared_variation")
    )
    own = pictures["shared_variation"]
    figure, ax = _figure()
    kinds = [(gains[i], f"flow, {s} classes seen") for i, s in enumerate(effort.seen_overlaps)]
    kinds.append((linear[-1], f"linear map, {effort.seen_overlaps[-1]} classes seen"))
    for values, text in kinds:
        _add_line(ax, shared[-1].mean(axis=1), values, text)
    ax.axvline(100 * own, color="k", linestyle=":", label=pictures["name"])
    ax.axhline(0.0, color="0.7", linewidth=0.8)
    ax.set(
        xlabel=f"variation of a class along another's {N_SHARED} directions, %",
        ylabel="errors avoided on new classes, %",
    )
    ax.legend(fontsize=7)
    report.section(
        "What classes must share",
        "The same with manifolds that share more or fewer of their directions. How much two classes share "
        f"can be measured on any images: the variance of one along the {N_SHARED} leading principal "
        "directions of the other, over that along its own. For "
        f"{pictures['name']} it is {percent(own)}: no less than that of manifolds of which new ones gain. What "
        "such a number tells of a family with a formula it does not tell of images.",
    ).figure(
        figure,
        "shared",
        "The part of the errors on new classes that is avoided, against what classes share; means and "
        f"standard deviations over seeds. Dotted: what {pictures['name']} share.",
    ).table(
        ["overlap", "shared variation, %", *(f"avoided by the {text}, %" for _, text in kinds)],
        [
            [
                overlap,
                spread(shared[-1, j], ".1f"),
                *(spread(values[j], ".1f") for values, _ in kinds),
            ]
            for j, overlap in enumerate(effort.overlaps)
        ],
        f"Means ± standard deviations over {effort.seeds} seeds.",
    )


def _claims(
    report: Report, pictures: dict[str, Any], family: dict[str, Any], shared: dict[str, Any]
) -> None:
    claims = [
        Claim(
            "Maybe a child learns from millions of images how to learn a category from a single image "
            "(Hopcroft)",
            "-",
            f"manifolds: {spread(family['flow'][0], '.1f')} % errors after {family['seen'][0]} classes, "
            f"{spread(family['flow'][-1], '.1f')} % after {family['seen'][-1]}",
            "yes, if classes share what varies within them",
        ),
        Claim(
            f"The same for {pictures['name']}",
            "-",
            f"gain at best {spread(100 * np.array(pictures['best_gain'][0]), '.1f')} points after "
            f"{pictures['classes_seen'][0]} classes, "
            f"{spread(100 * np.array(pictures['best_gain'][-1]), '.1f')} after {pictures['classes_seen'][-1]}",
            "not to be seen with so few classes",
        ),
        Claim(
            "A flow that has collapsed its classes is best for a single image",
            "-",
            f"new classes: {spread(pictures['before'][-1], '.1f')} % before, {spread(pictures['end'][-1], '.1f')} % after",
            "for the seen classes only",
        ),
    ]
    add_claims(
        report,
        claims,
        "That the metric within classes passes on to new classes is Fisher's, and known. We know of no "
        "earlier measurement of it for kernel flows: the deformation passes on too, in the measure in which "
        f"classes share directions ({spread(shared['gain'][-1][-1], '.0f')} % of the errors are avoided where "
        f"{spread(shared['shared_variation'][-1][-1], '.0f')} % of the variation is shared, "
        f"{spread(shared['gain'][-1][0], '.0f')} % where "
        f"{spread(shared['shared_variation'][-1][0], '.0f')} % is), but the same flow must stop "
        "before it collapses, and the linear map passes on more.",
    )
