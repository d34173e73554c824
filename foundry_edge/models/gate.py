"""Foundry-Gate: which tokens are worth a place of their own in the encoder (Foundry section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from foundry_edge.models.reducer import Sampling, one_hot

START = 1.1
"""Merge logit at the start: a merge probability of 0.75."""


class Gate(nn.Module):
    """Two-layer MLP: what tokens are compared by (B, c, d) to merge logits (B, c)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, max(width // 4, 1))
        self.fc2 = nn.Linear(max(width // 4, 1), 1)
        nn.init.trunc_normal_(self.fc2.weight, std=0.02)
        nn.init.constant_(self.fc2.bias, START)

    def forward(self, content: Tensor) -> Tensor:
        """Merge logits; the merge probability pi is their sigmoid."""
        logits: Tensor = self.fc2(relu(self.fc1(content))).squeeze(-1)
        return logits


@dataclass(frozen=True)
class Bypass:
    """The tokens that enter the encoder beside the SuperTokens.

    Attributes:
        index: (B, k) int64, the tokens that have a row.
        valid: (B, k) bool, False for the row of a merged token, which nothing attends to; None when there
            is none of those.
        merge: (B, c) of 0 and 1, tokens that go through DSO; carries the gate's gradient in training.
    """

    index: Tensor
    valid: Tensor | None
    merge: Tensor

    def select(self, x: Tensor) -> Tensor:
        """Rows (B, k, d) of x (B, c, d)."""
        return x.gather(1, self.index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))

    def blend(self, returned: Tensor, rows: Tensor) -> Tensor:
        """What SuperTokens returned (B, c, d), with the rows (B, k, d) of bypassed tokens in their places."""
        place = one_hot(self.index, self.merge.shape[1], rows.dtype).transpose(1, 2)
        alone = (1 - self.merge).unsqueeze(-1) * place.sum(dim=2, keepdim=True)
        return returned + alone * (place @ rows - returned)


def sampled(logits: Tensor, sampling: Sampling) -> Bypass:
    """In training: each token merges with probability pi.

    Beside the bypassed tokens, as many of the merged ones that came closest have a row, masked, so that the
    gate learns what bypassing them would have changed.

    Args:
        logits: (B, c).
        sampling: noise, and the temperature of the relaxation that carries the gradient.
    """
    logits = logits.float()
    uniform = sampling.uniform(logits.shape[1]).to(logits.device).clamp(1e-6, 1 - 1e-6)
    noisy = logits + uniform.logit()
    soft = (noisy / sampling.temperature).sigmoid()
    hard = (noisy > 0).to(soft.dtype)
    most = int((hard == 0).sum(dim=1).max())
    index = noisy.argsort(dim=1)[:, : 2 * most + 2]
    return Bypass(index, hard.gather(1, index) == 0, hard + soft - soft.detach())


def thresholded(logits: Tensor, threshold: float) -> Bypass:
    """At inference: tokens with pi > r merge; as many rows as the cloud with the most bypassed tokens has.

    Args:
        logits: (B, c).
        threshold: r, 0 merges all, 1 none.
    """
    merge = logits.sigmoid() > threshold
    most = int((~merge).sum(dim=1).max())
    index = merge.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    valid = ~merge.gather(1, index)
    return Bypass(index, None if bool(valid.all()) else valid, merge.to(logits.dtype))


def ranked(logits: Tensor, bypassed: int) -> Bypass:
    """For engines of fixed size: the ``bypassed`` tokens with the lowest pi bypass, the others merge.

    Plain operators (TopK, comparison, sum) with static shapes, so that it can be traced.
    """
    index = logits.topk(bypassed, dim=1, largest=False).indices
    merge = 1 - one_hot(index, logits.shape[1], logits.dtype).sum(dim=1)
    return Bypass(index, None, merge)
