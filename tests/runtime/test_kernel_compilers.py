"""The kernels of grouping as NVIDIA's own compilers take them; neither needs a GPU."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foundry_edge_runtime.backends.cuda import grouping, nvrtc, py_cuda

SOURCE = Path(grouping.__file__).with_name("grouping.cu")
KERNELS = (b"farthest_points", b"nearest_points")
BOARDS = {"Xavier": (7, 2), "Orin": (8, 7), "Ada": (8, 9), "Hopper": (9, 0), "Blackwell": (12, 0)}


def bindings() -> Any:
    """cuda-python's, with NVRTC behind them."""
    found = pytest.importorskip("cuda.bindings.nvrtc", reason="needs cuda-python", exc_type=ImportError)
    try:
        found.nvrtcVersion()
    except Exception as error:  # each release has its own
        pytest.skip(f"NVRTC is not installed ({type(error).__name__})")
    return found


@pytest.mark.parametrize("board", BOARDS)
def test_nvrtc_compiles_them(board: str) -> None:
    major, minor = BOARDS[board]
    _, *version = bindings().nvrtcVersion()
    _, known = bindings().nvrtcGetSupportedArchs()
    if 10 * major + minor not in known:
        pytest.skip(f"NVRTC {version} does not know compute capability {major}.{minor}")
    code = nvrtc.compile_source(SOURCE.read_text(), (major, minor))
    assert code.startswith(b"\x7fELF")
    assert all(name in code for name in KERNELS)


def test_nvcc_compiles_them_by_the_options_that_pycuda_hands_over(tmp_path: Path) -> None:
    compiler = shutil.which("nvcc")
    if compiler is None:
        pytest.skip("nvcc is not installed")
    options = [*py_cuda.EXACT, "-arch", "sm_87"]
    for target in ("cubin", "ptx"):
        command = [compiler, f"--{target}", *options, "-o", str(tmp_path / target), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert all(name in (tmp_path / "cubin").read_bytes() for name in KERNELS)
    assert_nothing_is_fused((tmp_path / "ptx").read_text())


def test_nvrtc_fuses_nothing() -> None:
    library = bindings()
    _, program = library.nvrtcCreateProgram(SOURCE.read_bytes(), b"grouping.cu", 0, [], [])
    options = [b"--gpu-architecture=compute_87", b"--fmad=false", b"--ftz=false"]
    library.nvrtcCompileProgram(program, len(options), options)
    _, size = library.nvrtcGetPTXSize(program)
    text = bytearray(size)
    library.nvrtcGetPTX(program, text)
    library.nvrtcDestroyProgram(program)
    assert_nothing_is_fused(text.decode())


def assert_nothing_is_fused(assembly: str) -> None:
    """Each operation on floats names its rounding, which also keeps later stages from fusing it."""
    operations = re.findall(r"\b((?:add|sub|mul|fma|mad)\.[a-z.]*f32)\b", assembly)
    assert set(operations) == {"add.rn.f32", "sub.rn.f32", "mul.rn.f32"}
    assert len(operations) == 2 * (3 + 3 + 2) + 1
