"""Scenes: the student's path through the runtime, and the teacher on the same groups."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundry_edge.load import load_teacher
from foundry_edge.models.macs import teacher_macs
from foundry_edge_runtime.bundle import load_bundle

BASELINE = "teacher, torch with fused attention"


def scene_rows(
    points: tuple[int, ...],
    bundle: str,
    teacher: str,
    threads: int,
    runs: int,
    patience: float,
    left_out: dict[str, str],
) -> Iterator[dict[str, Any]]:
    """Rows of `benchmarks.scene`, each a process of its own, in the form of this comparison.

    Args:
        points: of the scenes.
        bundle: folder with graphs for scenes; empty takes the default one.
        teacher: name of the teacher.
        threads: CPU threads.
        runs: of the student; the teacher runs once.
        patience: seconds; the teacher is left out from the first size that takes it longer.
        left_out: gets what fails, and why.
    """
    from benchmarks.scene import room, write_pcd

    for count in points:
        with tempfile.TemporaryDirectory() as folder:
            scan = Path(folder) / f"{count}.pcd"
            write_pcd(scan, room(count))
            theirs = _tried(left_out, "teacher", scan, teacher, threads) if patience > 0 else None
            mine = _tried(left_out, "student", scan, bundle, runs, threads)
        base = None if theirs is None else theirs["ms_median"]
        if theirs is not None:
            patience = patience if theirs["ms_min"] <= patience * 1e3 else 0
            yield _row(theirs, BASELINE, _teacher_macs(teacher, theirs["groups"]), base)
        if mine is not None:
            yield _row(mine, "student, run --scene", _student_macs(bundle, mine), base)


def _tried(left_out: dict[str, str], kind: str, scan: Path, *arguments: object) -> dict[str, Any] | None:
    from benchmarks.scene import fresh

    try:
        return fresh(kind, scan, *arguments)
    except RuntimeError as error:
        left_out[f"{kind} on a scene of {scan.stem} points"] = str(error)[:300]
        return None


def _row(found: dict[str, Any], name: str, macs: int | None, base: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "workload": f"scene of {found['points']} points",
        "batch": 1,
        "ms_min": round(found["ms_min"], 2),
        "ms_median": round(found["ms_median"], 2),
        "macs": macs,
        "peak_rss_mb": found["peak_rss_mb"],
        "over_base_mb": found["over_base_mb"],
        "ratio_to_teacher": None if base is None else round(base / found["ms_median"], 2),
    }


def _teacher_macs(name: str, groups: int) -> int:
    config = load_teacher(name).config
    spec = config.preprocessing.model_copy(update={"groups": groups})
    stages = teacher_macs(config.model_copy(update={"preprocessing": spec}))
    return sum(macs for stage, macs in stages.items() if stage != "head")


def _student_macs(bundle: str, found: dict[str, Any]) -> int | None:
    scene = load_bundle(bundle or None).manifest.scene
    if scene is None:
        return None
    whole = ("encoder",)  # of all SuperTokens at once; the others are counted per group
    groups = found["groups"]
    return sum(macs * (1 if stage in whole else groups) for stage, macs in scene.macs.items())
