"""How long the command line takes from process start: --version, --help, and run on an object scan.

    python benchmarks/startup.py [--scan examples/chair.pcd] [--bundle DIR] [--repeat 9]

Prints a table and the limits of the design. The commands take turns, so that a busy moment of the machine
does not fall on one of them alone; the median of the wall time counts, and CPU time tells how busy the
machine was. `run` is measured with an empty cache, with a latency
limit and no profile (which is then measured), and with the profile found.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("foundry-edge")
COLD, KEPT = "cold", "kept"


def commands(scan: str, bundle: str | None) -> dict[str, tuple[list[str], str, float]]:
    """Name -> arguments, which cache it sees, and the limit in seconds."""
    run = ["run", scan, "--json", *(["--bundle", bundle] if bundle else [])]
    limited = [*run, "--max-latency-ms", "1000"]
    return {
        "--version": (["--version"], KEPT, 0.3),
        "--help": (["--help"], KEPT, 0.3),
        "run, no budget": (run, COLD, 1.5),
        "run, budget, no profile yet": (limited, COLD, 1.5),
        "run, budget, profile found": (limited, KEPT, 1.0),
    }


def seconds(arguments: list[str], cache: str) -> tuple[float, float]:
    """Wall and CPU time of one process; its failure is an error."""
    environment = {**os.environ, "FOUNDRY_EDGE_CACHE": cache}
    started, used = time.perf_counter(), _children()
    subprocess.run([str(PROGRAM), *arguments], env=environment, capture_output=True, check=True)
    return time.perf_counter() - started, _children() - used


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(scan: str, bundle: str | None, repeat: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of every command, in turns; one unmeasured turn warms the file cache."""
    listed = commands(scan, bundle)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in listed}
    with tempfile.TemporaryDirectory() as kept:
        for turn in range(repeat + 1):
            for name, (arguments, which, _) in listed.items():
                with tempfile.TemporaryDirectory() as cold:
                    taken = seconds(arguments, cold if which == COLD else kept)
                if turn:
                    found[name].append(taken)
    return found


def main() -> int:
    """Measure and print; 1 when a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scan", default=str(Path(__file__).resolve().parents[1] / "examples" / "chair.pcd"))
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.scan, options.bundle, options.repeat)
    limits = {name: limit for name, (_, _, limit) in commands(options.scan, options.bundle).items()}
    medians = {name: statistics.median(wall for wall, _ in values) for name, values in found.items()}
    cpu = {name: statistics.median(used for _, used in values) for name, values in found.items()}
    if options.json:
        record = {"wall_s": medians, "cpu_s": cpu, "limit_s": limits, "load": os.getloadavg()}
        print(json.dumps(record))
    else:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs, {options.repeat} turns, medians")
        for name, limit in limits.items():
            print(f"{name:30} {medians[name]:.2f} s, {cpu[name]:.2f} s of CPU; limit {limit} s")
    return int(any(medians[name] > limits[name] for name in limits))


if __name__ == "__main__":
    raise SystemExit(main())
