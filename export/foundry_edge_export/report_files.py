"""report.json, report.md and report.html beside the manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foundry_edge_export.page import html, markdown
from foundry_edge_export.report import ExportReport, carried_over
from foundry_edge_runtime.files import write_text

JSON, MARKDOWN, HTML = "report.json", "report.md", "report.html"


def write_report(report: ExportReport) -> Path:
    """Describe the whole bundle; what an earlier report knows of rungs that were not built anew stays.

    Returns:
        The HTML page.

    Raises:
        StorageError: the disk is full or the folder cannot be written.
    """
    folder = report.bundle
    record = carried_over(report.as_dict(whole=True), _earlier(folder / JSON))
    write_text(folder / JSON, json.dumps(record, indent=1, allow_nan=False) + "\n")
    write_text(folder / MARKDOWN, markdown(record))
    write_text(folder / HTML, html(record))
    return folder / HTML


def _earlier(path: Path) -> dict[str, Any]:
    """The report of an earlier export; nothing when there is none, or it is no longer one."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    whole = isinstance(record, dict) and record.get("schema") == 1 and {"rungs", "bundle"} <= set(record)
    return record if whole else {}
