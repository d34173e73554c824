"""The graph for parts in a bundle: made from the head beside the student, and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

from foundry_edge.data.labels import find_label
from foundry_edge.load import load_part_head, model_folder
from foundry_edge.models.part_head import PART_HEAD, PartHead, PartHeadConfig, part_head_macs
from foundry_edge.models.store import CONFIG, weights_sha256
from foundry_edge.models.student import Student
from foundry_edge_export.bundle_files import read_bundle
from foundry_edge_export.commit import file_ref
from foundry_edge_export.part_graph import part_graph
from foundry_edge_export.shared_weights import attach, detach, share
from foundry_edge_runtime.bundle import Manifest
from foundry_edge_runtime.bundle.checks import read_checked
from foundry_edge_runtime.bundle.manifest import PartCategory, PartQuality, Parts
from foundry_edge_runtime.errors import BundleError, CheckpointError

Files = dict[str, bytes]


@dataclass(frozen=True)
class PartsDraft:
    """The graph for parts before it is part of a bundle.

    Attributes:
        model: self-contained graph.
        about: the manifest's section but for files and quality.
        measured: key of a rung -> what the head is worth with that rung's tokens.
    """

    model: onnx.ModelProto
    about: Mapping[str, object]
    measured: Mapping[str, PartQuality] = field(default_factory=dict)


@dataclass(frozen=True)
class HeadToExport:
    """The head beside a student.

    Attributes:
        head: in eval mode.
        key: hash of all that its graph is made from.
    """

    head: PartHead
    key: str


def find_head(name: str | Path, student: Student, versions: Mapping[str, str]) -> HeadToExport | None:
    """The head in the folder of a student; None where there is none.

    Raises:
        CheckpointError: it is damaged, or made for tokens of another width.
    """
    folder = model_folder(name) / PART_HEAD
    if not folder.is_dir():
        return None
    head, width = load_part_head(name), student.config.teacher.width
    if head.config.width != width:
        raise CheckpointError(
            f"field width: the head reads tokens of {head.config.width}, the student gives {width}",
            where=folder / CONFIG,
            remedy="train it on this student",
        )
    made_of = (weights_sha256(folder.parent), weights_sha256(folder), head.config.model_dump_json())
    key = hashlib.sha256(repr((made_of, sorted(versions.items()))).encode()).hexdigest()
    return HeadToExport(head, key)


def make_parts(found: HeadToExport, student: Student) -> PartsDraft:
    """The graph of a head, linted and compared with torch.

    Raises:
        BackendError: the graph breaks a rule.
        GateError: it differs from torch.
    """
    config, teacher = found.head.config, student.config.teacher
    model, parity = part_graph(found.head, student)
    about = {
        "categories": _categories(config, teacher.labels),
        "macs": part_head_macs(config, teacher.preprocessing.groups),
        "parity": parity,
        "key": found.key,
    }
    return PartsDraft(model, about)


def _categories(config: PartHeadConfig, labels: tuple[str, ...]) -> tuple[PartCategory, ...]:
    """Each category with the student's label of the same class, where it has one."""
    found = [find_label(name, labels) for name in config.categories]
    return tuple(
        PartCategory(
            name=name,
            label=labels[index] if index >= 0 else None,
            parts=parts,
            names=tuple(config.parts[part].removeprefix(f"{name}/") for part in parts),
        )
        for name, parts, index in zip(config.categories, config.allowed, found, strict=True)
    )


def old_parts(folder: Path, student_sha256: str) -> PartsDraft | None:
    """The graph for parts of the bundle at ``folder``, if it is one of this student and is whole."""
    try:
        bundle = read_bundle(folder)
        if bundle is None or bundle.manifest.student_sha256 != student_sha256:
            return None
        section = bundle.manifest.parts
        if section is None:
            return None
        weights = read_checked(bundle.folder, section.weights, hard_links=True)
        graph = bundle.graph(section.files)
        model = attach(graph.content, weights, graph.name)
    except BundleError:
        return None  # the exporter notes the damage and replaces the bundle
    keys = {rung.name: rung.key for rung in bundle.manifest.rungs}
    measured = {keys[name]: quality for name, quality in section.quality.items() if name in keys}
    about = section.model_dump(exclude={"graph", "weights", "quality"})
    return PartsDraft(model, about, measured)


def measured(draft: PartsDraft, manifest: Manifest, quality: Mapping[str, PartQuality]) -> PartsDraft:
    """The draft with what was measured of rungs by name; what is known of the same rungs stays."""
    new = {rung.key: quality[rung.name] for rung in manifest.rungs if rung.name in quality}
    return replace(draft, measured={**draft.measured, **new})


def with_parts(manifest: Manifest, files: Files, draft: PartsDraft) -> tuple[Manifest, Files]:
    """The bundle with the graph for parts; its rungs stay as they are, its id tells the head too."""
    pool, (places,) = share([draft.model])
    weights = file_ref("weights-parts", ".bin", pool.content())
    content = detach(draft.model, places, weights.name)
    graph = file_ref("parts-head", ".onnx", content)
    quality = {rung.name: draft.measured[rung.key] for rung in manifest.rungs if rung.key in draft.measured}
    section = Parts.model_validate({**draft.about, "graph": graph, "weights": weights, "quality": quality})
    identity = f"{manifest.id} {graph.sha256} {weights.sha256} {section.categories}"
    update = {"parts": section, "id": hashlib.sha256(identity.encode()).hexdigest()[:16]}
    return manifest.model_copy(update=update), {**files, weights.name: pool.content(), graph.name: content}
