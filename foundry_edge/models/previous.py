"""The model that a folder holds already is kept when another one is to be made there."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from foundry_edge.models.part_head import PART_HEAD
from foundry_edge.models.store import CONFIG, WEIGHTS
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.files import move

PREVIOUS = "previous"
"""Folder in a model's folder, of the model that was there before it."""
CHECKPOINTS = ("checkpoint.pt", "checkpoint-*.pt", "frozen.pt", "thawed.pt")
"""What `distill`, `pretrain` and `finetune` call theirs."""
_KEPT = (
    WEIGHTS, CONFIG, f"{PART_HEAD}/{WEIGHTS}", f"{PART_HEAD}/{CONFIG}", "projection.safetensors",
    "report.json", "settings.json", "run.json", "*.jsonl", "loss.png",
    *CHECKPOINTS,
)  # fmt: skip
"""What training writes, checkpoints included: a run that is kept can be continued there."""


def keep_previous(out: Path) -> None:
    """Move the model that is in ``out``, and what its training wrote there, to `PREVIOUS`, and say so.

    Raises:
        StorageError: the folder cannot be written.
    """
    if not ((out / CONFIG).is_file() and (out / WEIGHTS).is_file()):
        return
    kept = out / PREVIOUS
    for pattern in _KEPT:
        for old in kept.glob(pattern):
            old.unlink()
        for path in list(out.glob(pattern)):
            move(path, kept / path.relative_to(out))
    Console(stderr=True).print(
        f"{printable(out)} holds a model already: it is moved to {printable(kept)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
