"""Mutation fuzzing of every reader: seeded, in-process, each mutant under the checks of R3.

    python benchmarks/fuzz_readers.py --mutants 1000000

Every mutant must end in points that keep the policy, or in one error of the family, within 5 seconds.
"""

from __future__ import annotations

import argparse
import faulthandler
import re
import resource
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.scan_samples import REPAIRS, SAMPLES
from foundry_edge_runtime.errors import FoundryEdgeError
from foundry_edge_runtime.pointcloud import PointCloud
from foundry_edge_runtime.readers.policy import MAX_COORDINATE
from foundry_edge_runtime.readers.raw import Options
from foundry_edge_runtime.readers.reading import scans_in
from foundry_edge_runtime.readers.source import from_bytes

MAX_SECONDS = 5.0
_CLAIMS = (b"0", b"-1", b"1", b"2147483648", b"4294967295", b"4294967296", b"9223372036854775807",
           b"99999999999999999999", b"1e9", b"nan", b"")  # fmt: skip
_WORDS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x8000, 0xFF)
_NUMBER = re.compile(rb"[0-9]+")
_HEADER = 2048
_BATCH = 10_000


@dataclass
class Report:
    """What came of the mutants.

    Attributes:
        outcomes: (sample, "points" | "error" | "crash" | "slow") -> how many.
        crashes: sample, mutant number and what was raised or broken.
        slowest: seconds of the slowest mutant, and its name.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")


def mutate(data: bytes, generator: np.random.Generator) -> bytes:
    """One to three random faults."""
    for _ in range(int(generator.integers(1, 4))):
        mutation = _MUTATIONS[int(generator.integers(len(_MUTATIONS)))]
        data = mutation(data, generator) if data else b"\x00"
    return data


def _flip(data: bytes, generator: np.random.Generator) -> bytes:
    out = bytearray(data)
    for position in generator.integers(0, len(out), int(generator.integers(1, 9))):
        out[position] ^= 1 << int(generator.integers(8))
    return bytes(out)


def _flip_header(data: bytes, generator: np.random.Generator) -> bytes:
    out = bytearray(data)
    for position in generator.integers(0, min(len(out), 400), int(generator.integers(1, 5))):
        out[position] = int(generator.integers(256))
    return bytes(out)


def _truncate(data: bytes, generator: np.random.Generator) -> bytes:
    return data[: int(generator.integers(0, len(data) + 1))]


def _extend(data: bytes, generator: np.random.Generator) -> bytes:
    return data + generator.bytes(int(generator.integers(1, 64)))


def _claim(data: bytes, generator: np.random.Generator) -> bytes:
    """Another number in the header: a size claim."""
    found = list(_NUMBER.finditer(data[:_HEADER]))
    if not found:
        return data
    match = found[int(generator.integers(len(found)))]
    return data[: match.start()] + _CLAIMS[int(generator.integers(len(_CLAIMS)))] + data[match.end() :]


def _word(data: bytes, generator: np.random.Generator) -> bytes:
    """An extreme integer of 2, 4 or 8 bytes at a random place, mostly near the start or the end."""
    width = (2, 4, 8)[int(generator.integers(3))]
    reach = (512, 512, len(data))[int(generator.integers(3))]
    position = int(generator.integers(0, max(1, min(reach, len(data)))))
    if generator.integers(4) == 0:
        position = max(0, len(data) - position - width)
    value = (
        _WORDS[int(generator.integers(len(_WORDS)))] * (1 if width < 8 else 0x100000001) % (1 << 8 * width)
    )
    return data[:position] + value.to_bytes(width, "little") + data[position + width :]


def _lines(data: bytes, generator: np.random.Generator) -> bytes:
    """A line of the header deleted, doubled or moved."""
    lines = data.split(b"\n", 24)
    index, other = (int(generator.integers(len(lines))) for _ in range(2))
    choice = int(generator.integers(3))
    if choice == 0 and len(lines) > 1:
        del lines[index]
    elif choice == 1:
        lines.insert(index, lines[index])
    else:
        lines[index], lines[other] = lines[other], lines[index]
    return b"\n".join(lines)


def _block(data: bytes, generator: np.random.Generator) -> bytes:
    """A block of bytes deleted, doubled or zeroed."""
    start = int(generator.integers(len(data)))
    size = int(generator.integers(1, 65))
    block = data[start : start + size]
    return (
        data[:start]
        + (b"", block + block, bytes(len(block)))[int(generator.integers(3))]
        + data[start + size :]
    )


_MUTATIONS = (_flip, _flip_header, _truncate, _extend, _claim, _word, _lines, _block)


def broken_promise(cloud: PointCloud) -> str:
    """Which promise of the policy a cloud does not keep ("" when it keeps all)."""
    if len(cloud) < 1 or not np.isfinite(cloud.xyz).all():
        return "non-finite or no points"
    if cloud.xyz.dtype != np.float32 or cloud.read - sum(cloud.dropped.values()) not in (
        len(cloud),
        cloud.read,
    ):
        return "counts do not add up"
    low, high = np.array(cloud.bounds.min), np.array(cloud.bounds.max)
    if np.abs([low, high]).max() > MAX_COORDINATE or (low > high).any():
        return "bounds out of range"
    reach = np.abs(cloud.xyz + cloud.origin).max()
    if reach > 1.01 * MAX_COORDINATE:
        return "coordinates out of range"
    if any(len(column) != len(cloud) for column in cloud.attributes.values()):
        return "attributes of another length"
    return ""


def run_one(name: str, data: bytes, options: Options) -> tuple[str, str]:
    """Outcome and message of one mutant."""
    try:
        for cloud in scans_in(from_bytes(data, name), options):
            if problem := broken_promise(cloud):
                return "crash", problem
    except FoundryEdgeError as error:
        text = str(error)
        if "\n" in text or name not in text:
            return "crash", f"the message is no single line that names the file: {text!r}"
        return "error", text
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "crash", f"{type(error).__name__}: {error}"
    return "points", ""


def fuzz(
    mutants: int, seed: int = 0, names: tuple[str, ...] = (), *, first: int = 0, report: Report | None = None
) -> Report:
    """Run ``mutants`` mutants from number ``first`` on, spread over all samples, into ``report``."""
    report = report or Report()
    warnings.simplefilter("error")  # a warning of a library must not reach the user either
    samples = {name: make() for name, make in SAMPLES.items() if not names or name in names}
    listed = sorted(samples)
    for number in range(first, first + mutants):
        name = listed[number % len(listed)]
        generator = np.random.default_rng([seed, number])
        data = mutate(samples[name], generator)
        if name in REPAIRS and generator.integers(4):
            data = REPAIRS[name](data)  # else hardly a mutant would get past the checksums
        options = Options(
            salvage=bool(number // len(listed) % 4 == 0), vertices=bool(generator.integers(2)), samples=64
        )
        faulthandler.dump_traceback_later(10 * MAX_SECONDS, exit=True)  # a hang in C code
        start = time.perf_counter()
        outcome, message = run_one(name, data, options)
        seconds = time.perf_counter() - start
        _note(report, f"{name} mutant {number} seed {seed}", name, outcome, message, seconds)
    faulthandler.cancel_dump_traceback_later()
    return report


def _note(report: Report, label: str, name: str, outcome: str, message: str, seconds: float) -> None:
    report.slowest = max(report.slowest, (seconds, label))
    if seconds > MAX_SECONDS:
        outcome, message = "slow", f"{seconds:.1f} s"
    report.outcomes[name, outcome] += 1
    if outcome in ("crash", "slow"):
        report.crashes.append(f"{label}: {message}")


def print_report(report: Report, seconds: float) -> None:
    """The table for docs/reading.md."""
    names = sorted({name for name, _ in report.outcomes})
    print("| sample | mutants | points | clear error | crash or hang |\n|---|---|---|---|---|")
    for name in names:
        good, bad = report.outcomes[name, "points"], report.outcomes[name, "error"]
        worst = report.outcomes[name, "crash"] + report.outcomes[name, "slow"]
        print(f"| {name} | {good + bad + worst} | {good} | {bad} | {worst} |")
    total = sum(report.outcomes.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"\n{total} mutants, {len(report.crashes)} crashes or hangs, {seconds:.0f} s, peak {peak} MiB,",
        end=" ",
    )
    print(f"slowest {report.slowest[0]:.2f} s ({report.slowest[1]})")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="names of samples")
    arguments = parser.parse_args()
    start = time.perf_counter()
    report = Report()
    for first in range(0, arguments.mutants, _BATCH):
        count = min(_BATCH, arguments.mutants - first)
        fuzz(count, arguments.seed, tuple(arguments.only), first=first, report=report)
        print(f"{first + count} mutants, {len(report.crashes)} crashes or hangs", file=sys.stderr, flush=True)
    print_report(report, time.perf_counter() - start)
    for line in report.crashes[:50]:
        print(line, file=sys.stderr)
    return 1 if report.crashes else 0


if __name__ == "__main__":
    raise SystemExit(main())
