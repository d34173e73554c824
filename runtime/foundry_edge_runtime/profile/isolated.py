"""Measuring an engine in a process of its own: true peak memory, and a crash stays there."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import foundry_edge_runtime
from foundry_edge_runtime.backends.registry import get_backend
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.ending import ending, last_line
from foundry_edge_runtime.errors import FoundryEdgeError, InputError
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.profile.measure import Effort, Visit, visit
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile
from foundry_edge_runtime.sensors import power_w, temperature_c

_ROOT = Path(foundry_edge_runtime.__file__).resolve().parent.parent
_SECONDS = 120.0  # to load an engine; builds are made ahead of time, so nothing is compiled then
_CLOUD_SECONDS = 1.0  # to group and compute a cloud


class _Task(NamedTuple):
    """What the process is told, as JSON."""

    folder: str
    tokens: int
    bypassed: int
    precision: str
    backend: str
    batch: int
    effort: dict[str, Any]


def measure_isolated(
    bundle: Bundle, rung: Rung, backend: str, effort: Effort
) -> EngineProfile | EngineFailure:
    """The figures of one `visit_isolated`."""
    seen = visit_isolated(bundle, rung, backend, effort)
    return seen.profile if isinstance(seen, Visit) else seen


def visit_isolated(
    bundle: Bundle, rung: Rung, backend: str, effort: Effort, *, batch: int = 1
) -> Visit | EngineFailure:
    """As `visit`, in a fresh process; a failure is a result.

    Args:
        bundle: checked again by the process.
        rung: what to measure.
        backend: name of the backend.
        effort: how long.
        batch: clouds at a time.
    """
    made = (rung.tokens, rung.bypassed, rung.precision)
    task = _Task(str(bundle.folder.resolve()), *made, backend, batch, asdict(effort))
    failure, limit = partial(EngineFailure.of, rung, backend, batch=batch), _limit(effort, batch)
    try:
        done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, "-m", __name__, json.dumps(task)],
            capture_output=True,
            text=True,
            timeout=limit,
            cwd=_ROOT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failure(reason=f"gave no result within {limit:g} s")
    if done.returncode == 0:
        profile, *times = json.loads(done.stdout)
        return Visit(EngineProfile.model_validate(profile), *times)
    if done.returncode < 0:
        return failure(reason=f"the process {ending(done.returncode, done.stderr)}")
    return failure(reason=last_line(done.stderr) or "no reason was given")


def _limit(effort: Effort, batch: int) -> float:
    """Seconds for one visit: a slow CPU needs up to one for a cloud."""
    clouds = (effort.warm_runs + effort.runs) * batch
    return _SECONDS + effort.warm_seconds + effort.seconds + clouds * _CLOUD_SECONDS


def _work(task: _Task) -> str:
    accelerate(compile_now=False)
    bundle = load_bundle(task.folder)
    rung = bundle.manifest.rung(task.tokens, task.precision, task.bypassed)
    if rung is None:
        raise InputError(f"has no rung of {task.tokens} tokens in {task.precision}", where=task.folder)
    seen = visit(bundle, rung, get_backend(task.backend), Effort(**task.effort), batch=task.batch)
    board = {"memory_mb": resident_mb(peak=True), "temperature_c": temperature_c(), "power_w": power_w()}
    profile = seen.profile.model_copy(update=board)
    return json.dumps([profile.model_dump(mode="json"), seen.group_ms, seen.engine_ms])


def main() -> int:
    """What the process runs; the result goes to stdout, an error's one line to stderr."""
    try:
        sys.stdout.write(_work(_Task(*json.loads(sys.argv[1]))))
    except FoundryEdgeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
