"""Does `kflow fit --resume` end where nothing interrupted would have, wherever it is killed?

    $ python bench/kill_and_resume.py                      # 50 kills, digits
    $ python bench/kill_and_resume.py --cycles 200 --fit "--dataset digits --early-stopping"

One run is left alone. Then, cycle after cycle, a run is killed (SIGKILL) and resumed until it is
complete; every second cycle the resumed run is killed as well. The first kills are spread over the
time that the run takes, from the start of the process to its end, one at random in each of as many
equal parts as there are cycles. After each kill, all layers that the process had reported as written
must be there, sound, and its other files, too, for the next one to go on with. In the end model,
results and pictures must be those of the run that was left alone, but for times.

"at" is the part of the run's time after which it was killed, "found" what was there then: "nothing", the
"start" of a checkpoint, "layers" and whether a file was being "written", "all layers", or the whole
"output"; "layers" how many there were, "again" how many layers the resumed runs had before they went on.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Table, parser, write_json

from kflow.storage.block_file import decode_block, read_block

WROTE = re.compile(r"wrote layers \d+ to (\d+):")
RESUMED = re.compile(r"resumed after layer (\d+):")

# Of the results, what no two runs have in common.
TIMES = ("seconds", "layers_per_second")


def command(fit: str, output: Path, *more: str) -> list[str]:
    kflow = [sys.executable, "-m", "kflow", "fit", "--verbose", "--output", str(output)]
    return [*kflow, *shlex.split(fit), *more]


def run(fit: str, output: Path, *more: str, kill_after: float | None = None) -> tuple[bool, str]:
    """Run the command; return whether it was killed, and what it said."""
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            command(fit, output, *more),
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=output.parent,  # not where kflow's sources may lie
        ) as process:
            try:
                process.wait(kill_after)
                killed = False
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed = True
        said.seek(0)
        text = said.read()
    if not killed and process.returncode != 0:
        raise AssertionError(f"{output}: {text}")
    return killed, text


def found(output: Path, n_layers: int) -> tuple[str, int]:
    """What a killed run left, and how many layers, each of them read."""
    folder = output / "checkpoint"
    if not folder.exists():
        complete = (output / "results.json").exists()
        return ("output", n_layers) if complete else ("nothing", 0)
    blocks = [read_block(path).block for path in sorted(folder.glob("block-*.safetensors"))]
    ends = [0, *(block.end for block in blocks)]
    if [block.first for block in blocks] != ends[:-1]:
        raise AssertionError(f"{folder} has a gap: {ends}")
    if ends[-1] == n_layers:
        return "all layers", n_layers
    partial = any(folder.glob("*.partial"))
    phase = "layers" if (folder / "flow.json").exists() else "start"
    return phase + (", writing" if partial else ""), ends[-1]


def said_to_be_written(text: str) -> int:
    return max((int(last) + 1 for last in WROTE.findall(text)), default=0)


def resumed_after(text: str) -> int:
    return max(map(int, RESUMED.findall(text)), default=0)


def outcome(output: Path) -> dict[str, Any]:
    """All that a run makes, but for times."""
    parts: dict[str, Any] = {}
    with zipfile.ZipFile(output / "model.kflow") as archive:
        for name in archive.namelist():
            if name.startswith("blocks/"):
                block = decode_block(archive.read(name), name).block
                parts[name] = [(z.tobytes(), c.tobytes(), step) for z, c, step in block.layers]
            elif name != "history_seconds.npy":
                parts[name] = archive.read(name)
    results = json.loads((output / "results.json").read_text())
    for name in TIMES:
        results.pop(name, None)
        results["model"].pop(name, None)
    parts["results.json"] = results
    for path in output.glob("*.png"):
        parts[path.name] = path.read_bytes()
    if (output / "checkpoint").exists():
        raise AssertionError(f"{output} is complete, but its checkpoint is still there")
    return parts


def cycle(
    fit: str, output: Path, expected: dict[str, Any], moments: list[float], n_layers: int
) -> dict[str, Any]:
    """Kill a run after so many seconds of each of its processes, then let it end."""
    phases: list[str] = []
    layers: list[int] = []
    again: list[int] = []
    for moment in (*moments, None):
        killed, text = run(fit, output, "--resume", kill_after=moment)
        again.append(resumed_after(text))
        before = layers[-1] if layers else 0
        if WROTE.search(text) and again[-1] != before:
            raise AssertionError(f"{output} went on after {again[-1]} layers, not {before}: {text}")
        if not killed:
            break
        phase, count = found(output, n_layers)
        if count < max(said_to_be_written(text), before):
            raise AssertionError(f"{output}: {count} layers are left: {text}")
        phases.append(phase)
        layers.append(count)
    got = outcome(output)
    differing = sorted(name for name in {**got, **expected} if got.get(name) != expected.get(name))
    if differing:
        raise AssertionError(f"{output} differs: {', '.join(differing)}")
    return {"found": phases, "layers": layers, "again": again}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--cycles", type=int, default=50, help="runs that are killed")
    arguments.add_argument("--fit", default="--dataset digits", help="options of kflow fit")
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    args = arguments.parse_args()
    rng = np.random.default_rng(args.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start = time.perf_counter()
        run(args.fit, whole)
        seconds = time.perf_counter() - start
        expected = outcome(whole)
        n_layers = expected["results.json"]["model"]["n_layers"]
        print(f"{n_layers} layers in {seconds:.1f} s")
        table = Table({"cycle": "5d", "at": "5.2f", "found": "<18", "layers": "6d", "again": "<12"})
        for number in range(args.cycles):
            at = (number + rng.random()) / args.cycles
            moments = [at * seconds]
            if number % 2:
                moments.append(rng.random() * seconds)
            output = Path(folder) / str(number)
            row = {"at": at, **cycle(args.fit, output, expected, moments, n_layers)}
            rows.append(row)
            again = " ".join(map(str, row["again"]))
            for phase, count in zip(row["found"], row["layers"], strict=True):
                table.row(number, at, phase, count, again)
    phases = Counter(phase for row in rows for phase in row["found"])
    print(f"{phases.total()} kills, no difference: {dict(phases)}")
    write_json(
        args, n_layers=n_layers, seconds=seconds, kills=phases.total(), found=phases, rows=rows
    )


if __name__ == "__main__":
    main()
