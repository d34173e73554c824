"""Drafts to the files and the manifest of a bundle, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from foundry_edge.models.config import StudentConfig
from foundry_edge_export.commit import file_ref
from foundry_edge_export.draft import Draft, draft_of
from foundry_edge_export.form import check_versions
from foundry_edge_export.precisions import PRECISIONS
from foundry_edge_export.shared_weights import attach, detach, share
from foundry_edge_runtime.bundle import MANIFEST, Bundle, Manifest, Rung, load_bundle
from foundry_edge_runtime.bundle.checks import read_checked


def read_bundle(folder: Path) -> Bundle | None:
    """The bundle at ``folder``, None when there is none.

    Raises:
        BundleError: it is damaged.
    """
    return load_bundle(folder) if (folder / MANIFEST).is_file() else None


def read_drafts(bundle: Bundle) -> list[Draft]:
    """Every rung of a bundle with its graph, after all checks.

    Raises:
        BundleError: a file is missing, altered, or refers to anything outside the bundle.
    """
    weights: dict[str, bytes] = {}
    drafts = []
    for rung in bundle.manifest.rungs:
        graph = bundle.graph(rung)
        if rung.weights.name not in weights:
            weights[rung.weights.name] = read_checked(bundle.folder, rung.weights, hard_links=True)
        drafts.append(draft_of(rung, attach(graph.content, weights[rung.weights.name], graph.name)))
    return drafts


def merge(old: Sequence[Draft], new: Sequence[Draft]) -> list[Draft]:
    """All rungs in ladder order; a new one takes the place of an old one of the same name."""
    by_name = {draft.name: draft for draft in (*old, *new)}
    return sorted(by_name.values(), key=lambda d: (d.size, PRECISIONS.index(d.precision)))


def assemble(
    drafts: Sequence[Draft], config: StudentConfig, student_sha256: str
) -> tuple[Manifest, dict[str, bytes]]:
    """The manifest and the files (name -> content); depends on the drafts and their order alone.

    Raises:
        BundleError: a graph refers to anything outside its weights file.
    """
    rungs: dict[str, Rung] = {}
    files: dict[str, bytes] = {}
    for precision in PRECISIONS:
        alike = [draft for draft in drafts if draft.precision == precision]
        if alike:
            rungs |= _lay_out(alike, files)
    ordered = tuple(rungs[draft.name] for draft in drafts)
    teacher = config.teacher
    manifest = Manifest(
        id=_identity(ordered, config, student_sha256),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        student_sha256=student_sha256,
        teacher_sha256=config.teacher_sha256,
        width=teacher.width,
        preprocessing=teacher.preprocessing,
        labels=teacher.labels,
        rungs=ordered,
    )
    return manifest, files


def _lay_out(drafts: Sequence[Draft], files: dict[str, bytes]) -> dict[str, Rung]:
    pool, places = share([draft.model for draft in drafts])
    content = pool.content()
    weights = file_ref(f"weights-{drafts[0].precision}", ".bin", content)
    files[weights.name] = content
    rungs = {}
    for draft, where in zip(drafts, places, strict=True):
        graph = detach(draft.model, where, weights.name)
        ref = file_ref(draft.name, ".onnx", graph)
        check_versions(attach(graph, content, ref.name), ref.name)
        files[ref.name] = graph
        rungs[draft.name] = draft.rung(ref, weights)
    return rungs


def _identity(rungs: Sequence[Rung], config: StudentConfig, student_sha256: str) -> str:
    """Sixteen hexadecimal digits of what the bundle computes; not of when, where or how well."""
    content = {
        "student": student_sha256,
        "preprocessing": config.teacher.preprocessing.model_dump(),
        "labels": config.teacher.labels,
        "rungs": [(rung.name, rung.graph.sha256, rung.weights.sha256) for rung in rungs],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
