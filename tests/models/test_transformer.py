"""Attention written out for bfloat16 training is the attention of the fused kernel."""

from __future__ import annotations

import pytest
import torch

from foundry_edge.models.transformer import Attention


@pytest.mark.parametrize("masked", [False, True])
def test_training_in_bfloat16_computes_and_learns_the_same(masked: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(48, 3, qkv_bias=True)
    x = torch.randn(2, 10, 48)
    mask = torch.arange(10).expand(2, 1, 1, 10) < 7 if masked else None
    exact = Attention(48, 3, qkv_bias=True).double()
    exact.load_state_dict(attention.state_dict())
    wanted = exact(x.double(), mask)
    wanted.square().sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(x, mask)
    found.float().square().sum().backward()
    assert float((found - wanted).detach().norm() / wanted.detach().norm()) < 0.01
    for mine, theirs in zip(attention.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert float((mine.grad - theirs.grad).norm() / theirs.grad.norm()) < 0.02
