"""A live source that is three times too fast: are drops counted, and are results fresh?

    python -m benchmarks.overload [--seconds 60] [--factor 3] [--bundle DIR] [--max-latency-ms X]

The capacity is measured first; without --max-latency-ms the budget is twice the median latency found then.
Targets: the queue stays bounded, received = done + failed + dropped, results are at most two periods (of the
capacity) old at the 95th percentile, and the p95 of the served scans is within the budget. Writes
benchmarks/results/overload.json; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.profile.measure import benchmark_cloud
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.run import Scans, run
from foundry_edge_runtime.session import Session
from foundry_edge_runtime.streams.items import Item
from foundry_edge_runtime.streams.queue import DEPTH, LiveQueue


def capacity(cloud: PointCloud, runs: int = 60) -> tuple[float, float]:
    """Seconds of one scan from end to end (mean), and its latency in ms (median)."""
    with Session() as session:
        session.run(cloud)
        started = time.perf_counter()
        latencies = [session.run(cloud).latency for _ in range(runs)]
        period = (time.perf_counter() - started) / runs
    return period, statistics.median(one.group + one.engine for one in latencies)


def publish(queue: LiveQueue, cloud: PointCloud, interval: float, seconds: float, depths: list[int]) -> None:
    """Put a scan into the queue every interval, whether or not anyone keeps up."""
    begin = time.perf_counter()
    number = 0
    while (now := time.perf_counter() - begin) < seconds:
        if now < number * interval:
            time.sleep(number * interval - now)
        name = str(number)
        queue.put(Item(name, load=lambda name=name: replace(cloud, source=name)))  # type: ignore[misc]
        depths.append(len(queue))
        number += 1
    queue.finish()


def overload(seconds: float, factor: float, bundle: str | None, limit_ms: float | None) -> dict[str, Any]:
    """Flood a session and look at what comes out."""
    cloud = as_cloud(benchmark_cloud_points())
    period, latency = capacity(cloud)
    budget = limit_ms or 2 * latency
    queue, depths, ages, served = LiveQueue(), list[int](), list[float](), list[float]()
    interval = period / factor
    running = run(Scans(queue, many=True, live=queue), bundle=bundle, adaptive=True, max_latency_ms=budget)
    begin = time.perf_counter()
    source = threading.Thread(target=publish, args=(queue, cloud, interval, seconds, depths))
    source.start()
    for result in running:
        if isinstance(result, Result):
            ages.append(time.perf_counter() - begin - int(result.cloud.source) * interval)
            served.append(result.latency.group + result.latency.engine)
    source.join()
    counts = running.counts.as_json()
    return {
        "seconds": seconds,
        "factor": factor,
        "capacity_per_second": round(1 / period, 1),
        "counts": counts,
        "counts_exact": counts["received"] == counts["done"] + counts["failed"] + counts["dropped"],
        "published": len(depths),
        "deepest_queue": max(depths),
        "age_periods": {
            "p50": round(float(np.quantile(ages, 0.5)) / period, 2),
            "p95": round(float(np.quantile(ages, 0.95)) / period, 2),
            "max": round(max(ages) / period, 2),
        },
        "budget_ms": round(budget, 2),
        "served_p95_ms": round(float(np.quantile(served, 0.95)), 2),
    }


def benchmark_cloud_points() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The cloud that `bench` uses, for the default bundle."""
    from foundry_edge_runtime.bundle.load import load_bundle

    return benchmark_cloud(load_bundle().manifest.preprocessing)


def main() -> int:
    """Measure, write and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--factor", type=float, default=3)
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--max-latency-ms", type=float, default=None)
    options = parser.parse_args()
    found = overload(options.seconds, options.factor, options.bundle, options.max_latency_ms)
    print(f"{found}\nwritten to {keep('overload', found)}")
    kept = found["counts_exact"] and found["published"] == found["counts"]["received"]
    fresh = found["age_periods"]["p95"] <= 2 and found["served_p95_ms"] <= found["budget_ms"]
    return int(not (kept and fresh and found["deepest_queue"] <= DEPTH))


if __name__ == "__main__":
    raise SystemExit(main())
