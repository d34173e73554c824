"""Nothing is written but what was asked for, and no usage data is gathered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_RUN = """
import sys, numpy
from foundry_edge_runtime import Session, load_bundle
points = numpy.random.default_rng(0).normal(size=(200, 3))
with Session(load_bundle(sys.argv[1])) as session:
    print(session.run(points).tokens.shape)
from foundry_edge_runtime.backends import backend_statuses
print([status.name for status in backend_statuses() if status.available])
"""


def python(code: str, home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"ORT_DISABLE_TELEMETRY", "FOUNDRY_EDGE_CACHE"}}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_running_leaves_no_trace_in_the_home(bundle_folder: Path, home: Path) -> None:
    done = python(_RUN, home, str(bundle_folder))
    assert done.returncode == 0, done.stderr
    assert "(4, 6)" in done.stdout
    assert "'onnxruntime'" in done.stdout
    assert done.stderr == ""
    assert list(home.rglob("*")) == []


def test_home_that_cannot_be_written(bundle_folder: Path, tmp_path: Path) -> None:
    """A file where the home should be: nothing can be made below it, whoever runs this."""
    home = tmp_path / "home"
    home.write_text("")
    done = python(_RUN, home, str(bundle_folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_telemetry_can_be_allowed(home: Path) -> None:
    code = "import os, foundry_edge_runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    assert python(code, home).stdout.strip() == "1"
    assert python(code, home, ORT_DISABLE_TELEMETRY="0").stdout.strip() == "0"
