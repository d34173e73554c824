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

from foundry_edge.models.dso import COSINE_SCALE, SupertokenAssignment
from foundry_edge.models.gate import Gate
from foundry_edge.models.heads import pool
from foundry_edge.models.reducer import content
from foundry_edge.models.student import Student
from foundry_edge.models.transformer import Block
from foundry_edge_export.dense import Dense, DenseBlock, DenseMlp, constant
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
        seeds = dso.query(dso.supertokens[:count])
        self.value = Dense(dso.value.weight, None)
        if self.kind == "learned":
            self.compare = Dense(seeds @ dso.key.weight / seeds.shape[1] ** 0.5, None)
            return
        self.key = Dense(dso.key.weight if self.soft else dso.key.weight.T, None)
        if self.kind == "cosine":
            directions = unit(seeds)
            self.compare = Dense(
                COSINE_SCALE * directions if self.soft else directions @ dso.key.weight, None
            )
            return
        self.query = Dense(dso.query.weight, None)
        self.seeds = constant(seeds)

    def scores(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Scores (B, c, s) of tokens and positions (B, c, d): logits where routing is soft."""
        if self.kind == "learned":
            learned: Tensor = self.compare(tokens)
            return learned
        x = content(tokens, positions)
        return self.compared(x, x[:, : self.count])

    def compared(self, x: Tensor, anchors: Tensor) -> Tensor:
        """Scores (..., n, s) of the content (..., n, d) of tokens and of the anchors (..., s, d)."""
        compared = unit(self.key(x)) if self.soft else x
        if self.kind == "cosine":
            cosine: Tensor = self.compare(compared)
            return cosine
        queries = unit(self.query(anchors) + self.seeds[: anchors.shape[-2]])
        if self.soft:
            return COSINE_SCALE * (compared @ queries.transpose(-1, -2))
        folded: Tensor = self.key(queries)
        return compared @ folded.transpose(-1, -2)

    def forward(
        self, tokens: Tensor, positions: Tensor, merging: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """SuperTokens and their positions (B, s, d), and the routes back to the tokens (B, c, s).

        Args:
            tokens: (B, c, d).
            positions: (B, c, d).
            merging: (B, c) of 0 and 1, which tokens count in the means; None means all.
        """
        scores = self.scores(tokens, positions)
        winner = scores.argmax(dim=-1, keepdim=True)
        assignment = (winner == torch.arange(self.count, device=winner.device)).to(tokens.dtype)
        share = assignment.transpose(1, 2)
        if merging is not None:
            share = share * merging.unsqueeze(1)
        size = share.sum(dim=2, keepdim=True).clamp_min(1.0)
        routes = scores.softmax(dim=-1) if self.soft else assignment
        return self.value(share @ tokens / size), share @ positions / size, routes


class RankedGate(nn.Module):
    """`Gate` for engines of fixed size: the k tokens with the lowest merge probability bypass DSO."""

    def __init__(self, gate: Gate, bypassed: int) -> None:
        super().__init__()
        self.bypassed = bypassed
        self.fc1 = Dense(gate.fc1.weight, gate.fc1.bias)
        self.fc2 = Dense(gate.fc2.weight, gate.fc2.bias)

    def logits(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Merge logits (B, c) of tokens and positions (B, c, d)."""
        logits: Tensor = self.fc2(relu(self.fc1(content(tokens, positions)))).squeeze(-1)
        return logits

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Places (B, k, c): one-hot rows of the bypassed tokens."""
        chosen = self.logits(tokens, positions).topk(self.bypassed, dim=1, largest=False).indices
        numbers = torch.arange(tokens.shape[1], device=tokens.device)
        return (chosen.unsqueeze(-1) == numbers).to(tokens.dtype)


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
        self.mixing = nn.ModuleList(DenseBlock(block) for block in _blocks(exact.mixing))
        self.blocks = nn.ModuleList(DenseBlock(block) for block in _blocks(exact.encoder.blocks))
        self.count, self.update = count, exact.config.residual == "update"
        self.cau_norm_tokens, self.cau_norm_mlp = exact.cau.norm_tokens, exact.cau.norm_mlp
        self.cau_enter = Dense(exact.cau.enter.weight, exact.cau.enter.bias)
        mlp = exact.cau.mlp
        self.cau_mlp = None if mlp is None else DenseMlp(mlp.fc1, mlp.fc2)
        self.norm = exact.encoder.norm
        self.head = None if exact.head is None else Dense(exact.head.weight, exact.head.bias)
        self.to(dtype).requires_grad_(False).eval()

    def forward(self, groups: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
        """Groups (B, c, K, 3) and centres (B, c, 3) to (tokens (B, c, d), global (B, 2d)[, logits])."""
        tokens, positions = self.mixed(groups, centers)
        if self.gate is None:
            returned = self._merged(tokens, positions)
        else:
            returned = self._gated(tokens, positions, self.gate(tokens, positions))
        features = upsampled(self, tokens, returned)
        pooled = pool(features)
        return (features, pooled) if self.head is None else (features, pooled, self.head(pooled))

    def mixed(self, groups: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and positions (B, c, d), as DSO and the gate see them."""
        tokens, positions = self.tokenizer(groups), self.position(centers)
        for block in self.mixing:
            tokens = block(tokens + positions)
        return tokens, positions

    def _encoded(self, rows: Tensor, places: Tensor) -> Tensor:
        for block in self.blocks:
            rows = block(rows + places)
        return rows

    def _merged(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """What returns to each token (B, c, d) from the SuperTokens alone."""
        merged, merged_positions, routes = self.dso(tokens, positions)
        encoded = self._encoded(merged, merged_positions)
        return self._returned(tokens, positions, merged, merged_positions, encoded, routes)

    def _gated(self, tokens: Tensor, positions: Tensor, places: Tensor) -> Tensor:
        """The same, where k tokens, at ``places`` (B, k, c), have rows of their own in the encoder."""
        merging = 1.0 - places.sum(dim=1)
        merged, merged_positions, routes = self.dso(tokens, positions, merging)
        own_positions = places @ positions
        rows = torch.cat([merged, places @ tokens], dim=1)
        encoded = self._encoded(rows, torch.cat([merged_positions, own_positions], dim=1))
        alone = encoded[:, self.count :]
        if not self.update:
            alone = alone + own_positions
        supertokens = encoded[:, : self.count]
        returned = self._returned(tokens, positions, merged, merged_positions, supertokens, routes)
        blended: Tensor = merging.unsqueeze(-1) * returned + places.transpose(1, 2) @ alone
        return blended

    def _returned(
        self,
        tokens: Tensor,
        positions: Tensor,
        merged: Tensor,
        merged_positions: Tensor,
        encoded: Tensor,
        routes: Tensor,
    ) -> Tensor:
        if not self.update:
            return routes @ encoded + positions
        passes = len(self.blocks)
        return tokens + passes * positions + routes @ (encoded - merged - passes * merged_positions)


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


def _blocks(blocks: nn.ModuleList) -> list[Block]:
    return [block for block in blocks if isinstance(block, Block)]


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
