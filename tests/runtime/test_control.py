"""The controller is a pure state machine: it holds what can be held, does not swing, and forgets nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundry_edge_runtime.control import Policy, State, p95, start, step

POLICY = Policy(window=16, least=4, patience=8, longest=64)
LADDERS = st.lists(st.floats(0.5, 100), min_size=1, max_size=6).map(lambda v: sorted(v, reverse=True))
LIMITS = st.floats(0.5, 200)


def drive(
    ladder: list[float], limit: float, factors: list[float], level: int = 0, policy: Policy = POLICY
) -> list[int]:
    """Levels in use before each scan, of a device that is so many times slower than when it was measured."""
    state, levels = start(level, policy), []
    for factor in factors:
        levels.append(state.level)
        state = step(policy, ladder, limit, state, ladder[state.level] * factor)
    return [*levels, state.level]


def switches(levels: list[int]) -> int:
    return sum(a != b for a, b in pairwise(levels))


@given(LADDERS, LIMITS, st.lists(st.floats(0.01, 100), max_size=80), st.integers(0, 5), st.randoms())
def test_level_stays_on_the_ladder_and_the_state_is_bounded(
    ladder: list[float], limit: float, latencies: list[float], level: int, random: object
) -> None:
    state = start(min(level, len(ladder) - 1), POLICY)
    for latency in latencies:
        before = state
        state = step(POLICY, ladder, limit, state, latency)
        assert state == step(POLICY, ladder, limit, before, latency)
        assert 0 <= state.level < len(ladder)
        assert len(state.recent) <= POLICY.window
        assert POLICY.patience <= state.patience <= POLICY.longest
        assert abs(state.level - before.level) == 0 or state.recent == ()


@given(LADDERS, LIMITS, st.floats(0.1, 10), st.integers(0, 5))
def test_in_a_steady_world_it_settles_on_the_best_engine_that_holds(
    ladder: list[float], limit: float, factor: float, level: int
) -> None:
    """From anywhere: down in one step per few scans, up one rung per patience; then never again."""
    levels = drive(ladder, limit, [factor] * 400, min(level, len(ladder) - 1))
    last = levels[-1]
    assert set(levels[-200:]) == {last}
    assert switches(levels) <= 2 * len(ladder)
    slow = [value * factor for value in ladder]
    if slow[-1] <= limit * 0.999:
        assert slow[last] <= limit
    if last > 0:
        assert slow[last - 1] > 0.8 * limit * 0.999


@given(LIMITS)
def test_a_broken_budget_is_left_within_a_few_scans(limit: float) -> None:
    """Far too slow everywhere but at the end: it is left in the scans needed for a judgement."""
    ladder = [2 * limit * (1 + i) for i in reversed(range(3))] + [limit / 2]
    levels = drive(ladder, limit, [1.0] * POLICY.least)
    assert levels[-1] == 3


def test_a_single_outlier_changes_nothing() -> None:
    for at in range(40):
        factors = [1.0] * 60
        factors[at] = 50.0
        assert set(drive([9.0, 3.0], 10.0, factors)) == {0}


def test_slowdown_and_recovery() -> None:
    """Throttled to a third for a while: one step down, and back up once it is over."""
    ladder = [9.0, 5.0, 3.0]
    levels = drive(ladder, 10.0, [1.0] * 50 + [3.0] * 100 + [1.0] * 100)
    assert set(levels[:50]) == {0}
    assert levels[54] == 2
    assert set(levels[54:150]) == {2}
    assert levels[-1] == 1  # 9 ms is above 0.8 x 10 ms, so there is no room for the best
    assert switches(levels) == 2


def test_a_step_up_that_does_not_hold_makes_it_wait_longer() -> None:
    """The better engine is slower than the profile says, which only running it can tell."""
    policy = Policy(window=16, least=4, patience=8, longest=64)
    state, ups, at = start(1, policy), [], 0
    for at in range(1000):
        before = state.level
        latency = (7.0, 3.0)[state.level] * (2.0 if state.level == 0 else 1.0)
        state = step(policy, [7.0, 3.0], 10.0, state, latency)
        if state.level < before:
            ups.append(at)
    gaps = np.diff(ups)
    assert len(gaps) >= 4
    assert (np.diff(gaps[:3]) > 0).all()
    assert gaps.max() <= policy.longest + 2 * policy.least


def test_patience_comes_back_after_a_step_up_that_held() -> None:
    state = replace(start(1, POLICY), patience=32, calm=31, recent=(3.0,) * 16)
    for _ in range(140):
        state = step(POLICY, [6.0, 3.0], 10.0, state, (6.0, 3.0)[state.level])
    assert (state.level, state.patience, state.since_up) == (0, POLICY.patience, None)


@settings(max_examples=200)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=64))
def test_p95_is_the_nearest_rank_but_not_a_lone_maximum(values: list[float]) -> None:
    ordered = sorted(values)
    if len(values) == 1:
        assert p95(values) == values[0]
        return
    rank = math.ceil(0.95 * len(values))
    assert p95(values) == ordered[min(rank, len(values) - 1) - 1]
    assert p95(values) <= ordered[-1]


def test_bottom_of_the_ladder_is_kept() -> None:
    assert set(drive([5.0], 1.0, [1.0] * 50)) == {0}
    assert State(0, 8) == start(0, POLICY)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_only_ratios_matter(scale: float) -> None:
    factors = [1.0] * 20 + [2.5] * 40 + [1.0] * 60
    plain = drive([9.0, 5.0, 3.0], 10.0, factors)
    assert plain == drive([9.0 * scale, 5.0 * scale, 3.0 * scale], 10.0 * scale, factors)
