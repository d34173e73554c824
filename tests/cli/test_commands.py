"""Exit codes, streams and wording of every command of the runtime."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundry_edge_runtime import feeding
from foundry_edge_runtime.pointcloud import FloatArray
from tests.cli.conftest import Run

CHAIR = Path("examples") / "chair.pcd"


def records(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def error_line(result: Any, code: int) -> str:
    """The one line that a failure prints: no traceback, nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert result.stdout == ""
    lines: list[str] = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("foundry-edge: error: ")
    return lines[0]


@pytest.fixture
def scans(tmp_path: Path, repository: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    shutil.copy(repository / CHAIR, folder)
    np.save(folder / "points.npy", np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32))
    return folder


def test_run_for_people(foundry_edge: Run, bundle: Path, repository: Path) -> None:
    result = foundry_edge("run", repository / CHAIR, "--bundle", bundle)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    for part in ("chair.pcd", "4453 points", "the most accurate of 4", "latency", "4 fp32", "85.0 %"):
        assert part in result.stdout


def test_run_json_is_one_object_and_nothing_else(foundry_edge: Run, bundle: Path, repository: Path) -> None:
    result = foundry_edge("run", repository / CHAIR, "--bundle", bundle, "--json")
    (record,) = records(result.stdout)
    assert result.stderr == ""
    assert record["bundle"]["source"] == "path"
    assert record["prediction"]["top"][0]["score"] >= record["prediction"]["top"][1]["score"]


def test_first_budget_is_measured_and_said_on_stderr_only(
    foundry_edge: Run, bundle: Path, repository: Path
) -> None:
    command = ("run", repository / CHAIR, "--bundle", bundle, "--max-latency-ms", "5000", "--json")
    first, second = foundry_edge(*command), foundry_edge(*command)
    assert first.stderr.startswith("foundry-edge: no profile yet: measured 1 of 4 engines here")
    assert len(first.stderr.splitlines()) == 1
    assert second.stderr == ""
    assert records(first.stdout)[0]["engine"] == records(second.stdout)[0]["engine"] | {
        "reason": records(first.stdout)[0]["engine"]["reason"]
    }


def test_folder_is_a_line_for_each_scan_and_one_failure_is_exit_1(
    foundry_edge: Run, bundle: Path, scans: Path
) -> None:
    result = foundry_edge("run", scans, "--bundle", bundle, "--json")
    assert (result.returncode, len(records(result.stdout))) == (0, 2)
    (scans / "zbad.pcd").write_text("VERSION .7\n")
    result = foundry_edge("run", scans, "--bundle", bundle, "--json")
    assert result.returncode == 1
    assert "zbad.pcd" in records(result.stdout)[2]["error"]
    result = foundry_edge("run", scans, "--bundle", bundle)
    assert result.returncode == 1
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "foundry-edge: 3 scans in: 2 done, 1 failed, 0 dropped\n"


def test_list_of_paths_on_standard_input(foundry_edge: Run, bundle: Path, scans: Path) -> None:
    names = f"{scans}/points.npy\n{scans}/chair.pcd\n"
    result = foundry_edge("run", "-", "--bundle", bundle, "--json", stdin=names)
    assert [Path(record["input"]).name for record in records(result.stdout)] == ["points.npy", "chair.pcd"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", ""], "empty path; give a scan or a folder"),
        (["run", "", "--scene"], "empty path; give a scan or a folder"),
        (["run", "", "--watch"], "--watch needs a folder; give an existing folder"),
        (["inspect", ""], "empty path; give a scan or a folder"),
    ],
)
def test_empty_path_is_not_the_current_folder(
    called: Run, here: Path, scans: Path, command: list[str], message: str
) -> None:
    shutil.copy(scans / "points.npy", here)
    assert message in error_line(called(*command), 2)


@pytest.mark.parametrize("command", [["run", "-"], ["run", "-", "--scene"], ["inspect", "-"]])
def test_closed_standard_input(called: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    """As under a scheduler: Python then has no stdin at all."""
    monkeypatch.setattr(sys, "stdin", None)
    assert "-: standard input is closed; pipe a scan, or give a file" in error_line(called(*command), 2)


def test_bundle_from_the_environment(called: Run, bundle: Path, scans: Path) -> None:
    result = called("run", scans / "points.npy", "--json", FOUNDRY_EDGE_BUNDLE=str(bundle))
    assert records(result.stdout)[0]["bundle"]["source"] == "environment"


def test_save(called: Run, bundle: Path, scans: Path, tmp_path: Path) -> None:
    result = called("run", scans, "--bundle", bundle, "--json", "--save", tmp_path / "out")
    saved = [record["features"]["saved"] for record in records(result.stdout)]
    assert saved == [str(tmp_path / "out" / name) for name in ("chair.pcd.npz", "points.npy.npz")]
    assert all(Path(name).is_file() for name in saved)


def test_hostile_file_name_stays_on_one_line(called: Run, bundle: Path, scans: Path) -> None:
    shutil.copy(scans / "points.npy", scans / "a\n\x1b[31m[bold]b.npy")
    for arguments in ((), ("--json",)):
        result = called("run", scans, "--bundle", bundle, *arguments)
        assert result.returncode == 0, result.stderr
        assert len(result.stdout.splitlines()) == 3
        assert "\x1b[31m" not in result.stdout


@pytest.mark.parametrize(("encoding", "name"), [("ascii", "Scan Ünï ü.npy"), ("latin-1", "椅子.npy")])
@pytest.mark.parametrize("command", ["run", "inspect"])
def test_file_name_that_the_terminal_cannot_show_is_escaped(
    foundry_edge: Run, bundle: Path, scans: Path, encoding: str, name: str, command: str
) -> None:
    shutil.copy(scans / "points.npy", scans / name)
    strict = {"PYTHONIOENCODING": f"{encoding}:strict", "FOUNDRY_EDGE_BUNDLE": str(bundle), "COLUMNS": "300"}
    escaped = name.encode(encoding, "backslashreplace").decode("ascii")
    shown = foundry_edge(command, scans / name, **strict)
    assert shown.returncode == 0, shown.stderr
    assert escaped in shown.stdout
    missing = foundry_edge(command, f"no {name}", **strict)
    assert missing.returncode == 2
    assert f"no {escaped}: no such file" in missing.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nosuch.pcd"], 2, "nosuch.pcd: no such file"),
        (["."], 2, "no scan found in the folder"),
        (
            ["http://a/b.pcd"],
            2,
            "http://a/b.pcd: http:// is not read; fetch it to a file first; read are s3://",
        ),
        (["ros2:/lidar"], 3, "error: ros2:/lidar: a live topic needs ROS 2"),
        (["ros2:lidar"], 2, "error: ros2:lidar: is no topic; write e.g. ros2:/points"),
        (["{scan}", "--tokens", "3"], 2, "no rung for --tokens 3; it has s1-fp32"),
        (["{scan}", "--tokens", "x"], 2, "Invalid value for '--tokens'"),
        (["{scan}", "--precision", "int4"], 2, "must be one of fp32, fp16, int8, int8-fp16; found 'int4'"),
        (["{scan}", "--tokens", "0"], 2, "--tokens must be a whole number above 0, found 0"),
        (["{scan}", "--min-accuracy", "99", "--strict"], 1, "lower --min-accuracy or leave out --strict"),
        (["{scan}", "--min-accuracy", "0.9"], 2, "write 90 for 90 %"),
        (["{scan}", "--max-latency-ms", "0"], 2, "--max-latency-ms must be a number above 0"),
        (["{scan}", "--backend", "gpu"], 2, "--backend must be one of"),
        (["{scan}", "--backend", "onnxruntime:tensorrt-rtx"], 3, "has no NvTensorRTRTXExecutionProvider"),
        (["{scan}", "--save", "/dev/null/x"], 3, "/dev/null/x"),
        (["{scan}", "--save", "s3://b/out"], 2, "--save writes to local folders, found 's3://b/out'"),
        (["{scan}", "--save", "http://b/x.parquet"], 2, "--save writes to local folders"),
        (["{scan}", "--viz", "gs://b/x.html"], 2, "--viz writes to local folders"),
        (["{scan}", "--ledger", "s3://b/l"], 2, "--ledger writes to local folders"),
        (["{scan}", "--save", "x.npz"], 2, "x.npz: is the name of a file"),
        (["{scan}", "--save", ""], 2, "--save: empty path; give a folder"),
        (["{scan}", "--save", "{scan}"], 2, "points.npy: is a file; give --save a folder"),
        (["{scan}", "--save", "{scan}", "--scene"], 2, "points.npy: is a file; give --save a folder"),
        (["{scan}", "--nosuch"], 2, "No such option: --nosuch"),
        ([], 2, "Missing argument 'SCAN|FOLDER|URI|-'; see `foundry-edge run --help`"),
    ],
)
def test_wrong_use_of_run(
    called: Run, here: Path, bundle: Path, scans: Path, arguments: list[str], code: int, message: str
) -> None:
    filled = [one.format(scan=scans / "points.npy") for one in arguments]
    assert message in error_line(called("run", *filled, "--bundle", bundle), code)
    assert not list(here.iterdir())


def test_strict(called: Run, bundle: Path, scans: Path) -> None:
    command = ("run", scans / "points.npy", "--bundle", bundle, "--max-latency-ms", "0.0001")
    result = called(*command, "--json")
    assert (result.returncode, records(result.stdout)[0]["budget"]["met"]) == (0, False)
    assert "none keeps within 0.0001 ms" in error_line(called(*command, "--strict"), 1)
    assert "not met" in called(*command).stdout


def test_what_to_do_about_a_budget_that_cannot_be_met(called: Run, bundle: Path, scans: Path) -> None:
    accurate = ("run", scans / "points.npy", "--bundle", bundle, "--min-accuracy", "99", "--strict")
    line = error_line(called(*accurate), 1)
    assert "none has an accuracy of at least 99 %; this is the closest" in line
    assert line.endswith("; lower --min-accuracy or leave out --strict")
    for more in ((), ("--workers", "2")):
        result = called(*accurate, "--max-latency-ms", "60000", *more)
        line = result.stderr.splitlines()[-1]
        assert result.returncode == 1
        assert "none keeps within 60000 ms with an accuracy of at least 99 %" in line
        assert line.endswith("; raise --max-latency-ms or lower --min-accuracy or leave out --strict")


def test_precision_in_capitals(called: Run, bundle: Path, scans: Path) -> None:
    result = called("run", scans / "points.npy", "--bundle", bundle, "--precision", "INT8", "--json")
    assert records(result.stdout)[0]["engine"]["precision"] == "int8"


@pytest.mark.parametrize("command", [("bundle", "verify"), ("bundle", "show"), ("bench",)])
def test_missing_bundle_is_not_told_of_an_option_it_lacks(called: Run, command: tuple[str, ...]) -> None:
    line = error_line(called(*command, "nosuch"), 2)
    assert "nosuch: the folder named does not exist" in line
    assert "--bundle" not in line


def test_scan_that_breaks_the_budget_of_a_fast_engine(
    called: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    for name, count in (("a", 4000), ("b", 20)):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).normal(size=(count, 3)))
    command = ("--bundle", bundle, "--max-latency-ms", "60")
    assert called("run", folder / "b.npy", *command, "--strict").returncode == 0
    make_ready = feeding.make_ready

    def slow(xyz: FloatArray, *rest: Any) -> feeding.Ready:
        time.sleep(0.1 * (len(xyz) > 20))
        return make_ready(xyz, *rest)

    monkeypatch.setattr(feeding, "make_ready", slow)
    single = called("run", folder / "a.npy", *command, "--json")
    (record,) = records(single.stdout)
    assert (single.returncode, record["budget"]["met"], record["budget"]["kept"]) == (0, True, False)
    assert "ms, 60 are allowed; the scan has 4000 points, engines" in record["warnings"][0]
    assert "over budget: grouping" in called("run", folder / "a.npy", *command).stdout
    for scan, count in ((folder / "a.npy", 1), (folder, 2)):
        strict = called("run", scan, *command, "--strict", "--json")
        assert strict.returncode == 1
        assert len(records(strict.stdout)) == count
        assert f"foundry-edge: 1 of {count} scans broke the budget" in strict.stderr


def test_corrupt_bundle(called: Run, bundle: Path, scans: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    content = bytearray((copy / "fp32.bin").read_bytes())
    content[7] ^= 4
    (copy / "fp32.bin").write_bytes(content)
    for command in (["run", scans / "points.npy", "--bundle", copy], ["bundle", "verify", copy]):
        assert "fp32.bin: expected SHA-256" in error_line(called(*command), 2)
    assert called("run", scans / "points.npy", "--bundle", copy, "--precision", "int8").returncode == 0
    (copy / "manifest.json").write_text("{}")
    line = error_line(called("bundle", "show", copy), 2)
    assert "manifest.json: id: Field required" in line


def test_bundle_show_and_verify(called: Run, bundle: Path) -> None:
    shown = called("bundle", "show", bundle)
    assert shown.returncode == 0, shown.stderr
    for part in ("tiny-1", "4 fp32", "1 int8", "minmax, 64", "85.0 %", "6 classes"):
        assert part in shown.stdout
    (record,) = records(called("bundle", "show", bundle, "--json").stdout)
    assert [rung["tokens"] for rung in record["manifest"]["rungs"]] == [1, 4, 1, 4]
    verified = called("bundle", "verify", bundle).stdout
    assert "6 files verified" in verified
    assert "manifest.json has the right form; no hash covers it, nor the figures" in verified
    (record,) = records(called("bundle", "verify", bundle, "--json").stdout)
    assert len(record["verified"]) == 6
    assert record["form_only"] == ["manifest.json"]


def test_doctor(foundry_edge: Run, bundle: Path) -> None:
    result = foundry_edge("doctor", "--bundle", bundle)
    assert result.returncode == 0, result.stderr
    for part in ("versions", "onnxruntime", "backends", "extras", "tiny-1"):
        assert part in result.stdout
    (record,) = records(foundry_edge("doctor", "--bundle", bundle, "--json").stdout)
    assert record["healthy"]
    broken = foundry_edge("doctor", "--bundle", "nosuch", "--json")
    assert (broken.returncode, records(broken.stdout)[0]["healthy"]) == (3, False)


def test_bench(foundry_edge: Run, bundle: Path, repository: Path) -> None:
    result = foundry_edge("bench", bundle, "--json")
    assert result.returncode == 0, result.stderr
    (record,) = records(result.stdout)
    assert len(record["engines"]) == 4
    assert all(one["memory_mb"] > 0 for one in record["engines"])
    assert result.stderr == ""
    shown = foundry_edge("run", repository / CHAIR, "--bundle", bundle).stdout
    assert "`foundry-edge bench`" not in shown
    assert f"{record['engines'][0]['total_ms']['p50']:.2f}" in shown


def test_version_and_help(foundry_edge: Run) -> None:
    assert foundry_edge("--version").stdout == f"foundry-edge {metadata.version('foundry-edge')}\n"
    shown = foundry_edge("--help")
    assert shown.returncode == 0
    for name in ("inspect", "run", "bench", "bundle", "doctor"):
        assert f"\n  {name} " in shown.stdout
    bare = foundry_edge()
    assert bare.returncode == 2
    assert "Usage: " in bare.stdout + bare.stderr


def test_same_option_has_the_same_help_everywhere() -> None:
    from typer.main import get_command

    from foundry_edge.cli.app import app

    commands: Any = get_command(app)
    helps: dict[str, set[str]] = {}
    for name in ("run", "bench", "doctor", "inspect"):
        for parameter in commands.commands[name].params:
            if parameter.param_type_name == "option" and parameter.name in {"bundle", "salvage", "columns"}:
                helps.setdefault(parameter.name, set()).add(parameter.help)
    assert {name: len(texts) for name, texts in helps.items()} == dict.fromkeys(helps, 1)
    assert helps


def test_signals_end_a_run_with_their_code_and_whole_lines(bundle: Path, scans: Path, tmp_path: Path) -> None:
    """The scans come slowly, on standard input: the process waits for the next one when the signal comes."""
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = subprocess.Popen(
            [Path(sys.executable).with_name("foundry-edge"), "run", "-", "--bundle", bundle, "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FOUNDRY_EDGE_CACHE": str(tmp_path / "cache")},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{scans}/points.npy\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["points"]["valid"] == 300
        process.send_signal(number)
        out, err = process.communicate(timeout=5)
        summary = "foundry-edge: 1 scans in: 1 done, 0 failed, 0 dropped\n"
        assert (process.returncode, out, err) == (code, "", summary)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_full_disk_behind_standard_output(bundle: Path, scans: Path, arguments: list[str]) -> None:
    program = str(Path(sys.executable).with_name("foundry-edge"))
    command = [program, "run", str(scans / "points.npy"), "--bundle", str(bundle), *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr == "foundry-edge: error: standard output: No space left on device\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "{scan}", "--bundle", "{bundle}"],
        ["run", "{folder}", "--bundle", "{bundle}", "--json"],
        ["bundle", "show", "{bundle}"],
        ["inspect", "{scan}"],
        ["inspect", "{folder}"],
        ["--help"],
    ],
)
def test_reader_that_goes_away_is_no_failure(bundle: Path, scans: Path, arguments: list[str]) -> None:
    filled = [one.format(bundle=bundle, folder=scans, scan=scans / "points.npy") for one in arguments]
    reading, writing = os.pipe()
    os.close(reading)
    program = str(Path(sys.executable).with_name("foundry-edge"))
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run([program, *filled], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr
