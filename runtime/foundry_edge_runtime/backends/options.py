"""What every session of ONNX Runtime on a checked graph is told."""

from __future__ import annotations

from typing import Any

from foundry_edge_runtime.backends.threads import set_threads
from foundry_edge_runtime.bundle.load import Graph

_QUIET = 4  # only fatal messages: what goes wrong is raised, and said once


def session_options(library: Any, graph: Graph, threads: int) -> Any:
    """Options of a session on the bytes of a graph, whose weights lie in its folder.

    Args:
        library: the module onnxruntime.
        graph: from a bundle, checked.
        threads: CPU threads.
    """
    options = library.SessionOptions()
    options.log_severity_level = _QUIET
    set_threads(options, threads)
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(graph.folder)
    )
    return options
