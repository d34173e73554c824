"""Teachers as the published code names and computes them, for checkpoints made by the tests.

Written from the papers and method descriptions, with plain convolutions and explicit attention, so that the
comparison with our folded tokenizer and fused attention means something.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

WIDTH, DEPTH, HEADS = 24, 2, 3


class PointNet(nn.Module):
    """The mini-PointNet on channels-first groups."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(
            nn.Conv1d(3, 128, 1, bias=bias), nn.BatchNorm1d(128), nn.ReLU(), nn.Conv1d(128, 256, 1)
        )
        self.second_conv = nn.Sequential(
            nn.Conv1d(512, 512, 1, bias=bias), nn.BatchNorm1d(512), nn.ReLU(), nn.Conv1d(512, width, 1)
        )

    def forward(self, groups: Tensor) -> Tensor:
        hidden = self.first_conv(groups.flatten(0, 1).transpose(1, 2))
        pooled = hidden.amax(dim=2, keepdim=True).expand_as(hidden)
        tokens: Tensor = self.second_conv(torch.cat([pooled, hidden], dim=1)).amax(dim=2)
        out: Tensor = tokens.unflatten(0, groups.shape[:2])
        return out


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, dim=-1)
        )
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        out: Tensor = self.proj((weights @ value).transpose(1, 2).flatten(2))
        return out


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(nn.functional.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.mlp = Attention(width, heads, bias), Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Reference(nn.Module):
    """One teacher; `state` names its tensors as a format does."""

    def __init__(
        self, *, bias: bool = False, qkv_bias: bool = True, reduce: int = 0, cls: bool = False
    ) -> None:
        super().__init__()
        self.pointnet = PointNet(reduce or WIDTH, bias)
        self.reduce = nn.Linear(reduce, WIDTH) if reduce else nn.Identity()
        self.position = nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS, qkv_bias) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.cls = nn.ParameterList(torch.randn(1, 1, WIDTH) for _ in range(2 if cls else 0))
        self.requires_grad_(False).eval()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d | nn.LayerNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
            if isinstance(module, nn.BatchNorm1d):
                nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]

    def tokens(self, groups: Tensor) -> Tensor:
        out: Tensor = self.reduce(self.pointnet(groups))
        return out

    def forward(self, groups: Tensor, centers: Tensor) -> Tensor:
        x, positions = self.tokens(groups), self.position(centers)
        if len(self.cls):
            token, place = (part.expand(len(x), -1, -1) for part in self.cls)
            x, positions = torch.cat([token, x], dim=1), torch.cat([place, positions], dim=1)
        for block in self.blocks:
            x = block(x + positions)
        out: Tensor = self.norm(x)[:, len(self.cls) // 2 :]
        return out

    def state(self, names: dict[str, str]) -> dict[str, Tensor]:
        """The state dict with our first name parts replaced: ``{"pointnet.": "encoder.", ...}``."""
        renamed = {}
        for name, tensor in self.state_dict().items():
            prefix = next(p for p in names if name.startswith(p))
            renamed[names[prefix] + name.removeprefix(prefix)] = tensor
        return renamed


def lightning(embedding: str, extra: dict[str, Tensor], **hyper: Any) -> tuple[Reference, dict[str, Any]]:
    """A Lightning checkpoint of the point2vec family."""
    model = Reference()
    names = {"pointnet.": embedding, "position.": "positional_encoding."}
    online = {"blocks.": "student.blocks.", "norm.": "student.norm."}
    state = model.state(names | online)
    ema = Reference().state(
        names | {"blocks.": "teacher.ema_model.blocks.", "norm.": "teacher.ema_model.norm."}
    )
    copies = {k: v for k, v in ema.items() if k.startswith("teacher.")}
    values = {
        "encoder_heads": HEADS,
        "tokenizer_num_groups": 16,
        "tokenizer_group_size": 8,
        "transformation_subsample_points": 128,
        "tokenizer_group_radius": None,
        "encoder_add_pos_at_every_layer": True,
    }
    return model, {
        "epoch": 7,
        "pytorch-lightning_version": "1.7.7",
        "state_dict": copies | state | {"mask_token": torch.zeros(WIDTH)} | extra,
        "hyper_parameters": values | hyper,
    }


def point_jepa(**hyper: Any) -> tuple[Reference, dict[str, Any]]:
    """Point-JEPA's form."""
    extra = {"predictor.blocks.0.norm1.weight": torch.ones(8)}
    return lightning("tokenizer.embedding.encoder.", extra, **hyper)


def point2vec(**hyper: Any) -> tuple[Reference, dict[str, Any]]:
    """point2vec's form."""
    return lightning("tokenizer.embedding.", {"regressor.weight": torch.ones(WIDTH, WIDTH)}, **hyper)


def point_mae(prefix: str = "MAE_encoder.") -> tuple[Reference, dict[str, Any]]:
    """Point-MAE's form; with an empty prefix as fine-tuned, with a cls token."""
    model = Reference(bias=True, qkv_bias=False, cls=not prefix)
    extra = "MAE_decoder.norm.weight" if prefix else "cls_head_finetune.0.weight"
    state = model.state(transformer(prefix)) | {extra: torch.ones(3)}
    return model, {"base_model": state, "epoch": 300, "metrics": {"acc": 90.0}}


def point_bert(prefix: str = "transformer_q.", wrapper: str = "module.") -> tuple[Reference, dict[str, Any]]:
    """Point-BERT's form, with ``module.`` or without; with an empty prefix as fine-tuned."""
    model = Reference(bias=True, qkv_bias=False, reduce=32, cls=True)
    state = model.state(transformer(prefix))
    if prefix:
        copy = Reference(bias=True, qkv_bias=False, reduce=32, cls=True)
        state |= copy.state(transformer("transformer_k.")) | {"dvae.codebook": torch.ones(4, 4)}
    return model, {"base_model": {wrapper + name: tensor for name, tensor in state.items()}, "epoch": 1}


def transformer(prefix: str) -> dict[str, str]:
    """Names of the transformer that Point-BERT and Point-MAE share."""
    return {
        "pointnet.": f"{prefix}encoder.",
        "reduce.": f"{prefix}reduce_dim.",
        "position.": f"{prefix}pos_embed.",
        "blocks.": f"{prefix}blocks.blocks.",
        "norm.": f"{prefix}norm.",
        "cls.0": f"{prefix}cls_token",
        "cls.1": f"{prefix}cls_pos",
    }
