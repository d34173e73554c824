"""Tensors kept in a cache: read back whole, or not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor


def kept_tensors(path: Path, *names: str, mmap: bool = False) -> tuple[Tensor, ...] | None:
    """Tensors of a file that torch saved (see `array_cache.keep`); None where it is not there or damaged."""
    try:
        stored = torch.load(path, weights_only=True, mmap=mmap)
        return tuple(stored[name] for name in names)
    except (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError):
        return None
