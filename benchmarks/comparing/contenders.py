"""Who competes on objects: the teacher in every form, the published student, baselines, and every rung."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.comparing.lean import opened
from benchmarks.comparing.published import as_published, saved_macs
from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.macs import compressed_macs, teacher_macs, tokenizer_macs
from foundry_edge.models.methods import make_method
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge_runtime.backends.registry import DEFAULT, backend_statuses
from foundry_edge_runtime.bundle import load_bundle
from foundry_edge_runtime.pointcloud import FloatArray

BASELINE = "teacher, torch eager"
Runner = Callable[[FloatArray, FloatArray], object]


@dataclass(frozen=True)
class Contender:
    """One way from groups (B, c, K, 3) and centres (B, c, 3) to features.

    Attributes:
        name: of its rows.
        macs: multiply-accumulates of one cloud.
        open: makes it executable; raises where it does not work here.
        graph: folder, name and backend for `benchmarks.comparing.lean`, where it is a graph without torch.
    """

    name: str
    macs: int
    open: Callable[[], Runner]
    graph: tuple[Path, str, str] | None = None


@dataclass(frozen=True)
class Setting:
    """What all contenders share.

    Attributes:
        config: size of the teacher; its weights are random, which changes no time.
        tokens: s of the published student and of ToMe.
        depths: blocks of the truncated teachers.
        light_depths: of those that have the light tokenizer.
        threads: CPU threads of every engine.
        device: cpu or cuda.
        compiler: whether torch.compile takes part (it compiles for a minute).
        bundles: label -> folder of a bundle whose rungs take part.
        work: folder for the teacher's graphs.
    """

    config: TeacherConfig
    tokens: int
    depths: tuple[int, ...]
    light_depths: tuple[int, ...]
    threads: int
    device: str
    compiler: bool
    bundles: dict[str, Path]
    work: Path


def contenders(setting: Setting) -> Iterator[Contender]:
    """All of them; the first is the baseline of every ratio."""
    yield from _teachers(setting)
    yield from _students(setting)
    for label, folder in setting.bundles.items():
        yield from _rungs(label, folder, setting)


def _teachers(setting: Setting) -> Iterator[Contender]:
    config = setting.config
    folded = sum(teacher_macs(config).values())
    published = folded + saved_macs(config)

    def teacher(fused: bool, compiler: bool = False) -> Runner:
        module = as_published(_seeded(Teacher, config), fused)
        made: Any = torch.compile(module) if compiler else module
        return in_torch(made, setting)

    yield Contender(BASELINE, published, partial(teacher, False))
    yield Contender("teacher, torch with fused attention", published, partial(teacher, True))
    if setting.compiler:
        yield Contender("teacher, torch.compile", published, partial(teacher, True, True))
    yield from _graphs("teacher", "teacher", published, setting)


def _graphs(label: str, stem: str, macs: int, setting: Setting) -> Iterator[Contender]:
    """Graphs of `benchmarks.comparing.prepared` in ONNX Runtime."""
    for precision in ("FP32", "INT8"):
        backend = DEFAULT if setting.device == "cpu" else f"{DEFAULT}:{setting.device}"
        graph = (setting.work, f"{stem}-{precision}.onnx", backend)
        run = partial(opened, *graph, setting.threads)
        yield Contender(f"{label}, ONNX Runtime {precision}", macs, run, graph)


def _students(setting: Setting) -> Iterator[Contender]:
    config, s = setting.config, setting.tokens
    student = StudentConfig(teacher=config, tokens=(s,), query="learned")
    macs = sum(compressed_macs(student, s).values())

    def naive() -> Runner:
        return in_torch(_Counted(as_published(_seeded(Student, student)), s), setting)

    def rewritten() -> Runner:
        return in_torch(_Counted(_seeded(Student, student), s), setting)

    yield Contender(f"student as published, s={s}, torch", macs + saved_macs(config), naive)
    yield Contender(f"student rewritten exactly, s={s}, torch", macs, rewritten)
    tokenizer = tokenizer_macs(config)
    published = partial(_tokenizer, setting, as_published)
    yield Contender("tokenizer alone, published, torch", tokenizer + saved_macs(config), published)
    yield Contender("tokenizer alone, rewritten, torch", tokenizer, partial(_tokenizer, setting))
    tome = make_method("tome", config, "", tokens=(s,))
    total = sum(compressed_macs(tome.config, s).values())
    yield Contender(f"ToMe, s={s}, torch", total, partial(in_torch, _Counted(tome.eval(), s), setting))
    for depth in setting.depths:
        cut, label = _truncated(config, depth)
        total = sum(compressed_macs(cut.config).values())
        yield Contender(f"{label}, torch", total, partial(in_torch, _Counted(cut.eval(), 0), setting))
    for depth in setting.light_depths:
        cut, label = _truncated(config, depth, tokenizer="lite")
        total = sum(compressed_macs(cut.config).values())
        yield from _graphs(f"{label}, light tokenizer", f"truncation-{depth}", total, setting)


def _truncated(config: TeacherConfig, depth: int, **choices: Any) -> tuple[Compressed, str]:
    """The teacher's first blocks, and what their rows are called."""
    label = f"truncation to {depth} block{'s' if depth > 1 else ''}"
    return make_method("truncation", config, "", depth=depth, **choices), label


def _rungs(label: str, folder: Path, setting: Setting) -> Iterator[Contender]:
    bundle = load_bundle(folder)
    for rung in bundle.manifest.rungs:
        macs = sum(rung.macs.values())
        for backend in backends(setting.device):
            graph = (folder, rung.name, backend)
            name = f"{label}, {rung.name}" + ("" if backend == DEFAULT else f", {backend}")
            yield Contender(name, macs, partial(opened, *graph, setting.threads), graph)


def backends(device: str) -> list[str]:
    """Names of the backends that run rungs: on a GPU all that work there."""
    if device == "cpu":
        return [DEFAULT]
    return [one.name for one in backend_statuses() if one.available and one.name != DEFAULT]


def _tokenizer(setting: Setting, form: Callable[[nn.Module], nn.Module] = nn.Module.eval) -> Runner:
    """A tokenizer in one form, without the rest of its student."""
    student = StudentConfig(teacher=setting.config, tokens=(setting.tokens,), query="learned")
    return in_torch(_Alone(form(_seeded(Student, student))), setting)


class _Alone(nn.Module):
    """The tokenizer of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.tokenizer: Any = network.tokenizer

    def forward(self, groups: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
        """Tokens (B, c, d)."""
        tokens: torch.Tensor = self.tokenizer(groups)
        return tokens


class _Counted(nn.Module):
    """A student at one budget."""

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network, self.count = network, count

    def forward(self, groups: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
        """Features (B, c, d)."""
        features: torch.Tensor = self.network(groups, centers, self.count)
        return features


def _seeded(kind: Callable[[Any], Any], config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config)


def in_torch(module: nn.Module, setting: Setting) -> Runner:
    """A module on the setting's device; a call returns when the device is done."""
    module = module.to(setting.device).eval().requires_grad_(False)

    def run(groups: FloatArray, centers: FloatArray) -> object:
        with torch.inference_mode():
            inputs = [torch.from_numpy(one).to(setting.device) for one in (groups, centers)]
            found = module(*inputs)
            first = found[0] if isinstance(found, tuple) else found
            return first.cpu()

    return run


def example(config: TeacherConfig, batch: int) -> tuple[FloatArray, FloatArray]:
    """Random groups and centres of the right shapes."""
    rng, spec = np.random.default_rng(0), config.preprocessing
    groups = rng.normal(scale=0.1, size=(batch, spec.groups, spec.group_size, 3))
    return groups.astype(np.float32), rng.normal(size=(batch, spec.groups, 3)).astype(np.float32)
