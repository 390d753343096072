"""Compare what this folder builds with Python: the same results to the last bit, and the time of a call.

BUILD is the folder of the build, N the number of layers of the flow that learns the digits. With the folder of
the files of MNIST also its preset is fitted, with all images.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import kflow
from kflow.datasets import load_dataset
from kflow.presets import PRESETS

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("build", metavar="BUILD", type=Path)
parser.add_argument("--layers", metavar="N", type=int, default=40)
parser.add_argument("--mnist", metavar="DIR", type=Path)
args = parser.parse_args()
sys.path.insert(0, str(args.build))
import in_cython
import in_pybind11

rng = np.random.default_rng(0)
gaussian = kflow.kernels.Gaussian(2.0)


def nanoseconds(action, n):
    """Return the shortest of five times of an action, divided by n."""
    times = []
    for _ in range(5):
        start = time.perf_counter_ns()
        action()
        times.append(time.perf_counter_ns() - start)
    return min(times) / n


# ---- Cython -------------------------------------------------------------------------------------

X, K = rng.normal(size=(100, 7)), np.empty((100, 100))
in_cython.gram(X, 2.0, K)
assert np.array_equal(K, kflow.gram(X, kernel=gaussian))

n = 20_000
sets, K = rng.normal(size=(n, 4, 3)), np.empty((4, 4))
inside = nanoseconds(lambda: in_cython.squares_of_sets(sets, 2.0, K), n)
between = nanoseconds(lambda: [in_cython.gram(X, 2.0, K) for X in sets], n)
python = nanoseconds(
    lambda: [kflow.gram(X, kernel=gaussian, out=K, n_threads=1) for X in sets], n
)
print("a kernel matrix of 4 points in 3 dimensions")
print(f"  in a loop of C      {inside:7.0f} ns")
print(f"  Cython from Python  {between:7.0f} ns")
print(f"  kflow.gram          {python:7.0f} ns")

# ---- pybind11 -----------------------------------------------------------------------------------

X, Z, C = (rng.normal(size=(size, 5)) for size in (300, 20, 20))
for name, family in kflow.kernels.RADIAL.items():
    if name not in ("rational_quadratic", "wendland"):  # they have one more parameter
        moved = in_pybind11.move(X, Z, C, family=name, length_scale=1.5, step=0.1)
        assert np.array_equal(moved, kflow.move(X, Z, C, kernel=family(1.5), step=0.1))
try:
    in_pybind11.move(X, Z, C, family="gaussian", length_scale=-1.0, step=0.1)
except ValueError as error:
    print(f"a refusal: {error}")

# ---- C++ without Python -------------------------------------------------------------------------


def predict_without_python(data, **changes):
    """Compare the labels of a preset's model, and how long they take on one thread."""
    model = kflow.KernelFlowClassifier(**PRESETS[data.name] | changes, random_state=0)
    model.fit(data.X_train, data.y_train)
    points = np.ascontiguousarray(data.X_test, np.float64)
    with tempfile.TemporaryDirectory() as folder:
        path, raw = Path(folder, "model.kflow"), Path(folder, "points.f64")
        model.save(path)
        raw.write_bytes(points.tobytes())
        done = subprocess.run(
            [args.build / "predict", path, raw],
            capture_output=True,
            text=True,
            check=True,
        )
    kflow.set_num_threads(1)
    labels = model.predict(points)
    assert done.stdout.split() == list(map(str, labels))
    microseconds = nanoseconds(lambda: model.predict(points), len(points)) / 1000
    kflow.set_num_threads(None)
    wrong = int((labels != data.y_test).sum())
    print(f"{data.name} through {model.n_layers_} layers, on one thread")
    print(f"  C++     {done.stderr.strip()}")
    print(
        f"  Python  {microseconds:.1f} microseconds, the same labels, {wrong} of them wrong"
    )


predict_without_python(load_dataset("digits"), n_layers=args.layers)
if args.mnist is not None:
    predict_without_python(load_dataset("mnist", args.mnist))
