"""Engines that were built ahead, as candidates of a session; cheap where there are none."""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge_runtime.backends.registry import PLANNED
from foundry_edge_runtime.backends.trt.library import installed
from foundry_edge_runtime.bundle.manifest import Manifest
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.device import gpu_present
from foundry_edge_runtime.profile.model import Planned, Profile


def with_plans(
    profile: Profile, manifest: Manifest, notify: Callable[[str], None], backend: str | None = None
) -> Profile:
    """The profile with the engines that were built ahead for this device; without a GPU there are none.

    Args:
        profile: what was measured.
        manifest: of the bundle.
        notify: told in one line when plans are there and cannot be used, or when a GPU waits for some.
        backend: the only one that may be used; None for all.
    """
    if not gpu_present() or (backend is not None and backend not in PLANNED):
        return profile.model_copy(update={"planned": ()})
    found: list[Planned] | None = None
    if (cache_folder() / "plans").is_dir():
        from foundry_edge_runtime.usable import usable_plans  # noqa: PLC0415 - needed by few

        found = usable_plans(manifest, notify)
    idle = [name for name in PLANNED if installed(name)] if found is None else []
    if idle and backend is None:
        build = f"foundry-edge build --backend {idle[0]}"
        notify(f"no engine of this bundle was built for the GPU here; build them with: {build}")
    return profile.model_copy(update={"planned": tuple(found or ())})
