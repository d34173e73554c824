"""The table of students: trained, judged and drawn on a tiny teacher; finished runs are not repeated."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    evaluate_all,
    gate_sweep,
    leave_one_out,
    scan_views,
    student_runs,
    student_table,
    tables,
)
from benchmarks.shipped import section
from foundry_edge.data.shape_set import turned
from foundry_edge.models.config import VIT_TI, TeacherConfig
from foundry_edge.models.methods import make_method
from foundry_edge.models.store import encoder_sha256, save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=128, groups=16, group_size=8), width=48, depth=4, heads=2
)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = Teacher(TINY)
    model.tokenizer.calibrate_batch_norm(torch.randn(8, 16, 8, 3) * 0.1)
    save_weights(tmp_path / "teacher", TINY, model)
    return tmp_path / "teacher"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Flat and long boxes, fifteen of each; a third of them on the test side."""
    rng = np.random.default_rng(0)
    extent = np.where(np.arange(30)[:, None] < 15, [1.0, 0.9, 0.2], [0.2, 0.3, 1.0])[:, None]
    points = rng.uniform(-1, 1, size=(30, 256, 3)) * extent
    np.savez(
        tmp_path / "boxes.npz",
        points=(points / 2 * 32767).astype(np.int16),
        label=np.repeat([0, 1], 15).astype(np.int16),
        classes=np.array(["flat", "long"]),
        split=np.tile([0, 0, 1], 10).astype(np.uint8),
    )
    return tmp_path / "boxes.npz"


def test_a_run_is_trained_judged_written_once_and_drawn(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    words = f"student_table --teacher {teacher} --data {data} --probe {data} --work {tmp_path / 'work'}"
    words += f" --out {out} --steps 4 --batch 8 --views 2 --seeds 1 --judge 4 --only light-2-2-h16"
    monkeypatch.setattr(sys, "argv", words.split())
    monkeypatch.setattr(student_table, "TIMED", 2)
    student_table.main()
    assert sorted(path.stem for path in out.iterdir()) == [
        "student_light-2-2-h16_0",
        "student_random_0",
        "student_teacher_0",
    ]
    rows = json.loads((out / "student_light-2-2-h16_0.json").read_text())["rows"]
    assert [row["tokens"] for row in rows] == [1, 2, 4, 8, 16]
    assert [bool(row["probes"]) for row in rows] == [False, False, True, False, False]
    assert (
        0
        < rows[2]["macs_total"]
        < json.loads((out / "student_teacher_0.json").read_text())["rows"][0]["macs_total"]
    )

    written = (out / "student_light-2-2-h16_0.json").stat().st_mtime_ns
    student_table.main()
    assert (out / "student_light-2-2-h16_0.json").stat().st_mtime_ns == written

    monkeypatch.setattr(sys, "argv", f"tables --results {out} --docs {tmp_path} --teacher {teacher}".split())
    tables.main()
    page = (tmp_path / "results.md").read_text()
    assert f"| light-2-2-h16 | 4 | 1 | {rows[2]['smooth_l1']:.4f} |" in page
    assert (tmp_path / "student_smooth_l1.png").stat().st_size > 1000


def test_shipped_weights_are_judged_and_drawn_until_they_change(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results"
    student = make_method("fps", TINY, "0123456789abcdef", tokens=(1, 2, 4))
    save_weights(tmp_path / "fps", student.config, student)
    words = f"evaluate_all --data {data} --models {teacher} random fps={tmp_path / 'fps'} --like {teacher}"
    words += " --networks 2 --seeds 0 --tokens 1 4"
    words += f" --protocols probe fewshot --out {out} --runs {tmp_path / 'random'}"
    monkeypatch.setattr(sys, "argv", words.split())
    evaluate_all.main()
    rows = json.loads((out / "evaluate_boxes.json").read_text())["rows"]
    assert [row["protocol"] for row in rows] == ["probe"] * 5 + ["fewshot"] * 5

    page = section(out, "0123456789abcdef")
    assert "### boxes: 20 training shapes, 10 test shapes" in page
    assert f"| {teacher} | - | fp32 | {rows[0]['metrics']['accuracy']:.1f} |" in page
    assert "| random weights, calibrated BN | - | fp32 |" in page

    assert [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| fps")] == ["1", "4"]

    save_weights(teacher, TINY, Teacher(TINY))
    page = section(out, "another teacher")
    assert str(teacher) not in page
    assert "fps" not in page


def test_a_gate_is_swept_and_drawn(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    student = make_method("dso", TINY, "", tokens=(1, 4), gate=True)
    save_weights(tmp_path / "gate", student.config, student)
    words = f"gate_sweep --data {data} --teacher {teacher} --student {tmp_path / 'gate'} --tokens 1 4"
    words += f" --work {tmp_path / 'work'} --out {tmp_path / 'gate_sweep.json'}"
    monkeypatch.setattr(sys, "argv", words.split())
    monkeypatch.setattr(gate_sweep, "TIMED", 2)
    gate_sweep.main()
    rows = json.loads((tmp_path / "gate_sweep.json").read_text())["rows"]
    assert [row["k"] for row in rows] == 2 * (6 * [None] + [0, 4, 8, 16])
    ends = {(row["tokens"], row["r"], row["k"]): row["encoder_rows"] for row in rows}
    assert ends[4, 0.0, None] == ends[4, None, 0] == 4
    assert ends[4, 1.0, None] == ends[4, None, 16] == 20
    costs = [row["macs_total"] for row in rows if row["tokens"] == 4]
    assert costs == sorted(costs[:6]) + sorted(costs[6:])
    path = tmp_path / "gate_sweep.json"
    assert "| 4 | - | 16 |" in gate_sweep.section(path, encoder_sha256(teacher))
    assert gate_sweep.section(path, "another teacher") == gate_sweep.section(tmp_path / "none.json", "") == ""


def test_a_teacher_without_a_set_is_trained_judged_and_drawn(
    teacher: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = np.load(data)["points"]
    height = np.random.default_rng(0).uniform(-1, 1, (9, 256))
    turns = np.arange(1, 10)[:, None] * height
    helices = np.stack([np.cos(turns), np.sin(turns), height], axis=-1) / 2 * 32767
    np.savez(tmp_path / "other.npz", points=np.concatenate([boxes[:3], helices.astype(np.int16)]))
    words = f"leave_one_out --data {data} {tmp_path / 'other.npz'} --set boxes --epochs 1 --teacher {teacher}"
    words += f" --networks 2 --work {tmp_path / 'work'} --out {tmp_path / 'leave_one_out.json'}"
    monkeypatch.setattr(sys, "argv", words.split())
    leave_one_out.main()
    record = json.loads((tmp_path / "leave_one_out.json").read_text())
    assert record["shapes"] == 9  # of twelve: three are boxes
    assert [row["model"] for row in record["rows"]] == ["pre-trained without boxes", "teacher"] + 2 * [
        "random"
    ]
    page = leave_one_out.section(tmp_path / "leave_one_out.json", encoder_sha256(teacher))
    assert f"| teacher | - | - | - | {record['rows'][1]['metrics']['fewshot']['all_10shot']:.1f}" in page


def test_shapes_are_named_whole_turned_and_from_one_side(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = dict(np.load(data)) | {"classes": np.array(["bed", "Chair"])}
    np.savez(tmp_path / "named.npz", **arrays)
    words = f"scan_views --data {tmp_path} --sets named --out {tmp_path / 'scan_views.json'}"
    monkeypatch.setattr(sys, "argv", words.split())
    scan_views.main()
    record = json.loads((tmp_path / "scan_views.json").read_text())
    assert record["samples"] == 10
    assert [row["model"] for row in record["rows"]] == [
        "teacher",
        *(name for name in ("student", "student, teacher's head", "bundle") for _ in range(5)),
    ]
    for row in record["rows"]:
        assert list(row["accuracy"]) == list(scan_views.COLUMNS)
        assert all(0 <= value <= 100 for value in row["accuracy"].values())
    assert "| bundle | 16 | int8 |" in scan_views.section(tmp_path / "scan_views.json")


def test_turned_clouds_keep_heights_and_radii() -> None:
    xyz = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32)
    other = turned(xyz, np.random.default_rng(1))
    np.testing.assert_allclose(other[..., 2], xyz[..., 2], atol=1e-6)
    np.testing.assert_allclose(
        np.linalg.norm(other[..., :2], axis=-1), np.linalg.norm(xyz[..., :2], axis=-1), atol=1e-5
    )
    angles = np.arctan2(other[..., 1], other[..., 0]) - np.arctan2(xyz[..., 1], xyz[..., 0])
    assert len(np.unique(np.round(np.mod(angles, 2 * np.pi), 3)[:, 0])) == 4


def test_every_run_can_be_made() -> None:
    names = [run.name for run in student_runs.all_runs()]
    assert len(set(names)) == len(names)
    with torch.device("meta"):
        for run in student_runs.all_runs():
            student_runs.network(run, VIT_TI, "")
