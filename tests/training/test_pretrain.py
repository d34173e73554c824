"""Pre-training on a tiny teacher and the embedded samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.corpus import training_side
from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.data.npz import save_npz
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import ShapeSet
from foundry_edge.load import load_teacher
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.engine import Step
from foundry_edge.training.jepa import JointEmbedding, contiguous_blocks, greedy_walk
from foundry_edge.training.mae import MaskedReconstruction, chamfer_l1
from foundry_edge.training.pretrain import pretrain, stages
from foundry_edge.training.settings import TrainSettings
from foundry_edge.training.watch import validation_probes, why_no_probe
from foundry_edge_runtime.errors import CheckpointError, DataError
from foundry_edge_runtime.grouping import Preprocessing

SPEC = Preprocessing(points=128, groups=16, group_size=8)
TINY = TeacherConfig(preprocessing=SPEC, width=48, depth=3, heads=2)


@pytest.fixture
def grouped() -> GroupedShapes:
    generator = torch.Generator().manual_seed(0)
    groups = (torch.randn(8, 2, 16, 8, 3, generator=generator) * 0.1).half()
    return GroupedShapes(groups, torch.rand(8, 2, 16, 3, generator=generator) * 2 - 1)


def step(number: int = 1) -> Step:
    return Step(torch.arange(8), torch.Generator().manual_seed(number), number, 0.5)


def test_chamfer_of_a_set_with_itself_is_zero_and_matches_a_loop() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 5, 3).double(), torch.randn(2, 7, 3).double()
    assert float(chamfer_l1(a, a)) == pytest.approx(0, abs=1e-6)
    forth = np.mean([min(float((p - q).norm()) for q in b[i]) for i in range(2) for p in a[i]])
    back = np.mean([min(float((p - q).norm()) for q in a[i]) for i in range(2) for p in b[i]])
    assert float(chamfer_l1(a, b)) == pytest.approx((forth + back) / 2)


def test_greedy_walk_visits_every_centre_once_nearest_first() -> None:
    line = torch.tensor([[[3.0, 0, 0], [0, 0, 0], [1, 0, 0], [2, 0, 0]]])
    assert greedy_walk(line).tolist() == [[1, 2, 3, 0]]
    walk = greedy_walk(torch.rand(4, 16, 3))
    assert all(sorted(row) == list(range(16)) for row in walk.tolist())


def test_context_holds_no_target() -> None:
    for seed in range(50):
        targets, context = contiguous_blocks(64, torch.Generator().manual_seed(seed))
        assert not set(torch.cat(targets).tolist()) & set(context.tolist())
        assert all(bool((block[1:] - block[:-1] == 1).all()) for block in targets)
        assert len(context) >= 2


@pytest.mark.parametrize("kind", [MaskedReconstruction, JointEmbedding])
def test_objectives_train_every_parameter_of_the_teacher(
    grouped: GroupedShapes, kind: type[MaskedReconstruction] | type[JointEmbedding]
) -> None:
    module = kind(Teacher(TINY), grouped)
    loss, _ = module.loss(step())
    loss.backward()
    silent = [
        n for n, p in module.teacher.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
    assert silent == []


def test_after_masked_reconstruction_the_tokenizer_is_kept(grouped: GroupedShapes) -> None:
    module = JointEmbedding(Teacher(TINY), grouped, freeze_tokenizer=True)
    module.loss(step())[0].backward()
    touched = {n.split(".")[0] for n, p in module.teacher.named_parameters() if p.grad is not None}
    assert touched == {"position", "encoder"}
    assert [s.freeze_tokenizer for s in stages("staged", 2, 0.5)] == [False, True]
    assert [s.freeze_tokenizer for s in stages("jepa", 2, 0.5)] == [False]


def test_the_ema_copy_follows_slowly(grouped: GroupedShapes) -> None:
    module = JointEmbedding(Teacher(TINY), grouped)
    weight, slow = module.teacher.encoder.norm.weight, module.ema.encoder.norm.weight
    with torch.no_grad():
        weight.add_(1)
    module.after_step(step())
    moved = float((slow - 1).mean())
    assert 0 < moved < 0.01


def test_stages() -> None:
    assert [(s.name, s.epochs) for s in stages("staged", 10, 0.3)] == [("mae", 3.0), ("jepa", 7.0)]
    assert [s.name for s in stages("jepa", 10, 0.3)] == ["jepa"]


def test_pretrain_lowers_the_loss_and_resumes(tmp_path: Path) -> None:
    settings = TrainSettings(
        batch=32, precision="32-true", accelerator="cpu", checkpoint_every=5, log_every=5
    )
    report = pretrain(None, tmp_path, config=TINY, epochs=4, settings=settings)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    mae = [row["loss"] for row in rows if row["stage"] == "mae" and "loss" in row]
    assert mae[-1] < mae[0]
    assert report.shapes > 200
    assert report.probes["furniture"] > 100 / 19
    assert (tmp_path / "loss.png").stat().st_size > 1000
    before = load_teacher(tmp_path).encoder.norm.weight
    for folder in (tmp_path, tmp_path / "cache"):
        (folder / ".checkpoint-mae.pt.abc.partial").write_bytes(b"what a killed run left")
    pretrain(None, tmp_path, config=TINY, epochs=4, settings=settings, resume=True)
    assert torch.equal(load_teacher(tmp_path).encoder.norm.weight, before)
    assert not list(tmp_path.rglob(".*.partial"))
    written = (tmp_path / "settings.json").read_bytes()
    samples = load_samples()
    save_npz(tmp_path / "furniture.npz", replace(samples, label=(samples.label + 1) % len(samples.classes)))
    with pytest.raises(CheckpointError, match="another data_sha256"):
        pretrain(
            [tmp_path / "furniture.npz"], tmp_path, config=TINY, epochs=4, settings=settings, resume=True
        )
    other = settings.model_copy(update={"learning_rate": 0.1})
    with pytest.raises(CheckpointError, match=r"other settings: learning_rate 0\.001, now 0\.1"):
        pretrain(None, tmp_path, config=TINY, epochs=4, settings=other, resume=True)
    assert (tmp_path / "settings.json").read_bytes() == written


@pytest.mark.parametrize("jepa_harms", [True, False])
def test_of_the_staged_recipe_the_better_teacher_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jepa_harms: bool
) -> None:
    """A stage that takes all meaning from the features, before or after one that leaves them."""

    def stage(module: MaskedReconstruction | JointEmbedding, *_: object, **__: object) -> None:
        if isinstance(module, JointEmbedding) is jepa_harms:
            torch.nn.init.zeros_(module.teacher.encoder.norm.weight)
        else:
            torch.nn.init.ones_(module.teacher.encoder.norm.weight)

    monkeypatch.setattr("foundry_edge.training.pretrain.train", stage)
    monkeypatch.setattr("foundry_edge.training.pretrain.plot_loss", lambda *_: None)
    report = pretrain(None, tmp_path, config=TINY, epochs=1)
    assert report.stage == ("mae" if jepa_harms else "jepa")
    assert bool(load_teacher(tmp_path).encoder.norm.weight.all())
    assert ("the teacher after mae is kept" in capsys.readouterr().err) is jepa_harms


def test_probes_see_labelled_shapes_alone() -> None:
    shapes = load_samples()
    few = replace(shapes, label=np.where(shapes.label < 2, shapes.label, -1))
    known = int((few.label >= 0).sum())
    assert 20 <= known < len(few) // 2
    (probe,) = validation_probes([few, replace(shapes, label=np.full(len(shapes), -1))], TINY)
    assert len(probe.labels) == len(probe.groups) == known
    assert set(probe.labels) == {0, 1}
    scarce = replace(few, label=np.where(np.cumsum(few.label >= 0) <= 12, few.label, -1))
    assert validation_probes([scarce], TINY) == []
    one = replace(shapes, label=np.zeros(len(shapes), dtype=np.int64))
    none = replace(shapes, label=np.full(len(shapes), -1))
    assert why_no_probe([few, none]) == ""
    assert why_no_probe([scarce, none]) == "fewer than 10 labelled training shapes a class"
    assert why_no_probe([one, none]) == "labels of one class only"
    assert why_no_probe([none]) == "no labelled set"


def test_without_probes_the_staged_recipe_is_masked_reconstruction_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = load_samples().first(12)
    save_npz(tmp_path / "bare.npz", replace(shapes, label=np.zeros(12, dtype=np.int64)))
    settings = TrainSettings(batch=4, precision="32-true", accelerator="cpu", log_every=1)
    report = pretrain([tmp_path / "bare.npz"], tmp_path / "out", config=TINY, epochs=1, settings=settings)
    said = capsys.readouterr().err
    assert (report.stage, report.probes, report.unprobed) == ("mae", {}, "labels of one class only")
    assert "no validation probe (labels of one class only)" in said
    assert "mae has all the epochs" in said
    assert "validation  " not in said
    assert not (tmp_path / "out" / "checkpoint-jepa.pt").exists()


def test_data_without_a_training_side_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "only_test.npz"
    points = np.random.default_rng(0).integers(-30000, 30000, (4, 200, 3)).astype(np.int16)
    np.savez(path, points=points, split=np.ones(4, dtype=np.uint8))
    with pytest.raises(DataError, match="no training shapes"):
        pretrain([path], tmp_path / "out", config=TINY)


def test_shapes_on_a_test_side_never_reach_the_corpus() -> None:
    xyz = np.random.default_rng(0).normal(size=(4, 32, 3)).astype(np.float32)
    label, ids = np.zeros(4, dtype=np.int64), ("a", "b", "c", "d")
    tested = ShapeSet("one", xyz, label, ("x",), np.array([0, 0, 1, 1], dtype=np.uint8), ids)
    shuffled = xyz[[2, 0]][:, ::-1].copy()
    other = ShapeSet("two", shuffled, label[:2], ("x",), np.zeros(2, dtype=np.uint8), ids[:2])
    kept = training_side([tested, other])
    assert [s.ids for s in kept] == [("a", "b"), ("b",)]
