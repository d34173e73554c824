"""Multiply-accumulates of one cloud, by stage, attention products included.

Only products count, as in the paper's figures: no additions, norms or activations. The student is counted
in its inference form (folded tokenizer, folded queries, values on s rows), all others with the folded
tokenizer too. One multiply-accumulate is two floating-point operations.
"""

from __future__ import annotations

from collections.abc import Callable

from foundry_edge.models.config import CompressedConfig, StudentConfig, TeacherConfig
from foundry_edge.models.mimicry import MimicryConfig
from foundry_edge.models.reducers.kmeans import LLOYD_STEPS
from foundry_edge.models.truncation import TruncationConfig

Stages = dict[str, int]


def tokenizer_macs(config: TeacherConfig) -> int:
    """Folded mini-PointNet: 3-128, 128-256, 128-512 and 512-d per point, 256-512 (and to d) per group."""
    spec = config.preprocessing
    per_point = 3 * 128 + 128 * 256 + 128 * 512 + 512 * (config.reduce_from or config.width)
    return spec.groups * (spec.group_size * per_point + 256 * 512 + config.reduce_from * config.width)


def lite_tokenizer_macs(config: CompressedConfig) -> int:
    """Light tokenizer: 3-h-2h per point, 2h-8h-d per group."""
    spec, h = config.teacher.preprocessing, config.lite_width
    per_group = 16 * h * h + 8 * h * config.teacher.width
    return spec.groups * (spec.group_size * (3 * h + 2 * h * h) + per_group)


def position_macs(config: TeacherConfig, width: int | None = None) -> int:
    """MLP 3-128-d on the c centres."""
    return config.preprocessing.groups * (3 * 128 + 128 * (width or config.width))


def block_macs(width: int, mlp_ratio: float, count: int) -> int:
    """One block on ``count`` tokens: qkv and projection, two attention products, the MLP."""
    linear = count * (4 * width * width + 2 * width * int(width * mlp_ratio))
    return linear + 2 * count * count * width


def encoder_macs(config: TeacherConfig, count: int) -> int:
    """All the teacher's blocks on ``count`` tokens."""
    return config.depth * block_macs(config.width, config.mlp_ratio, count)


def teacher_macs(config: TeacherConfig) -> Stages:
    """Stage -> multiply-accumulates of one cloud through the teacher."""
    stages = {
        "tokenizer": tokenizer_macs(config),
        "position": position_macs(config),
        "encoder": encoder_macs(config, config.preprocessing.groups + config.cls_token),
    }
    return stages | _head(config)


def student_macs(config: StudentConfig, count: int, bypassed: int = 0) -> Stages:
    """Stage -> multiply-accumulates of one cloud through a student.

    Args:
        config: of a SuperToken student or of a baseline that merges tokens in another way.
        count: s.
        bypassed: k, tokens that a gate lets past DSO.
    """
    size = config.teacher
    groups, width = size.preprocessing.groups, size.width
    per_block = block_macs(width, size.mlp_ratio, count + bypassed)
    stages = _entrance(config)
    if config.all_token_blocks:
        whole = config.mixing_blocks * block_macs(width, config.all_token_mlp_ratio, groups)
        stages["mixing"] = whole + config.attention_blocks * block_macs(width, 0, groups)
    if config.gate:
        stages["gate"] = groups * (width + 1) * max(width // 4, 1)
    averages = 2 * groups * count * width + count * width * width
    stages["dso" if config.method == "dso" else config.method] = averages + _assignment(config, count)
    stages["encoder"] = config.encoder_depth * per_block
    stages["cau"] = groups * width * (count + bypassed) + _maps_of_cau(config)
    return stages | _head(size)


def _maps_of_cau(config: StudentConfig | TruncationConfig) -> int:
    """The map of each token and, where there is one, the MLP."""
    size = config.teacher
    hidden = int(size.width * config.all_token_mlp_ratio) if config.cau_mlp else 0
    return size.preprocessing.groups * (size.width * size.width + 2 * size.width * hidden)


def truncation_macs(config: TruncationConfig) -> Stages:
    """Stage -> multiply-accumulates of one cloud through a truncated teacher."""
    size = config.teacher
    per_block = block_macs(size.width, config.all_token_mlp_ratio, size.preprocessing.groups)
    cau = {"cau": _maps_of_cau(config)} if config.cau_mlp else {}
    return _entrance(config) | {"encoder": config.depth * per_block} | cau | _head(size)


def mimicry_macs(config: MimicryConfig) -> Stages:
    """Stage -> multiply-accumulates of one cloud through a small mimic."""
    size, groups = config.teacher, config.teacher.preprocessing.groups
    stages = {
        "tokenizer": _own_tokenizer(config),
        "position": position_macs(size, config.width),
        "encoder": config.depth * block_macs(config.width, 4.0, groups),
        "projections": 2 * groups * size.width * config.width,
    }
    return stages | _head(size)


def compressed_macs(config: CompressedConfig, count: int = 0, bypassed: int = 0) -> Stages:
    """Stage -> multiply-accumulates of one cloud, for the config of any student or baseline.

    Raises:
        TypeError: nobody has said how to count this kind of model.
    """
    if isinstance(config, StudentConfig):
        return student_macs(config, count, bypassed)
    if isinstance(config, TruncationConfig):
        return truncation_macs(config)
    if isinstance(config, MimicryConfig):
        return mimicry_macs(config)
    raise TypeError(f"no count for models of kind {config.kind}")


def _entrance(config: CompressedConfig) -> Stages:
    return {"tokenizer": _own_tokenizer(config), "position": position_macs(config.teacher)}


def _own_tokenizer(config: CompressedConfig) -> int:
    return lite_tokenizer_macs(config) if config.tokenizer == "lite" else tokenizer_macs(config.teacher)


def _assignment(config: StudentConfig, count: int) -> int:
    groups, width = config.teacher.preprocessing.groups, config.teacher.width
    return _ASSIGNMENTS[config.method](config, groups, count, width)


def _dso(config: StudentConfig, groups: int, count: int, width: int) -> int:
    anchored = count if config.query in ("anchored", "located") else 0
    lengths = config.routing == "soft" and config.query in ("cosine", "anchored")
    keys = groups if lengths else anchored
    places = 3 * groups * count if config.query == "located" else 0
    return groups * count * width + places + (anchored + keys) * width * width


def _tome(config: StudentConfig, groups: int, count: int, width: int) -> int:
    total, left = 0, groups
    while left > count:
        kept = left - min(left - count, left // 2)
        total += groups * left * width + (left // 2) * (left - left // 2) * width + groups * left * kept
        left = kept
    return total


_ASSIGNMENTS: dict[str, Callable[[StudentConfig, int, int, int], int]] = {
    "dso": _dso,
    "fps": lambda config, groups, count, width: 0,
    "kmeans": lambda config, groups, count, width: (2 * LLOYD_STEPS + 1) * groups * count * width,
    "tome": _tome,
    "patchmerger": lambda config, groups, count, width: groups * count * width,
}


def _head(config: TeacherConfig) -> Stages:
    pooled, hidden = 2 * config.width, config.head_hidden
    return {"head": pooled * hidden + (hidden or pooled) * len(config.labels)} if config.labels else {}
