"""The benchmarks of speed run in their quick form, and docs/performance.md is what their JSON makes of it."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import ceilings, compare, grouping, loops
from benchmarks.comparing.contenders import BASELINE, example
from benchmarks.comparing.document import DOCUMENT, MARK, RESULTS, write_document
from benchmarks.comparing.interleaved import figures, interleave
from benchmarks.comparing.published import as_published, saved_macs
from foundry_edge.models.config import VIT_S, StudentConfig, TeacherConfig
from foundry_edge.models.macs import tokenizer_macs
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    width=24, depth=2, heads=3, preprocessing=Preprocessing(points=64, groups=8, group_size=8)
)
BRIEF = ["--quick", "--seconds", "0", "--threads", "1"]


def record(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One quick run of the comparison, without the processes for memory."""
    out = tmp_path_factory.mktemp("compare") / "compare.json"
    quick = [*BRIEF, "--rounds", "1", "--batches", "1,2", "--no-memory", "--out", str(out)]
    assert compare.main(quick) == 0
    return record(out)


def test_every_contender_runs_at_every_batch_size(compared: dict[str, Any]) -> None:
    assert compared["left_out"] == {}
    fields = {"name", "workload", "batch", "ms_min", "ms_median", "macs", "peak_rss_mb", "ratio_to_teacher"}
    assert all(fields <= set(row) for row in compared["rows"])
    names = [row["name"] for row in compared["rows"] if row["batch"] == 2]
    assert names == [row["name"] for row in compared["rows"] if row["batch"] == 1]
    for start in ("teacher, ONNX Runtime INT8", "student as published", "ToMe", "truncation", "ours, full"):
        assert any(name.startswith(start) for name in names)


def test_ratios_are_of_medians_to_the_naive_teacher(compared: dict[str, Any]) -> None:
    base = {row["batch"]: row["ms_median"] for row in compared["rows"] if row["name"] == BASELINE}
    for row in compared["rows"]:
        assert 0 < row["ms_min"] <= row["ms_median"]
        if row["macs"] is not None:
            expected = base[row["batch"]] / row["ms_median"]
            assert row["ratio_to_teacher"] == pytest.approx(expected, abs=0.006)


def test_document_is_made_of_the_results(compared: dict[str, Any], tmp_path: Path) -> None:
    about = {"measured": "2026-01-02T03:04:05", "device": {"cpu": "a CPU"}, "load_average": 0.25}
    (tmp_path / "compare.json").write_text(json.dumps({**compared, **about}), encoding="utf-8")
    document = tmp_path / "performance.md"
    shutil.copy(DOCUMENT, document)
    write_document(document, tmp_path, tmp_path / "performance.png")
    text = document.read_text(encoding="utf-8")
    row = next(row for row in compared["rows"] if row["name"] == BASELINE)
    assert f"| {BASELINE} | {row['ms_min']:,.2f} | {row['ms_median']:,.2f} |" in text
    assert "on 2026-01-02: a CPU; load average 0.2 when it ended" in text
    assert "Not measured yet: `python -m benchmarks.grouping`." in text
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")
    write_document(document, tmp_path, tmp_path / "performance.png")
    assert document.read_text(encoding="utf-8") == text


def test_the_document_at_hand_is_what_the_results_at_hand_make(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    shutil.copy(DOCUMENT, document)
    write_document(document, RESULTS, tmp_path / "performance.png")
    assert document.read_text(encoding="utf-8") == DOCUMENT.read_text(encoding="utf-8")
    names = [match["name"] for match in MARK.finditer(document.read_text(encoding="utf-8"))]
    assert names == ["compare", "grouping", "loops", "ceilings"]


def test_published_forms_compute_what_the_rewritten_ones_do() -> None:
    torch.manual_seed(0)
    groups, centers = (torch.from_numpy(one) for one in example(TINY, 2))
    teacher = Teacher(TINY).double()
    student = Student(StudentConfig(teacher=TINY, tokens=(4,), query="learned")).double()
    for network, count in ((teacher, ()), (student, (4,))):
        inputs = (groups.double(), centers.double(), *count)
        expected = network(*inputs)
        for fused in (False, True):
            torch.testing.assert_close(as_published(network, fused)(*inputs), expected, rtol=0, atol=1e-9)


def test_saved_products_are_those_of_the_published_tokenizer() -> None:
    published = 2048 * (3 * 128 + 128 * 256 + 512 * 512 + 512 * 384)
    assert tokenizer_macs(VIT_S) + saved_macs(VIT_S) == published


def test_loops_train_and_take_turns(tmp_path: Path) -> None:
    out = tmp_path / "loops.json"
    assert loops.main([*BRIEF, "--rounds", "1", "--out", str(out)]) == 0
    rows = record(out)["rows"]
    assert {"naive FP32", "shared FP32", "cached FP32"} <= {row["name"] for row in rows}
    assert rows[0]["ratio_to_naive"] == 1
    assert loops.missed([{**row, "ratio_to_naive": 4.0} for row in rows]) == ["cached"]


def test_each_loop_lowers_its_loss() -> None:
    torch.set_num_threads(1)
    for loop in loops.loops(TINY, 2, 4).values():
        losses = []
        for _ in range(12):
            loop()
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=loop.bf16):
                made, wanted = loop.forward()
            losses.append(float((made - wanted).abs().mean()))
        assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_forms_of_grouping_are_compared_and_timed(tmp_path: Path) -> None:
    out = tmp_path / "grouping.json"
    assert grouping.main(["--quick", "--seconds", "0", "--out", str(out)]) == 0
    rows = record(out)["rows"]
    assert {row["workload"] for row in rows} == {"1 x 128 points", "32 x 128 points", "scene of 500 points"}
    slow = [{"workload": "1 x 1024 points", "name": "compiled", "ms_min": 0.7, "ratio_to_torch": 9.0}]
    assert grouping.missed(slow) == ["one cloud takes 0.7 ms"]


def test_stages_have_a_bound_each(tmp_path: Path) -> None:
    out = tmp_path / "ceilings.json"
    assert ceilings.main([*BRIEF, "--out", str(out)]) == 0
    rows = {row["stage"]: row for row in record(out)["rows"]}
    assert rows["tokenizer"]["macs"] == tokenizer_macs(TINY)
    parts = ("tokenizer", "position", "dso", "encoder", "cau")
    assert rows["whole"]["macs"] == sum(rows[name]["macs"] for name in parts)
    assert all(row["bound_ms"] > 0 for row in rows.values())


def test_contenders_take_turns_in_changing_order() -> None:
    order: list[str] = []
    times = interleave({name: partial(order.append, name) for name in "abc"}, 0, rounds=6)
    assert all(len(times[name]) == 6 for name in "abc")
    rounds = ["".join(order[i : i + 3]) for i in range(0, len(order), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) > 1
    assert figures([3.0, 1.0, 2.0]) == {"ms_min": 1.0, "ms_median": 2.0}
