"""Compression methods by name: which network each one trains. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import (
    CompressedConfig,
    Query,
    Residual,
    Routing,
    StudentConfig,
    TeacherConfig,
    TokenizerKind,
    checked,
)
from foundry_edge.models.mimicry import Mimicry, MimicryConfig
from foundry_edge.models.reducers import REDUCERS
from foundry_edge.models.student import Student
from foundry_edge.models.truncation import Truncation, TruncationConfig
from foundry_edge_runtime.errors import InputError


class Kind(NamedTuple):
    """A config and the network made of it; config.json's field ``kind`` names it."""

    config: type[CompressedConfig]
    network: Callable[[Any], Compressed]


KINDS: dict[str, Kind] = {
    "student": Kind(StudentConfig, Student),
    "truncation": Kind(TruncationConfig, Truncation),
    "mimicry": Kind(MimicryConfig, Mimicry),
}


class Choices(TypedDict, total=False):
    """What a method's config may be told; None leaves a field at its default.

    Attributes:
        tokens: SuperToken budgets, ascending; one alone makes a dedicated student. Default 1, 2, 4, 8, 16.
        query: how DSO's queries are formed.
        mixing_blocks: leading teacher blocks that run on all tokens.
        attention_blocks: the blocks after them, on all tokens too, without their MLP.
        mlp_ratio: hidden width of the MLPs on all tokens, over d.
        depth: blocks on the SuperTokens (of a truncated or small model: all its blocks).
        width: of the small model of ``mimicry``.
        heads: of the small model of ``mimicry``.
        routing: how SuperTokens return to tokens.
        residual: what each token adds to what returns.
        cau_mlp: end CAU in an MLP on all tokens; ``truncation`` in CAU's map and MLP.
        gate: give the student a Foundry-Gate.
        tokenizer: ``full`` (the teacher's, frozen) or ``lite``, learned along.
        lite_width: of the light tokenizer.
    """

    tokens: tuple[int, ...] | None
    query: Query | None
    mixing_blocks: int | None
    attention_blocks: int | None
    mlp_ratio: float | None
    depth: int | None
    width: int | None
    heads: int | None
    routing: Routing | None
    residual: Residual | None
    cau_mlp: bool | None
    gate: bool | None
    tokenizer: TokenizerKind | None
    lite_width: int | None


MIXING_BLOCKS, ENCODER_BLOCKS = 3, 2
"""Of ``dso`` by default: blocks on all tokens, and on the SuperTokens."""
METHODS = (*REDUCERS, *(kind for kind in KINDS if kind != "student"))
_DSO_ONLY = ("query", "routing")


def make_method(method: str, teacher: TeacherConfig, digest: str, **choices: Any) -> Compressed:
    """A network with random weights.

    Args:
        method: one of `METHODS`.
        teacher: what it imitates.
        digest: SHA-256 of the teacher's weights.
        choices: fields of the method's config; None leaves a field at its default, which for ``dso`` is
            that of `dso_defaults`.

    Raises:
        InputError: no such method, a field that this method has not, or a value out of range.
    """
    if method not in METHODS:
        raise InputError(
            f"unknown method {method!r}", where="--method", remedy=f"use one of {', '.join(METHODS)}"
        )
    kind = KINDS["student" if method in REDUCERS else method]
    given: dict[str, Any] = {name: value for name, value in choices.items() if value is not None}
    for name in given:
        if name not in kind.config.model_fields or (name in _DSO_ONLY and method != "dso"):
            option = "--" + name.replace("_", "-")
            raise InputError(f"means nothing to the method {method}", where=option, remedy="leave it out")
    if method in REDUCERS:
        given["method"] = method
    if method == "dso":
        on_all = given.get("mixing_blocks", MIXING_BLOCKS), given.get("attention_blocks", 0)
        given = dso_defaults(teacher, *on_all) | given
    config = checked(kind.config, teacher=teacher, teacher_sha256=digest, **given)
    return kind.network(config)


def dso_defaults(
    teacher: TeacherConfig, mixing_blocks: int = MIXING_BLOCKS, attention_blocks: int = 0
) -> dict[str, Any]:
    """What ``dso`` is made of unless told otherwise; docs/method.md says why.

    Args:
        teacher: what it imitates.
        mixing_blocks: blocks on all tokens; at least one block is left for the SuperTokens.
        attention_blocks: those of the blocks after them that run on all tokens too.
    """
    mixing = min(mixing_blocks, max(teacher.depth - attention_blocks - 1, 0))
    return {
        "query": "located",
        "residual": "update",
        "mixing_blocks": mixing,
        "mlp_ratio": min(1.0, teacher.mlp_ratio),
        "depth": max(min(ENCODER_BLOCKS, teacher.depth - mixing - attention_blocks), 1),
        "tokenizer": "lite",
    }
