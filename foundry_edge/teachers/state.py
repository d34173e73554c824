"""The tensors of a checkpoint under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundry_edge.teachers.adapter import Parts
from foundry_edge.teachers.globals import Foreign
from foundry_edge.teachers.tensors import TensorRef

_HOLDERS = ("state_dict", "base_model", "model", "model_state_dict")
_WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""


def tensors_of(root: Any) -> dict[str, TensorRef]:
    """Name -> tensor of the state dict in a checkpoint (or that it is), without wrappers' prefixes."""
    return {name: value for name, value in _state(root).items() if isinstance(value, TensorRef)}


def other_values(root: Any) -> dict[str, str]:
    """Name -> what it is, of all that stands in the state dict and is no tensor."""
    return {name: _kind(value) for name, value in _state(root).items() if not isinstance(value, TensorRef)}


def _state(root: Any) -> dict[str, object]:
    """The first mapping that holds a tensor."""
    candidates = [root.get(holder) for holder in _HOLDERS] if isinstance(root, dict) else []
    for candidate in (*candidates, root):
        items = candidate.values if isinstance(candidate, Foreign) else candidate
        if isinstance(items, dict) and any(isinstance(value, TensorRef) for value in items.values()):
            return {_unwrapped(name): value for name, value in items.items() if isinstance(name, str)}
    return {}


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "text"
    return "empty" if value is None else f"of type {type(value).__name__}"


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


@dataclass(frozen=True)
class Renamed:
    """One tensor of the file that belongs to a teacher.

    Attributes:
        published: its name in the file.
        ref: the tensor.
        shape: as ours, convolutions of kernel size 1 as matrices.
    """

    published: str
    ref: TensorRef
    shape: tuple[int, ...]


def rename(tensors: Mapping[str, TensorRef], parts: Parts) -> dict[str, Renamed]:
    """Our name -> tensor, of all tensors that belong to one of ``parts``."""
    renamed = {}
    for name, ref in tensors.items():
        ours = _our_name(name, parts)
        if ours:
            renamed[ours] = Renamed(name, ref, _matrix(ours, ref.shape))
    return renamed


def _our_name(name: str, parts: Parts) -> str:
    for published, ours in parts.items():
        if name == published or (published.endswith(".") and name.startswith(published)):
            return ours + name.removeprefix(published)
    return ""


def _matrix(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    is_convolution = name.startswith("tokenizer.conv") and len(shape) == 3 and shape[2] == 1
    return shape[:2] if is_convolution else shape
