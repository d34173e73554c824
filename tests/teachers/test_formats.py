"""Every published format: recognised, converted, and computing what the published form computes."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foundry_edge import import_teacher, load_student, load_teacher
from foundry_edge.load import model_digest, teacher_digest
from foundry_edge.models.store import encoder_sha256, weights_sha256
from foundry_edge.teachers.registry import ADAPTERS
from foundry_edge_runtime.errors import CheckpointError
from tests.teachers import published
from tests.teachers.conftest import Save

Made = Callable[[], tuple[published.Reference, dict[str, Any]]]
FORMS: dict[str, tuple[str, Made]] = {
    "point-jepa": ("point-jepa", published.point_jepa),
    "point2vec": ("point2vec", published.point2vec),
    "point-mae": ("point-mae", published.point_mae),
    "point-mae, fine-tuned": ("point-mae", lambda: published.point_mae("")),
    "point-bert": ("point-bert", published.point_bert),
    "point-bert without module.": ("point-bert", lambda: published.point_bert(wrapper="")),
    "point-bert, fine-tuned": ("point-bert", lambda: published.point_bert("")),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS)
def test_imported_teacher_computes_what_the_published_one_does(
    form: str, legacy: bool, save: Save, clouds: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    kind, made = FORMS[form]
    reference, checkpoint = made()
    report = import_teacher(save(checkpoint, legacy=legacy), tmp_path / "out", heads=published.HEADS)
    teacher = load_teacher(tmp_path / "out")
    exact, groups, centers = reference.double(), clouds[0].double(), clouds[1].double()
    assert report.kind == kind
    assert report.missing == ()
    torch.testing.assert_close(teacher.tokenizer(clouds[0]).double(), exact.tokens(groups), atol=1e-4, rtol=0)
    torch.testing.assert_close(teacher(*clouds).double(), exact(groups, centers), atol=1e-4, rtol=0)


def test_every_adapter_is_tested() -> None:
    assert {adapter.kind for adapter in ADAPTERS} == {kind for kind, _ in FORMS.values()}


def test_report_accounts_for_every_tensor(save: Save, tmp_path: Path) -> None:
    _, checkpoint = published.point_jepa()
    report = import_teacher(save(checkpoint), tmp_path / "out")
    names = set(checkpoint["state_dict"])
    assert set(report.matched) | set(report.unexpected) == names
    assert not set(report.matched) & set(report.unexpected)
    assert {name.partition(".")[0] for name in report.unexpected} == {"teacher", "predictor", "mask_token"}
    assert len(report.matched) == len(load_teacher(tmp_path / "out").state_dict())


def test_architecture_comes_from_tensors_and_hyper_parameters(save: Save) -> None:
    config = load_teacher(save(published.point_jepa()[1])).config
    assert (config.width, config.depth, config.heads) == (published.WIDTH, published.DEPTH, published.HEADS)
    assert (config.qkv_bias, config.conv_bias) == (True, False)
    assert (config.reduce_from, config.cls_token) == (0, False)
    assert config.preprocessing.model_dump(include={"points", "groups", "group_size"}) == {
        "points": 128,
        "groups": 16,
        "group_size": 8,
    }
    config = load_teacher(save(published.point_bert()[1]), heads=2).config
    assert (config.heads, config.qkv_bias, config.conv_bias) == (2, False, True)
    assert (config.reduce_from, config.cls_token, config.preprocessing.groups) == (32, True, 64)


def test_hyper_parameters_may_be_a_namespace_or_a_kind_of_dict(save: Save) -> None:
    _, checkpoint = published.point_jepa()
    values = checkpoint["hyper_parameters"]
    for container in (argparse.Namespace(**values), AttributeDict(values)):
        config = load_teacher(save(checkpoint | {"hyper_parameters": container})).config
        assert (config.heads, config.preprocessing.groups) == (published.HEADS, 16)


def test_grouping_given_wins(save: Save, tmp_path: Path) -> None:
    report = import_teacher(save(published.point_jepa()[1]), tmp_path / "out", groups=32, points=512)
    spec = report.config.preprocessing
    assert (spec.points, spec.groups, spec.group_size) == (512, 32, 8)


def test_a_y_up_teacher_is_turned_to_z_up_data(
    save: Save, clouds: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    path = save(published.point_jepa()[1])
    import_teacher(path, tmp_path / "out", up="y")
    y_up = [torch.stack([cloud[..., 0], cloud[..., 2], -cloud[..., 1]], dim=-1) for cloud in clouds]
    turned, original = load_teacher(tmp_path / "out"), load_teacher(path)
    torch.testing.assert_close(turned(*clouds), original(*y_up), atol=1e-5, rtol=0)
    assert not torch.allclose(turned(*clouds), original(*clouds), atol=1e-2)


def test_half_precision_and_a_bare_state_dict(save: Save, clouds: tuple[Tensor, Tensor]) -> None:
    reference, checkpoint = published.point_jepa()
    state = {k: v.half() if v.is_floating_point() else v for k, v in checkpoint["state_dict"].items()}
    teacher = load_teacher(save(state), heads=published.HEADS)
    assert {tensor.dtype for tensor in teacher.parameters()} == {torch.float32}
    torch.testing.assert_close(teacher(*clouds), reference(*clouds), atol=0.05, rtol=0)


def test_tensors_may_be_views_of_one_storage(save: Save, clouds: tuple[Tensor, Tensor]) -> None:
    reference, checkpoint = published.point_mae()
    state = checkpoint["base_model"]
    name = "MAE_encoder.blocks.blocks.0.attn.qkv.weight"
    shared = torch.cat([torch.zeros(5), state[name].T.flatten()])
    state[name] = shared[5:].view(published.WIDTH, -1).T
    teacher = load_teacher(save(checkpoint), heads=published.HEADS)
    torch.testing.assert_close(teacher(*clouds), reference(*clouds), atol=1e-4, rtol=0)


def test_the_digest_of_a_teacher_is_that_of_what_is_read(save: Save, tmp_path: Path) -> None:
    path = save(published.point_jepa()[1])
    import_teacher(path, tmp_path / "out")
    assert model_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert model_digest(tmp_path / "out") == weights_sha256(tmp_path / "out")
    assert teacher_digest(path) == model_digest(path)
    assert teacher_digest(tmp_path / "out") == encoder_sha256(tmp_path / "out")


def test_a_file_is_no_model_folder(save: Save) -> None:
    with pytest.raises(
        CheckpointError, match="convert a published checkpoint with `foundry-edge import-teacher`"
    ):
        load_student(save(published.point_jepa()[1]))


class AttributeDict(dict[str, Any]):
    """A dict that is not named dict, as Lightning has one."""


class Module:
    """A class that the loader must not look for."""

    def __init__(self) -> None:
        self.batch = 3


def test_unknown_classes_are_named_in_one_warning(
    save: Save, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save(published.point_jepa(svm_validation={"a": Module(), "b": Module()})[1])
    report = import_teacher(path, tmp_path / "out")
    assert report.warnings == (f"unknown classes became inert placeholders: {__name__}.Module",)
    with caplog.at_level(logging.WARNING):
        load_teacher(path)
    assert [record.getMessage() for record in caplog.records] == [f"{path}: {report.warnings[0]}"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder_heads": 5}, "width 24 is not a multiple of 5 heads"),
        ({"encoder_heads": None}, "file does not say how many heads; give `import-teacher` --heads"),
        ({"encoder_heads": "six"}, "hyper-parameter encoder_heads: expected a whole number, found str"),
        ({"encoder_heads": 10**30}, "hyper-parameter encoder_heads: expected a whole number"),
        ({"tokenizer_group_radius": 0.2}, "groups are balls of a fixed radius"),
        ({"encoder_add_pos_at_every_layer": False}, "positions are added once"),
    ],
)
def test_settings_that_cannot_be_used(
    change: dict[str, Any], message: str, save: Save, tmp_path: Path
) -> None:
    path = save(published.point2vec(**change)[1])
    with pytest.raises(CheckpointError, match=message) as caught:
        import_teacher(path, tmp_path / "out")
    assert str(caught.value).startswith(f"{path}: point2vec checkpoint: ")
    assert not (tmp_path / "out").exists()


def test_heads_given_must_agree_with_the_file(save: Save) -> None:
    with pytest.raises(CheckpointError, match=r"--heads 4 was given.*hyper-parameters say 3"):
        load_teacher(save(published.point_jepa()[1]), heads=4)
    with pytest.raises(CheckpointError, match="width 24 is not a multiple of 7 heads"):
        load_teacher(save(published.point_mae()[1]), heads=7)


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("student.norm.bias", None, r"1 tensors missing: student\.norm\.bias"),
        ("student.norm.weight", None, "student.norm.weight is missing"),
        (
            "student.blocks.1.mlp.fc1.bias",
            torch.ones(3),
            r"of another shape: .*fc1\.bias is \[3\] instead of \[96\]",
        ),
        ("student.blocks.0.attn.q_norm.weight", torch.ones(8), r"not understood: student.*q_norm\.weight"),
        ("student.blocks.9.norm1.weight", torch.ones(24), "blocks are not numbered from 0 to 2"),
        ("student.norm.bias", torch.full((24,), torch.nan), "tensor student.norm.bias holds NaN"),
        (
            "student.norm.bias",
            torch.ones(24, dtype=torch.bool),
            r"its type torch\.BoolStorage is not supported",
        ),
        ("student.norm.bias", torch.ones(1).expand(24), "it has more elements than its storage"),
    ],
)
def test_nothing_is_loaded_half(
    name: str, tensor: Tensor | None, message: str, save: Save, tmp_path: Path
) -> None:
    _, checkpoint = published.point_jepa()
    checkpoint["state_dict"].pop(name, None)
    if tensor is not None:
        checkpoint["state_dict"][name] = tensor
    with pytest.raises(CheckpointError, match=message):
        import_teacher(save(checkpoint), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"state_dict": {"fc.weight": torch.ones(2)}}, "its tensors are fc.weight; known are point-jepa"),
        ({"base_model": {"encoder.first_conv.0.weight": torch.ones(128, 3, 1)}}, "known are point-jepa"),
        ({"epoch": 3}, "it holds no tensors; known are"),
        ([1, 2], "it holds no tensors"),
        (torch.ones(3), "it holds no tensors"),
    ],
)
def test_unknown_kind(value: Any, message: str, save: Save) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_teacher(save(value))


@pytest.mark.parametrize(("name", "heads"), [("point_jepa_small.ckpt", None), ("point_mae_small.pth", 4)])
def test_official_checkpoints_reproduce_official_tokens_and_features(
    name: str, heads: int | None, shared: Path, tmp_path: Path
) -> None:
    folder = shared / "reference_teachers"
    import_teacher(folder / name, tmp_path, heads=heads)
    official = np.load((folder / name).with_suffix(".npz"))
    groups, centers = torch.from_numpy(official["groups"]), torch.from_numpy(official["centers"])
    for teacher in (load_teacher(tmp_path), load_teacher(folder / name, heads=heads)):
        assert np.abs(teacher.tokenizer(groups).numpy() - official["tokens"]).max() < 1e-4
        assert np.abs(teacher.encode_groups(groups, centers).numpy() - official["features"]).max() < 1e-4


def test_official_point_jepa_gives_the_online_encoder_not_the_ema_copy(shared: Path) -> None:
    folder = shared / "reference_teachers"
    official = np.load(folder / "point_jepa_small.npz")
    groups, centers = torch.from_numpy(official["groups"]), torch.from_numpy(official["centers"])
    features = load_teacher(folder / "point_jepa_small.ckpt")(groups, centers).numpy()
    assert np.abs(features - official["features_ema"]).max() > 1e-2
