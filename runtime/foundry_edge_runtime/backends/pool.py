"""One pool of CPU threads for all the ONNX Runtime sessions of a process.

A session's own threads spin on for a while after each run, against the other sessions'. Four rungs that
took turns on 2 CPUs, as in an adaptive session, needed up to four times as long as with one pool
(docs/runtime.md).
"""

from __future__ import annotations

from threading import Lock
from typing import Any

_lock = Lock()
_sizes: list[int] = []  # what the first session asked for; 0 where there is no common pool


def share_threads(library: Any, options: Any, threads: int) -> None:
    """Let a session use the pool of the process.

    It gets threads of its own where it asks for another number than the first session did, where this
    release of ONNX Runtime has no common pool, and where other code of the process made that pool before.

    Args:
        library: the module onnxruntime.
        options: of the session; changed.
        threads: CPU threads.
    """
    with _lock:
        if not _sizes:
            _sizes.append(_made(library, threads))
    if threads == _sizes[0]:
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = threads


def _made(library: Any, threads: int) -> int:
    make = getattr(library, "set_global_thread_pool_sizes", None)
    if make is None:
        return 0
    try:
        make(threads, 1)
    except Exception:  # the binding's error types differ by release; sessions then have their own pools
        return 0
    return threads
