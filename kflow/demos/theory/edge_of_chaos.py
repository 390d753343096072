"""Do flows work best at the edge of chaos? Singular values, angles, and the error held out."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles
from kflow._base.workers import Workers
from kflow.analysis import singular_values
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.digit_points import DigitPoints, digit_points
from kflow.demos.theory.edge_scan import (
    BATCH,
    DIMENSION,
    Scanned,
    ScanSizes,
    as_good,
    before,
    groups_of,
    rank_correlation,
    scan_one,
    scanned_flow,
    show_scan,
)
from kflow.demos.theory.random_layers import (
    exponents,
    mean_distances,
    random_distances,
    theoretical_exponents,
)
from kflow.demos.theory.spread import percents
from kflow.engine.threads import resolve_n_threads
from kflow.kernels import Gaussian
from kflow.plotting.axes import axes_of
from kflow.plotting.colours import MARKERS, PALETTE

__all__ = ["run"]

_FULL = ScanSizes(
    400,
    600,
    150,
    8,
    (0.001, 0.01, 0.1, 1.0, 10.0),
    (0.003, 0.01, 0.03, 0.1),
    12,
    2000,
    (1, 2, 3, 5),
)


_QUICK = ScanSizes(200, 400, 60, 2, (0.01, 1.0), (0.003, 0.02, 0.1), 6, 300, (1, 2, 3))


# The step of random layers, as a part of the length scale, and of pairs whose angle is followed.
_RANDOM_STEP, _PAIR_STEP = 0.1, 0.02


# Gain exponents that are this close to 0 keep signals at about their size.
_AT_MOST = 0.7

# The flows whose singular values and angles are shown: nugget and step.
_SHOWN = {
    "small nugget, small steps": (0.01, 0.01),
    "large nugget, small steps": (1.0, 0.01),
    "small nugget, large steps": (0.01, 0.1),
}


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are fewer points, layers and settings.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are exponents and errors for each nugget and step.
    """
    sizes = _QUICK if options.quick else _FULL
    data = digit_points(DIMENSION)
    jobs = [
        (nugget, step, seed)
        for nugget in sizes.nuggets
        for step in sizes.steps
        for seed in range(sizes.n_seeds)
    ]
    with (
        options.steps(len(jobs) + 2, "flow") as done,
        Workers(resolve_n_threads(options.n_threads)) as workers,
    ):
        random = _random(sizes, options)
        done()
        shown = {name: _along(data, sizes, options, *where) for name, where in _SHOWN.items()}
        done()
        results = []
        for found in workers.map(lambda job: scan_one(data, sizes, options, *job), jobs):
            results.append(found)
            done()
    shape = (len(sizes.nuggets), len(sizes.steps), sizes.n_seeds)
    scanned = Scanned(*np.array(results).T.reshape(-1, *shape))
    return _told(options, sizes, data, random, shown, scanned)


def _random(sizes: ScanSizes, options: Options) -> dict[str, Any]:
    """Measure exponents of layers that are drawn at random, and how far they carry pairs apart."""
    measured = {
        d: exponents(d, _RANDOM_STEP, sizes.random_layers, [options.seed, d])
        for d in sizes.dimensions
    }
    starts = np.array([0.1, 0.5, 1.5])
    layers = np.linspace(0, 200, 9).round().astype(int)
    return {
        "dimensions": list(measured),
        "exponents": [found for found, _ in measured.values()],
        "standard_errors": [error for _, error in measured.values()],
        "theory": [theoretical_exponents(d) for d in measured],
        "layers": layers,
        "starts": starts,
        "distances": random_distances(DIMENSION, _PAIR_STEP, starts, layers, [options.seed]),
        "mean_field": mean_distances(DIMENSION, _PAIR_STEP, starts, layers),
    }


def _along(
    data: DigitPoints, sizes: ScanSizes, options: Options, nugget: float, step: float
) -> dict[str, Any]:
    """Return singular values and cosines along one flow, at points that were held out."""
    flow, _, held_out = scanned_flow(data, sizes, options, nugget, step, 0)
    layers = np.unique(np.linspace(0, sizes.n_layers, 9).round().astype(int))
    X, y = data.X[held_out], data.y[held_out]
    found = singular_values(flow, X, layers=layers, max_points=sizes.n_local)
    same, other = [], []
    is_same = (y[:, None] == y) & ~np.eye(len(y), dtype=bool)
    for points in flow.trajectory(X, layers):
        cosines = flow.kernel_(points, n_threads=1)
        same.append(cosines[is_same].mean())
        other.append(cosines[y[:, None] != y].mean())
    return {
        "layers": layers,
        "values": np.quantile(found.values.mean(axis=1), [0.0, 0.25, 0.5, 0.75, 1.0], axis=1),
        "mean_exponent": found.mean_exponent,
        "gain_exponent": found.gain_exponent,
        "same": np.array(same),
        "other": np.array(other),
    }


def _told(
    options: Options,
    sizes: ScanSizes,
    data: DigitPoints,
    random: dict[str, Any],
    shown: dict[str, dict[str, Any]],
    scanned: Scanned,
) -> Report:
    mean_error = np.nanmean(scanned.one_shot, axis=2)
    best = np.unravel_index(np.nanargmin(mean_error), mean_error.shape)
    nugget, step = sizes.nuggets[best[0]], sizes.steps[best[1]]
    gains, means = np.nanmean(scanned.gain, axis=2), np.nanmean(scanned.mean, axis=2)
    correlations = {
        measure: {
            name: rank_correlation(getattr(scanned, measure), errors)
            for name, errors in (("all points", scanned.error), ("10 points", scanned.one_shot))
        }
        for measure in ("mean", "gain", "isometry")
    }
    groups = groups_of(scanned)
    good = as_good(scanned, best)
    plain = before(data, sizes, options)
    report = Report(
        "Do flows work best at the edge of chaos?",
        f"{_answer(gains[good])} Of {mean_error.size} settings of nugget and step, "
        f"{good.sum()} cannot be "
        "told from the best by the held-out error of ten centres. Their gain exponents are "
        f"{_range(gains[good])} and their mean exponents {_range(means[good])} after "
        f"{sizes.n_layers} layers; those of all reach {_range(gains)} and {_range(means)}. From all "
        f"points, the plain kernel has {percents(plain[0])} errors, flows at the edge have "
        f"{percents(groups['edge']['error'])}, those whose "
        f"volumes vanish {percents(groups['vanish']['error'])}, and those whose signals explode "
        f"{percents(groups['explode']['error'])}. Layers drawn at random from the kernel have "
        "their edge in two dimensions, whatever the step.",
        options.command("edge-of-chaos"),
    )
    report.settings.update(
        {
            "data": f"{sizes.n_points} images of digits in {DIMENSION} coordinates, "
            f"{sizes.n_held_out} others held out, drawn {sizes.n_seeds} times; 449 test images",
            "flow": f"{sizes.n_layers} layers, batches of {BATCH}, 2 halves, step rule rms",
            "derivatives": f"at {sizes.n_local} of the images held out, in all {DIMENSION} directions",
            "test images": "looked at once, for the setting that is best on the images held out: "
            f"nugget {nugget:g}, step {step:g}, {percents(scanned.test_error[best])} errors "
            f"from all points and {percents(scanned.test_one_shot[best])} from ten",
            "seed": options.seed,
        }
    )
    report.numbers.update(
        random_layers=random,
        flows=shown,
        nuggets=list(sizes.nuggets),
        steps=list(sizes.steps),
        scan={
            name: getattr(scanned, name)
            for name in ("error", "one_shot", "mean", "gain", "isometry")
        },
        best={
            "nugget": nugget,
            "step": step,
            "test_error": scanned.test_error[best],
            "test_one_shot": scanned.test_one_shot[best],
            "mean": scanned.mean[best],
            "gain": scanned.gain[best],
        },
        rank_correlations=correlations,
        groups=groups,
        as_good=good,
        plain_kernel=plain,
    )
    _show_random(report, random, sizes)
    _show_along(report, shown, sizes)
    show_scan(report, sizes, scanned, plain, correlations, groups)
    _claim(report, random, shown, gains[good], means[good], correlations, groups)
    return report


def _answer(gains: Doubles) -> str:
    low, high = gains.min() >= -_AT_MOST, gains.max() <= _AT_MOST
    if low and high:
        return (
            "**Nearly: the flows that generalise best keep signals at about their size, but a flow that "
            "does nothing is at the edge, too.**"
        )
    if high:
        return (
            "**Half: signals must not explode, but flows that let them vanish generalise about as well "
            "as flows at the edge, and a flow that does nothing is at the edge, too.**"
        )
    return "**No: flows at the edge generalise no better than others that have learned.**"


def _range(values: Doubles) -> str:
    return f"from {np.nanmin(values):.2f} to {np.nanmax(values):.2f}"


def _show_random(report: Report, found: dict[str, Any], sizes: ScanSizes) -> None:
    figure = Figure(figsize=(7.0, 3.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    axes_of(left, "exponent k", r"exponent / $(\epsilon / l)^2$")
    for number, (d, measured, theory) in enumerate(
        zip(found["dimensions"], found["exponents"], found["theory"], strict=True)
    ):
        k = np.arange(1, d + 1)
        left.plot(k, theory, color=PALETTE[number], linewidth=1.0)
        left.plot(
            k,
            measured,
            color=PALETTE[number],
            marker=MARKERS[number],
            linestyle="",
            label=f"d = {d}",
        )
    left.axhline(0.0, color="#999999", linewidth=0.8)
    left.legend(frameon=False, fontsize=8)
    axes_of(right, "layers", "mean cosine of the angle")
    kernel = Gaussian(1.0)
    for number, start in enumerate(found["starts"]):
        right.plot(
            found["layers"],
            kernel.value_at(found["mean_field"][number]),
            color=PALETTE[number],
            linewidth=1.0,
        )
        right.plot(
            found["layers"],
            kernel.value_at(found["distances"][number]),
            color=PALETTE[number],
            marker=MARKERS[number],
            linestyle="",
            label=f"{start:g} l apart at first",
        )
    right.legend(frameon=False, fontsize=8)
    rows = [
        [
            d,
            ", ".join(f"{v:.2f} ± {e:.2f}" for v, e in zip(measured, errors, strict=True)),
            ", ".join(f"{v:g}" for v in theory),
        ]
        for d, measured, errors, theory in zip(
            *(found[name] for name in ("dimensions", "exponents", "standard_errors", "theory")),
            strict=True,
        )
    ]
    report.section(
        "Random layers: what theory says",
        "Poole, Pennington and others ask what a network does whose weights are drawn at random. The "
        "random layer of a kernel is x + ε G(x), where each coordinate of G is drawn from the Gaussian "
        "process of the kernel. The derivative of G has independent normal entries of "
        "variance 1/l², so "
        "that a small difference u becomes u + (ε/l) A u. To second order the mean of log |u| grows by "
        "(ε/l)² (d - 2)/2 in each layer, and the k-th Lyapunov exponent is\n\n"
        "```\n"
        "λₖ = (ε/l)² (d − 2k)/2,    k = 1, ..., d\n"
        "```\n\n"
        "as of isotropic Brownian flows (Le Jan; Baxendale and Harris). So the edge of chaos is not a "
        "matter of the step: typical signals explode in more than two dimensions, vanish in "
        "one, and are "
        "at the edge in two. Two points a distance r apart are, by the mean field, at "
        "r² + 2 d ε² (1 - k(r)) after a layer. As k is the cosine of the angle between them "
        "in the kernel's feature space, "
        "this is a map of angles, the same for all pairs: all become orthogonal.",
    ).figure(
        figure,
        "random",
        f"Left: Lyapunov exponents of {sizes.random_layers} random layers (marks) and theory (lines). "
        f"Right: the cosine k(r) for the mean distance r of pairs in {DIMENSION} dimensions, measured "
        "(marks) and by the mean field (lines).",
    ).table(
        ["d", "exponents measured", "theory"],
        rows,
        "Lyapunov exponents of random layers, over (ε/l)²: mean ± standard error over 64 points.",
    )


def _show_along(report: Report, shown: dict[str, dict[str, Any]], sizes: ScanSizes) -> None:
    figure = Figure(figsize=(7.4, 4.6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey="row")
    for column, (name, found) in enumerate(shown.items()):
        top, bottom = axes[:, column]
        axes_of(top, "", "singular values" if column == 0 else "")
        low, quarter, middle, three, high = np.maximum(found["values"], 1e-6)
        top.fill_between(found["layers"], low, high, color=PALETTE[0], alpha=0.2, linewidth=0)
        top.fill_between(found["layers"], quarter, three, color=PALETTE[0], alpha=0.3, linewidth=0)
        top.plot(found["layers"], middle, color=PALETTE[0])
        top.axhline(1.0, color="#999999", linewidth=0.8)
        top.set_yscale("log")
        top.set_title(name, fontsize=9)
        axes_of(bottom, "layers", "mean cosine" if column == 0 else "")
        bottom.plot(
            found["layers"], found["same"], color=PALETTE[2], marker="o", label="same class"
        )
        bottom.plot(found["layers"], found["other"], color=PALETTE[1], marker="s", label="others")
        bottom.set_ylim(-0.03, 1.03)
    axes[1, 0].legend(frameon=False, fontsize=8)
    rows = [
        [
            name,
            *_SHOWN[name],
            float(found["mean_exponent"][-1]),
            float(found["gain_exponent"][-1]),
            *(f"{found[key][0]:.2f} to {found[key][-1]:.2f}" for key in ("same", "other")),
        ]
        for name, found in shown.items()
    ]
    report.section(
        "Flows that learned: singular values and angles",
        "The singular values of the derivative of F_n say what becomes of small signals. Their mean "
        "logarithm is the *mean exponent*, that of volumes; half the logarithm of their mean square is "
        "the *gain exponent*, which is 0 at Pennington's edge of chaos. The angle is that in the "
        "kernel's feature space, whose cosine is K_n(x, x'). In a random network all pairs share one "
        "fate. Those of a flow do not: images of one class, which it has not seen, come together as "
        "in order, and those of others become orthogonal as in chaos.",
    ).figure(
        figure,
        "along",
        f"Above: singular values of the derivative of F_n, the middle half and the range of the "
        f"{DIMENSION} means over {sizes.n_local} held-out images. Below: mean cosine of pairs "
        "of held-out images.",
    ).table(
        ["flow", "nugget", "step", "mean exponent", "gain exponent", "same class", "others"],
        rows,
        f"Exponents after {sizes.n_layers} layers, and the mean cosines before and after.",
    )


def _claim(
    report: Report,
    random: dict[str, Any],
    shown: dict[str, dict[str, Any]],
    gains: Doubles,
    means: Doubles,
    correlations: dict[str, dict[str, float]],
    groups: dict[str, dict[str, Any]],
) -> None:
    first = next(iter(shown.values()))
    off = max(
        float(np.abs(np.asarray(measured) - theory).max())
        for measured, theory in zip(random["exponents"], random["theory"], strict=True)
    )
    errors = np.asarray(random["distances"]) / random["mean_field"] - 1.0
    group = {name: percents(one["error"]) for name, one in groups.items()}
    add_claims(
        report,
        [
            Claim(
                "Random layers have an edge of chaos (Poole; Pennington), here in two dimensions",
                "exponents (d - 2k)/2 (ε/l)²",
                f"off by {off:.2f} (ε/l)² at most, for d = {', '.join(map(str, random['dimensions']))}",
                "yes, at a dimension and not at a step",
            ),
            Claim(
                "The angle of two points follows a map that is the same for all pairs (Poole)",
                "mean field: r² + 2 d ε² (1 - k(r))",
                f"random layers: distances within {100 * np.abs(errors).max():.1f} %; learned: cosines "
                f"{first['same'][0]:.2f} to {first['same'][-1]:.2f} in a class, "
                f"{first['other'][0]:.2f} to {first['other'][-1]:.2f} between",
                "of random layers; learned ones have order within classes and chaos between",
            ),
            Claim(
                "Networks work best at the edge of chaos (Schoenholz; Pennington)",
                "gain exponent 0",
                f"settings as good as the best: gain exponents {_range(gains)}, mean exponents "
                f"{_range(means)}; errors from all points: {group['vanish']} where volumes "
                f"vanish, {group['edge']} at the edge, {group['explode']} where signals explode",
                "nearly"
                if np.abs(gains).max() <= _AT_MOST
                else "in part: signals must not explode, and may vanish"
                if gains.max() <= _AT_MOST
                else "no",
            ),
            Claim(
                "All singular values should be near 1 (dynamical isometry, Pennington)",
                "-",
                "rank correlation of the error from all points with the distance from isometry "
                f"{correlations['isometry']['all points']:+.2f}, from ten "
                f"{correlations['isometry']['10 points']:+.2f}",
                "no"
                if correlations["isometry"]["all points"] < 0.3
                else "yes"
                if correlations["isometry"]["10 points"] > 0.0
                else "with all points; with ten, a flow has to leave isometry to learn",
            ),
        ],
        "The exponents of random kernel layers are those of isotropic Brownian flows, which is known; "
        "that they take the place of the edge of chaos for networks whose layers are kernel "
        "interpolants, and where flows that learned stand, had not been measured as far as we know.",
    )
