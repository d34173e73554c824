"""Many scans through one session, 1 % of them bad and 1 % slow: does anything grow?

    python -m benchmarks.soak [--scans 20000] [--bundle DIR] [--workers 1]

Resident memory, open files and threads are noted every 1 % of the way; after the first tenth memory may grow
by less than 1 MiB per 1000 scans, files and threads not at all, and the counts must be exact. Writes
benchmarks/results/soak.json; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.inspection import Failure
from foundry_edge_runtime.run import Scans, run
from foundry_edge_runtime.streams.items import Item

CYCLE = 100
GOOD_POINTS, SLOW_POINTS = 4000, 200_000
MOST_MIB_PER_1000 = 1.0


def write_scans(folder: Path) -> list[Path]:
    """A hundred scans: one damaged, one fifty times as large, and of the others half arrays, half text."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(CYCLE):
        path = folder / (f"{number:03}.npy" if number % 2 or number in {0, 50} else f"{number:03}.xyz")
        points = rng.normal(size=(SLOW_POINTS if number == 50 else GOOD_POINTS, 3)).astype(np.float32)
        if number == 0:
            path.write_bytes(b"\x93NUMPY\x01\x00 this is not an array")
        elif path.suffix == ".npy":
            np.save(path, points)
        else:
            np.savetxt(path, points[: GOOD_POINTS // 4], fmt="%.4f")
        paths.append(path)
    return paths


def soak(scans: int, bundle: str | None, workers: int) -> dict[str, Any]:
    """Run them all; what was counted and how memory went."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_scans(Path(folder))

        def items() -> Iterator[Item]:
            for number in range(scans):
                yield Item(os.fspath(paths[number % CYCLE]))

        notes: list[tuple[int, float, int, int]] = []
        failed = 0
        started = time.monotonic()
        with run(Scans(items(), many=True), bundle=bundle, workers=workers) as running:
            for number, result in enumerate(running, 1):
                failed += isinstance(result, Failure)
                if number % max(scans // 100, 1) == 0:
                    notes.append((number, resident_mb() or 0.0, _open_files(), _threads()))
        seconds = time.monotonic() - started
    counts = running.counts.as_json()
    return {
        "scans": scans,
        "workers": workers,
        "seconds": round(seconds, 1),
        "counts": counts,
        "counts_exact": counts["received"] == scans == counts["done"] + failed
        and failed == counts["failed"] == -(-scans // CYCLE),
        **growth(notes),
    }


def growth(notes: list[tuple[int, float, int, int]]) -> dict[str, Any]:
    """The slope of memory by least squares after the first tenth, and the span of files and threads."""
    steady = notes[len(notes) // 10 :]
    slope = float(np.polyfit([n for n, *_ in steady], [mib for _, mib, _, _ in steady], 1)[0])
    return {
        "mib_per_1000_scans": round(1000 * slope, 4),
        "mib_first": round(steady[0][1], 1),
        "mib_last": round(steady[-1][1], 1),
        "open_files": sorted({files for _, _, files, _ in steady}),
        "threads": sorted({threads for *_, threads in steady}),
    }


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> int:
    """Measure, write and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scans", type=int, default=20_000)
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    found = soak(options.scans, options.bundle, options.workers)
    print(f"{found}\nwritten to {keep('soak', found)}")
    steady = len(found["open_files"]) == len(found["threads"]) == 1
    return int(not (found["counts_exact"] and steady and found["mib_per_1000_scans"] < MOST_MIB_PER_1000))


if __name__ == "__main__":
    raise SystemExit(main())
