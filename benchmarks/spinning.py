"""Warm rungs that take turns: threads that spin on after a run, rest after it, or never spin; one thread.

    python -m benchmarks.spinning [--bundle DIR] [--rungs s4-fp32,s4-int8] [--batches 1,8]

Every form is a process of its own; the forms take turns. Writes benchmarks/results/spinning.json: median
milliseconds of each rung.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.backends import ort
from foundry_edge_runtime.device import usable_cpus

FORMS = {"spin on": {}, "rest": {"force_spinning_stop": "1"}, "never spin": {"intra_op.allow_spinning": "0"}}
SINGLE = "one thread"
TURNS, RUNS, WARM_UP = 3, 100, 5


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--rungs", default="s4-fp32,s4-int8,s16-fp32,s16-int8")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--form", choices=(*FORMS, SINGLE), help=argparse.SUPPRESS)
    options = parser.parse_args()
    rungs, batches = options.rungs.split(","), [int(number) for number in options.batches.split(",")]
    if options.form:
        print(json.dumps(medians(options.form, options.bundle, rungs, batches)))
        return
    found: dict[str, list[dict[str, float]]] = {form: [] for form in (*FORMS, SINGLE)}
    for _ in range(TURNS):
        for form, turns in found.items():
            command = [sys.executable, "-m", "benchmarks.spinning", *sys.argv[1:], "--form", form]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            turns.append(json.loads(done.stdout))
    rows = [
        {"form": form, **{name: round(float(np.median([t[name] for t in turns])), 3) for name in turns[0]}}
        for form, turns in found.items()
    ]
    for row in rows:
        print(row)
    print(keep("spinning", {"threads": usable_cpus(), "rows": rows}))


def medians(form: str, bundle: str | None, rungs: list[str], batches: list[int]) -> dict[str, float]:
    """Milliseconds of each rung and batch, rungs in turn."""
    if form in FORMS:
        vars(ort)["set_threads"] = partial(_set, FORMS[form])
    backend = ort.OnnxRuntimeBackend("cpu", 1 if form == SINGLE else usable_cpus())
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


def _set(entries: dict[str, str], options: Any, threads: int) -> None:
    """In the place of what the runtime sets."""
    options.intra_op_num_threads = threads
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)


if __name__ == "__main__":
    main()
