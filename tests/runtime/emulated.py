"""CUDA kernels on a CPU: the source that GPUs are given, compiled by g++ with emulation/emulator.cpp."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_EMULATOR = Path(__file__).parent / "emulation" / "emulator.cpp"
_FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
_OUTCOMES = (
    "done",
    "not all threads of a block reach a barrier",
    "more shared memory is used than was asked for",
    "there is no such kernel",
)
COMPILER = shutil.which("g++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="emulated kernels need g++")


class Emulator:
    """The kernels of one source, compiled.

    Args:
        source: CUDA C++.
    """

    def __init__(self, source: str) -> None:
        assert COMPILER is not None
        with tempfile.TemporaryDirectory() as name:
            kernels, library = Path(name, "kernels.cu"), Path(name, "kernels.so")
            kernels.write_text(source)
            subprocess.run(
                [COMPILER, *_FLAGS, f'-DKERNELS="{kernels}"', str(_EMULATOR), "-o", str(library)], check=True
            )
            self._launch = ctypes.CDLL(str(library)).launch
        self._launch.argtypes = [
            ctypes.c_char_p,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_size_t,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_void_p,
        ]

    def launch(
        self,
        name: str,
        blocks: int,
        threads: int,
        shared: int,
        arguments: Sequence[Any],
        *,
        backwards: bool = False,
        without: int = 0,
    ) -> None:
        """Run a kernel to its end.

        Args:
            name: of the kernel.
            blocks, threads, shared: as for CUDA.
            arguments: ctypes objects of the kernel's types.
            backwards: the last thread goes first.
            without: the line of a barrier that is to be passed over.

        Raises:
            RuntimeError: the kernel breaks a promise.
        """
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(value) for value in arguments))
        outcome = self._launch(name.encode(), blocks, threads, shared, backwards, without, pointers)
        if outcome:
            raise RuntimeError(f"kernel {name}: {_OUTCOMES[outcome]}")


@cache
def emulator(source: str) -> Emulator:
    """The kernels of a source, compiled once."""
    return Emulator(source)
