"""What a build made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from foundry_edge_runtime.bundle import Bundle, Rung
from foundry_edge_runtime.plans import PlanDevice, PlanManifest

SCHEMA = 1
State = Literal["built", "kept", "refused", "failed"]


@dataclass(frozen=True)
class BuiltRung:
    """One rung of the table.

    Attributes:
        rung: of the bundle.
        state: built now, kept from before, refused by the compiler, or failed (crash, timeout).
        manifest: of its plan, None unless it was built or kept.
        reason: why there is no plan, "" when there is one.
        instead: the rung that takes its place, "" when there is none.
    """

    rung: Rung
    state: State
    manifest: PlanManifest | None = None
    reason: str = ""
    instead: str = ""

    @property
    def served(self) -> bool:
        """Whether there is a plan, its own or that of the rung that takes its place."""
        return self.manifest is not None or bool(self.instead)

    def as_dict(self) -> dict[str, Any]:
        """For `build --json`."""
        made = self.manifest
        return {
            "rung": self.rung.name,
            "tokens": self.rung.tokens,
            "precision": self.rung.precision,
            "state": self.state,
            "plan": None if made is None else made.plan.name,
            "bytes": None if made is None else made.plan.bytes,
            "build_seconds": None if made is None else round(made.build_seconds, 3),
            "batch": None if made is None else made.key.batch.model_dump(),
            "checked": None if made is None else made.checked,
            "check": None if made is None or made.check is None else made.check.model_dump(),
            "reason": self.reason or None,
            "instead": self.instead or None,
        }


@dataclass(frozen=True)
class BuildReport:
    """The result of one build.

    Attributes:
        bundle: what was built.
        backend, version: the library.
        device: what the plans run on.
        folder: where they are kept.
        rungs: in the order of the ladder, stand-ins included.
        notes: what a person should know.
        seconds: in all.
    """

    bundle: Bundle
    backend: str
    version: str
    device: PlanDevice
    folder: Path
    rungs: tuple[BuiltRung, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether every rung has a plan or one that takes its place."""
        return all(one.served for one in self.rungs)

    def as_dict(self) -> dict[str, Any]:
        """The object that `build --json` prints."""
        return {
            "schema": SCHEMA,
            "bundle": {"id": self.bundle.manifest.id, "source": self.bundle.source},
            "backend": self.backend,
            "version": self.version,
            "device": self.device.model_dump(),
            "cache": str(self.folder),
            "rungs": [one.as_dict() for one in self.rungs],
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }
