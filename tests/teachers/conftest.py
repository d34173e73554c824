"""Checkpoints of the published formats, made small."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from foundry_edge.cli.app import main

Save = Callable[..., Path]
Called = Callable[..., tuple[int, str, str]]


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
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """Calls the entry point in this process; returns exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["foundry-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return int(str(caught.value.code)), out, err

    return call


@pytest.fixture
def clouds() -> tuple[Tensor, Tensor]:
    """Groups (2, 16, 8, 3) and centres (2, 16, 3)."""
    return torch.randn(2, 16, 8, 3) * 0.1, torch.rand(2, 16, 3) * 2 - 1
