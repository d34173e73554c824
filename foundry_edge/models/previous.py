"""The model that a folder holds already is kept when another is written there."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from foundry_edge.models.part_head import PART_HEAD
from foundry_edge.models.store import CONFIG, WEIGHTS
from foundry_edge_runtime.errors import printable
from foundry_edge_runtime.files import replacing

PREVIOUS = "previous"
"""Folder in a model's folder, of the model that was there before it."""
_KEPT = (
    WEIGHTS, CONFIG, "projection.safetensors", "report.json", "settings.json", "run.json", "log.jsonl",
    f"{PART_HEAD}/{WEIGHTS}", f"{PART_HEAD}/{CONFIG}",
)  # fmt: skip


def keep_previous(out: Path) -> None:
    """Copy the model that is in ``out``, and what its training wrote there, to `PREVIOUS`, and say so.

    Raises:
        StorageError: the folder cannot be written.
    """
    if not ((out / CONFIG).is_file() and (out / WEIGHTS).is_file()):
        return
    kept = out / PREVIOUS
    for name in _KEPT:
        if (out / name).is_file():
            with replacing(kept / name) as partial:
                partial.write_bytes((out / name).read_bytes())
        else:
            (kept / name).unlink(missing_ok=True)
    Console(stderr=True).print(
        f"{printable(out)} holds a model already, which is replaced: it is kept in {printable(kept)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
