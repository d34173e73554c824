"""The student as it is deployed: everything that depends on weights alone is computed once, beforehand.

Folded exactly (in float64, then rounded to float32): the tokenizer's batch norms and the two linear maps
that no ReLU separates, and DSO's query projection of the learned SuperTokens. Linear maps hold their weight
as (in, out), so a graph traced from this module has one MatMul per map and no transposes. With a gate, a
fixed number of tokens bypasses DSO, chosen by rank, so that every shape is static.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from foundry_edge.models.dso import COSINE_SCALE, SupertokenAssignment, content_scale, nearness
from foundry_edge.models.gate import Gate
from foundry_edge.models.heads import pool
from foundry_edge.models.reducer import TokenCloud
from foundry_edge.models.student import Student
from foundry_edge_export.dense import Dense, DenseHead, DenseMlp, constant, dense_block
from foundry_edge_export.folded_tokenizer import folded_tokenizer
from foundry_edge_runtime.errors import InputError


class FoldedAssignment(nn.Module):
    """`SupertokenAssignment` for one budget: hard assignment, queries folded, values on s rows.

    Unless routing is soft, no key is computed: queries take their matrix (`SupertokenAssignment.scores`).
    """

    def __init__(self, dso: SupertokenAssignment, count: int) -> None:
        super().__init__()
        self.count = count
        self.kind = dso.query_kind
        self.soft = dso.routing == "soft"
        self.located = dso.query_kind == "located"
        self.lengths = self.soft and not self.located
        seeds = dso.query(dso.supertokens[:count])
        self.value = Dense(dso.value.weight, None)
        if self.kind == "learned":
            self.compare = Dense(seeds @ dso.key.weight / seeds.shape[1] ** 0.5, None)
            return
        scale = content_scale(seeds.shape[1]) if self.located else 1.0
        self.key = Dense(dso.key.weight if self.lengths else scale * dso.key.weight.T, None)
        if self.kind == "cosine":
            directions = unit(seeds)
            self.compare = Dense(
                COSINE_SCALE * directions if self.soft else directions @ dso.key.weight, None
            )
            return
        self.query = Dense(dso.query.weight, None)
        self.seeds = constant(seeds)

    def scores(self, cloud: TokenCloud) -> Tensor:
        """Scores (B, c, s): logits where routing is soft."""
        if self.kind == "learned":
            learned: Tensor = self.compare(cloud.tokens)
            return learned
        x, centers = cloud.content(), cloud.centers
        return self.compared(x, x[:, : self.count], centers, centers[:, : self.count])

    def compared(self, x: Tensor, anchors: Tensor, centers: Tensor, anchor_centers: Tensor) -> Tensor:
        """Scores (..., n, s) of tokens for SuperTokens.

        Args:
            x, centers: (..., n, d) and (..., n, 3), content and centres of the tokens.
            anchors, anchor_centers: (..., s, d) and (..., s, 3), of the tokens that are anchors.
        """
        compared = unit(self.key(x)) if self.lengths else x
        if self.kind == "cosine":
            cosine: Tensor = self.compare(compared)
            return cosine
        queries = unit(self.query(anchors) + self.seeds[: anchors.shape[-2]])
        if self.lengths:
            return COSINE_SCALE * (compared @ queries.transpose(-1, -2))
        folded: Tensor = self.key(queries)
        scores = compared @ folded.transpose(-1, -2)
        return scores + nearness(centers, anchor_centers) if self.located else scores

    def forward(self, cloud: TokenCloud, merging: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """SuperTokens and their positions (B, s, d), and the routes back to the tokens (B, c, s).

        Args:
            cloud: tokens, positions (B, c, d) and centres (B, c, 3).
            merging: (B, c) of 0 and 1, which tokens count in the means; None means all.
        """
        scores = self.scores(cloud)
        winner = scores.argmax(dim=-1, keepdim=True)
        assignment = (winner == torch.arange(self.count, device=winner.device)).to(scores.dtype)
        share = assignment.transpose(1, 2)
        if merging is not None:
            share = share * merging.unsqueeze(1)
        size = share.sum(dim=2, keepdim=True).clamp_min(1.0)
        routes = scores.softmax(dim=-1) if self.soft else assignment
        return self.value(share @ cloud.tokens / size), share @ cloud.positions / size, routes


class RankedGate(nn.Module):
    """`Gate` for engines of fixed size: the k tokens with the lowest merge probability bypass DSO."""

    def __init__(self, gate: Gate, bypassed: int) -> None:
        super().__init__()
        self.bypassed = bypassed
        self.fc1 = Dense(gate.fc1.weight, gate.fc1.bias)
        self.fc2 = Dense(gate.fc2.weight, gate.fc2.bias)

    def logits(self, content: Tensor) -> Tensor:
        """Merge logits (B, c) of what tokens are compared by (B, c, d)."""
        logits: Tensor = self.fc2(relu(self.fc1(content))).squeeze(-1)
        return logits

    def forward(self, content: Tensor) -> Tensor:
        """Places (B, k, c): one-hot rows of the bypassed tokens."""
        chosen = self.logits(content).topk(self.bypassed, dim=1, largest=False).indices
        numbers = torch.arange(content.shape[1], device=content.device)
        return (chosen.unsqueeze(-1) == numbers).to(content.dtype)


class InferenceStudent(nn.Module):
    """A student with ``count`` SuperTokens, ready to be traced; computes what `FixedStudent` does.

    Args:
        student: left unchanged; its weights are copied.
        count: s, one of the student's budgets.
        dtype: float64 gives the reference of the parity gate.
        bypassed: k, tokens that the gate lets past DSO; 0 for a student without a gate.

    Raises:
        InputError: tokens are to bypass a gate that the student does not have.
    """

    def __init__(
        self, student: Student, count: int, dtype: torch.dtype = torch.float32, bypassed: int = 0
    ) -> None:
        super().__init__()
        exact = _double(student)
        self.tokenizer = folded_tokenizer(exact.tokenizer)
        self.position = DenseMlp(exact.position.fc1, exact.position.fc2)
        self.dso = FoldedAssignment(_assignment(exact), count)
        self.gate = RankedGate(_gate(exact), bypassed) if bypassed else None
        self.mixing = nn.ModuleList(map(dense_block, exact.mixing))
        self.blocks = nn.ModuleList(map(dense_block, exact.encoder.blocks))
        self.count, self.update = count, exact.config.residual == "update"
        self.cau_norm_tokens, self.cau_norm_mlp = exact.cau.norm_tokens, exact.cau.norm_mlp
        self.cau_enter = Dense(exact.cau.enter.weight, exact.cau.enter.bias)
        mlp = exact.cau.mlp
        self.cau_mlp = None if mlp is None else DenseMlp(mlp.fc1, mlp.fc2)
        self.norm = exact.encoder.norm
        self.head = None if exact.head is None else DenseHead(exact.head)
        self.to(dtype).requires_grad_(False).eval()

    def forward(self, groups: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
        """Groups (B, c, K, 3) and centres (B, c, 3) to (tokens (B, c, d), global (B, 2d)[, logits])."""
        cloud = self.mixed(groups, centers)
        if self.gate is None:
            returned = self._merged(cloud)
        else:
            returned = self._gated(cloud, self.gate(cloud.content()))
        features = upsampled(self, cloud.tokens, returned)
        pooled = pool(features)
        return (features, pooled) if self.head is None else (features, pooled, self.head(pooled))

    def mixed(self, groups: Tensor, centers: Tensor) -> TokenCloud:
        """What DSO and the gate see."""
        tokens, positions = self.tokenizer(groups), self.position(centers)
        for block in self.mixing:
            tokens = block(tokens + positions)
        return TokenCloud(tokens, positions, centers)

    def _encoded(self, rows: Tensor, places: Tensor) -> Tensor:
        for block in self.blocks:
            rows = block(rows + places)
        return rows

    def _merged(self, cloud: TokenCloud) -> Tensor:
        """What returns to each token (B, c, d) from the SuperTokens alone."""
        merged, merged_positions, routes = self.dso(cloud)
        encoded = self._encoded(merged, merged_positions)
        return self._returned(cloud, merged, merged_positions, encoded, routes)

    def _gated(self, cloud: TokenCloud, places: Tensor) -> Tensor:
        """The same, where k tokens, at ``places`` (B, k, c), have rows of their own in the encoder."""
        merging = 1.0 - places.sum(dim=1)
        merged, merged_positions, routes = self.dso(cloud, merging)
        own_positions = places @ cloud.positions
        rows = torch.cat([merged, places @ cloud.tokens], dim=1)
        encoded = self._encoded(rows, torch.cat([merged_positions, own_positions], dim=1))
        alone = encoded[:, self.count :]
        if not self.update:
            alone = alone + own_positions
        supertokens = encoded[:, : self.count]
        returned = self._returned(cloud, merged, merged_positions, supertokens, routes)
        blended: Tensor = merging.unsqueeze(-1) * returned + places.transpose(1, 2) @ alone
        return blended

    def _returned(
        self, cloud: TokenCloud, merged: Tensor, merged_positions: Tensor, encoded: Tensor, routes: Tensor
    ) -> Tensor:
        if not self.update:
            return routes @ encoded + cloud.positions
        passes = len(self.blocks)
        change = encoded - merged - passes * merged_positions
        return cloud.tokens + passes * cloud.positions + routes @ change


class Upsampling(Protocol):
    """What holds CAU's maps and the final norm."""

    cau_norm_tokens: nn.LayerNorm
    cau_enter: Dense
    cau_norm_mlp: nn.LayerNorm | None
    cau_mlp: DenseMlp | None
    norm: nn.LayerNorm


def upsampled(maps: Upsampling, tokens: Tensor, returned: Tensor) -> Tensor:
    """Tokens and what returned to them (..., d) to features (..., d), as `CrossAttentionUpsampling`."""
    y = returned + maps.cau_enter(maps.cau_norm_tokens(tokens))
    if maps.cau_mlp is not None and maps.cau_norm_mlp is not None:
        y = y + maps.cau_mlp(maps.cau_norm_mlp(y))
    features: Tensor = maps.norm(y)
    return features


def _double(student: Student) -> Student:
    exact = Student(student.config)
    exact.load_state_dict(student.state_dict())
    return exact.double().requires_grad_(False)


def _assignment(student: Student) -> SupertokenAssignment:
    """The student's DSO.

    Raises:
        InputError: it is of a form that has no graph.
    """
    dso = student.dso
    if not isinstance(dso, SupertokenAssignment):
        raise InputError(
            f"a student with --method {student.config.method} has no exported form",
            remedy="distil with --method dso",
        )
    return dso


def _gate(student: Student) -> Gate:
    """The student's gate.

    Raises:
        InputError: it has none.
    """
    if student.gate is None:
        raise InputError(
            "the student has no gate", where="--bypass", remedy="leave it out, or distil with --gate"
        )
    return student.gate


def unit(x: Tensor) -> Tensor:
    """Rows of length 1; rows of almost no length stay short."""
    unit: Tensor = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return unit
