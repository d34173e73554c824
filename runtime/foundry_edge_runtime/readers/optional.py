"""Packages of optional extras, imported when a file needs them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from foundry_edge_runtime.errors import MissingExtraError


def optional(package: str, extra: str, feature: str) -> ModuleType:
    """Import a package of an extra.

    Args:
        package: import name.
        extra: of foundry-edge, that installs it.
        feature: what needs it, for the message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise MissingExtraError(package, extra, feature) from None
