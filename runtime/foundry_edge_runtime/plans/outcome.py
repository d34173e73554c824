"""What became of looking for a plan."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.plans.manifest import PlanDevice, PlanManifest, PlanRefusal


class PlanState(str, Enum):
    """Whether there is a plan to run, and if not, why; the order is that of what is told first."""

    READY = "ready"
    UNSAFE = "unsafe"  # the cache folder cannot be trusted
    CORRUPT = "corrupt"  # altered, damaged, or put in the place of another
    REFUSED = "refused"  # the compiler does not take this rung
    OTHER_BATCH = "other batch"  # built for smaller batches
    OTHER_VERSION = "other version"  # of the library, CUDA or the driver
    OTHER_DEVICE = "other device"
    MISSING = "missing"


@dataclass(frozen=True)
class PlanRequest:
    """The plan that is wanted.

    Attributes:
        graph_sha256, weights_sha256: of the rung's files.
        backend: "tensorrt" or "tensorrt-rtx".
        version: of the library that will load it.
        device: this machine's GPU.
        batch: clouds at a time that it must take.
        name: of the rung or its graph, for messages.
    """

    graph_sha256: str
    weights_sha256: str
    backend: str
    version: str
    device: PlanDevice
    batch: int = 1
    name: str = "this rung"


@dataclass(frozen=True)
class PlanOutcome:
    """A plan that may be deserialised, or the reason why there is none.

    Attributes:
        request: what was asked for.
        state: READY, or what is wrong.
        reason: one line, "" when READY.
        plan: the very bytes whose hash was checked; None unless READY.
        manifest: of that plan.
        refusal: what is remembered when REFUSED.
    """

    request: PlanRequest
    state: PlanState
    reason: str = ""
    plan: bytes | None = None
    manifest: PlanManifest | None = None
    refusal: PlanRefusal | None = None

    def error(self) -> BackendError:
        """For callers that do not build: the reason, and the command that builds."""
        build = f"foundry-edge build --backend {self.request.backend}"
        more = f" --max-batch {self.request.batch}" if self.request.batch > 1 else ""
        remedy = (
            "use another precision" if self.state is PlanState.REFUSED else f"build it with: {build}{more}"
        )
        return BackendError(self.reason, where=self.request.name, remedy=remedy)
