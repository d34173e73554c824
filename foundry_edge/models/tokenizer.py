"""Tokenizer: a mini-PointNet per group (Point-JEPA section 3.1; Point-BERT, Point-MAE)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu


def fold_batch_norm(layer: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) of ``norm(layer(x))`` with the norm's running statistics."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
    return layer.weight * scale[:, None], bias * scale + norm.bias


GROUPS_AT_ONCE = 32
"""On a CPU, groups of 32 points whose activations (1024 x 512 floats, 2 MiB) stay in the caches."""


class Tokenizer(nn.Module):
    """Groups of points to tokens.

    Point-wise 3-128-256, max over the group, [pooled, per-point] 512-512-d, max over the group.
    In eval mode the batch norms are folded and the two linear maps that no ReLU separates are one
    product, which is exact (0.61x the multiply-accumulates), and a CPU takes a few groups at a time;
    `forward_reference` is the textbook form.
    With ``reduce_from`` the groups' maxima have that width and a linear map takes them to d (Point-BERT).
    """

    def __init__(self, width: int, conv_bias: bool, reduce_from: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Linear(3, 128, bias=conv_bias)
        self.norm1 = nn.BatchNorm1d(128)
        self.conv2 = nn.Linear(128, 256)
        self.conv3 = nn.Linear(512, 512, bias=conv_bias)
        self.norm2 = nn.BatchNorm1d(512)
        self.conv4 = nn.Linear(512, reduce_from or width)
        self.reduce = nn.Linear(reduce_from, width) if reduce_from else None

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3), relative to their centres, to tokens (B, c, d)."""
        flat = groups.flatten(0, 1)
        tokens = self.forward_reference(flat) if self.norm1.training else self._forward_folded(flat)
        out: Tensor = tokens.unflatten(0, groups.shape[:2])
        return out

    def _reduced(self, pooled: Tensor) -> Tensor:
        return pooled if self.reduce is None else self.reduce(pooled)

    def _forward_folded(self, flat: Tensor) -> Tensor:
        weight1, bias1 = fold_batch_norm(self.conv1, self.norm1)
        weight3, bias3 = fold_batch_norm(self.conv3, self.norm2)
        pooled_part, point_part = weight3.chunk(2, dim=1)
        bias3 = bias3 + linear(self.conv2.bias, point_part)
        joined = point_part @ self.conv2.weight

        def tokens(few: Tensor) -> Tensor:
            hidden = linear(few, weight1, bias1).relu_()
            pooled = linear(hidden, self.conv2.weight).amax(dim=1) + self.conv2.bias
            group_bias = linear(pooled, pooled_part, bias3)
            hidden = linear(hidden, joined).add_(group_bias[:, None]).relu_()
            return linear(hidden, self.conv4.weight).amax(dim=1)

        whole = flat.device.type != "cpu" or torch.compiler.is_compiling()
        pooled = tokens(flat) if whole else torch.cat([tokens(few) for few in flat.split(GROUPS_AT_ONCE)])
        return self._reduced(pooled + self.conv4.bias)

    def forward_reference(self, flat: Tensor) -> Tensor:
        """The published form, (G, K, 3) to (G, d); batch norms follow the module's mode."""
        hidden = self.conv2(relu(_normed(self.norm1, self.conv1(flat))))
        pooled = hidden.amax(dim=1, keepdim=True).expand_as(hidden)
        hidden = relu(_normed(self.norm2, self.conv3(torch.cat([pooled, hidden], dim=-1))))
        return self._reduced(self.conv4(hidden).amax(dim=1))

    @torch.no_grad()
    def calibrate_batch_norm(self, groups: Tensor) -> None:
        """Set the running statistics from groups (B, c, K, 3).

        Random weights with calibrated statistics are a much stronger start (and baseline) than the
        default statistics; pre-training then keeps them fixed.
        """
        modes = [(norm, norm.momentum, norm.training) for norm in (self.norm1, self.norm2)]
        for norm, _, _ in modes:
            norm.momentum = 1.0
            norm.train()
        self.forward_reference(groups.flatten(0, 1))
        for norm, momentum, training in modes:
            norm.momentum = momentum
            norm.train(training)


def _normed(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    out: Tensor = norm(x.flatten(0, 1)).view_as(x)
    return out
