"""Options of the commands that use a bundle: one name, one help text, one meaning."""

from __future__ import annotations

from typing import Annotated

import typer

_DEFAULT_BUNDLE = "Bundle to use [default: $FOUNDRY_EDGE_BUNDLE, ./foundry-out/bundle, the embedded one]."

Bundle = Annotated[str | None, typer.Option("--bundle", metavar="DIR", help=_DEFAULT_BUNDLE)]
BundleArgument = Annotated[str | None, typer.Argument(metavar="[BUNDLE]", help=_DEFAULT_BUNDLE)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else.")]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        "--max-latency-ms", metavar="X", help="Highest latency of grouping and engine (p90, measured here)."
    ),
]
MinAccuracy = Annotated[
    float | None, typer.Option("--min-accuracy", metavar="A", help="Lowest accuracy of the head, in percent.")
]
MaxMemory = Annotated[
    float | None,
    typer.Option(
        "--max-memory-mb", metavar="M", help="Highest peak memory of the process in MiB (measured here)."
    ),
]
Tokens = Annotated[
    int | None, typer.Option("--tokens", metavar="N", help="Only engines with this many SuperTokens.")
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="P", help="Only engines of this precision: fp32, fp16, int8 or int8-fp16."
    ),
]
Backend = Annotated[
    str | None, typer.Option("--backend", metavar="B", help="Only this backend; `doctor` lists them.")
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Exit with 1 when no engine, or a scan itself, keeps within the budget."),
]
Salvage = Annotated[
    bool, typer.Option("--salvage", help="Keep the whole points of a truncated file, with a warning.")
]
Columns = Annotated[
    str | None, typer.Option("--columns", help="Columns of a headerless table, e.g. x,y,z,intensity.")
]
Topic = Annotated[
    str | None, typer.Option("--topic", help="Topic of a bag; needed when it has several with point clouds.")
]
Vertices = Annotated[
    bool,
    typer.Option("--vertices/--surface", help="Of a mesh: its vertices, or points sampled on its surface."),
]
