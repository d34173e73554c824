"""Dynamic Supertoken Optimization: c tokens to s SuperTokens (Foundry section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from foundry_edge.models.config import Query, Routing
from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud, content, one_hot

COSINE_SCALE = 20.0


class SupertokenAssignment(Reducer):
    """Assigns every token to one SuperToken and averages the values assigned.

    ``learned`` queries are the paper's: logits = (Wq S_k) . (Wk t_j) / sqrt(d). They collapse on a real
    teacher, whose tokens have large norms: the longest query takes everything. ``cosine`` queries compare
    directions only: logits = 20 cos(Wk x_j, Wq S_k) with x = LN(T) + LN(positions). ``anchored`` queries
    are seeded by the data too: S_k + x_k in place of S_k. Centres come in FPS order, so token k is itself
    the k-th farthest sample, and any prefix of SuperTokens is a valid smaller budget.

    With ``routing="soft"`` a token receives from all SuperTokens, weighted by the softmax of its logits;
    it still gives to one alone.
    """

    def __init__(self, width: int, most: int, query: Query, routing: Routing = "hard") -> None:
        super().__init__(width)
        self.query_kind = query
        self.routing = routing
        self.supertokens = nn.Parameter(torch.zeros(most, width))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        nn.init.trunc_normal_(self.supertokens, std=1.0 if query == "cosine" else 0.02)
        for layer in (self.query, self.key):
            nn.init.eye_(layer.weight)

    def logits(self, tokens: Tensor, positions: Tensor, count: int) -> Tensor:
        """Assignment logits (B, c, s) of tokens (B, c, d) without positions, and positions (B, c, d)."""
        seeds = self.supertokens[:count]
        if self.query_kind == "learned":
            dots: Tensor = self.key(tokens) @ self.query(seeds).T
            return dots / math.sqrt(tokens.shape[-1])
        x = content(tokens, positions)
        keys = normalize(self.key(x), dim=-1, eps=1e-6)
        cosines: Tensor = keys @ self._queries(x, count).transpose(1, 2)
        return COSINE_SCALE * cosines

    def scores(self, tokens: Tensor, positions: Tensor, count: int) -> Tensor:
        """What has the argmax of `logits` (B, c, s), with s products by Wk in place of c.

        (Wk x) . q = x . (q Wk); a token's own length and the scale leave its argmax as it is.
        """
        if self.query_kind == "learned":
            learned: Tensor = self.query(self.supertokens[:count]) @ self.key.weight
            return tokens @ learned.T
        x = content(tokens, positions)
        return x @ (self._queries(x, count) @ self.key.weight).transpose(1, 2)

    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """Hard, by the largest logit; in training straight-through Gumbel-Softmax."""
        if sampling is None and self.routing == "hard":
            hard = assign(self.scores(cloud.tokens, cloud.positions, count), None)
            return Assignment(hard, hard)
        logits = self.logits(cloud.tokens, cloud.positions, count)
        hard = assign(logits, sampling)
        return Assignment(hard, logits.softmax(dim=-1) if self.routing == "soft" else hard)

    def _queries(self, x: Tensor, count: int) -> Tensor:
        """Directions of the SuperTokens (B, s, d), for the content x (B, c, d) of the tokens."""
        anchors = x[:, :count] if self.query_kind == "anchored" else torch.zeros_like(x[:, :count])
        queries: Tensor = self.query(self.supertokens[:count] + anchors)
        return normalize(queries, dim=-1, eps=1e-6)


def assign(logits: Tensor, sampling: Sampling | None) -> Tensor:
    """One-hot assignment (B, c, s) of logits (B, c, s), FP32 or wider; sampling adds noise and gradients."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if sampling is None:
        return one_hot(logits.argmax(dim=-1), logits.shape[-1], logits.dtype)
    uniform = sampling.uniform(*logits.shape[1:]).to(logits.device).clamp(1e-9, 1 - 1e-7)
    soft = ((logits - (-uniform.log()).log()) / sampling.temperature).softmax(dim=-1)
    return one_hot(soft.argmax(dim=-1), soft.shape[-1], soft.dtype) + soft - soft.detach()


def usage(assignment: Tensor) -> dict[str, float]:
    """SuperTokens in use per cloud, and the entropy of their sizes relative to an even split (0..1).

    Args:
        assignment: (B, c, s), one-hot rows.
    """
    share = assignment.detach().float().mean(dim=1)
    entropy = -(share * share.clamp_min(1e-9).log()).sum(dim=1).mean()
    even = torch.log(torch.tensor(float(max(assignment.shape[-1], 2))))
    return {"in_use": float((share > 0).sum(dim=1).float().mean()), "entropy": float(entropy / even)}
