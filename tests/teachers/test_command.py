"""foundry-edge import-teacher: streams, exit codes and wording."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from foundry_edge import load_teacher
from foundry_edge.models.store import WEIGHTS
from tests.teachers import published
from tests.teachers.conftest import Called, Save
from tests.teachers.hostile import named, with_pickle


class DataModule:
    """A foreign class, as official checkpoints hold among their hyper-parameters."""


def test_for_people(command: Called, save: Save, tmp_path: Path) -> None:
    path = save(published.point_jepa(svm_validation=DataModule())[1])
    code, out, err = command("import-teacher", path, "--out", tmp_path / "out")
    words = " ".join(out.split())
    assert code == 0
    assert "point-jepa teacher: width 24, depth 2, heads 3; 128 points in 16 groups of 8." in words
    assert "0 missing" in words
    assert "left out (mask_token 1, predictor 1, teacher 26)" in words
    assert err.splitlines() == [
        f"foundry-edge: {path}: unknown classes became inert placeholders: {__name__}.DataModule"
    ]


def test_json_is_one_object_and_nothing_else(command: Called, save: Save, tmp_path: Path) -> None:
    path = save(published.point_bert()[1])
    options = ("--out", tmp_path / "out", "--heads", "2", "--groups", "32", "--json")
    code, out, err = command("import-teacher", path, *options)
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert record["schema"] == 1
    assert (record["kind"], record["missing"]) == ("point-bert", [])
    assert len(record["matched"]) == len(load_teacher(record["out"]).state_dict())
    assert record["config"]["preprocessing"]["groups"] == 32
    assert record["config"] == json.loads((tmp_path / "out" / "config.json").read_text())


def test_wrong_input_is_one_line_and_exit_2(command: Called, save: Save, tmp_path: Path) -> None:
    honest = save(published.point_mae()[1], "honest.pth")
    hostile = with_pickle(save(published.point_mae()[1], "hostile.pth"), payload=named("os", "system"))
    cases = {
        (honest,): "how many heads",
        (honest, "--heads", "5"): "width 24 is not a multiple of 5 heads",
        (hostile, "--heads", "3"): "os.system",
        (tmp_path / "absent.pth",): "cannot be opened (No such file or directory)",
        (tmp_path,): "not a regular file",
        (honest, "--heads", "3", "--up", "x"): "--up: unknown axis 'x'",
    }
    for arguments, message in cases.items():
        code, out, err = command("import-teacher", *arguments, "--out", tmp_path / "out", "--json")
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_weights_that_cannot_be_computed_with_are_named(command: Called, save: Save, tmp_path: Path) -> None:
    weight = "MAE_encoder.blocks.blocks.0.mlp.fc1.weight"
    variance = "MAE_encoder.encoder.first_conv.1.running_var"
    cases: dict[tuple[str, object], str] = {
        (weight, torch.ones(96, 24, dtype=torch.int32)): f"{weight} (torch.IntStorage)",
        (variance, -torch.ones(128)): f"{variance} holds a negative variance",
        (weight, torch.full((96, 24), 3e38)): "its features of a random cloud hold NaN or infinity",
        (weight, "text"): f"{weight} is text, not a tensor",
        (weight, None): f"{weight} is empty, not a tensor",
        ("MAE_encoder.norm.bias", "text"): "MAE_encoder.norm.bias (is text, not a tensor)",
        ("MAE_encoder.norm.weight", torch.ones(2, 2)): "MAE_encoder.norm.weight should have 1 dimensions",
    }
    for (name, value), message in cases.items():
        checkpoint = published.point_mae()[1]
        checkpoint["base_model"][name] = value
        path = save(checkpoint, "bad.pth")
        code, out, err = command("import-teacher", path, "--heads", "3", "--out", tmp_path / "out")
        assert (code, out) == (2, "")
        assert f"{path}: " in err
        assert message in err
    assert not (tmp_path / "out").exists()


def test_a_missing_tensor_that_decides_a_size_has_the_name_it_has_in_the_file(
    command: Called, save: Save, tmp_path: Path
) -> None:
    checkpoint = published.point_mae()[1]
    del checkpoint["base_model"]["MAE_encoder.norm.weight"]
    path = save(checkpoint, "bad.pth")
    code, _, err = command("import-teacher", path, "--heads", "3", "--out", tmp_path / "out")
    assert (code, "checkpoint: MAE_encoder.norm.weight is missing" in err) == (2, True)


def test_more_groups_than_points_are_refused(command: Called, save: Save, tmp_path: Path) -> None:
    path = save(published.point_mae()[1], "teacher.pth")
    options = ("--heads", "3", "--points", "100", "--out", tmp_path / "out")
    for flag in ("--groups", "--group-size"):
        code, out, err = command("import-teacher", path, *options, flag, "101")
        assert (code, out) == (2, "")
        assert f"{flag}: 101 exceeds the 100 points of a cloud" in err
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_there_is_kept(command: Called, save: Save, tmp_path: Path) -> None:
    options, out = ("--heads", "3", "--out", tmp_path / "out"), tmp_path / "out"
    assert command("import-teacher", save(published.point_mae()[1]), *options)[0] == 0
    before = (out / WEIGHTS).read_bytes()
    checkpoint = published.point_mae()[1]
    checkpoint["base_model"]["MAE_encoder.norm.bias"] += 1
    code, _, err = command("import-teacher", save(checkpoint, "other.pth"), *options)
    assert (code, f"it is moved to {out / 'previous'}" in err) == (0, True)
    assert (out / "previous" / WEIGHTS).read_bytes() == before != (out / WEIGHTS).read_bytes()
    load_teacher(out / "previous")
