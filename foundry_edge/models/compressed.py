"""What every compressed form of a teacher has in common: its tokenizer, its positions, its output."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from foundry_edge.models.config import CompressedConfig
from foundry_edge.models.heads import make_head, pool
from foundry_edge.models.lite_tokenizer import LiteTokenizer
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.tokenizer import Tokenizer


class Reconstruction(NamedTuple):
    """What a compressed model makes of a cloud's tokens.

    Attributes:
        features: (B, c, d), Y_hat.
        assignment: (B, c, s), which token went to which SuperToken; None where tokens are not merged.
        merge: (B, c), the gate's merge probabilities; None without a gate.
    """

    features: Tensor
    assignment: Tensor | None = None
    merge: Tensor | None = None


def make_tokenizer(config: CompressedConfig) -> Tokenizer | LiteTokenizer:
    """The tokenizer that a config asks for, with random weights."""
    teacher = config.teacher
    if config.tokenizer == "lite":
        return LiteTokenizer(teacher.width, config.lite_width)
    return Tokenizer(teacher.width, teacher.conv_bias, teacher.reduce_from)


class Compressed(nn.Module):
    """Base of students and baselines: imitates Y (B, c, d) from the teacher's tokens, or from its own.

    A method is one subclass: it says how tokens become features, and what it takes from the teacher.
    """

    config: CompressedConfig

    def __init__(self, config: CompressedConfig) -> None:
        super().__init__()
        teacher = config.teacher
        self.tokenizer = make_tokenizer(config)
        self.position = PositionalEncoding(teacher.width)
        self.head = make_head(teacher)

    @property
    def budgets(self) -> tuple[int, ...]:
        """Token budgets, ascending; () where there is only one cost."""
        return ()

    def train(self, mode: bool = True) -> Compressed:
        """As in torch, except that the tokenizer's batch norms stay in eval mode."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    @torch.no_grad()
    def start_from(self, teacher: Teacher) -> None:
        """Copy positions, head and a full tokenizer; a subclass adds what else it takes."""
        if isinstance(self.tokenizer, Tokenizer):
            self.tokenizer.load_state_dict(teacher.tokenizer.state_dict())
        self.position.load_state_dict(teacher.position.state_dict())
        if self.head is not None and teacher.head is not None:
            self.head.load_state_dict(teacher.head.state_dict())

    def reconstruct(
        self, tokens: Tensor, centers: Tensor, count: int = 0, sampling: Sampling | None = None
    ) -> Reconstruction:
        """Tokens (B, c, d) and centres (B, c, 3) to Y_hat (B, c, d).

        Args:
            tokens: the tokenizer's output T.
            centers: in FPS order.
            count: s, one of ``budgets``; not used where there are none.
            sampling: softens hard choices, in training.
        """
        raise NotImplementedError

    def forward(self, groups: Tensor, centers: Tensor, count: int = 0) -> Tensor:
        """Groups (B, c, K, 3) and centres (B, c, 3) to Y_hat (B, c, d) with ``count`` SuperTokens."""
        return self.reconstruct(self.tokenizer(groups), centers, count).features

    def classify(self, features: Tensor) -> Tensor:
        """Class logits (B, labels) of features (B, c, d)."""
        if self.head is None:
            raise ValueError("this model has no classification head")
        out: Tensor = self.head(pool(features))
        return out
