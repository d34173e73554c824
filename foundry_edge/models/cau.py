"""Cross-Attention Upsampling: s SuperTokens back to c tokens (Foundry section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from foundry_edge.models.transformer import Mlp


class CrossAttentionUpsampling(nn.Module):
    """Adds the token itself to what its SuperToken returned to it, and refines.

    The paper's Y_hat = MLP(T + CAM S) with changes that keep scales: the tokenizer's tokens pass a
    LayerNorm and a linear map (their norm is large) and the MLP is residual. The teacher's final
    LayerNorm follows.
    """

    def __init__(self, width: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, returned: Tensor) -> Tensor:
        """Tokens T and what returned to each of them (CAM S and positions), both (B, c, d), to (B, c, d)."""
        x = returned + self.enter(self.norm_tokens(tokens))
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out
