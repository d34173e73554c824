"""The child process: one task as JSON on standard input, the answer in a file that has no name.

The answer is one line of JSON, then blobs one after the other. A child does not outlive its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from foundry_edge_runtime.errors import FoundryEdgeError

_PR_SET_PDEATHSIG = 1
Answer = tuple[dict[str, Any], list[bytes]]


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that dies (Linux)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def describe(task: dict[str, Any], _: bytes) -> Answer:
    """What there is to build with, and for."""
    from foundry_edge_export.tensorrt.site import look_around  # noqa: PLC0415

    return look_around(task["backend"]).model_dump(mode="json"), []


def build(task: dict[str, Any], timing: bytes) -> Answer:
    """Compile one rung."""
    from foundry_edge_export.tensorrt.compiler import compile_rung  # noqa: PLC0415
    from foundry_edge_export.tensorrt.task import BuildTask  # noqa: PLC0415

    lists = {name: tuple(task[name]) for name in ("batches", "capabilities")}
    made = compile_rung(BuildTask(**{**task, **lists}), timing)
    return {"seconds": made.seconds, "warnings": made.warnings}, [made.plan, made.layers, made.timing]


def check(task: dict[str, Any], plan: bytes) -> Answer:
    """Run a plan against its ONNX graph."""
    from foundry_edge_export.tensorrt.check import check_plan  # noqa: PLC0415

    return check_plan(plan, **task).model_dump(mode="json"), []


_KINDS: dict[str, Callable[[dict[str, Any], bytes], Answer]] = {
    "describe": describe,
    "build": build,
    "check": check,
}


def main() -> int:
    """Do one task; an error's parts are the answer as well."""
    parent, descriptor = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    head = json.loads(sys.stdin.buffer.readline())
    extra = sys.stdin.buffer.read()
    with os.fdopen(descriptor, "wb") as answer:
        try:
            _send(answer, *_KINDS[head["kind"]](head["task"], extra))
        except FoundryEdgeError as error:
            parts = {"problem": error.problem, "where": error.where, "remedy": error.remedy}
            _send(answer, {"error": parts, "kind": type(error).__name__}, [])
    return 0


def _send(answer: BinaryIO, head: dict[str, Any], blobs: list[bytes]) -> None:
    line = {"head": head, "sizes": [len(blob) for blob in blobs]}
    answer.write(json.dumps(line).encode() + b"\n")
    for blob in blobs:
        answer.write(blob)


if __name__ == "__main__":
    raise SystemExit(main())
