from __future__ import annotations

import numpy as np
import pytest

from kflow.demos.theory.tasks import tree


@pytest.mark.slow
def test_depth(run, check_written, tmp_path):
    run("depth", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=5)
    for row in numbers["by_hand"]["rows"]:
        assert row["deep_regions"] == row["regions"]
        assert row["deep_error"] < 1e-3
        assert row["plain_regions"] <= row["centres"]
    needed = numbers["by_hand"]["centres_needed"]
    assert needed[-1] > 2 * needed[-2] > 4 * needed[-3]
    teeth = numbers["learned_teeth"]
    assert np.max(teeth["small steps"]["folded"]) == 0.0
    assert np.max(teeth["small steps"]["regions"]) <= 64
    assert np.min(np.array(teeth["large steps"]["regions"])[:, -1]) > 64
    assert np.min(np.array(teeth["large steps"]["errors"])[:, -1]) > 0.4
    lines = numbers["spirals"]
    two = np.array(lines["two_centres"])
    assert two[:, 0].max() <= 2.0 < 0.5 * lines["truth"] < two[:, -1].mean()
    tree_found = numbers["layers_or_width"]["tree"]
    errors = np.array(tree_found["errors"])
    assert errors[-1].mean() < errors[0].mean()
    assert errors[-1].mean() < np.mean(tree_found["wide_and_deep"])
    assert numbers["turned_tree"]["largest_change"] < 1e-9


def test_the_tree_is_made_of_functions_of_two():
    X = np.random.default_rng(0).normal(size=(5, 8))
    changed = X.copy()
    changed[:, :2] = 3.0
    # The values of the other three branches, and what becomes of them, are the same.
    assert (tree(X) != tree(changed)).all()
    inner = tree(np.repeat(X[:, :2], 4, axis=1))
    assert inner.shape == (5,)
    assert (np.abs(tree(X)) <= 1.0).all()
