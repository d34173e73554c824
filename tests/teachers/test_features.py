"""A teacher known by files of features alone, of another width and depth than the student's start."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from foundry_edge import distill, load_student
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.store import save_weights
from foundry_edge.models.teacher import Teacher
from foundry_edge.teachers.features import Pair, PointFeatures, interpolate, pair_scans, read_features
from foundry_edge.training.feature_targets import feature_targets, grouped_in_place, split_pairs
from foundry_edge.training.settings import TrainSettings
from foundry_edge_runtime.errors import DataError, FoundryEdgeError, InputError
from foundry_edge_runtime.grouping import Preprocessing, group_points
from tests.teachers.conftest import Called

SPEC = Preprocessing(points=128, groups=16, group_size=8)
SCANS = 12
OFFSET = np.array([4.5e6, 3.2e5, 100.0])
"""Coordinates as a survey has them: float32 would lose the shape."""


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the student starts from: width 24, depth 2."""
    torch.manual_seed(0)
    config = TeacherConfig(preprocessing=SPEC, width=24, depth=2, heads=2)
    model = Teacher(config)
    model.tokenizer.calibrate_batch_norm(torch.randn(8, 16, 8, 3) * 0.1)
    folder = tmp_path_factory.mktemp("start")
    save_weights(folder, config, model)
    return folder


@pytest.fixture(scope="module")
def foreign() -> Teacher:
    """The teacher that only leaves files: width 96, depth 4."""
    torch.manual_seed(1)
    model = Teacher(TeacherConfig(preprocessing=SPEC, width=96, depth=4, heads=6)).requires_grad_(False)
    model.tokenizer.calibrate_batch_norm(torch.randn(8, 16, 8, 3) * 0.1)
    return model


@pytest.fixture(scope="module")
def folders(foreign: Teacher, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Scans in three formats, in two folders, and the foreign teacher's features of each."""
    root = tmp_path_factory.mktemp("foreign")
    scans, features = root / "scans", root / "features"
    for number in range(SCANS):
        rng = np.random.default_rng(number)
        xyz = rng.normal(size=(160, 3)) * rng.uniform(0.3, 3, size=3) + OFFSET
        name = Path(f"room{number % 2}") / f"scan{number:02d}"
        _write_scan(scans / name, xyz, (".npy", ".xyz", ".ply")[number % 3])
        places, found = _features(foreign, xyz - OFFSET)
        (features / name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(features / f"{name}.npz", xyz=places + OFFSET, features=found)
    return scans, features


def _write_scan(path: Path, xyz: Any, suffix: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path = path.with_suffix(suffix)
    if suffix == ".npy":
        np.save(path, xyz)
    elif suffix == ".xyz":
        np.savetxt(path, xyz, fmt="%.6f")
    else:
        fields = "".join(f"property double {axis}\n" for axis in "xyz")
        header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n{fields}end_header\n"
        path.write_bytes(header.encode() + xyz.astype("<f8").tobytes())


def _features(teacher: Teacher, xyz: Any) -> tuple[Any, Any]:
    """Per-point features of a cloud: those of its groups, given to the groups' own points."""
    groups, centers, places = grouped_in_place(xyz.astype(np.float32), SPEC)
    tokens = teacher(torch.from_numpy(groups)[None], torch.from_numpy(centers)[None])[0].numpy()
    return places.astype(np.float64), tokens.astype(np.float16)


def test_student_learns_the_features_of_another_teacher(
    start: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = TrainSettings(
        steps=30, batch=8, precision="32-true", accelerator="cpu", learning_rate=3e-3, log_every=5
    )
    scans, features = folders
    report = distill(
        start,
        [scans],
        teacher_features=features,
        tokens=(1, 4),
        out=tmp_path,
        views=2,
        settings=settings,
    )
    assert (report.shapes, report.held_out, report.teacher) == (SCANS - 1, 1, str(features))
    losses = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[-1]["loss"] < 0.8 * losses[0]["loss"]
    student = load_student(tmp_path)
    assert (student.config.teacher.width, student.config.teacher_sha256) == (24, "")
    projection = load_file(tmp_path / "projection.safetensors")
    assert {name: tuple(t.shape) for name, t in projection.items()} == {"weight": (96, 24), "bias": (96,)}
    assert json.loads((tmp_path / "report.json").read_text())["budgets"][1]["after"]["samples"] == 1


def test_projection_starts_as_the_best_map_and_is_saved_in_the_units_of_the_files(
    foreign: Teacher, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Where the student starts as the foreign teacher itself, the best map gives back the features."""
    scans, features = folders
    lesson = feature_targets(foreign, [scans], features, 1, 0, lambda done, total: None)
    tokens, centers, wanted = lesson.fit.batch(torch.arange(len(lesson.fit)), torch.device("cpu"))
    known = foreign.encode_tokens(tokens, foreign.position(centers))
    with torch.no_grad():
        assert float((lesson.projection(known) - wanted).square().mean()) < 0.02  # of a variance of 1
    lesson.save_projection(tmp_path)
    saved = load_file(tmp_path / "projection.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == {
        "weight": (96, 96),
        "bias": (96,),
    }
    said = known @ saved["weight"].T + saved["bias"]
    assert float((said - known).square().mean()) < 0.02 * float(known.flatten(0, 1).var(dim=0).mean())


def test_targets_are_the_features_at_the_centres(
    start: Path, foreign: Teacher, folders: tuple[Path, Path]
) -> None:
    from foundry_edge import load_teacher

    scans, features = folders
    lesson = feature_targets(load_teacher(start), [scans], features, 1, 0, lambda done, total: None)
    _, check = split_pairs(pair_scans([scans], features))
    stored = np.load(check[0].features)
    known = lesson.held_out.features[0].float() * lesson.deviation + lesson.mean
    gap = (known[:, None] - torch.from_numpy(stored["features"]).float()[None]).abs().amax(dim=-1).amin(dim=1)
    assert (
        float(gap.max()) < 0.02
    )  # each centre is one of the points that have features: float16 alone differs
    torch.testing.assert_close(
        lesson.fit.features.float().flatten(0, 1).mean(dim=0), torch.zeros(96), atol=1e-2, rtol=0
    )


def test_views_differ_and_the_first_is_the_scan(start: Path, folders: tuple[Path, Path]) -> None:
    from foundry_edge import load_teacher

    scans, features = folders
    lesson = feature_targets(load_teacher(start), [scans], features, 3, 0, lambda done, total: None)
    assert len(lesson.fit) == 3 * (SCANS - 1)
    assert not torch.equal(lesson.fit.centers[0], lesson.fit.centers[1])
    alone = feature_targets(load_teacher(start), [scans], features, 1, 0, lambda done, total: None)
    assert torch.equal(lesson.fit.centers[::3], alone.fit.centers)


def test_interpolation_weights_three_points_by_inverse_distance() -> None:
    rng = np.random.default_rng(0)
    found = PointFeatures(rng.normal(size=(200, 3)) + OFFSET, rng.normal(size=(200, 5)).astype(np.float32))
    places = rng.normal(size=(7, 3)) * 0.3 + OFFSET
    expected = []
    for place in places:
        distance = np.linalg.norm(found.xyz - place, axis=1)
        near = np.argsort(distance)[:3]
        weight = distance[near] ** -2.0
        expected.append((found.features[near] * (weight / weight.sum())[:, None]).sum(axis=0))
    np.testing.assert_allclose(interpolate(found, places, 3.0, Path("x.npz")), expected, atol=1e-4)
    np.testing.assert_allclose(
        interpolate(found, found.xyz[:4], 3.0, Path("x")), found.features[:4], atol=1e-4
    )
    with pytest.raises(DataError, match=r"x\.npz: the features do not lie where the scan does"):
        interpolate(found, places - OFFSET, 3.0, Path("x.npz"))
    half = found.xyz[:, 0] > OFFSET[0]
    part = PointFeatures(found.xyz[half], found.features[half])
    with pytest.raises(DataError, match="or cover only a part of it"):
        interpolate(part, found.xyz[:20], 2.0, Path("x.npz"))


def test_grouping_in_place_is_the_grouping() -> None:
    xyz = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32) + 5
    groups, centers, places = grouped_in_place(xyz, SPEC)
    expected = group_points(xyz, SPEC)
    assert np.array_equal(groups, expected.groups)
    assert np.array_equal(centers, expected.centers)
    assert {tuple(place) for place in places} <= {tuple(point) for point in xyz}


def test_names_with_the_scans_suffix_are_found_too(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    np.save(tmp_path / "scans" / "a.npy", np.ones((3, 3)))
    np.savez(tmp_path / "a.npy.npz", xyz=np.ones((3, 3)), features=np.ones((3, 2)))
    pairs = pair_scans([tmp_path / "scans"], tmp_path)
    assert pairs == [Pair(tmp_path / "scans" / "a.npy", tmp_path / "a.npy.npz")]


def _archive(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _lying(path: Path) -> None:
    stream = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3)}
    np.lib.format.write_array_header_1_0(stream, header)
    _archive(path, xyz=stream.getvalue() + bytes(12), features=_npy(np.ones((1, 2))))


Write = Callable[[Path], object]
BAD: dict[str, tuple[Write, str]] = {
    "no archive": (lambda path: path.write_bytes(b"hello"), "no file of features"),
    "empty": (lambda path: path.write_bytes(b""), "no file of features"),
    "one array": (lambda path: np.savez(path, xyz=np.ones((3, 3))), "lacks features"),
    "two points": (
        lambda path: np.savez(path, xyz=np.ones((3, 3)), features=np.ones((2, 4))),
        r"xyz \[3, 3\]",
    ),
    "no points": (
        lambda path: np.savez(path, xyz=np.ones((0, 3)), features=np.ones((0, 4))),
        r"found xyz \[0",
    ),
    "flat": (lambda path: np.savez(path, xyz=np.ones((3, 3)), features=np.ones(3)), r"features \[3\]"),
    "text": (lambda path: np.savez(path, xyz=np.ones((1, 3)), features=np.array([["a"]])), "dtype <U1"),
    "too large": (
        lambda path: np.savez(path, xyz=np.ones((2, 3)), features=np.array([[1.0], [1e300]])),
        "features exceed what float32 holds",
    ),
    "constant": (
        lambda path: np.savez(path, xyz=np.eye(3), features=np.full((3, 2), 0.3)),
        "the features of all points are the same",
    ),
    "NaN": (lambda path: np.savez(path, xyz=np.ones((1, 3)), features=np.full((1, 2), np.nan)), "NaN"),
    "object": (
        lambda path: np.savez(path, xyz=np.ones((1, 3)), features=np.array([[None]]), allow_pickle=True),
        "dtype object",
    ),
    "lying header": (_lying, "cannot hold"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named(case: str, tmp_path: Path) -> None:
    write, message = BAD[case]
    path = tmp_path / "scan.npz"
    write(path)
    with pytest.raises(DataError, match=message) as caught:
        read_features(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_truncated_file_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    np.savez_compressed(path, xyz=np.ones((30, 3)), features=np.random.default_rng(0).normal(size=(30, 8)))
    whole = path.read_bytes()
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError):
            read_features(path)


def test_what_does_not_fit_together(start: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    scans, features = folders
    assert _failure(InputError, start, None, features, tmp_path).startswith("--data: is needed")
    assert "--teacher-features" in _failure(InputError, start, [scans], tmp_path / "absent", tmp_path)
    message = _failure(InputError, start, [scans / "room0" / "scan00.npy"], features, tmp_path)
    assert message.endswith("scan00.npy: is a file; with --teacher-features give a folder of scans")
    assert "no features of the scan" in _failure(DataError, start, [scans], tmp_path, tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no scan found" in _failure(DataError, start, [tmp_path / "empty"], features, tmp_path)
    one = tmp_path / "one"
    one.mkdir()
    np.save(one / "a.npy", np.random.default_rng(0).normal(size=(200, 3)))
    np.savez(tmp_path / "a.npz", xyz=np.load(one / "a.npy"), features=np.eye(200)[:, :4])
    assert "one scan alone" in _failure(DataError, start, [one], tmp_path, tmp_path)
    for name, width in (("b", 4), ("c", 5)):
        np.save(one / f"{name}.npy", np.load(one / "a.npy"))
        np.savez(tmp_path / f"{name}.npz", xyz=np.load(one / "a.npy"), features=np.eye(200)[:, :width])
    assert "expected" in _failure(DataError, start, [one], tmp_path, tmp_path)


def test_command_line(command: Called, start: Path, folders: tuple[Path, Path], tmp_path: Path) -> None:
    options = ("--teacher", start, "--teacher-features", folders[1], "--out", tmp_path, "--json")
    code, out, err = command("distill", *options)
    assert (code, out) == (2, "")
    assert (
        err
        == "foundry-edge: error: --data: is needed with --teacher-features; give the folder of the scans\n"
    )
    code, out, err = command("distill", *options, "--data", folders[0], "--steps", "1", "--views", "1")
    assert (code, json.loads(out)["shapes"]) == (0, SCANS - 1), err
    assert (tmp_path / "projection.safetensors").is_file()


def test_a_specialist_cannot_learn_from_features(
    start: Path, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="hold no labels, which kd-classification learns"):
        distill(start, [folders[0]], teacher_features=folders[1], method="kd-classification", out=tmp_path)


def _failure(
    kind: type[FoundryEdgeError], start: Path, data: list[Path] | None, features: Path, out: Path
) -> str:
    with pytest.raises(kind) as caught:
        distill(start, data, teacher_features=features, out=out / "out", settings=TrainSettings(steps=1))
    return str(caught.value)
