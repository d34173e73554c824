"""What a build process is told, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BuildTask:
    """One rung to compile.

    Attributes:
        backend: "tensorrt" or "tensorrt-rtx".
        folder: the bundle.
        rung: name of the rung in it.
        batches: lowest, tuned and highest batch size.
        capabilities: compute capabilities to build ahead for, e.g. "8.9"; empty builds for the GPU at hand.
        workspace: bytes of device memory that a kernel may use beside its tensors; 0: no limit.
    """

    backend: str
    folder: str
    rung: str
    batches: tuple[int, int, int]
    capabilities: tuple[str, ...]
    workspace: int


@dataclass(frozen=True)
class Compiled:
    """What the compiler made.

    Attributes:
        plan: the serialised engine.
        seconds: parsing and building, without starting the process.
        layers: the engine inspector's JSON; empty when the engine cannot be opened here (built ahead).
        timing: the timing cache afterwards; empty when the library keeps none.
        warnings: of the library, each once.
    """

    plan: bytes
    seconds: float
    layers: bytes = b""
    timing: bytes = b""
    warnings: tuple[str, ...] = field(default=())
