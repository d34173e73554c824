"""Dynamic Supertoken Optimization: assignment, empty SuperTokens, nesting."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from foundry_edge.models.config import Query
from foundry_edge.models.dso import SupertokenAssignment, assign, usage
from foundry_edge.models.reducer import Sampling, TokenCloud
from foundry_edge.models.reducers.fps import NearestCentre


def soft(temperature: float | None, batch: int) -> Sampling | None:
    return None if temperature is None else Sampling(temperature, lambda *shape: torch.rand(batch, *shape))


QUERIES: tuple[Query, ...] = ("learned", "cosine", "anchored", "located")


def _reduce(
    dso: SupertokenAssignment, tokens: Tensor, positions: Tensor, count: int, temperature: float | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    cloud = TokenCloud(tokens, positions, torch.zeros_like(tokens[..., :3]))
    weights = dso.assign(cloud, count, soft(temperature, len(tokens))).merge
    return *dso.merge(tokens, positions, weights), weights


@pytest.mark.parametrize("query", QUERIES)
def test_every_token_has_one_supertoken_and_supertokens_are_means(query: Query) -> None:
    torch.manual_seed(0)
    dso = SupertokenAssignment(32, 8, query).double()
    tokens, positions = torch.randn(2, 16, 32).double(), torch.randn(2, 16, 32).double()
    merged, merged_positions, assignment = _reduce(dso, tokens, positions, 8)
    assert torch.equal(assignment.sum(dim=2), torch.ones(2, 16))
    for batch in range(2):
        for s in range(8):
            members = assignment[batch, :, s].bool()
            expected = (
                dso.value(tokens[batch, members]).mean(dim=0) if members.any() else torch.zeros(32).double()
            )
            torch.testing.assert_close(merged[batch, s], expected)
    assert merged_positions.shape == (2, 8, 32)


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("temperature", [None, 0.3])
def test_empty_supertokens_stay_finite_forward_and_backward(query: Query, temperature: float | None) -> None:
    dso = SupertokenAssignment(32, 8, query)
    same = torch.ones(2, 16, 32, requires_grad=True)
    merged, merged_positions, assignment = _reduce(dso, same, torch.zeros(2, 16, 32), 8, temperature)
    assert int((assignment.sum(dim=1) == 0).sum()) > 0
    assert torch.isfinite(merged).all()
    assert torch.isfinite(merged_positions).all()
    merged.sum().backward()
    assert torch.isfinite(same.grad if same.grad is not None else torch.tensor(torch.nan)).all()


@pytest.mark.parametrize("query", QUERIES)
def test_budgets_nest(query: Query) -> None:
    torch.manual_seed(0)
    dso = SupertokenAssignment(32, 8, query)
    cloud = TokenCloud(torch.randn(2, 16, 32), torch.randn(2, 16, 32), torch.randn(2, 16, 3))
    full = dso.logits(cloud, 8)
    for count in (1, 2, 4):
        torch.testing.assert_close(dso.logits(cloud, count), full[..., :count])


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("count", [1, 8])
def test_scores_choose_as_logits_do(query: Query, count: int) -> None:
    torch.manual_seed(0)
    dso = SupertokenAssignment(32, 8, query).double()
    for weight in (dso.supertokens, dso.query.weight, dso.key.weight):
        torch.nn.init.normal_(weight)
    tokens, positions = torch.randn(2, 4, 256, 32, dtype=torch.float64).unbind(0)
    cloud = TokenCloud(tokens, positions, torch.randn(4, 256, 3, dtype=torch.float64))
    scores, logits = dso.scores(cloud, count), dso.logits(cloud, count)
    assert scores.shape == logits.shape == (4, 256, count)
    assert torch.equal(scores.argmax(dim=-1), logits.argmax(dim=-1))


def test_located_logits_are_as_defined() -> None:
    torch.manual_seed(0)
    dso = SupertokenAssignment(32, 4, "located").double()
    for weight in (dso.supertokens, dso.query.weight, dso.key.weight):
        torch.nn.init.normal_(weight)
    tokens, positions = torch.randn(2, 3, 16, 32).double().unbind(0)
    cloud = TokenCloud(tokens, positions, torch.randn(3, 16, 3).double())
    x = cloud.content()
    queries = dso.query(x[:, :4] + dso.supertokens)
    queries = queries / queries.norm(dim=-1, keepdim=True)
    distances = (cloud.centers.unsqueeze(2) - cloud.centers[:, None, :4]).square().sum(dim=-1)
    expected = 20 * dso.key(x) @ queries.transpose(1, 2) / 64**0.5 - 120 * distances
    expected += 120 * cloud.centers.square().sum(dim=-1, keepdim=True)
    torch.testing.assert_close(dso.logits(cloud, 4), expected)


def test_located_queries_join_near_tokens_whose_content_says_nothing() -> None:
    torch.manual_seed(0)
    dso = SupertokenAssignment(32, 4, "located")
    cloud = TokenCloud(torch.ones(2, 16, 32), torch.zeros(2, 16, 32), torch.randn(2, 16, 3))
    nearest = NearestCentre(32).assign(cloud, 4).merge
    assert torch.equal(dso.assign(cloud, 4).merge, nearest)


def test_anchored_queries_use_more_supertokens_than_learned_ones_on_large_tokens() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(8, 64, 192) * 4 + torch.randn(192) * 4
    positions = torch.randn(8, 64, 192)
    used = {}
    for query in QUERIES:
        dso = SupertokenAssignment(192, 16, query)
        with torch.no_grad():
            used[query] = usage(_reduce(dso, tokens, positions, 16)[2])["in_use"]
    assert used["anchored"] > 14
    assert used["learned"] < used["anchored"]


def test_hard_assignment_takes_the_first_of_equal_logits() -> None:
    assignment = assign(torch.zeros(1, 3, 4), None)
    assert torch.equal(assignment[0].argmax(dim=1), torch.zeros(3, dtype=torch.long))


def test_straight_through_assignment_is_one_hot_and_differentiable() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 5, 4, requires_grad=True)
    assignment = assign(logits, soft(0.5, 2))
    torch.testing.assert_close(assignment.max(dim=-1).values, torch.ones(2, 5))
    (assignment * torch.randn(2, 5, 4)).sum().backward()
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) > 0


def test_usage_of_an_even_and_of_a_collapsed_assignment() -> None:
    even = torch.eye(4).repeat(4, 1)[None]
    assert usage(even) == pytest.approx({"in_use": 4.0, "entropy": 1.0}, abs=1e-5)
    collapsed = torch.zeros(1, 16, 4)
    collapsed[..., 0] = 1
    assert usage(collapsed) == pytest.approx({"in_use": 1.0, "entropy": 0.0}, abs=1e-5)
