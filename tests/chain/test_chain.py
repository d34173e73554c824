"""The main job as typed: distil, export, run; in an empty directory, on a tiny teacher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.data.groupings import group_shapes
from foundry_edge.data.samples import load_samples
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.grouping import Preprocessing

TINY = TeacherConfig(
    preprocessing=Preprocessing(points=256, groups=16, group_size=16),
    width=48,
    depth=2,
    heads=2,
    labels=("a", "b"),
)
COMMAND = (sys.executable, "-c", "from foundry_edge.cli.app import main; main()")


def foundry_edge(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` with an empty cache and no network, and check its exit code.

    One thread: several that wait for each other on a busy machine take many times as long.
    """
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "no_proxy": "*"}
    environment["OMP_NUM_THREADS"] = "1"
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a tiny teacher, a scan, and the student and bundle made from them."""
    folder = tmp_path_factory.mktemp("chain")
    torch.manual_seed(0)
    teacher = Teacher(TINY)
    samples = load_samples()
    grouped = group_shapes(samples.xyz[:16], TINY.preprocessing, 1, 0)
    teacher.tokenizer.calibrate_batch_norm(grouped.groups[:, 0].float())
    save_weights(folder / "teacher", TINY, teacher)
    rows = "\n".join(" ".join(f"{v:.5f}" for v in point) for point in samples.xyz[0])
    header = (
        "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1024\nHEIGHT 1\nPOINTS 1024\n"
    )
    (folder / "scan.pcd").write_text(header + "DATA ascii\n" + rows + "\n")
    foundry_edge(
        folder, "distill", "--teacher", "teacher", "--steps", "40", "--views", "2", "--tokens", "1,4"
    )
    return folder


@pytest.fixture(scope="module")
def exported(workplace: Path) -> dict[str, Any]:
    """What `export` says of the two rungs."""
    options = ("--precision", "fp32,int8", "--tokens", "4", "--teacher", "teacher", "--json", "--force")
    report: dict[str, Any] = json.loads(foundry_edge(workplace, "export", *options).stdout)
    return report


def test_distill_leaves_a_student_with_its_record(workplace: Path) -> None:
    student = workplace / "foundry-out" / "student"
    report = json.loads((student / "report.json").read_text())
    assert [row["tokens"] for row in report["budgets"]] == [1, 4]
    assert all(row["after"]["smooth_l1"] < row["before"]["smooth_l1"] for row in report["budgets"])
    assert (student / "loss.png").read_bytes()[:4] == b"\x89PNG"


def test_run_takes_the_bundle_just_made_and_says_so(workplace: Path, exported: dict[str, Any]) -> None:
    del exported
    result = json.loads(foundry_edge(workplace, "run", "scan.pcd", "--json").stdout)
    assert result["bundle"]["source"] == "path"
    assert result["engine"]["tokens"] == 4
    assert result["features"]["tokens"] == [16, 48]
    assert result["points"]["valid"] == 1024


def test_a_permuted_scan_gives_the_same_features(workplace: Path, exported: dict[str, Any]) -> None:
    del exported
    xyz = load_samples().xyz[0]
    np.save(workplace / "a.npy", xyz)
    np.save(workplace / "b.npy", xyz[np.random.default_rng(0).permutation(len(xyz))])
    options = ("--precision", "fp32", "--save", "kept", "--json")
    results = [json.loads(foundry_edge(workplace, "run", f"{name}.npy", *options).stdout) for name in "ab"]
    first, second = (np.load(workplace / result["features"]["saved"]) for result in results)
    for key in ("tokens", "centers", "global", "logits"):
        np.testing.assert_allclose(first[key], second[key], atol=1e-5)


def test_a_pinned_rung_is_used_and_a_missing_one_refused(workplace: Path, exported: dict[str, Any]) -> None:
    del exported
    result = json.loads(foundry_edge(workplace, "run", "scan.pcd", "--precision", "int8", "--json").stdout)
    assert result["engine"]["precision"] == "int8"
    refused = foundry_edge(workplace, "run", "scan.pcd", "--tokens", "3", code=2)
    assert "3" in refused.stderr


def test_a_flipped_byte_in_the_bundle_is_refused(workplace: Path, exported: dict[str, Any]) -> None:
    del exported
    bundle = workplace / "foundry-out" / "bundle"
    (path,) = bundle.glob("weights-fp32-*.bin")
    original = path.read_bytes()
    flipped = bytearray(original)
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    try:
        for command in (("run", "scan.pcd", "--precision", "fp32"), ("bundle", "verify", str(bundle))):
            assert path.name in foundry_edge(workplace, *command, code=2).stderr
    finally:
        path.write_bytes(original)
