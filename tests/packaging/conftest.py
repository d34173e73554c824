"""One wheel, built from an sdist, and one clean environment with it, for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

UNREACHABLE = (
    "NewConnectionError",
    "Could not connect",
    "name resolution",
    "timed out",
    "Network is unreachable",
)


@dataclass(frozen=True)
class Installed:
    """The wheel in a virtual environment outside the repository, with the base dependencies only."""

    root: Path
    site_packages: Path

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in an empty directory and without this one's variables."""
        program, *rest = arguments
        cwd = self.root / "empty"
        cwd.mkdir(exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FOUNDRY"))}
        command = [str(self.root / "bin" / program), *rest]
        return subprocess.run(
            command, cwd=cwd, env=kept, text=True, capture_output=True, timeout=timeout, check=False
        )


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that may fail, output captured."""
    return subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False, timeout=900)


@pytest.fixture(scope="session")
def source_copy(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the repository that a clone has, so that no build leftover reaches the wheel."""
    target = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=repository)
    assert listed.returncode == 0, f"needs a git checkout: {listed.stderr}"
    for name in filter(None, listed.stdout.split("\0")):
        if (repository / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target / name)
    return target


@pytest.fixture(scope="session")
def wheel(source_copy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist of the source tree."""
    out = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source_copy))
    assert built.returncode == 0, built.stdout + built.stderr
    assert len(list(out.glob("*.tar.gz"))) == 1
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A clean environment that holds the wheel and what it requires, nothing else (not even pip)."""
    root = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(root, with_pip=False, symlinks=True)
    python = root / "bin" / "python"
    result = run(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", str(wheel))
    if result.returncode and not os.environ.get("CI") and any(sign in result.stderr for sign in UNREACHABLE):
        pytest.skip("the package registry cannot be reached, so the dependencies cannot be installed")
    assert result.returncode == 0, result.stdout + result.stderr
    (site_packages,) = root.glob("lib/python*/site-packages")
    return Installed(root, site_packages)
