"""How another process ended, in a few words."""

from __future__ import annotations

import signal


def ending(code: int, output: str = "") -> str:
    """What became of a process, e.g. "died of SIGKILL" or "ended with exit code 1 (ValueError: a bug)".

    Args:
        code: as `subprocess` gives it: below 0 when a signal ended it.
        output: what it wrote; its last line is told.
    """
    how = f"died of {_name(-code)}" if code < 0 else f"ended with exit code {code}"
    words = last_line(output)
    return f"{how} ({words})" if words else how


def last_line(output: str) -> str:
    """The last line of what a process wrote; "" when it wrote nothing."""
    return next(iter(output.strip().splitlines()[-1:]), "").strip()


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
