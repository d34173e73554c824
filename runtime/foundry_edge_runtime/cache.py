"""Where the user's cache is: profiles, plans, compiled code, groupings."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "FOUNDRY_EDGE_CACHE"


def cache_folder() -> Path:
    """$FOUNDRY_EDGE_CACHE, else the user's cache folder of this system."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("foundry-edge"))
