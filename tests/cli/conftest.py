"""The command line as a user meets it, in a process of its own; and faster, in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foundry_edge.cli.app import main
from tests.runtime.tiny_bundle import write_bundle
from tests.runtime.tiny_parts import add_parts

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("cli") / "bundle")


@pytest.fixture(scope="session")
def part_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_parts(write_bundle(tmp_path_factory.mktemp("cli-parts") / "bundle"))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """An empty folder to stand in."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def foundry_edge(here: Path, tmp_path: Path) -> Run:
    """Runs the installed command in an empty folder, with a cache of its own."""

    def run(*arguments: str | Path, stdin: str = "", **environment: str) -> Result:
        return subprocess.run(
            [str(Path(sys.executable).with_name("foundry-edge")), *map(str, arguments)],
            cwd=here,
            input=stdin,
            text=True,
            capture_output=True,
            env={**os.environ, "FOUNDRY_EDGE_CACHE": str(tmp_path / "cache"), **environment},
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def called(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The same without a process: the entry point is called, what it prints is caught."""

    def run(*arguments: str | Path, **environment: str) -> Result:
        command = ["foundry-edge", *map(str, arguments)]
        with monkeypatch.context() as patch:
            patch.chdir(here)
            patch.setattr(sys, "argv", command)
            for name, value in {"FOUNDRY_EDGE_CACHE": str(tmp_path / "cache"), **environment}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as stop:
                main()
        printed = capfd.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return Result(command, code, printed.out, printed.err)

    return run
