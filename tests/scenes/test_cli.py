"""`run --scene` as a user meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from foundry_edge.cli.app import main
from foundry_edge_runtime.scenes import session
from tests.runtime.test_streams import bag
from tests.scenes.conftest import room


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["foundry-edge", "run", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "room.npy"
    np.save(path, room(2000))
    return path


def test_json_and_text(
    scan: Path, scene_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert called(monkeypatch, scan, "--scene", "--bundle", scene_bundle, "--tokens", "2", "--json") == 0
    (line,) = capfd.readouterr().out.splitlines()
    record = json.loads(line)
    assert record["schema"] == 1
    assert record["scene"]["groups"] == 250
    assert record["scene"]["supertokens"]["given"] == 2
    assert called(monkeypatch, scan, "--scene", "--bundle", scene_bundle) == 0
    shown = capfd.readouterr().out
    for text in ("250 of 8 points", "SuperTokens", "peak", "tokenizer and local mixing", "points/s"):
        assert text in shown


@pytest.mark.parametrize(
    "option",
    [
        ("--max-latency-ms", 5),
        ("--adaptive",),
        ("--batch", 4),
        ("--viz", "x.png"),
        ("--precision", "int8"),
        ("--watch",),
    ],
)
def test_options_that_mean_nothing_are_refused(
    option: tuple[object, ...],
    scan: Path,
    scene_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert called(monkeypatch, scan, "--scene", "--bundle", scene_bundle, *option) == 2
    assert f"{option[0]}: means nothing with --scene; leave it out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--max-memory-mb", 20), "before it reads anything"),
        (("--tokens", 3), "no scene budget of 3"),
        (("--per-point",), "add --save DIR"),
        (("--save", "features.parquet"), "give a folder"),
    ],
)
def test_wrong_options_give_one_line(
    arguments: tuple[object, ...],
    text: str,
    scan: Path,
    scene_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert called(monkeypatch, scan, "--scene", "--bundle", scene_bundle, *arguments) == 2
    errors = capfd.readouterr().err.splitlines()
    assert len(errors) == 1
    assert text in errors[0]


def test_a_folder_with_a_small_scan_exits_with_one(
    tmp_path: Path, scene_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    np.save(folder / "a.npy", room(900))
    np.save(folder / "b.npy", room(9))
    assert called(monkeypatch, folder, "--scene", "--bundle", scene_bundle, "--json") == 1
    shown = capfd.readouterr()
    first, second = map(json.loads, shown.out.splitlines())
    assert "scene" in first
    assert "at least 32 points" in json.dumps(second)
    assert shown.err == "foundry-edge: 2 scans in: 1 done, 1 failed, 0 dropped\n"


def test_failed_scan_of_a_bag_is_named_and_all_are_counted(
    tmp_path: Path, scene_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.mcap"
    path.write_bytes(bag(["/lidar"] * 3, damaged=1))
    assert called(monkeypatch, path, "--scene", "--bundle", scene_bundle) == 1
    shown = capfd.readouterr()
    assert f"\nfailed scan 2: {path}: " in shown.out
    assert shown.err == "foundry-edge: 3 scans in: 2 done, 1 failed, 0 dropped\n"


def test_a_peak_above_the_limit_is_not_kept(
    scan: Path, scene_bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "resident_mb", lambda peak=False: 9000.0 if peak else 100.0)
    limited = (scan, "--scene", "--bundle", scene_bundle, "--max-memory-mb", 2000)
    assert called(monkeypatch, *limited, "--json") == 0
    record = json.loads(capfd.readouterr().out)
    assert (record["budget"]["met"], record["budget"]["kept"]) == (True, False)
    assert record["warnings"][0].startswith("over budget: the process took 9000 MiB, 2000 are allowed")
    assert called(monkeypatch, *limited, "--strict") == 1
    assert "over budget: the process took 9000 MiB" in capfd.readouterr().out
