"""Trying a GPU backend in a process of its own: a crash, a hang or a missing driver becomes a reason.

NVIDIA's libraries may crash where the driver is missing or does not fit (`tensorrt_dispatch` 10 does), which
no ``except`` can catch. A probe costs a second or two, and its outcome holds for this process alone: the next
may find the driver repaired.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import cache
from subprocess import TimeoutExpired

from foundry_edge_runtime.backends.base import BackendStatus, Probed
from foundry_edge_runtime.child import answer, ask
from foundry_edge_runtime.ending import ending
from foundry_edge_runtime.errors import FoundryEdgeError, printable

SECONDS = 60.0
"""A first start of CUDA on a small board takes some seconds; a driver that hangs takes for ever."""


@cache
def probed(name: str) -> BackendStatus:
    """The status of a backend as a process of its own found it; found out once for this process.

    Args:
        name: of a backend that is `Probed`.
    """
    try:
        found = ask(__name__, name, seconds=SECONDS)
    except TimeoutExpired:
        return BackendStatus(name, available=False, reason=f"gave no answer within {SECONDS:g} s")
    except OSError as error:
        return BackendStatus(name, available=False, reason=f"cannot be tried: {error}")
    if found.answer is not None:
        return BackendStatus(**found.answer)
    reason = f"the process that tried it {ending(found.code, found.complained)}"
    return BackendStatus(name, available=False, reason=printable(reason))


def main() -> int:
    """What the process runs."""
    from foundry_edge_runtime.backends.registry import get_backend  # noqa: PLC0415 - it imports this

    try:
        backend = get_backend(sys.argv[1])
        status = backend.examine() if isinstance(backend, Probed) else backend.status()
    except FoundryEdgeError as error:
        status = BackendStatus(sys.argv[1], available=False, reason=error.problem)
    answer(asdict(status))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
