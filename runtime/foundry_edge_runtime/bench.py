"""`foundry-edge bench`: measure every rung here and keep the profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_edge_runtime.backends.registry import DEFAULT, available_backend
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.bundle.manifest import Rung, rung_name
from foundry_edge_runtime.errors import BundleError, InputError
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.planned import with_plans
from foundry_edge_runtime.profile.isolated import visit_isolated
from foundry_edge_runtime.profile.measure import THOROUGH, Effort, Visit, pooled
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile, Profile
from foundry_edge_runtime.profile.store import load_profile, save_profile
from foundry_edge_runtime.selection import Notify, silent

SCHEMA = 1
MAX_BATCH = 32
Progress = Callable[[int, int, str], None]


def _no_progress(_done: int, _of: int, _name: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Benchmark:
    """What was measured.

    Attributes:
        bundle: the bundle.
        profile: every rung, or the reason why it could not be measured.
        path: where the profile is kept.
    """

    bundle: Bundle
    profile: Profile
    path: Path

    def as_json(self) -> dict[str, Any]:
        """The object that `bench --json` prints."""
        return {
            "schema": SCHEMA,
            "bundle": {"id": self.bundle.manifest.id, "source": self.bundle.source},
            "profile": str(self.path),
            **self.profile.model_dump(mode="json", include={"device", "versions", "engines", "failures"}),
        }


def bench(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: Iterable[str] | None = None,
    batch: Iterable[int] = (1,),
    effort: Effort = THOROUGH,
    progress: Progress = _no_progress,
    notify: Notify = silent,
) -> Benchmark:
    """Measure every engine in two visits, each in a process of its own, and store the profile.

    All engines are seen once before any is seen again: what slows a machine for a second or two falls on one
    visit of an engine, and the other shows it.

    Args:
        bundle: a folder; None takes the default one (see `load_bundle`).
        backend: names of backends, each of which measures every rung; None takes the CPU, and what was built
            ahead for this device.
        batch: how many clouds at a time, each 1 to 32; choosing by latency rests on 1.
        effort: how long a visit lasts.
        progress: told before each visit: how many are done, of how many, and which engine comes.
        notify: told in one line when engines that were built ahead cannot be used, and when one of two visits
            to an engine fails.

    Raises:
        InputError: a batch size is out of range, or there is no such backend.
        BundleError: the bundle cannot be used.
        BackendError: a backend is not available here.
        StorageError: the profile cannot be stored.
    """
    accelerate()  # compiled here once, so that the processes that measure only load it
    opened = load_bundle(bundle)
    names, batches = None if backend is None else tuple(backend), tuple(batch)
    if not batches or not all(1 <= size <= MAX_BATCH for size in batches):
        raise InputError(f"--batch must be sizes from 1 to {MAX_BATCH}, found {list(batches)}")
    for name in names or ():
        available_backend(name)
    profile = with_plans(load_profile(opened.manifest), opened.manifest, notify)
    tasks = [(*engine, size) for engine in _engines(opened, profile, names) for size in batches]
    visits: list[Visit | EngineFailure] = []
    for done, (rung, name, size) in enumerate(tasks + tasks):
        progress(done, 2 * len(tasks), f"{rung.name} on {name}, batch {size}")
        try:
            visits.append(visit_isolated(opened, rung, name, effort, batch=size))
        except BundleError as error:
            visits.append(EngineFailure.of(rung, name, error, size))
    pairs = zip(visits[: len(tasks)], visits[len(tasks) :], strict=True)
    profile = profile.add(*(_both(first, second, notify) for first, second in pairs))
    return Benchmark(opened, profile, save_profile(profile))


def _both(
    first: Visit | EngineFailure, second: Visit | EngineFailure, notify: Notify
) -> EngineProfile | EngineFailure:
    """The figures of two visits to one engine; where one failed, those of the other, and that is said."""
    seen = [one for one in (first, second) if isinstance(one, Visit)]
    failures = [one for one in (first, second) if isinstance(one, EngineFailure)]
    if not seen:
        return failures[0]
    for one in failures:
        name = rung_name(one.tokens, one.precision, one.bypassed)
        notify(f"one of two visits to {name} on {one.backend}, batch {one.batch}, failed: {one.reason}")
    return pooled(*seen) if len(seen) == 2 else seen[0].profile


def _engines(bundle: Bundle, profile: Profile, names: tuple[str, ...] | None) -> list[tuple[Rung, str]]:
    """What to measure: every rung on the backends named, else on the CPU and as far as it was built ahead."""
    rungs = bundle.manifest.rungs
    if names is not None:
        return [(rung, name) for name in names for rung in rungs]
    return [(rung, DEFAULT) for rung in rungs] + [
        (rung, name) for rung in rungs for name in profile.backends(rung)
    ]
