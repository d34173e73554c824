"""`cuda.bindings.nvrtc`: machine code is the source itself. Each call gives its status first."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType
from typing import Any

OPTIONS = [b"--gpu-architecture=sm_87", b"--fmad=false", b"--ftz=false"]


class nvrtcResult(IntEnum):  # noqa: N801 - NVIDIA's name
    NVRTC_SUCCESS = 0
    NVRTC_ERROR_COMPILATION = 6


_DONE = (nvrtcResult.NVRTC_SUCCESS,)


@dataclass
class _Nvrtc:
    """Programs that were made and not destroyed, and what is said of each."""

    refusal: str
    programs: list[bytes] = field(default_factory=list)

    def create(
        self, source: bytes, name: bytes, count: int, headers: list[bytes], includes: list[bytes]
    ) -> Any:
        assert (count, headers, includes) == (0, [], [])
        assert name.endswith(b".cu")
        self.programs.append(source)
        return (*_DONE, source)

    def compile(self, program: bytes, count: int, options: list[bytes]) -> Any:
        assert program in self.programs
        assert (count, options) == (len(OPTIONS), OPTIONS)
        return (nvrtcResult.NVRTC_ERROR_COMPILATION,) if self.refusal else _DONE

    def said(self) -> bytes:
        return self.refusal.encode() + b"\n\0"

    def destroy(self, program: bytes) -> Any:
        self.programs.remove(program)
        return _DONE


def _put(target: bytearray, content: bytes) -> Any:
    assert len(target) == len(content)
    target[:] = content
    return _DONE


def nvrtc(refusal: str = "") -> ModuleType:
    """The module; with ``refusal``, the compiler says that and nothing is compiled."""
    state = _Nvrtc(refusal)
    module: Any = ModuleType("cuda.bindings.nvrtc")
    module.nvrtcResult = nvrtcResult
    module.programs = state.programs
    module.nvrtcVersion = lambda: (*_DONE, 13, 0)
    module.nvrtcCreateProgram = state.create
    module.nvrtcCompileProgram = state.compile
    module.nvrtcGetCUBINSize = lambda program: (*_DONE, len(program))
    module.nvrtcGetCUBIN = lambda program, code: _put(code, program)
    module.nvrtcGetProgramLogSize = lambda _program: (*_DONE, len(state.said()))
    module.nvrtcGetProgramLog = lambda _program, text: _put(text, state.said())
    module.nvrtcDestroyProgram = state.destroy
    found: ModuleType = module
    return found
