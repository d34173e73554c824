"""What a session costs beyond grouping and engine, and how long the choice by budget takes.

    python benchmarks/session_overhead.py [--bundle DIR] [--runs 200] [--json]

The target is at most 5 % at batch 1 and 1 ms for the choice. Medians, so that a busy moment does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

from foundry_edge_runtime import Budget, Session, choose, load_bundle
from foundry_edge_runtime.bundle import Bundle
from foundry_edge_runtime.profile import EngineProfile, Quantiles, empty_profile
from foundry_edge_runtime.profile.measure import benchmark_cloud
from foundry_edge_runtime.readers import as_cloud


def overhead(bundle: Bundle, runs: int) -> dict[str, float]:
    """Milliseconds of one cloud: inside grouping and engine, and beyond."""
    inside, beyond = [], []
    with Session(bundle) as session:
        cloud = as_cloud(benchmark_cloud(bundle.manifest.preprocessing))
        for _ in range(runs):
            started = time.perf_counter()
            latency = session.run(cloud).latency
            taken = (time.perf_counter() - started) * 1e3
            inside.append(latency.group + latency.engine)
            beyond.append(taken - inside[-1])
    work, extra = statistics.median(inside), statistics.median(beyond)
    return {"group_and_engine_ms": work, "overhead_ms": extra, "overhead_percent": 100 * extra / work}


def choice_ms(bundle: Bundle, runs: int) -> float:
    """Milliseconds of one choice with every rung of the ladder measured; the times are made up."""
    times = [Quantiles(p50=ms, p90=ms, p99=ms) for ms in range(1, len(bundle.manifest.rungs) + 1)]
    engines = [
        EngineProfile(
            tokens=rung.tokens,
            precision=rung.precision,
            backend="onnxruntime",
            graph_sha256=rung.graph.sha256,
            weights_sha256=rung.weights.sha256,
            group_ms=each,
            engine_ms=each,
            total_ms=each,
            load_ms=1,
            runs=1,
        )
        for rung, each in zip(bundle.manifest.rungs, times, strict=True)
    ]
    profile = empty_profile(bundle.manifest).add(*engines)
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        choose(bundle.manifest, profile, Budget(max_latency_ms=len(engines) / 2))
        taken.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken)


def main() -> int:
    """Measure and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    found = {**overhead(bundle, options.runs), "choice_ms": choice_ms(bundle, options.runs)}
    if options.json:
        print(json.dumps({"bundle": bundle.manifest.id, "load": os.getloadavg(), **found}))
    else:
        print(f"bundle {bundle.manifest.id}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
        for name, value in found.items():
            print(f"{name:22} {value:.3f}")
    return int(found["overhead_percent"] > 5 or found["choice_ms"] > 1)


if __name__ == "__main__":
    raise SystemExit(main())
