"""Which plans of the store may run on this device."""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge_runtime.backends.registry import PLANNED, get_backend
from foundry_edge_runtime.bundle.manifest import Manifest, Rung
from foundry_edge_runtime.plans import PlanDevice, PlanRequest, PlanState, PlanStore
from foundry_edge_runtime.plans.manifest import stem_prefix
from foundry_edge_runtime.plans.matching import judge, preference
from foundry_edge_runtime.profile.model import Planned

_TOLD_BEFORE = {PlanState.MISSING, PlanState.REFUSED}
"""A rung that was never built, or that the compiler refused: `foundry-edge build` has said so."""


def usable_plans(manifest: Manifest, notify: Callable[[str], None]) -> list[Planned] | None:
    """The engines of a bundle that were built ahead for this device; None when nothing is kept for it at all.

    A library is only tried (see `probed`) when something is kept for it. The bytes of a plan are checked when
    it is loaded.
    """
    store = PlanStore()
    kept = {name: _kept(store, name, manifest) for name in PLANNED}
    if not any(kept.values()):
        return None
    return [one for name, rungs in kept.items() if rungs for one in _usable(store, name, rungs, notify)]


def _kept(store: PlanStore, backend: str, manifest: Manifest) -> list[Rung]:
    """Rungs that something is kept for, by the names of the files alone."""
    try:
        names = [path.name for path in store.folder.iterdir()]
    except OSError:
        return []  # no plans, or none that this user may read
    return [
        rung
        for rung in manifest.rungs
        if any(name.startswith(stem_prefix(backend, rung.graph.sha256)) for name in names)
    ]


def _usable(
    store: PlanStore, backend: str, rungs: list[Rung], notify: Callable[[str], None]
) -> list[Planned]:
    status = get_backend(backend).status()
    if not status.available:
        notify(f"engines built by {backend} are not used: {status.reason}")
        return []
    here = PlanDevice.model_validate(status.gpu)
    manifests, found, refused = store.manifests(), list[Planned](), list[str]()
    for rung in rungs:
        request = PlanRequest(
            rung.graph.sha256, rung.weights.sha256, backend, status.version, here, name=rung.name
        )
        ready = [one for one in manifests if judge(one.key, request)[0] is PlanState.READY]
        if ready:
            plan = min(ready, key=preference).plan.sha256
            found.append(Planned(rung=rung.name, backend=backend, plan_sha256=plan))
        elif (outcome := store.load(request)).state not in _TOLD_BEFORE:
            refused.append(str(outcome.error()))
    if refused:
        notify(f"{len(refused)} of {len(rungs)} engines built by {backend} are not used: {refused[0]}")
    return found
