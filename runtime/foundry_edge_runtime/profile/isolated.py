"""Measuring an engine in a process of its own: true peak memory, and a crash stays there."""

from __future__ import annotations

import json
import signal
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
from foundry_edge_runtime.errors import FoundryEdgeError, InputError
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.profile.measure import Effort, Visit, visit
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile
from foundry_edge_runtime.sensors import power_w, temperature_c

_ROOT = Path(foundry_edge_runtime.__file__).resolve().parent.parent
_SECONDS = 120  # for one engine; builds are made ahead of time, so loading is all it does


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
    failure = partial(
        EngineFailure,
        tokens=rung.tokens,
        bypassed=rung.bypassed,
        precision=rung.precision,
        backend=backend,
        batch=batch,
    )
    try:
        done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, "-m", __name__, json.dumps(task)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            cwd=_ROOT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failure(reason=f"gave no result within {_SECONDS} s")
    if done.returncode == 0:
        profile, *times = json.loads(done.stdout)
        return Visit(EngineProfile.model_validate(profile), *times)
    if done.returncode < 0:
        return failure(reason=f"the process died of {signal.Signals(-done.returncode).name}")
    return failure(reason=next(iter(done.stderr.strip().splitlines()[-1:]), "no reason was given"))


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
