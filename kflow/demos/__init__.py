"""Experiments of the Kernel Flows paper, questions of theory, and uses: functions that return a report.

``kflow demo NAME`` runs one and writes its report; `run` does so from Python. What a demo computes is
in a module of its own, which is imported when the demo runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kflow.demos.report import Report

__all__ = ["DEMOS", "Demo", "Options", "run"]


@dataclass(frozen=True)
class Demo:
    """A demo: what it shows, and the function that runs it.

    Attributes
    ----------
    summary : str
        What the demo shows, in one line.
    module : str
        Name of its module in this package.
    function : str
        Name of its function in that module, which takes `Options` and returns a `Report`.
    topic : {"paper", "theory", "application"}
        Whether it is an experiment of the paper and its talk, a question of theory, or something that
        learned kernels are used for.
    """

    summary: str
    module: str
    function: str = "run"
    topic: str = "paper"


DEMOS: dict[str, Demo] = {
    "swiss-roll": Demo("Two spirals unroll until a line separates them", "swiss_roll"),
    "digits": Demo(
        "One image per class classifies handwritten digits, in seconds", "images", "digits"
    ),
    "mnist": Demo("One image per class classifies MNIST", "images", "mnist"),
    "fashion-mnist": Demo(
        "One image per class classifies Fashion-MNIST", "images", "fashion_mnist"
    ),
    "cifar-10": Demo("One image per class classifies CIFAR-10", "images", "cifar_10"),
    "one-shot": Demo("How little depends on which image of each class is drawn", "one_shot"),
    "continuous-limit": Demo(
        "As steps shrink, the flow becomes a differential equation", "continuous_limit"
    ),
    "pde": Demo("The conductivity of an elliptic equation, learned from one solution", "pde"),
    "emulator": Demo(
        "Five computer models and their emulators, learned from 500 runs each",
        "emulator",
        topic="application",
    ),
    "high-dimension": Demo(
        "Whether fooling is the fault of high-dimensional space or of the kernel",
        "theory.high_dimension",
        topic="theory",
    ),
    "image-categories": Demo(
        "Whether categories that a formula defines behave like cat and dog",
        "theory.image_categories",
        topic="theory",
    ),
    "unseen-classes": Demo(
        "Whether a flow that has seen some classes learns new ones from a single image",
        "theory.unseen_classes",
        topic="theory",
    ),
    "gradient-noise": Demo(
        "Does the noise of the gradient find better minima?",
        "theory.gradient_noise",
        topic="theory",
    ),
    "depth": Demo(
        "Does depth pay? Layers against width, teeth, trees and regions",
        "theory.depth",
        topic="theory",
    ),
    "edge-of-chaos": Demo(
        "Do flows work best at the edge of chaos?", "theory.edge_of_chaos", topic="theory"
    ),
    "certificates": Demo(
        "What a flow can prove of its robustness, next to an attack",
        "theory.certificates",
        topic="theory",
    ),
    "robust-flows": Demo(
        "What makes a flow harder to fool, and what that costs",
        "theory.robust_flows",
        topic="theory",
    ),
}


@dataclass(frozen=True)
class Options:
    """The options of all demos.

    Attributes
    ----------
    quick : bool
        Run the small form: seconds instead of minutes, with the same conclusions.
    seed : int
        Seed of all random draws.
    n_threads : int, optional
        Number of threads; see `kflow.get_num_threads`.
    data_dir : Path, optional
        Folder of the data sets. The demos mnist, fashion-mnist and cifar-10 need it; one-shot and
        unseen-classes take MNIST from it instead of digits, image-categories CIFAR-10.
    progress : bool
        Show progress bars on standard error.
    """

    quick: bool = False
    seed: int = 0
    n_threads: int | None = None
    data_dir: Path | None = None
    progress: bool = False

    def command(self, name: str) -> str:
        """Return the shell command that runs demo `name` with these options."""
        words = ["kflow demo", name]
        if self.quick:
            words.append("--quick")
        if self.seed != 0:
            words.append(f"--seed {self.seed}")
        if self.data_dir is not None:  # a report need not tell where the data are
            words.append("--data-dir DIR")
        return " ".join(words)

    @contextmanager
    def steps(self, total: int, unit: str) -> Iterator[Callable[[], None]]:
        """Show a progress bar if ``progress`` is true, and yield a function to call after each step."""
        if not self.progress:
            yield lambda: None
            return
        from kflow._base.progress import step_progress

        with step_progress(total, unit) as advance:
            yield advance


def run(name: str, options: Options | None = None) -> Report:
    """Run a demo.

    Parameters
    ----------
    name : str
        Name of the demo, a key of ``DEMOS``.
    options : Options, optional
        Options of the demo; the defaults if not given.

    Returns
    -------
    kflow.demos.report.Report
        The report, with the time that the demo took.

    Raises
    ------
    ImportError
        If Matplotlib or Jinja2 are missing.
    ValueError
        If there is no such demo.
    """
    if name not in DEMOS:
        raise ValueError(f"there is no demo {name!r}: pass one of {', '.join(DEMOS)}")
    options = Options() if options is None else options
    demo = DEMOS[name]
    import_module("kflow.demos.report")  # says what is missing, if something is
    function: Callable[[Options], Report] = getattr(
        import_module(f"kflow.demos.{demo.module}"), demo.function
    )
    start = time.perf_counter()
    report = function(options)
    report.seconds = time.perf_counter() - start
    report.n_threads = options.n_threads
    return report
