"""What a rung was judged on: how little is too little, and what the bundle says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foundry_edge.cli.app import app
from foundry_edge.data.samples import load_samples
from foundry_edge.data.shapes import TEST
from foundry_edge.load import load_student
from foundry_edge_export import export
from foundry_edge_export.cells import legend
from foundry_edge_export.evaluation import load_evaluation
from foundry_edge_export.gates import allowed_drop, int8_gates
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.bundle import MANIFEST
from foundry_edge_runtime.bundle.manifest import Accuracy, Parity
from foundry_edge_runtime.errors import InputError


def write_set(path: Path, count: int) -> Path:
    """The first test shapes of the sample set that the tiny head knows, as a set of their own."""
    test = load_samples().part(TEST)
    known = [i for i, label in enumerate(test.label) if test.classes[label] in ("chair", "lamp", "table")]
    chosen = known[:count]
    np.savez(
        path,
        points=np.round(test.xyz[chosen] * 32767).astype(np.int16),
        label=test.label[chosen],
        classes=np.array(test.classes),
        split=np.ones(count, np.uint8),
    )
    return path


@pytest.mark.parametrize(
    ("samples", "allowed"), [(1, 5), (19, 5), (20, 5), (50, 2), (199, 100 / 199), (1000, 0.5)]
)
def test_few_clouds_never_allow_more_than_five_points(samples: int, allowed: float) -> None:
    assert allowed_drop(samples) == pytest.approx(allowed)


def test_the_only_cloud_may_not_change() -> None:
    right, wrong = (Accuracy(value=value, samples=1, data="one") for value in (100, 0))
    parity = Parity(reference="fp32", max_abs=0.1, cosine_mean=1, cosine_worst=1, samples=1)
    assert int8_gates(parity, right, right)["accuracy_drop"]
    assert not int8_gates(parity, wrong, right)["accuracy_drop"]


def test_too_few_clouds_are_warned_of(models: Path, tmp_path: Path) -> None:
    config = load_student(models / "student").config
    few = load_evaluation(config, data=write_set(tmp_path / "few.npz", 3)).notes
    assert "evaluation clouds: only 3; figures and gates may miss what 64 or more would show" in few
    assert not any("evaluation clouds" in line for line in load_evaluation(config).notes)


def test_the_bundle_and_the_table_name_what_judged_them(models: Path, tmp_path: Path) -> None:
    data = write_set(tmp_path / "few.npz", 3)
    report = export(
        models / "student",
        tokens=(1,),
        precision=("fp32", "int8"),
        samples=64,
        out=tmp_path / "bundle",
        evaluation_data=data,
        force=True,
    )
    stated = load_evaluation(load_student(models / "student").config, data=data).stated
    assert [rung.evaluation for rung in load_bundle(report.bundle).manifest.rungs] == [stated, stated]
    lines = legend(report.as_dict()["rungs"])
    assert "gates of fp16 and int8: judged over 3 clouds of few (test)" in lines
    assert any("or one cloud (33.33) if that is more, but no more than 5 points" in line for line in lines)
    shown = CliRunner().invoke(app, ["bundle", "show", str(report.bundle)]).stdout
    assert "judged over 3 clouds of few (test)" in " ".join(shown.split())


def _export(models: Path, out: Path, tokens: int, data: Path | None) -> None:
    export(models / "student", tokens=(tokens,), precision=("fp32",), out=out, evaluation_data=data)


def test_rungs_judged_on_other_clouds_are_not_left_beside_new_ones(models: Path, tmp_path: Path) -> None:
    out, few, again = tmp_path / "bundle", tmp_path / "few.npz", tmp_path / "again.npz"
    _export(models, out, 1, None)
    before = (out / MANIFEST).read_bytes()
    with pytest.raises(
        InputError, match=r"s1-fp32: judged on 73 clouds of embedded samples .* 3 clouds of few"
    ):
        _export(models, out, 2, write_set(few, 3))
    assert (out / MANIFEST).read_bytes() == before
    _export(models, out, 1, few)  # it replaces all that was judged otherwise
    _export(models, out, 2, write_set(again, 3))  # the same clouds by another name
    rungs = load_bundle(out).manifest.rungs
    assert [(rung.name, rung.evaluation.samples) for rung in rungs if rung.evaluation] == [
        ("s1-fp32", 3),
        ("s2-fp32", 3),
    ]


def test_of_an_older_bundle_name_and_number_must_agree(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    _export(models, out, 1, None)
    manifest = json.loads((out / MANIFEST).read_bytes())
    for rung in manifest["rungs"]:
        del rung["evaluation"]
    (out / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"s1-fp32: judged on .* clouds of embedded samples"):
        _export(models, out, 2, write_set(tmp_path / "few.npz", 3))
    _export(models, out, 2, None)
    assert len(load_bundle(out).manifest.rungs) == 2
