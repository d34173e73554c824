"""Bundles: where they are found, what they must hold, and the checks before use."""

from foundry_edge_runtime.bundle.load import Bundle, Graph, load_bundle, read_manifest
from foundry_edge_runtime.bundle.locate import EMBEDDED, LOCAL, VARIABLE, locate_bundle
from foundry_edge_runtime.bundle.manifest import MANIFEST, Manifest, Rung

__all__ = [
    "EMBEDDED",
    "LOCAL",
    "MANIFEST",
    "VARIABLE",
    "Bundle",
    "Graph",
    "Manifest",
    "Rung",
    "load_bundle",
    "locate_bundle",
    "read_manifest",
]
