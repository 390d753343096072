"""Is depth needed? What layers can represent, and what the descent of rho finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kflow._base.workers import Workers
from kflow.demos import Options
from kflow.demos.report import Report
from kflow.demos.theory.claims import Claim, add_claims
from kflow.demos.theory.layers_or_width import add_layers_or_width
from kflow.demos.theory.spiral_lines import (
    lines_through_spirals,
    show_lines,
    spiral_settings,
)
from kflow.demos.theory.spread import percents, spread
from kflow.demos.theory.teeth import (
    CENTRES,
    learned_teeth,
    show_by_hand,
    show_learned,
    teeth_by_hand,
    teeth_settings,
)
from kflow.engine.threads import resolve_n_threads

__all__ = ["run"]


@dataclass(frozen=True)
class _Sizes:
    """How large the problems are, and how often they are solved."""

    n_seeds: int
    n_doublings: int
    n_layers: int
    n_spiral_layers: int
    n_lines: int


_FULL = _Sizes(5, 8, 64, 240, 40)


_QUICK = _Sizes(2, 5, 32, 160, 12)


def run(options: Options) -> Report:
    """Run the demo.

    Parameters
    ----------
    options : kflow.demos.Options
        Options of the demo. With `quick`, there are fewer layers, widths and seeds.

    Returns
    -------
    kflow.demos.report.Report
        The report. Its numbers are regions and errors of deep and of plain kernels.
    """
    sizes = _QUICK if options.quick else _FULL
    with (
        options.steps(4, "part") as done,
        Workers(resolve_n_threads(options.n_threads)) as workers,
    ):
        by_hand = teeth_by_hand(sizes.n_doublings, min(6, sizes.n_doublings))
        done()
        learned = learned_teeth(sizes.n_layers, sizes.n_seeds, options, workers)
        done()
        lines = lines_through_spirals(
            sizes.n_spiral_layers, sizes.n_lines, sizes.n_seeds, options, workers
        )
        done()
        report = Report("Is depth needed?", "", options.command("depth"))
        report.settings.update(
            {
                **teeth_settings(),
                **spiral_settings(),
                "seeds of each": sizes.n_seeds,
                "seed": options.seed,
            }
        )
        show_by_hand(report, by_hand)
        show_learned(report, learned, sizes.n_seeds)
        show_lines(report, lines, sizes.n_lines, sizes.n_seeds)
        trees = add_layers_or_width(report, options, workers)
        done()
    report.numbers.update(by_hand=by_hand, learned_teeth=learned, spirals=lines)
    _conclude(report, by_hand, learned, lines, trees)
    return report


def _conclude(
    report: Report,
    by_hand: dict[str, Any],
    learned: dict[str, Any],
    lines: dict[str, Any],
    trees: dict[str, Any],
) -> None:
    last = by_hand["rows"][-1]
    large, small = learned["large steps"], learned["small steps"]
    two = np.asarray(lines["two_centres"])
    regions = spread(large["regions"][:, -1], ".0f")
    wrong = percents(large["errors"][:, -1], ".0f")
    report.summary = (
        "**Layers can fold space exponentially often, but the descent of ρ does not make use of it: "
        "what depth gives a flow is a space that all centres share.** "
        f"Made by hand, {last['layers']} layers of {CENTRES} centres have {last['deep_regions']} "
        f"regions where a plain kernel with as many centres has {last['plain_regions']}; "
        "learned, small "
        f"steps do not fold, and large ones leave {regions} regions, with the wrong class on "
        f"{wrong} of "
        "the line. After the flow two "
        f"centres cross {two[:, -1].mean():.1f} regions of the spirals ({lines['truth']:.1f} are true, "
        f"2 the most before it). {trees['sentence']}"
    )
    add_claims(
        report,
        [
            Claim(
                "Teeth need exponentially many units or depth (Telgarsky)",
                f"2ⁿ + 1 regions by n layers; at most {last['centres']} by a plain kernel with "
                f"{last['centres']} centres",
                f"n = {last['layers']}: {last['deep_regions']} and {last['plain_regions']} regions",
                "yes, for layers made by hand",
            ),
            Claim(
                "Deep networks identify exponentially many regions (Montufar)",
                "at most one region a centre if no layer folds",
                f"large steps: {spread(large['regions'][:, 0], '.1f')} regions before and "
                f"{regions} after, with an error of {wrong}; small steps: "
                f"{spread(small['regions'][:, -1], '.1f')}",
                "the number grows so, but the error with it",
            ),
            Claim(
                "Local representations have a region for each parameter, distributed ones "
                "more (Bengio)",
                "2 regions by 2 Gaussians",
                f"{spread(two[:, 0], '.1f')} before the flow, {spread(two[:, -1], '.1f')} after",
                "yes",
            ),
            *trees["claims"],
        ],
        "That a layer of Gaussians can double teeth, and that a plain Gaussian kernel cannot have more "
        "regions on a line than centres, follow from known theorems; that the descent of ρ with small "
        "steps can never use the first, because its layers are one to one, seems not to have been said "
        "of kernel flows. Nor that they cannot see a tree: they commute with rotations, which destroy "
        "it.",
    )
