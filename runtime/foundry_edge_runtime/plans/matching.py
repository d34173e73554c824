"""Is a plan's key one that may run here, and which plan comes first?"""

from __future__ import annotations

from foundry_edge_runtime.plans.manifest import PlanDevice, PlanKey, PlanManifest
from foundry_edge_runtime.plans.outcome import PlanRequest, PlanState


def judge(key: PlanKey, wanted: PlanRequest) -> tuple[PlanState, str]:
    """READY, or the first thing that differs.

    Returns:
        The state and, unless READY, the reason in one line.
    """
    if (key.graph_sha256, key.weights_sha256) != (wanted.graph_sha256, wanted.weights_sha256):
        return PlanState.CORRUPT, "is the plan of another model"
    if key.backend != wanted.backend:
        return PlanState.CORRUPT, f"was built by {key.backend}"
    if not _runs_on(key.device, wanted.device):
        return PlanState.OTHER_DEVICE, f"was built for {key.device.name}, this is {wanted.device.name}"
    for what, built, here in _versions(key, wanted):
        if built != here:
            return PlanState.OTHER_VERSION, f"was built with {what} {built}, here is {here}"
    if wanted.batch > key.batch.max:
        return PlanState.OTHER_BATCH, f"takes batches up to {key.batch.max}, {wanted.batch} are wanted"
    return PlanState.READY, ""


def preference(manifest: PlanManifest) -> tuple[bool, int, str]:
    """Sort key of plans that may run here: one built on this very device first, then the smallest batches."""
    return manifest.key.device.ahead, manifest.key.batch.max, manifest.created


def _runs_on(built: PlanDevice, here: PlanDevice) -> bool:
    if built.ahead or here.ahead:
        return built.ahead and set(here.compute_capability) <= set(built.compute_capability)
    return (built.gpu, built.compute_capability) == (here.gpu, here.compute_capability)


def _versions(key: PlanKey, wanted: PlanRequest) -> list[tuple[str, str, str]]:
    """What, built with, here; of a plan built ahead only the library counts, the rest is not known."""
    library: list[tuple[str, str, str]] = [(key.backend, key.version, wanted.version)]
    if key.device.ahead:
        return library
    return [
        *library,
        ("CUDA", key.device.cuda, wanted.device.cuda),
        ("driver", key.device.driver, wanted.device.driver),
    ]
