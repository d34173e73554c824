"""The timing cache on disk: kernels timed for one rung are not timed again for the next."""

from __future__ import annotations

import hashlib

from foundry_edge_runtime.errors import StorageError
from foundry_edge_runtime.files import replacing
from foundry_edge_runtime.plans import PlanDevice, PlanStore
from foundry_edge_runtime.plans.folder import opened, read_own

_LIMIT = 256 << 20
_DIGEST = 32


def timing_name(backend: str, version: str, device: PlanDevice) -> str:
    """Its file's name: one for each library version and device."""
    key = f"{backend} {version} {device.model_dump_json()}"
    return f"timing-{backend}-{hashlib.sha256(key.encode()).hexdigest()[:20]}.cache"


def read_timing(store: PlanStore, name: str) -> bytes:
    """The cache; empty when there is none or it was damaged, which only costs time."""
    try:
        with opened(store.folder) as folder:
            content = read_own(folder, name, _LIMIT)
    except (ValueError, FileNotFoundError, StorageError):
        return b""
    digest, payload = content[:_DIGEST], content[_DIGEST:]
    return payload if hashlib.sha256(payload).digest() == digest else b""


def write_timing(store: PlanStore, name: str, payload: bytes) -> None:
    """Keep it, with its hash.

    Raises:
        StorageError: the disk is full.
    """
    with replacing(store.folder / name) as partial:
        partial.write_bytes(hashlib.sha256(payload).digest() + payload)
