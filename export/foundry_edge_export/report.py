"""What an export made and measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundry_edge_calibration.sensitivity import BlockLoss
from foundry_edge_export.draft import Draft
from foundry_edge_runtime.bundle.manifest import Manifest


@dataclass(frozen=True)
class ExportReport:
    """One export.

    Attributes:
        bundle: where the bundle is, or would have been.
        bundle_id: the manifest's id; "" when nothing was kept.
        rungs: those asked for, in ladder order.
        sizes: rung name -> bytes of its graph; precision -> bytes of the weights file its rungs share.
        notes: one line each, for people.
        seconds: wall time.
        kept: whether the rungs are in the bundle.
        sensitivity: rung name -> loss of each block alone in INT8, worst first; empty unless asked for.
    """

    bundle: Path
    bundle_id: str
    rungs: tuple[Draft, ...]
    sizes: dict[str, int]
    notes: tuple[str, ...]
    seconds: float
    kept: bool
    sensitivity: dict[str, list[BlockLoss]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": 1,
            "bundle": {"path": str(self.bundle), "id": self.bundle_id},
            "kept": self.kept,
            "rungs": [self._rung(draft) for draft in self.rungs],
            "sensitivity": {name: [asdict(loss) for loss in rows] for name, rows in self.sensitivity.items()},
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }

    def _rung(self, draft: Draft) -> dict[str, Any]:
        return {
            "tokens": draft.tokens,
            "precision": draft.precision,
            "built": draft.fresh,
            "bytes": {"graph": self.sizes.get(draft.name), "weights": self.sizes.get(draft.precision)},
            "macs": draft.macs,
            "parity": draft.parity.model_dump(),
            "fidelity": draft.fidelity.model_dump() if draft.fidelity else None,
            "accuracy": draft.accuracy.model_dump() if draft.accuracy else None,
            "calibration": draft.calibration.model_dump() if draft.calibration else None,
            "gates": draft.gates,
        }


def sizes_of(manifest: Manifest) -> dict[str, int]:
    """Bytes of each rung's graph by rung name, and of each weights file by precision."""
    graphs = {rung.name: rung.graph.bytes for rung in manifest.rungs}
    return graphs | {rung.precision: rung.weights.bytes for rung in manifest.rungs}
