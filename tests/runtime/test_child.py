"""Processes that libraries may crash or hang are run to their end, and no longer waited for than was said."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import pytest

from foundry_edge_runtime import child


def test_process_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs in the driver is not ended by any signal."""
    monkeypatch.setattr(child, "_BURIAL_SECONDS", 0.1)
    immortal = subprocess.Popen(["sleep", "60"])
    kill = immortal.kill
    monkeypatch.setattr(immortal, "kill", lambda: None)
    started = time.monotonic()
    child.kill(immortal)
    assert time.monotonic() - started < 5
    kill()
    immortal.wait()


def test_process_is_given_its_input_and_its_streams_are_kept_apart() -> None:
    code = "import sys; print(sys.stdin.read()); sys.stderr.write('no'); raise SystemExit(4)"
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        assert child.finish([sys.executable, "-c", code], said, complained, seconds=60, given=b"yes") == 4
        assert (child._text(said), child._text(complained)) == ("yes\n", "no")
