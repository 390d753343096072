"""Run all of it for some time, and print counts.

    $ ./dev soak --minutes 60

Ends with an error at the first thing that is wrong; damaged files that are not refused as they should be
are kept, and named at the end.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from soak.fuzzing import Fuzzer
from soak.kills import KilledFlow
from soak.machine import COUNTS, FlowLife
from soak.readers import ReadFlow


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _live(number: int, n_lives: int) -> None:
    """Let Hypothesis make up some lives of a flow."""
    options = settings(
        max_examples=n_lives,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(FlowLife), settings=options)


def main() -> int:
    """Return 0 if nothing was wrong."""
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=3000, help="damaged files in each round")
    parser.add_argument("--lives", type=int, default=20, help="lives of a flow in each round")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kflow-soak-"))
    fuzzer = Fuzzer(folder, options.seed)
    killed, read = KilledFlow(options.seed), ReadFlow()
    start = time.monotonic()
    before = _megabytes()
    memory = 0.0
    for number in itertools.count():
        fuzzer.run(options.files)
        memory = max(memory, _megabytes() - before)
        _live(options.seed * 10**6 + number, options.lives)
        killed.run()
        read.run(100)
        counts = Counter({f"damaged files, {name}": n for name, n in fuzzer.counts.items()})
        counts.update({f"lives: {name}": n for name, n in COUNTS.items()})
        counts.update({"kills": killed.n_kills, "flows that were killed": killed.n_flows})
        counts.update({"reads beside a run": read.n_reads, "runs refused": read.n_refused})
        minutes = (time.monotonic() - start) / 60
        if minutes >= options.minutes or fuzzer.faults:
            break
        print(f"{minutes:.1f} min: {dict(counts)}", flush=True)
    for name in sorted(counts):
        print(f"{name:40} {counts[name]:>10}")
    print(f"{'minutes':40} {minutes:>10.1f}")
    print(f"{'largest valid file, bytes':40} {fuzzer.largest:>10}")
    print(f"{'memory that damaged files took, MB':40} {memory:>10.1f}")
    print(f"{'largest memory, MB':40} {_megabytes():>10.1f}")
    for fault in fuzzer.faults:
        print(fault, file=sys.stderr)
    return 1 if fuzzer.faults else 0


if __name__ == "__main__":
    sys.exit(main())
