"""Foundry-Gate: cost falls with r, its limits are the ungated student, and it holds its target."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foundry_edge.models.config import StudentConfig
from foundry_edge.models.fixed import FixedStudent
from foundry_edge.models.gate import ranked, sampled, thresholded
from foundry_edge.models.reducer import Sampling
from foundry_edge.models.student import Student
from foundry_edge.models.teacher import Teacher
from foundry_edge.training.merge_rate import MergeRate
from foundry_edge_runtime.errors import InputError
from tests.models.conftest import TINY

Clouds = tuple[Tensor, Tensor]
RESIDUALS = ("mapped", "update")


def _gated(teacher: Teacher, residual: str = "mapped") -> Student:
    torch.manual_seed(2)
    config = StudentConfig.model_validate(
        {"teacher": TINY, "tokens": (1, 2, 4), "gate": True, "residual": residual}
    )
    student = Student(config)
    student.start_from(teacher)
    assert student.gate is not None
    torch.nn.init.normal_(student.gate.fc2.weight)
    return student.requires_grad_(False)


def _ungated(gated: Student) -> Student:
    plain = Student(gated.config.model_copy(update={"gate": False}))
    plain.load_state_dict({k: v for k, v in gated.state_dict().items() if not k.startswith("gate.")})
    return plain.requires_grad_(False)


def _rows_encoded(student: Student, tokens: Tensor, centers: Tensor, threshold: float) -> int:
    """Rows that enter the first block of the encoder, over the batch."""
    seen: list[int] = []
    hook = student.encoder.blocks[0].register_forward_pre_hook(lambda _, x: seen.append(x[0].shape[1]))
    student.reconstruct(tokens, centers, 4, threshold=threshold)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("residual", RESIDUALS)
def test_all_merged_is_the_ungated_student(teacher: Teacher, clouds: Clouds, residual: str) -> None:
    student = _gated(teacher, residual)
    tokens = student.tokenizer(clouds[0])
    expected = _ungated(student).reconstruct(tokens, clouds[1], 4).features
    for form in ({"threshold": 0.0}, {"bypassed": 0}):
        made = student.reconstruct(tokens, clouds[1], 4, **form)
        torch.testing.assert_close(made.features, expected, atol=1e-5, rtol=1e-5)


def test_cost_falls_with_the_threshold(teacher: Teacher, clouds: Clouds) -> None:
    student = _gated(teacher)
    tokens = student.tokenizer(clouds[0])
    rows = [_rows_encoded(student, tokens, clouds[1], r) for r in (1.0, 0.9, 0.7, 0.4, 0.0)]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] == 4 + 16
    assert rows[-1] == 4
    assert len(set(rows)) >= 3


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_all_or_none_merged_is_finite(
    teacher: Teacher, clouds: Clouds, threshold: float, residual: str
) -> None:
    student = _gated(teacher, residual)
    made = student.reconstruct(student.tokenizer(clouds[0]), clouds[1], 4, threshold=threshold)
    assert torch.isfinite(made.features).all()
    assert made.assignment is not None
    assert float(made.assignment.sum()) == (0 if threshold else 3 * 16)


def test_a_cloud_does_not_depend_on_how_many_tokens_others_bypass(teacher: Teacher, clouds: Clouds) -> None:
    student = _gated(teacher)
    tokens = student.tokenizer(clouds[0])
    together = student.reconstruct(tokens, clouds[1], 4).features
    for number in range(3):
        rows = slice(number, number + 1)
        alone = student.reconstruct(tokens[rows], clouds[1][rows], 4).features
        torch.testing.assert_close(together[rows], alone, atol=1e-5, rtol=1e-5)


def test_the_fixed_form_is_the_threshold_form_with_as_many_tokens(teacher: Teacher, clouds: Clouds) -> None:
    student = _gated(teacher)
    tokens, centers = student.tokenizer(clouds[0][:1]), clouds[1][:1]
    fixed = student.reconstruct(tokens, centers, 2, bypassed=5)
    assert fixed.merge is not None
    ranks = fixed.merge[0].sort().values
    threshold = float(ranks[4] + ranks[5]) / 2
    free = student.reconstruct(tokens, centers, 2, threshold=threshold)
    torch.testing.assert_close(fixed.features, free.features, atol=1e-5, rtol=1e-5)


def test_training_form_agrees_with_inference_where_the_gate_is_sure() -> None:
    logits = torch.tensor([[50.0, -50.0, 50.0, -50.0]])
    soft = sampled(logits, Sampling(0.5, lambda *shape: torch.rand(1, *shape)))
    hard, fixed = thresholded(logits, 0.5), ranked(logits, 2)
    assert torch.equal(soft.merge.round(), hard.merge)
    assert torch.equal(hard.merge, fixed.merge)
    x = torch.randn(1, 4, 3)
    zero = torch.zeros_like(x)
    for form in (soft, hard, fixed):
        assert torch.equal(form.blend(zero, form.select(x)).detach(), x * (1 - hard.merge).unsqueeze(-1))


def test_the_gate_learns_through_its_samples(teacher: Teacher, clouds: Clouds) -> None:
    student = _gated(teacher).requires_grad_(True)
    sampling = Sampling(0.5, lambda *shape: torch.rand(3, *shape))
    made = student.reconstruct(student.tokenizer(clouds[0]), clouds[1], 4, sampling)
    made.features.square().mean().backward()
    assert student.gate is not None
    gradient = student.gate.fc1.weight.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("target", [0.3, 0.9])
@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_lambda_finds_the_merge_rate_whatever_the_scale_of_the_loss(target: float, scale: float) -> None:
    torch.manual_seed(0)
    logits = torch.nn.Parameter(torch.full((4, 16), 1.0))
    worth = torch.linspace(0.0, 2.0, 16)
    rate = MergeRate(target)
    optimiser = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        merge = logits.sigmoid()
        loss = scale * (1 + (worth * merge).mean())
        (loss + rate.penalty(merge, loss.detach())).backward()
        optimiser.step()
        optimiser.zero_grad()
        rate.adapt()
    assert float(logits.detach().sigmoid().mean()) == pytest.approx(target, abs=0.1)


@pytest.mark.parametrize("bypassed", [0, 5])
def test_the_fixed_form_can_be_traced_for_any_batch(teacher: Teacher, clouds: Clouds, bypassed: int) -> None:
    fixed = FixedStudent(_gated(teacher, "update"), 4, bypassed)
    batch = {0: torch.export.Dim("batch", min=1)}
    program = torch.export.export(fixed, (clouds[0][:2], clouds[1][:2]), dynamic_shapes=(batch, batch))
    torch.testing.assert_close(program.module()(*clouds), fixed(*clouds), atol=1e-5, rtol=1e-5)


def test_bypassed_tokens_need_a_gate_and_a_place(teacher: Teacher, student: Student) -> None:
    with pytest.raises(InputError, match="0 to 0 bypassed"):
        FixedStudent(student, 4, 1)
    with pytest.raises(InputError, match="0 to 16 bypassed"):
        FixedStudent(_gated(teacher), 4, 17)
