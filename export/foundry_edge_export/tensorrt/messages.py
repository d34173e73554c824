"""What the ONNX parser objects to, on one line."""

from __future__ import annotations

from typing import Any

from foundry_edge_runtime.backends.trt.messages import one_line


def parse_problem(parser: Any) -> str:
    """Everything the ONNX parser objects to, the node first."""
    found = [_parse_error(parser.get_error(index)) for index in range(parser.num_errors)]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return (found[0] + more) if found else "the parser gave no reason"


def _parse_error(error: Any) -> str:
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    where = name or (f"number {error.node()}" if error.node() >= 0 else "")
    node = f"node {where}" + (f" ({operator})" if operator else "") + ": " if where else ""
    return f"{node}{one_line(error.desc())} [{getattr(error.code(), 'name', error.code())}]"
