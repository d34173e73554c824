"""Measuring an engine in a process of its own: true peak memory, and a crash stays there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import foundry_edge_runtime
from foundry_edge_runtime.backends.registry import get_backend
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.bundle.manifest import Rung
from foundry_edge_runtime.device import resident_mb
from foundry_edge_runtime.errors import FoundryEdgeError, InputError
from foundry_edge_runtime.profile.measure import Effort, measure
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile

_ROOT = Path(foundry_edge_runtime.__file__).resolve().parent.parent
_SECONDS = 120  # for one engine; builds are made ahead of time, so loading is all it does


def measure_isolated(
    bundle: Bundle, rung: Rung, backend: str, effort: Effort
) -> EngineProfile | EngineFailure:
    """As `measure`, in a fresh process; a failure is a result.

    Args:
        bundle: checked again by the process.
        rung: what to measure.
        backend: name of the backend.
        effort: how long.
    """
    task = [
        str(bundle.folder.resolve()),
        str(rung.tokens),
        rung.precision,
        backend,
        json.dumps(asdict(effort)),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, "-m", __name__, *task],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            cwd=_ROOT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failure(rung, backend, f"gave no result within {_SECONDS} s")
    if done.returncode == 0:
        return EngineProfile.model_validate_json(done.stdout)
    if done.returncode < 0:
        return _failure(rung, backend, f"the process died of {signal.Signals(-done.returncode).name}")
    return _failure(rung, backend, next(iter(done.stderr.strip().splitlines()[-1:]), "no reason was given"))


def _failure(rung: Rung, backend: str, reason: str) -> EngineFailure:
    return EngineFailure(tokens=rung.tokens, precision=rung.precision, backend=backend, reason=reason)


def _work(folder: str, tokens: str, precision: str, backend: str, effort: str) -> str:
    bundle = load_bundle(folder)
    rung = bundle.manifest.rung(int(tokens), precision)
    if rung is None:
        raise InputError(f"has no rung of {tokens} tokens in {precision}", where=folder)
    result = measure(bundle, rung, get_backend(backend), Effort(**json.loads(effort)))
    return result.model_copy(update={"memory_mb": resident_mb(peak=True)}).model_dump_json()


def main() -> int:
    """What the process runs; the result goes to stdout, an error's one line to stderr."""
    try:
        sys.stdout.write(_work(*sys.argv[1:]))
    except FoundryEdgeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
