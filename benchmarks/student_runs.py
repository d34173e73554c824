"""The runs of the student table: the paper's student, ours, ablations and baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundry_edge.models.compressed import Compressed
from foundry_edge.models.config import TeacherConfig
from foundry_edge.models.methods import make_method

ELASTIC = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Run:
    """One training run.

    Attributes:
        name: as in the tables.
        choices: arguments of `make_method`.
        headline: repeated with every seed; the others run with seed 0 alone.
        share: of the steps (a dedicated student gets half of an elastic one's).
        freeze_encoder: keep the teacher's blocks.
        specialist: learn a task's logits and labels in place of the features.
    """

    name: str
    choices: dict[str, Any]
    headline: bool = False
    share: float = 1.0
    freeze_encoder: bool = False
    specialist: str = ""


PAPER: dict[str, Any] = {
    "residual": "mapped",
    "mixing_blocks": 0,
    "mlp_ratio": 4.0,
    "cau_mlp": True,
    "tokenizer": "full",
}
"""The paper's form, with the default queries; the depth is all that is left."""
HYBRID = PAPER | {"residual": "update", "mixing_blocks": 1}
LITE_TOKENIZER: dict[str, Any] = {"tokenizer": "lite", "lite_width": 32}
LITE = HYBRID | LITE_TOKENIZER
LIGHT = LITE | {"mixing_blocks": 2, "depth": 2, "cau_mlp": False}
NARROW = LIGHT | {"mixing_blocks": 3, "mlp_ratio": 1.0, "lite_width": 64}
DEFAULT = NARROW | {"cau_mlp": True}
"""What `distill` makes by default: `light-3-2-r1-h64-cau`. Assignments are compared in both forms."""


def _dso(name: str, headline: bool = False, **choices: Any) -> Run:
    return Run(name, {"method": "dso", "tokens": ELASTIC, **PAPER, **choices}, headline)


def all_runs() -> list[Run]:
    """The paper's student, ours, ablations and baselines."""
    return [
        _dso("hybrid", True, **HYBRID),
        _dso("update", residual="update"),
        _dso("located"),
        _dso("anchored", query="anchored"),
        Run("fps", {"method": "fps", "tokens": ELASTIC}, True),
        Run("kmeans", {"method": "kmeans", "tokens": ELASTIC}, True),
        *(Run(f"truncation-{k}", {"method": "truncation", "depth": k}, k < 3) for k in (1, 2, 3, 0, 4, 6)),
        _dso("learned", query="learned"),
        Run("tome", {"method": "tome", "tokens": ELASTIC}),
        Run("patchmerger", {"method": "patchmerger", "tokens": ELASTIC}),
        Run("mimicry", {"method": "mimicry"}),
        *(_dso(f"hybrid-depth-{k}", **HYBRID, depth=k) for k in (1, 2, 4, 6)),
        _dso("hybrid-2", residual="update", mixing_blocks=2),
        _dso("hybrid-soft", **HYBRID, routing="soft"),
        _dso("update-soft", residual="update", routing="soft"),
        _dso("update-depth-4", residual="update", depth=4),
        _dso("cosine", query="cosine"),
        Run("hybrid-frozen", {"method": "dso", "tokens": ELASTIC, **HYBRID}, freeze_encoder=True),
        _dso("gate", residual="update", gate=True),
        Run("fps-update", {"method": "fps", "tokens": ELASTIC, "residual": "update"}),
        Run("kmeans-update", {"method": "kmeans", "tokens": ELASTIC, "residual": "update"}),
        Run("tome-update", {"method": "tome", "tokens": ELASTIC, "residual": "update"}),
        *(
            Run(f"{name}-dedicated-{s}", {"method": "dso", "tokens": (s,), **more}, share=0.5)
            for name, more in (("hybrid", HYBRID), ("light-2-2", LIGHT))
            for s in (1, 4, 16)
        ),
        *(
            Run(name, {"method": "dso", "tokens": ELASTIC, **HYBRID}, specialist=name)
            for name in ("kd-classification", "kd-parts")
        ),
        _dso("lite-32", **LITE),
        *(_dso(f"lite-32-depth-{k}", **LITE, depth=k) for k in (6, 4, 2)),
        _dso("light-2-2", True, **LIGHT),
        *(_dso(f"light-2-2-h{h}", **LIGHT | {"lite_width": h}) for h in (16, 64)),
        _dso("light-2-2-anchored", **LIGHT | {"query": "anchored"}),
        _dso("hybrid-anchored", **HYBRID | {"query": "anchored"}),
        *(_dso(f"light-1a{a}-2", **LIGHT | {"mixing_blocks": 1, "attention_blocks": a}) for a in (1, 2)),
        *(
            _dso(f"light-{m}-2-r{r:g}", **LIGHT | {"mixing_blocks": m, "mlp_ratio": r})
            for m, r in ((2, 1.0), (3, 1.0), (4, 1.0), (4, 0.5), (2, 2.0), (3, 2.0))
        ),
        *(_dso(f"light-{m}-2-r1-h64", m == 3, **NARROW | {"mixing_blocks": m}) for m in (2, 3)),
        *(_dso(f"light-{m}-2-r1-h64-cau", m == 3, **DEFAULT | {"mixing_blocks": m}) for m in (2, 3)),
        *(_dso(f"light-{m}-4", **LIGHT | {"mixing_blocks": m, "depth": 4}) for m in (1, 0)),
        *(
            Run(f"{name}-{m}", {"method": m, "tokens": ELASTIC, **form}, m != "patchmerger")
            for name, form in (("light-2-2", LIGHT), ("light-3-2-r1-h64-cau", DEFAULT))
            for m in ("fps", "kmeans", "tome", "patchmerger")
        ),
        *(
            Run(f"lite-truncation-{k}", {"method": "truncation", "depth": k, **LITE_TOKENIZER}, k < 3)
            for k in (1, 2, 3, 4)
        ),
        *(
            Run(
                f"lite-truncation-{k}-r1",
                {"method": "truncation", "depth": k, **LITE_TOKENIZER, "mlp_ratio": 1.0},
            )
            for k in (2, 3, 4)
        ),
        *(
            Run(name, {"method": "truncation", "depth": k, **LITE_TOKENIZER, "lite_width": 64, **narrow})
            for name, k, narrow in (
                ("lite-truncation-2-h64", 2, {}),
                ("lite-truncation-3-r1-h64", 3, {"mlp_ratio": 1.0}),
                ("lite-truncation-4-r1-h64", 4, {"mlp_ratio": 1.0}),
                ("lite-truncation-2-r1-h64-cau", 2, {"mlp_ratio": 1.0, "cau_mlp": True}),
                ("lite-truncation-3-r1-h64-cau", 3, {"mlp_ratio": 1.0, "cau_mlp": True}),
            )
        ),
        _dso("hybrid-32", **HYBRID | {"tokens": (*ELASTIC, 32)}),
    ]


def network(run: Run, teacher: TeacherConfig, digest: str) -> Compressed:
    """The network of a run; SuperToken students keep all blocks unless the run says less."""
    depth = {"depth": teacher.depth - run.choices.get("mixing_blocks", 1)}
    whole = depth if run.choices["method"] == "dso" else {}
    return make_method(teacher=teacher, digest=digest, **whole | run.choices)
