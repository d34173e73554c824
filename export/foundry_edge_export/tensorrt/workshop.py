"""One rung at a time: what is kept is used, what is missing is compiled, checked and kept, under a lock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from foundry_edge_export.lock import locked
from foundry_edge_export.tensorrt.check import acceptable
from foundry_edge_export.tensorrt.configure import FLAGS
from foundry_edge_export.tensorrt.failures import CrashError, RefusedError
from foundry_edge_export.tensorrt.isolated import ask, compile_isolated
from foundry_edge_export.tensorrt.progress import BuildProgress
from foundry_edge_export.tensorrt.report import BuiltRung
from foundry_edge_export.tensorrt.site import Site
from foundry_edge_export.tensorrt.task import BuildTask, Compiled
from foundry_edge_export.tensorrt.timing import read_timing, timing_name, write_timing
from foundry_edge_runtime.bundle import Bundle, Rung
from foundry_edge_runtime.bundle.manifest import FileRef
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.plans import (
    BatchProfile,
    PlanBackend,
    PlanCheck,
    PlanDevice,
    PlanKey,
    PlanManifest,
    PlanOutcome,
    PlanRefusal,
    PlanRequest,
    PlanState,
    PlanStore,
)

_UNSET = FileRef(name="unset", bytes=0, sha256="0" * 64)


@dataclass
class Workshop:
    """What all plans of one build are made with.

    Attributes:
        bundle: its files are checked again by every child process.
        backend: "tensorrt" or "tensorrt-rtx".
        site: library, GPU, memory.
        target: what plans are built for: the GPU at hand, or a list of compute capabilities.
        batch: the optimisation profile.
        store: where plans are kept.
        force: build anew what is there.
        timeout: seconds for one rung.
        progress: told of every step.
        notes: what it was told, for the report.
    """

    bundle: Bundle
    backend: PlanBackend
    site: Site
    target: PlanDevice
    batch: BatchProfile
    store: PlanStore
    force: bool
    timeout: float
    progress: BuildProgress
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Tell a person, now and in the report."""
        self.notes.append(text)
        self.progress.note(text)

    def make(self, rung: Rung) -> BuiltRung:
        """The rung's plan: kept, or built; or why there is none."""
        key = self.key(rung)
        waiting = f"another process is building {rung.name}; waiting for it"
        with locked(self.store.folder / key.stem, lambda: self.note(waiting)):
            outcome = self.store.load(self._request(rung))
            if not self.force and outcome.refusal is not None:
                return BuiltRung(rung, "refused", reason=outcome.refusal.reason)
            kept = outcome if _is_of(outcome, key) else None
            if outcome.state is PlanState.CORRUPT:
                self.note(f"{outcome.reason}; building it anew")
            return self._anew(rung, kept) if self.force else self._attempt(rung, kept)

    def key(self, rung: Rung) -> PlanKey:
        """All that the rung's plan depends on."""
        return PlanKey(
            graph_sha256=rung.graph.sha256,
            weights_sha256=rung.weights.sha256,
            backend=self.backend,
            version=self.site.version,
            device=self.target,
            batch=self.batch,
            flags=FLAGS,
        )

    def refuse(self, rung: Rung, reason: str, instead: str) -> None:
        """Remember that a rung cannot be built with this version for this device."""
        self.store.refuse(
            PlanRefusal(rung=rung.name, key=self.key(rung), reason=reason, instead=instead, created=_now())
        )

    def stand_in(self, made: BuiltRung, refused: BuiltRung) -> BuiltRung:
        """Say in a plan's manifest which rung it takes the place of."""
        if made.manifest is None:
            return made
        note = f"takes the place of {refused.rung.name}: {refused.reason}"
        manifest = made.manifest.model_copy(update={"note": note})
        self.store.update(manifest)
        return replace(made, manifest=manifest)

    def _request(self, rung: Rung) -> PlanRequest:
        files = (rung.graph.sha256, rung.weights.sha256)
        return PlanRequest(*files, self.backend, self.site.version, self.target, self.batch.max, rung.name)

    def _anew(self, rung: Rung, kept: PlanOutcome | None) -> BuiltRung:
        """Build whatever is there; a crash or a timeout leaves the plan that is kept, and that is said."""
        made = self._attempt(rung, None)
        if made.state != "failed" or kept is None:
            return made
        self.note(f"{rung.name} is not built anew: {made.reason}; its plan of before stays")
        return self._attempt(rung, kept)

    def _attempt(self, rung: Rung, kept: PlanOutcome | None) -> BuiltRung:
        """The plan that is kept, checked where that was never done; without one, a new one."""
        try:
            if kept is None or kept.manifest is None or kept.plan is None:
                return BuiltRung(rung, "built", self._build(rung))
            manifest = kept.manifest
            if manifest.check is None and not self.target.ahead:
                manifest = manifest.model_copy(update={"check": self._check(rung, kept.plan)})
                self.store.update(manifest)
            return BuiltRung(rung, "kept", manifest)
        except RefusedError as error:
            self.refuse(rung, error.problem, "")
            return BuiltRung(rung, "refused", reason=error.problem)
        except CrashError as error:
            if kept is not None:
                self.store.discard(self.key(rung))
            return BuiltRung(rung, "failed", reason=error.problem)

    def _build(self, rung: Rung) -> PlanManifest:
        """Compile in a child process, check where the GPU is at hand, and only then keep."""
        made = self._compile(rung)
        manifest = PlanManifest(
            rung=rung.name,
            key=self.key(rung),
            plan=_UNSET,
            created=_now(),
            build_seconds=made.seconds,
            workspace_bytes=self._workspace,
            check=None if self.target.ahead else self._check(rung, made.plan),
        )
        return self.store.save(manifest, made.plan, made.layers or None)

    def _compile(self, rung: Rung) -> Compiled:
        self.progress.building(rung.name, self._last_seconds(rung))
        task = BuildTask(
            backend=self.backend,
            folder=str(self.bundle.folder.resolve()),
            rung=rung.name,
            batches=(self.batch.min, self.batch.opt, self.batch.max),
            capabilities=self.target.compute_capability if self.target.ahead else (),
            workspace=self._workspace,
        )
        cache = timing_name(self.backend, self.site.version, self.target)
        known = read_timing(self.store, cache)
        made = compile_isolated(task, known, timeout=self.timeout, folder=self.store.folder)
        if made.timing and made.timing != known:
            write_timing(self.store, cache, made.timing)
        return made

    def _check(self, rung: Rung, plan: bytes) -> PlanCheck:
        """Run the plan against its graph in a child process.

        Raises:
            RefusedError: it computes something else.
            CrashError: it does not run.
        """
        self.progress.checking(rung.name)
        task = {
            "backend": self.backend,
            "folder": str(self.bundle.folder.resolve()),
            "rung": rung.name,
            "max_batch": self.batch.max,
        }
        try:
            found = PlanCheck.model_validate(ask("check", task, timeout=self.timeout, extra=plan)[0])
        except BackendError as error:
            raise CrashError(f"its plan does not run: {error.problem}", where=rung.name) from error
        if not acceptable(found, rung.precision):
            problem = f"its plan computes something else than the graph (cosine {found.cosine_mean:.4f})"
            raise RefusedError(problem, where=rung.name)
        return found

    @property
    def _workspace(self) -> int:
        """Half of what is free: the plan's own tensors need room as well."""
        return self.site.free_bytes // 2

    def _last_seconds(self, rung: Rung) -> float | None:
        """How long this rung took the last time on this kind of device, whatever the version."""
        alike = [
            one
            for one in self.store.manifests()
            if (one.rung, one.key.backend, one.key.device.gpu) == (rung.name, self.backend, self.target.gpu)
        ]
        return max(alike, key=lambda one: one.created).build_seconds if alike else None


def _is_of(outcome: PlanOutcome, key: PlanKey) -> bool:
    return outcome.manifest is not None and outcome.plan is not None and outcome.manifest.key == key


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
