"""Dynamic Supertoken Optimization: c tokens to s SuperTokens (Foundry section 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from foundry_edge.models.config import Query, Routing
from foundry_edge.models.reducer import Assignment, Reducer, Sampling, TokenCloud, one_hot

COSINE_SCALE = 20.0
NEARNESS = 120.0
"""What a located logit loses per squared distance between centres, in clouds of radius 1."""


class SupertokenAssignment(Reducer):
    """Assigns every token to one SuperToken and averages the values assigned.

    ``learned`` queries are the paper's: logits = (Wq S_k) . (Wk t_j) / sqrt(d). They collapse on a real
    teacher, whose tokens have large norms: the longest query takes everything. ``cosine`` queries compare
    directions only: logits = 20 cos(Wk x_j, Wq S_k) with x = LN(T) + LN(positions). ``anchored`` queries
    are seeded by the data too: S_k + x_k in place of S_k. Centres come in FPS order, so token k is itself
    the k-th farthest sample, and any prefix of SuperTokens is a valid smaller budget. ``located`` queries are
    anchored, and a SuperToken has the place of its anchor too: with the centres c,
    logits = 20 (Wk x_j) . q_k / sqrt(2d) - 120 |c_j - c_k|^2, q_k of length 1. As superpixels are made
    (Jampani et al. 2018): place holds the SuperTokens apart while the content is not yet learned.

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

    def logits(self, cloud: TokenCloud, count: int) -> Tensor:
        """Assignment logits (B, c, s); those of ``located`` lack -120 |c_j|^2, which no softmax sees."""
        scores = self.scores(cloud, count)
        if self.query_kind == "located":
            return scores
        if self.query_kind == "learned":
            return scores / math.sqrt(cloud.tokens.shape[-1])
        lengths: Tensor = self.key(cloud.content()).norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return COSINE_SCALE * scores / lengths

    def scores(self, cloud: TokenCloud, count: int) -> Tensor:
        """What has the argmax of `logits` (B, c, s), with s products by Wk in place of c.

        (Wk x) . q = x . (q Wk); a token's own length and the scale leave its argmax as it is.
        """
        if self.query_kind == "learned":
            learned: Tensor = self.query(self.supertokens[:count]) @ self.key.weight
            return cloud.tokens @ learned.T
        x = cloud.content()
        compared = x @ (self._queries(x, count) @ self.key.weight).transpose(1, 2)
        if self.query_kind != "located":
            return compared
        return content_scale(x.shape[-1]) * compared + nearness(cloud.centers, cloud.centers[:, :count])

    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """Hard, by the largest logit; in training straight-through Gumbel-Softmax."""
        if sampling is None and self.routing == "hard":
            hard = assign(self.scores(cloud, count), None)
            return Assignment(hard, hard)
        logits = self.logits(cloud, count)
        hard = assign(logits, sampling)
        return Assignment(hard, logits.softmax(dim=-1) if self.routing == "soft" else hard)

    def _queries(self, x: Tensor, count: int) -> Tensor:
        """Directions of the SuperTokens (B, s, d), for the content x (B, c, d) of the tokens."""
        anchors = torch.zeros_like(x[:, :count]) if self.query_kind == "cosine" else x[:, :count]
        queries: Tensor = self.query(self.supertokens[:count] + anchors)
        return normalize(queries, dim=-1, eps=1e-6)


def content_scale(width: int) -> float:
    """For located queries, in place of the cosine's division: LN(T) and LN(positions) have length sqrt(d)."""
    return COSINE_SCALE / math.sqrt(2 * width)


def nearness(centers: Tensor, anchors: Tensor) -> Tensor:
    """-120 |c - a|^2 + 120 |c|^2 (..., n, s) of centres c (..., n, 3) and anchors a (..., s, 3)."""
    squares = anchors.square().sum(dim=-1).unsqueeze(-2)
    return centers @ (2 * NEARNESS * anchors).transpose(-1, -2) - NEARNESS * squares


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
