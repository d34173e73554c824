"""Linear maps and transformer blocks as they are deployed: weights as (in, out), one MatMul a map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

from foundry_edge.models.heads import ClassificationHead
from foundry_edge.models.transformer import Attention, AttentionBlock, Block


class Dense(nn.Module):
    """x @ weight + bias with weight (in, out); bias (out,) may be absent."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = constant(weight.T)
        self.bias = None if bias is None else constant(bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class DenseAttention(nn.Module):
    """`Attention` with its maps as `Dense`, and one bias of its qkv left.

    A bias of the keys adds the same to all logits of a query, which Softmax does not see. One of the values
    is added to every weighted mean, whose weights sum to 1, so the projection's bias can hold it.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.qkv = Dense(attention.qkv.weight, None)
        query = value = None
        if attention.qkv.bias is not None:
            query, _, value = attention.qkv.bias.chunk(3)
        self.query_bias = None if query is None else constant(query)
        proj = attention.proj
        bias = proj.bias if value is None else proj.bias + proj.weight @ value
        self.proj = Dense(proj.weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        count, width = x.shape[1:]
        per_head = width // self.heads
        query, key, value = self.qkv(x).split(width, dim=-1)
        if self.query_bias is not None:
            query = query + self.query_bias
        query, key, value = (part.reshape(-1, count, self.heads, per_head) for part in (query, key, value))
        weights = (query.transpose(1, 2) @ key.permute(0, 2, 3, 1) / per_head**0.5).softmax(dim=-1)
        mixed = weights @ value.transpose(1, 2)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, count, width))
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


class DenseHead(Dense):
    """`ClassificationHead` with its maps as `Dense`."""

    def __init__(self, head: ClassificationHead) -> None:
        super().__init__(head.weight, head.bias)
        self.enter = None if head.enter is None else Dense(head.enter.weight, head.enter.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Logits (..., labels) of global features (..., 2d)."""
        return super().forward(pooled if self.enter is None else relu(self.enter(pooled)))


class DenseAttentionBlock(nn.Module):
    """`AttentionBlock` with its maps as `Dense`."""

    def __init__(self, block: AttentionBlock) -> None:
        super().__init__()
        self.norm1 = block.norm1
        self.attn = DenseAttention(block.attn)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        attended: Tensor = x + self.attn(self.norm1(x))
        return attended


class DenseBlock(DenseAttentionBlock):
    """`Block` with its maps as `Dense`."""

    def __init__(self, block: Block) -> None:
        super().__init__(block)
        self.norm2 = block.norm2
        self.mlp = DenseMlp(block.mlp.fc1, block.mlp.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        x = super().forward(x)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def dense_block(block: nn.Module) -> DenseAttentionBlock:
    """The deployed form of a block, whole or without its MLP.

    Raises:
        TypeError: ``block`` is neither.
    """
    if isinstance(block, Block):
        return DenseBlock(block)
    if isinstance(block, AttentionBlock):
        return DenseAttentionBlock(block)
    raise TypeError(f"no deployed form for {type(block).__name__}")


def constant(value: Tensor) -> nn.Parameter:
    """A copy of a tensor that stays as it is."""
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
