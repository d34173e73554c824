"""The command: output, exit codes, one line for every user error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "from foundry_edge.cli.app import main; main()"
HIDDEN = """
import importlib.abc, sys
class Hide(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {%s}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
"""


def _run(*arguments: object, cwd: Path, hidden: str = "") -> subprocess.CompletedProcess[str]:
    code = (HIDDEN % hidden if hidden else "") + MAIN
    command = [sys.executable, "-W", "ignore", "-c", code, "export", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=280, check=False)


def test_json_and_table(models: Path, tmp_path: Path) -> None:
    options = ("--tokens", "1", "--precision", "fp32", "--teacher", models / "teacher")
    done = _run(models / "student", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["kept"] is True
    assert record["bundle"]["path"] == str(tmp_path / "foundry-out" / "bundle")
    (rung,) = record["rungs"]
    assert (rung["tokens"], rung["precision"], rung["built"]) == (1, "fp32", True)
    assert rung["parity"]["max_abs"] < 1e-4
    assert (tmp_path / "foundry-out" / "bundle" / "manifest.json").is_file()
    again = _run(models / "student", *options, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "s1-fp32" in again.stdout
    assert "foundry-edge run scan.pcd" in again.stdout
    assert max(map(len, again.stdout.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such model folder"),
        (["--precision", "int3"], "--precision: unknown value 'int3'; use one of fp32"),
        (["--tokens", "four"], "--tokens: expected positive whole numbers"),
        (["--tokens", "5"], "--tokens: the student has no budget of 5 SuperTokens; it has 1,2,4"),
        (["--bypass", "some"], "--bypass: expected whole numbers from 0, got 'some'; for example 0,8"),
        (["--bypass=-1"], "--bypass: expected whole numbers from 0, got '-1'; for example 0,8"),
        (["--bypass", "0,3"], "--bypass: the student has no gate"),
        (["--calibration-data", "missing"], "missing: no such file or folder"),
        (["--calibration-method", "magic"], "--calibration-method: unknown value 'magic'"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    models: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    student = [] if arguments == ["nowhere"] else [models / "student"]
    done = _run(*student, *arguments, "--out", "bundle", cwd=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("package", ["torch", "onnx"])
def test_a_missing_extra_names_the_command(tmp_path: Path, package: str) -> None:
    done = _run(cwd=tmp_path, hidden=repr(package))
    assert done.returncode == 3
    assert "pip install 'foundry-edge[export]'" in done.stderr
    assert "Traceback" not in done.stderr
