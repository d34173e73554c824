"""What an export made and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundry_edge_calibration.sensitivity import BlockLoss
from foundry_edge_export.draft import Draft
from foundry_edge_export.gates import allowed_drop
from foundry_edge_export.latency import Latency
from foundry_edge_export.precisions import QUANTISED, made_for
from foundry_edge_runtime.bundle.manifest import Manifest, Parts


@dataclass(frozen=True)
class ExportReport:
    """One export.

    Attributes:
        bundle: where the bundle is, or would have been.
        bundle_id: the manifest's id; "" when nothing was kept.
        student_sha256: of the student's weights file.
        rungs: those asked for, in ladder order.
        ladder: every rung that the bundle now holds; those asked for, when nothing was kept.
        sizes: rung name -> bytes of its graph; precision -> bytes of the weights file its rungs share.
        latencies: rung name -> latency on this machine's CPU.
        notes: one line each, for people.
        seconds: wall time.
        kept: whether the rungs are in the bundle.
        sensitivity: budget (``s4``) -> loss of each block alone in INT8, worst first; empty unless asked for.
        parts: the bundle's head for parts, if it has one.
    """

    bundle: Path
    bundle_id: str
    student_sha256: str
    rungs: tuple[Draft, ...]
    ladder: tuple[Draft, ...]
    sizes: dict[str, int]
    latencies: dict[str, Latency]
    notes: tuple[str, ...]
    seconds: float
    kept: bool
    sensitivity: dict[str, list[BlockLoss]] = field(default_factory=dict)
    parts: Parts | None = None

    def as_dict(self, *, whole: bool = False) -> dict[str, Any]:
        """Plain values for JSON.

        Args:
            whole: all rungs of the bundle, not only those asked for.
        """
        return {
            "schema": 1,
            "bundle": {"path": str(self.bundle), "id": self.bundle_id, "student": self.student_sha256},
            "kept": self.kept,
            "rungs": [self._rung(draft) for draft in (self.ladder if whole else self.rungs)],
            "sensitivity": {name: [asdict(loss) for loss in rows] for name, rows in self.sensitivity.items()},
            "parts": None if self.parts is None else _parts(self.parts),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 1),
        }

    def _rung(self, draft: Draft) -> dict[str, Any]:
        latency = self.latencies.get(draft.name)
        return {
            "name": draft.name,
            "key": draft.key,
            "tokens": draft.size.tokens,
            "bypassed": draft.size.bypassed,
            "precision": draft.precision,
            "made_for": made_for(draft.precision),
            "built": draft.fresh,
            "bytes": {"graph": self.sizes.get(draft.name), "weights": self.sizes.get(draft.precision)},
            "macs": draft.macs,
            "parity": draft.parity.model_dump(),
            "fidelity": draft.fidelity.model_dump() if draft.fidelity else None,
            "accuracy": draft.accuracy.model_dump() if draft.accuracy else None,
            "accuracy_drop_allowed": _allowed(draft),
            "cpu_ms": None if latency is None else {"p50": round(latency.p50_ms, 3), "runs": latency.runs},
            "calibration": draft.calibration.model_dump() if draft.calibration else None,
            "evaluation": draft.evaluation.model_dump() if draft.evaluation else None,
            "gates": draft.gates,
            "spreads": {name: list(counts) for name, counts in draft.spreads.items()},
        }


def _parts(parts: Parts) -> dict[str, Any]:
    return {
        "categories": len(parts.categories),
        "parts": sum(len(one.parts) for one in parts.categories),
        "bytes": {"graph": parts.graph.bytes, "weights": parts.weights.bytes},
        **parts.model_dump(include={"macs", "parity", "quality"}),
    }


def _allowed(draft: Draft) -> float | None:
    """Points of accuracy that the rung's gate lets it lose; None where it has no such gate."""
    judged = draft.precision in QUANTISED and draft.accuracy is not None
    return round(allowed_drop(draft.accuracy.samples), 3) if judged and draft.accuracy else None


def sizes_of(manifest: Manifest) -> dict[str, int]:
    """Bytes of each rung's graph by rung name, and of each weights file by precision."""
    graphs = {rung.name: rung.graph.bytes for rung in manifest.rungs}
    return graphs | {rung.precision: rung.weights.bytes for rung in manifest.rungs}


def carried_over(record: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """A record with the spreads and losses that an earlier one of the same rungs holds and it lacks."""
    known = {rung["key"]: rung.get("spreads", {}) for rung in earlier.get("rungs", ())}
    rungs = [rung | {"spreads": rung["spreads"] or known.get(rung["key"], {})} for rung in record["rungs"]]
    same = earlier.get("bundle", {}).get("student") == record["bundle"].get("student")
    losses = earlier.get("sensitivity", {}) if same else {}
    return record | {"rungs": rungs, "sensitivity": losses | record["sensitivity"]}
