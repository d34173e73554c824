"""Hostile artefacts where an export, or what follows it, could meet them: refused, nothing is unpacked."""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
from pathlib import Path

import pytest

from foundry_edge.data.shapes import load_npz
from foundry_edge.load import load_student
from foundry_edge_calibration.clouds import calibration_clouds
from foundry_edge_export import ExportReport
from foundry_edge_export.bundle_files import read_drafts
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.errors import BundleError, CheckpointError, InputError
from tests.export.conftest import SPEC

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def artefacts(shared: Path) -> Path:
    return shared / "corpus" / "artefacts"


def _peak() -> int:
    """Peak resident bytes of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", ["huge_header.safetensors", "shape_lie.safetensors"])
def test_weights_that_lie_about_their_size(artefacts: Path, models: Path, tmp_path: Path, name: str) -> None:
    student = Path(shutil.copytree(models / "student", tmp_path / "student"))
    shutil.copy(artefacts / name, student / "model.safetensors")
    before = _peak()
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        load_student(student)
    assert str(caught.value).isprintable()
    assert _peak() - before < 64 * MIB


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ext_dotdot.onnx", r"\.\./artefacts_secret\.bin"),
        ("ext_abs.onnx", "/etc/hostname"),
        ("ext_offset.onnx", "w_short.bin"),
        ("trunc.onnx", "not a usable ONNX graph"),
    ],
)
def test_a_graph_that_reads_elsewhere_in_an_otherwise_sound_bundle(
    artefacts: Path, exported: ExportReport, tmp_path: Path, name: str, message: str
) -> None:
    """Size and hash in the manifest are those of the hostile file; only what it refers to gives it away."""
    out = Path(shutil.copytree(exported.bundle, tmp_path / "bundle"))
    content = (artefacts / name).read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    ref = manifest["rungs"][0]["graph"]
    (out / ref["name"]).write_bytes(content)
    ref |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=message) as caught:
        read_drafts(load_bundle(out))
    assert "42" not in str(caught.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("name", ["slip.zip", "bomb.zip"])
def test_an_archive_is_neither_bundle_nor_data(artefacts: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    shutil.copy(artefacts / name, archive)
    data = tmp_path / f"{archive.stem}.npz"
    shutil.copy(archive, data)
    outside = {path.name for path in tmp_path.parent.iterdir()}
    before = _peak()
    for attempt in (
        lambda: load_bundle(archive),
        lambda: calibration_clouds(archive, SPEC),
        lambda: calibration_clouds(data, SPEC),
        lambda: load_npz(data),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert str(caught.value).isprintable()
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, data.name}
    assert {path.name for path in tmp_path.parent.iterdir()} == outside
    assert _peak() - before < 128 * MIB
