"""What `run` leaves behind of each result: features, points, a picture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from foundry_edge_runtime.errors import InputError
from foundry_edge_runtime.files import refuse_uri
from foundry_edge_runtime.parquet import SUFFIX, ParquetFile
from foundry_edge_runtime.readers.detect import SUFFIXES
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.save import feature_file, save_features
from foundry_edge_runtime.streams.inputs import Scans

_PICTURES = (".png", ".html")


@dataclass(frozen=True)
class Wanted:
    """What is to be kept.

    Attributes:
        save: folder for one npz a scan, or a Parquet file for all.
        per_point: features and colours of every point, too; needs a folder.
        viz: a picture (.png) or a page (.html) of a single scan.

    Raises:
        InputError: these do not go together, or name no place on this machine.
    """

    save: str | os.PathLike[str] | None = None
    per_point: bool = False
    viz: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.per_point and (self.save is None or self.parquet):
            raise InputError("--per-point needs a folder to write to", remedy="add --save DIR")
        if self.viz is not None and Path(self.viz).suffix.lower() not in _PICTURES:
            raise InputError(f"--viz must end in .png or .html, found {os.fspath(self.viz)!r}")
        if self.viz is not None:
            refuse_uri(self.viz, "--viz")
        if self.save is not None:
            refuse_uri(self.save, "--save")
            _refuse_name(Path(self.save), os.fspath(self.save))

    @property
    def parquet(self) -> bool:
        """Whether features go to one Parquet file."""
        return self.save is not None and Path(self.save).suffix.lower() == SUFFIX

    @property
    def folder(self) -> Path | None:
        """The folder for one file a scan."""
        return None if self.save is None or self.parquet else Path(self.save)

    def refuse(self, scans: Scans, ledger: bool, parts: bool = False) -> None:
        """What does not go with these scans, a ledger, or the parts of points.

        Raises:
            InputError: see the message.
        """
        if self.viz is not None and scans.many:
            raise InputError("--viz draws one scan", remedy="give a single file")
        if self.parquet and parts:
            raise InputError(
                "a Parquet file has a row for each scan and holds no parts of points",
                where="--save",
                remedy="give --save a folder",
            )
        if self.parquet and ledger:
            raise InputError(
                "a Parquet file cannot be added to, so it does not go with --ledger",
                remedy="give --save a folder",
            )


def _refuse_name(path: Path, given: str) -> None:
    """A file where `--save` needs a folder, the name of one, or a folder where it needs a file."""
    if not given:
        raise InputError("empty path", where="--save", remedy="give a folder")
    folder = path.is_dir()
    if path.suffix.lower() == SUFFIX:
        if folder:
            raise InputError("is a folder", where=path, remedy="give --save a Parquet file")
    elif path.is_file():
        raise InputError("is a file", where=path, remedy="give --save a folder")
    elif path.suffix.lower() in SUFFIXES and not folder:
        raise InputError(
            "is the name of a file, and each scan gets one of its own",
            where=path,
            remedy="give --save a folder or a .parquet file",
        )


class Keeper:
    """Writes what is wanted of each result.

    Args:
        wanted: what.
        root: the folder that the scans are in, when they are in one.

    Raises:
        MissingExtraError: a package for it is not installed.
        StorageError: it cannot be written.
    """

    def __init__(self, wanted: Wanted, root: Path | None = None) -> None:
        self._wanted, self._root = wanted, root
        self._table: ParquetFile | None = None
        self._drawn = False
        if wanted.viz is not None:
            from foundry_edge_runtime.viz import require  # noqa: PLC0415 - rarely needed

            require(Path(wanted.viz))
        if wanted.parquet and wanted.save is not None:
            self._table = ParquetFile(Path(wanted.save))

    def keep(self, result: Result, name: str) -> Result:
        """Write what is wanted of a result.

        Args:
            result: what was computed.
            name: of its input.

        Returns:
            The result, with the files it was written to.

        Raises:
            StorageError: the disk is full or the folder cannot be written; older files are left as they were.
            InputError: a picture is wanted of a second scan.
        """
        if self._wanted.viz is not None:
            self._draw(result, name, Path(self._wanted.viz))
        if self._table is not None:
            result = self._table.add(result)
        elif self._wanted.folder is not None:
            path = feature_file(name, self._wanted.folder, self._root, result.scan)
            result = save_features(result, path, per_point=self._wanted.per_point)
        return result

    def _draw(self, result: Result, name: str, picture: Path) -> None:
        from foundry_edge_runtime.viz import draw  # noqa: PLC0415 - rarely needed

        if self._drawn:
            raise InputError(
                f"--viz draws one scan, and this holds several; the first is in {picture}",
                where=name,
                remedy="leave out --viz",
            )
        draw(result, picture)
        self._drawn = True

    def close(self, error: BaseException | None = None) -> None:
        """Finish what is under way.

        Raises:
            StorageError: it cannot be written.
        """
        if self._table is not None:
            self._table.close(error)
