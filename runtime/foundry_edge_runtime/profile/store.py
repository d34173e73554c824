"""Profiles in the user's cache, one file for each (device, versions, bundle)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import ValidationError

from foundry_edge_runtime.bundle.manifest import Manifest
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.device import device
from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.profile.model import Profile
from foundry_edge_runtime.versions import versions

_LIBRARIES = ("foundry-edge", "onnxruntime", "numpy")


def empty_profile(manifest: Manifest) -> Profile:
    """A profile of this device, these versions and this bundle, with nothing measured yet.

    Raises:
        EnvironmentFault: no build of ONNX Runtime is installed.
    """
    return Profile(bundle_id=manifest.id, device=device(), versions=versions(_LIBRARIES))


def profile_path(profile: Profile) -> Path:
    """Where this profile is stored."""
    key = json.dumps([profile.bundle_id, profile.device, profile.versions], sort_keys=True)
    return cache_folder() / "profiles" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def load_profile(manifest: Manifest) -> Profile:
    """The stored profile of this bundle on this device; an empty one when there is none.

    A file that cannot be read as a profile counts as none: it is measured data, and measured again.
    """
    empty = empty_profile(manifest)
    try:
        stored = Profile.model_validate_json(profile_path(empty).read_bytes())
    except (OSError, ValidationError):
        return empty
    same = (stored.bundle_id, stored.device, stored.versions) == (
        empty.bundle_id,
        empty.device,
        empty.versions,
    )
    return stored if same else empty


def save_profile(profile: Profile) -> Path:
    """Store what was measured, atomically.

    Failures and plans are not kept: next time they may be gone, or others be there.

    Raises:
        StorageError: the cache folder cannot be written.
    """
    path = profile_path(profile)
    write_text(path, profile.model_copy(update={"failures": (), "planned": None}).model_dump_json(indent=1))
    return path
