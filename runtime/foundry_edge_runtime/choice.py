"""Which engine to run: a pure function of the bundle, what was measured here, and the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.manifest import Manifest, Rung
from foundry_edge_runtime.candidates import Candidate, candidates
from foundry_edge_runtime.errors import GateError
from foundry_edge_runtime.profile.model import EngineProfile, Profile
from foundry_edge_runtime.reason import loosen, why, why_not


@dataclass(frozen=True)
class Choice:
    """The engine to run.

    Attributes:
        rung: from the manifest.
        backend: what runs it.
        reason: why, for people.
        met: whether it is known to keep within the whole budget.
        measured: what the choice knew about its speed here, None if nothing.
    """

    rung: Rung
    backend: str
    reason: str
    met: bool
    measured: EngineProfile | None = None


def choose(manifest: Manifest, profile: Profile | None, budget: Budget) -> Choice:
    """The best engine within the budget; the closest one, with ``met=False``, when none fits.

    An engine that was not measured never counts as within a latency or memory limit. Best is the most
    accurate (or the fastest, or the smallest in memory: ``budget.prefer``); ties go to the smaller
    rung. Quality is the head's accuracy, or fidelity to the teacher when a rung states no accuracy. On
    the CPU, FP16 is passed over where the same rung exists in FP32, and INT8 with FP16 where it does in INT8.

    Raises:
        InputError: no rung has the tokens and precision asked for, or an accuracy is asked for that no
            rung states.
        BackendError: every engine that may be used failed to load.
    """
    found = candidates(manifest, profile, budget)
    useful = [one for one in found if not any(other.dominates(one) for other in found)]
    fitting = [one for one in useful if one.excess(budget) <= 0]
    best = min(fitting or useful, key=lambda one: (max(one.excess(budget), 0), *one.rank(budget)))
    reason = why(best, budget, len(found)) if fitting else why_not(best, budget)
    if best.rung.forced:
        failed = ", ".join(sorted(gate for gate, passed in best.rung.gates.items() if not passed))
        reason += f"; it failed the quality gate {failed}"
    return Choice(best.rung, best.backend, reason, bool(fitting), best.measured)


def refuse_unmet(choice: Choice, budget: Budget) -> None:
    """For ``strict``: only an engine that keeps within the budget will do.

    Raises:
        GateError: the choice does not.
    """
    if not choice.met:
        raise GateError(choice.reason, where=choice.rung.name, remedy=loosen(budget))


def to_measure(manifest: Manifest, profile: Profile | None, budget: Budget) -> tuple[Candidate, ...]:
    """The engines to measure next before `choose` can be final; empty when it can be.

    Engines are asked for from the best down, and none below the first that fits: measuring in this order
    gives the same choice as measuring everything.
    """
    latency = budget.max_latency_ms is not None or budget.prefer == "latency"
    memory = budget.max_memory_mb is not None or budget.prefer == "memory"
    if not (latency or memory):
        return ()

    def unknown(one: Candidate) -> bool:
        return math.isinf(one.latency) or (memory and math.isinf(one.memory))

    found = sorted(candidates(manifest, profile, budget), key=lambda one: -one.quality)
    if budget.prefer != "accuracy":
        return tuple(one for one in found if unknown(one))
    for _, alike in groupby(found, key=lambda one: one.quality):
        level = list(alike)
        if any(unknown(one) for one in level):
            return tuple(one for one in level if unknown(one))
        if any(one.excess(budget) <= 0 for one in level):
            return ()
    return ()
