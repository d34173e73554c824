"""What the rungs take on the machine that exports them: a first impression, `foundry-edge bench` measures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foundry_edge_calibration.engine import Array, open_session
from foundry_edge_export.draft import Draft
from foundry_edge_export.precisions import made_for

ROUNDS = 30
LEAST_ROUNDS = 5
SECONDS = 4.0


@dataclass(frozen=True)
class Latency:
    """One rung on ONNX Runtime's CPU provider, one cloud at a time, all CPUs; grouping not included.

    Attributes:
        p50_ms: median.
        runs: timed.
    """

    p50_ms: float
    runs: int


def cpu_latencies(drafts: Sequence[Draft], groups: Array, centers: Array) -> dict[str, Latency]:
    """Rung name -> latency of what is not made for GPUs alone.

    The rungs take turns, so that whatever else the machine does meets all alike.

    Args:
        drafts: rungs.
        groups: (M, c, K, 3) float32, of which the first cloud is run.
        centers: (M, c, 3) float32.
    """
    timed = [draft for draft in drafts if made_for(draft.precision) == "any"]
    sessions = {draft.name: open_session(draft.model) for draft in timed}
    feed = {"groups": groups[:1], "centers": centers[:1]}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.monotonic() + SECONDS
    for done in range(ROUNDS + 1):
        if done > LEAST_ROUNDS and time.monotonic() > end:
            break
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(None, feed)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: Latency(float(np.median(found[1:])), len(found) - 1) for name, found in times.items()}
