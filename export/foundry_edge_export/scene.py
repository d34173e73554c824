"""Graphs for scenes in a bundle: made, compared with torch, and stored with the weights that are there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from foundry_edge.models.student import Student
from foundry_edge_export.bundle_files import read_bundle
from foundry_edge_export.commit import file_ref
from foundry_edge_export.scene_cost import group_radius, scene_macs, workspace
from foundry_edge_export.scene_graphs import scene_graphs
from foundry_edge_export.scene_parity import scene_parity
from foundry_edge_export.shared_weights import attach, detach, share
from foundry_edge_runtime.bundle import Bundle, Manifest
from foundry_edge_runtime.bundle.checks import read_checked
from foundry_edge_runtime.bundle.manifest import FileRef, Scene
from foundry_edge_runtime.errors import BundleError

Files = dict[str, bytes]
Places = dict[bytes, tuple[int, int]]


@dataclass(frozen=True)
class SceneDraft:
    """Scene graphs before they are part of a bundle.

    Attributes:
        models: stage -> self-contained graph.
        about: the manifest's section but for files.
    """

    models: Mapping[str, onnx.ModelProto]
    about: Mapping[str, object]


def make_scene(student: Student, student_sha256: str, versions: Mapping[str, str]) -> SceneDraft:
    """The scene graphs of a student, measured and compared with torch.

    Raises:
        InputError: the student is of a form that has no graph.
        GateError: the graphs differ from torch.
    """
    models = scene_graphs(student)
    spec = student.config.teacher.preprocessing
    about = {
        "tokens": student.config.tokens,
        "window": spec.groups,
        "group_radius": group_radius(spec),
        "group_bytes": workspace(models, spec.groups, ("tokens",)),
        "token_bytes": workspace(models, spec.groups, ("assign", "restore")),
        "macs": scene_macs(student.config),
    }
    parity = scene_parity(student, models, about)
    return SceneDraft(models, {**about, "parity": parity, "key": scene_key(student_sha256, versions)})


def scene_key(student_sha256: str, versions: Mapping[str, str]) -> str:
    """Hash of all that scene graphs are made from."""
    return hashlib.sha256(repr((student_sha256, sorted(versions.items()))).encode()).hexdigest()


def old_scene(folder: Path, student_sha256: str) -> SceneDraft | None:
    """The scene graphs of the bundle at ``folder``, if it is one of this student and is whole."""
    try:
        bundle = read_bundle(folder)
        if bundle is None or bundle.manifest.student_sha256 != student_sha256:
            return None
        return _read(bundle)
    except BundleError:
        return None  # the exporter notes the damage and replaces the bundle


def _read(bundle: Bundle) -> SceneDraft | None:
    scene = bundle.manifest.scene
    if scene is None:
        return None
    weights = read_checked(bundle.folder, scene.weights, hard_links=True)
    models = {}
    for name in scene.graphs:
        graph = bundle.graph(scene.stage(name))
        models[name] = attach(graph.content, weights, graph.name)
    return SceneDraft(models, scene.model_dump(exclude={"graphs", "weights"}))


def with_scene(manifest: Manifest, files: Files, draft: SceneDraft) -> tuple[Manifest, Files]:
    """The bundle with scene graphs added to it; its rungs stay as they are, to the byte.

    Where there are FP32 rungs, the graphs use their weights file and hold what it lacks themselves;
    otherwise they get a weights file of their own.
    """
    models = list(draft.models.values())
    known = _known(manifest, files)
    if known is None:
        pool, places = share(models)
        weights = file_ref("weights-scene", ".bin", pool.content())
        files = {**files, weights.name: pool.content()}
    else:
        weights, stored = known
        places = [[stored.get(_digest(t.raw_data)) for t in model.graph.initializer] for model in models]
    graphs = {}
    for name, model, where in zip(draft.models, models, places, strict=True):
        content = detach(model, where, weights.name)
        graphs[name] = file_ref(f"scene-{name}", ".onnx", content)
        files = {**files, graphs[name].name: content}
    scene = Scene.model_validate({**draft.about, "graphs": graphs, "weights": weights})
    return manifest.model_copy(update={"scene": scene}), files


def _known(manifest: Manifest, files: Files) -> tuple[FileRef, Places] | None:
    """The weights file of the FP32 rungs, and where each tensor's content lies in it."""
    rungs = [rung for rung in manifest.rungs if rung.precision == "fp32"]
    if not rungs:
        return None
    places: Places = {}
    content = files[rungs[0].weights.name]
    for rung in rungs:
        for tensor in onnx.load_model_from_string(files[rung.graph.name]).graph.initializer:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if entries:
                start, length = int(entries["offset"]), int(entries["length"])
                places.setdefault(_digest(content[start : start + length]), (start, length))
    return rungs[0].weights, places


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
