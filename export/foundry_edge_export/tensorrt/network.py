"""ONNX to a strongly typed network: every type is the graph's own, INT8 by its Q/DQ pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundry_edge_export.tensorrt.failures import RefusedError
from foundry_edge_export.tensorrt.messages import parse_problem
from foundry_edge_runtime.backends.trt.messages import Messages, new_log


@dataclass(frozen=True)
class Network:
    """A parsed graph and the objects that must outlive it.

    Attributes:
        library: tensorrt or tensorrt_rtx.
        builder, definition, parser, log: its objects.
        messages: what it said so far.
    """

    library: Any
    builder: Any
    definition: Any
    parser: Any
    log: Any
    messages: Messages


def parse(library: Any, path: Path) -> Network:
    """Parse an ONNX file whose external data were checked.

    Args:
        library: tensorrt or tensorrt_rtx.
        path: of the graph, beside its weights.

    Raises:
        RefusedError: the parser refuses a node; names it.
    """
    messages = Messages()
    log = new_log(library, messages)
    builder = library.Builder(log)
    definition = builder.create_network(_flags(library))
    parser = library.OnnxParser(definition, log)
    if not parser.parse_from_file(str(path)):
        raise RefusedError(f"the parser refuses {parse_problem(parser)}", where=path.name)
    return Network(library, builder, definition, parser, log, messages)


def _flags(library: Any) -> int:
    """Strong typing, and the explicit batch that newer releases no longer name because they have no other."""
    known = library.NetworkDefinitionCreationFlag
    names = [name for name in ("STRONGLY_TYPED", "EXPLICIT_BATCH") if hasattr(known, name)]
    return sum(1 << int(getattr(known, name)) for name in names)
