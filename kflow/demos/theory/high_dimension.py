"""High-dimensional space: how near each category is to every other, and what a flow makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles, Rows
from kflow.analysis import adversarial_distance, neighbour_dimension, unflowed
from kflow.datasets import SphereCategories, load_dataset, sphere_points
from kflow.demos import Options
from kflow.demos.report import Report, percent
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.sphere import (
    box_bound,
    cap_height,
    ceiling,
    mean_boundary_distance,
    mean_norm,
    slab_share,
)
from kflow.demos.theory.spread import spread
from kflow.estimators.classifier import KernelFlowClassifier
from kflow.layers.moments import mean_squared_distance
from kflow.presets import PRESETS

__all__ = ["run"]

# The categories of the deck, and those of which flows learn.
_K, _K_FLOW = 100, 10

_FLOW: dict[str, Any] = {
    "kernel": None,
    "metric": None,
    "n_layers": 100,
    "batch_size": 200,
    "nugget": 0.3,
    "step": "rms",
    "step_size": 0.02,
    "interpolation_nugget": 0.1,
    "scaling": None,
    "dtype": "float32",
}

# So many training points for each dimension, and as many more, keep the error about the same.
_PER_DIMENSION, _MORE = 20, 200


@dataclass(frozen=True)
class _Effort:
    """How much is computed, in the full and in the small form."""

    space: tuple[int, ...] = (10, 100, 1000, 10000)
    n_space: int = 1000
    dimensions: tuple[int, ...] = (100, 200, 500, 1000, 2000, 5000, 10000)
    n_distances: int = 200
    flows: tuple[int, ...] = (10, 20, 40, 80)
    seeds: int = 3
    n_test: int = 600
    attack: int = 30
    pixels: tuple[int, ...] = (10, 100, 1000)
    digits: dict[str, Any] | None = None


_FULL = _Effort()
_QUICK = _Effort(
    space=(10, 1000),
    n_space=500,
    dimensions=(100, 1000),
    n_distances=30,
    flows=(10, 20),
    seeds=1,
    n_test=300,
    attack=10,
    pixels=(10, 20),
    digits={"n_layers": 40, "nugget": 1.0, "step": "rms", "step_size": 0.02},
)


# ---- the report ---------------------------------------------------------------------------------


def run(options: Options) -> Report:
    """Return the report."""
    effort = _QUICK if options.quick else _FULL
    report = Report(
        "Is fooling the fault of high-dimensional space, or of the learned kernel?",
        "",
        options.command("high-dimension"),
        settings={
            "flows": f"{_K_FLOW} categories, {_PER_DIMENSION} d + {_MORE} points, {_FLOW}",
            "seeds": effort.seeds,
        },
    )
    space = _space(report, effort, options)
    near = _categories(report, effort, options)
    flows = _flow_numbers(effort, options)
    _flows(report, effort, flows)
    pixels = _pixel_numbers(effort, options)
    _pixels(report, effort, pixels)
    digits = _digit_numbers(effort, options)
    _digits(report, digits)
    report.numbers.update(space=space, categories=near, flows=flows, pixels=pixels, digits=digits)
    d = flows["dimensions"][-1]
    ratio = flows["ratio_after"][-1]
    report.summary = (
        f"**On the sphere, fooling is the fault of the space: at {d} dimensions the flow can be fooled by "
        f"{spread(ratio)} times what separates the true categories themselves, and by "
        f"{spread(flows['ratio_before'][-1])} times that before the flow.** The error was "
        f"{spread(100 * np.asarray(flows['error_after']), '.1f')} % over all dimensions and seeds. The true "
        "distances shrink like one over the root of d, and an isoperimetric inequality says that those of "
        "no classifier with equally frequent answers can do otherwise; what counts is the number of "
        "dimensions in which the points vary, not the number of pixels. Images leave room between their "
        f"classes: on digits the flow's distance is {digits['after'] / digits['ceiling']:.1f} times the "
        "ceiling of a sphere of their dimension, so that the space does not excuse it."
    )
    _claims(report, space, near, flows, pixels)
    return report


def _figure(width: float = 7.0, height: float = 3.4, columns: int = 1) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _space(report: Report, effort: _Effort, options: Options) -> dict[str, Any]:
    rng = np.random.default_rng([options.seed, 1])
    rows, found = [], []
    for d in effort.space:
        X = sphere_points(effort.n_space, d, rng)
        radius = rng.uniform(size=effort.n_space) ** (1.0 / d)
        width, slab, box = 3.0 / d, 2.0 / math.sqrt(d), 2.0 * math.sqrt(math.log(d) / d)
        measured = [
            float((radius > 1.0 - width).mean()),
            float((np.abs(X[:, 0]) < slab).mean()),
            float((np.abs(X).max(axis=1) < box).mean()),
        ]
        theory = [1.0 - (1.0 - width) ** d, slab_share(slab, d), box_bound(box, d)]
        found.append({"d": d, "theory": theory, "measured": measured, "box": box})
        cells = [f"{100 * t:.2f} / {100 * m:.1f}" for t, m in zip(theory, measured, strict=True)]
        cells[2] = "\u2265 " + cells[2]
        rows.append([d, *cells, f"{box:.3f}"])
    report.section(
        "Where the volume is",
        "The share of the unit ball within 3/d of its surface is 1 - (1 - 3/d)^d. The square of a coordinate "
        "of a random point on the sphere is beta distributed with the parameters 1/2 and (d - 1)/2, which "
        "gives the share within 2/√d of the equator; every equator, as no direction is special. A point "
        "outside the box has one coordinate beyond it, so that the box misses d times one coordinate's share "
        "at most. The box is small in that its half side, 2 √(log d / d), falls to 0.",
    ).table(
        [
            "d",
            "near the surface, %",
            "near the equator, %",
            "in the box, %",
            "half side of the box",
        ],
        rows,
        f"Theory / measured on {effort.n_space} random points.",
    )
    return {"rows": found}


def _categories(report: Report, effort: _Effort, options: Options) -> dict[str, Any]:
    rng = np.random.default_rng([options.seed, 2])
    plain = rng.normal(size=(20 * effort.n_distances, _K))
    constants = _others(SphereCategories.by_coordinate(_K, _K), plain)
    far_factor, all_factor = constants.max(axis=1).mean(), constants.mean()
    names = ("nearest", "average", "farthest")
    measured, theory, random, tops = [], [], [], []
    for d in effort.dimensions:
        X = sphere_points(effort.n_distances, d, rng)
        others = _others(SphereCategories.by_coordinate(_K, d), X)
        measured.append([others.min(axis=1).mean(), others.mean(), others.max(axis=1).mean()])
        size = mean_norm(d)
        theory.append([mean_boundary_distance(_K, d), all_factor / size, far_factor / size])
        random.append(SphereCategories.at_random(_K, d, rng).boundary_distances(X).mean())
        tops.append(cap_height(1.0 / _K, d))
    figure, ax = _figure()
    for i, name in enumerate(names):
        (line,) = ax.loglog(effort.dimensions, np.array(theory)[:, i], label=f"{name}, theory")
        ax.plot(effort.dimensions, np.array(measured)[:, i], "o", color=line.get_color())
    ax.plot(effort.dimensions, random, "x", color="C0", label="nearest, for random centres")
    ax.plot(effort.dimensions, tops, "k--", label="most that half of the points may have")
    ax.axhline(math.sqrt(2.0), color="0.6", label="distance of two random points")
    ax.set(xlabel="dimension d", ylabel=f"distance to one of {_K - 1} other categories")
    ax.legend(fontsize=7)
    rows = [
        [d, *(f"{t:.4f} / {m:.4f}" for t, m in zip(ts, ms, strict=True)), f"{r:.4f}", f"{top:.4f}"]
        for d, ts, ms, r, top in zip(effort.dimensions, theory, measured, random, tops, strict=True)
    ]
    report.section(
        f"A partition of the sphere into {_K} categories",
        f"The category of a point is the largest of its first {_K} coordinates. To reach category j, raise "
        "that coordinate and lower those above it to a common level. A point on the sphere is a normally "
        "distributed point over its norm, so every mean distance is a constant over the mean norm, which is "
        f"nearly √d: for the nearest category the mean gap between the largest two of {_K} normal numbers "
        f"over √2, {mean_boundary_distance(_K, 1) * mean_norm(1):.3f}; for the average and the farthest one "
        f"{all_factor:.2f} and {far_factor:.2f}, simulated with {_K} normal numbers. No partition could "
        "avoid that: by Lévy's isoperimetric inequality half of the sphere is nearer to any set with the "
        "share 1/100 than to a cap of that share.",
    ).figure(
        figure,
        "categories",
        "Mean distance of a random point from the other categories: lines in theory, dots measured. The "
        "dashed line is the largest distance from a category of the share 1/100 that half of the points can "
        "have in any partition.",
    ).table(
        ["d", "nearest", "average", "farthest", "nearest, random centres", "any partition"],
        rows,
        f"Mean distances to other categories, theory / measured at {effort.n_distances} points; with "
        f"{_K} random centres for the coordinates; and the ceiling for half of the points in any partition.",
    )
    return {
        "dimensions": list(effort.dimensions),
        "names": names,
        "theory": theory,
        "measured": measured,
        "random": random,
        "ceiling": tops,
    }


def _others(categories: SphereCategories, X: Doubles) -> Doubles:
    """Return the distances of points from all categories but their own, (n, k - 1)."""
    distances = categories.distances(X)
    k = distances.shape[1]
    is_other = np.arange(k) != categories.labels(X)[:, None]
    others: Doubles = distances[is_other].reshape(-1, k - 1)
    return others


def _fitted(X: Doubles, y: Rows, seed: int, options: Options) -> list[Any]:
    """Return the classifiers without layers and with them."""
    classifier = KernelFlowClassifier(**_FLOW, random_state=seed, n_threads=options.n_threads)
    classifier.fit(X, y)
    return [unflowed(classifier, X, y), classifier]


def _flow_numbers(effort: _Effort, options: Options) -> dict[str, Any]:
    """Return errors and adversarial distances before and after flows, (n_dimensions, n_seeds)."""
    shape = (len(effort.flows), effort.seeds)
    error, moved, ratio = (np.empty((2, *shape)) for _ in range(3))
    own_median = np.empty(shape)
    with options.steps(error[0].size, "flow") as done:
        for i, d in enumerate(effort.flows):
            categories = SphereCategories.by_coordinate(_K_FLOW, d)
            for j in range(effort.seeds):
                rng = np.random.default_rng([options.seed, 3, d, j])
                X = sphere_points(_PER_DIMENSION * d + _MORE, d, rng)
                T = sphere_points(effort.n_test, d, rng)
                truth, own = categories.labels(T), categories.boundary_distances(T)
                own_median[i, j] = np.median(own)
                models = _fitted(X, categories.labels(X), options.seed + j, options)
                for kind, model in enumerate(models):
                    found = adversarial_distance(
                        model, T, max_points=effort.attack, n_candidates=5, random_state=j
                    )
                    right = found.labels == truth[found.rows]
                    error[kind, i, j] = np.mean(model.predict(T) != truth)
                    moved[kind, i, j] = np.median(found.distances)
                    ratio[kind, i, j] = np.median((found.distances / own[found.rows])[right])
                done()
    return {
        "dimensions": list(effort.flows),
        "error_before": error[0],
        "error_after": error[1],
        "distance_before": moved[0],
        "distance_after": moved[1],
        "true_distance": own_median,
        "ceiling": [ceiling(_K_FLOW, d) for d in effort.flows],
        "ratio_before": ratio[0],
        "ratio_after": ratio[1],
    }


def _flows(report: Report, effort: _Effort, found: dict[str, Any]) -> None:
    kinds = ("before", "after")
    error, moved, ratio = (
        np.array([found[f"{name}_{kind}"] for kind in kinds])
        for name in ("error", "distance", "ratio")
    )
    own_median, tops = np.asarray(found["true_distance"]), found["ceiling"]
    figure, (left, right_ax) = _figure(7.4, 3.4, 2)
    for kind, name in enumerate(kinds):
        style = {"marker": "o", "capsize": 3, "label": f"{name} the flow"}
        left.errorbar(effort.flows, moved[kind].mean(axis=1), moved[kind].std(axis=1), **style)
        right_ax.errorbar(effort.flows, ratio[kind].mean(axis=1), ratio[kind].std(axis=1), **style)
    left.plot(effort.flows, own_median.mean(axis=1), "k:", label="true categories")
    left.plot(effort.flows, tops, "k--", label="most that any classifier can have")
    left.set_yticks([0.03, 0.05, 0.1], ["0.03", "0.05", "0.1"])
    left.set(
        xscale="log", yscale="log", xlabel="dimension d", ylabel="median distance to a new class"
    )
    right_ax.axhline(1.0, color="k", linestyle=":")
    right_ax.set(
        xscale="log", xlabel="dimension d", ylabel="distance over the true categories'", ylim=0
    )
    for ax in (left, right_ax):
        ax.set_xticks(effort.flows, [str(d) for d in effort.flows])
        ax.minorticks_off()
        ax.legend(fontsize=7)
    rows = [
        [
            d,
            *(spread(100 * error[kind, i], ".1f") for kind in range(2)),
            *(spread(moved[kind, i], ".3f") for kind in range(2)),
            f"{own_median[i].mean():.3f}",
            f"{tops[i]:.3f}",
            *(spread(ratio[kind, i]) for kind in range(2)),
        ]
        for i, d in enumerate(effort.flows)
    ]
    report.section(
        "How far a point must move to fool a flow, as d grows",
        f"Flows learn {_K_FLOW} such categories from {_PER_DIMENSION} d + {_MORE} points, which keeps the "
        "error about the same. The adversarial distance is the shortest way found to another predicted "
        "class. Beside it stands the distance to the true boundary, which is known for every point, and the "
        f"ceiling: of all classifiers with {_K_FLOW} equally frequent answers none can have a larger median "
        "on the sphere, as caps have the least edge. Norms are 1, so that distances are parts of the norm.",
    ).figure(
        figure,
        "flows",
        "Left: the median adversarial distance, that of the true categories, and the ceiling of all "
        "classifiers. Right: adversarial distance over the distance to the true boundary, median over points "
        "that are classified rightly; bars are standard deviations over seeds.",
    ).table(
        [
            "d",
            "error before, %",
            "after, %",
            "distance before",
            "after",
            "true categories",
            "ceiling",
            "ratio before",
            "after",
        ],
        rows,
        f"Means ± standard deviations over {effort.seeds} seeds; {effort.n_test} test points, of which "
        f"{effort.attack} are perturbed. The test points were looked at once, at the end.",
    )


def _pixel_numbers(effort: _Effort, options: Options) -> dict[str, Any]:
    """Turn points of the first dimension into more pixels by an orthogonal map."""
    d = effort.flows[0]
    categories = SphereCategories.by_coordinate(_K_FLOW, d)
    rng = np.random.default_rng([options.seed, 4])
    X = sphere_points(_PER_DIMENSION * d + _MORE, d, rng)
    T = sphere_points(effort.n_test, d, rng)
    errors, distances = [], []
    for pixels in effort.pixels:
        turn = np.linalg.qr(rng.normal(size=(pixels, d)))[0].T
        _, model = _fitted(X @ turn, categories.labels(X), options.seed, options)
        found = adversarial_distance(model, T @ turn, max_points=effort.attack, random_state=0)
        errors.append(float(np.mean(model.predict(T @ turn) != categories.labels(T))))
        distances.append(float(np.median(found.distances)))
    return {"pixels": list(effort.pixels), "errors": errors, "distances": distances}


def _pixels(report: Report, effort: _Effort, found: dict[str, Any]) -> None:
    d = effort.flows[0]
    report.section(
        "Pixels are not dimensions",
        f"The same points of the sphere in {d} dimensions, turned into more and more pixels by an orthogonal "
        "map. A flow moves points within the span of its training points and commutes with such maps: neither "
        "error nor adversarial distance depends on the number of pixels.",
    ).table(
        ["pixels", "dimension of the points", "error", "median adversarial distance"],
        [
            [pixels, d, percent(error), f"{distance:.4f}"]
            for pixels, error, distance in zip(
                found["pixels"], found["errors"], found["distances"], strict=True
            )
        ],
        "Differences are rounding errors of single precision.",
    )


def _digit_numbers(effort: _Effort, options: Options) -> dict[str, Any]:
    """Measure handwritten digits as if they lay on a sphere of their own dimension."""
    data = load_dataset("digits")
    settings = {**PRESETS["digits"], **(effort.digits or {})}
    classifier = KernelFlowClassifier(
        **settings, random_state=options.seed, n_threads=options.n_threads
    ).fit(data.X_train, data.y_train)
    before = unflowed(classifier, data.X_train, data.y_train)
    scaled = data.X_train / np.linalg.norm(data.X_train, axis=1, keepdims=True)
    radius = math.sqrt(0.5 * mean_squared_distance(scaled))
    dimension = neighbour_dimension(scaled)
    top = ceiling(_K_FLOW, max(2, round(dimension)))
    found = {
        name: adversarial_distance(
            model, data.X_test, max_points=2 * effort.attack, n_candidates=5, random_state=0
        )
        for name, model in (("before", before), ("after", classifier))
    }
    medians = {name: float(np.median(each.distances)) / radius for name, each in found.items()}
    return {"dimension": dimension, "ceiling": top, **medians}


def _digits(report: Report, found: dict[str, Any]) -> None:
    top = found["ceiling"]
    medians = {name: found[name] for name in ("before", "after")}
    report.section(
        "And images?",
        "Of handwritten digits the true boundary is not known, and they lie on no sphere. But their number "
        f"of dimensions can be measured: {found['dimension']:.1f} by nearest neighbours, in 64 pixels. On a sphere "
        f"of that dimension the ceiling for {_K_FLOW} classes would be {top:.2f} radii.",
    ).table(
        ["", "median adversarial distance, in radii", "part of the ceiling"],
        [[f"{name} the flow", f"{m:.3f}", f"{m / top:.2f}"] for name, m in medians.items()],
        "Digits: the radius is the root mean squared distance from the mean. A part above 1 says that digits "
        "are not spread evenly over such a sphere: their classes have room between them, which is no matter "
        "of the sphere's theorem.",
    )


def _claims(
    report: Report,
    space: dict[str, Any],
    near: dict[str, Any],
    flows: dict[str, Any],
    pixels: dict[str, Any],
) -> None:
    last = space["rows"][-1]
    d, top = near["dimensions"][-1], flows["dimensions"][-1]
    slopes = [
        np.polyfit(np.log(flows["dimensions"]), np.log(column), 1)[0]
        for column in np.asarray(flows["distance_after"]).T
    ]
    ratios = flows["ratio_after"]
    own_slope = np.polyfit(
        np.log(flows["dimensions"]), np.log(np.mean(flows["true_distance"], axis=1)), 1
    )[0]
    shares = np.mean(flows["distance_after"], axis=1) / flows["ceiling"]
    claims = [
        Claim(
            "Nearly all volume lies in an annulus, near every equator, in a small box (Hopcroft)",
            ", ".join(f"{100 * value:.1f} %" for value in last["theory"]),
            ", ".join(f"{100 * value:.1f} %" for value in last["measured"])
            + f" at d = {last['d']}",
            "yes",
        ),
        Claim(
            f"The sphere can be divided into {_K} categories such that a point of one is very close to each "
            "of the others (Hopcroft)",
            f"farthest {near['theory'][-1][2]:.4f}",
            f"farthest {near['measured'][-1][2]:.4f}, of a distance 1.41 between points, at d = {d}",
            "yes, and no division into equal parts can avoid it",
        ),
        Claim(
            "Fooling may be a fundamental issue in high-dimensional space (Hopcroft)",
            "ratio 1, exponent -0.5",
            f"the flow's distance is {spread(ratios[-1])} times that of the true categories at d = {top}; "
            f"exponent of d {spread(slopes)}, where that of the true categories is {own_slope:.2f}",
            "yes, where data fill the space",
        ),
        Claim(
            "More pixels make a model easier to fool",
            "no effect",
            f"largest change {100 * np.ptp(pixels['distances']) / pixels['distances'][0]:.2f} %",
            "no",
        ),
    ]
    add_claims(
        report,
        claims,
        "That adversarial examples are unavoidable on a sphere at a given error is known (Gilmer et al., "
        "Adversarial Spheres, 2018; Shafahi et al., Are adversarial examples inevitable?, 2019). New, as far "
        "as we know, is the comparison of a learned kernel with the true boundary and with the ceiling of "
        "all classifiers: the flow's median distance is "
        f"{shares.min():.2f} to {shares.max():.2f} times the ceiling. More than 1 is possible, as the attack "
        "finds upper bounds, a median of few points is not exact, and the flow's answers are not equally "
        "frequent.",
    )
