"""What ships in the package: sizes, integrity, and that teacher, student and bundle belong together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.load import ASSETS, load_student, load_teacher
from foundry_edge.models.store import encoder_sha256, weights_sha256
from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.bundle import Bundle
from foundry_edge_runtime.grouping import group_points

MIB = 1024 * 1024
BUDGETS = (1, 2, 4, 8, 16)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """The embedded bundle."""
    return load_bundle(ASSETS.parents[1] / "runtime" / "foundry_edge_runtime" / "assets" / "bundle")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_teacher_and_bundle_fit_in_40_mib(bundle: Bundle) -> None:
    assert _bytes(ASSETS / "teacher") + _bytes(bundle.folder) <= 40 * MIB
    assert (ASSETS / "furniture.npz").stat().st_size < 4 * MIB


def test_the_bundle_holds_the_ladder_and_nothing_else(bundle: Bundle) -> None:
    rungs = {(r.tokens, r.precision) for r in bundle.manifest.rungs}
    assert rungs == {(s, p) for s in BUDGETS for p in ("fp32", "int8")}
    named = {ref.name for ref in bundle.manifest.files()} | {"manifest.json"}
    reports = {"report.json", "report.md", "report.html"}  # what the export measured, for people
    assert named <= {path.name for path in bundle.folder.iterdir()} <= named | reports
    assert not [r.name for r in bundle.manifest.rungs if r.forced]


def test_teacher_student_and_bundle_belong_together(bundle: Bundle) -> None:
    assert bundle.manifest.teacher_sha256 == encoder_sha256(ASSETS / "teacher")
    assert bundle.manifest.student_sha256 == weights_sha256(ASSETS / "student")
    assert load_student().config.teacher.labels == bundle.manifest.labels == load_teacher().config.labels


def test_the_engines_are_the_student(bundle: Bundle) -> None:
    student = load_student()
    xyz = load_samples().part(TEST).xyz[0]
    grouped = group_points(xyz, bundle.manifest.preprocessing)
    groups, centers = torch.from_numpy(grouped.groups)[None], torch.from_numpy(grouped.centers)[None]
    for tokens in BUDGETS:
        with Session(bundle, Budget(tokens=tokens, precision="fp32")) as session:
            engine = session.run(xyz).tokens
        with torch.no_grad():
            reference = student(groups, centers, tokens)[0].numpy()
        np.testing.assert_allclose(engine, reference, atol=1e-4)


def test_several_supertokens_are_closer_to_the_teacher_than_one(bundle: Bundle) -> None:
    fidelities = [
        r.fidelity.cosine_mean for r in bundle.manifest.rungs if r.precision == "fp32" and r.fidelity
    ]
    assert len(fidelities) == len(BUDGETS)
    assert min(fidelities[1:]) > fidelities[0]
