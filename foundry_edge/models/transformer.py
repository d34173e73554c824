"""The transformer encoder: pre-norm blocks, positions added before every block (Point-JEPA section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int, qkv_bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, n, d) to (B, n, d); ``mask`` (B, 1, 1, n) is True for rows that may be attended to."""
        batch, count, width = x.shape
        qkv = self.qkv(x).reshape(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _attended(query, key, value, mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return out


def _attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention (B, heads, n, d/heads).

    A CPU that trains in bfloat16 has it written out: torch's fused kernel takes four times as long there.
    """
    if not (query.requires_grad and query.dtype is torch.bfloat16 and query.device.type == "cpu"):
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    logits = query * query.shape[-1] ** -0.5 @ key.transpose(-2, -1)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    written_out: Tensor = logits.softmax(dim=-1) @ value
    return written_out


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        out: Tensor = self.fc2(gelu(self.fc1(x)))
        return out

    @torch.no_grad()
    def start_from(self, other: Mlp) -> None:
        """Copy an MLP of as many hidden units, or of more those that weigh most, |in| x |out|."""
        weight = other.fc1.weight.norm(dim=1) * other.fc2.weight.norm(dim=0)
        kept = weight.topk(len(self.fc1.weight)).indices.sort().values
        self.fc1.weight.copy_(other.fc1.weight[kept])
        self.fc1.bias.copy_(other.fc1.bias[kept])
        self.fc2.weight.copy_(other.fc2.weight[:, kept])
        self.fc2.bias.copy_(other.fc2.bias)


class AttentionBlock(nn.Module):
    """x + attention(norm(x)): a block without its MLP, which is two thirds of its products."""

    def __init__(self, width: int, heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, qkv_bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, n, d) to (B, n, d); ``mask`` (B, 1, 1, n) is True for rows that may be attended to."""
        attended: Tensor = x + self.attn(self.norm1(x), mask)
        return attended

    def start_from(self, other: Block) -> None:
        """Copy what this block has of a whole one."""
        self.norm1.load_state_dict(other.norm1.state_dict())
        self.attn.load_state_dict(other.attn.state_dict())


class Block(AttentionBlock):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, qkv_bias: bool = True) -> None:
        super().__init__(width, heads, qkv_bias)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, n, d) to (B, n, d); ``mask`` (B, 1, 1, n) is True for rows that may be attended to."""
        x = super().forward(x, mask)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def start_from(self, other: Block) -> None:
        """Copy a block whose MLP is as wide or wider (`Mlp.start_from`)."""
        super().start_from(other)
        self.norm2.load_state_dict(other.norm2.state_dict())
        self.mlp.start_from(other.mlp)


class Encoder(nn.Module):
    """A stack of blocks and a final LayerNorm."""

    def __init__(
        self, width: int, depth: int, heads: int, mlp_ratio: float = 4.0, qkv_bias: bool = True
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio, qkv_bias) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Tokens and positions (B, n, d) to features (B, n, d)."""
        out: Tensor = self.norm(self.body(tokens, positions))
        return out

    def body(self, tokens: Tensor, positions: Tensor, mask: Tensor | None = None) -> Tensor:
        """The blocks alone, (B, n, d) to (B, n, d), without the final norm; ``mask`` as in `Attention`."""
        for block in self.blocks:
            tokens = block(tokens + positions, mask)
        return tokens

    def start_from(self, other: Encoder, numbers: Sequence[int]) -> None:
        """Copy the norm, and the blocks with these zero-based numbers."""
        self.norm.load_state_dict(other.norm.state_dict())
        for mine, number in zip(self.blocks, numbers, strict=True):
            cast("Block", mine).start_from(cast("Block", other.blocks[number]))

    def hidden_states(self, tokens: Tensor, positions: Tensor, layers: tuple[int, ...]) -> list[Tensor]:
        """Outputs (B, n, d) of the blocks with these one-based numbers, without the final norm."""
        states = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens + positions)
            if number in layers:
                states.append(tokens)
        return states
