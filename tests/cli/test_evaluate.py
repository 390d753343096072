from __future__ import annotations

import numpy as np

from kflow import KernelFlowClassifier
from kflow.cli.evaluate import ErrorsOnTheWay
from kflow.flow.callbacks import callback_states


def test_checkpoints_of_earlier_versions_know_the_callback():
    callback = ErrorsOnTheWay(KernelFlowClassifier(), np.arange(3), seed=0, n_draws=1)
    assert callback_states([callback]) == [{"class": "_TestErrors", "state": None}]
