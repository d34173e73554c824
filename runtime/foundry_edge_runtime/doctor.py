"""`foundry-edge doctor`: what is installed, what works, and where things are kept."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from foundry_edge_runtime.backends.registry import backend_statuses
from foundry_edge_runtime.bundle.load import Bundle, load_bundle
from foundry_edge_runtime.cache import cache_folder
from foundry_edge_runtime.device import device
from foundry_edge_runtime.errors import BundleError
from foundry_edge_runtime.grouping import GroupingPath, accelerate
from foundry_edge_runtime.planned import with_plans
from foundry_edge_runtime.profile.store import load_profile
from foundry_edge_runtime.versions import versions

SCHEMA = 1
DISTRIBUTION = "foundry-edge"
_LIBRARIES = (DISTRIBUTION, "numpy", "onnxruntime", "pydantic", "typer", "rich")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?.*;.*extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Extra:
    """An optional part of the installation.

    Attributes:
        name: of the extra.
        missing: its packages that are not installed.
        command: what installs it.
    """

    name: str
    missing: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything `doctor` found; nothing in it is an error by itself.

    Attributes:
        versions: of the program, Python and the libraries of the base install.
        device: CPU, GPUs, board (see `device`).
        backends: name, availability, version, reason and GPU of each.
        grouping: which form of it would serve, and why.
        extras: optional parts.
        cache: folder of the profiles, and whether it can be written.
        bundle: id, source, folder and rungs of the default bundle, what was measured and built here, and what
            was built and cannot be used, or the reason why the bundle cannot.
    """

    versions: dict[str, str]
    device: dict[str, str]
    backends: tuple[dict[str, Any], ...]
    grouping: GroupingPath
    extras: tuple[Extra, ...]
    cache: dict[str, Any]
    bundle: dict[str, Any]

    @property
    def healthy(self) -> bool:
        """Whether `run` would work: some backend is available and the default bundle is sound."""
        return any(one["available"] for one in self.backends) and "error" not in self.bundle

    def as_json(self) -> dict[str, Any]:
        """The object that `doctor --json` prints."""
        return {
            "schema": SCHEMA,
            "healthy": self.healthy,
            "versions": self.versions,
            "device": self.device,
            "backends": list(self.backends),
            "grouping": vars(self.grouping),
            "extras": [
                {
                    "name": one.name,
                    "installed": not one.missing,
                    "missing": list(one.missing),
                    "command": one.command,
                }
                for one in self.extras
            ],
            "cache": self.cache,
            "bundle": self.bundle,
        }


def doctor(bundle: str | os.PathLike[str] | None = None) -> Diagnosis:
    """Look at the installation; a part that is broken is listed with its reason.

    Args:
        bundle: a folder; None looks at the default one.

    Raises:
        EnvironmentFault: no build of ONNX Runtime is installed.
    """
    return Diagnosis(
        versions={"python": platform.python_version(), **versions(_LIBRARIES)},
        device=device(),
        backends=tuple(vars(status) for status in backend_statuses()),
        grouping=accelerate(compile_now=False),
        extras=tuple(extras()),
        cache=_cache(),
        bundle=_bundle(bundle),
    )


def extras() -> list[Extra]:
    """The extras that the installed distribution declares, and which of their packages are missing."""
    wanted: dict[str, set[str]] = {}
    for line in metadata.requires(DISTRIBUTION) or []:
        match = _REQUIREMENT.match(line)
        if match:
            name, inner, extra = match.groups()
            wanted.setdefault(extra, set()).update([f"[{inner}]"] if inner else [name])
    return [
        Extra(name, tuple(sorted(_missing(name, wanted))), f"pip install '{DISTRIBUTION}[{name}]'")
        for name in wanted
        if name != "dev"
    ]


def _missing(extra: str, wanted: dict[str, set[str]]) -> set[str]:
    """Packages of an extra that are not installed; an extra may name others of this distribution."""
    found: set[str] = set()
    for name in wanted.get(extra, set()):
        if name.startswith("["):
            for inner in name.strip("[]").split(","):
                found |= _missing(inner.strip(), wanted)
        elif not _installed(name):
            found.add(name)
    return found


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cache() -> dict[str, Any]:
    folder = cache_folder()
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return {"folder": str(folder), "writable": os.access(nearest, os.W_OK)}


def _bundle(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    try:
        bundle = load_bundle(path)
        files = bundle.verify()
    except BundleError as error:
        return {"error": str(error)}
    return _described(bundle, len(files))


def _described(bundle: Bundle, files: int) -> dict[str, Any]:
    problems: list[str] = []
    profile = with_plans(load_profile(bundle.manifest), bundle.manifest, problems.append)
    return {
        "id": bundle.manifest.id,
        "source": bundle.source,
        "folder": str(bundle.folder),
        "rungs": [rung.name for rung in bundle.manifest.rungs],
        "measured_here": [rung.name for rung in bundle.manifest.rungs if profile.measured(rung)],
        "built_here": [f"{one.rung} on {one.backend}" for one in profile.planned or ()],
        "unusable_plans": problems,
        "files_verified": files,
    }
