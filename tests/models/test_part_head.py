"""The head for parts: cheap and plain form agree, it costs little, and a missing one says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn.functional import one_hot, relu

from foundry_edge.load import load_part_head
from foundry_edge.measures.cost import macs
from foundry_edge.models.heads import pool
from foundry_edge.models.interpolate import interpolate, nearest_centres
from foundry_edge.models.part_head import PART_HEAD, PartHead, PartHeadConfig, part_head_macs
from foundry_edge.models.store import save_weights
from foundry_edge_runtime.errors import CheckpointError

CONFIG = PartHeadConfig(
    width=24, parts=("seat", "leg", "top"), categories=("chair", "table"), allowed=((0, 1), (1, 2)), hidden=16
)


def plain(
    head: PartHead, tokens: Tensor, index: Tensor, weight: Tensor, xyz: Tensor, category: Tensor
) -> Tensor:
    """The head as it is written down: every point gets d channels, then the maps are applied."""
    tokens = (tokens - head.shift) / head.scale
    points = torch.cat([interpolate(tokens, index, weight), xyz], dim=2)
    kind = one_hot(category, len(head.config.categories)).to(tokens.dtype)
    cloud = head.cloud(torch.cat([pool(tokens), kind], dim=1))
    hidden = relu(head.local(points) + cloud[:, None])
    found: Tensor = head.out(relu(head.middle(hidden)))
    return found


def test_projecting_before_the_interpolation_changes_nothing() -> None:
    torch.manual_seed(0)
    tokens, xyz = torch.randn(2, 8, 24).double(), torch.randn(2, 50, 3).double()
    head = PartHead(CONFIG).double().eval()
    head.standardise(3 + 2 * tokens)
    near = nearest_centres(xyz, torch.randn(2, 8, 3))
    inputs = (tokens, near.index, near.weight, xyz, torch.tensor([1, 0]))
    with torch.no_grad():
        torch.testing.assert_close(head(*inputs), plain(head, *inputs), rtol=1e-12, atol=1e-12)


def test_a_head_costs_far_less_than_the_embedded_student() -> None:
    config = PartHeadConfig(width=192, parts=("a",) * 94, categories=("b",), allowed=((0,),))
    cost = part_head_macs(config, groups=64)
    report = macs("embedded:student")
    assert 5 * (cost["cloud"] + 1024 * cost["point"]) < report.budgets[0].total


def test_a_head_is_loaded_from_the_folder_of_its_model(tmp_path: Path) -> None:
    head = PartHead(CONFIG)
    save_weights(tmp_path / PART_HEAD, CONFIG, head)
    loaded = load_part_head(tmp_path)
    assert loaded.config == CONFIG
    assert not loaded.training
    torch.testing.assert_close(loaded.state_dict(), head.state_dict())
    (tmp_path / PART_HEAD / "model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="damaged"):
        load_part_head(tmp_path)


def test_a_model_without_a_head_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no head for parts; train one with `foundry-edge finetune"):
        load_part_head(tmp_path)


@pytest.mark.parametrize("allowed", [((0, 1),), ((0,), ()), ((0,), (3,))])
def test_every_category_has_parts_that_exist(allowed: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValidationError, match="parts"):
        PartHeadConfig.model_validate({**CONFIG.model_dump(), "allowed": allowed})
