"""The inference form computes what the student computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from foundry_edge.load import load_student
from foundry_edge.models.config import Query, Routing, StudentConfig
from foundry_edge.models.dso import SupertokenAssignment
from foundry_edge.models.fixed import FixedStudent
from foundry_edge.models.reducer import TokenCloud
from foundry_edge.models.student import Student
from foundry_edge.models.tokenizer import Tokenizer
from foundry_edge.models.transformer import Attention
from foundry_edge_export.dense import DenseAttention
from foundry_edge_export.folded_tokenizer import folded_tokenizer
from foundry_edge_export.inference import InferenceStudent
from foundry_edge_runtime.errors import InputError
from tests.export.conftest import BUDGETS, TINY


def _clouds() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(5, 16, 8, 3, generator=generator) * 0.1
    return groups, torch.rand(5, 16, 3, generator=generator) * 2 - 1


@pytest.mark.parametrize("count", BUDGETS)
def test_equals_the_student(models: Path, count: int) -> None:
    student = load_student(models / "student")
    groups, centers = _clouds()
    expected = student(groups, centers, count)
    tokens, pooled, logits = InferenceStudent(student, count)(groups, centers)
    torch.testing.assert_close(tokens, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(logits, student.classify(expected), atol=5e-5, rtol=0)
    torch.testing.assert_close(pooled[:, : TINY.width], expected.mean(dim=1), atol=2e-5, rtol=0)


@pytest.mark.parametrize("routing", ["hard", "soft"])
@pytest.mark.parametrize("query", ["learned", "cosine", "anchored", "located"])
@pytest.mark.parametrize("count", BUDGETS)
def test_every_kind_of_queries_folds_exactly(query: Query, count: int, routing: Routing) -> None:
    torch.manual_seed(3)
    student = Student(StudentConfig(teacher=TINY, tokens=BUDGETS, query=query, routing=routing))
    dso = student.dso
    assert isinstance(dso, SupertokenAssignment)
    for weight in (dso.supertokens, dso.query.weight, dso.key.weight):
        torch.nn.init.normal_(weight, std=0.2)
    groups, centers = _clouds()
    module = InferenceStudent(student, count, torch.float64)
    student.double()
    places = centers.double()
    cloud = TokenCloud(student.tokenizer(groups.double()), student.position(places), places)
    scores, logits = module.dso.scores(cloud), dso.logits(cloud, count)
    if routing == "soft":
        torch.testing.assert_close(scores, logits, atol=1e-10, rtol=0)
    assert torch.equal(scores.argmax(dim=-1), logits.argmax(dim=-1))


@pytest.mark.parametrize(
    "form",
    [
        {"mixing_blocks": 1},
        {"attention_blocks": 1},
        {"mixing_blocks": 1, "mlp_ratio": 1.0},
        {"residual": "update"},
        {"routing": "soft"},
        {"depth": 1},
        {"cau_mlp": False},
        {"tokenizer": "lite"},
    ],
)
def test_every_form_of_the_student_is_computed_exactly(form: dict[str, object]) -> None:
    torch.manual_seed(4)
    student = Student(StudentConfig.model_validate({"teacher": TINY, "tokens": BUDGETS, **form}))
    groups, centers = _clouds()
    module = InferenceStudent(student, 2, torch.float64)
    expected = student.double()(groups.double(), centers.double(), 2)
    torch.testing.assert_close(module(groups.double(), centers.double())[0], expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("biased", [True, False])
def test_attention_keeps_one_bias_and_computes_the_same(biased: bool) -> None:
    torch.manual_seed(7)
    attention = Attention(48, 4, biased).double()
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, 10, 48, dtype=torch.float64)
    torch.testing.assert_close(DenseAttention(attention)(x), attention(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("bypassed", [0, 1, 5, 16])
@pytest.mark.parametrize(
    "form",
    [{}, {"mixing_blocks": 1}, {"residual": "update"}, {"routing": "soft"}, {"query": "learned"}],
)
def test_a_gate_lets_the_same_tokens_past(form: dict[str, object], bypassed: int) -> None:
    torch.manual_seed(5)
    student = Student(
        StudentConfig.model_validate({"teacher": TINY, "tokens": BUDGETS, "gate": True, **form})
    )
    assert student.gate is not None
    torch.nn.init.normal_(student.gate.fc2.weight, std=1.0)
    torch.nn.init.normal_(student.cau.enter.weight, std=0.1)
    groups, centers = (value.double() for value in _clouds())
    found = InferenceStudent(student, 2, torch.float64, bypassed)(groups, centers)[0]
    expected = FixedStudent(student.double(), 2, bypassed)(groups, centers)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)
    if bypassed:
        merged = FixedStudent(student, 2, 0)(groups, centers)
        assert not torch.allclose(found, merged, atol=1e-4)


def test_forms_without_a_graph_are_refused() -> None:
    tome = Student(StudentConfig(teacher=TINY, tokens=BUDGETS, method="tome"))
    with pytest.raises(InputError, match="--method tome has no exported form"):
        InferenceStudent(tome, 2)
    with pytest.raises(InputError, match="--bypass: the student has no gate"):
        InferenceStudent(Student(StudentConfig(teacher=TINY, tokens=BUDGETS)), 2, bypassed=3)


class _OtherTokenizer(torch.nn.Module):
    """A tokenizer that this package knows nothing about."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = torch.nn.Linear(3, 8)
        self.rest = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(8, TINY.width, bias=False))

    def forward(self, groups: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.rest(self.enter(groups)).amax(dim=2)
        return out


def test_another_tokenizer_computes_as_it_is() -> None:
    torch.manual_seed(6)
    other = _OtherTokenizer().double()
    groups = _clouds()[0].double()
    expected = other(groups)
    folded = folded_tokenizer(other)
    torch.testing.assert_close(folded(groups), expected, atol=1e-12, rtol=0)
    assert [name for name, _ in folded.named_parameters()] == ["enter.weight", "enter.bias", "rest.1.weight"]
    assert all(p.shape[0] in {3, 8} for p in folded.parameters())


def test_the_tokenizer_is_folded_to_float64_accuracy(models: Path) -> None:
    student = load_student(models / "student").double()
    groups = _clouds()[0].double()
    folded = InferenceStudent(student, 1, torch.float64).tokenizer(groups)
    assert isinstance(student.tokenizer, Tokenizer)
    expected = student.tokenizer.forward_reference(groups.flatten(0, 1)).unflatten(0, groups.shape[:2])
    torch.testing.assert_close(folded, expected, atol=1e-12, rtol=0)


def test_the_student_is_left_as_it_was(models: Path) -> None:
    student = load_student(models / "student")
    before = {name: value.clone() for name, value in student.state_dict().items()}
    InferenceStudent(student, 2, torch.float64)
    for name, value in student.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
