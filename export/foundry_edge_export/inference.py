"""The student as it is deployed: everything that depends on weights alone is computed once, beforehand.

Folded exactly (in float64, then rounded to float32): the tokenizer's batch norms and the two linear maps
that no ReLU separates, and DSO's query projection of the learned SuperTokens. Linear maps hold their weight
as (in, out), so a graph traced from this module has one MatMul per map and no transposes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm, relu

from foundry_edge.models.dso import COSINE_SCALE, SupertokenAssignment
from foundry_edge.models.heads import pool
from foundry_edge.models.student import Student
from foundry_edge.models.tokenizer import Tokenizer, fold_batch_norm
from foundry_edge.models.transformer import Attention, Block
from foundry_edge_runtime.errors import InputError


class Dense(nn.Module):
    """x @ weight + bias with weight (in, out); bias (out,) may be absent."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = _constant(weight.T)
        self.bias = None if bias is None else _constant(bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class FoldedTokenizer(nn.Module):
    """`Tokenizer` in eval mode, with its constants folded."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        weight1, bias1 = fold_batch_norm(tokenizer.conv1, tokenizer.norm1)
        weight3, bias3 = fold_batch_norm(tokenizer.conv3, tokenizer.norm2)
        pooled_part, point_part = weight3.chunk(2, dim=1)
        bias2 = tokenizer.conv2.bias
        self.enter = Dense(weight1, bias1)
        self.pooled = Dense(tokenizer.conv2.weight, None)
        self.pooled_bias = _constant(bias2)
        self.group = Dense(pooled_part, bias3 + point_part @ bias2)
        self.point = Dense(point_part @ tokenizer.conv2.weight, None)
        self.leave = Dense(tokenizer.conv4.weight, None)
        self.leave_bias = _constant(tokenizer.conv4.bias)
        reduce = tokenizer.reduce
        self.reduce = None if reduce is None else Dense(reduce.weight, reduce.bias)

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3) to tokens (B, c, d)."""
        hidden = relu(self.enter(groups))
        pooled = self.pooled(hidden).amax(dim=2) + self.pooled_bias
        hidden = relu(self.point(hidden) + self.group(pooled).unsqueeze(2))
        tokens: Tensor = self.leave(hidden).amax(dim=2) + self.leave_bias
        if self.reduce is not None:
            tokens = self.reduce(tokens)
        return tokens


class FoldedAssignment(nn.Module):
    """`SupertokenAssignment` for one budget: hard assignment, queries folded, values on s rows."""

    def __init__(self, dso: SupertokenAssignment, count: int) -> None:
        super().__init__()
        self.count = count
        self.learned = dso.query_kind == "learned"
        self.soft = dso.routing == "soft"
        seeds = dso.supertokens[:count]
        self.value = Dense(dso.value.weight, None)
        if self.learned:
            scale = seeds.shape[1] ** 0.5
            self.compare = Dense(dso.query(seeds) @ dso.key.weight / scale, None)
            return
        self.key = Dense(dso.key.weight, None)
        self.query = Dense(dso.query.weight, None)
        self.seeds = _constant(dso.query(seeds))

    def logits(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Assignment logits (B, c, s) of tokens and positions (B, c, d)."""
        if self.learned:
            logits: Tensor = self.compare(tokens)
            return logits
        width = (tokens.shape[-1],)
        content = layer_norm(tokens, width) + layer_norm(positions, width)
        queries = _unit(self.query(content[:, : self.count]) + self.seeds)
        keys = _unit(self.key(content))
        return COSINE_SCALE * (keys @ queries.transpose(1, 2))

    def forward(self, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """SuperTokens and their positions (B, s, d), and the routes back to the tokens (B, c, s)."""
        logits = self.logits(tokens, positions)
        winner = logits.argmax(dim=-1, keepdim=True)
        assignment = (winner == torch.arange(self.count, device=winner.device)).to(tokens.dtype)
        share = assignment.transpose(1, 2)
        size = share.sum(dim=2, keepdim=True).clamp_min(1.0)
        routes = logits.softmax(dim=-1) if self.soft else assignment
        return self.value(share @ tokens / size), share @ positions / size, routes


class DenseAttention(nn.Module):
    """`Attention` with its maps as `Dense`."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv = Dense(attention.qkv.weight, attention.qkv.bias)
        self.proj = Dense(attention.proj.weight, attention.proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        count, width = x.shape[1:]
        per_head = width // self.heads
        qkv = self.qkv(x).reshape(-1, count, 3, self.heads, per_head).permute(2, 0, 3, 1, 4)
        weights = (qkv[0] @ qkv[1].transpose(2, 3) / per_head**0.5).softmax(dim=-1)
        out: Tensor = self.proj((weights @ qkv[2]).transpose(1, 2).reshape(-1, count, width))
        return out


class DenseMlp(nn.Module):
    """Two `Dense` with a GELU between."""

    def __init__(self, fc1: nn.Linear, fc2: nn.Linear) -> None:
        super().__init__()
        self.fc1 = Dense(fc1.weight, fc1.bias)
        self.fc2 = Dense(fc2.weight, fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out


class DenseBlock(nn.Module):
    """`Block` with its maps as `Dense`."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attn = DenseAttention(block.attn)
        self.mlp = DenseMlp(block.mlp.fc1, block.mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class InferenceStudent(nn.Module):
    """A student with ``count`` SuperTokens, ready to be traced; computes what `Student.forward` does.

    Args:
        student: left unchanged; its weights are copied.
        count: s, one of the student's budgets.
        dtype: float64 gives the reference of the parity gate.
    """

    def __init__(self, student: Student, count: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        exact = _double(student)
        self.tokenizer = FoldedTokenizer(exact.tokenizer)
        self.position = DenseMlp(exact.position.fc1, exact.position.fc2)
        self.dso = FoldedAssignment(_assignment(exact), count)
        self.mixing = nn.ModuleList(DenseBlock(block) for block in _blocks(exact.mixing))
        self.blocks = nn.ModuleList(DenseBlock(block) for block in _blocks(exact.encoder.blocks))
        self.update = exact.config.residual == "update"
        self.cau_norm_tokens, self.cau_norm_mlp = exact.cau.norm_tokens, exact.cau.norm_mlp
        self.cau_enter = Dense(exact.cau.enter.weight, exact.cau.enter.bias)
        self.cau_mlp = DenseMlp(exact.cau.mlp.fc1, exact.cau.mlp.fc2)
        self.norm = exact.encoder.norm
        self.head = None if exact.head is None else Dense(exact.head.weight, exact.head.bias)
        self.to(dtype).requires_grad_(False).eval()

    def forward(self, groups: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
        """Groups (B, c, K, 3) and centres (B, c, 3) to (tokens (B, c, d), global (B, 2d)[, logits])."""
        tokens, positions = self.tokenizer(groups), self.position(centers)
        for block in self.mixing:
            tokens = block(tokens + positions)
        merged, merged_positions, routes = self.dso(tokens, positions)
        x = merged
        for block in self.blocks:
            x = block(x + merged_positions)
        if self.update:
            passes = len(self.blocks)
            returned = tokens + passes * positions + routes @ (x - merged - passes * merged_positions)
        else:
            returned = routes @ x + positions
        y = returned + self.cau_enter(self.cau_norm_tokens(tokens))
        features = self.norm(y + self.cau_mlp(self.cau_norm_mlp(y)))
        pooled = pool(features)
        return (features, pooled) if self.head is None else (features, pooled, self.head(pooled))


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
    if not isinstance(dso, SupertokenAssignment) or dso.query_kind == "cosine" or student.gate is not None:
        found = "a gate" if student.gate is not None else f"{student.config.method}, {student.config.query}"
        raise InputError(
            f"a student with {found} has no exported form",
            remedy="distil with anchored or learned queries and no gate",
        )
    return dso


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return unit
