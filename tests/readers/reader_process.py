"""The command line in a fresh process, with its time and memory measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_COMMAND = "from foundry_edge.cli.app import main; main()"


@dataclass(frozen=True)
class Outcome:
    """What a process did: exit code, output, seconds, and peak memory in MiB."""

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


def inspect_process(*arguments: str | Path, stdin: Any = subprocess.DEVNULL, limit: float = 20.0) -> Outcome:
    """`foundry-edge inspect --json` in a fresh process, killed after ``limit`` seconds."""
    command = [sys.executable, "-c", _COMMAND, "inspect", "--json", *map(os.fspath, arguments)]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=stdin, stdout=out, stderr=err)
        ended = 0
        while not ended:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if not ended and time.perf_counter() - start > limit:
                process.kill()
                process.wait()
                pytest.fail(f"still running after {limit} s: {arguments}")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        return Outcome(
            process.returncode, out.read().decode(), err.read().decode(), seconds, usage.ru_maxrss / 1024
        )
