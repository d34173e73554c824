"""Every compression method: shape, nesting, disk, and what each one claims to be."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from foundry_edge.load import load_model, load_student
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.methods import METHODS, make_method
from foundry_edge.models.reducer import TokenCloud, content
from foundry_edge.models.reducers import REDUCERS
from foundry_edge.models.reducers.tome import match
from foundry_edge.models.store import CONFIG, save_weights
from foundry_edge.models.student import Student, spread
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import Block
from foundry_edge.models.truncation import Truncation
from foundry_edge_runtime.errors import CheckpointError, InputError
from tests.models.conftest import TINY

Clouds = tuple[Tensor, Tensor]
MERGING = tuple(REDUCERS)


def _student(teacher: Teacher, method: str = "dso", **choices: object) -> Student:
    model = make_method(method, TINY, "", tokens=(1, 2, 4, 8, 16), **choices)
    assert isinstance(model, Student)
    model.start_from(teacher)
    return model.requires_grad_(False)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_survives_the_disk_behind_the_protocol(
    method: str, teacher: Teacher, clouds: Clouds, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    tokens = (1, 4) if method in MERGING else None
    model = make_method(method, TINY, "abc", tokens=tokens)
    model.start_from(teacher)
    save_weights(tmp_path, model.config, model)
    loaded = load_model(tmp_path)
    assert loaded.budgets == (tokens or ())
    with torch.no_grad():
        features = model(*clouds, max(loaded.budgets, default=0))
    assert torch.equal(loaded.encode_groups(*clouds), features)
    assert features.shape == (3, 16, 48)
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("method", [m for m in MERGING if m != "patchmerger"])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_every_token_goes_to_one_place(method: str, count: int, teacher: Teacher, clouds: Clouds) -> None:
    made = _student(teacher, method).reconstruct(teacher.tokenizer(clouds[0]), clouds[1], count)
    assert made.assignment is not None
    assert made.assignment.shape == (3, 16, count)
    assert torch.equal(made.assignment.sum(dim=2), torch.ones(3, 16))


@pytest.mark.parametrize("method", ["fps", "tome"])
def test_with_as_many_places_as_tokens_nothing_is_merged(
    method: str, teacher: Teacher, clouds: Clouds
) -> None:
    student = _student(teacher, method, residual="update")
    made = student.reconstruct(teacher.tokenizer(clouds[0]), clouds[1], 16).features
    torch.testing.assert_close(made, teacher.encode_groups(*clouds), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mixing", [0, 1])
def test_with_the_update_residual_the_student_starts_as_the_teacher(
    mixing: int, teacher: Teacher, clouds: Clouds
) -> None:
    student = _student(teacher, mixing_blocks=mixing, mlp_ratio=TINY.mlp_ratio, residual="update")
    made = student.reconstruct(teacher.tokenizer(clouds[0]), clouds[1], 16)
    assert made.assignment is not None
    assert torch.equal(made.assignment, torch.eye(16).expand(3, -1, -1))
    torch.testing.assert_close(made.features, teacher.encode_groups(*clouds), atol=1e-5, rtol=1e-5)


def test_attention_blocks_are_the_teachers_next_ones_without_their_mlp(
    teacher: Teacher, clouds: Clouds
) -> None:
    student = _student(teacher, attention_blocks=1)
    tokens, positions = teacher.tokenizer(clouds[0]), teacher.position(clouds[1])
    block = cast("Block", teacher.encoder.blocks[0])
    placed = tokens + positions
    mixed = student.mix(tokens, positions, clouds[1])
    torch.testing.assert_close(mixed, placed + block.attn(block.norm1(placed)))
    last = cast("Block", student.encoder.blocks[-1])
    assert torch.equal(last.norm1.weight, cast("Block", teacher.encoder.blocks[-1]).norm1.weight)
    assert not [name for name, _ in student.mixing.named_parameters() if "mlp" in name or "norm2" in name]


def test_narrow_mlps_keep_the_hidden_units_that_weigh_most(teacher: Teacher, clouds: Clouds) -> None:
    theirs = cast("Block", teacher.encoder.blocks[0])
    with torch.no_grad():
        theirs.mlp.fc2.weight[:, 5:] = 0.0  # all others weigh nothing
    student = _student(teacher, mixing_blocks=1, mlp_ratio=0.25)
    truncated = make_method("truncation", TINY, "", depth=1, mlp_ratio=0.25)
    truncated.start_from(teacher)
    x = torch.randn(2, 7, TINY.width)
    for mine in (student.mixing[0], cast("Truncation", truncated).encoder.blocks[0]):
        assert len(cast("Block", mine).mlp.fc1.weight) == TINY.width // 4
        torch.testing.assert_close(mine(x), theirs(x))


@pytest.mark.parametrize("method", ["dso", "truncation"])
@pytest.mark.parametrize("ratio", [8.0, 0.001])
def test_a_mlp_is_no_wider_than_the_teachers_and_not_nothing(method: str, ratio: float) -> None:
    with pytest.raises(InputError, match="--mlp-ratio is at most the teacher's 4"):
        make_method(method, TINY, "", mlp_ratio=ratio)


@pytest.mark.parametrize("cau_mlp", [False, True])
def test_truncation_at_full_depth_is_the_teacher(cau_mlp: bool, teacher: Teacher, clouds: Clouds) -> None:
    model = make_method("truncation", TINY, "", depth=2, cau_mlp=cau_mlp)
    model.start_from(teacher)
    torch.testing.assert_close(model(*clouds), teacher.encode_groups(*clouds))


def test_kmeans_lowers_the_spread_within_clusters(teacher: Teacher, clouds: Clouds) -> None:
    tokens, positions = teacher.tokenizer(clouds[0]), teacher.position(clouds[1])
    points = content(tokens, positions)

    def spread_of(method: str) -> float:
        weights = _student(teacher, method).dso.assign(TokenCloud(tokens, positions, clouds[1]), 4).merge
        means = weights.transpose(1, 2) @ points / weights.sum(dim=1).unsqueeze(-1).clamp_min(1)
        return float((points - weights @ means).square().sum())

    assert spread_of("kmeans") < spread_of("fps")


def test_matching_merges_the_most_similar_pairs() -> None:
    points = torch.tensor([[[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [-1.0, 0.3]]])
    members = match(points, 1)
    assert members.shape == (1, 4, 3)
    assert torch.equal(members[0, 0], members[0, 1])
    assert len({tuple(row) for row in members[0].tolist()}) == 3


def test_soft_routing_gives_each_token_its_own_mixture(teacher: Teacher, clouds: Clouds) -> None:
    student = _student(teacher, routing="soft", query="anchored")
    tokens, positions = teacher.tokenizer(clouds[0]), teacher.position(clouds[1])
    merge, routes = student.dso.assign(TokenCloud(tokens, positions, clouds[1]), 4)
    torch.testing.assert_close(routes.sum(dim=2), torch.ones(3, 16))
    assert torch.equal(routes.argmax(dim=2), merge.argmax(dim=2))
    assert float(routes.max()) < 1


@pytest.mark.parametrize(
    ("method", "choice", "flag"),
    [
        ("truncation", {"gate": True}, "--gate"),
        ("fps", {"query": "learned"}, "--query"),
        ("dso", {"width": 32}, "--width"),
        ("mimicry", {"mixing_blocks": 1}, "--mixing-blocks"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(method: str, choice: dict[str, object], flag: str) -> None:
    with pytest.raises(InputError, match=f"{flag}: means nothing to the method {method}"):
        make_method(method, TINY, "", **choice)


def test_wrong_values_name_the_flag() -> None:
    with pytest.raises(InputError, match="unknown method 'magic'"):
        make_method("magic", TINY, "")
    with pytest.raises(InputError, match="exceed the teacher's 2 blocks"):
        make_method("dso", TINY, "", mixing_blocks=2)
    with pytest.raises(InputError, match="--attention-blocks 2 and --depth 1 exceed the teacher's 2 blocks"):
        make_method("dso", TINY, "", attention_blocks=2)
    with pytest.raises(InputError, match="exceeds"):
        make_method("truncation", TINY, "", depth=3)


def test_a_baseline_is_no_supertoken_student(teacher: Teacher, tmp_path: Path) -> None:
    student = _student(teacher, "tome")
    save_weights(tmp_path, student.config, student)
    with pytest.raises(CheckpointError, match="expected dso, found 'tome'"):
        load_student(tmp_path)


def test_an_unknown_method_in_a_config_is_named(teacher: Teacher, tmp_path: Path) -> None:
    student = _student(teacher)
    save_weights(tmp_path, student.config, student)
    path = tmp_path / CONFIG
    path.write_text(path.read_text().replace('"method": "dso"', '"method": "magic"'))
    with pytest.raises(CheckpointError, match="magic"):
        load_model(tmp_path)


def test_a_config_from_before_the_new_fields_still_loads(teacher: Teacher, tmp_path: Path) -> None:
    student = Student(StudentConfig(teacher=teacher.config))
    save_weights(tmp_path, student.config, student)
    old = {"kind", "teacher", "teacher_sha256", "tokens", "query"}
    (tmp_path / CONFIG).write_text(student.config.model_dump_json(include=old))
    assert load_student(tmp_path).config == student.config


def test_blocks_of_a_shallower_encoder_are_evenly_spaced() -> None:
    assert spread(0, 12, 12) == list(range(12))
    assert spread(1, 12, 11) == list(range(1, 12))
    assert spread(0, 12, 4) == [2, 5, 8, 11]
    assert spread(1, 12, 1) == [11]


@pytest.mark.parametrize("method", MERGING)
def test_autocast_does_not_round_what_tokens_are_assigned_by(method: str, teacher: Teacher) -> None:
    model, generator = _student(teacher, method), torch.Generator().manual_seed(0)
    tokens, positions = torch.randn(2, 16, 16, TINY.width, generator=generator)
    cloud = TokenCloud(tokens, positions, torch.rand(16, 16, 3, generator=generator))
    plain = model._assigned(cloud, 8, None).merge
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model._assigned(cloud, 8, None).merge, plain)
        assert method != "dso" or not torch.equal(model.dso.assign(cloud, 8).merge, plain)
