"""What was measured on this device, and where that is kept."""

from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.profile.measure import QUICK, THOROUGH, Effort, measure
from foundry_edge_runtime.profile.model import EngineFailure, EngineProfile, Profile, Quantiles
from foundry_edge_runtime.profile.store import (
    empty_profile,
    load_profile,
    profile_path,
    save_profile,
)

__all__ = [
    "QUICK",
    "THOROUGH",
    "Effort",
    "EngineFailure",
    "EngineProfile",
    "Profile",
    "Quantiles",
    "cache_folder",
    "empty_profile",
    "load_profile",
    "measure",
    "profile_path",
    "save_profile",
]
