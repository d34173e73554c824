"""A scan as one HTML file that turns in a browser: no network, no library, nothing beside it."""

from __future__ import annotations

import base64
import html
import json
import re
from pathlib import Path

import numpy as np

from foundry_edge_runtime.files import write_text
from foundry_edge_runtime.result import Result
from foundry_edge_runtime.viz.scene import PartColours, Scene, scene_of

MOST = 300_000
_TEMPLATE = Path(__file__).resolve().parent.parent / "assets" / "viz" / "page.html"
_PARTS = '<button id="parts" aria-pressed="false">by part</button>'
_STEPS = 32767  # positions are 16-bit: a hundred-thousandth of the scan


def write_page(result: Result, path: Path) -> None:
    """Write the page.

    Raises:
        StorageError: the file cannot be written.
    """
    write_text(path, page_of(scene_of(result, MOST)))


def page_of(scene: Scene) -> str:
    """The page as text; names from files are escaped, and its policy allows no connection at all."""
    data = {
        "positions": _packed((scene.xyz * _STEPS).round().astype("<i2")),
        "features": _packed(scene.features),
        "groups": _packed(scene.groups),
    }
    if scene.parts is not None:
        data["parts"] = _packed(scene.parts.points)
    filled = {
        "TITLE": html.escape(scene.title),
        "CAPTION": html.escape(scene.caption),
        "DATA": json.dumps(data),
        "PARTS": "" if scene.parts is None else _PARTS,
        "LEGEND": "" if scene.parts is None else _legend(scene.parts),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    return re.sub("@(TITLE|CAPTION|DATA|PARTS|LEGEND)@", lambda found: filled[found[1]], text)


def _legend(parts: PartColours) -> str:
    """A list of the parts, each with its colour."""
    rows = "".join(
        f'<li><span style="background:#{colour.tobytes().hex()}"></span>{html.escape(name)}</li>'
        for name, colour in parts.legend
    )
    return f'<ul id="legend">{rows}</ul>'


def _packed(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
