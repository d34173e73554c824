"""What scene distillation learns from: the teacher's outputs on cuts of scenes, by number of groups."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.compute import Compute
from foundry_edge.training.scene_data import Cut, cut_scene, group_scenes, read_scenes, synthetic_scenes
from foundry_edge.training.targets import TeacherTargets, teacher_targets
from foundry_edge_runtime.errors import DataError
from foundry_edge_runtime.grouping import group_points
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.readers import find_scans
from foundry_edge_runtime.scenes.frame import group_radii

SIZES = (64, 128, 256, 512)
"""c of the cuts; the teacher's attention is quadratic in it."""
HELD_OUT = 0.25
SYNTHETIC = "synthetic"
_CUTS: tuple[Cut, ...] = ("whole", "piece")
OnScene = Callable[[int, int], None]


@dataclass(frozen=True)
class SceneLesson:
    """Cuts of scenes with the teacher's outputs.

    Attributes:
        fit: c -> what is trained on.
        held_out: c -> cuts of scenes that nothing is trained on.
        scenes: names of the training scenes.
        checked: names of the held-out scenes.
        sha256: of the names of all scenes and the points of the scans among them.
    """

    fit: dict[int, TeacherTargets]
    held_out: dict[int, TeacherTargets]
    scenes: tuple[str, ...]
    checked: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Source:
    """A scene: its name, what gives its points when ``count`` are wanted, and their hash if it is a scan."""

    name: str
    points: Callable[[int], FloatArray]
    sha256: str = ""


def scene_lesson(
    teacher: Teacher,
    scenes: Sequence[str | Path],
    shapes: FloatArray,
    cuts: int,
    seed: int,
    sizes: Sequence[int] = SIZES,
    compute: Compute = Compute(),
    on_scene: OnScene = lambda done, total: None,
) -> SceneLesson:
    """Cut scenes into clouds of several sizes, group them as at run time, and run the teacher on them.

    Args:
        teacher: frozen.
        scenes: scans, folders of scans, or ``synthetic`` for rooms made of ``shapes``. A quarter of the
            scans (by the checksum of their names) is held out, and as many rooms.
        shapes: (M, P, 3) in the unit ball, for rooms and for the size of a group.
        cuts: per training scene and size; half show the whole scene, half a piece at its own density.
        seed: of all choices.
        sizes: c of the cuts.
        compute: where, and in which type, the teacher runs.
        on_scene: told (scenes done, scenes in all).

    Raises:
        DataError: no scene to train on, or a path that is not there.
        ScanError: a scan cannot be read.
    """
    fit, check = _split(_sources(scenes, shapes, seed))
    spec = teacher.config.preprocessing
    objects = (group_points(xyz, spec).groups for xyz in shapes[:128])
    radius = float(np.median(np.concatenate([group_radii(groups) for groups in objects])))
    total = len(fit) + len(check)

    def targets(sources: list[Source], count: int, per_scene: int, start: int) -> TeacherTargets:
        rng = np.random.default_rng([seed, count, start])
        points, clouds = count * spec.group_size, []
        for done, source in enumerate(sources, start=start + 1):
            xyz = source.points(points)
            clouds += [cut_scene(xyz, points, _CUTS[i % 2], rng) for i in range(per_scene)]
            on_scene(done, total)
        batch = group_scenes(clouds, spec, radius)
        shown = GroupedShapes(batch.groups.half()[:, None], batch.centers[:, None])
        return teacher_targets(teacher, shown, 1, seed, compute, batch=1)

    return SceneLesson(
        {count: targets(fit, count, cuts, 0) for count in sizes},
        {count: targets(check, count, 2, len(fit)) for count in sizes},
        tuple(source.name for source in fit),
        tuple(source.name for source in check),
        _digest([*fit, *check]),
    )


def _sources(scenes: Sequence[str | Path], shapes: FloatArray, seed: int) -> list[Source]:
    sources = []
    for one in scenes:
        if str(one) == SYNTHETIC:
            sources += [_room(shapes, seed * 1000 + number) for number in range(24)]
            continue
        path = Path(one)
        if not path.exists():
            raise DataError("no such scan or folder", where=path, remedy="give scans, folders, or synthetic")
        sources += [_scan(each) for each in (find_scans(path) if path.is_dir() else [path])]
    return sources


def _room(shapes: FloatArray, seed: int) -> Source:
    return Source(f"room-{seed}", lambda count: synthetic_scenes(shapes, 1, count, seed)[0])


def _scan(path: Path) -> Source:
    xyz = read_scenes([path])[0]
    return Source(path.name, lambda count: xyz, hashlib.sha256(np.ascontiguousarray(xyz).data).hexdigest())


def _digest(sources: list[Source]) -> str:
    told = repr([(source.name, source.sha256) for source in sources])
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()


def _split(sources: list[Source]) -> tuple[list[Source], list[Source]]:
    """Training scenes, and held-out ones.

    Raises:
        DataError: there are fewer than two.
    """
    if len(sources) < 2:
        raise DataError("fewer than two scenes", remedy="give more with --scenes: one at least is held out")
    ranked = sorted(sources, key=lambda source: (zlib.crc32(source.name.encode()), source.name))
    count = max(round(HELD_OUT * len(sources)), 1)
    return ranked[count:], ranked[:count]
