"""Dynamic Supertoken Optimization: c tokens to s SuperTokens (Foundry section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from foundry_edge.models.config import Query

COSINE_SCALE = 20.0


class SupertokenAssignment(nn.Module):
    """Assigns every token to one SuperToken and averages the values assigned.

    ``learned`` queries are the paper's: logits = (Wq S_k) . (Wk t_j) / sqrt(d). They collapse on a real
    teacher, whose tokens have large norms: the longest query takes everything. ``anchored`` queries are
    seeded by the data and compare directions only: logits = 20 cos(Wk x_j, Wq (S_k + x_k)) with
    x = LN(T) + LN(positions). Centres come in FPS order, so token k is itself the k-th farthest sample,
    and any prefix of SuperTokens is a valid smaller budget.
    """

    def __init__(self, width: int, most: int, query: Query) -> None:
        super().__init__()
        self.query_kind = query
        self.supertokens = nn.Parameter(torch.zeros(most, width))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        nn.init.trunc_normal_(self.supertokens, std=0.02)
        for layer in (self.query, self.key, self.value):
            nn.init.eye_(layer.weight)

    def logits(self, tokens: Tensor, positions: Tensor, count: int) -> Tensor:
        """Assignment logits (B, c, s) of tokens (B, c, d) without positions, and positions (B, c, d)."""
        width = tokens.shape[-1]
        seeds = self.supertokens[:count]
        if self.query_kind == "learned":
            dots: Tensor = self.key(tokens) @ self.query(seeds).T
            return dots / math.sqrt(width)
        content = layer_norm(tokens, (width,)) + layer_norm(positions, (width,))
        queries = normalize(self.query(seeds + content[:, :count]), dim=-1, eps=1e-6)
        keys = normalize(self.key(content), dim=-1, eps=1e-6)
        cosines: Tensor = keys @ queries.transpose(1, 2)
        return COSINE_SCALE * cosines

    def forward(
        self, tokens: Tensor, positions: Tensor, count: int, temperature: float | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Merge tokens.

        Args:
            tokens: (B, c, d), before positions are added.
            positions: (B, c, d).
            count: s, SuperTokens to use.
            temperature: of Gumbel-Softmax with a straight-through gradient; None is the hard argmax.

        Returns:
            SuperTokens (B, s, d), their mean positions (B, s, d), and the assignment CAM (B, c, s), one-hot
            rows. An empty SuperToken is zero.
        """
        assignment = assign(self.logits(tokens, positions, count), temperature)
        size = assignment.sum(dim=1).unsqueeze(-1).clamp_min(1.0)
        share = assignment.transpose(1, 2)
        return self.value(share @ tokens / size), share @ positions / size, assignment


def assign(logits: Tensor, temperature: float | None) -> Tensor:
    """One-hot assignment (B, c, s) of logits (B, c, s), FP32 or wider; a temperature adds soft gradients."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if temperature is None:
        numbers = torch.arange(logits.shape[-1], device=logits.device)
        return (logits.argmax(dim=-1, keepdim=True) == numbers).to(logits.dtype)
    uniform = torch.rand(logits.shape, device=logits.device).clamp_(1e-9, 1 - 1e-7)
    soft = ((logits - (-uniform.log()).log()) / temperature).softmax(dim=-1)
    winner = soft.argmax(dim=-1, keepdim=True)
    one_hot = torch.zeros_like(soft).scatter_(-1, winner, 1.0)
    return one_hot + soft - soft.detach()


def usage(assignment: Tensor) -> dict[str, float]:
    """SuperTokens in use per cloud, and the entropy of their sizes relative to an even split (0..1).

    Args:
        assignment: (B, c, s), one-hot rows.
    """
    share = assignment.detach().float().mean(dim=1)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(dim=1).mean()
    even = torch.log(torch.tensor(float(max(assignment.shape[-1], 2))))
    return {"in_use": float((share > 0).sum(dim=1).float().mean()), "entropy": float(entropy / even)}
