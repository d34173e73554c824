"""From fine-tuning to a judged engine: the exported head names the classes of the task."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundry_edge.data.shape_set import TEST
from foundry_edge.data.shapes import load_npz
from foundry_edge.evaluation.evaluate import evaluate
from foundry_edge.training.finetune import finetune
from foundry_edge.training.settings import TrainSettings
from foundry_edge_export import export
from foundry_edge_runtime import Budget, Session, load_bundle

SETTINGS = TrainSettings(batch=16, precision="32-true", accelerator="cpu")


def test_a_fine_tuned_student_is_exported_run_and_judged(student: Path, shapes: Path, tmp_path: Path) -> None:
    tuned = finetune(student, shapes, out=tmp_path / "tuned", tokens=(4,), epochs=3, settings=SETTINGS)
    export(
        tmp_path / "tuned", tokens=(4,), precision=("fp32",), out=tmp_path / "bundle", evaluation_data=shapes
    )
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.manifest.labels == ("ball", "stick", "plate")
    accuracy = bundle.manifest.rungs[0].accuracy
    assert accuracy is not None
    assert accuracy.value == pytest.approx(tuned.budgets[0].metrics["accuracy"], abs=5)
    with Session(bundle, Budget(tokens=4, precision="fp32")) as session:
        top = session.run(load_npz(shapes).part(TEST).xyz[0]).top
    assert top is not None
    judged = evaluate(tmp_path / "bundle", shapes, "probe", seeds=(0,))
    assert [rung.name for rung in judged.rungs] == ["s4-fp32"]
    assert judged.rungs[0].metrics["accuracy"] > 60
