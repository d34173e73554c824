"""Warm rungs that take turns: threads of their own, one common pool, or no threads at all.

    python -m benchmarks.thread_pools [--bundle DIR] [--rungs s4-fp32,s4-int8] [--batches 1,8]

Every form is a process of its own, since a pool once made stays; the forms take turns. Writes
benchmarks/results/thread_pools.json: median milliseconds of each rung.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.backends import ort
from foundry_edge_runtime.device import usable_cpus

FORMS = ("own pools", "one pool", "one thread")
TURNS, RUNS, WARM_UP = 3, 100, 5


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--rungs", default="s4-fp32,s4-int8,s16-fp32,s16-int8")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    rungs, batches = options.rungs.split(","), [int(number) for number in options.batches.split(",")]
    if options.form:
        print(json.dumps(medians(options.form, options.bundle, rungs, batches)))
        return
    found: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for _ in range(TURNS):
        for form in FORMS:
            command = [sys.executable, "-m", "benchmarks.thread_pools", *sys.argv[1:], "--form", form]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[form].append(json.loads(done.stdout))
    rows = [
        {"form": form, **{name: round(float(np.median([t[name] for t in turns])), 3) for name in turns[0]}}
        for form, turns in found.items()
    ]
    for row in rows:
        print(row)
    print(keep("thread_pools", {"threads": usable_cpus(), "rows": rows}))


def medians(form: str, bundle: str | None, rungs: list[str], batches: list[int]) -> dict[str, float]:
    """Milliseconds of each rung and batch, rungs in turn."""
    if form == "own pools":
        vars(ort)["share_threads"] = _own
    backend = ort.OnnxRuntimeBackend("cpu", 1 if form == "one thread" else usable_cpus())
    held = load_bundle(bundle)
    spec = held.manifest.preprocessing
    engines = {
        rung.name: backend.load(held.graph(rung), spec) for rung in held.manifest.rungs if rung.name in rungs
    }
    found: dict[str, float] = {}
    for batch in batches:
        shape = (batch, spec.groups, spec.group_size, 3)
        groups = (np.random.default_rng(0).standard_normal(shape) * 0.1).astype(np.float32)
        centers = groups.mean(axis=2) * 10
        times: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(RUNS + WARM_UP):
            for name, engine in engines.items():
                start = time.perf_counter()
                engine.run(groups, centers)
                times[name].append(1e3 * (time.perf_counter() - start))
        found |= {f"{n}, batch {batch}": float(np.median(t[WARM_UP:])) for n, t in times.items()}
    return found


def _own(library: Any, options: Any, threads: int) -> None:
    """In the place of the common pool: threads for each session, ONNX Runtime's default."""
    options.intra_op_num_threads = threads


if __name__ == "__main__":
    main()
