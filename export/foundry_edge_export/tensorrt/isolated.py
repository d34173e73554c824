"""NVIDIA's compiler in a process of its own: a crash or a hang of it becomes one clear line."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from subprocess import TimeoutExpired
from typing import IO, Any

import foundry_edge_export
from foundry_edge_export.tensorrt.failures import CrashError, RefusedError
from foundry_edge_export.tensorrt.task import BuildTask, Compiled
from foundry_edge_runtime.child import ROOT, finish
from foundry_edge_runtime.ending import ending
from foundry_edge_runtime.errors import BackendError, BundleError, FoundryEdgeError, InputError, StorageError

_ROOTS = [Path(foundry_edge_export.__file__ or "").resolve().parents[1], ROOT]
_WORKER = "foundry_edge_export.tensorrt.worker"


_KINDS: dict[str, type[FoundryEdgeError]] = {
    kind.__name__: kind
    for kind in (CrashError, RefusedError, BackendError, BundleError, InputError, StorageError)
}


def ask(
    kind: str, task: dict[str, Any], *, timeout: float, folder: Path | None = None, extra: bytes = b""
) -> tuple[dict[str, Any], list[bytes]]:
    """Have a child process do one task.

    Args:
        kind: what, see `worker`.
        task: JSON of it.
        timeout: seconds after which the child is killed.
        folder: where the answer is kept meanwhile, in a file without a name; None takes the system's.
        extra: bytes for the task, e.g. a timing cache.

    Returns:
        The answer and its blobs.

    Raises:
        FoundryEdgeError: as the child raised it.
        CrashError: the child died, or took too long.
        StorageError: there is no room for the answer.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as answer, tempfile.TemporaryFile() as complaints:
            code = _run(kind, task, extra, timeout, (answer, complaints))
            return _read(answer, complaints, code, kind)
    except OSError as error:
        raise StorageError(
            f"no room for a plan ({error.strerror})",
            where=folder or tempfile.gettempdir(),
            remedy="free space",
        ) from error


def compile_isolated(task: BuildTask, timing: bytes, *, timeout: float, folder: Path) -> Compiled:
    """As `compile_rung`, in a child process.

    Raises:
        FoundryEdgeError: see `compile_rung`.
        CrashError: the compiler crashed, or took longer than ``timeout`` seconds.
    """
    head, blobs = ask("build", asdict(task), timeout=timeout, folder=folder, extra=timing)
    plan, layers, cache = blobs
    return Compiled(plan, head["seconds"], layers, cache, tuple(head["warnings"]))


def _run(
    kind: str, task: dict[str, Any], extra: bytes, timeout: float, files: tuple[IO[bytes], IO[bytes]]
) -> int:
    answer, complaints = files
    command = [sys.executable, "-m", _WORKER, str(os.getpid()), str(answer.fileno())]
    try:
        return finish(
            command,
            complaints,
            complaints,
            seconds=timeout,
            given=json.dumps({"kind": kind, "task": task}).encode() + b"\n" + extra,
            pass_fds=(answer.fileno(),),
            cwd=_ROOTS[0],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
        )
    except TimeoutExpired as error:
        raise CrashError(
            f"the compiler was stopped after {timeout:g} s", where=_name(task), remedy="raise --timeout"
        ) from error


def _search_path() -> list[str]:
    given = os.environ.get("PYTHONPATH")
    return list(dict.fromkeys([*map(str, _ROOTS), *([given] if given else [])]))


def _read(
    answer: IO[bytes], complaints: IO[bytes], code: int, kind: str
) -> tuple[dict[str, Any], list[bytes]]:
    if code != 0:
        complaints.seek(0)
        how = ending(code, complaints.read().decode(errors="replace"))
        raise CrashError(f"the compiler's process {how}", where=kind)
    answer.seek(0)
    line = json.loads(answer.readline())
    blobs = [answer.read(size) for size in line["sizes"]]
    if "error" in line["head"]:
        raise _restored(line["head"])
    return line["head"], blobs


def _restored(head: dict[str, Any]) -> FoundryEdgeError:
    """The child's error."""
    kind = _KINDS.get(head["kind"], BackendError)
    return kind(head["error"]["problem"], where=head["error"]["where"], remedy=head["error"]["remedy"])


def _name(task: dict[str, Any]) -> str:
    return str(task.get("rung") or task.get("backend"))
