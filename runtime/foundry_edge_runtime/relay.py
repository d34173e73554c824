"""What the runtime logs (`logging`, below "foundry_edge_runtime"), told where everything else is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOGGER = "foundry_edge_runtime"


class _Relay(logging.Handler):
    def __init__(self, notify: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._notify = notify

    def emit(self, record: logging.LogRecord) -> None:
        self._notify(record.getMessage())


@contextmanager
def relayed(notify: Callable[[str], None]) -> Iterator[None]:
    """Tell warnings of the runtime, one line each, while this lasts."""
    logger, handler = logging.getLogger(LOGGER), _Relay(notify)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
