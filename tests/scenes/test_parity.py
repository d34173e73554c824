"""Part by part, a scene gives what the student gives on the whole sequence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundry_edge.load import load_teacher
from foundry_edge.models.student import Student
from foundry_edge.training.scene_student import SceneStudent, scene_student
from foundry_edge_export.scene_form import scene_stages
from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import SceneGroups, group_scene
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.scenes.encoding import encode_scene
from foundry_edge_runtime.scenes.frame import frame_of
from foundry_edge_runtime.scenes.plan import Chunks
from foundry_edge_runtime.scenes.session import SceneSession
from tests.export.conftest import SPEC
from tests.scenes.conftest import make_student, room

CHUNKS = (Chunks(1, 7), Chunks(2, 64), Chunks(5, 100), Chunks(1000, 100_000))
FORMS: dict[str, dict[str, Any]] = {
    "hybrid": {"mixing_blocks": 1, "residual": "update"},
    "no mixing": {"residual": "update"},
    "attention": {"attention_blocks": 1, "residual": "update"},
    "mapped": {"residual": "mapped"},
    "soft": {"residual": "update", "routing": "soft"},
    "cosine": {"query": "cosine"},
    "learned": {"query": "learned", "mixing_blocks": 1},
    "lite": {"tokenizer": "lite", "mixing_blocks": 1, "residual": "update"},
    "default": {"tokenizer": "lite", "mixing_blocks": 1, "depth": 1, "residual": "update", "cau_mlp": False},
}
TOLERANCE = 1e-5


class Modules:
    """Runs the stages in torch."""

    def __init__(self, student: Student) -> None:
        self._stages = scene_stages(student)

    @torch.no_grad()
    def run(self, stage: str, *inputs: FloatArray) -> list[FloatArray]:
        found = self._stages[stage](*(torch.from_numpy(np.ascontiguousarray(one)) for one in inputs))
        return [one.numpy() for one in (found if isinstance(found, tuple) else (found,))]


@torch.no_grad()
def whole(student: Student, grouped: SceneGroups, scale: float, count: int) -> Any:
    """Features (c, d) in float64, all tokens at once."""
    exact = SceneStudent(student.config)
    exact.load_state_dict(student.state_dict())
    exact = exact.double()
    groups = torch.from_numpy(grouped.groups() * np.float32(scale)).double()[None]
    return exact(groups, torch.from_numpy(grouped.centers).double()[None], count)[0].numpy()


def grouped_room(points: int = 1000) -> SceneGroups:
    xyz = room(points)
    return group_scene(frame_of(xyz).apply(xyz), points // SPEC.group_size, SPEC.group_size)


@pytest.mark.parametrize("form", FORMS)
def test_chunks_equal_the_whole_sequence(folder: Path, form: str) -> None:
    student, grouped = make_student(load_teacher(folder / "teacher"), **FORMS[form]), grouped_room()
    for count in (1, 4):
        expected = whole(student, grouped, 3.0, count)
        for chunks in CHUNKS:
            found = encode_scene(Modules(student), grouped, 3.0, count, SPEC.groups, 48, chunks)
            assert np.abs(found.tokens - expected).max() <= TOLERANCE * np.abs(expected).max(), chunks
            np.testing.assert_allclose(found.pooled[:48], expected.mean(axis=0), atol=1e-5)
            np.testing.assert_allclose(found.pooled[48:], expected.max(axis=0), atol=1e-4)
            assert found.windows == -(-len(grouped) // SPEC.groups)


def test_one_window_is_the_ordinary_student(hybrid: Student) -> None:
    grouped = grouped_room(SPEC.groups * SPEC.group_size)
    groups, centers = torch.from_numpy(grouped.groups())[None], torch.from_numpy(grouped.centers)[None]
    torch.testing.assert_close(scene_student(hybrid)(groups, centers, 4), hybrid(groups, centers, 4))


def test_mixing_is_local(hybrid: Student) -> None:
    grouped = grouped_room()
    groups, centers = torch.from_numpy(grouped.groups())[None], torch.from_numpy(grouped.centers)[None]
    local, all_to_all = scene_student(hybrid)(groups, centers, 4), hybrid(groups, centers, 4)
    assert not torch.allclose(local, all_to_all, atol=1e-3)


def test_a_gated_student_has_no_scene_form(folder: Path) -> None:
    gated = make_student(load_teacher(folder / "teacher"), gate=True)
    with pytest.raises(InputError, match="gate"):
        scene_stages(gated)


def test_the_bundle_computes_what_torch_computes(scene_bundle: Path, hybrid: Student) -> None:
    from foundry_edge_runtime import load_bundle

    xyz = room(5000)
    with SceneSession(load_bundle(scene_bundle)) as session:
        found = session.run(xyz)
    cloud = found.cloud.xyz
    grouped = group_scene(found.frame.apply(cloud), 5000 // SPEC.group_size, SPEC.group_size)
    expected = whole(hybrid, grouped, found.group_scale, 4)
    assert np.abs(found.tokens - expected).max() <= TOLERANCE * np.abs(expected).max()
    np.testing.assert_array_equal(found.centers, grouped.centers)


def test_the_order_of_the_points_does_not_matter(scene_bundle: Path) -> None:
    from foundry_edge_runtime import load_bundle

    xyz = room(3000)
    with SceneSession(load_bundle(scene_bundle)) as session:
        first, second = session.run(xyz), session.run(xyz[np.random.default_rng(0).permutation(len(xyz))])
    np.testing.assert_allclose(first.tokens, second.tokens, atol=1e-5)


def test_groups_come_at_the_size_that_was_learnt(scene_bundle: Path) -> None:
    from foundry_edge_runtime import load_bundle
    from foundry_edge_runtime.scenes.frame import group_radii

    bundle = load_bundle(scene_bundle)
    assert bundle.manifest.scene is not None
    with SceneSession(bundle) as session:
        for factor in (1.0, 250.0):
            result = session.run(room(3000) * np.float32(factor))
            grouped = group_scene(result.frame.apply(result.cloud.xyz), 375, SPEC.group_size)
            radius = float(np.median(group_radii(grouped.groups()))) * result.group_scale
            assert radius == pytest.approx(bundle.manifest.scene.group_radius, rel=1e-4)
