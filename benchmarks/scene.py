"""Scenes of 1k to 1M points: time, peak memory, and how both grow with N.

    python -m benchmarks.scene                                # 1k to 1M points, teacher to 300k; 3 minutes
    python -m benchmarks.scene --points 1000,3000 --runs 1    # a first look

Every row is a process of its own: a binary PCD goes in, features of every group come out. ``over_base_mb`` is
the peak resident memory beyond what the process takes once everything is imported: engine, points and
workspace. The teacher is torch with fused attention over all groups, its tokenizer in chunks, given the same
groups; it is left out from the first size that took longer than ``--teacher-seconds``. Writes
results/scene.json and docs/scene_scaling.png; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured import keep
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.grouping import accelerate

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
SLOPE, MEMORY_MB, RATIO = 1.1, 300.0, 15.0
FIT_FROM = 1_000
PLOT = Path(__file__).resolve().parents[1] / "docs" / "scene_scaling.png"
Row = dict[str, Any]


def room(points: int) -> npt.NDArray[np.float32]:
    """A hall of undulating floor, walls and boxes, (points, 3) in metres; larger scans are denser."""
    rng = np.random.default_rng(points)
    xyz = rng.uniform(0, 1, size=(points, 3)) * [40, 25, 6]
    kind = rng.integers(5, size=points)
    xyz[kind < 2, 2] = 0.2 * np.sin(xyz[kind < 2, 0]) + 0.1 * np.cos(2 * xyz[kind < 2, 1])
    xyz[kind == 2, 0] = 0
    xyz[kind == 3, 1] = 25
    boxes = kind == 4
    corner = rng.integers(30, size=int(boxes.sum()))
    face = rng.integers(3, size=int(boxes.sum()))
    inside = rng.uniform(0, 1.5, size=(int(boxes.sum()), 3))
    inside[np.arange(len(face)), face] = np.where(rng.random(len(face)) < 0.5, 0, 1.5)
    xyz[boxes] = inside + np.stack([corner * 7 % 37, corner * 11 % 23, 0 * corner], axis=1)
    xyz += rng.normal(scale=0.005, size=xyz.shape)
    return xyz.astype(np.float32)


def write_pcd(path: Path, xyz: npt.NDArray[np.float32]) -> None:
    """A binary PCD of x, y, z."""
    head = (
        "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        f"WIDTH {len(xyz)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(xyz)}\nDATA binary\n"
    )
    path.write_bytes(head.encode("ascii") + xyz.tobytes())


def student_row(scan: Path, bundle: str | None, runs: int, threads: int) -> Row:
    """The scene through the runtime, ``runs`` times; run in a fresh process."""
    import onnxruntime  # noqa: F401 - part of the import base

    from foundry_edge_runtime.bundle import load_bundle
    from foundry_edge_runtime.device import resident_mb
    from foundry_edge_runtime.readers import read_points
    from foundry_edge_runtime.scenes.session import SceneSession

    base = resident_mb()
    best: Row = {}
    totals: list[float] = []
    with SceneSession(load_bundle(bundle), threads=threads) as session:
        for _ in range(runs):
            result = session.run(read_points(scan))
            totals.append(result.latency_ms["group"] + result.latency_ms["engine"])
            if totals[-1] == min(totals):
                best = {
                    "points": len(result.cloud),
                    "groups": len(result.tokens),
                    "supertokens": result.supertokens,
                    "stages_ms": result.stages_ms,
                }
            del result  # memory is that of one scene at a time
    peak = resident_mb(peak=True)
    return {
        "name": "student",
        **best,
        "ms_min": min(totals),
        "ms_median": float(np.median(totals)),
        "peak_rss_mb": peak,
        "over_base_mb": None if peak is None or base is None else peak - base,
    }


def teacher_row(scan: Path, teacher: str, threads: int) -> Row:
    """The same groups through the teacher, all at once, with fused attention; run in a fresh process."""
    import time

    import torch

    from foundry_edge.load import load_teacher
    from foundry_edge_runtime.device import resident_mb
    from foundry_edge_runtime.grouping import group_scene
    from foundry_edge_runtime.readers import read_points
    from foundry_edge_runtime.scenes.frame import frame_of

    torch.set_num_threads(threads)
    model = load_teacher(teacher)
    base = resident_mb()
    accelerate(compile_now=False)
    cloud = read_points(scan)
    size = model.config.preprocessing.group_size
    started = time.perf_counter()
    grouped = group_scene(frame_of(cloud.xyz).apply(cloud.xyz), len(cloud) // size, size)
    between = time.perf_counter()
    with torch.inference_mode():
        tokens = [model.tokenizer(torch.from_numpy(groups)[None]) for _, groups in grouped.chunks(256)]
        centers = torch.from_numpy(grouped.centers)[None]
        model.encode_tokens(torch.cat(tokens, dim=1), model.position(centers))
    ended = time.perf_counter()
    peak = resident_mb(peak=True)
    return {
        "name": "teacher, fused attention",
        "points": len(cloud),
        "groups": len(grouped),
        "ms_min": (ended - started) * 1e3,
        "ms_median": (ended - started) * 1e3,
        "stages_ms": {"group": (between - started) * 1e3, "model": (ended - between) * 1e3},
        "peak_rss_mb": peak,
        "over_base_mb": None if peak is None or base is None else peak - base,
    }


def slope(rows: list[Row], least: int = FIT_FROM) -> float:
    """Exponent of the least-squares fit of time to points on a log-log plot."""
    used = [row for row in rows if row["points"] >= least]
    logs = [np.array([math.log(row[name]) for row in used]) for name in ("points", "ms_min")]
    return float(np.polyfit(logs[0], logs[1], 1)[0]) if len(used) > 1 else math.nan


def fresh(kind: str, *arguments: object) -> Row:
    """A row, measured in a process of its own.

    Raises:
        RuntimeError: it failed; its last line of stderr.
    """
    command = [sys.executable, "-m", "benchmarks.scene", "--row", json.dumps([kind, *map(str, arguments)])]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, text=True, capture_output=True, check=False, cwd=root)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr.strip().splitlines()[-1:]}")
    found: Row = json.loads(done.stdout)
    return found


def measure(options: argparse.Namespace) -> list[Row]:
    """All rows, the student's and the teacher's at each size in turn."""
    rows: list[Row] = []
    teacher = options.teacher_seconds > 0
    with tempfile.TemporaryDirectory() as folder:
        for points in map(int, options.points.split(",")):
            scan = Path(folder) / f"{points}.pcd"
            write_pcd(scan, room(points))
            rows.append(fresh("student", scan, options.bundle or "", options.runs, options.threads))
            print(_line(rows[-1]), flush=True)
            if teacher:
                rows.append(fresh("teacher", scan, options.teacher, options.threads))
                teacher = rows[-1]["ms_min"] < options.teacher_seconds * 1e3
                print(_line(rows[-1]), flush=True)
            scan.unlink()
    return rows


def summary(rows: list[Row]) -> dict[str, Any]:
    """Slopes, the largest memory, and how much faster than the teacher at the largest size it ran."""
    mine = [row for row in rows if row["name"] == "student"]
    theirs = [row for row in rows if row["name"] != "student"]
    found: dict[str, Any] = {
        "slope": slope(mine),
        "slope_engine": slope([{**row, "ms_min": row["ms_min"] - row["stages_ms"]["group"]} for row in mine]),
        "largest": mine[-1]["points"],
        "over_base_mb": mine[-1]["over_base_mb"],
    }
    if theirs:
        last = theirs[-1]
        same = next(row for row in mine if row["points"] == last["points"])
        found |= {"teacher_points": last["points"], "teacher_ratio": last["ms_min"] / same["ms_min"]}
    return found


def plot(rows: list[Row], found: dict[str, Any], path: Path) -> None:
    """Time and memory against points, log-log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots(1, 2)
    for name, mark in (("student", "o-"), ("teacher, fused attention", "s--")):
        alike = [row for row in rows if row["name"] == name]
        points = [row["points"] for row in alike]
        label = f"{name} (slope {slope(alike):.2f})" if len(alike) > 1 else name
        axes[0].loglog(points, [row["ms_min"] / 1e3 for row in alike], mark, label=label)
        axes[1].loglog(points, [row["over_base_mb"] for row in alike], mark, label=name)
    axes[1].axhline(MEMORY_MB, color="grey", linewidth=0.8)
    for one, text in zip(axes, ("seconds, grouping included", "peak memory over imports, MiB"), strict=True):
        one.set_xlabel("points of the scene")
        one.set_ylabel(text)
        one.grid(alpha=0.3, which="both")
        one.legend()
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(str(partial))  # type: ignore[no-untyped-call]


def _line(row: Row) -> str:
    memory = row["over_base_mb"]
    shown = "" if memory is None else f"{memory:8.0f} MiB over imports"
    return (
        f"{row['name']:26}{row['points']:>9} points{row['groups']:>7} groups{row['ms_min']:>11.1f} ms{shown}"
    )


def _one_row(text: str) -> int:
    kind, scan, which, *numbers = json.loads(text)
    if kind == "student":
        row = student_row(Path(scan), which or None, int(numbers[0]), int(numbers[1]))
    else:
        row = teacher_row(Path(scan), which, int(numbers[0]))
    print(json.dumps(row))
    return 0


def main() -> int:
    """Measure, print, write; 1 when a target is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", default=",".join(map(str, SIZES)))
    parser.add_argument("--bundle", default=None, help="a bundle with graphs for scenes")
    parser.add_argument("--teacher", default="embedded:teacher")
    parser.add_argument("--teacher-seconds", type=float, default=15.0, help="0 leaves the teacher out")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=None, help="JSON here instead of results/, and no plot")
    parser.add_argument("--row", default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row is not None:
        return _one_row(options.row)
    accelerate()  # compiled here once, where numba is installed: the rows only load it
    rows = measure(options)
    found = summary(rows)
    if options.out is None:
        plot(rows, found, PLOT)
        keep("scene", {"command": "python -m benchmarks.scene", **found, "rows": rows})
    else:
        options.out.write_text(json.dumps({**found, "rows": rows}), encoding="utf-8")
    print(json.dumps(found))
    missed = found["slope"] > SLOPE or (found["over_base_mb"] or 0) > MEMORY_MB
    return int(missed or found.get("teacher_ratio", RATIO) < RATIO)


if __name__ == "__main__":
    sys.exit(main())
