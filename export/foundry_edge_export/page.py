"""The report as Markdown, and as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from foundry_edge_export.cells import COLUMNS, TEXT, Record, legend, part_lines, row
from foundry_edge_export.plots import plots

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2328; background: #fff; max-width: 72rem;
       margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid #d0d7de; text-align: right; white-space: nowrap; }
th.text, td.text { text-align: left; }
.failed { color: #b91c1c; font-weight: 600; }
.plots { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1.5rem 0; }
svg { font: 11px system-ui, sans-serif; fill: #1f2328; max-width: 100%; height: auto; }
svg .title { font-size: 13px; font-weight: 600; }
svg .middle { text-anchor: middle; }
svg .end { text-anchor: end; }
svg .axis { stroke: #57606a; }
svg .grid { stroke: #e6e9ed; }
"""


def markdown(record: Record) -> str:
    """The table, what it means, and the sensitivity of the blocks."""
    rungs = record["rungs"]
    lines = [f"# {_title(record)}", "", *_markdown_table(COLUMNS, [row(rung) for rung in rungs]), ""]
    lines += [f"- {line}" for line in _lines(record)]
    for budget, losses in record["sensitivity"].items():
        lines += ["", f"## {budget}: one block alone in INT8", ""]
        rows = [
            (
                loss["block"],
                f"{100 * loss['share']:.1f} %",
                f"{loss['cosine_mean']:.6f}",
                f"{loss['cosine_worst']:.5f}",
            )
            for loss in losses
        ]
        lines += _markdown_table(("block", "share of the loss", "cosine, mean", "worst cloud"), rows)
    return "\n".join(lines) + "\n"


def html(record: Record) -> str:
    """The same with plots: quality against cost, losses by block, cosines of single tokens."""
    rungs, title = record["rungs"], escape(_title(record))
    notes = "".join(f"<li>{escape(line)}</li>" for line in _lines(record))
    head = "".join(f"<th{_kind(name)}>{name}</th>" for name in COLUMNS)
    body = "".join(_html_row(rung) for rung in rungs)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>\n<ul>{notes}</ul>\n"
        f'<div class="plots">{"".join(plots(record))}</div>\n</body></html>\n'
    )


def _lines(record: Record) -> list[str]:
    """What the table means, what the head for parts does, and notes."""
    return [*legend(record["rungs"]), *part_lines(record["parts"]), *record["notes"]]


def _title(record: Record) -> str:
    return f"Export of bundle {record['bundle']['id']}"


def _markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [names, ["---"] * len(names), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def _html_row(rung: Record) -> str:
    failed = not all(rung["gates"].values())
    cells = "".join(
        f"<td{_kind(name)}>{escape(cell)}</td>" for name, cell in zip(COLUMNS, row(rung), strict=True)
    )
    return f'<tr class="failed">{cells}</tr>' if failed else f"<tr>{cells}</tr>"


def _kind(name: str) -> str:
    return ' class="text"' if name in TEXT else ""
