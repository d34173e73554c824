"""A head for parts goes into the bundle with its student, is compared with torch, measured, and kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.load import load_part_head, load_student
from foundry_edge.models.part_head import PART_HEAD, PartHead, PartHeadConfig
from foundry_edge.models.store import save_weights
from foundry_edge_calibration.clouds import group_clouds
from foundry_edge_export import ExportReport, export, part_graph, parts
from foundry_edge_export.cells import part_lines
from foundry_edge_export.report_files import JSON, MARKDOWN
from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.errors import CheckpointError, DataError, GateError, InputError
from foundry_edge_runtime.grouping import to_model_frame
from foundry_edge_runtime.interpolation import nearest_centres
from tests.export.conftest import SPEC, TINY

CONFIG = PartHeadConfig(
    width=TINY.width,
    parts=("Chair/seat", "Chair/leg", "Table/leg", "Table/top", "wing"),
    categories=("Chair", "Table", "Airplane"),
    allowed=((0, 1), (2, 3), (4, 0)),
    hidden=16,
)


def add_head(student: Path, seed: int = 0, config: PartHeadConfig = CONFIG) -> Path:
    torch.manual_seed(seed)
    head = PartHead(config)
    head.standardise(1 + 2 * torch.randn(8, 4, config.width))
    save_weights(student / PART_HEAD, config, head, half=True)
    return student


@pytest.fixture(scope="module")
def student(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_head(
        Path(shutil.copytree(models / "student", tmp_path_factory.mktemp("with-head") / "student"))
    )


@pytest.fixture(scope="module")
def parts_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve shapes; the part of a point is drawn at random from those of its category."""
    rng = np.random.default_rng(2)
    label = np.arange(12) % 3
    allowed = np.array(CONFIG.allowed)
    path = tmp_path_factory.mktemp("data") / "halves.npz"
    np.savez(
        path,
        points=np.round(load_samples().xyz[:12] * 32767).clip(-32767, 32767).astype(np.int16),
        label=label,
        classes=np.array(CONFIG.categories),
        split=(np.arange(12) >= 6).astype(np.uint8),
        part=allowed[label[:, None], rng.integers(2, size=(12, load_samples().xyz.shape[1]))].astype(
            np.uint8
        ),
        part_names=np.array(CONFIG.parts),
    )
    return path


@pytest.fixture(scope="module")
def exported_parts(student: Path, parts_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    """Not to be changed: copy it."""
    out = tmp_path_factory.mktemp("parts") / "bundle"
    return export(
        student, tokens=(2, 4), precision=("fp32", "fp16", "int8"), out=out, samples=64, parts_data=parts_data
    )


def test_the_bundle_holds_the_head(exported_parts: ExportReport) -> None:
    bundle = load_bundle(exported_parts.bundle)
    section = bundle.manifest.parts
    assert section is not None
    assert section.graph in bundle.verify()
    assert [(one.name, one.label) for one in section.categories] == [
        ("Chair", "chair"),
        ("Table", "table"),
        ("Airplane", None),
    ]
    assert section.categories[0].names == ("seat", "leg")
    assert section.categories[2].names == ("wing", "Chair/seat")
    assert section.parity.max_abs <= 1e-4
    model = onnx.load(exported_parts.bundle / section.graph.name)
    assert (model.opset_import[0].version, model.ir_version) == (20, 10)
    assert {one.name for one in model.graph.input} == {"tokens", "index", "weight", "xyz", "category"}


def test_a_category_has_the_label_of_the_same_name() -> None:
    labels = [one.label for one in parts._categories(CONFIG, ("Table", "Chair"))]
    assert labels == ["Chair", "Table", None]


def test_the_runtime_names_the_parts_that_torch_names(exported_parts: ExportReport, student: Path) -> None:
    cloud = load_samples().xyz[0]
    with Session(
        load_bundle(exported_parts.bundle), Budget(tokens=4, precision="fp32"), parts=True, category="Table"
    ) as session:
        found = session.run(cloud).parts
    assert found is not None
    groups, centers = group_clouds([cloud], SPEC)
    xyz = to_model_frame(cloud, SPEC)
    index, weight = nearest_centres(xyz, centers[0])
    with torch.no_grad():
        tokens = load_student(student)(torch.from_numpy(groups), torch.from_numpy(centers), 4)
        logits = load_part_head(student)(
            tokens,
            torch.from_numpy(index)[None],
            torch.from_numpy(weight)[None],
            torch.from_numpy(xyz)[None],
            torch.tensor([1]),
        )[0, :, [2, 3]]
    clear = (logits[:, 0] - logits[:, 1]).abs() > 1e-4
    np.testing.assert_array_equal(found.part[clear], logits.argmax(dim=1)[clear])
    assert found.names == ("leg", "top")


def test_every_rung_for_a_cpu_is_measured_and_the_report_says_so(exported_parts: ExportReport) -> None:
    section = load_bundle(exported_parts.bundle).manifest.parts
    assert section is not None
    assert set(section.quality) == {"s2-fp32", "s2-int8", "s4-fp32", "s4-int8"}
    for one in section.quality.values():
        assert 20 < one.instance_miou < 60  # of two parts drawn at random a third of the union is right
        assert (one.samples, one.data) == (6, "halves (test)")
    record = json.loads((exported_parts.bundle / JSON).read_text())
    assert record["parts"]["categories"] == 3
    text = (exported_parts.bundle / MARKDOWN).read_text()
    for line in part_lines(record["parts"]):
        assert line in text
    assert "6 shapes of halves (test)" in text


def test_a_later_export_keeps_the_head_and_what_was_measured(
    exported_parts: ExportReport, student: Path, models: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(exported_parts.bundle, tmp_path / "bundle"))
    before = load_bundle(out).manifest
    assert before.parts is not None
    for source in (student, models / "student"):  # the second has no head beside it
        export(source, tokens=(1,), precision=("fp32",), out=out)
        after = load_bundle(out).manifest
        assert after.parts is not None
        assert after.parts.graph == before.parts.graph
        assert after.parts.quality == before.parts.quality  # not of s1, which nobody measured
        load_bundle(out).verify()


def test_another_head_replaces_the_old_one_and_makes_another_bundle(
    exported_parts: ExportReport, student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundry_edge_runtime.files.GRACE_SECONDS", -1.0)
    out = Path(shutil.copytree(exported_parts.bundle, tmp_path / "bundle"))
    other = add_head(Path(shutil.copytree(student, tmp_path / "student")), seed=1)
    report = export(other, tokens=(4,), precision=("fp32",), out=out)
    section = load_bundle(out).manifest.parts
    assert section is not None
    assert section.quality == {}
    assert [path.name for path in out.glob("parts-*")] == [section.graph.name]
    assert [path.name for path in out.glob("weights-parts-*")] == [section.weights.name]
    assert report.bundle_id != exported_parts.bundle_id
    assert "not measured; give --parts-data" in (out / MARKDOWN).read_text()


def test_a_student_without_a_head_gives_a_bundle_without_parts(
    models: Path, parts_data: Path, exported: ExportReport, tmp_path: Path
) -> None:
    assert load_bundle(exported.bundle).manifest.parts is None
    with pytest.raises(InputError, match="--parts-data: the student has no head for parts; train one with"):
        export(models / "student", out=tmp_path / "out", parts_data=parts_data)


def test_heads_and_data_that_do_not_fit_are_refused(
    student: Path, parts_data: Path, models: Path, tmp_path: Path
) -> None:
    narrow = Path(shutil.copytree(models / "student", tmp_path / "narrow"))
    add_head(narrow, config=CONFIG.model_copy(update={"width": 24}))
    with pytest.raises(
        CheckpointError, match="field width: the head reads tokens of 24, the student gives 48"
    ):
        export(narrow, tokens=(4,), precision=("fp32",), out=tmp_path / "out")
    fewer = Path(shutil.copytree(models / "student", tmp_path / "fewer"))
    renamed = CONFIG.model_copy(update={"categories": ("Chair", "Table", "Boat")})
    add_head(fewer, config=renamed)
    with pytest.raises(DataError, match="has other categories or parts than the head; give --parts-data"):
        export(fewer, tokens=(4,), precision=("fp32",), out=tmp_path / "out", parts_data=parts_data)
    assert not (tmp_path / "out").exists()


def test_a_graph_that_differs_from_torch_is_not_kept(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_graph, "FP32_MAX_ABS", 0.0)
    with pytest.raises(GateError, match="the graph for parts differs from torch by"):
        export(student, tokens=(4,), precision=("fp32",), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
