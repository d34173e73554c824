"""Joint-embedding predictive pre-training (Point-JEPA, Saito et al. 2025, section 3)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, normalize, smooth_l1_loss

from foundry_edge.data.groupings import GroupedShapes
from foundry_edge.models.position import PositionalEncoding
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import Encoder
from foundry_edge.training.engine import Step
from foundry_edge.training.mae import draw, take
from foundry_edge.training.processes import gathered, mean_over_processes, process_rank
from foundry_edge.training.schedule import cosine

TARGETS = 4
TARGET_SHARE = (0.15, 0.20)
CONTEXT_SHARE = (0.40, 0.75)
EMA = (0.99, 0.9985)
CONTRAST_WEIGHT = 0.1
CONTRAST_TEMPERATURE = 0.2


def greedy_walk(centers: Tensor) -> Tensor:
    """Order (B, c) that walks from centre to nearest unvisited centre (Point-JEPA's sequencer).

    Args:
        centers: (B, c, 3); the walk starts at the centre with the smallest coordinate sum.
    """
    batch, count = centers.shape[:2]
    rows = torch.arange(batch, device=centers.device)
    distance = torch.cdist(centers, centers)
    current = centers.sum(dim=2).argmin(dim=1)
    order = [current]
    for _ in range(count - 1):
        distance[rows, :, current] = torch.inf
        current = distance[rows, current].argmin(dim=1)
        order.append(current)
    return torch.stack(order, dim=1)


def contiguous_blocks(count: int, generator: torch.Generator) -> tuple[list[Tensor], Tensor]:
    """Positions along the walk: the target blocks, and the context block without any target."""
    size = _share(count, TARGET_SHARE, generator)
    targets = [_block(count, size, generator) for _ in range(TARGETS)]
    context = _block(count, _share(count, CONTEXT_SHARE, generator), generator)
    taken = torch.cat(targets).unique()
    left = context[~torch.isin(context, taken)]
    if len(left) < 2:
        everything = torch.arange(count)
        left = everything[~torch.isin(everything, taken)]
    return targets, left


def _share(count: int, bounds: tuple[float, float], generator: torch.Generator) -> int:
    low, high = bounds
    return max(int(count * (low + (high - low) * float(torch.rand(1, generator=generator)))), 1)


def _block(count: int, size: int, generator: torch.Generator) -> Tensor:
    start = int(torch.randint(count - size + 1, (1,), generator=generator))
    return torch.arange(start, start + size)


class Predictor(nn.Module):
    """Predicts target features from context features and target positions."""

    def __init__(self, width: int, hidden: int, depth: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, hidden)
        self.position = PositionalEncoding(hidden)
        self.encoder = Encoder(hidden, depth, heads)
        self.leave = nn.Linear(hidden, width)
        self.mask_token = nn.Parameter(torch.zeros(hidden))
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(self, context: Tensor, context_centers: Tensor, target_centers: Tensor) -> Tensor:
        """Context (B, n, d), centres (B, n, 3) and target centres (B, T, m, 3) to (B, T, m, d)."""
        batch, blocks, size = target_centers.shape[:3]
        entered = self.enter(context).repeat_interleave(blocks, dim=0)
        masks = self.mask_token.to(entered.dtype).expand(batch * blocks, size, -1)
        centers = torch.cat(
            [context_centers.repeat_interleave(blocks, dim=0), target_centers.flatten(0, 1)], dim=1
        )
        hidden = self.encoder(torch.cat([entered, masks], dim=1), self.position(centers))
        predicted = self.leave(hidden[:, -size:])
        out: Tensor = predicted.unflatten(0, (batch, blocks))
        return out


class JointEmbedding(nn.Module):
    """Point-JEPA with a weak contrastive term.

    Differences from the paper, found necessary at small scale: targets are the mean of the layer-normed
    outputs of blocks depth/3, 2 depth/3 and depth, standardised per channel; EMA 0.99 to 0.9985; and a weak
    InfoNCE between the pooled context and the pooled EMA features of another view of the shape. The other
    view matters: within one view, scale and rotation alone tell the shapes of a batch apart.

    Args:
        teacher: trained in place.
        data: shapes to draw from.
        freeze_tokenizer: keep the tokenizer as masked reconstruction left it. Online and EMA encoder then
            share one pass of it without gradient, and small batches cannot spoil it.
    """

    def __init__(self, teacher: Teacher, data: GroupedShapes, freeze_tokenizer: bool = False) -> None:
        super().__init__()
        config = teacher.config
        self.data = data
        self.teacher = teacher
        self.teacher.tokenizer.requires_grad_(not freeze_tokenizer)
        self.frozen = freeze_tokenizer
        self.ema = copy.deepcopy(teacher).requires_grad_(False)
        self.predictor = Predictor(config.width, max(config.width // 2, 32), max(config.depth // 3, 1), 2)
        self.project = nn.Sequential(
            nn.LayerNorm(config.width), nn.Linear(config.width, 512), nn.GELU(), nn.Linear(512, 128)
        )
        self.layers = tuple(sorted({max(config.depth * i // 3, 1) for i in (1, 2, 3)}))

    def loss(self, step: Step) -> tuple[Tensor, dict[str, float]]:
        """Smooth L1 to the EMA encoder's standardised features, plus the contrastive term."""
        groups, centers = draw(self.data, step, self.predictor.mask_token.device)
        order = greedy_walk(centers)
        targets, context = contiguous_blocks(centers.shape[1], step.generator)
        with torch.no_grad():
            tokens = self.ema.tokenizer(groups)
        wanted, spread = self._targets(tokens, centers)
        context_index = order[:, context]
        context_tokens = (
            take(tokens, context_index)
            if self.frozen
            else self.teacher.tokenizer(take(groups, context_index))
        )
        positions = self.teacher.position(take(centers, context_index))
        seen = self.teacher.encoder(context_tokens, positions)
        target_index = torch.stack([order[:, block] for block in targets], dim=1)
        target_centers = take(centers, target_index.flatten(1)).unflatten(1, target_index.shape[1:])
        predicted = self.predictor(seen, take(centers, context_index), target_centers)
        expected = take(wanted, target_index.flatten(1)).unflatten(1, target_index.shape[1:])
        regression = smooth_l1_loss(predicted.float(), expected, beta=2.0)
        contrast = self._contrast(seen.float().mean(dim=1), self._other_view(step))
        figures = {
            "regression": float(regression.detach()),
            "contrast": float(contrast.detach()),
            "feature_std": float(seen.detach().float().std(dim=(0, 1)).mean()),
            "shape_to_token_std": spread,
        }
        return regression + CONTRAST_WEIGHT * contrast, figures

    @torch.no_grad()
    def _targets(self, tokens: Tensor, centers: Tensor) -> tuple[Tensor, float]:
        states = self.ema.encoder.hidden_states(tokens, self.ema.position(centers), self.layers)
        mean = torch.stack([layer_norm(s.float(), s.shape[-1:]) for s in states]).mean(dim=0)
        center = mean_over_processes(mean.mean(dim=(0, 1)))
        variance = mean_over_processes((mean - center).square().mean(dim=(0, 1)))
        wanted = (mean - center) / (variance.sqrt() + 1e-4)
        between_shapes = float(wanted.mean(dim=1).std(dim=0).mean())
        return wanted, between_shapes / max(float(wanted.std(dim=1).mean()), 1e-9)

    @torch.no_grad()
    def _other_view(self, step: Step) -> Tensor:
        """Pooled EMA features (B, d) of half the centres of a second, differently augmented view."""
        groups, centers = draw(self.data, step, self.predictor.mask_token.device)
        kept = max(centers.shape[1] // 2, 4)
        return self.ema.encode_groups(groups[:, :kept], centers[:, :kept]).float().mean(dim=1)

    def _contrast(self, context: Tensor, target: Tensor) -> Tensor:
        a = normalize(self.project(context).float(), dim=1)
        b = normalize(self.project(gathered(target)).float(), dim=1)
        own = torch.arange(len(a), device=a.device) + process_rank() * len(a)
        return cross_entropy(a @ b.T / CONTRAST_TEMPERATURE, own)

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        """Move the EMA copy towards the online encoder."""
        rate = 1 - cosine(step.progress, *EMA)
        pairs = zip(self.ema.parameters(), self.teacher.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, rate)
