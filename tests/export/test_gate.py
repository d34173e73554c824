"""Students with a gate: rungs of s SuperTokens and k bypassed tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.load import load_student, load_teacher
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.fixed import FixedStudent
from foundry_edge.models.store import encoder_sha256, save_weights, weights_sha256
from foundry_edge.models.student import Student
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_export import ExportReport, export
from foundry_edge_export.bundle_files import read_drafts
from foundry_edge_export.stamp import PREFIX
from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.errors import InputError
from tests.export.conftest import SPEC, TINY

BYPASSED = 3


@pytest.fixture(scope="module")
def gated(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student with a gate and cosine queries, not trained."""
    folder = tmp_path_factory.mktemp("gated")
    torch.manual_seed(0)
    digest = encoder_sha256(models / "teacher")
    config = StudentConfig(teacher=TINY, tokens=(2, 4), gate=True, query="cosine", teacher_sha256=digest)
    student = Student(config)
    student.start_from(load_teacher(models / "teacher"))
    torch.nn.init.normal_(student.cau.enter.weight, std=0.02)
    assert student.gate is not None
    torch.nn.init.normal_(student.gate.fc2.weight, std=1.0)
    save_weights(folder, config, student, half=True)
    return folder


@pytest.fixture(scope="module")
def report(gated: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """Both forms of the smallest budget, in full precision and in INT8 kept apart from the choices."""
    return export(
        gated,
        tokens=(2,),
        bypass=(0, BYPASSED),
        precision=("fp32", "fp16", "int8"),
        quantize="after-assignment",
        samples=64,
        out=tmp_path_factory.mktemp("out") / "bundle",
        teacher=models / "teacher",
    )


def test_the_rungs_say_how_many_bypass(report: ExportReport) -> None:
    bundle = load_bundle(report.bundle)
    bundle.verify()
    names = ["s2-fp32", "s2-fp16", "s2-int8", "s2k3-fp32", "s2k3-fp16", "s2k3-int8"]
    assert [rung.name for rung in bundle.manifest.rungs] == names
    merged, kept = bundle.manifest.rung(2, "fp32"), bundle.manifest.rung(2, "fp32", BYPASSED)
    assert merged is not None
    assert kept is not None
    assert (merged.bypassed, kept.bypassed) == (0, BYPASSED)
    assert kept.macs["encoder"] > merged.macs["encoder"]
    assert kept.parity.max_abs < 1e-4


def test_the_graph_says_what_it_was_made_from(report: ExportReport, gated: Path) -> None:
    for draft in read_drafts(load_bundle(report.bundle)):
        said = {entry.key.removeprefix(PREFIX): entry.value for entry in draft.model.metadata_props}
        assert said["student_sha256"] == weights_sha256(gated)
        assert (int(said["tokens"]), int(said["bypassed"])) == draft.size
        assert said["precision"] == draft.precision
        assert said["preprocessing"] == SPEC.model_dump_json()


def test_the_engine_lets_past_what_the_student_does(report: ExportReport, gated: Path) -> None:
    points = load_samples().part(TEST).xyz[5]
    bundle = load_bundle(report.bundle)
    groups, centers = group_clouds([points], SPEC)
    rungs = tuple(rung for rung in bundle.manifest.rungs if rung.bypassed)
    only = type(bundle)(bundle.folder, bundle.source, bundle.manifest.model_copy(update={"rungs": rungs}))
    found = Session(only, Budget(tokens=2, precision="fp32")).run(points)
    assert found.as_json()["engine"]["bypassed"] == BYPASSED
    with torch.no_grad():
        pair = (torch.from_numpy(groups), torch.from_numpy(centers))
        expected, merged = (FixedStudent(load_student(gated), 2, k)(*pair)[0].numpy() for k in (BYPASSED, 0))
    assert np.abs(found.tokens - expected).max() < 1e-4
    assert np.abs(merged - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("with_gate", "count", "message"),
    [
        (False, 2, "--bypass: the student has no gate"),
        (True, 17, "--bypass: expected 0 to 16 tokens, found 17"),
    ],
)
def test_what_cannot_bypass_is_refused(
    models: Path, gated: Path, tmp_path: Path, with_gate: bool, count: int, message: str
) -> None:
    student = gated if with_gate else models / "student"
    with pytest.raises(InputError, match=message):
        export(student, tokens=(2,), bypass=(count,), out=tmp_path / "bundle")
