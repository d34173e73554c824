"""What enters the encoder of a rung."""

from __future__ import annotations

from typing import NamedTuple

from foundry_edge_runtime.bundle.manifest import rung_name


class Size(NamedTuple):
    """How many rows the encoder works on.

    Attributes:
        tokens: s, SuperTokens.
        bypassed: k, tokens that the gate lets past DSO.
    """

    tokens: int
    bypassed: int = 0

    def rung(self, precision: str) -> str:
        """Name of the rung of this size in a precision, for example ``s4k8-int8``."""
        return rung_name(self.tokens, precision, self.bypassed)

    @property
    def name(self) -> str:
        """For example ``s4``, or ``s4k8`` with 8 bypassed tokens."""
        return self.rung("").rstrip("-")
