"""How little of an image's pixels fools a flow, as a section of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from kflow._base.array_types import Doubles
from kflow.analysis import AdversarialDistances, adversarial_distance
from kflow.datasets import Dataset
from kflow.demos.image_flow import FlowOfImages
from kflow.demos.pictures import as_pictures, class_names, has_colours
from kflow.demos.report import Report, Section
from kflow.plotting import AdversarialDisplay, ImageGridDisplay

__all__ = ["add_fooling"]

# Ratios of distances that differ from 1 by less count as equal: distances are found to a few percent.
_LEVEL = 0.03

# Images that are shown as they are and perturbed.
_N_SHOWN = 8

_WHEN = ("before", "after")

Found = dict[tuple[str, str], AdversarialDistances]


def add_fooling(
    report: Report,
    flows: Mapping[str, FlowOfImages],
    rows: npt.NDArray[np.intp],
    effort: Mapping[str, int],
    seed: int,
) -> dict[str, Any]:
    """Add a section on adversarial distances in the units of pixels, and return what was found.

    Parameters
    ----------
    report : Report
        The report.
    flows : mapping of str to FlowOfImages
        The flows, by features.
    rows : ndarray of int
        Test images, among which those are drawn that are perturbed.
    effort : mapping of str to int
        ``max_points``, the number of these images, and other options of
        `kflow.analysis.adversarial_distance`.
    seed : int
        Seed of the draw.
    """
    data = next(iter(flows.values())).data
    X, y = data.X_test[rows], data.y_test[rows]
    found: Found = {
        (features, when): adversarial_distance(
            model, X, y, space="input", random_state=seed, **effort
        )
        for features, images in flows.items()
        for when, model in zip(_WHEN, (images.unflowed(), images.model), strict=True)
    }
    norm = float(np.median(next(iter(found.values())).norms))
    section = report.section(
        "How little fools the flow",
        "The adversarial distance of an image is the length of the smallest perturbation of its pixels "
        "found with which the classifier takes it for another class: by steps against the gradient "
        "(DeepFool, Moosavi-Dezfooli et al. 2016) through the layers and, for scattering, through the "
        "wavelet transforms, by the way to the nearest image that is taken for another class, and "
        "along the boundary. It is an upper bound, and each perturbed image is in fact classified "
        "differently. Pixels may leave their range. A large margin with a small gradient is no "
        "robustness: the first-order distance, margin over gradient, looks at a plateau and misses "
        "its edge.",
    )
    _draw(section, found, norm)
    section.table(
        ["images are, flow", "right", "5 % quantile", "median", "median / norm", "first order"],
        [_row(f"{features}, {when}", each) for (features, when), each in found.items()],
        f"How many of {len(next(iter(found.values())).rows)} test images are classified rightly, and "
        "their adversarial distances in the units of the pixels, also as parts of their norms; last the "
        "median of the first-order distances.",
    )
    ratios = {
        **{f: _ratios(found[f, "before"], found[f, "after"]) for f in flows},
        "between": _ratios(*(found[features, "after"] for features in flows)),
    }
    for features in flows:
        section.text(_verdict(f"For {features} the flow", "before the flow", ratios[features]))
    first, second = flows
    section.text(_verdict(f"After the flow, {second}", f"of {first}", ratios["between"]))
    _show(section, data, rows, {features: found[features, "after"] for features in flows})
    return {
        **{
            features: {
                "ratio_median": _median(ratios[features]),
                **{when: _numbers(found[features, when]) for when in _WHEN},
            }
            for features in flows
        },
        f"{second}_over_{first}": _median(ratios["between"]),
    }


def _draw(section: Section, found: Found, norm: float) -> None:
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    AdversarialDisplay(
        {
            f"{features}, {when} the flow": each.distances[_right(each)]
            for (features, when), each in found.items()
            if _right(each).any()
        },
        xlabel="length of the smallest perturbation found, in units of the pixels",
    ).plot(figure.subplots())
    section.figure(
        figure,
        "adversarial",
        "How little changes the class of an image: of the test images that are classified rightly, the "
        "part with at most that distance to an image that the same classifier takes for another class. "
        f"Their median norm is {norm:.0f}.",
    )


def _right(found: AdversarialDistances) -> npt.NDArray[np.bool_]:
    """Return which images are classified rightly as they are."""
    return np.asarray(found.distances != 0.0)


def _can_be_fooled(found: AdversarialDistances) -> npt.NDArray[np.bool_]:
    """Return which of these images a perturbation was found for."""
    return _right(found) & np.isfinite(found.distances)


def _numbers(found: AdversarialDistances) -> dict[str, Any]:
    """Return the summary, and quantiles over the images that are classified rightly."""
    rows = _can_be_fooled(found)
    distances = found.distances[rows]
    return {
        **found.summary(),
        "right": int(_right(found).sum()),
        "right_lowest_20th": float(np.quantile(distances, 0.05)) if len(distances) else np.nan,
        "right_median": _median(distances),
        "relative_median": _median(distances / found.norms[rows]),
        "right_first_order_median": _median(found.first_order[rows]),
    }


def _median(values: Doubles) -> float:
    return float(np.median(values)) if len(values) else np.nan


def _row(name: str, found: AdversarialDistances) -> list[str]:
    told = _numbers(found)
    names = ("right_lowest_20th", "right_median", "relative_median", "right_first_order_median")
    return [name, str(told["right"]), *(_number(told[each]) for each in names)]


def _number(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "undefined"


def _ratios(one: AdversarialDistances, other: AdversarialDistances) -> Doubles:
    """Return the second distance over the first of the images that both classify rightly."""
    both = _can_be_fooled(one) & _can_be_fooled(other)
    return np.asarray(other.distances[both] / one.distances[both])


def _verdict(what: str, than: str, ratios: Doubles) -> str:
    """Return what the ratios of distances say."""
    if not len(ratios):
        return f"{what}: no image is classified rightly by both, so there is nothing to compare."
    ratio = _median(ratios)
    kind = "about as hard"
    if abs(ratio - 1.0) >= _LEVEL:
        kind = "harder" if ratio > 1.0 else "easier"
    return (
        f"{what} has {ratio:.2f} times the adversarial distance {than} (median of the ratios over "
        f"{len(ratios)} images that both classify rightly): it is {kind} to fool. "
        f"{int((ratios < 1.0).sum())} of these images are easier to fool."
    )


def _show(
    section: Section,
    data: Dataset,
    rows: npt.NDArray[np.intp],
    found: Mapping[str, AdversarialDistances],
) -> None:
    """Show a few images, and the same images with the perturbation that fools each flow."""
    fooled = np.array([_can_be_fooled(each) for each in found.values()]).all(axis=0)
    chosen = np.flatnonzero(fooled)[:_N_SHOWN]
    if not len(chosen):
        return
    any_found = next(iter(found.values()))
    X = data.X_test[rows[any_found.rows[chosen]]].astype(np.float64)
    images, titles = [X], list(class_names(data, any_found.labels[chosen]))
    for each in found.values():
        images.append(X + each.perturbations[chosen])
        titles += [f"\u2192 {name}" for name in class_names(data, each.perturbed_labels[chosen])]
    pixels = np.clip(np.concatenate(images), X.min(), X.max())
    display = ImageGridDisplay(as_pictures(data, pixels), titles)
    figure = Figure(figsize=display.size(len(chosen)), layout="constrained")
    display.plot(figure.subplots(), n_columns=len(chosen))
    below = " and ".join(f"of {features}" for features in found)
    section.figure(
        figure,
        "fooled",
        f"Some test images with their class, and below as they fool the flows {below}, with the class "
        "that is predicted then.",
        photographs=has_colours(data),
    )
