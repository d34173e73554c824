"""How close students are to their teacher on real scans, and which scaling of groups and centres serves best.

    python -m benchmarks.scene_fidelity --scans ../shared/data/scans \\
        --students embedded:student runs/scene-student      # some minutes on one core; writes results/

Fidelity: every scan is cut to N = 32 c points, thinned out as a whole (``whole``) and as the points nearest
to one of its own (``piece``); the teacher attends to all c groups. Scaling: `scene_data.Scaling`. The probe
is a logistic regression from groups to ground or not on autzen_trim.laz, trained on one half of the map and
tested on the other, in turn for the four halves.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measured import keep
from foundry_edge.data.samples import load_samples
from foundry_edge.load import load_student, load_teacher
from foundry_edge.measures.fidelity import fidelity
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.scene_data import Cut, Scaling, cut_scene, group_scenes
from foundry_edge.training.scene_student import scene_student
from foundry_edge_runtime.grouping import group_points
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.readers import read_points
from foundry_edge_runtime.scenes.frame import group_radii

SCANS = {
    "scannet_scene0000_00.bin": "indoor",
    "small_gicp_target.ply": "LiDAR",
    "kitti_000008_fov.bin": "LiDAR",
}
"""Scans that the scene student of docs/scenes.md was not trained on."""
SIZES = (64, 256, 512, 1024)
PROBE = "autzen_trim.laz"
CUTS: tuple[Cut, ...] = ("whole", "piece")
Row = dict[str, Any]


def known_radius(teacher: Teacher) -> float:
    """Median `group_radii` of objects."""
    spec = teacher.config.preprocessing
    groups = [group_points(xyz, spec).groups for xyz in load_samples().xyz[:128]]
    return float(np.median(group_radii(np.concatenate(groups))))


@torch.no_grad()
def compare(
    teacher: Teacher, students: dict[str, Student], scans: Path, sizes: list[int], repeats: int
) -> list[Row]:
    """One row per scan, size and cut: every student against the teacher, at its largest budget."""
    spec, radius = teacher.config.preprocessing, known_radius(teacher)
    rows = []
    for name, kind in SCANS.items():
        xyz = read_points(scans / name).xyz
        for count in sizes:
            for cut in CUTS:
                if count * spec.group_size > len(xyz):
                    continue
                rng = np.random.default_rng([count, CUTS.index(cut)])
                clouds = [cut_scene(xyz, count * spec.group_size, cut, rng) for _ in range(repeats)]
                batch = group_scenes(clouds, spec, radius)
                wanted = torch.cat([_teach(teacher, *one) for one in _each(batch.groups, batch.centers)])
                row: Row = {"scan": name, "kind": kind, "groups": count, "cut": cut}
                for label, student in students.items():
                    made = [_imitate(student, *one) for one in _each(batch.groups, batch.centers)]
                    found = fidelity(torch.cat(made), wanted)
                    row[label] = {"cosine": found.cosine_mean, "smooth_l1": found.smooth_l1}
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def _each(groups: Tensor, centers: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(groups.split(1), centers.split(1), strict=True))


def _teach(teacher: Teacher, groups: Tensor, centers: Tensor) -> Tensor:
    out: Tensor = teacher.encode_groups(groups, centers)
    return out


def _imitate(student: Student, groups: Tensor, centers: Tensor) -> Tensor:
    out: Tensor = student(groups, centers, student.config.tokens[-1])
    return out


@torch.no_grad()
def scalings(teacher: Teacher, student: Student, scans: Path, count: int = 512) -> list[Row]:
    """One row per scaling: how large groups are and how far tokens lie from an object's, and fidelity."""
    spec, radius = teacher.config.preprocessing, known_radius(teacher)
    known = _object_tokens(teacher)
    mean, deviation = known.mean(dim=0), known.std(dim=0)
    rows = []
    for scaling in get_args(Scaling):
        found = []
        for number, name in enumerate(SCANS):
            xyz = read_points(scans / name).xyz
            rng = np.random.default_rng(number)
            batch = group_scenes([cut_scene(xyz, count * 32, "whole", rng)], spec, radius, scaling)
            tokens = (teacher.tokenizer(batch.groups)[0] - mean) / deviation
            nearest = torch.cdist(tokens[::4], (known[::3] - mean) / deviation).min(dim=1).values.median()
            closeness = fidelity(
                _imitate(student, batch.groups, batch.centers), _teach(teacher, batch.groups, batch.centers)
            )
            size = float(np.median(group_radii(batch.groups[0].numpy()))) / radius
            spread = float(tokens.square().mean().sqrt())
            found.append((size, spread, float(nearest), closeness.cosine_mean))
        names = ("radius_over_known", "token_rms_in_deviations", "distance_to_nearest_object_token", "cosine")
        rows.append({"scaling": scaling, **dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))})
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _object_tokens(teacher: Teacher) -> Tensor:
    spec = teacher.config.preprocessing
    groups = np.stack([group_points(xyz, spec).groups for xyz in load_samples().xyz[:128]])
    tokens: Tensor = teacher.tokenizer(torch.from_numpy(groups)).flatten(0, 1)
    return tokens


@torch.no_grad()
def probes(teacher: Teacher, students: dict[str, Student], scans: Path) -> list[Row]:
    """One row per scaling and student: accuracy of ground against the rest, whole scan, all groups."""
    cloud = read_points(scans / PROBE)
    spec = teacher.config.preprocessing
    label = np.asarray(cloud.attributes["classification"], dtype=np.int64)
    rows = []
    for scaling in get_args(Scaling):
        batch = group_scenes([cloud.xyz], spec, known_radius(teacher), scaling)
        ground = _majority(cloud.xyz, label, len(batch.centers[0]), spec.group_size)
        places = batch.centers[0].numpy()
        for name, student in students.items():
            tokens = torch.cat([student.tokenizer(part) for part in batch.groups.split(256, dim=1)], dim=1)
            made = student.reconstruct(tokens, batch.centers, student.config.tokens[-1]).features[0].numpy()
            accuracy, balanced = _halves(made, ground, places)
            rows.append({"scaling": scaling, "student": name, "accuracy": accuracy, "balanced": balanced})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _majority(xyz: FloatArray, label: npt.NDArray[np.int64], groups: int, size: int) -> npt.NDArray[np.bool_]:
    """Whether most points of each group are ground (class 2 of the LAS specification)."""
    from foundry_edge_runtime.grouping import group_scene
    from foundry_edge_runtime.scenes.frame import frame_of

    grouped = group_scene(frame_of(xyz).apply(xyz), groups, size)
    return np.asarray((label[grouped.neighbour_index] == 2).mean(axis=1) > 0.5)


def _halves(made: FloatArray, wanted: npt.NDArray[np.bool_], places: FloatArray) -> tuple[float, float]:
    """Accuracy and mean of the two classes' accuracies, over four splits of the map into halves."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    found = []
    for axis in (0, 1):
        upper = places[:, axis] > np.median(places[:, axis])
        for fit in (upper, ~upper):
            scaler = StandardScaler().fit(made[fit])
            model = LogisticRegression(max_iter=300, C=0.01).fit(scaler.transform(made[fit]), wanted[fit])
            right = model.predict(scaler.transform(made[~fit])) == wanted[~fit]
            of_classes = [right[wanted[~fit] == one].mean() for one in (False, True)]
            found.append((right.mean(), np.mean(of_classes)))
    accuracy, balanced = np.mean(found, axis=0).tolist()
    return accuracy, balanced


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scans", type=Path, required=True, help="folder with the scans of SCANS and PROBE")
    parser.add_argument("--teacher", default="embedded:teacher")
    parser.add_argument("--students", nargs="+", default=["embedded:student"])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--repeats", type=int, default=2, help="cuts per scan, size and kind")
    options = parser.parse_args()
    teacher = load_teacher(options.teacher)
    students = {Path(name).name: scene_student(load_student(name)) for name in options.students}
    sizes = [int(size) for size in options.sizes.split(",")]
    record = {
        "command": "python -m benchmarks.scene_fidelity",
        "fidelity": compare(teacher, dict(students), options.scans, sizes, options.repeats),
        "scalings": scalings(teacher, next(iter(students.values())), options.scans),
        "probes": probes(teacher, dict(students), options.scans),
    }
    keep("scene_fidelity", record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
