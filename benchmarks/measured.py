"""Where benchmarks write what they measured, and on what machine; and how documents read it back."""

from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from foundry_edge_runtime.device import device
from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.versions import versions

RESULTS = Path(__file__).resolve().parent / "results"


def keep(name: str, record: dict[str, Any]) -> Path:
    """Write ``results/NAME.json``: the record, when and on what it was measured, and how busy that was."""
    about = {
        "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device(),
        "versions": versions(("foundry-edge", "numpy", "onnxruntime")),
        "load_average": os.getloadavg()[0],
    }
    path = RESULTS / f"{name}.json"
    write_text(path, json.dumps({**record, **about}, indent=1) + "\n")
    return path


def record_of(path: Path, field: str, value: str) -> dict[str, Any] | None:
    """A record of what is named by ``value``; None where it is not there, or of something else."""
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record if record.get(field) == value else None
