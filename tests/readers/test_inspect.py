"""`foundry-edge inspect`: the record of design.md, the table for people, and the exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from foundry_edge.cli import inspect as command
from foundry_edge_runtime.errors import InputError, MissingExtraError, ScanError
from foundry_edge_runtime.inspection import inspect
from foundry_edge_runtime.readers import as_cloud, read_points

Sample = Callable[[str], Path]
RUNNER = CliRunner()


def run(*arguments: str | Path) -> tuple[int, str, BaseException | None]:
    app = typer.Typer()
    command.register(app)
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output, result.exception


def test_json_is_the_record_of_the_design(sample: Sample) -> None:
    code, output, _ = run(sample("binary.pcd"), "--json")
    record = json.loads(output)
    assert code == 0
    assert list(record) == ["schema", "input", "format", "fields", "points", "bounds", "warnings"]
    assert record["schema"] == 1
    assert record["fields"] == ["x", "y", "z", "intensity"]
    assert record["points"] == {"read": 120, "valid": 120, "dropped": {"non_finite": 0, "out_of_range": 0}}
    assert [len(record["bounds"][key]) for key in ("min", "max")] == [3, 3]


def test_table_names_attributes_and_warnings(sample: Sample) -> None:
    code, output, _ = run(sample("kitti.bin"))
    assert code == 0
    for word in ("bin/float32", "502", "attribute intensity", "float32", "warning", "columns inferred"):
        assert word in output


def test_a_bag_is_summed_up(sample: Sample) -> None:
    found = inspect(sample("bag.mcap"))
    assert (found.scans, found.read, found.valid) == (3, 120, 120)
    assert "scans" in run(sample("bag.mcap"))[1]


def test_a_mesh_by_its_vertices_or_its_surface(sample: Sample) -> None:
    path = sample("cube.off")
    assert inspect(path).valid == 8
    assert json.loads(run(path, "--json", "--vertices")[1])["points"]["read"] == 8
    assert json.loads(run(path, "--json", "--surface")[1])["points"]["read"] == 8192


def test_several_inputs_one_line_each_and_exit_code(sample: Sample, tmp_path: Path) -> None:
    good, other = sample("binary.pcd"), sample("ascii.ply")
    assert run(good, other)[0] == 0
    code, output, _ = run(good, tmp_path / "absent.ply", other)
    lines = [line for line in output.splitlines() if line.startswith(("ok", "FAILED"))]
    assert code == 1
    assert [line.split()[0] for line in lines] == ["ok", "FAILED", "ok"]


def test_a_single_bad_input_raises_what_main_turns_into_exit_2(sample: Sample) -> None:
    path = sample("binary.pcd")
    path.write_bytes(path.read_bytes()[:400])
    code, output, error = run(path)
    assert code != 0
    assert isinstance(error, ScanError)
    assert error.exit_code == 2
    assert "points read" not in output
    assert run(path, "--salvage")[0] == 0


def test_warnings_stand_under_the_line_of_their_scan(sample: Sample, tmp_path: Path) -> None:
    good, odd = sample("ascii.ply"), tmp_path / "odd.npy"
    np.save(odd, [[0.0, 0, 0], [np.nan, 0, 0]])
    code, output, _ = run(good, odd)
    assert code == 0
    first, second, *warnings = output.splitlines()
    assert first.endswith("ascii.ply: ply/ascii, 120 points")
    assert second.endswith("odd.npy: npy, 1 point, 1 dropped, 2 warnings")
    assert warnings == [
        "        warning: dropped 1 of 2 points: not finite (NaN or infinite)",
        "        warning: only 1 point: too few points for a useful result",
        "2 scans read, 0 failed",
    ]
    assert "1 scan read, 1 failed" in run(good, tmp_path / "absent.ply")[1]


@pytest.mark.parametrize("columns", ["x,y", "x,y,z,x", "a,b,c"])
def test_columns_must_name_every_axis_once(sample: Sample, columns: str) -> None:
    with pytest.raises(InputError, match=r"--columns: expected [xyz] exactly once"):
        read_points(sample("kitti.bin"), columns=columns)


def test_columns_of_another_width_are_told(sample: Sample) -> None:
    with pytest.raises(ScanError, match="names 4 columns, the rows have 3"):
        read_points(sample("plain.xyz"), columns="x,y,z,intensity")


@pytest.mark.parametrize(
    ("name", "options", "warning"),
    [
        ("binary.pcd", {"columns": "z,y,x"}, "--columns was not used: PCD says itself what it holds"),
        ("binary.pcd", {"topic": "/a"}, "--topic was not used: PCD has no topics"),
        ("scan.e57", {"topic": "/a"}, "--topic was not used: E57 has no topics"),
        ("binary.pcd", {"seed": 1}, "--seed was not used: no surface is sampled"),
        ("cube.off", {"seed": 1, "vertices": True}, "--seed was not used: no surface is sampled"),
    ],
)
def test_options_without_use_are_said(
    sample: Sample, name: str, options: dict[str, Any], warning: str
) -> None:
    told = read_points(sample(name), **options).warnings
    assert [line for line in told if line.startswith("--")] == [warning]


def test_columns_that_override_a_header_are_said(tmp_path: Path) -> None:
    rows = "".join(f"{x},{y},{x * y % 5}\n" for x in range(9) for y in range(9))
    (tmp_path / "a.csv").write_text(f"x,y,z\n{rows}")
    (warning,) = read_points(tmp_path / "a.csv", columns="z,y,x").warnings
    assert warning == "--columns takes the place of the file's own names: x y z"
    assert read_points(tmp_path / "a.csv", columns="x,y,z").warnings == ()
    (tmp_path / "b.csv").write_text(f"a,b,c\n{rows}")
    assert read_points(tmp_path / "b.csv", columns="z,y,x").warnings == ()


def test_columns_of_an_array_with_names_are_said(tmp_path: Path) -> None:
    named = np.zeros(50, [("x", "f4"), ("y", "f4"), ("z", "f4")])
    for axis in "xyz":
        named[axis] = np.random.default_rng(ord(axis)).normal(size=50)
    np.save(tmp_path / "named.npy", named)
    (warning,) = read_points(tmp_path / "named.npy", columns="z,y,x").warnings
    assert warning == "--columns was not used: the fields of the array have names"


def test_a_missing_extra_is_named(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lazrs", None)
    with pytest.raises(MissingExtraError, match=r"lazrs.*foundry-edge\[las\]"):
        read_points(sample("utm.laz"))


# Points in memory


def test_arrays_come_under_the_same_policy() -> None:
    array = np.array([[5e5, 5e6, 1.25], [5e5 + 1, 5e6, 2], [np.nan, 0, 0], [0, 1e9, 0], [0, np.inf, 1e9]])
    cloud = as_cloud(np.column_stack([array, np.arange(5)]))
    assert (cloud.read, len(cloud)) == (5, 2)
    assert cloud.dropped == {"non_finite": 2, "out_of_range": 1}
    assert cloud.xyz + cloud.origin == pytest.approx(array[:2], abs=1e-6)
    assert cloud.attributes["column_4"].tolist() == [0, 1]


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e7])
@pytest.mark.parametrize("offset", [0.0, 0.3, 777.7, 5.4e6, -9e7])
def test_recentring_loses_no_more_than_float64_has(scale: float, offset: float) -> None:
    generator = np.random.default_rng(5)
    xyz = generator.uniform(-1, 1, (200, 3)) * scale + offset
    cloud = as_cloud(xyz)
    error = np.abs(cloud.xyz.astype(np.float64) + cloud.origin - xyz).max()
    assert error <= scale * 2e-7 + abs(offset) * 4e-16
    assert np.abs(cloud.xyz).max() <= 2.001 * scale + abs(offset) * 1e-15


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 2)), np.zeros(5), np.zeros((2, 3, 4)), np.full((4, 3), "a"), np.zeros((4, 3), complex)],
)
def test_what_is_no_array_of_points_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ScanError):
        as_cloud(array)


def test_one_point_is_kept_with_a_warning() -> None:
    cloud = as_cloud([[1.5, 2.5, 3.5]])
    assert cloud.bounds.min == (1.5, 2.5, 3.5)
    assert any("1 point" in line for line in cloud.warnings)
