"""The folded tokenizer is the published one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foundry_edge.models.lite_tokenizer import LiteTokenizer
from foundry_edge.models.tokenizer import Tokenizer


@pytest.mark.parametrize("conv_bias", [False, True])
def test_folded_form_equals_published_form_in_double_precision(conv_bias: bool) -> None:
    torch.manual_seed(0)
    tokenizer = Tokenizer(48, conv_bias)
    groups = torch.randn(4, 16, 8, 3) * 0.1
    tokenizer.eval().calibrate_batch_norm(groups)
    with torch.no_grad():
        tokenizer.norm1.weight.uniform_(0.5, 1.5)
        tokenizer.norm2.bias.normal_()
        folded = tokenizer(groups)
        reference = tokenizer.double().forward_reference(groups.double().flatten(0, 1)).view_as(folded)
    assert float((folded - reference).abs().max() / reference.abs().max()) < 1e-6


def test_calibration_standardises_the_hidden_layers_and_restores_the_mode() -> None:
    torch.manual_seed(0)
    tokenizer = Tokenizer(48, False).eval()
    groups = torch.randn(4, 16, 8, 3)
    tokenizer.calibrate_batch_norm(groups)
    assert not tokenizer.norm1.training
    assert tokenizer.norm1.momentum == pytest.approx(0.1)
    with torch.no_grad():
        hidden: Tensor = tokenizer.norm1(tokenizer.conv1(groups.flatten(0, 1)).flatten(0, 1))
    assert float(hidden.mean().abs()) < 1e-4
    assert float((hidden.std(dim=0) - 1).abs().max()) < 1e-2


def test_gradients_flow_through_the_folded_form() -> None:
    tokenizer = Tokenizer(48, False).eval()
    tokenizer(torch.randn(1, 4, 8, 3)).sum().backward()
    for name, parameter in tokenizer.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("hidden", [8, 12])
def test_a_wider_light_tokenizer_starts_as_a_narrower_one_and_learns_with_all_of_it(hidden: int) -> None:
    torch.manual_seed(0)
    narrow, wide = LiteTokenizer(48, 8), LiteTokenizer(48, hidden)
    wide.start_from(narrow)
    groups = torch.randn(2, 4, 8, 3) * 0.1
    torch.testing.assert_close(wide(groups), narrow(groups))
    wide(groups).square().sum().backward()
    assert wide.leave.weight.grad is not None
    assert bool(wide.leave.weight.grad[:, 8 * 8 :].any()) == (hidden > 8)
