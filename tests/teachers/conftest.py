"""Checkpoints of the published formats, made small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

Save = Callable[..., Path]


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random weights, the same in every run."""
    torch.manual_seed(0)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """torch.save into the test's folder: ``save(value, name="a.ckpt", legacy=False)``."""

    def write(value: Any, name: str = "teacher.ckpt", legacy: bool = False) -> Path:
        path = tmp_path / name
        torch.save(value, path, _use_new_zipfile_serialization=not legacy)
        return path

    return write


@pytest.fixture
def clouds() -> tuple[Tensor, Tensor]:
    """Groups (2, 16, 8, 3) and centres (2, 16, 3)."""
    return torch.randn(2, 16, 8, 3) * 0.1, torch.rand(2, 16, 3) * 2 - 1
