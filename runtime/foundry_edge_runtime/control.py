"""Holding a latency budget while conditions change: a pure state machine over the ladder of engines.

It sees the latency of each scan and nothing else. When the 95th percentile over a sliding window breaks the
limit, it steps down the ladder, as far as the slowdown seen tells it to; when the next better engine would
keep the limit with room to spare for a while, it steps up. A step up that did not hold makes it wait longer
before the next one, so it does not swing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

_QUANTILE = 0.95


@dataclass(frozen=True)
class Policy:
    """How fast to react.

    Attributes:
        window: scans that the 95th percentile is taken over.
        least: scans of an engine to be seen before it is judged.
        headroom: a step up needs an expected 95th percentile of at most this share of the limit.
        patience: scans in a row for which a step up must look good.
        longest: what patience may grow to after steps up that did not hold.
    """

    window: int = 32
    least: int = 4
    headroom: float = 0.8
    patience: int = 32
    longest: int = 1024


@dataclass(frozen=True)
class State:
    """What the controller remembers.

    Attributes:
        level: the engine in use, counted from the best of the ladder.
        recent: latencies in ms since the last switch, at most a window of them.
        calm: scans in a row for which a step up looked good.
        patience: scans in a row that are asked for now.
        since_up: scans since the last step up; None when the last switch was not one.
    """

    level: int
    patience: int
    recent: tuple[float, ...] = ()
    calm: int = 0
    since_up: int | None = None


def start(level: int, policy: Policy) -> State:
    """The state before the first scan."""
    return State(level, policy.patience)


def step(policy: Policy, ladder: Sequence[float], limit_ms: float, state: State, latency_ms: float) -> State:
    """The state after a scan.

    Args:
        policy: how fast to react.
        ladder: the latency that each engine was measured to have here, in ms, best engine first, each at
            least as fast as the one before.
        limit_ms: the budget.
        state: before the scan.
        latency_ms: of the scan, grouping and engine.
    """
    since_up = None if state.since_up is None else state.since_up + 1
    patience = state.patience
    if since_up is not None and since_up > 4 * patience:  # the step up has held
        since_up, patience = None, policy.patience
    recent = (*state.recent, latency_ms)[-policy.window :]
    state = replace(state, recent=recent, since_up=since_up, patience=patience)
    if len(recent) < policy.least:
        return state
    if p95(recent) > limit_ms:
        return _down(policy, ladder, limit_ms, state)
    return _calmer(policy, ladder, limit_ms, state)


def p95(latencies: Sequence[float]) -> float:
    """The 95th percentile (nearest rank), but never the single largest of several: that may be chance."""
    ordered = sorted(latencies)
    rank = math.ceil(_QUANTILE * len(ordered)) - 1
    return ordered[max(min(rank, len(ordered) - 2), 0)]


def _down(policy: Policy, ladder: Sequence[float], limit_ms: float, state: State) -> State:
    """To the best engine below that is expected to keep the limit, else to the fastest."""
    below = range(state.level + 1, len(ladder))
    if not below:
        return replace(state, calm=0)
    factor = p95(state.recent) / ladder[state.level]
    target = next((one for one in below if ladder[one] * factor <= limit_ms), below[-1])
    failed = state.since_up is not None
    patience = min(2 * state.patience, policy.longest) if failed else state.patience
    return State(target, patience)


def _calmer(policy: Policy, ladder: Sequence[float], limit_ms: float, state: State) -> State:
    """One more scan towards a step up; the step, when there were enough."""
    if state.level == 0:
        return state
    expected = ladder[state.level - 1] * p95(state.recent) / ladder[state.level]
    calm = state.calm + 1 if expected <= policy.headroom * limit_ms else 0
    if calm < state.patience:
        return replace(state, calm=calm)
    return State(state.level - 1, state.patience, since_up=0)
