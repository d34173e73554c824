"""Models by name: a folder, or the ones embedded in the package."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import StudentConfig, TeacherConfig
from foundry_edge.models.methods import KINDS
from foundry_edge.models.model import Loaded, Model
from foundry_edge.models.part_head import PART_HEAD, PartHead, PartHeadConfig
from foundry_edge.models.store import CONFIG, encoder_sha256, load_config, load_weights, weights_sha256
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.teachers.importing import published_teacher
from foundry_edge_runtime.errors import CheckpointError

ASSETS = Path(__file__).resolve().parent / "assets"
EMBEDDED = "embedded:"


def model_folder(name: str | Path) -> Path:
    """The folder of ``name``: a path, ``embedded:teacher`` or ``embedded:student``.

    Raises:
        CheckpointError: there is no such folder.
    """
    text = str(name)
    folder = ASSETS / text.removeprefix(EMBEDDED) if text.startswith(EMBEDDED) else Path(name)
    if text.startswith(EMBEDDED) and text not in ("embedded:teacher", "embedded:student"):
        raise CheckpointError(
            "no such embedded model", where=text, remedy="use embedded:teacher or embedded:student"
        )
    if folder.is_file():
        raise CheckpointError(
            "a file where a model folder is expected",
            where=text,
            remedy="convert a published checkpoint with `foundry-edge import-teacher`",
        )
    if not folder.is_dir():
        raise CheckpointError(
            "no such model folder", where=text, remedy="give a folder, embedded:teacher or embedded:student"
        )
    return folder


def load_teacher(name: str | Path = "embedded:teacher", *, heads: int | None = None) -> Teacher:
    """Load a teacher; frozen, in eval mode, float32.

    Args:
        name: folder, ``embedded:teacher``, or a published .ckpt or .pth file (see `import_teacher`), which is
            read without running anything in it.
        heads: attention heads of a published file that does not say.

    Raises:
        CheckpointError: missing, damaged, hostile or of another kind; the message names file and field.
    """
    if Path(name).is_file():
        return published_teacher(name, heads)
    folder = model_folder(name)
    _refuse_other(name, folder, "teacher")
    teacher = Teacher(load_config(folder, TeacherConfig))
    load_weights(folder, teacher)
    return teacher.requires_grad_(False)


def model_digest(name: str | Path) -> str:
    """SHA-256 of what a model is loaded from: the weights of a folder, or a published file.

    Raises:
        CheckpointError: there is no such folder.
    """
    if Path(name).is_file():
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()
    return weights_sha256(model_folder(name))


def teacher_digest(name: str | Path) -> str:
    """SHA-256 that students know their teacher by: of its tensors but the head's, or of a published file.

    Raises:
        CheckpointError: there is no such folder, or its weights are missing or damaged.
    """
    if Path(name).is_file():
        return model_digest(name)
    return encoder_sha256(model_folder(name))


def load_student(name: str | Path = "embedded:student") -> Student:
    """Load a student: folder or ``embedded:student``; frozen, in eval mode, float32.

    Raises:
        CheckpointError: missing, damaged or of another kind; the message names file and field.
    """
    folder = model_folder(name)
    _refuse_other(name, folder, "student")
    config = load_config(folder, StudentConfig)
    if config.method != "dso":
        raise CheckpointError(
            f"field method: expected dso, found {config.method!r}",
            where=folder / CONFIG,
            remedy="give a SuperToken student",
        )
    student = Student(config)
    load_weights(folder, student)
    return student.requires_grad_(False)


def load_part_head(name: str | Path = "embedded:student") -> PartHead:
    """Load the head for parts that lies beside a model, in its folder `PART_HEAD`; frozen, float32.

    Args:
        name: the model's folder, ``embedded:student`` or ``embedded:teacher``.

    Raises:
        CheckpointError: there is none, or it is damaged; the message names file and field.
    """
    folder = model_folder(name) / PART_HEAD
    if not folder.is_dir():
        raise CheckpointError(
            "has no head for parts",
            where=name,
            remedy="train one with `foundry-edge finetune --task parts`",
        )
    head = PartHead(load_config(folder, PartHeadConfig))
    load_weights(folder, head)
    return head.requires_grad_(False).eval()


class _Kind(BaseModel):
    model_config = ConfigDict(extra="ignore")

    kind: str


class _AnyKind(_Kind):
    kind: str = ""


def _refuse_other(name: str | Path, folder: Path, wanted: str) -> None:
    """A model of another kind is told as what it is."""
    kind = load_config(folder, _AnyKind).kind
    if kind != wanted and kind in ("teacher", *KINDS):
        raise CheckpointError(
            f"is of kind {kind}, not a {wanted}",
            where=name,
            remedy=f"give a {wanted}, for example {EMBEDDED}{wanted}",
        )


def load_model(name: str | Path) -> Model:
    """Load whatever the folder ``name`` holds; frozen, in eval mode, float32.

    config.json's field ``kind`` decides what it is; a file is a published teacher.

    Raises:
        CheckpointError: missing, damaged or of an unknown kind; the message names file and field.
    """
    if Path(name).is_file():
        return _teacher_model(str(name), load_teacher(name))
    folder = model_folder(name)
    kind = load_config(folder, _Kind).kind
    if kind == "teacher":
        return _teacher_model(str(name), load_teacher(name))
    if kind not in KINDS:
        raise CheckpointError(
            f"field kind: expected one of teacher, {', '.join(KINDS)}, found {kind!r}",
            where=folder / CONFIG,
            remedy="give a folder made by `foundry-edge pretrain` or `foundry-edge distill`",
        )
    config = load_config(folder, KINDS[kind].config)
    network = KINDS[kind].network(config)
    load_weights(folder, network)
    return compressed_model(str(name), network.requires_grad_(False))


def compressed_model(name: str, network: Compressed) -> Model:
    """A student or baseline as a `Model`."""
    config = network.config
    return Loaded(
        name=name,
        config=config,
        module=network,
        preprocessing=config.teacher.preprocessing,
        budgets=network.budgets,
        width=config.teacher.width,
        encode=network.forward,
    )


def _teacher_model(name: str, teacher: Teacher) -> Model:
    config = teacher.config
    return Loaded(
        name=name,
        config=config,
        module=teacher,
        preprocessing=config.preprocessing,
        budgets=(),
        width=config.width,
        encode=lambda groups, centers, _: teacher.encode_groups(groups, centers),
    )
