"""Cross-Attention Upsampling: s SuperTokens back to c tokens (Foundry section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from foundry_edge.models.transformer import Mlp


class CrossAttentionUpsampling(nn.Module):
    """Routes each SuperToken to its tokens by the assignment, adds the token itself, and refines.

    The paper's Y_hat = MLP(T + CAM S) with three changes that keep scales and positions: the tokenizer's
    tokens pass a LayerNorm and a linear map (their norm is large), positions are added, and the MLP is
    residual. The teacher's final LayerNorm follows.
    """

    def __init__(self, width: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = Mlp(width, int(width * mlp_ratio))

    def forward(self, tokens: Tensor, positions: Tensor, supertokens: Tensor, assignment: Tensor) -> Tensor:
        """Tokens and positions (B, c, d), encoded SuperTokens (B, s, d), CAM (B, c, s) to (B, c, d)."""
        x = assignment @ supertokens + self.enter(self.norm_tokens(tokens)) + positions
        out: Tensor = x + self.mlp(self.norm_mlp(x))
        return out
