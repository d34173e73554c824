"""What an evaluation found, in the form of the command's JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundry_edge.measures.metrics import Metrics


@dataclass(frozen=True)
class RungResult:
    """The metrics of one rung.

    Attributes:
        name: e.g. "s4-int8".
        tokens: the budget; None for a model without one.
        precision: fp32, fp16 or int8.
        metrics: name -> value; percentages unless the name says otherwise.
    """

    name: str
    tokens: int | None
    precision: str
    metrics: Metrics


@dataclass(frozen=True)
class EvaluationReport:
    """What `evaluate` found.

    Attributes:
        model: as it was asked for.
        data: name of the set.
        protocol: name of the protocol.
        rungs: one result per rung.
        seeds: all of them.
        samples: shapes judged on.
    """

    model: str
    data: str
    protocol: str
    rungs: tuple[RungResult, ...]
    seeds: tuple[int, ...]
    samples: int

    def as_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints; ``metrics`` maps each rung to its own when there are several."""
        single = len(self.rungs) == 1
        return {
            "schema": 1,
            "model": self.model,
            "data": self.data,
            "protocol": self.protocol,
            "metrics": self.rungs[0].metrics if single else {rung.name: rung.metrics for rung in self.rungs},
            "seeds": list(self.seeds),
            "samples": self.samples,
        }
