"""Options of `run` that say what goes in, how it is computed and what is kept."""

from __future__ import annotations

from typing import Annotated

import typer

Scan = Annotated[
    str,
    typer.Argument(
        metavar="SCAN|FOLDER|URI|-",
        help="A scan, a folder, a bag, ros2:/topic, or '-': a scan or a list of paths on standard input.",
    ),
]
Scene = Annotated[
    bool,
    typer.Option(
        "--scene", help="The whole scan, however large, as one sequence of groups; features, no class."
    ),
]
Parts = Annotated[
    bool,
    typer.Option("--parts", help="Name the part of every point: seat, back, leg ... of a single object."),
]
Category = Annotated[
    str | None,
    typer.Option(
        "--category",
        metavar="NAME",
        help="With --parts: whose parts [default: those of the most probable class that has any].",
    ),
]
Adaptive = Annotated[
    bool, typer.Option("--adaptive", help="Hold --max-latency-ms under load by switching engines.")
]
Batch = Annotated[
    str, typer.Option("--batch", metavar="auto|N", help="Scans to put through the engine at once.")
]
Workers = Annotated[int, typer.Option("--workers", metavar="N", help="Processes that compute.")]
Isolate = Annotated[
    bool, typer.Option("--isolate", help="A scan that takes its process down is one failure.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="auto|ADDRESS", help="Compute on a Ray cluster, with --workers actors."
    ),
]
Watch = Annotated[bool, typer.Option("--watch", help="Of a folder: wait for more scans, until a signal.")]
Ledger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        help="Keep the record of each finished scan in FILE, and pass over those in it.",
    ),
]
Save = Annotated[
    str | None,
    typer.Option(
        "--save",
        metavar="DIR|FILE.parquet",
        help="Write features: an npz file for each scan, or one Parquet file.",
    ),
]
PerPoint = Annotated[
    bool,
    typer.Option("--per-point", help="With --save DIR: features and colours of every point (npy, PLY)."),
]
Viz = Annotated[
    str | None,
    typer.Option(
        "--viz", metavar="FILE", help="Draw the scan by feature, by group and by part (.png or .html)."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of sampling a mesh's surface.", min=0)]
LogJson = Annotated[
    bool, typer.Option("--log-json", help="Logs on standard error as JSON, one object a line.")
]
