"""What every way from c tokens to s has in common: an assignment, and the mean of what is assigned."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm


class Sampling(NamedTuple):
    """How hard choices are softened in training.

    Attributes:
        temperature: of Gumbel-Softmax, and of the gate's logistic relaxation.
        uniform: draws (B, *shape) in [0, 1) for the batch at hand, `Step.uniform` for example.
    """

    temperature: float
    uniform: Callable[..., Tensor]


class TokenCloud(NamedTuple):
    """The tokens of a batch of clouds, and where they are.

    Attributes:
        tokens: (B, c, d), before positions are added.
        positions: (B, c, d), encoded.
        centers: (B, c, 3), in FPS order.
    """

    tokens: Tensor
    positions: Tensor
    centers: Tensor

    def full(self) -> TokenCloud:
        """The same in FP32 or wider."""
        return TokenCloud(*(part.to(torch.promote_types(part.dtype, torch.float32)) for part in self))

    def content(self) -> Tensor:
        """What tokens are compared by, (B, c, d)."""
        return content(self.tokens, self.positions)


class Assignment(NamedTuple):
    """Which token belongs to which SuperToken.

    Attributes:
        merge: (B, c, s) weights of the tokens in the means; one-hot rows in all methods but PatchMerger.
        routes: (B, c, s) weights of the SuperTokens in what returns to each token.
    """

    merge: Tensor
    routes: Tensor


class Reducer(nn.Module):
    """Base of all reducers; a subclass says only which token goes where."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.value.weight)

    def assign(self, cloud: TokenCloud, count: int, sampling: Sampling | None = None) -> Assignment:
        """Assign tokens.

        Args:
            cloud: what may be looked at.
            count: s.
            sampling: for a stochastic assignment with gradients, in training; None is deterministic.
        """
        raise NotImplementedError

    def merge(self, tokens: Tensor, positions: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Mean values and positions (B, s, d) of what ``weights`` (B, c, s) assign; 0 where nothing is."""
        size = weights.sum(dim=1).unsqueeze(-1).clamp_min(1.0)
        share = weights.transpose(1, 2)
        return self.value(share @ tokens / size), share @ positions / size


def content(tokens: Tensor, positions: Tensor) -> Tensor:
    """What tokens are compared by, (B, c, d): LN(T) + LN(positions), without learned scale."""
    width = (tokens.shape[-1],)
    return layer_norm(tokens, width) + layer_norm(positions, width)


def one_hot(winner: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """Winners (B, c) int64 as one-hot rows (B, c, s)."""
    numbers = torch.arange(count, device=winner.device)
    return (winner.unsqueeze(-1) == numbers).to(dtype)
