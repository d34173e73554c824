"""Tokenizers as they are deployed: constants folded, exactly, in the precision of the module given."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from foundry_edge.models.lite_tokenizer import COORDINATE_SCALE, LiteTokenizer
from foundry_edge.models.tokenizer import Tokenizer, fold_batch_norm
from foundry_edge_export.dense import Dense, constant


class FoldedTokenizer(nn.Module):
    """`Tokenizer` in eval mode, with its constants folded."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        weight1, bias1 = fold_batch_norm(tokenizer.conv1, tokenizer.norm1)
        weight3, bias3 = fold_batch_norm(tokenizer.conv3, tokenizer.norm2)
        pooled_part, point_part = weight3.chunk(2, dim=1)
        bias2 = tokenizer.conv2.bias
        self.enter = Dense(weight1, bias1)
        self.pooled = Dense(tokenizer.conv2.weight, None)
        self.pooled_bias = constant(bias2)
        self.group = Dense(pooled_part, bias3 + point_part @ bias2)
        self.point = Dense(point_part @ tokenizer.conv2.weight, None)
        self.leave = Dense(tokenizer.conv4.weight, None)
        self.leave_bias = constant(tokenizer.conv4.bias)
        reduce = tokenizer.reduce
        self.reduce = None if reduce is None else Dense(reduce.weight, reduce.bias)

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3) to tokens (B, c, d)."""
        hidden = relu(self.enter(groups))
        pooled = self.pooled(hidden).amax(dim=2) + self.pooled_bias
        hidden = relu(self.point(hidden) + self.group(pooled).unsqueeze(2))
        tokens: Tensor = self.leave(hidden).amax(dim=2) + self.leave_bias
        if self.reduce is not None:
            tokens = self.reduce(tokens)
        return tokens


class FoldedLiteTokenizer(nn.Module):
    """`LiteTokenizer` with the scale of the coordinates in its weights, and a bias behind the maximum."""

    def __init__(self, tokenizer: LiteTokenizer) -> None:
        super().__init__()
        self.enter = Dense(COORDINATE_SCALE * tokenizer.enter.weight, tokenizer.enter.bias)
        self.point = Dense(tokenizer.point.weight, None)
        self.point_bias = constant(tokenizer.point.bias)
        self.group = Dense(tokenizer.group.weight, tokenizer.group.bias)
        self.leave = Dense(tokenizer.leave.weight, tokenizer.leave.bias)

    def forward(self, groups: Tensor) -> Tensor:
        """Groups (B, c, K, 3) to tokens (B, c, d)."""
        pooled = self.point(relu(self.enter(groups))).amax(dim=2) + self.point_bias
        tokens: Tensor = self.leave(relu(self.group(relu(pooled))))
        return tokens


def folded_tokenizer(tokenizer: nn.Module) -> nn.Module:
    """A tokenizer's inference form, which may change the module given.

    The mini-PointNet and the light one are folded. Any other computes as it is, its linear layers as `Dense`.
    """
    if type(tokenizer) is Tokenizer:
        return FoldedTokenizer(tokenizer)
    if type(tokenizer) is LiteTokenizer:
        return FoldedLiteTokenizer(tokenizer)
    return _with_dense(tokenizer)


def _with_dense(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        dense = Dense(child.weight, child.bias) if isinstance(child, nn.Linear) else _with_dense(child)
        setattr(module, name, dense)
    return module
