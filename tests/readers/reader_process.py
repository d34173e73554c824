"""The command line in a fresh process, with its time and memory measured."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_COMMAND = """
import atexit, os, pathlib
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: pathlib.Path(os.environ["READER_STATUS"]).write_text(status.read_text()))
from foundry_edge.cli.app import main
main()
"""


@dataclass(frozen=True)
class Outcome:
    """What a process did: exit code, output, seconds of processor time, and peak memory in MiB.

    Processor time, not time on the clock: a busy machine must not fail the tests, a hang still does.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_mib: float

    @property
    def record(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


def inspect_process(*arguments: str | Path, stdin: Any = subprocess.DEVNULL, limit: float = 60.0) -> Outcome:
    """`foundry-edge inspect --json` in a fresh process, killed after ``limit`` seconds on the clock."""
    command = [
        sys.executable,
        "-c",
        _COMMAND,
        "inspect",
        "--json",
        *(os.fspath(argument) for argument in arguments),
    ]
    with tempfile.NamedTemporaryFile() as status:
        environment = {**os.environ, "READER_STATUS": status.name}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            command, stdin=stdin, capture_output=True, timeout=limit, env=environment, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak = int(status.read().partition(b"VmHWM:")[2].split()[0]) / 1024
    return Outcome(done.returncode, done.stdout.decode(), done.stderr.decode(), seconds, peak)
