"""Continuing a student on scenes: data, objective, and what is left of objects."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.cli.app import main
from foundry_edge.data.npz import save_npz
from foundry_edge.data.samples import load_samples
from foundry_edge.load import load_student, load_teacher
from foundry_edge.models.store import encoder_sha256, save_weights
from foundry_edge.training import scene_distill
from foundry_edge.training.scene_data import cut_scene, group_scenes, read_scenes, synthetic_scenes
from foundry_edge.training.scene_distill import SceneReport, distill_scenes
from foundry_edge.training.scene_targets import scene_lesson
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import CheckpointError, DataError, InputError
from foundry_edge_runtime.scenes.frame import group_radii
from tests.export.conftest import SPEC, make_models
from tests.scenes.conftest import make_student, room

SIZES = (16, 48)
QUICK = TrainSettings(steps=12, batch=4, learning_rate=1e-3, precision="32-true", accelerator="cpu")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_models(tmp_path_factory.mktemp("distil-scenes"))
    student = make_student(load_teacher(folder / "teacher"), mixing_blocks=1, residual="update")
    digest = encoder_sha256(folder / "teacher")
    save_weights(folder / "hybrid", student.config.model_copy(update={"teacher_sha256": digest}), student)
    return folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for number in range(4):
        np.save(folder / f"room{number}.npy", room(3000, seed=number))
    return folder


def test_cuts_have_the_points_asked_for() -> None:
    xyz, rng = room(5000), np.random.default_rng(0)
    whole, piece = cut_scene(xyz, 400, "whole", rng), cut_scene(xyz, 400, "piece", rng)
    few = cut_scene(xyz, 9000, "piece", rng)
    assert (len(whole), len(piece), len(few)) == (400, 400, 9000)
    extents = [np.ptp(one, axis=0).max() for one in (xyz, whole, piece)]
    assert extents[1] > 0.9 * extents[0]
    assert extents[2] < 0.6 * extents[0]
    assert len(np.unique(few, axis=0)) == len(np.unique(xyz, axis=0))


def test_rooms_have_the_points_asked_for() -> None:
    first, second = synthetic_scenes(load_samples().xyz, 2, 4096, seed=5)
    assert first.shape == second.shape == (4096, 3)
    assert np.abs(first).max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("scaling", "same"), [("apart", True), ("metric", True), ("each", True), ("sphere", False)]
)
def test_scalings(scaling: str, same: bool) -> None:
    batch = group_scenes([room(800), 3 * room(800, seed=1)], SPEC, 0.2, scaling)  # type: ignore[arg-type]
    radii = [float(np.median(group_radii(groups.numpy()))) for groups in batch.groups]
    assert (radii == pytest.approx([0.2, 0.2], rel=1e-4)) is same
    inside = bool((batch.centers.norm(dim=-1) <= 1 + 1e-5).all())
    assert inside is (scaling != "metric")  # groups of a room are small: its centres are moved apart
    if scaling == "each":
        assert np.ptp(group_radii(batch.groups[0].numpy())) < 1e-5


def test_held_out_scenes_are_never_trained_on(models: Path, scans: Path) -> None:
    teacher = load_teacher(models / "teacher")
    lesson = scene_lesson(teacher, [scans], load_samples().xyz, 2, seed=0, sizes=SIZES)
    assert not set(lesson.scenes) & set(lesson.checked)
    assert len(lesson.scenes) + len(lesson.checked) == 4
    for size in SIZES:
        assert lesson.fit[size].tokens.shape == (2 * len(lesson.scenes), size, 48)
        index = torch.tensor([0, 1])
        tokens, centers, features = lesson.fit[size].batch(index, torch.device("cpu"))
        groups, same = lesson.fit[size].clouds.batch(index)
        torch.testing.assert_close(same, centers)
        torch.testing.assert_close(teacher.tokenizer(groups), tokens, atol=2e-2, rtol=2e-2)
        wanted = teacher.encode_tokens(teacher.tokenizer(groups), teacher.position(centers))
        torch.testing.assert_close(features, wanted, atol=2e-2, rtol=2e-2)


def test_a_student_comes_closer_to_its_teacher_on_scenes(models: Path, scans: Path, tmp_path: Path) -> None:
    report = distill_scenes(
        models / "hybrid", models / "teacher", [scans], out=tmp_path, cuts=2, sizes=SIZES, settings=QUICK
    )
    assert {row.groups for row in report.results} == {0, *SIZES}
    scenes = [row for row in report.results if row.groups]
    assert np.mean([row.after.smooth_l1 for row in scenes]) < np.mean(
        [row.before.smooth_l1 for row in scenes]
    )
    assert json.loads((tmp_path / "report.json").read_text())["cuts"] == report.cuts == 2 * 2 * 3
    old, new = load_student(models / "hybrid"), load_student(tmp_path)
    torch.testing.assert_close(new.tokenizer.state_dict(), old.tokenizer.state_dict())
    assert not torch.equal(new.cau.enter.weight, old.cau.enter.weight)


def test_the_command(
    models: Path,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    seen: dict[str, Any] = {}

    def quick(*arguments: Any, **options: Any) -> SceneReport:
        seen.update(options, arguments=arguments)
        settings = options.pop("settings").model_copy(update={"steps": 2})
        return distill_scenes(*arguments, cuts=1, sizes=SIZES, settings=settings, **options)

    monkeypatch.setattr(scene_distill, "distill_scenes", quick)
    base = ["distill", "--scenes", str(scans), "--start", str(models / "hybrid"), "--out", str(tmp_path)]
    base += ["--teacher", str(models / "teacher"), "--accelerator", "cpu", "--seed", "5"]
    for extra, code in ((["--json"], 0), (["--mixing-blocks", "1"], 2)):
        monkeypatch.setattr(sys, "argv", ["foundry-edge", *base, *extra])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == code
    printed = capfd.readouterr()
    assert "--mixing-blocks: means nothing with --scenes" in printed.err
    assert {row["groups"] for row in json.loads(printed.out)["results"]} == {0, *SIZES}
    assert seen["arguments"] == (str(models / "hybrid"), str(models / "teacher"), [str(scans)])
    assert (seen["settings"].learning_rate, seen["settings"].batch, seen["settings"].seed) == (1e-4, 16, 5)


def test_a_run_is_resumed_as_it_was(models: Path, scans: Path, tmp_path: Path) -> None:
    arguments = models / "hybrid", models / "teacher", [scans]
    options: dict[str, Any] = {"out": tmp_path, "cuts": 1, "settings": QUICK}
    distill_scenes(*arguments, sizes=(16,), **options)
    with pytest.raises(CheckpointError, match="a run with another sizes"):
        distill_scenes(*arguments, sizes=(48,), resume=True, **options)
    options["sizes"] = (16,)
    changed = load_teacher(models / "teacher")
    torch.nn.init.normal_(changed.encoder.norm.bias)
    save_weights(tmp_path / "teacher", changed.config, changed)
    with pytest.raises(CheckpointError, match="a run with another teacher"):
        distill_scenes(models / "hybrid", tmp_path / "teacher", [scans], resume=True, **options)
    save_npz(tmp_path / "few.npz", load_samples().first(40))
    with pytest.raises(CheckpointError, match="a run with another data"):
        distill_scenes(*arguments, data=[tmp_path / "few.npz"], resume=True, **options)
    moved = tmp_path / "scans"
    moved.mkdir()
    for path in scans.iterdir():
        np.save(moved / path.name, 2 * np.load(path))
    with pytest.raises(CheckpointError, match="a run with another scenes_sha256"):
        distill_scenes(*arguments[:2], [moved], resume=True, **options)


def test_wrong_input_is_refused(models: Path, scans: Path, tmp_path: Path) -> None:
    arguments = models / "hybrid", models / "teacher"
    with pytest.raises(DataError, match="no such scan"):
        distill_scenes(*arguments, [scans / "missing"], out=tmp_path, sizes=SIZES, settings=QUICK)
    with pytest.raises(DataError, match="fewer than two"):
        distill_scenes(*arguments, [scans / "room0.npy"], out=tmp_path, sizes=SIZES, settings=QUICK)
    with pytest.raises(InputError, match="sizes must be at least 4"):
        distill_scenes(*arguments, [scans], out=tmp_path, sizes=(2,), settings=QUICK)
    with pytest.raises(DataError, match="there is no scan"):
        read_scenes([])
