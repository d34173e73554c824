"""Bundles appear whole: files first, manifest last; what is no longer named is swept.

File names carry a hash of their content, so a new version never overwrites a file that the current
manifest names. Replacing manifest.json is the one step that changes what the bundle is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from foundry_edge_runtime.bundle import MANIFEST, Manifest
from foundry_edge_runtime.bundle.manifest import FileRef
from foundry_edge_runtime.errors import InputError, StorageError
from foundry_edge_runtime.files import is_stale, nearest_existing, replacing, sync

_RUNG = r"(s\d+(k\d+)?|scene|parts|weights)-[a-z0-9]+(-[a-z0-9]+)?"
_OURS = re.compile(rf"^({_RUNG}|model-card)-[0-9a-f]{{12}}\.(onnx|bin|md)$|^\..*\.partial$")


def file_ref(stem: str, suffix: str, content: bytes) -> FileRef:
    """A file named after its content: ``stem-<12 hex digits><suffix>``."""
    digest = hashlib.sha256(content).hexdigest()
    return FileRef(name=f"{stem}-{digest[:12]}{suffix}", bytes=len(content), sha256=digest)


def commit(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    """Make ``folder`` the bundle of this manifest and these files (name -> content).

    Whenever the process dies, the folder is as before or complete.

    Raises:
        InputError: the folder exists and is no bundle.
        StorageError: the disk is full or the folder cannot be written.
    """
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            _create(folder, manifest, files)
        else:
            check_replaceable(folder)
            _update(folder, manifest, files)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot be written ({reason})", where=folder, remedy="free space or pick another --out"
        ) from error


def check_replaceable(folder: Path) -> None:
    """Refuse a place that holds something else than a bundle.

    Raises:
        InputError: it does.
    """
    there = nearest_existing(folder)
    if not there.is_dir():
        raise InputError("is a file, expected a folder", where=there, remedy="pick another --out")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise InputError("holds other files and is no bundle", where=folder, remedy="pick another --out")


def _create(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        partial.chmod(0o755)
        _write(partial, manifest, files)
        try:
            partial.rename(folder)
        except OSError:
            if not (folder / MANIFEST).is_file():
                raise
            _update(folder, manifest, files)  # another exporter was first, and no lock held it back
        sync(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _sweep_folders(folder)


def _update(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    _write(folder, manifest, files)
    named = {MANIFEST, *files}
    for path in folder.iterdir():
        if path.name not in named and _OURS.match(path.name) and is_stale(path):
            path.unlink(missing_ok=True)
    _sweep_folders(folder)


def _write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        _write_file(folder / name, content)
    with replacing(folder / MANIFEST) as partial:
        partial.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _write_file(path: Path, content: bytes) -> None:
    """Write, or keep the same content and renew its time, so that no other exporter sweeps it."""
    try:
        if path.read_bytes() == content and not path.is_symlink():
            os.utime(path)
            return
    except FileNotFoundError:
        pass  # the usual case: it is new
    with replacing(path) as partial:
        partial.write_bytes(content)


def _sweep_folders(folder: Path) -> None:
    """Remove folders that killed exporters left beside the bundle."""
    for path in folder.parent.glob(f".{folder.name}.*.partial"):
        if path.is_dir() and is_stale(path):
            shutil.rmtree(path, ignore_errors=True)
