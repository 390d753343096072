"""Other OpenMP runtimes in the process: scikit-learn's, and PyTorch's where it is installed."""

from __future__ import annotations

import importlib.util
import itertools

import pytest

# Each part imports its package and returns numbers that teams of threads compute.
PARTS = {
    "kflow": """
def of_kflow():
    import kflow
    X = np.random.default_rng(0).normal(size=(2000, 9))
    flow = kflow.KernelFlow(n_layers=3, batch_size=300, nugget=0.1, random_state=0, n_threads=2)
    return flow.fit(X, X[:, 0]).points_
""",
    "sklearn": """
def of_sklearn():
    from sklearn.ensemble import HistGradientBoostingRegressor
    X = np.random.default_rng(0).normal(size=(2000, 9))
    return HistGradientBoostingRegressor(max_iter=5, random_state=0).fit(X, X[:, 0]).predict(X)
""",
    "torch": """
def of_torch():
    import torch
    torch.set_num_threads(2)
    a = torch.from_numpy(np.random.default_rng(0).normal(size=(500, 500)))
    return (a @ a).exp().sum(dim=0).numpy()
""",
}
INSTALLED = [name for name in PARTS if importlib.util.find_spec(name)]

PROGRAM = """
import json, os, sys
import numpy as np
{parts}
order = {order}
first = {{name: globals()["of_" + name]() for name in order}}
for name in reversed(order):
    assert np.array_equal(globals()["of_" + name](), first[name]), name

# A forked child computes the same, on one thread.
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(of_kflow(), first["kflow"]) else 1)
assert os.waitpid(child, 0)[1] == 0
assert np.array_equal(of_kflow(), first["kflow"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("order", list(itertools.permutations(INSTALLED)), ids="-".join)
def test_runtimes_leave_each_other_alone(run_python, order):
    program = PROGRAM.format(parts="".join(PARTS[name] for name in order), order=list(order))
    run_python(program, OMP_NUM_THREADS="2")
