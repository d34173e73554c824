"""INT8 and FP16 against FP32 on ONNX Runtime's CPU provider, every rung of a bundle in one interleaved run.

    python benchmarks/precision.py foundry-out/bundle --batches 1,8 --seconds 20

Rungs take turns, so that whatever else the machine does meets all alike; a turn is five runs, the first of
which does not count, because the other rungs have driven its weights and activations out of the caches.
Writes benchmarks/results/precision.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from foundry_edge.data.samples import load_samples
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_calibration.engine import Array, open_session
from foundry_edge_export.bundle_files import read_drafts
from foundry_edge_export.size import Size
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.files import write_text

RESULTS = Path(__file__).resolve().parent / "results" / "precision.json"
WARM_UP = 3
TURN = 5


@dataclass
class Rung:
    """One rung's session and what it took."""

    name: str
    size: Size
    precision: str
    session: Any
    milliseconds: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)

    def turn(self, groups: Array, centers: Array) -> None:
        """One run that does not count, and some that are timed."""
        self._run(groups, centers)
        self.milliseconds.pop()
        self.cpu_milliseconds.pop()
        for _ in range(TURN - 1):
            self._run(groups, centers)

    def _run(self, groups: Array, centers: Array) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.session.run(None, {"groups": groups, "centers": centers})
        self.milliseconds.append(1e3 * (time.perf_counter() - wall))
        self.cpu_milliseconds.append(1e3 * (time.process_time() - cpu))

    def figures(self) -> dict[str, float]:
        """Milliseconds per run, and of CPU time, which other processes disturb less."""
        times = np.array(self.milliseconds[WARM_UP:])
        p10, p50, p90 = np.percentile(times, (10, 50, 90))
        cpu = float(np.median(self.cpu_milliseconds[WARM_UP:]))
        figures = {"p10": p10, "p50": p50, "p90": p90, "cpu_p50": cpu}
        return {name: round(float(value), 3) for name, value in figures.items()} | {"runs": len(times)}


def measure(rungs: list[Rung], groups: Array, centers: Array, seconds: float) -> None:
    """Rounds of all rungs until the time is over."""
    for rung in rungs:
        rung.milliseconds.clear()
        rung.cpu_milliseconds.clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(rungs[0].milliseconds) < WARM_UP + 5:
        for rung in rungs:
            rung.turn(groups, centers)


def table(rungs: list[Rung], batch: int) -> list[dict[str, Any]]:
    """One row per rung, with its speed relative to the FP32 rung of the same tokens."""
    fp32 = {rung.size: rung.figures() for rung in rungs if rung.precision == "fp32"}
    rows = []
    for rung in rungs:
        figures, base = rung.figures(), fp32.get(rung.size)
        row: dict[str, Any] = {"batch": batch, "rung": rung.name, "ms": figures}
        if base:
            row["speed_up_p50"] = round(base["p50"] / figures["p50"], 2)
            row["speed_up_cpu"] = round(base["cpu_p50"] / figures["cpu_p50"], 2)
        rows.append(row)
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", nargs="?", help="default: as `foundry-edge run` finds it")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--precision", default="fp32,fp16,int8,int8-fp16")
    parser.add_argument("--threads", type=int, default=0, help="0: all CPUs")
    parser.add_argument("--seconds", type=float, default=20, help="per batch size")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    rungs = [
        Rung(draft.name, draft.size, draft.precision, open_session(draft.model, options.threads))
        for draft in read_drafts(bundle)
        if draft.precision in options.precision.split(",")
    ]
    clouds = group_clouds(load_samples().xyz[:64], bundle.manifest.preprocessing)
    rows = []
    for batch in map(int, options.batches.split(",")):
        measure(rungs, clouds[0][:batch], clouds[1][:batch], options.seconds)
        rows += table(rungs, batch)
    for row in rows:
        speed = f"x{row.get('speed_up_p50', '-')} (CPU time x{row.get('speed_up_cpu', '-')})"
        print(f"batch {row['batch']:2}  {row['rung']:9}  {row['ms']['p50']:8.2f} ms  {speed}")
    record = {
        "bundle": bundle.manifest.id,
        "machine": {"processor": processor(), "cpus": os.cpu_count(), "load": os.getloadavg()[0]},
        "threads": options.threads,
        "onnxruntime": onnxruntime.__version__,
        "rows": rows,
    }
    write_text(options.out, json.dumps(record, indent=1) + "\n")


def processor() -> str:
    """The CPU's name and which of the instructions that matter here it has."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8") if flag in flags]
    return f"{name or platform.machine()} ({', '.join(known)})"


if __name__ == "__main__":
    main()
