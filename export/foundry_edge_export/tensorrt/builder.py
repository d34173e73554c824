"""Build plans: the public function behind `foundry-edge build`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from foundry_edge_export.tensorrt.isolated import ask
from foundry_edge_export.tensorrt.library import check_backend
from foundry_edge_export.tensorrt.progress import BuildProgress, Silent
from foundry_edge_export.tensorrt.report import BuildReport, BuiltRung
from foundry_edge_export.tensorrt.rungs import chosen, stand_ins
from foundry_edge_export.tensorrt.site import Site
from foundry_edge_export.tensorrt.workshop import Workshop
from foundry_edge_runtime.bundle import Rung, load_bundle
from foundry_edge_runtime.errors import BackendError, InputError
from foundry_edge_runtime.plans import BatchProfile, PlanBackend, PlanDevice, PlanStore

MAX_BATCH = 32
LOOK_SECONDS = 120.0
DEFAULT_TIMEOUT = 3600.0


def build(
    bundle: str | os.PathLike[str] | None = None,
    *,
    backend: str = "tensorrt",
    tokens: Sequence[int] = (),
    precision: Sequence[str] = (),
    max_batch: int = 1,
    ahead: bool = False,
    force: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    strict: bool = False,
    progress: BuildProgress | None = None,
) -> BuildReport:
    """Compile rungs of a bundle with NVIDIA's compiler and keep the plans in the user's cache.

    Every rung is compiled in a process of its own, checked against its ONNX graph where a GPU is at hand, and
    kept under everything it depends on. Where the compiler refuses an INT8 rung, the FP16 rung of the same
    budget takes its place (FP32 if there is none), and a note says so. Nothing here imports torch or onnx.

    Args:
        bundle: a folder; None takes the default one, as `run` does.
        backend: ``tensorrt`` or ``tensorrt-rtx``.
        tokens: budgets to build; none means all.
        precision: precisions to build; none means all.
        max_batch: plans take batches of 1 to this many clouds and are tuned for this many.
        ahead: for any supported GPU instead of the one at hand (tensorrt-rtx alone).
        force: build anew what is there, and try again what was refused.
        timeout: seconds for one rung, then its compiler is stopped.
        strict: no rung may take the place of another; see `BuildReport.complete`.
        progress: told of every step.

    Raises:
        InputError: an unknown backend, or no such rung.
        BundleError: the bundle is damaged.
        BackendError: the library is not installed, or there is no GPU and it cannot do without.
        StorageError: the cache cannot be trusted or written.
    """
    started = time.monotonic()
    check_backend(backend)
    if not 1 <= max_batch <= MAX_BATCH:
        raise InputError(f"expected 1 to {MAX_BATCH}, found {max_batch}", where="--max-batch")
    if not timeout > 0:
        raise InputError(f"expected more than 0 seconds, found {timeout:g}", where="--timeout")
    loaded = load_bundle(bundle)
    rungs = chosen(loaded.manifest, tokens, precision)
    head, _ = ask("describe", {"backend": backend}, timeout=LOOK_SECONDS)
    site = Site.model_validate(head)
    workshop = Workshop(
        bundle=loaded,
        backend=cast("PlanBackend", backend),
        site=site,
        target=_target(backend, site, ahead),
        batch=BatchProfile(min=1, opt=max_batch, max=max_batch),
        store=PlanStore(),
        force=force,
        timeout=timeout,
        progress=progress or Silent(),
    )
    _prepare(workshop, ahead)
    made = _make_all(workshop, rungs, strict)
    return BuildReport(
        bundle=loaded,
        backend=backend,
        version=site.version,
        device=workshop.target,
        folder=workshop.store.folder,
        rungs=made,
        notes=tuple(workshop.notes),
        seconds=time.monotonic() - started,
    )


def _target(backend: str, site: Site, ahead: bool) -> PlanDevice:
    """The GPU at hand, or the compute capabilities that a plan can be built ahead for."""
    if site.device is not None and not ahead:
        return site.device
    if backend != "tensorrt-rtx" or not site.capabilities:
        raise BackendError(
            "builds for the GPU at hand alone"
            + (f", and there is none ({site.no_device})" * (not site.device)),
            where=backend,
            remedy="run this on the device, without --ahead; --backend tensorrt-rtx builds ahead",
        )
    return PlanDevice(compute_capability=site.capabilities)


def _prepare(workshop: Workshop, ahead: bool) -> None:
    discarded = workshop.store.secure()
    if discarded:
        workshop.note(discarded)
    if workshop.target.ahead and not ahead:
        workshop.note(
            f"no GPU can be used here (`foundry-edge doctor` says why): plans are built ahead for "
            f"{workshop.target.name}, and not run"
        )


def _make_all(workshop: Workshop, rungs: tuple[Rung, ...], strict: bool) -> tuple[BuiltRung, ...]:
    """Every rung asked for and, unless strict, those that take the place of one without a plan."""
    made: dict[str, BuiltRung] = {}
    for rung in rungs:
        if rung.name not in made:
            made[rung.name] = workshop.make(rung)
        if not made[rung.name].served:
            _replace(
                workshop, made[rung.name], () if strict else stand_ins(workshop.bundle.manifest, rung), made
            )
    order = [rung.name for rung in workshop.bundle.manifest.rungs]
    return tuple(sorted(made.values(), key=lambda one: order.index(one.rung.name)))


def _replace(
    workshop: Workshop, lost: BuiltRung, candidates: tuple[Rung, ...], made: dict[str, BuiltRung]
) -> None:
    """Find the rung that takes the place of one without a plan, build it, and say so in one line."""
    without = [lost]
    for rung in candidates:
        made[rung.name] = made.get(rung.name) or workshop.make(rung)
        if made[rung.name].manifest is not None:
            made[rung.name] = workshop.stand_in(made[rung.name], lost)
            for one in without:
                made[one.rung.name] = _settled(workshop, one, rung.name)
            return
        without.append(made[rung.name])
    for one in without:
        workshop.note(f"{one.rung.name} has no plan: {one.reason}; no other rung takes its place")


def _settled(workshop: Workshop, lost: BuiltRung, instead: str) -> BuiltRung:
    workshop.note(f"{lost.rung.name} has no plan: {lost.reason}; {instead} takes its place")
    if lost.state == "refused":
        workshop.refuse(lost.rung, lost.reason, instead)
    return replace(lost, instead=instead)
