"""Trying a GPU backend in a process of its own: a crash, a hang or a missing driver becomes a reason.

NVIDIA's libraries may crash where the driver is missing or does not fit (`tensorrt_dispatch` 10 does), which
no ``except`` can catch. A probe costs a second or two, and its outcome holds for this process alone: the next
may find the driver repaired.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO

import foundry_edge_runtime
from foundry_edge_runtime.backends.base import BackendStatus, Probed
from foundry_edge_runtime.ending import ending
from foundry_edge_runtime.errors import FoundryEdgeError, printable

SECONDS = 60.0
"""A first start of CUDA on a small board takes some seconds; a driver that hangs takes for ever."""
_ROOT = Path(foundry_edge_runtime.__file__).resolve().parent.parent
_MARK = "foundry-edge-probe:"


@cache
def probed(name: str) -> BackendStatus:
    """The status of a backend as a process of its own found it; found out once for this process.

    Args:
        name: of a backend that is `Probed`.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        try:
            code = _run(name, said, complained)
        except (OSError, subprocess.TimeoutExpired) as error:
            late = isinstance(error, subprocess.TimeoutExpired)
            reason = f"gave no answer within {SECONDS:g} s" if late else f"cannot be tried: {error}"
            return BackendStatus(name, available=False, reason=reason)
        return _answer(name, code, _text(said), _text(complained))


def _run(name: str, said: IO[bytes], complained: IO[bytes]) -> int:
    process = subprocess.Popen(  # noqa: S603 - our own module, arguments as a list
        [sys.executable, "-m", __name__, name],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=complained,
        cwd=_ROOT,
    )
    try:
        return process.wait(timeout=SECONDS)
    except BaseException:
        process.kill()
        with suppress(subprocess.TimeoutExpired):  # one that hangs in the driver may never end
            process.wait(timeout=1)
        raise


def _answer(name: str, code: int, said: str, complained: str) -> BackendStatus:
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    if code == 0 and lines:
        return BackendStatus(**json.loads(lines[-1].removeprefix(_MARK)))
    reason = f"the process that tried it {ending(code, complained)}"
    return BackendStatus(name, available=False, reason=printable(reason))


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


def main() -> int:
    """What the process runs; other libraries may write to stdout as well, so the answer is marked."""
    from foundry_edge_runtime.backends.registry import get_backend  # noqa: PLC0415 - it imports this

    try:
        backend = get_backend(sys.argv[1])
        status = backend.examine() if isinstance(backend, Probed) else backend.status()
    except FoundryEdgeError as error:
        status = BackendStatus(sys.argv[1], available=False, reason=error.problem)
    sys.stdout.write(f"\n{_MARK}{json.dumps(asdict(status))}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
