from __future__ import annotations

from soak.readers import ReadFlow


def test_eight_threads_read_a_running_flow():
    read = ReadFlow()
    read.run(40)
    assert read.n_reads > 0
    assert read.n_refused > 0
