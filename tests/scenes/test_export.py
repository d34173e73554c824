"""Graphs for scenes in bundles: added, kept, stored once."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest

from foundry_edge.models.store import weights_sha256
from foundry_edge_export import exporter
from foundry_edge_export.scene import old_scene, with_scene
from foundry_edge_runtime import load_bundle
from foundry_edge_runtime.bundle import Bundle
from foundry_edge_runtime.scenes.form import STAGES
from foundry_edge_runtime.scenes.session import SceneSession
from tests.export.conftest import TINY
from tests.scenes.conftest import room


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {ref.name: (bundle.folder / ref.name).read_bytes() for ref in bundle.manifest.files()}


def test_the_weights_of_the_rungs_serve_scenes_too(scene_bundle: Path) -> None:
    bundle = load_bundle(scene_bundle)
    scene, (rung,) = bundle.manifest.scene, bundle.manifest.rungs
    assert scene is not None
    assert set(scene.graphs) == set(STAGES)
    assert scene.weights == rung.weights
    own = sum(ref.bytes for ref in scene.graphs.values())
    assert own < 0.1 * scene.weights.bytes
    assert scene.window == TINY.preprocessing.groups
    assert scene.parity.max_abs < 1e-4
    bundle.verify()


def test_graphs_name_no_file_but_their_weights(scene_bundle: Path) -> None:
    for path in scene_bundle.glob("scene-*.onnx"):
        model = onnx.load_model_from_string(path.read_bytes())
        places = {e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"}
        assert places <= {next(scene_bundle.glob("weights-fp32-*")).name}
        assert {entry.version for entry in model.opset_import} == {20}


def test_without_fp32_rungs_scenes_bring_their_weights(
    scene_bundle: Path, folder: Path, tmp_path: Path
) -> None:
    bundle = load_bundle(scene_bundle)
    draft = old_scene(scene_bundle, weights_sha256(folder / "hybrid"))
    assert draft is not None
    (rung,) = bundle.manifest.rungs
    other = bundle.manifest.model_copy(
        update={"rungs": (rung.model_copy(update={"precision": "int8"}),), "scene": None}
    )
    manifest, files = with_scene(other, contents(bundle), draft)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "manifest.json").write_text(manifest.model_dump_json())
    assert manifest.scene is not None
    assert manifest.scene.weights.name.startswith("weights-scene-")
    with SceneSession(load_bundle(tmp_path)) as one, SceneSession(bundle) as two:
        xyz = room(1500)
        assert (one.run(xyz).tokens == two.run(xyz).tokens).all()


def test_an_export_without_the_option_keeps_the_graphs(
    scene_bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(scene_bundle, tmp_path / "bundle")
    before = load_bundle(copy).manifest.scene

    def never(*_: object) -> None:
        raise AssertionError("the graphs were made again")

    monkeypatch.setattr(exporter, "make_scene", never)
    for scene in (False, True):
        exporter.export(folder / "hybrid", tokens=(4,), precision=("fp32",), out=copy, scene=scene)
        assert load_bundle(copy).manifest.scene == before


def test_graphs_of_another_student_are_not_kept(scene_bundle: Path, tmp_path: Path) -> None:
    assert old_scene(scene_bundle, "0" * 64) is None
    assert old_scene(tmp_path, "0" * 64) is None


def test_a_defect_of_the_graphs_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foundry_edge.load import load_student
    from foundry_edge_export import scene_parity
    from foundry_edge_runtime.errors import GateError

    student = load_student(folder / "hybrid")
    about = {"tokens": (1, 2, 4), "window": 16, "group_radius": 0.2}

    def wrong(_: object, grouped: object, *__: object) -> SimpleNamespace:
        return SimpleNamespace(tokens=scene_parity.whole_scene(student, grouped, 1.0, 4)[0] * 1.001)  # type: ignore[arg-type]

    monkeypatch.setattr(scene_parity, "Sessions", lambda models: None)
    monkeypatch.setattr(scene_parity, "chunked", wrong)
    with pytest.raises(GateError, match="differ from torch"):
        scene_parity.scene_parity(student, {}, about)
