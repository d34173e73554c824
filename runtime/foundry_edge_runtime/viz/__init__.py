"""`--viz`: a picture of a scan, or a page that shows it from all sides."""

from __future__ import annotations

from pathlib import Path

from foundry_edge_runtime.result import Result


def require(path: Path) -> None:
    """Refuse before anything is computed what could not be drawn afterwards.

    Raises:
        MissingExtraError: a picture is asked for and matplotlib is not installed.
    """
    if path.suffix.lower() == ".png":
        from foundry_edge_runtime.readers.optional import optional  # noqa: PLC0415 - rarely needed

        optional("matplotlib", "viz", "drawing a picture")


def draw(result: Result, path: Path) -> None:
    """Draw a scan by feature, by group and, where they are known, by part: .png is a picture of two of these
    (by feature, and by part rather than by group), .html a page that turns and has them all.

    Raises:
        StorageError: the file cannot be written.
    """
    if path.suffix.lower() == ".png":
        from foundry_edge_runtime.viz.picture import write_picture  # noqa: PLC0415 - an extra

        write_picture(result, path)
    else:
        from foundry_edge_runtime.viz.page import write_page  # noqa: PLC0415 - rarely needed

        write_page(result, path)
