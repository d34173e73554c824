from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from foundry_edge_export import ExportReport, export
from foundry_edge_export.tensorrt.builder import build
from foundry_edge_runtime.cache import CACHE_VARIABLE
from foundry_edge_runtime.errors import BackendError
from foundry_edge_runtime.plans import PlanStore

needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install 'foundry-edge[tensorrt-rtx]'",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of this test alone."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def test_a_missing_compiler_is_said_before_any_work(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match=r"'tensorrt' cannot be imported.*JetPack"):
        export(models / "student", out=tmp_path / "bundle", backend="tensorrt")
    assert not (tmp_path / "bundle").exists()


@needs_rtx
def test_the_compiler_takes_every_precision_that_export_writes(exported: ExportReport) -> None:
    report = build(exported.bundle, backend="tensorrt-rtx", tokens=(2,), ahead=True, strict=True)
    assert {one.rung.precision for one in report.rungs} >= {"fp32", "fp16", "int8"}
    assert [(one.rung.name, one.reason) for one in report.rungs if one.state != "built"] == []


@needs_rtx
def test_export_builds_plans_when_asked(models: Path, tmp_path: Path) -> None:
    report = export(
        models / "student",
        tokens=(1,),
        precision=("fp32",),
        out=tmp_path / "bundle",
        backend="tensorrt-rtx",
        teacher=models / "teacher",
    )
    assert report.kept
    assert "s1-fp32: plan of " in report.notes[-1]
    assert "built ahead, not run" in report.notes[-1]
    assert [one.rung for one in PlanStore().manifests()] == ["s1-fp32"]
