"""Compression methods by name: which network each one trains. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import CompressedConfig, StudentConfig, TeacherConfig, checked
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
METHODS = (*REDUCERS, *(kind for kind in KINDS if kind != "student"))
_DSO_ONLY = ("query", "routing")


def make_method(method: str, teacher: TeacherConfig, digest: str, **choices: Any) -> Compressed:
    """A network with random weights.

    Args:
        method: one of `METHODS`.
        teacher: what it imitates.
        digest: SHA-256 of the teacher's weights.
        choices: fields of the method's config; None leaves a field at its default.

    Raises:
        InputError: no such method, a field that this method has not, or a value out of range.
    """
    if method not in METHODS:
        raise InputError(
            f"unknown method {method!r}", where="--method", remedy=f"use one of {', '.join(METHODS)}"
        )
    kind = KINDS["student" if method in REDUCERS else method]
    given = {name: value for name, value in choices.items() if value is not None}
    for name in given:
        if name not in kind.config.model_fields or (name in _DSO_ONLY and method != "dso"):
            option = "--" + name.replace("_", "-")
            raise InputError(f"means nothing to the method {method}", where=option, remedy="leave it out")
    if method in REDUCERS:
        given["method"] = method
    config = checked(kind.config, teacher=teacher, teacher_sha256=digest, **given)
    return kind.network(config)
