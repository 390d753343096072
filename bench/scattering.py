"""What does wavelet scattering cost, next to its floating-point operations and to kymatio?

    $ python bench/scattering.py
    $ python bench/scattering.py --kymatio peers/bin/python

Random images of 28 x 28 pixels, J = 2, L = 8, float32. A few are first compared with the definition.
The rate is that of the multiplications and additions of the Fourier transforms (5 n log2 n for n complex
numbers), the products with spectra, the moduli and the smoothing, and stands beside that of NumPy's
matrix products. kymatio 0.3.0 needs SciPy before 1.17, so that it has an interpreter of its own; it is
timed on the same images, with its NumPy code in one process, and its features must be the same up to
the number that it takes for pi.
"""

from __future__ import annotations

import json
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from measuring import Table, check_close, cores, parser, seconds, write_json

from kflow.features import Scattering
from kflow.features.filters import make_filters
from kflow.testing import slow

SIDE, J, L = 28, 2, 8
MNIST = 70_000

_KYMATIO = """
import json, sys, time
import numpy as np
from kymatio.numpy import Scattering2D
images = np.load(sys.argv[1])
transform = Scattering2D(J=2, shape=images.shape[1:], L=8)
first = transform(images[:8])
times = []
for _ in range(3):
    start = time.perf_counter()
    for part in range(0, len(images), 64):
        transform(images[part : part + 64])
    times.append(time.perf_counter() - start)
np.save(sys.argv[2], first)
print(json.dumps(sorted(times)[1]))
"""


def flops(side: int, out: int) -> float:
    """Return the operations of one image, padded to side^2 pixels with maps of out^2 elements."""

    def transform(level: int) -> float:
        n = (side >> level) ** 2
        return 5.0 * n * math.log2(n)

    def modulus_and_smoothing(level: int) -> float:
        m = side >> level
        return 4.0 * m * m + 2.0 * (out * m * m + out * out * m)

    total = transform(0) + modulus_and_smoothing(0)
    for j in range(J):
        first = 2.0 * side**2 + 2.0 * (side**2 - (side >> j) ** 2)
        total += L * (first + transform(j) + modulus_and_smoothing(j))
        for k in range(j + 1, J):
            m = side >> j
            second = 2.0 * m**2 + 2.0 * (m**2 - (side >> k) ** 2)
            total += L * L * (second + transform(k) + modulus_and_smoothing(k))
        total += L * transform(j) * (j + 1 < J)
    return total


def gemm_rate(n: int = 1500) -> float:
    a, b = np.random.default_rng(0).random((2, n, n), np.float32)
    (time,) = seconds(lambda: a @ b, repeats=5)
    return 2.0 * n**3 / time


def kymatio(python: str, images: np.ndarray, ours: np.ndarray) -> float:
    """Return kymatio's seconds, after comparing some of its features with ours."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npy", Path(folder) / "features.npy"
        np.save(given, images)
        command = [python, "-c", _KYMATIO, str(given), str(made)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        theirs = np.load(made)
    n_maps = (1, J * L, L * L * J * (J - 1) // 2)
    order = np.repeat([1, 2, 3], n_maps)[:, None, None]
    expected = theirs * (3.1415 / np.pi) ** order
    check_close(ours[:8].reshape(theirs.shape), expected, 1e-5)
    return float(json.loads(done.stdout))


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--n", type=int, default=7000, help="number of images")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--kymatio", metavar="PYTHON", help="interpreter that has kymatio")
    args = options.parse_args()
    images = np.random.default_rng(0).random((args.n, SIDE, SIDE)).astype(np.float32)
    rate = gemm_rate()
    rows = []
    table = Table(
        {"padding": "8s", "threads": "7d", "s": "7.2f", "of 70000, s": "11.1f", "of gemm": "7.2f"}
    )
    features = {}
    for padding in ("zero", "reflect"):
        for n_threads in sorted({1, cores()}):
            transformer = Scattering(J, L, padding=padding, n_threads=n_threads).fit(images)
            features[padding] = transformer.transform(images[:8])
            filters = make_filters((SIDE, SIDE), J, L, 2, padding, "float64")
            check_close(features[padding], slow.scattering(filters, images[:8]), 1e-5)
            (time,) = seconds(lambda t=transformer: t.transform(images), repeats=args.repeats)
            of_gemm = args.n * flops(len(filters.row_of), filters.out[0]) / time / rate
            row = (padding, n_threads, time, time * MNIST / args.n, of_gemm)
            table.row(*row)
            rows.append(
                dict(zip(("padding", "n_threads", "s", "s_70000", "of_gemm"), row, strict=True))
            )
    theirs = None
    if args.kymatio:
        theirs = kymatio(args.kymatio, images, features["reflect"])
        ratio = theirs / rows[-1]["s"]
        print(f"kymatio {theirs:.2f} s, {ratio:.1f} times ours ({rows[-1]['n_threads']} threads)")
    write_json(args, gemm_rate=rate, rows=rows, kymatio_s=theirs)


if __name__ == "__main__":
    main()
