"""Draw the picture at the top of the README: handwritten digits that flow into ten clusters.

    $ python bench/front_picture.py

The picture goes to docs/images/digits.gif. It shows held-out digits, from which the flow learned nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import kflow
from kflow.datasets import load_dataset
from kflow.plotting import FlowAnimation
from kflow.presets import PRESETS


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    images = Path(__file__).parents[1] / "docs" / "images"
    options.add_argument("--output", type=Path, default=images / "digits.gif", help="file")
    output = options.parse_args().output

    digits = load_dataset("digits")
    classifier = kflow.KernelFlowClassifier(**PRESETS["digits"], random_state=0)
    classifier.fit(digits.X_train, digits.y_train)
    animation = FlowAnimation.from_estimator(classifier, digits.X_test, digits.y_test, n_frames=50)
    animation.save(output)
    print(f"{output}: {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
