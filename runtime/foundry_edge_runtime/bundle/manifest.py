"""The schema of manifest.json: everything the runtime needs to know about a bundle.

No constant of preprocessing, labels or graph names lives anywhere else at run time.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foundry_edge_runtime.grouping import Preprocessing

SCHEMA = 1
MANIFEST = "manifest.json"
PRECISIONS = ("fp32", "fp16", "int8", "int8-fp16")
"""Those a rung can have, in ladder order."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRef(_Strict):
    """A file of the bundle: a plain name inside the folder, its size and hash."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Calibration(_Strict):
    """How activation ranges were found."""

    method: str
    samples: int = Field(ge=1)
    data: str = Field(description="name of the calibration data")
    data_sha256: str
    policy: str = Field("", description="which linear maps were quantised")
    kept: tuple[str, ...] = Field((), description="modules left in float all the same")
    seed: int = 0
    tensors: int = Field(0, ge=0, description="activations whose range was found")
    growing: int = Field(
        0, ge=0, description="of these, still growing by over 1 % in the last quarter of clouds"
    )


class Fidelity(_Strict):
    """Token-wise cosine to the teacher, on data never calibrated on."""

    cosine_mean: float
    cosine_worst: float = Field(description="lowest mean over the tokens of one cloud")
    smooth_l1: float
    samples: int = Field(ge=1)
    data: str


class Accuracy(_Strict):
    """Accuracy of the head in percent."""

    value: float = Field(ge=0, le=100)
    samples: int = Field(ge=1)
    data: str
    protocol: str = "head"


class EvaluationSet(_Strict):
    """The clouds that a rung's figures and gates were found on, never calibrated on."""

    data: str
    samples: int = Field(ge=1)
    sha256: str = Field(description="of the grouped clouds and their labels")


class Parity(_Strict):
    """ONNX Runtime against torch (FP32), or against the FP32 rung (lower precisions)."""

    reference: str
    max_abs: float
    cosine_mean: float
    cosine_worst: float
    samples: int = Field(ge=1)


def rung_name(tokens: int, precision: str, bypassed: int = 0) -> str:
    """What a rung is called: ``s4-int8``, or ``s4k8-int8`` with 8 bypassed tokens."""
    gate = f"k{bypassed}" if bypassed else ""
    return f"s{tokens}{gate}-{precision}"


class Rung(_Strict):
    """One (tokens, precision) pair of the ladder; with a gate, one (tokens, bypassed, precision)."""

    tokens: int = Field(ge=1, description="s: SuperTokens")
    bypassed: int = Field(0, ge=0, description="k: tokens that a gate lets past DSO, the same in every cloud")
    precision: str = Field(pattern=f"^({'|'.join(PRECISIONS)})$")
    made_for: Literal["any", "gpu"] = Field(
        "any", description="gpu: computes in half precision, which ONNX Runtime widens on a CPU"
    )
    graph: FileRef
    weights: FileRef
    macs: dict[str, int] = Field(description="multiply-accumulates per cloud and stage, attention included")
    parity: Parity
    fidelity: Fidelity | None = Field(None, description="None when the teacher was not at hand")
    accuracy: Accuracy | None = None
    calibration: Calibration | None = None
    evaluation: EvaluationSet | None = Field(None, description="None in bundles that do not state it yet")
    gates: dict[str, bool] = Field(default_factory=dict, description="quality gate -> passed")
    key: str = Field("", description="hash of all the rung was made from; equal keys mean the same rung")

    @property
    def name(self) -> str:
        """For example ``s4-int8``, or ``s4k8-int8`` with 8 bypassed tokens."""
        return rung_name(self.tokens, self.precision, self.bypassed)

    @property
    def encoded(self) -> str:
        """What enters the encoder, for people: ``4``, or ``4+8`` with 8 bypassed tokens."""
        return f"{self.tokens}+{self.bypassed}" if self.bypassed else str(self.tokens)

    @property
    def forced(self) -> bool:
        """Whether a quality gate failed and the rung was kept with --force."""
        return not all(self.gates.values())

    @property
    def likeness(self) -> float:
        """Mean cosine to the teacher.

        Where it was not measured, a stand-in below every measured one: more tokens in the encoder, then
        closer to FP32, ranks higher.
        """
        if self.fidelity is not None:
            return self.fidelity.cosine_mean
        return (2 * (self.tokens + self.bypassed) + self.parity.cosine_mean) / 1e6 - 2

    @property
    def bytes(self) -> int:
        """Size of the graph and the weights it uses (weights may be shared with other rungs)."""
        return self.graph.bytes + self.weights.bytes


class StageFiles(NamedTuple):
    """A graph beside the rungs, of a stage of a scene or for parts, and the weights it uses."""

    graph: FileRef
    weights: FileRef


class Scene(_Strict):
    """Graphs that compute a scene of any number of points part by part (docs/scenes.md)."""

    graphs: dict[str, FileRef] = Field(description="a name in foundry_edge_runtime.scenes.form -> its graph")
    weights: FileRef = Field(description="of all stages; shared with the FP32 rungs where there are any")
    tokens: tuple[int, ...] = Field(min_length=1, description="s: budgets of SuperTokens, ascending")
    window: int = Field(ge=1, description="W: groups that attend to each other in a mixing block, at most")
    group_radius: float = Field(
        gt=0, description="median root mean square radius of the groups of the student's own data"
    )
    group_bytes: int = Field(ge=1, description="workspace of the stage tokens, for each group of a call")
    token_bytes: int = Field(ge=1, description="workspace of the other stages, for each token of a call")
    macs: dict[str, int] = Field(description="multiply-accumulates per group; of encode per SuperToken")
    parity: Parity
    key: str = Field("", description="hash of all the graphs were made from")

    def stage(self, name: str) -> StageFiles:
        """The files of one stage."""
        return StageFiles(self.graphs[name], self.weights)


class PartCategory(_Strict):
    """A category of objects and its parts."""

    name: str = Field(min_length=1)
    label: str | None = Field(None, description="the class of the head that is this category, if one is")
    parts: tuple[int, ...] = Field(min_length=1, description="its parts among the logits of the graph")
    names: tuple[str, ...] = Field(description="of its parts, in the same order")

    @model_validator(mode="after")
    def _named(self) -> PartCategory:
        if len(self.names) != len(self.parts) or min(self.parts) < 0:
            raise ValueError(f"category {self.name}: {len(self.names)} names for the parts {self.parts}")
        return self


class PartQuality(_Strict):
    """Part mIoU in percent with the tokens of one rung, the category given, on shapes never trained on."""

    instance_miou: float = Field(ge=0, le=100, description="mean over shapes")
    class_miou: float = Field(ge=0, le=100, description="mean over categories of the means over their shapes")
    samples: int = Field(ge=1)
    data: str


class Parts(_Strict):
    """The graph that names the part of every point (docs/export.md), one for all rungs."""

    graph: FileRef
    weights: FileRef
    categories: tuple[PartCategory, ...] = Field(min_length=1)
    macs: dict[str, int] = Field(description="multiply-accumulates of a cloud, and of each point more")
    parity: Parity
    quality: dict[str, PartQuality] = Field(description="rung -> what was measured with it")
    key: str = Field("", description="hash of all the graph was made from")

    @property
    def files(self) -> StageFiles:
        """The graph and its weights."""
        return StageFiles(self.graph, self.weights)


class Manifest(_Strict):
    """The whole bundle."""

    schema_version: int = Field(SCHEMA, ge=SCHEMA, le=SCHEMA)
    id: str = Field(min_length=1)
    created: str = Field(description="UTC, ISO 8601")
    student_sha256: str
    teacher_sha256: str
    width: int = Field(ge=1, description="d: feature width of a token")
    preprocessing: Preprocessing
    labels: tuple[str, ...] = ()
    min_score: float = Field(0.5, ge=0, le=1, description="below it the top class is not to be trusted")
    rungs: tuple[Rung, ...] = Field(min_length=1)
    model_card: FileRef | None = None
    scene: Scene | None = Field(None, description="None: the bundle was exported without --scene")
    parts: Parts | None = Field(None, description="None: the student has no head for parts")

    def rung(self, tokens: int, precision: str, bypassed: int = 0) -> Rung | None:
        """The rung with these tokens and precision, or None."""
        name = rung_name(tokens, precision, bypassed)
        return next((rung for rung in self.rungs if rung.name == name), None)

    def files(self) -> tuple[FileRef, ...]:
        """Every file the manifest names, each once."""
        named = [ref for rung in self.rungs for ref in (rung.graph, rung.weights)]
        if self.scene is not None:
            named += [*self.scene.graphs.values(), self.scene.weights]
        named += [] if self.parts is None else [*self.parts.files]
        return tuple(dict.fromkeys(named + ([self.model_card] if self.model_card else [])))

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [rung.name for rung in self.rungs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rung {twice[0]} is listed twice")
        files = [ref.name for ref in self.files()]
        unlike = sorted({name for name in files if files.count(name) > 1} | ({MANIFEST} & set(files)))
        if unlike:
            raise ValueError(f"file {unlike[0]} is listed with different sizes or hashes")
        return self
