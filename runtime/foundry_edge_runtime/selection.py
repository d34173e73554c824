"""From a budget to an engine: what the choice needs to know is measured once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from foundry_edge_runtime.backends.base import Backend
from foundry_edge_runtime.backends.registry import DEFAULT, PLANNED, get_backend
from foundry_edge_runtime.budget import Budget
from foundry_edge_runtime.bundle.load import Bundle
from foundry_edge_runtime.bundle.manifest import Manifest, Rung
from foundry_edge_runtime.candidates import Candidate, rungs_allowed, widened
from foundry_edge_runtime.choice import Choice, choose, to_measure
from foundry_edge_runtime.errors import BackendError, StorageError
from foundry_edge_runtime.planned import with_plans
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
    profile = empty_profile(manifest)
    if backend is None:
        profile = with_plans(load_profile(manifest), manifest, notify, budget.backend)
    budget = budget if backend is None else replace(budget, backend=backend.name)
    started, tried = time.perf_counter(), set[tuple[str, str]]()
    while needed := [one for one in to_measure(manifest, profile, budget) if _name(one) not in tried]:
        tried |= {_name(one) for one in needed}
        apart = isolated or budget.max_memory_mb is not None or budget.prefer == "memory"
        profile = profile.add(*(_measure(bundle, one.rung, one.backend, backend, apart) for one in needed))
    if tried:
        of = max(len(tried), len(manifest.rungs))
        count, seconds = f"{len(tried)} of {of} engines", time.perf_counter() - started
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
    """Measure every engine that may be used and the stored profile lacks, shortly, and store what was found.

    Args:
        bundle: what to measure.
        budget: its pins say which rungs, and its backend is the one measured; without one, what was built
            ahead and the CPU.
        seconds: no further engine is begun after this long.
        isolated: measure each engine in a process of its own.
        notify: told when the profile cannot be stored.

    Raises:
        InputError: the bundle has no such rung.
    """
    profile = with_plans(load_profile(bundle.manifest), bundle.manifest, silent, budget.backend)
    stop = time.perf_counter() + seconds
    for rung, backend in unmeasured(bundle.manifest, profile, budget):
        if time.perf_counter() < stop:
            profile = profile.add(_measure(bundle, rung, backend, None, isolated))
    _store(profile, notify)
    return profile


def unmeasured(manifest: Manifest, profile: Profile, budget: Budget) -> list[tuple[Rung, str]]:
    """The engines that the budget's pins allow and the profile lacks, those most like the teacher first.

    Raises:
        InputError: the bundle has no rung with the tokens and precision asked for.
    """
    rungs = sorted(rungs_allowed(manifest, budget), key=lambda rung: -rung.likeness)
    there = {(rung.name, DEFAULT) for rung in rungs}
    engines = [(rung, backend) for rung in rungs for backend in _lacking(profile, rung, budget)]
    return [(rung, backend) for rung, backend in engines if not widened(rung, backend, there)]


def _lacking(profile: Profile, rung: Rung, budget: Budget) -> list[str]:
    """Backends that a rung is to be measured on: those it was built for, and the one that always does."""
    known = {one.backend for one in profile.measured(rung)}
    planned = [name for name in profile.backends(rung) if budget.backend in (None, name)]
    always = [] if known or budget.backend in PLANNED else [budget.backend or DEFAULT]
    return [name for name in [*planned, *always] if name not in known]


def _name(one: Candidate) -> tuple[str, str]:
    return one.rung.name, one.backend


def _measure(
    bundle: Bundle, rung: Rung, name: str, backend: Backend | None, isolated: bool
) -> EngineProfile | EngineFailure:
    """Measure in this process, which is quick; in one of its own when memory matters, or it may crash."""
    if backend is None and (isolated or name != DEFAULT):
        from foundry_edge_runtime.profile.isolated import measure_isolated  # noqa: PLC0415 - rarely needed

        return measure_isolated(bundle, rung, name, QUICK)
    try:
        return measure(bundle, rung, backend or get_backend(name), QUICK)
    except BackendError as error:
        return EngineFailure.of(rung, name, error)


def _store(profile: Profile, notify: Notify) -> None:
    try:
        save_profile(profile)
    except StorageError as error:
        notify(f"the profile is not kept: {error}")
