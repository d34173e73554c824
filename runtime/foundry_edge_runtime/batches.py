"""`--batch auto`: how many scans to put through the engine at once, found by trying."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from foundry_edge_runtime import feeding
from foundry_edge_runtime.backends.base import Engine
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import Preprocessing
from foundry_edge_runtime.profile.measure import benchmark_cloud

AUTO = "auto"
SIZES = (1, 2, 4, 8, 16, 32)
_RUNS = 5
_WORTH = 1.05  # a larger batch must give this much more throughput


def parse_batch(batch: int | str) -> int | None:
    """``--batch`` as a number, None for "auto".

    Raises:
        InputError: it is neither "auto" nor 1 to 32.
    """
    text = str(batch)
    if text == AUTO:
        return None
    if not (text.isdecimal() and 1 <= int(text) <= SIZES[-1]):
        raise InputError(f"--batch must be {AUTO} or 1 to {SIZES[-1]}, found {text!r}")
    return int(text)


def best_batch(seconds: Callable[[int], float]) -> int:
    """The smallest batch size beyond which doubling brings less than 5 % more scans a second.

    Args:
        seconds: what the engine takes for a batch of a size.
    """
    best, rate = SIZES[0], SIZES[0] / seconds(SIZES[0])
    for size in SIZES[1:]:
        found = size / seconds(size)
        if found < _WORTH * rate:
            break
        best, rate = size, found
    return best


def engine_seconds(engine: Engine, spec: Preprocessing, size: int) -> float:
    """The median time that a warm engine takes for a batch of this size, made ready beforehand.

    Raises:
        BackendError: the engine failed.
    """
    batch = [feeding.make_ready(benchmark_cloud(spec), spec, engine)] * size
    engine.warm(size)
    taken = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        feeding.compute(engine, batch, spec)
        taken.append(time.perf_counter() - started)
    return max(statistics.median(taken), 1e-9)
