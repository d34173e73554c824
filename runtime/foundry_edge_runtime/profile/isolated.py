"""Measuring an engine in a process of its own: true peak memory, and a crash stays there."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from subprocess import TimeoutExpired
from typing import Any, NamedTuple

from foundry_edge_runtime.backends.registry import get_backend
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.child import answer, ask
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.ending import ending
from foundry_edge_runtime.errors import BundleError, FoundryEdgeError, InputError, printable
from foundry_edge_runtime.grouping import accelerate
from foundry_edge_runtime.profile.measure import Effort, Visit, visit
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile
from foundry_edge_runtime.sensors import power_w, temperature_c

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
    """As `visit`, in a fresh process; a failure of the engine is a result.

    Args:
        bundle: checked again by the process.
        rung: what to measure.
        backend: name of the backend.
        effort: how long.
        batch: clouds at a time.

    Raises:
        BundleError: the rung's files are not what the manifest says; no other bundle of the same manifest,
            whose profile this is as well, is to suffer from that.
    """
    made = (rung.tokens, rung.bypassed, rung.precision)
    task = _Task(str(bundle.folder.resolve()), *made, backend, batch, asdict(effort))
    failure, limit = partial(EngineFailure.of, rung, backend, batch=batch), _limit(effort, batch)
    try:
        found = ask(__name__, json.dumps(task), seconds=limit)
    except TimeoutExpired:
        return failure(reason=f"gave no result within {limit:g} s")
    except OSError as error:
        return failure(reason=f"cannot be measured: {error}")
    if found.answer is None:
        return failure(reason=printable(f"the process {ending(found.code, found.complained)}"))
    if "damaged" in found.answer:
        raise BundleError(**found.answer["damaged"])
    if "reason" in found.answer:
        return failure(reason=found.answer["reason"])
    profile, *times = found.answer["visit"]
    return Visit(EngineProfile.model_validate(profile), *times)


def _limit(effort: Effort, batch: int) -> float:
    """Seconds for one visit: a slow CPU needs up to one for a cloud."""
    clouds = (effort.warm_runs + effort.runs) * batch
    return _SECONDS + effort.warm_seconds + effort.seconds + clouds * _CLOUD_SECONDS


def _work(task: _Task) -> list[Any]:
    grouping_mb = _compiler_mb()
    bundle = load_bundle(task.folder)
    rung = bundle.manifest.rung(task.tokens, task.precision, task.bypassed)
    if rung is None:
        raise InputError(f"has no rung of {task.tokens} tokens in {task.precision}", where=task.folder)
    seen = visit(
        bundle, rung, get_backend(task.backend), Effort(**task.effort), batch=task.batch, sense=_sensors
    )
    peak_mb = resident_mb(peak=True)
    memory_mb = None if peak_mb is None else peak_mb - grouping_mb
    profile = seen.profile.model_copy(update={"memory_mb": memory_mb})
    return [profile.model_dump(mode="json"), seen.group_ms, seen.engine_ms]


def _compiler_mb() -> float:
    """Load the compiled grouping, and tell what that takes: where memory is limited nothing loads it."""
    before = resident_mb()
    accelerate(compile_now=False)
    return max((resident_mb() or 0.0) - (before or 0.0), 0.0)


def _sensors() -> dict[str, float | None]:
    return {"power_w": power_w(), "temperature_c": temperature_c()}


def main() -> int:
    """What the process runs; an error's one line is an answer as well."""
    try:
        answer({"visit": _work(_Task(*json.loads(sys.argv[1])))})
    except BundleError as error:
        answer({"damaged": {"problem": error.problem, "where": error.where, "remedy": error.remedy}})
    except FoundryEdgeError as error:
        answer({"reason": str(error)})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
