"""The public function: what it writes, adds, keeps, refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.load import load_student
from foundry_edge_calibration.clouds import DEFAULT_SAMPLES, group_clouds
from foundry_edge_export import ExportReport, export, gates
from foundry_edge_export.evaluation import load_evaluation
from foundry_edge_export.graph import trace
from foundry_edge_export.precisions import PRECISIONS, QUANTISED
from foundry_edge_export.report_files import HTML, JSON, MARKDOWN
from foundry_edge_runtime import Budget, Session, load_bundle
from foundry_edge_runtime.bundle import MANIFEST, Manifest
from foundry_edge_runtime.errors import CheckpointError, GateError, InputError, NewerBundleError
from tests.export.conftest import BUDGETS, SPEC

NAMES = [f"s{count}-{precision}" for count in BUDGETS for precision in PRECISIONS]
REPORTS = {HTML, JSON, MARKDOWN}


def _copy(report: ExportReport, tmp_path: Path) -> Path:
    return Path(shutil.copytree(report.bundle, tmp_path / "bundle"))


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _export(models: Path, out: Path, tokens: tuple[int, ...], precision: tuple[str, ...]) -> ExportReport:
    """As the fixture `exported`."""
    return export(
        models / "student",
        tokens=tokens,
        precision=precision,
        out=out,
        samples=64 if set(precision) & set(QUANTISED) else DEFAULT_SAMPLES,
        teacher=models / "teacher",
    )


def _hashes(manifest: Manifest) -> list[str]:
    return [manifest.id, *(ref.sha256 for ref in manifest.files())]


def test_the_ladder_is_complete_and_passes_its_gates(exported: ExportReport) -> None:
    bundle = load_bundle(exported.bundle)
    assert [rung.name for rung in bundle.manifest.rungs] == NAMES == [draft.name for draft in exported.rungs]
    bundle.verify()
    for rung in bundle.manifest.rungs:
        assert rung.gates
        assert not rung.forced
        assert rung.fidelity is not None
        assert rung.accuracy is not None
        assert "test" in rung.fidelity.data
        assert (rung.calibration is not None) == (rung.precision in QUANTISED)


def test_int8_figures_are_those_of_int8(exported: ExportReport) -> None:
    for draft in exported.rungs:
        if draft.precision in QUANTISED:
            assert 1e-4 < draft.parity.max_abs < 2
            assert 0.999 <= draft.parity.cosine_mean < 1 - 1e-7


def test_fp16_rounds_and_keeps_the_direction(exported: ExportReport) -> None:
    for draft in exported.rungs:
        if draft.precision == "fp16":
            assert 1e-5 < draft.parity.max_abs < 0.02
            assert draft.parity.cosine_mean >= 0.9999


def test_rungs_of_a_precision_share_one_weights_file(exported: ExportReport) -> None:
    manifest = load_bundle(exported.bundle).manifest
    for precision in PRECISIONS:
        refs = {rung.weights for rung in manifest.rungs if rung.precision == precision}
        assert len(refs) == 1
    assert {path.name for path in exported.bundle.iterdir()} == {
        "manifest.json",
        *REPORTS,
        *(ref.name for ref in manifest.files()),
    }


@pytest.mark.parametrize("count", BUDGETS)
def test_the_runtime_computes_what_torch_computes(exported: ExportReport, models: Path, count: int) -> None:
    points = load_samples().part(TEST).xyz[5]
    session = Session(load_bundle(exported.bundle), Budget(tokens=count, precision="fp32"))
    found = session.run(points[::-1])
    groups, centers = group_clouds([points], SPEC)
    with torch.no_grad():
        expected = load_student(models / "student")(
            torch.from_numpy(groups), torch.from_numpy(centers), count
        )
    assert np.abs(found.tokens - expected[0].numpy()).max() < 1e-4


@pytest.mark.timeout(900)  # the whole ladder once more, on a machine that may be busy
def test_rung_by_rung_on_another_number_of_threads_gives_the_same_files(
    exported: ExportReport, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_EDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("foundry_edge_calibration.engine.usable_cpus", lambda: 3)
    monkeypatch.setattr("foundry_edge_export.build.trace", trace)
    out, threads = tmp_path / "bundle", torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _export(models, out, (4,), ("int8",))
        assert [rung.name for rung in load_bundle(out).manifest.rungs] == ["s4-int8"]
        report = _export(models, out, (1, 2), PRECISIONS)
        assert [draft.name for draft in report.rungs] == NAMES[:8]
        _export(models, out, (4,), ("fp32", "int8-fp16", "fp16"))
    finally:
        torch.set_num_threads(threads)
    assert _hashes(load_bundle(out).manifest) == _hashes(load_bundle(exported.bundle).manifest)


def test_the_same_export_again_builds_nothing(exported: ExportReport, models: Path, tmp_path: Path) -> None:
    out = _copy(exported, tmp_path)
    before = load_bundle(out).manifest
    report = _export(models, out, BUDGETS, PRECISIONS[::-1])
    assert not any(draft.fresh for draft in report.rungs)
    assert _hashes(load_bundle(out).manifest) == _hashes(before)


def test_another_student_replaces_the_bundle(
    exported: ExportReport, other_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foundry_edge_runtime.files.GRACE_SECONDS", -1.0)
    out = _copy(exported, tmp_path)
    report = export(other_models / "student", tokens=(2,), precision=("fp32",), out=out)
    assert any("another student" in note for note in report.notes)
    assert any("not measured" in note for note in report.notes)
    manifest = load_bundle(out).manifest
    assert [rung.name for rung in manifest.rungs] == ["s2-fp32"]
    assert manifest.rungs[0].fidelity is None
    assert len(list(out.iterdir())) == 6


def test_a_damaged_bundle_is_replaced(exported: ExportReport, models: Path, tmp_path: Path) -> None:
    out = _copy(exported, tmp_path)
    victim = next(out.glob("weights-fp32-*"))
    victim.write_bytes(victim.read_bytes()[:-1])
    report = _export(models, out, (1,), ("fp32",))
    assert any("damaged" in note and victim.name in note for note in report.notes)
    bundle = load_bundle(out)
    bundle.verify()
    assert [rung.name for rung in bundle.manifest.rungs] == ["s1-fp32"]


def test_a_bundle_of_a_newer_version_stays(exported: ExportReport, models: Path, tmp_path: Path) -> None:
    out = _copy(exported, tmp_path)
    manifest = json.loads((out / MANIFEST).read_bytes())
    (out / MANIFEST).write_text(json.dumps(manifest | {"schema_version": 99}))
    before = _content(out)
    with pytest.raises(NewerBundleError, match=r"newer foundry-edge \(schema 99, .*; upgrade"):
        _export(models, out, (1,), ("fp32",))
    assert _content(out) == before


def test_sensitivity_names_blocks_that_keep_float_takes(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    options = {"tokens": (2,), "samples": 64, "quantize": "after-assignment", "out": out}
    report = export(models / "student", sensitivity=True, **options)  # type: ignore[arg-type]
    losses = report.sensitivity["s2"]
    assert {"blocks.0", "blocks.1", "cau_enter", "cau_mlp", "dso.value"} == {loss.block for loss in losses}
    assert losses == sorted(losses, key=lambda loss: loss.cosine_mean)
    assert report.as_dict()["sensitivity"]["s2"][0]["block"] == losses[0].block
    kept = export(models / "student", keep_float=(losses[0].block,), **options)  # type: ignore[arg-type]
    (before,), (after,) = report.rungs, kept.rungs
    assert after.parity.cosine_mean > before.parity.cosine_mean
    assert after.calibration is not None
    assert after.calibration.kept == (losses[0].block,)


def test_auto_takes_out_the_block_that_loses_most_until_the_gates_are_met(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"tokens": (2,), "samples": 64, "sensitivity": True}
    wide = export(models / "student", out=tmp_path / "wide", **options)  # type: ignore[arg-type]
    worst = wide.sensitivity["s2"][0].block
    kept = export(models / "student", out=tmp_path / "kept", keep_float=(worst,), **options)  # type: ignore[arg-type]
    before, after = (report.rungs[0].parity.cosine_mean for report in (wide, kept))
    assert before < after
    monkeypatch.setattr(gates, "INT8_COSINE_MEAN", (before + after) / 2)
    record = _Record()
    auto = export(models / "student", out=tmp_path / "auto", progress=record, **options)  # type: ignore[arg-type]
    (draft,) = auto.rungs
    assert draft.passed
    assert draft.calibration is not None
    assert (draft.calibration.policy, draft.calibration.kept) == ("wide", (worst,))
    assert draft.parity == kept.rungs[0].parity
    assert record.notes[-1] == f"s2-int8: auto left {worst} in float"
    assert record.done == [(1, 1)]


class _Record:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.reports: list[ExportReport] = []
        self.notes: list[str] = []
        self.done: list[tuple[int, int]] = []

    def step(self, text: str) -> None:
        """Ignore."""

    def advance(self, done: int, of: int) -> None:
        """Remember."""
        self.done.append((done, of))

    def note(self, text: str) -> None:
        """Remember."""
        self.notes.append(text)

    def failed(self, report: ExportReport) -> None:
        """Remember."""
        self.reports.append(report)


def test_a_failed_gate_keeps_nothing(
    exported: ExportReport, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = _copy(exported, tmp_path), _Record()
    before = _content(out)
    monkeypatch.setattr(gates, "INT8_COSINE_MEAN", 1.0)
    with pytest.raises(GateError, match=r"s4-int8: failed cosine_mean; nothing was kept; try .*--force"):
        export(
            models / "student", tokens=(4,), calibration_method="minmax", samples=64, out=out, progress=record
        )
    assert _content(out) == before
    assert [draft.gates["cosine_mean"] for draft in record.reports[0].rungs] == [False]
    assert not record.reports[0].kept


def test_force_keeps_and_marks(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "INT8_COSINE_MEAN", 1.0)
    out = tmp_path / "bundle"
    export(models / "student", tokens=(4,), samples=64, out=out, force=True)
    (rung,) = load_bundle(out).manifest.rungs
    assert rung.forced
    assert rung.gates == {"cosine_mean": False, "cosine_worst": True, "accuracy_drop": True}


def test_a_head_is_judged_by_the_classes_of_its_own_set(models: Path) -> None:
    config, test = load_student(models / "student").config, load_samples().part(TEST)
    for labels in (test.classes, tuple(name.title() for name in test.classes)):
        teacher = config.teacher.model_copy(update={"labels": labels})
        evaluation = load_evaluation(config.model_copy(update={"teacher": teacher}))
        np.testing.assert_array_equal(evaluation.labels, test.label)
        assert not any("accuracy" in note for note in evaluation.notes)


def test_a_head_for_other_classes_is_said_not_to_be_judged(models: Path, tmp_path: Path) -> None:
    config = load_student(models / "student").config
    config = config.model_copy(
        update={"teacher": config.teacher.model_copy(update={"labels": ("cat", "dog")})}
    )
    (note,) = (line for line in load_evaluation(config).notes if "accuracy" in line)
    assert "the head (cat, dog) does not know the classes of furniture (animal, armchair, " in note
    assert note.endswith("give --evaluation-data with its classes")
    np.savez(tmp_path / "bare.npz", points=np.ones((2, 300, 3), np.int16), split=np.ones(2, np.uint8))
    notes = load_evaluation(config, data=tmp_path / "bare.npz").notes
    assert any("the head (cat, dog) needs labels" in line for line in notes)


def test_a_wrong_teacher_is_refused(models: Path, other_models: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not the teacher this student was distilled from"):
        export(models / "student", out=tmp_path / "bundle", teacher=other_models / "teacher")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": (3,)}, r"--tokens: the student has no budget of 3 SuperTokens; it has 1,2,4"),
        ({"precision": ("int4",)}, r"--precision: unknown value 'int4'; use one of fp32"),
        ({"calibration_method": "best"}, r"--calibration-method: unknown value 'best'"),
        ({"backend": "openvino"}, r"--backend: unknown value 'openvino'; use one of onnx, tensorrt"),
        ({"quantize": "some"}, r"--quantize: unknown value 'some'"),
        ({"keep_float": ("blocks.7",)}, r"--keep-float: no quantised module 'blocks.7'"),
        ({"calibration_data": "nowhere"}, r"nowhere: no such file or folder"),
        ({"evaluation_data": "nowhere.npz"}, r"nowhere.npz: no such data set"),
    ],
)
def test_bad_options_are_one_line(
    models: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        export(models / "student", out=tmp_path / "bundle", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"calibration_data": "one.npz"},
        {"calibration_method": "minmax"},
        {"samples": 64},
        {"quantize": "wide"},
        {"keep_float": ("blocks.1",)},
        {"sensitivity": True},
    ],
)
def test_options_of_int8_are_refused_where_nothing_is_int8(
    models: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    option = f"--{next(iter(options)).replace('_', '-')}"
    with pytest.raises(InputError, match=f"{option}: means nothing to --precision fp32,fp16; leave it out"):
        export(models / "student", precision=("fp32", "fp16"), out=tmp_path / "bundle", **options)  # type: ignore[arg-type]


def test_a_place_that_holds_something_else_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match="holds other files and is no bundle"):
        export(models / "student", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", ["", "bundle", "deep/bundle"])
def test_a_file_in_the_way_is_named(models: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match=r"thesis.tex: is a file, expected a folder; pick another --out"):
        export(models / "student", out=tmp_path / "thesis.tex" / below)


@pytest.mark.parametrize(
    "options", [{}, {"student": "nope"}, {"tokens": (3,)}, {"evaluation_data": "nowhere.npz"}]
)
def test_wrong_input_leaves_no_folder_behind(
    models: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    given = {"student": models / "student", "bypass": (1,), "out": tmp_path / "deep" / "bundle", **options}
    with pytest.raises(InputError):
        export(**given)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
