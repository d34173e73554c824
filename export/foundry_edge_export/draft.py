"""A rung that was built and measured, before it is part of a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

from foundry_edge_export.gates import advice
from foundry_edge_export.precisions import made_for
from foundry_edge_export.size import Size
from foundry_edge_runtime.bundle.manifest import (
    Accuracy,
    Calibration,
    EvaluationSet,
    Fidelity,
    FileRef,
    Parity,
    Rung,
)


@dataclass(frozen=True)
class Draft:
    """Everything of a manifest rung but its files, and the graph they will hold.

    Attributes:
        size: SuperTokens and bypassed tokens.
        model: self-contained graph.
        evaluation: what it was judged on; None for a rung of a bundle that does not state it.
        key: hash of all that the rung was made from; equal keys mean the same rung.
        spreads: ``fp32`` or ``teacher`` -> how the cosines of single tokens to it are spread, see `spread`;
            empty for a rung taken over from the bundle.
        fresh: built now, not taken over from the bundle.
    """

    size: Size
    precision: str
    model: onnx.ModelProto
    key: str
    macs: dict[str, int]
    parity: Parity
    fidelity: Fidelity | None
    accuracy: Accuracy | None
    calibration: Calibration | None
    evaluation: EvaluationSet | None
    gates: dict[str, bool]
    spreads: dict[str, tuple[int, ...]] = field(default_factory=dict)
    fresh: bool = True

    @property
    def name(self) -> str:
        """For example ``s4-int8``."""
        return self.size.rung(self.precision)

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(self.gates.values())

    @property
    def advice(self) -> str:
        """What may help against the first failed gate."""
        return advice(self.gates)

    def rung(self, graph: FileRef, weights: FileRef) -> Rung:
        """The manifest's entry."""
        return Rung(
            tokens=self.size.tokens,
            bypassed=self.size.bypassed,
            precision=self.precision,
            made_for=made_for(self.precision),
            graph=graph,
            weights=weights,
            key=self.key,
            macs=self.macs,
            parity=self.parity,
            fidelity=self.fidelity,
            accuracy=self.accuracy,
            calibration=self.calibration,
            evaluation=self.evaluation,
            gates=self.gates,
        )


def draft_of(rung: Rung, model: onnx.ModelProto) -> Draft:
    """A rung of an existing bundle as a draft."""
    return Draft(
        size=Size(rung.tokens, rung.bypassed),
        precision=rung.precision,
        model=model,
        key=rung.key,
        macs=rung.macs,
        parity=rung.parity,
        fidelity=rung.fidelity,
        accuracy=rung.accuracy,
        calibration=rung.calibration,
        evaluation=rung.evaluation,
        gates=rung.gates,
        fresh=False,
    )
