"""A latency budget held through a slowdown: simulated, and with processes that hog the CPU.

    python -m benchmarks.adaptive [--seconds 60] [--hogs N] [--max-latency-ms X] [--plot docs/adaptive.png]

Simulated: the controller on the ladder of the bundle as it was measured here, on a device that is throttled
in the middle. Real: an adaptive session and one that is not take turns, scan by scan, while processes hog the
CPUs in the middle third. Without --max-latency-ms the budget is 1.3 times the p95 found at the start. Writes
benchmarks/results/adaptive.json and the plot.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime import Budget, Session, control, load_bundle
from foundry_edge_runtime.adaptive import ladder_of
from foundry_edge_runtime.bundle import Bundle
from foundry_edge_runtime.control import p95
from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.profile import Profile
from foundry_edge_runtime.profile.measure import benchmark_cloud
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.selection import quick_profile

PLOT = Path(__file__).resolve().parents[1] / "docs" / "adaptive.png"
SIMULATED = (150, 300, 250)  # scans before, during and after throttling
THROTTLED = 1.8
Series = list[dict[str, Any]]


def simulate(profile: Profile, bundle: Bundle, limit_ms: float) -> Series:
    """The controller on made-up latencies: the profile's, times the slowdown, times noise of 5 %."""
    ladder = ladder_of(bundle.manifest, profile, Budget(max_latency_ms=limit_ms))
    names, times = [one.rung.name for one in ladder], [one.latency for one in ladder]
    rng, policy = np.random.default_rng(0), control.Policy()
    first = next((i for i, ms in enumerate(times) if ms <= limit_ms), len(times) - 1)
    state, found = control.start(first, policy), []
    slowness = np.repeat((1.0, THROTTLED, 1.0), SIMULATED)
    for number, slow in enumerate(slowness):
        latency = times[state.level] * slow * rng.normal(1, 0.05)
        found.append({"at": number, "ms": latency, "rung": names[state.level], "slow": bool(slow > 1)})
        state = control.step(policy, times, limit_ms, state, latency)
    return found


def real(bundle: Bundle, limit_ms: float, seconds: float, hogs: int) -> tuple[Series, Series]:
    """An adaptive and a fixed session by turns, with the CPUs hogged in the middle third."""
    cloud = as_cloud(benchmark_cloud(bundle.manifest.preprocessing))
    budget = Budget(max_latency_ms=limit_ms)
    found: tuple[Series, Series] = ([], [])
    hogging: list[subprocess.Popen[bytes]] = []
    with Session(bundle, budget, adaptive=True) as adaptive, Session(bundle, budget) as fixed:
        begin = time.monotonic()
        while (at := time.monotonic() - begin) < seconds:
            busy = seconds / 3 <= at < 2 * seconds / 3
            if busy and not hogging:
                hogging = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(hogs)]
            if not busy:
                _end(hogging)
            for session, series in zip((adaptive, fixed), found, strict=True):
                result = session.run(cloud)
                ms = result.latency.group + result.latency.engine
                series.append({"at": at, "ms": ms, "rung": result.choice.rung.name, "slow": busy})
        _end(hogging)
    return found


def _end(hogging: list[subprocess.Popen[bytes]]) -> None:
    for process in hogging:
        process.kill()
        process.wait()
    hogging.clear()


def summary(series: Series, limit_ms: float) -> dict[str, Any]:
    """p95, share of scans within the budget and rungs used, before, during and after the slowdown."""
    slow = [one["slow"] for one in series]
    begin, end = slow.index(True), len(slow) - slow[::-1].index(True)
    found = {}
    for name, part in (("before", series[:begin]), ("during", series[begin:end]), ("after", series[end:])):
        times = [one["ms"] for one in part]
        rungs = [one["rung"] for one in part]
        found[name] = {
            "scans": len(part),
            "p95_ms": round(p95(times), 2),
            "within": round(float(np.mean(np.array(times) <= limit_ms)), 3),
            "rungs": {rung: rungs.count(rung) for rung in dict.fromkeys(rungs)},
        }
    return found


def plot(path: Path, limit_ms: float, simulated: Series, adaptive: Series, fixed: Series) -> None:
    """Latency over time with the rung in use as the colour; simulated above, real below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 7), dpi=90, layout="constrained")
    axes = figure.subplots(2, 1)
    rungs = list(dict.fromkeys(one["rung"] for one in [*simulated, *adaptive]))
    for one, series, title in (
        (axes[0], simulated, f"simulated: throttled to 1/{THROTTLED}"),
        (axes[1], adaptive, "real: other processes take the CPUs"),
    ):
        if series is adaptive:
            at, ms = ([row[key] for row in fixed] for key in ("at", "ms"))
            one.plot(at, ms, ".", color="0.75", markersize=3, label="not adaptive")
        for place, rung in enumerate(rungs):
            part = [row for row in series if row["rung"] == rung]
            if part:
                at, ms = ([row[key] for row in part] for key in ("at", "ms"))
                one.plot(at, ms, ".", color=f"C{place}", markersize=4, label=rung)
        slow = [row["at"] for row in series if row["slow"]]
        one.axvspan(min(slow), max(slow), color="0.93", zorder=0)
        one.axhline(limit_ms, color="crimson", linewidth=1, label=f"budget {limit_ms:.1f} ms")
        one.set(title=title, ylabel="grouping + engine [ms]", ylim=(0, 4 * limit_ms))
        one.legend(loc="upper left", ncols=4, fontsize=8)
    axes[0].set_xlabel("scan")
    axes[1].set_xlabel("time [s]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """Measure, plot and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hogs", type=int, default=usable_cpus())
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--max-latency-ms", type=float, default=None)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    profile = quick_profile(bundle, Budget(), seconds=30)
    limit_ms = options.max_latency_ms or _limit(bundle)
    simulated = simulate(profile, bundle, limit_ms)
    adaptive, fixed = real(bundle, limit_ms, options.seconds, options.hogs)
    record = {
        "budget_ms": round(limit_ms, 2),
        "hogs": options.hogs,
        "simulated": summary(simulated, limit_ms),
        "adaptive": summary(adaptive, limit_ms),
        "fixed": summary(fixed, limit_ms),
    }
    plot(options.plot, limit_ms, simulated, adaptive, fixed)
    print(f"{record}\nwritten to {keep('adaptive', record)} and {options.plot}")
    return 0


def _limit(bundle: Bundle) -> float:
    cloud = as_cloud(benchmark_cloud(bundle.manifest.preprocessing))
    with Session(bundle) as session:
        times = [session.run(cloud).latency for _ in range(40)]
    return 1.3 * p95([one.group + one.engine for one in times[8:]])


if __name__ == "__main__":
    raise SystemExit(main())
