"""Which engine to run: a pure function of the bundle, what was measured here, and the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby

from foundry_edge_runtime.backends.registry import DEFAULT
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.manifest import Manifest, Rung
from foundry_edge_runtime.errors import BackendError, InputError
from foundry_edge_runtime.profile.model import EngineProfile, Profile


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


@dataclass(frozen=True)
class _Candidate:
    """A rung on a backend, reduced to what the choice looks at; infinite where nothing was measured."""

    rung: Rung
    backend: str
    measured: EngineProfile | None
    quality: float

    @property
    def latency(self) -> float:
        return math.inf if self.measured is None else self.measured.total_ms.p90

    @property
    def memory(self) -> float:
        known = None if self.measured is None else self.measured.memory_mb
        return math.inf if known is None else known

    def dominates(self, other: _Candidate) -> bool:
        mine = (-self.quality, self.latency, self.memory)
        theirs = (-other.quality, other.latency, other.memory)
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def excess(self, budget: Budget) -> float:
        """By how much of a limit it breaks the budget at worst; not above 0 when it fits."""
        parts = [0.0]
        if budget.max_latency_ms is not None:
            parts.append(self.latency / budget.max_latency_ms - 1)
        if budget.max_memory_mb is not None:
            parts.append(self.memory / budget.max_memory_mb - 1)
        if budget.min_accuracy and self.rung.accuracy is not None:
            parts.append(1 - self.rung.accuracy.value / budget.min_accuracy)
        return max(parts)

    def rank(self, budget: Budget) -> tuple[float | int | str, ...]:
        """Sort key, best first; its tail makes the order total."""
        first: dict[str, tuple[float, ...]] = {
            "accuracy": (-self.quality, self.rung.bytes, self.latency),
            "latency": (self.latency, -self.quality, self.rung.bytes),
            "memory": (self.memory, -self.quality, self.rung.bytes),
        }
        return (*first[budget.prefer], self.rung.tokens, self.rung.precision, self.backend)


def rungs_allowed(manifest: Manifest, budget: Budget) -> tuple[Rung, ...]:
    """The rungs with the tokens and precision asked for; those whose gate failed only if no other is left.

    Raises:
        InputError: the bundle has none.
    """
    pinned = [
        rung
        for rung in manifest.rungs
        if budget.tokens in (None, rung.tokens) and budget.precision in (None, rung.precision)
    ]
    if not pinned:
        asked = [f"--tokens {budget.tokens}"] * (budget.tokens is not None)
        asked += [f"--precision {budget.precision}"] * (budget.precision is not None)
        raise InputError(
            f"bundle {manifest.id} has no rung for {' '.join(asked)}",
            remedy="it has " + ", ".join(rung.name for rung in manifest.rungs),
        )
    return tuple([rung for rung in pinned if not rung.forced] or pinned)


def choose(manifest: Manifest, profile: Profile | None, budget: Budget) -> Choice:
    """The best engine within the budget; the closest one, with ``met=False``, when none fits.

    An engine that was not measured never counts as within a latency or memory limit. Best is the most
    accurate (or the fastest, or the smallest in memory: ``budget.prefer``); ties go to the smaller
    rung. Quality is the head's accuracy, or fidelity to the teacher when a rung states no accuracy.

    Raises:
        InputError: no rung has the tokens and precision asked for, or an accuracy is asked for that no
            rung states.
        BackendError: every engine that may be used failed to load.
    """
    candidates = _candidates(manifest, profile, budget)
    useful = [one for one in candidates if not any(other.dominates(one) for other in candidates)]
    fitting = [one for one in useful if one.excess(budget) <= 0]
    best = min(fitting or useful, key=lambda one: (max(one.excess(budget), 0), *one.rank(budget)))
    reason = _why(best, budget, len(candidates)) if fitting else _why_not(best, budget)
    if best.rung.forced:
        failed = ", ".join(sorted(gate for gate, passed in best.rung.gates.items() if not passed))
        reason += f"; it failed the quality gate {failed}"
    return Choice(best.rung, best.backend, reason, bool(fitting), best.measured)


def to_measure(manifest: Manifest, profile: Profile | None, budget: Budget) -> tuple[Rung, ...]:
    """The rungs to measure next before `choose` can be final; empty when it can be.

    Rungs are asked for from the best down, and none below the first that fits: measuring in this order
    gives the same choice as measuring everything.
    """
    latency = budget.max_latency_ms is not None or budget.prefer == "latency"
    memory = budget.max_memory_mb is not None or budget.prefer == "memory"
    if not (latency or memory):
        return ()

    def unknown(one: _Candidate) -> bool:
        return math.isinf(one.latency) or (memory and math.isinf(one.memory))

    candidates = sorted(_candidates(manifest, profile, budget), key=lambda one: -one.quality)
    if budget.prefer != "accuracy":
        return tuple(one.rung for one in candidates if unknown(one))
    for _, alike in groupby(candidates, key=lambda one: one.quality):
        level = list(alike)
        if any(unknown(one) for one in level):
            return tuple(one.rung for one in level if unknown(one))
        if any(one.excess(budget) <= 0 for one in level):
            return ()
    return ()


def _candidates(manifest: Manifest, profile: Profile | None, budget: Budget) -> list[_Candidate]:
    rungs = rungs_allowed(manifest, budget)
    if budget.min_accuracy:
        rungs = tuple(rung for rung in rungs if rung.accuracy is not None)
    if not rungs:
        raise InputError(
            f"--min-accuracy was given, but no rung of bundle {manifest.id} that may be used states one",
            remedy="leave it out, or export from a student with a head",
        )
    stated = all(rung.accuracy is not None for rung in rungs)
    found = [one for rung in rungs for one in _engines(rung, profile, budget, _quality(rung, stated))]
    if not found:
        raise BackendError(
            f"no engine of bundle {manifest.id} that may be used loads here: {_reason(profile)}",
            remedy="`foundry-edge bench` shows the reason for each",
        )
    return found


def _engines(rung: Rung, profile: Profile | None, budget: Budget, quality: float) -> list[_Candidate]:
    """What was measured for a rung; if nothing, the backend that would run it, unless that failed."""
    backend = budget.backend or DEFAULT
    measured = [
        _Candidate(rung, one.backend, one, quality)
        for one in (profile.measured(rung) if profile else ())
        if budget.backend in (None, one.backend)
    ]
    if measured or (profile and profile.failed(rung, backend)):
        return measured
    return [_Candidate(rung, backend, None, quality)]


def _reason(profile: Profile | None) -> str:
    return profile.failures[0].reason if profile and profile.failures else "none was measured"


def _quality(rung: Rung, stated: bool) -> float:
    """Accuracy when every rung that may be used states one, else likeness to the teacher; in percent."""
    return rung.accuracy.value if stated and rung.accuracy is not None else 100 * rung.likeness


def _why(best: _Candidate, budget: Budget, count: int) -> str:
    limits = _limits(budget)
    if count == 1 and not limits:
        return "the one asked for" if budget.tokens or budget.precision else "the only one in the bundle"
    text = _adjective(best.rung, budget) + (f" within {limits}" if limits else f" of {count}")
    return f"{text} ({_figures(best, budget)})" if _figures(best, budget) else text


def _adjective(rung: Rung, budget: Budget) -> str:
    if budget.prefer != "accuracy":
        return {"latency": "the fastest", "memory": "the smallest in memory"}[budget.prefer]
    if rung.accuracy is not None:
        return "the most accurate"
    return "the most faithful to its teacher" if rung.fidelity else "the one with most tokens"


def _why_not(best: _Candidate, budget: Budget) -> str:
    figures = _figures(best, budget)
    return f"none keeps within {_limits(budget)}; this is the closest" + (f" ({figures})" if figures else "")


def _limits(budget: Budget) -> str:
    parts = [
        f"{budget.max_latency_ms:g} ms" if budget.max_latency_ms is not None else "",
        f"{budget.max_memory_mb:g} MiB" if budget.max_memory_mb is not None else "",
        f"at least {budget.min_accuracy:g} %" if budget.min_accuracy else "",
    ]
    return ", ".join(part for part in parts if part)


def _figures(best: _Candidate, budget: Budget) -> str:
    parts = [
        f"{best.latency:.1f} ms p90" if budget.max_latency_ms is not None and best.measured else "",
        f"{best.memory:.0f} MiB" if budget.max_memory_mb is not None and math.isfinite(best.memory) else "",
        f"accuracy {best.rung.accuracy.value:.1f} %" if best.rung.accuracy else "",
        f"cosine {best.rung.fidelity.cosine_mean:.4f}"
        if best.rung.fidelity and not best.rung.accuracy
        else "",
    ]
    return ", ".join(part for part in parts if part)
