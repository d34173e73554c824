"""From a budget to an engine: what the choice needs to know is measured once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from foundry_edge_runtime.backends.base import Backend
from foundry_edge_runtime.backends.registry import DEFAULT, get_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.choice import Choice, choose, to_measure
from foundry_edge_runtime.errors import BackendError, StorageError
from foundry_edge_runtime.profile.measure import QUICK, measure
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile, Profile
from foundry_edge_runtime.profile.store import empty_profile, load_profile, save_profile

Notify = Callable[[str], None]
QUICK_SECONDS = 3.0  # what a first look at a new device may take


def silent(_: str) -> None:
    """Say nothing."""


def select(
    bundle: Bundle,
    budget: Budget,
    *,
    backend: Backend | None = None,
    isolated: bool = False,
    notify: Notify = silent,
) -> tuple[Choice, Profile]:
    """Choose an engine, measuring first what the choice needs and the stored profile lacks.

    Args:
        bundle: what to choose from.
        budget: limits and pins.
        backend: use this object and no other; its measurements are not stored.
        isolated: measure each engine in a process of its own.
        notify: told, in one line, when something is measured or cannot be stored.

    Returns:
        The choice and the profile it rests on.

    Raises:
        InputError: see `choose`.
        BundleError: a file of a rung that is measured is not what the manifest says.
    """
    manifest = bundle.manifest
    profile = load_profile(manifest) if backend is None else empty_profile(manifest)
    budget = budget if backend is None else replace(budget, backend=backend.name)
    started, tried = time.perf_counter(), set[str]()
    while needed := [rung for rung in to_measure(manifest, profile, budget) if rung.name not in tried]:
        tried |= {rung.name for rung in needed}
        profile = profile.add(*(_measure(bundle, rung, budget, backend, isolated) for rung in needed))
    if tried:
        count, seconds = f"{len(tried)} of {len(manifest.rungs)} engines", time.perf_counter() - started
        notify(f"no profile yet: measured {count} here in {seconds:.1f} s; `foundry-edge bench` takes longer")
        if backend is None:
            _store(profile, notify)
    return choose(manifest, profile, budget), profile


def quick_profile(
    bundle: Bundle,
    budget: Budget,
    *,
    seconds: float = QUICK_SECONDS,
    isolated: bool = False,
    notify: Notify = silent,
) -> Profile:
    """Measure every rung that the stored profile lacks, shortly, and store what was found.

    Args:
        bundle: what to measure.
        budget: its backend is the one measured.
        seconds: no further rung is begun after this long.
        isolated: measure each engine in a process of its own.
        notify: told when the profile cannot be stored.
    """
    profile = load_profile(bundle.manifest)
    stop = time.perf_counter() + seconds
    for rung in sorted(bundle.manifest.rungs, key=lambda rung: -rung.likeness):
        if time.perf_counter() < stop and not profile.measured(rung):
            profile = profile.add(_measure(bundle, rung, Budget(backend=budget.backend), None, isolated))
    _store(profile, notify)
    return profile


def _measure(
    bundle: Bundle, rung: Rung, budget: Budget, backend: Backend | None, isolated: bool
) -> EngineProfile | EngineFailure:
    """Measure in this process, which is quick; in one of its own when memory matters."""
    name = budget.backend or DEFAULT
    if backend is None and (isolated or budget.max_memory_mb is not None or budget.prefer == "memory"):
        from foundry_edge_runtime.profile.isolated import measure_isolated  # noqa: PLC0415 - rarely needed

        return measure_isolated(bundle, rung, name, QUICK)
    try:
        return measure(bundle, rung, backend or get_backend(name), QUICK)
    except BackendError as error:
        return EngineFailure(
            tokens=rung.tokens,
            bypassed=rung.bypassed,
            precision=rung.precision,
            backend=name,
            reason=str(error),
        )


def _store(profile: Profile, notify: Notify) -> None:
    try:
        save_profile(profile)
    except StorageError as error:
        notify(f"the profile is not kept: {error}")
