"""Work in a process of its own: a crash or a hang of NVIDIA's libraries stays there.

Libraries write to stdout and stderr as they like, so an answer on stdout is a marked line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import foundry_edge_runtime

ROOT = Path(foundry_edge_runtime.__file__).resolve().parent.parent
"""Where `-m` is to look for modules: first there, and never in the folder the user stands in."""
_MARK = "foundry-edge-answer:"
_BURIAL_SECONDS = 1.0


class Ended(NamedTuple):
    """What is left of a process.

    Attributes:
        code: as `subprocess` gives it: below 0 when a signal ended it.
        answer: what it gave to `answer`; None if it gave nothing, or did not end well.
        complained: what it wrote to stderr.
    """

    code: int
    answer: Any
    complained: str


def ask(module: str, word: str, *, seconds: float) -> Ended:
    """Run a module of this package, and have its answer.

    Args:
        module: dotted name.
        word: its argument.
        seconds: as for `finish`.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it took longer.
    """
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        command = [sys.executable, "-m", module, word]
        code = finish(command, said, complained, seconds=seconds, cwd=ROOT)
        return Ended(code, _answer(_text(said)) if code == 0 else None, _text(complained))


def answer(value: Any) -> None:
    """What the process of `ask` calls, once, with what `json` takes."""
    sys.stdout.write(f"\n{_MARK}{json.dumps(value)}\n")


def finish(
    command: Sequence[str],
    said: IO[bytes],
    complained: IO[bytes],
    *,
    seconds: float,
    given: bytes = b"",
    **more: Any,
) -> int:
    """Run a process to its end; one that takes too long is killed and left behind.

    Args:
        command: program and arguments.
        said, complained: files for its stdout and stderr.
        seconds: that it may take.
        given: its stdin.
        more: as `subprocess.Popen` takes it.

    Returns:
        Its exit code, below 0 when a signal ended it.

    Raises:
        OSError: it cannot be started.
        TimeoutExpired: it took longer.
    """
    process = subprocess.Popen(  # noqa: S603 - our own modules, arguments as a list
        command, stdin=subprocess.PIPE, stdout=said, stderr=complained, **more
    )
    try:
        process.communicate(given, timeout=seconds)
    except BaseException:
        kill(process)
        raise
    return process.returncode


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process without waiting for ever: one that hangs in the driver may never end."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_BURIAL_SECONDS)


def _answer(said: str) -> Any:
    lines = [line for line in said.splitlines() if line.startswith(_MARK)]
    return json.loads(lines[-1].removeprefix(_MARK)) if lines else None


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")
