from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.slow
def test_certificates(run, check_written, tmp_path):
    run("certificates", "--quick", "--quiet", "--output", tmp_path)
    numbers = check_written(tmp_path, n_figures=3)
    assert numbers["contradictions"] == 0
    assert min(numbers["log10_bound"]) > 8.0
    kinds = [numbers[kind] for kind in ("no_flow", "capped_flow", "compressed_flow")]
    for kind in kinds:
        assert len(kind["error"]) == 2
        assert max(kind["error"]) < 0.1
        radii = [np.mean(kind["median_radius"][str(order)]) for order in range(3)]
        assert radii == sorted(radii)
        assert radii[2] < np.mean(kind["median_attack"])
        for radius, share in kind["certified_share"].items():
            assert np.all(np.array(share) <= kind["withstands_attack"][radius])
    proved = [np.mean(kind["proved"]) for kind in kinds]
    assert proved[0] > proved[1] > proved[2] > 0.4
