"""Threads of ONNX Runtime's sessions on the CPU."""

from __future__ import annotations

from typing import Any


def set_threads(options: Any, threads: int) -> None:
    """Give a session so many CPU threads, which rest as soon as a run is over.

    By default they spin on for some 35 ms after it. That wastes power between scans, and where engines take
    turns, as the warm ones of an adaptive session do, the threads of the last keep the next from the CPUs:
    four engines on 2 CPUs took up to four times as long (docs/runtime.md). ONNX Runtime's global pool would
    help as well, but then no other code of the process could have a session of its own.

    Args:
        options: of the session; changed.
        threads: CPU threads.
    """
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")
