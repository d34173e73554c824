"""A batch killed at random moments: is every scan done exactly once after resuming?

    python -m benchmarks.kill_batch [--kills 50] [--scans 300] [--signal KILL|TERM] [--workers 1]

Runs `foundry-edge run FOLDER --ledger FILE --save DIR` again and again, and kills it at a random moment each
time; whenever a batch is complete, it is compared with one that was never killed, and the next begins. With
--signal TERM the command must also end with exit code 143 within 5 s and leave nothing half written. Writes
benchmarks/results/kill_batch_SIGNAL.json; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measured import keep
from foundry_edge_runtime.streams.ledger import read_ledger

PROGRAM = Path(sys.executable).with_name("foundry-edge")
GRACE_SECONDS = 5.0


@dataclass
class Tally:
    """What came of all batches; ``before_start`` counts signals that met a Python still starting."""

    kills: int = 0
    before_start: int = 0
    batches: int = 0
    late: int = 0
    wrong_codes: list[int] = field(default_factory=list)
    slowest_exit: float = 0.0
    missing: int = 0
    twice: int = 0
    unlike: int = 0
    leftovers: int = 0
    done_when_killed: list[int] = field(default_factory=list)


def write_scans(folder: Path, count: int) -> None:
    """Small scans, all different."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        np.save(folder / f"{number:05}.npy", rng.normal(size=(1500, 3)).astype(np.float32))


def command(scans: Path, work: Path, extra: list[str]) -> list[str]:
    """The batch as a user types it."""
    kept = ["--ledger", str(work / "ledger"), "--save", str(work / "out")]
    return [str(PROGRAM), "run", str(scans), "--json", *kept, *extra]


def killed(arguments: list[str], after: float | None, number: signal.Signals, tally: Tally) -> bool:
    """Start it and kill it; False when it was done before."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        sent = time.monotonic()
        code = process.wait()
        taken = time.monotonic() - sent
        tally.kills += 1
        tally.slowest_exit = max(tally.slowest_exit, taken)
        tally.late += number == signal.SIGTERM and taken > GRACE_SECONDS
        if code == -number and number == signal.SIGTERM:
            tally.before_start += 1
        elif number == signal.SIGTERM and code != 143:
            tally.wrong_codes.append(code)
        return True
    return False


def check(scans: Path, work: Path, reference: Path, tally: Tally) -> None:
    """A complete batch against one that was never killed."""
    names = Counter(Path(record["input"]).name for record in read_ledger(work / "ledger"))
    expected = {path.name for path in scans.iterdir()}
    tally.batches += 1
    tally.missing += len(expected - set(names))
    tally.twice += sum(count > 1 for count in names.values())
    for name in expected:
        with np.load(work / "out" / f"{name}.npz") as mine, np.load(reference / f"{name}.npz") as other:
            tally.unlike += any(not np.allclose(mine[key], other[key], atol=1e-5) for key in other)
    if "TERM" in work.name:
        tally.leftovers += len(list((work / "out").rglob(".*")))


def batches(kills: int, scans: int, number: signal.Signals, extra: list[str]) -> Tally:
    """Kill until there were enough kills."""
    tally, rng = Tally(), random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_scans(folder / "scans", scans)
        started = time.monotonic()
        subprocess.run(
            command(folder / "scans", folder / "whole", extra),
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        whole = time.monotonic() - started
        while tally.kills < kills:
            work = folder / f"{number.name}-{tally.batches}"
            arguments = command(folder / "scans", work, extra)
            while killed(arguments, _moment(rng, whole, tally.kills < kills), number, tally):
                ledger = work / "ledger"
                tally.done_when_killed.append(len(list(read_ledger(ledger))) if _begun(ledger) else 0)
            check(folder / "scans", work, folder / "whole" / "out", tally)
    return tally


def _moment(rng: random.Random, whole: float, again: bool) -> float | None:
    """When to kill; None to let it end."""
    return rng.uniform(0, whole) if again else None


def _begun(ledger: Path) -> bool:
    return ledger.exists() and b"\n" in ledger.read_bytes()


def main() -> int:
    """Measure, write and print; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--scans", type=int, default=300)
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--bundle", default=None)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    extra = ["--workers", str(options.workers), *(["--bundle", options.bundle] if options.bundle else [])]
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    number = signal.Signals[f"SIG{options.signal}"]
    tally = batches(options.kills, options.scans, number, extra)
    record: dict[str, Any] = {"signal": number.name, "scans": options.scans, **vars(tally)}
    print(f"{record}\nwritten to {keep(f'kill_batch_{options.signal.lower()}', record)}")
    return int(
        any((tally.missing, tally.twice, tally.unlike, tally.late, tally.leftovers, tally.wrong_codes))
    )


if __name__ == "__main__":
    raise SystemExit(main())
