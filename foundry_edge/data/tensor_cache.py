"""Tensors in files: written whole, and read back whole or not at all."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundry_edge.data.array_cache import keep


def kept_tensors(path: Path, *names: str, mmap: bool = False) -> tuple[Tensor, ...] | None:
    """Tensors of a file that torch saved (see `array_cache.keep`); None where it is not there or damaged."""
    try:
        stored = torch.load(path, weights_only=True, mmap=mmap)
        return tuple(stored[name] for name in names)
    except (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError):
        return None


def keep_tensors(path: Path, **tensors: Tensor) -> None:
    """What `kept_tensors` reads; a warning where it cannot be written."""
    keep(path, partial(save_state, tensors))


def save_state(state: dict[str, Any], path: Path) -> None:
    """As torch.save, which by itself tells a full disk as a RuntimeError of its archive.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("wb") as stream:
        torch.save(state, stream)
