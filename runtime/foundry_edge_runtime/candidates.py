"""The engines a budget may be met with, reduced to what the choice looks at."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from foundry_edge_runtime.backends.registry import DEFAULT, PLANNED
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.manifest import Manifest, Rung, rung_name
from foundry_edge_runtime.errors import BackendError, InputError
from foundry_edge_runtime.profile.model import EngineProfile, Profile

_WITHOUT_HALF = {"fp16": "fp32", "int8-fp16": "int8"}


@dataclass(frozen=True)
class Candidate:
    """A rung on a backend.

    Attributes:
        rung, backend: the engine.
        measured: what is known about it here.
        quality: accuracy of the head in percent, or 100 x likeness to the teacher.
        stated: whether quality is the accuracy.
        untried: built ahead for this device, and not measured yet.
    """

    rung: Rung
    backend: str
    measured: EngineProfile | None
    quality: float
    stated: bool
    untried: bool = False

    @property
    def latency(self) -> float:
        """90th percentile of grouping and engine in ms; infinite when it was not measured."""
        return math.inf if self.measured is None else self.measured.total_ms.p90

    @property
    def memory(self) -> float:
        """Peak resident memory in MiB; infinite when it was not measured."""
        known = None if self.measured is None else self.measured.memory_mb
        return math.inf if known is None else known

    def dominates(self, other: Candidate) -> bool:
        """Whether it is at least as good in quality, latency and memory, and better in one of them.

        An engine that was built for this device is worth trying: nothing dominates it before it was measured.
        """
        if other.untried:
            return False
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
            "accuracy": (-self.quality, self.rung.bytes, not self.untried, self.latency),
            "latency": (self.latency, -self.quality, self.rung.bytes),
            "memory": (self.memory, -self.quality, self.rung.bytes),
        }
        return (
            *first[budget.prefer],
            self.rung.tokens,
            self.rung.bypassed,
            self.rung.precision,
            self.backend,
        )


def candidates(manifest: Manifest, profile: Profile | None, budget: Budget) -> list[Candidate]:
    """The engines that the budget's pins allow and that are not known to fail.

    Raises:
        InputError, BackendError: see `choose`.
    """
    rungs = rungs_allowed(manifest, budget)
    if budget.min_accuracy:
        rungs = tuple(rung for rung in rungs if rung.accuracy is not None)
    if not rungs:
        raise InputError(
            f"--min-accuracy was given, but no rung of bundle {manifest.id} that may be used states one",
            remedy="leave it out, or export from a student with a head",
        )
    stated = all(rung.accuracy is not None for rung in rungs)
    engines = [one for rung in rungs for one in _engines(rung, profile, budget, stated)]
    there = {(one.rung.name, one.backend) for one in engines}
    found = [one for one in engines if not widened(one.rung, one.backend, there)]
    if not found and budget.backend in PLANNED and not (profile and profile.failures):
        raise BackendError(
            f"{budget.backend} has built no engine of bundle {manifest.id} that may be used on this device",
            remedy=f"build them with: foundry-edge build --backend {budget.backend}",
        )
    if not found:
        raise BackendError(
            f"no engine of bundle {manifest.id} that may be used loads here: {_reason(profile)}",
            remedy="`foundry-edge bench` shows the reason for each",
        )
    return found


def _engines(rung: Rung, profile: Profile | None, budget: Budget, stated: bool) -> list[Candidate]:
    """What was built ahead or measured for a rung; if nothing, what would run it, unless that failed."""
    backend = budget.backend or DEFAULT
    quality = rung.accuracy.value if stated and rung.accuracy is not None else 100 * rung.likeness
    measured = [
        Candidate(rung, one.backend, one, quality, stated)
        for one in (profile.measured(rung) if profile else ())
        if budget.backend in (None, one.backend)
    ]
    known = {one.backend for one in measured}
    untried = [
        Candidate(rung, name, None, quality, stated, untried=True)
        for name in (profile.backends(rung) if profile else ())
        if budget.backend in (None, name) and name not in known
    ]
    found = [*untried, *measured]
    if found or backend in PLANNED or (profile and profile.failed(rung, backend)):
        return found
    return [Candidate(rung, backend, None, quality, stated)]


def widened(rung: Rung, backend: str, engines: Collection[tuple[str, str]]) -> bool:
    """Whether half precision is computed in FP32 there, and the rung without it can be had.

    ONNX Runtime's CPU provider has no half-precision kernels for most operators and casts around each, so
    such a rung is only slower.

    Args:
        rung, backend: the engine.
        engines: names of rungs and backends that can be had.
    """
    if rung.precision not in _WITHOUT_HALF or backend != DEFAULT:
        return False
    return (rung_name(rung.tokens, _WITHOUT_HALF[rung.precision], rung.bypassed), DEFAULT) in engines


def _reason(profile: Profile | None) -> str:
    return profile.failures[0].reason if profile and profile.failures else "none was measured"


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
