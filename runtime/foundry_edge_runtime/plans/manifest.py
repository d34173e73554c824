"""What is kept beside a plan: everything it depends on, how it was built, and how it was checked.

A plan (NVIDIA's word for a serialised engine) runs on the kind of GPU and the version of the library it was
built with, and nothing in the plan itself tells whether it was altered. So a manifest names both.
"""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from foundry_edge_runtime.bundle.manifest import FileRef

SCHEMA = 1
PlanBackend = Literal["tensorrt", "tensorrt-rtx"]
_SHA256 = r"^[0-9a-f]{64}$"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlanDevice(_Strict):
    """What a plan runs on. Built ahead, with no GPU at hand, `gpu`, `driver` and `cuda` are empty.

    Attributes:
        gpu: name of the GPU, as the driver gives it.
        compute_capability: "8.7"; several when it was built ahead for each of them.
        driver: version of the driver, as it gives it.
        cuda: version of CUDA that the driver supports, "12.6".
    """

    gpu: str = ""
    compute_capability: tuple[str, ...] = Field(min_length=1)
    driver: str = ""
    cuda: str = ""

    @property
    def ahead(self) -> bool:
        """Whether it is a list of compute capabilities and no GPU in particular."""
        return not self.gpu

    @property
    def name(self) -> str:
        """For messages."""
        capability = ", ".join(self.compute_capability)
        return f"any GPU of compute capability {capability}" if self.ahead else f"{self.gpu} ({capability})"


class BatchProfile(_Strict):
    """Batch sizes that a plan takes, and the one it is tuned for."""

    min: int = Field(1, ge=1)
    opt: int = Field(1, ge=1)
    max: int = Field(1, ge=1)


class PlanKey(_Strict):
    """Everything that a plan depends on; a plan of another key is never run.

    Attributes:
        graph_sha256, weights_sha256: of the rung's files.
        backend: the library that built it.
        version: of that library.
        device: what it was built for.
        batch: its optimisation profile.
        flags: builder flags and limits that change the plan, sorted.
    """

    graph_sha256: str = Field(pattern=_SHA256)
    weights_sha256: str = Field(pattern=_SHA256)
    backend: PlanBackend
    version: str = Field(min_length=1)
    device: PlanDevice
    batch: BatchProfile = BatchProfile()
    flags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of all of it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return f"{stem_prefix(self.backend, self.graph_sha256)}{self.digest[:20]}"


def stem_prefix(backend: str, graph_sha256: str) -> str:
    """What the names of all plans of one graph begin with; the digits are those in the graph's file name."""
    return f"{backend}-{graph_sha256[:12]}-"


class PlanCheck(_Strict):
    """A plan's outputs against its ONNX graph on ONNX Runtime's CPU, on the device it was built on.

    Attributes:
        max_abs: largest difference of a token's coordinate.
        cosine_mean, cosine_worst: over all tokens; lowest mean over the tokens of one cloud.
        samples: clouds compared.
        reference: what it was compared with.
    """

    max_abs: float = Field(ge=0)
    cosine_mean: float
    cosine_worst: float
    samples: int = Field(ge=1)
    reference: str = "onnxruntime CPU"


class PlanManifest(_Strict):
    """One plan.

    Attributes:
        rung: its name, e.g. "s4-int8".
        key: what it depends on.
        plan: file name, size and hash.
        layers: the engine inspector's JSON, when the library gave one.
        created: UTC, ISO 8601.
        build_seconds: how long the compiler took.
        workspace_bytes: device memory that a kernel could use beside its tensors; 0: the library's own limit.
        check: parity on the device; None when it was built ahead and not run.
        note: e.g. that it stands in for a rung that the compiler refused.
    """

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    rung: str = Field(min_length=1)
    key: PlanKey
    plan: FileRef
    layers: FileRef | None = None
    created: str
    build_seconds: float = Field(ge=0)
    workspace_bytes: int = Field(0, ge=0)
    check: PlanCheck | None = None
    note: str = ""

    @property
    def checked(self) -> str:
        """For people: the parity, or that it has not been run."""
        if self.check is None:
            return "built ahead, not run"
        return f"checked: cosine {self.check.cosine_mean:.5f}, largest difference {self.check.max_abs:.1e}"


class PlanRefusal(_Strict):
    """A rung that the compiler of this version refuses for this device, so that nobody tries again in vain.

    Attributes:
        rung: its name.
        key: of the plan that could not be built.
        reason: the compiler's, one line, naming the node where it does.
        instead: the rung that takes its place, "" when there is none.
        created: UTC, ISO 8601.
    """

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    rung: str = Field(min_length=1)
    key: PlanKey
    reason: str = Field(min_length=1)
    instead: str = ""
    created: str
