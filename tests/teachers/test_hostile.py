"""Hostile checkpoints: whatever they name, nothing runs and nothing is imported."""

from __future__ import annotations

import contextlib
import copyreg
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from foundry_edge import import_teacher, load_teacher
from foundry_edge.teachers.safe_load import open_checkpoint
from foundry_edge_runtime.errors import CheckpointError
from tests.teachers import published
from tests.teachers.conftest import Save
from tests.teachers.hostile import named, pickle_of, runs, stacked, text, with_legacy_payload, with_pickle

ACTING = [
    ("os", "system"),
    ("os", "popen"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "compile"),
    ("builtins", "open"),
    ("builtins", "__import__"),
    ("builtins", "breakpoint"),
    ("__builtin__", "eval"),
    ("importlib", "import_module"),
    ("importlib._bootstrap", "_load"),
    ("io", "open"),
    ("_io", "FileIO"),
    ("sys", "modules"),
    ("shutil", "rmtree"),
    ("ctypes", "CDLL"),
    ("runpy", "run_path"),
    ("pty", "spawn"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("marshal", "loads"),
    ("types", "FunctionType"),
    ("operator", "methodcaller"),
    ("socket", "create_connection"),
    ("webbrowser", "open"),
    ("multiprocessing.util", "spawnv_passfds"),
    ("code", "InteractiveInterpreter"),
    ("timeit", "timeit"),
    ("copyreg", "add_extension"),
    ("logging", "FileHandler"),
    ("numpy", "load"),
    ("numpy.testing._private.utils", "runstring"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.serialization", "load"),
    ("torch.utils.cpp_extension", "load"),
    ("six.moves.builtins", "eval"),
    ("pathlib", "os"),
]
DOTTED = [
    ("torch", "serialization.os.system"),
    ("foundry_edge.models.store", "hashlib.sys.modules"),
    ("collections", "OrderedDict.__init__.__globals__"),
    ("pathlib", "Path.touch"),
    ("", "os.system"),
]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that must not appear."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def refusal(path: Path, name: str, out: Path) -> str:
    """Import a hostile file: exit code 2, one line that names what was refused, nothing written."""
    with pytest.raises(CheckpointError, match="refused as hostile") as caught:
        import_teacher(path, out)
    line = str(caught.value)
    assert caught.value.exit_code == 2
    assert line.startswith(f"{path}: ")
    assert name in line
    assert "foundry-edge import-teacher" in line
    assert "\n" not in line
    assert not out.exists()
    return line


@pytest.fixture
def honest(save: Save) -> Path:
    """A checkpoint that imports."""
    return save(published.point_jepa()[1])


@pytest.mark.parametrize(("module", "name"), ACTING, ids=map(".".join, ACTING))
def test_acting_global_is_refused_by_name(module: str, name: str, honest: Path, tmp_path: Path) -> None:
    payload = named(module, name) + text("x") + b"\x85R"
    refusal(with_pickle(honest, payload=payload), f"{module}.{name}", tmp_path / "out")


@pytest.mark.parametrize(("module", "name"), DOTTED, ids=map(".".join, DOTTED))
def test_acting_attribute_behind_dots_is_refused(
    module: str, name: str, honest: Path, tmp_path: Path
) -> None:
    refusal(with_pickle(honest, payload=stacked(module, name)), f"{module}.{name}", tmp_path / "out")


def opcodes(command: str) -> dict[str, bytes]:
    """Ways to call os.system with ``command``."""
    argument, function = text(command), named("os", "system")
    return {
        "REDUCE": function + argument + b"\x85R",
        "STACK_GLOBAL": stacked("os", "system") + argument + b"\x85R",
        "OBJ": b"(" + function + argument + b"o",
        "INST": b"(" + argument + b"ios\nsystem\n",
        "memo": function + b"q\x63" + b"0h\x63" + argument + b"\x85R",
        "memo of the parts": text("os") + b"\x94" + text("system") + b"\x94\x93" + argument + b"\x85R",
        "below a mark": b"(" + function + argument + b"\x85R" + b"1N",
        "in a list": b"]" + function + argument + b"\x85R" + b"a",
        "in a dict": b"}" + text("k") + function + argument + b"\x85R" + b"s",
        "twice": function + b"2" + argument + b"\x85R0",
        "partial": named("functools", "partial") + function + argument + b"\x86R" + b")R",
        "map": named("builtins", "list")
        + (named("builtins", "map") + function + b"]" + argument + b"a\x86R")
        + b"\x85R",
    }


@pytest.mark.parametrize("opcode", opcodes(""))
def test_each_way_to_call_is_refused(opcode: str, honest: Path, canary: Path, tmp_path: Path) -> None:
    payload = opcodes(f"touch {canary}")[opcode]
    refusal(with_pickle(honest, payload=payload), ".", tmp_path / "out")
    runs(payload)
    assert canary.exists(), "the payload is harmless: the test proves nothing"
    canary.unlink()


@pytest.mark.parametrize("opcode", opcodes(""))
def test_legacy_form_refuses_the_same(opcode: str, save: Save, canary: Path, tmp_path: Path) -> None:
    path = save(published.point_mae()[1], legacy=True)
    refusal(with_legacy_payload(path, opcodes(f"touch {canary}")[opcode]), ".", tmp_path / "out")


class Evil:
    """Runs a command when an ordinary loader reads it."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("function", [os.system, subprocess.call, eval, open, functools.partial(os.system)])
def test_hidden_in_the_hyper_parameters(
    function: Callable[..., Any], legacy: bool, save: Save, canary: Path, tmp_path: Path
) -> None:
    nested = {"svm_validation": [{"modelnet40": ({"deep": Evil(function, f"touch {canary}")},)}]}
    path = save(published.point_jepa(**nested)[1], legacy=legacy)
    assert "could act on this machine" in refusal(path, "names ", tmp_path / "out")


WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "pickle.", "ctypes.", "socket.", "shutil.")


class Watch:
    """Notes what the interpreter's audit hook reports while it is on (hooks cannot be taken away again)."""

    def __init__(self) -> None:
        self.on = False
        self.events: list[str] = []
        sys.addaudithook(self.hear)

    def hear(self, event: str, _: tuple[Any, ...]) -> None:
        if self.on and event.startswith(WATCHED):
            self.events.append(event)

    def during(self, path: Path) -> list[str]:
        """The events of one attempt to load ``path``."""
        self.events, self.on = [], True
        with contextlib.suppress(CheckpointError), open_checkpoint(path):
            pass
        self.on = False
        return self.events


def test_the_interpreter_sees_nothing_imported_run_or_unpickled(save: Save) -> None:
    watch, argument = Watch(), text("true")
    path = save(published.point_jepa(foreign=Evil(dict))[1])
    watch.during(path)  # whatever the standard library imports on first use
    honest = path.read_bytes()
    assert watch.during(path) == []
    for module, name in [*ACTING, ("trapmodule", "Trap"), ("antigravity", "fly"), ("this", "s")]:
        path.write_bytes(honest)
        assert watch.during(with_pickle(path, payload=named(module, name) + argument + b"\x85R")) == []
    for payload in opcodes("true").values():
        path.write_bytes(honest)
        assert watch.during(with_pickle(path, payload=payload)) == []
    watch.on = True
    runs(opcodes("true")["REDUCE"])
    watch.on = False
    assert {"pickle.find_class", "os.system"} <= set(watch.events)


def test_extension_registry_is_not_consulted(honest: Path, canary: Path, tmp_path: Path) -> None:
    copyreg.add_extension("os", "system", 240)
    try:
        for code in (b"\x82\xf0", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"):
            payload = code + text(f"touch {canary}") + b"\x85R"
            refusal(with_pickle(honest, payload=payload), "opcode EXT", tmp_path / "out")
    finally:
        copyreg.remove_extension("os", "system", 240)


def test_persistent_ids_are_storages_and_nothing_else(honest: Path, tmp_path: Path) -> None:
    original = honest.read_bytes()
    called = b"(" + named("os", "getcwd") + b")RtQ"
    refusal(with_pickle(honest, payload=called), "os.getcwd", tmp_path / "out")
    for payload in (b"Pstorage\n", text("x") + b"Q", b"(" + text("module") + b"NNNtQ", b"N]Q0"):
        honest.write_bytes(original)
        with pytest.raises(CheckpointError, match="persistent id is no tensor storage"):
            load_teacher(with_pickle(honest, payload=payload))


@pytest.mark.parametrize(
    "payload",
    [
        text("print") + b")R",
        named("torch", "FloatStorage") + b")R",
        b"})R",
        b"K\x01)\x81",
        b"\x97",
        b"N\x98",
    ],
)
def test_what_is_no_function_is_not_called(payload: bytes, honest: Path, tmp_path: Path) -> None:
    refusal(with_pickle(honest, payload=payload), "it ", tmp_path / "out")


@pytest.fixture
def trap(tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module on the path whose import, classes and states leave the canary."""
    touch = f"import pathlib; pathlib.Path({str(canary)!r}).touch()"
    (tmp_path / "trapmodule.py").write_text(f"{touch}\nclass Trap:\n    def __init__(self, *a): {touch}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "trapmodule"


def test_unknown_class_is_neither_imported_nor_called(trap: str, honest: Path) -> None:
    known = named(trap, "Trap")
    makers = [
        known + b")R",
        known + b")\x81",
        known + b")}\x92",
        b"(" + known + b"o",
        f"(i{trap}\nTrap\n".encode(),
    ]
    uses = [b"", b"}" + text("k") + b"Nsb", text("k") + b"Ns", b"Na", b"N}\x86b"]
    payload = b"0".join(maker + use for maker in makers for use in uses)
    path = with_pickle(honest, payload=payload)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.foreign == (f"{trap}.Trap",)
    assert load_teacher(path).config.width == published.WIDTH
    assert trap not in sys.modules


def test_a_stand_in_cannot_be_changed(honest: Path) -> None:
    payload = named("collections", "OrderedDict") + b"}" + text("call") + b"Nsb"
    with pytest.raises(CheckpointError, match="a state is given to something that has none"):
        load_teacher(with_pickle(honest, payload=payload))


def test_everyday_content_is_no_reason_to_warn(save: Save) -> None:
    import numpy as np

    everyday = {"numpy": np.float64(1.5), "array": np.arange(3), "device": torch.device("cpu"), "set": {1, 2}}
    everyday |= {
        "dtype": torch.float16,
        "size": torch.Size([2]),
        "bytes": b"x",
        "range": range(3),
        "none": None,
    }
    with open_checkpoint(save(published.point_jepa(**everyday)[1])) as checkpoint:
        assert checkpoint.foreign == ()


def test_parameters_and_ordered_dicts_are_read(save: Save) -> None:
    _, checkpoint = published.point_jepa()
    state = torch.nn.Module().state_dict()
    state.update(checkpoint["state_dict"])
    state["student.norm.bias"] = torch.nn.Parameter(state["student.norm.bias"])
    with open_checkpoint(save(checkpoint | {"state_dict": state})) as opened:
        tensor = opened.root["state_dict"]["student.norm.bias"]
        assert torch.equal(opened.read("bias", tensor), state["student.norm.bias"])


def test_corpus_of_artefacts(shared: Path, tmp_path: Path) -> None:
    folder = shared / "corpus" / "artefacts"
    refusal(folder / "evil.pth", "io.open", tmp_path / "out")
    assert not Path("/tmp/FOUNDRY_EDGE_CANARY_PTH").exists()  # the path is in the corpus file
    with open_checkpoint(folder / "lightning_ns.ckpt") as checkpoint:
        weight = checkpoint.read("a.weight", checkpoint.root["state_dict"]["a.weight"])
        assert weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert checkpoint.foreign == ("argparse.Namespace", "pathlib.PurePosixPath")
    with pytest.raises(CheckpointError, match="truncated"):
        load_teacher(folder / "trunc.pth")


@pytest.mark.parametrize("name", ["sys\n\x1b[31m", "Thing\n\x1b[31m"])
def test_names_of_the_file_are_printed_on_one_line(name: str, honest: Path, tmp_path: Path) -> None:
    path = with_pickle(honest, payload=stacked("package", f"os.{name}"))
    assert refusal(path, "package.os.", tmp_path / "out").isprintable()
    path = with_pickle(honest, b"\x80\x02N.", stacked("package", name))
    with open_checkpoint(path) as checkpoint:
        assert all(name.isprintable() for name in checkpoint.foreign)


def test_splicing_alone_does_no_harm(honest: Path) -> None:
    before = pickle_of(honest)
    assert load_teacher(with_pickle(honest, payload=b"N")).config.heads == published.HEADS
    assert pickle_of(honest) == before[:-1] + b"N0."
