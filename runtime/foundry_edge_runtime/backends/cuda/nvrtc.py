"""CUDA C++ to machine code by NVRTC, through cuda-python (``cuda.bindings.nvrtc``)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from foundry_edge_runtime.backends.cuda.driver import unimportable
from foundry_edge_runtime.errors import BackendError, first_line

_NAME = "NVRTC"
_INSTALL = "install the CUDA toolkit, or: pip install nvidia-cuda-nvrtc"


def compile_source(source: str, capability: tuple[int, int]) -> bytes:
    """Machine code for GPUs of a compute capability; no product and sum are fused.

    Raises:
        BackendError: NVRTC is not installed, does not know such GPUs, or refuses the source.
    """
    library = _library()
    options = ["--gpu-architecture=sm_{}{}".format(*capability), "--fmad=false", "--ftz=false"]
    program = _checked(library, library.nvrtcCreateProgram(source.encode(), b"grouping.cu", 0, [], []))
    try:
        status, *_ = library.nvrtcCompileProgram(program, len(options), [one.encode() for one in options])
        if status != library.nvrtcResult.NVRTC_SUCCESS:
            raise _error(status, _log(library, program))
        code = bytearray(_checked(library, library.nvrtcGetCUBINSize(program)))
        _checked(library, library.nvrtcGetCUBIN(program, code))
    finally:
        library.nvrtcDestroyProgram(program)
    return bytes(code)


def _library() -> Any:
    """The bindings, after they have found the library itself: they look for it when they are first called."""
    try:
        bindings = import_module("cuda.bindings.nvrtc")
    except (ImportError, OSError) as error:
        raise BackendError(unimportable(error), where=_NAME, remedy=_INSTALL) from error
    try:
        bindings.nvrtcVersion()
    except Exception as error:  # each release has its own exception for a library that is not there
        problem = f"not installed ({type(error).__name__})"
        raise BackendError(problem, where=_NAME, remedy=_INSTALL) from error
    return bindings


def _checked(library: Any, answer: tuple[Any, ...]) -> Any:
    """The result of a call, which gives its status first."""
    status, *results = answer
    if status != library.nvrtcResult.NVRTC_SUCCESS:
        raise _error(status, "")
    return results[0] if results else None


def _log(library: Any, program: Any) -> str:
    """What the compiler says first."""
    text = bytearray(_checked(library, library.nvrtcGetProgramLogSize(program)))
    _checked(library, library.nvrtcGetProgramLog(program, text))
    return first_line(Exception(text.rstrip(b"\0").decode(errors="replace")))


def _error(status: Any, said: str) -> BackendError:
    word = getattr(status, "name", str(status))
    return BackendError(f"the kernels cannot be compiled: {said or word}", where=_NAME)
