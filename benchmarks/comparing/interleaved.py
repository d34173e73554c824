"""Taking turns: whatever else the machine does meets all contenders alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

REST = 0.005  # seconds between two contenders
POOL_REST = 0.06  # the same where one has a pool of threads: ONNX Runtime's spin for 35 ms after a run
WARM_UP = 2
Times = dict[str, list[float]]


def interleave(
    contenders: Mapping[str, Callable[[], object]], seconds: float, rounds: int = 5, rest: float = REST
) -> Times:
    """Run every contender in turn, in an order drawn anew each round.

    Args:
        contenders: name -> what to time.
        seconds: go on for so long.
        rounds: but at least so many rounds, after two that are not counted.
        rest: seconds before each run.

    Returns:
        Milliseconds of every run, by name.
    """
    rng, names = random.Random(0), list(contenders)
    found: Times = {name: [] for name in names}
    end, done = time.monotonic() + seconds, 0
    while done < WARM_UP + rounds or time.monotonic() < end:
        rng.shuffle(names)
        for name in names:
            time.sleep(rest)
            begin = time.perf_counter()
            contenders[name]()
            if done >= WARM_UP:
                found[name].append(1e3 * (time.perf_counter() - begin))
        done += 1
    return found


def figures(times: list[float]) -> dict[str, float]:
    """The least and the median of milliseconds, as rows hold them."""
    return {"ms_min": round(min(times), 4), "ms_median": round(statistics.median(times), 4)}
