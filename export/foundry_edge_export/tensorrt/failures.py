"""How a build can end without a plan."""

from __future__ import annotations

from foundry_edge_runtime.errors import BackendError


class RefusedError(BackendError):
    """The parser or the compiler does not take the graph; it will not the next time either."""


class CrashError(BackendError):
    """The compiler died or was too slow; another try may go better."""
