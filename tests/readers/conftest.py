"""Samples of every format, written byte by byte in benchmarks/scan_samples.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.readers.reader_process import inspect_process


@pytest.fixture(scope="session")
def baseline_mib(tmp_path_factory: pytest.TempPathFactory) -> float:
    """Peak memory of the command on a scan of three points."""
    path = tmp_path_factory.mktemp("baseline") / "tiny.xyz"
    path.write_text("0 0 0\n1 0 0\n0 1 0\n")
    return inspect_process(path).peak_mib


@pytest.fixture
def sample(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a sample by its file name and gives its path."""
    from benchmarks.scan_samples import SAMPLES

    def write(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(SAMPLES[name]())
        return path

    return write
