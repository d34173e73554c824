"""`--adaptive`: the ladder of engines kept warm, and the controller that picks among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from foundry_edge_runtime import control
from foundry_edge_runtime.backends.base import Engine
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.manifest import Manifest
from foundry_edge_runtime.candidates import Candidate, candidates
from foundry_edge_runtime.choice import Choice
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.profile.model import Profile

WARM_MB = 256.0
"""What the engines kept warm beside the first may take when the budget names no limit."""
Load = Callable[[Choice], Engine]
Resident = Callable[[], float | None]


@dataclass
class Rungs:
    """Engines that are loaded and warm, the best first, and which of them is in use.

    Attributes:
        choices, engines, expected_ms: one entry for each; the latency is that of the profile.
        limit_ms: the budget's latency.
        left_out: engines of the ladder that did not fit into the memory, or did not load.
        policy: of the controller.
    """

    choices: list[Choice]
    engines: list[Engine]
    expected_ms: list[float]
    limit_ms: float
    left_out: list[str] = field(default_factory=list)
    policy: control.Policy = field(default_factory=control.Policy)

    def __post_init__(self) -> None:
        self._state = control.start(0, self.policy)

    @property
    def level(self) -> int:
        """The engine in use."""
        return self._state.level

    def use(self, choice: Choice) -> None:
        """Take this engine, with nothing remembered."""
        self._state = control.start(self.choices.index(choice), self.policy)

    def observe(self, latency_ms: float) -> tuple[Choice, Engine]:
        """Take note of a scan; the engine for the next one."""
        self._state = control.step(self.policy, self.expected_ms, self.limit_ms, self._state, latency_ms)
        return self.choices[self.level], self.engines[self.level]

    def remove(self, *, all_of_backend: bool = False) -> tuple[Choice, Engine] | None:
        """Take the engine in use out; what comes in its place, None if none is left.

        Args:
            all_of_backend: close and take out the others of its backend, too.
        """
        level, backend = self.level, self.choices[self.level].backend
        self._take_out(level)
        for other in reversed(range(len(self.engines))):
            if all_of_backend and self.choices[other].backend == backend:
                self.engines[other].close()
                self._take_out(other)
                level -= other < level
        if not self.engines:
            return None
        level = min(level, len(self.engines) - 1)
        self._state = control.start(level, self.policy)
        return self.choices[level], self.engines[level]

    def _take_out(self, level: int) -> None:
        for values in (self.engines, self.choices, self.expected_ms):
            values.pop(level)


def ladder_of(manifest: Manifest, profile: Profile, budget: Budget) -> list[Candidate]:
    """The engines that a changing latency may call for: best first, each faster than the one before.

    Every engine that states less than the accuracy asked for, or was not measured, is left out.

    Raises:
        InputError, BackendError: see `choose`.
    """
    measured = [one for one in candidates(manifest, profile, budget) if one.measured is not None]
    allowed = [one for one in measured if _fits(one, budget)]
    ladder: list[Candidate] = []
    for one in sorted(allowed, key=lambda one: (-one.quality, one.latency, one.rung.bytes, one.rung.name)):
        if not ladder or one.latency < ladder[-1].latency:
            ladder.append(one)
    return ladder


def warm_ladder(
    ladder: Sequence[Candidate],
    first: tuple[Choice, Engine],
    budget: Budget,
    load: Load,
    resident: Resident = resident_mb,
) -> Rungs:
    """Load the engines of a ladder beside the chosen one, the fastest first, while the memory limit lasts.

    Args:
        ladder: from `ladder_of`.
        first: the engine chosen, loaded already; it is among them even when another one dominates it.
        budget: its latency is held; its memory limits the resident memory of this process.
        load: loads and warms an engine.
        resident: memory of this process in MiB.

    Raises:
        BundleError: from ``load``; the engines loaded here are closed then, the first is not.
    """
    limit_ms = budget.max_latency_ms or 0.0
    limit_mb = budget.max_memory_mb or (resident() or 0.0) + WARM_MB
    warm, left_out = [first], list[str]()
    with ExitStack() as undo:
        for one in reversed(ladder):
            choice = _choice(one, limit_ms)
            if _name(choice) == _name(first[0]):
                continue
            if (resident() or 0.0) > limit_mb:
                left_out.append(one.rung.name)
                continue
            try:
                warm.append((choice, load(choice)))
            except BackendError:
                left_out.append(one.rung.name)
            else:
                undo.callback(warm[-1][1].close)
        undo.pop_all()
    warm.sort(key=lambda entry: -_latency(entry[0]))
    choices, engines = [choice for choice, _ in warm], [engine for _, engine in warm]
    rungs = Rungs(choices, engines, [_latency(choice) for choice in choices], limit_ms, left_out)
    rungs.use(first[0])
    return rungs


def _choice(one: Candidate, limit_ms: float) -> Choice:
    reason = f"holds {limit_ms:g} ms under the load of now ({one.latency:.1f} ms p90 when measured)"
    return Choice(one.rung, one.backend, reason, one.latency <= limit_ms, one.measured)


def _fits(one: Candidate, budget: Budget) -> bool:
    return not (
        budget.min_accuracy and one.rung.accuracy and one.rung.accuracy.value < budget.min_accuracy
    ) and not (budget.max_memory_mb is not None and one.memory > budget.max_memory_mb)


def _name(choice: Choice) -> tuple[str, str]:
    return choice.rung.name, choice.backend


def _latency(choice: Choice) -> float:
    return choice.measured.total_ms.p90 if choice.measured is not None else 0.0
