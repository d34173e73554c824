"""Teachers and students as they were published: no folding, no shared products, attention spelt out."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge.models.transformer import Attention, Block


class PublishedTokenizer(nn.Module):
    """`Tokenizer` without the rewrite."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.inner = tokenizer

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3) to tokens (B, c, d)."""
        tokens: Tensor = self.inner.forward_reference(groups.flatten(0, 1)).unflatten(0, groups.shape[:2])
        return tokens


class EagerAttention(nn.Module):
    """`Attention` with its matrix of weights written out, as in the published code."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = attention.heads, attention.qkv, attention.proj

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, n, d) to (B, n, d)."""
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        if mask is not None:
            weights = weights.masked_fill(~mask, float("-inf"))
        mixed = weights.softmax(dim=-1) @ value
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return out


def as_published(network: nn.Module, fused: bool = False) -> nn.Module:
    """A copy of a teacher or student that computes the same without our rewrites.

    Args:
        network: its tokenizer is the full one.
        fused: use torch's fused attention all the same.
    """
    twin = copy.deepcopy(network)
    if isinstance(twin.tokenizer, Tokenizer):
        twin.tokenizer = PublishedTokenizer(twin.tokenizer)
    if not fused:
        for holder in [one for one in twin.modules() if isinstance(one, Block)]:
            setattr(holder, "attn", EagerAttention(holder.attn))  # noqa: B010 - another type
    return twin.eval()


def saved_macs(config: TeacherConfig) -> int:
    """Multiply-accumulates per cloud that the rewrite of the tokenizer saves.

    Published: 3-128, 128-256, 512-512 and 512-d per point. Folded: 128-512 per point in place of 512-512,
    and 256-512 per group.
    """
    spec = config.preprocessing
    return spec.groups * (spec.group_size * (512 * 512 - 128 * 512) - 256 * 512)
