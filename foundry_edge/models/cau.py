"""Cross-Attention Upsampling: s SuperTokens back to c tokens (Foundry section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from foundry_edge.models.transformer import Block, Mlp


class CrossAttentionUpsampling(nn.Module):
    """Adds the token itself to what its SuperToken returned to it, and refines.

    The paper's Y_hat = MLP(T + CAM S) with changes that keep scales: the tokenizer's tokens pass a
    LayerNorm and a linear map (their norm is large) and the MLP, if there is one, is residual. The
    teacher's final LayerNorm follows.
    """

    def __init__(self, width: int, mlp_ratio: float, mlp: bool = True) -> None:
        super().__init__()
        self.norm_tokens = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width) if mlp else None
        self.mlp = Mlp(width, int(width * mlp_ratio)) if mlp else None

    def forward(self, tokens: Tensor, returned: Tensor) -> Tensor:
        """Tokens T and what returned to each of them (CAM S and positions), both (B, c, d), to (B, c, d)."""
        x: Tensor = returned + self.enter(self.norm_tokens(tokens))
        if self.mlp is not None and self.norm_mlp is not None:
            x = x + self.mlp(self.norm_mlp(x))
        return x

    def start_from(self, last: Block, silent: bool) -> None:
        """Take the MLP of the teacher's ``last`` block; a ``silent`` one adds nothing at first."""
        quiet = [self.enter]
        if self.mlp is not None and self.norm_mlp is not None:
            self.mlp.start_from(last.mlp)
            self.norm_mlp.load_state_dict(last.norm2.state_dict())
            quiet += [self.mlp.fc2] if silent else []
        for layer in quiet:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
