"""Multiply-accumulates of one cloud, by stage, attention products included.

Only products count, as in the paper's figures: no additions, norms or activations. The student is counted
in its inference form (folded tokenizer, folded queries, values on s rows), the teacher with the folded
tokenizer too.
"""

from __future__ import annotations

from foundry_edge.models.config import StudentConfig, TeacherConfig


def tokenizer_macs(config: TeacherConfig) -> int:
    """Folded mini-PointNet: 3-128, 128-256, 128-512 and 512-d per point, 256-512 (and to d) per group."""
    spec = config.preprocessing
    per_point = 3 * 128 + 128 * 256 + 128 * 512 + 512 * (config.reduce_from or config.width)
    return spec.groups * (spec.group_size * per_point + 256 * 512 + config.reduce_from * config.width)


def position_macs(config: TeacherConfig) -> int:
    """MLP 3-128-d on the c centres."""
    return config.preprocessing.groups * (3 * 128 + 128 * config.width)


def encoder_macs(config: TeacherConfig, count: int) -> int:
    """All blocks on ``count`` tokens: qkv and projection, two attention products, the MLP."""
    width = config.width
    linear = count * (4 * width * width + 2 * width * int(width * config.mlp_ratio))
    return config.depth * (linear + 2 * count * count * width)


def teacher_macs(config: TeacherConfig) -> dict[str, int]:
    """Stage -> multiply-accumulates of one cloud through the teacher."""
    stages = {
        "tokenizer": tokenizer_macs(config),
        "position": position_macs(config),
        "encoder": encoder_macs(config, config.preprocessing.groups + config.cls_token),
    }
    return stages | _head(config)


def student_macs(config: StudentConfig, count: int) -> dict[str, int]:
    """Stage -> multiply-accumulates of one cloud through the student with ``count`` SuperTokens."""
    teacher = config.teacher
    groups, width = teacher.preprocessing.groups, teacher.width
    hidden = int(width * teacher.mlp_ratio)
    stages = {
        "tokenizer": tokenizer_macs(teacher),
        "position": position_macs(teacher),
        "dso": _dso(groups, width, count, learned=config.query == "learned"),
        "encoder": encoder_macs(teacher, count),
        "cau": groups * (width * count + width * width + 2 * width * hidden),
    }
    return stages | _head(teacher)


def _dso(groups: int, width: int, count: int, learned: bool) -> int:
    compare = groups * count * width
    averages = 2 * groups * count * width
    value = count * width * width
    projections = 0 if learned else (groups + count) * width * width
    return compare + averages + value + projections


def _head(config: TeacherConfig) -> dict[str, int]:
    return {"head": 2 * config.width * len(config.labels)} if config.labels else {}
