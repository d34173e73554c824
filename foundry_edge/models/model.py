"""One protocol for whatever encodes groups: teachers, students, baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel
from torch import Tensor, nn

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.grouping import Preprocessing


class Model(Protocol):
    """What evaluation and fine-tuning need of a model, whatever its kind."""

    @property
    def name(self) -> str:
        """As it was asked for: a folder, or ``embedded:...``."""
        ...

    @property
    def config(self) -> BaseModel:
        """What its config.json holds."""
        ...

    @property
    def module(self) -> nn.Module:
        """The network: weights to train, to save, to move."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """How points become groups."""
        ...

    @property
    def budgets(self) -> tuple[int, ...]:
        """Token budgets, ascending; () where the cost cannot be chosen (a teacher, a truncated one)."""
        ...

    @property
    def width(self) -> int:
        """d: width of a feature."""
        ...

    def encode_groups(self, groups: Tensor, centers: Tensor, tokens: int | None = None) -> Tensor:
        """Groups (B, c, K, 3), relative to their centre, and centres (B, c, 3) to features (B, c, d).

        Args:
            groups: float32.
            centers: float32.
            tokens: one of ``budgets``; None takes the largest.

        Raises:
            InputError: ``tokens`` is not one of ``budgets``.
        """
        ...


def budgets_of(model: Model, tokens: tuple[int, ...] | None) -> tuple[int | None, ...]:
    """The budgets ``tokens`` of a model, all where it is None; (None,) for a model without any.

    Raises:
        InputError: the model has not got one of ``tokens``.
    """
    require_budgets(model.name, tokens, model.budgets)
    return tokens or model.budgets or (None,)


def require_budgets(name: str, tokens: tuple[int, ...] | None, budgets: tuple[int, ...]) -> None:
    """All of ``tokens`` are among ``budgets``.

    Raises:
        InputError: one is not; the message names the model ``name``.
    """
    unknown = sorted(set(tokens or ()) - set(budgets))
    if unknown:
        known = ", ".join(map(str, budgets)) or "none"
        raise InputError(
            f"has no budget of {unknown[0]} tokens (it has {known})",
            where=name,
            remedy="give --tokens that it has, or leave it out",
        )


@dataclass(frozen=True)
class Loaded:
    """A `Model` from a loaded network.

    Attributes:
        encode: groups, centres and the budget (0 where there is none) to features.
    """

    name: str
    config: BaseModel
    module: nn.Module
    preprocessing: Preprocessing
    budgets: tuple[int, ...]
    width: int
    encode: Callable[[Tensor, Tensor, int], Tensor]

    def encode_groups(self, groups: Tensor, centers: Tensor, tokens: int | None = None) -> Tensor:
        """As `Model.encode_groups`."""
        return self.encode(groups, centers, self._budget(tokens))

    def _budget(self, tokens: int | None) -> int:
        if tokens is None:
            return self.budgets[-1] if self.budgets else 0
        if tokens not in self.budgets:
            known = ", ".join(map(str, self.budgets))
            remedy = f"use one of {known}" if known else "leave --tokens out"
            raise InputError(f"has no budget of {tokens} tokens", where=self.name, remedy=remedy)
        return tokens
