"""A latency budget held through a slowdown: simulated, and with processes that hog the CPU.

    python -m benchmarks.adaptive [--seconds 60] [--hogs N] [--bundle DIR] [--plot docs/adaptive.png]

Simulated: the controller on a ladder of four engines, on a device that is throttled in the middle. Real: an
adaptive session and a fixed one take turns, scan by scan, while processes hog the CPUs in the middle third.
The engines are stand-ins that burn a set amount of CPU work (40, 24, 14 and 8 ms when nothing else runs), so
that the ladder spans a range; with --bundle they are those of a bundle. The budget is 1.5 times the p95 found
at the start. Writes benchmarks/results/adaptive.json and, without --bundle, the plot.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime import Budget, Session, control, load_bundle
from foundry_edge_runtime.backends.fake import FakeBackend
from foundry_edge_runtime.bundle import Bundle
from foundry_edge_runtime.bundle.manifest import Accuracy, Rung
from foundry_edge_runtime.control import p95
from foundry_edge_runtime.device import usable_cpus
from foundry_edge_runtime.profile import THOROUGH, Profile, empty_profile
from foundry_edge_runtime.profile.measure import benchmark_cloud, measure
from foundry_edge_runtime.readers import as_cloud
from foundry_edge_runtime.result import Result

BLOCK = bytes(1 << 14)
ROOM = 1.5  # of the budget over the p95 without a slowdown
PRECISION = "int8"
STAND_INS = {1: 40.0, 2: 24.0, 4: 14.0, 8: 8.0}  # tokens -> ms of CPU time
PLOT = Path(__file__).resolve().parents[1] / "docs" / "adaptive.png"
SIMULATED = (150, 300, 250)  # scans before, during and after throttling
THROTTLED = 1.8
Series = list[dict[str, Any]]


def burn(seconds: float) -> None:
    """As much work as takes so long on a CPU of its own; on a shared one it takes longer."""
    for _ in range(round(seconds * RATE)):
        hashlib.sha256(BLOCK).digest()


def stand_ins(bundle: Bundle) -> tuple[Bundle, FakeBackend, Profile]:
    """Engines that burn CPU time, measured like others; the slower one is, the more accurate."""
    rungs = [_stand_in(rung) for rung in bundle.manifest.rungs if rung.precision == PRECISION]
    rungs = [rung for rung in rungs if rung.tokens in STAND_INS]
    bundle = replace(bundle, manifest=bundle.manifest.model_copy(update={"rungs": tuple(rungs)}))
    latency = {rung.graph.name: STAND_INS[rung.tokens] for rung in rungs}
    backend = FakeBackend(labels=len(bundle.manifest.labels), latency_ms=latency, sleep=burn)
    profile = empty_profile(bundle.manifest).add(
        *(measure(bundle, rung, backend, THOROUGH) for rung in rungs)
    )
    return bundle, backend, profile


def _stand_in(rung: Rung) -> Rung:
    known = rung.accuracy or Accuracy(value=0, samples=1, data="stand-in", protocol="stand-in")
    value = 50 + STAND_INS.get(rung.tokens, 0)
    return rung.model_copy(update={"accuracy": known.model_copy(update={"value": value})})


def simulate(times: list[float], limit_ms: float) -> Series:
    """The controller on made-up latencies: the ladder's, times the slowdown, times noise of 5 %."""
    rng, policy = np.random.default_rng(0), control.Policy()
    state, found = control.start(0, policy), []
    slowness = np.repeat((1.0, THROTTLED, 1.0), SIMULATED)
    for number, slow in enumerate(slowness):
        latency = times[state.level] * slow * rng.normal(1, 0.05)
        rung = f"{times[state.level]:.0f} ms"
        found.append({"at": number, "ms": latency, "rung": rung, "slow": bool(slow > 1)})
        state = control.step(policy, times, limit_ms, state, latency)
    return found


def real(open_session: Callable[[bool], Session], seconds: float, hogs: int) -> tuple[Series, Series]:
    """An adaptive and a fixed session by turns, with the CPUs hogged in the middle third."""
    found: tuple[Series, Series] = ([], [])
    hogging: list[subprocess.Popen[bytes]] = []
    with open_session(True) as adaptive, open_session(False) as fixed:
        cloud = as_cloud(benchmark_cloud(fixed.bundle.manifest.preprocessing))
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
                series.append({"at": at, "ms": ms, "rung": _name(result), "slow": busy})
        _end(hogging)
    return found


def _name(result: Result) -> str:
    """The engine; a stand-in by its time."""
    rung = result.choice.rung
    return rung.name if result.choice.backend != "fake" else f"{STAND_INS[rung.tokens]:.0f} ms"


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
        (axes[1], adaptive, "real: other processes take the CPUs (engines are stand-ins that burn CPU time)"),
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
        limit = limit_ms if series is adaptive else ROOM * max(STAND_INS.values())
        one.axhline(limit, color="crimson", linewidth=1, label=f"budget {limit:.0f} ms")
        one.set(title=title, ylabel="grouping + engine [ms]", ylim=(0, 3.5 * limit))
        one.legend(loc="upper left", ncols=4, fontsize=8)
    axes[0].set_xlabel("scan")
    axes[1].set_xlabel("time [s]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> int:
    """Measure, plot and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--hogs", type=int, default=2 * usable_cpus())
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--plot", type=Path, default=PLOT)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    backend, profile = None, None
    if not options.bundle:
        bundle, backend, profile = stand_ins(bundle)
    limit_ms = _limit(bundle, backend, profile)
    budget = Budget(max_latency_ms=limit_ms, precision=None if options.bundle else PRECISION)

    def open_session(adaptive: bool) -> Session:
        return Session(bundle, budget, profile=profile, backend=backend, adaptive=adaptive)

    adaptive, fixed = real(open_session, options.seconds, options.hogs)
    simulated = simulate(list(STAND_INS.values()), ROOM * max(STAND_INS.values()))
    record = {
        "engines": options.bundle or "stand-ins",
        "budget_ms": round(limit_ms, 2),
        "hogs": options.hogs,
        "simulated": summary(simulated, ROOM * max(STAND_INS.values())),
        "adaptive": summary(adaptive, limit_ms),
        "fixed": summary(fixed, limit_ms),
    }
    if not options.bundle:
        plot(options.plot, limit_ms, simulated, adaptive, fixed)
    print(f"{record}\nwritten to {keep('adaptive', record)}")
    return 0


def _limit(bundle: Bundle, backend: FakeBackend | None, profile: Profile | None) -> float:
    cloud = as_cloud(benchmark_cloud(bundle.manifest.preprocessing))
    budget = Budget(precision=None if backend is None else PRECISION)
    with Session(bundle, budget, backend=backend, profile=profile) as session:
        times = [session.run(cloud).latency for _ in range(40)]
    return ROOM * p95([one.group + one.engine for one in times[8:]])


def _rate() -> float:
    """Blocks hashed in a second of CPU time."""
    begun = time.process_time()
    for _ in range(2000):
        hashlib.sha256(BLOCK).digest()
    return 2000 / (time.process_time() - begun)


RATE = _rate()

if __name__ == "__main__":
    raise SystemExit(main())
