"""ONNX Runtime comes as one of several distributions, and what is imported counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import onnxruntime
import pytest

import foundry_edge
import foundry_edge_runtime
from foundry_edge_runtime import versions as module
from foundry_edge_runtime.errors import EnvironmentFault
from foundry_edge_runtime.versions import versions

GPU = "onnxruntime_gpu-1.99.0.dist-info"


@pytest.fixture
def gpu_wheel_alone(tmp_path: Path) -> str:
    """PYTHONPATH of an installation that has onnxruntime-gpu in the place of onnxruntime."""
    folder = tmp_path / "site"
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not (path.name.startswith("onnxruntime-") and path.suffix == ".dist-info"):
            (folder / path.name).symlink_to(path)
    (folder / GPU).mkdir()
    (folder / GPU / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.99.0\n")
    (folder / GPU / "top_level.txt").write_text("onnxruntime\n")
    roots = (Path(one.__file__ or "").parents[1] for one in (foundry_edge, foundry_edge_runtime))
    return os.pathsep.join(map(str, (folder, *roots)))


def command(path: str, *words: object) -> subprocess.CompletedProcess[str]:
    """`foundry-edge` with these packages and no others."""
    code = "from foundry_edge.cli.app import main; main()"
    return subprocess.run(
        [sys.executable, "-S", "-c", code, *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_commands_work_with_another_wheel_of_onnxruntime(gpu_wheel_alone: str, bundle_folder: Path) -> None:
    done = command(gpu_wheel_alone, "doctor", "--json", "--bundle", bundle_folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["versions"]
    assert found["onnxruntime"] == onnxruntime.__version__
    cloud = bundle_folder.parent / "cloud.xyz"
    cloud.write_text("".join(f"{i % 7} {i % 5} {i % 3}\n" for i in range(64)))
    done = command(gpu_wheel_alone, "run", cloud, "--json", "--bundle", bundle_folder)
    assert done.returncode == 0, done.stderr


def test_nothing_is_imported_for_it() -> None:
    code = (
        "import sys; from foundry_edge_runtime.versions import versions; "
        "print(versions(['onnxruntime'])['onnxruntime'], 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [onnxruntime.__version__, "False"]


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PackageNotFoundError):
        versions(["no-such-distribution"])
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(EnvironmentFault, match="pip install onnxruntime, or onnxruntime-gpu"):
        versions(["onnxruntime"])
