"""Ranges are found once; a damaged entry, or one of other inputs, is never used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from foundry_edge_calibration import calibrate as module
from foundry_edge_calibration.calibrate import cache_key, calibrate
from foundry_edge_calibration.clouds import Clouds, leave_out
from foundry_edge_runtime.errors import DataError

TENSORS = ("h",)


def _model(weight: float = 2.0) -> onnx.ModelProto:
    nodes = [helper.make_node("Mul", ["centers", "w"], ["h"], name="m/Mul")]
    nodes.append(helper.make_node("ReduceMax", ["groups", "axes"], ["tokens"], name="m/Max"))
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("groups", TensorProto.FLOAT, ["B", 4, 2, 3]),
            helper.make_tensor_value_info("centers", TensorProto.FLOAT, ["B", 4, 3]),
        ],
        [helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array([weight], np.float32), "w"),
            numpy_helper.from_array(np.array([2]), "axes"),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def _clouds(count: int = 8) -> Clouds:
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(count, 4, 2, 3)).astype(np.float32)
    return Clouds("test", groups, rng.normal(size=(count, 4, 3)).astype(np.float32), "a" * 64)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where entries lie."""
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path))
    return tmp_path / "ranges"


def test_the_second_time_nothing_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calibrate(_model(), TENSORS, _clouds(), "mse", "s4")
    assert not first.cached
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(module, "observe", None)
    again = calibrate(_model(), TENSORS, _clouds(), "mse", "s4")
    assert again == replace(first, cached=True)


def test_every_part_of_the_key_counts() -> None:
    model, clouds = _model(), _clouds()
    keys = {
        cache_key(model, clouds, "mse", "s4"),
        cache_key(_model(2.5), clouds, "mse", "s4"),
        cache_key(model, replace(clouds, sha256="b" * 64), "mse", "s4"),
        cache_key(model, clouds, "minmax", "s4"),
        cache_key(model, clouds, "mse", "s8"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-40],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace('"growing": 0', '"growing": 1').replace('"h": ', '"h": 9'),
        lambda text: text.replace('"key": "', '"key": "0'),
    ],
)
def test_a_damaged_entry_is_found_anew_with_one_line(folder: Path, damage: object) -> None:
    first = calibrate(_model(), TENSORS, _clouds(), "mse", "s4")
    (path,) = folder.iterdir()
    whole, lines = path.read_text(), list[str]()
    path.write_text(damage(whole))  # type: ignore[operator]
    assert calibrate(_model(), TENSORS, _clouds(), "mse", "s4", lines.append) == first
    assert len(lines) == 1
    assert "damaged" in lines[0]
    assert path.read_text() == whole


def test_more_tensors_than_are_known_are_found_anew(folder: Path) -> None:
    calibrate(_model(), TENSORS, _clouds(), "mse", "s4")
    found = calibrate(_model(), ("h", "centers"), _clouds(), "mse", "s4")
    assert not found.cached
    assert set(found.thresholds) == {"h", "centers"}


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", "/dev/null/cache")
    lines: list[str] = []
    assert calibrate(_model(), TENSORS, _clouds(), "mse", "s4", lines.append).thresholds
    assert len(lines) == 1
    assert "not kept" in lines[0]


def test_clouds_that_are_to_judge_are_left_out() -> None:
    clouds = _clouds()
    assert leave_out(clouds, clouds.groups[:0], clouds.centers[:0]) is clouds
    rest = leave_out(clouds, clouds.groups[2:5], clouds.centers[2:5])
    assert len(rest) == 5
    assert rest.sha256 != clouds.sha256
    assert "3 calibration clouds are evaluation clouds" in rest.warnings[-1]
    with pytest.raises(DataError, match="every calibration cloud is an evaluation cloud"):
        leave_out(clouds, clouds.groups, clouds.centers)
