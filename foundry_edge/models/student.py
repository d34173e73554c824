"""The SuperToken student (Foundry, arXiv 2511.20721, section 3), and baselines that differ in the reducer."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from foundry_edge.models.cau import CrossAttentionUpsampling
from foundry_edge.models.compressed import Compressed, Reconstruction
from foundry_edge.models.config import StudentConfig
from foundry_edge.models.gate import Bypass, Gate, ranked, sampled, thresholded
from foundry_edge.models.reducer import Assignment, Sampling, TokenCloud, content
from foundry_edge.models.reducers import make_reducer
from foundry_edge.models.teacher import Teacher
from foundry_edge.models.transformer import AttentionBlock, Block, Encoder


class Student(Compressed):
    """Tokenize, merge (DSO), encode the SuperTokens, restore (CAU).

    One set of weights serves every budget: SuperTokens are nested prefixes.
    """

    config: StudentConfig

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        size = config.teacher
        self.config = config
        ratio = config.all_token_mlp_ratio
        self.mixing = nn.ModuleList(
            Block(size.width, size.heads, ratio, size.qkv_bias) for _ in range(config.mixing_blocks)
        )
        self.mixing.extend(
            AttentionBlock(size.width, size.heads, size.qkv_bias) for _ in range(config.attention_blocks)
        )
        self.dso = make_reducer(config)
        self.gate = Gate(size.width) if config.gate else None
        self.encoder = Encoder(size.width, config.encoder_depth, size.heads, size.mlp_ratio, size.qkv_bias)
        self.cau = CrossAttentionUpsampling(size.width, ratio, config.cau_mlp)
        self.train(False)

    @property
    def budgets(self) -> tuple[int, ...]:
        """SuperToken budgets, ascending."""
        return self.config.tokens

    @torch.no_grad()
    def start_from(self, teacher: Teacher) -> None:
        """Copy tokenizer, positions, head and blocks from the teacher.

        The leading blocks start the mixing blocks, the next ones the attention blocks; where the encoder is
        shallower than what is left, it takes evenly spaced ones. The teacher's last block starts the CAU's
        MLP, which takes its place at full resolution; with the residual ``update`` the MLP starts silent
        instead, and the student starts as the teacher itself where s = c and all its blocks are there.
        """
        super().start_from(teacher)
        theirs = [cast("Block", block) for block in teacher.encoder.blocks]
        for mine, block in zip(self.mixing, theirs, strict=False):
            cast("AttentionBlock", mine).start_from(block)
        taken = spread(len(self.mixing), len(theirs), self.config.encoder_depth)
        self.encoder.start_from(teacher.encoder, taken)
        self.cau.start_from(theirs[-1], silent=self.config.residual == "update")

    def mix(self, tokens: Tensor, positions: Tensor, centers: Tensor) -> Tensor:
        """Tokens (B, c, d) after the mixing blocks, which let every token attend to all others.

        Args:
            tokens, positions: (B, c, d).
            centers: (B, c, 3), for students that attend to near tokens only.
        """
        for block in self.mixing:
            tokens = block(tokens + positions)
        return tokens

    def reconstruct(
        self,
        tokens: Tensor,
        centers: Tensor,
        count: int = 0,
        sampling: Sampling | None = None,
        threshold: float = 0.5,
        bypassed: int | None = None,
    ) -> Reconstruction:
        """As `Compressed.reconstruct`; the last two matter only with a gate.

        Args:
            tokens: (B, c, d).
            centers: (B, c, 3), in FPS order.
            count: s, SuperTokens to use.
            sampling: softens assignment and gate, in training.
            threshold: r; tokens with a merge probability above it are merged.
            bypassed: k, merge all but the k tokens with the lowest merge probability, whatever r.
        """
        positions = self.position(centers).to(tokens.dtype)
        tokens = self.mix(tokens, positions, centers)
        assigned = self._assigned(TokenCloud(tokens, positions, centers), count, sampling)
        if self.gate is None:
            merged, merged_positions = self.dso.merge(tokens, positions, assigned.merge)
            encoded = self.encoder.body(merged, merged_positions)
            returned = self._returned(tokens, positions, merged, merged_positions, encoded, assigned.routes)
            return Reconstruction(self._restored(tokens, returned), assigned.merge)
        logits = self.gate(content(tokens, positions))
        bypass = _bypass(logits, sampling, threshold, bypassed)
        returned, weights = self._gated(tokens, positions, *assigned, bypass)
        return Reconstruction(self._restored(tokens, returned), weights, logits.float().sigmoid())

    def _assigned(self, cloud: TokenCloud, count: int, sampling: Sampling | None) -> Assignment:
        """In FP32 or wider under autocast too: logits are differences of squares, and rounded they change."""
        with torch.autocast(cloud.tokens.device.type, enabled=False):
            return self.dso.assign(cloud.full(), count, sampling)

    def _gated(
        self, tokens: Tensor, positions: Tensor, merge: Tensor, routes: Tensor, bypass: Bypass
    ) -> tuple[Tensor, Tensor]:
        """What returns to each token (B, c, d), and the assignment of the merged tokens (B, c, s)."""
        weights = merge * bypass.merge.unsqueeze(-1)
        merged, merged_positions = self.dso.merge(tokens, positions, weights)
        count = merged.shape[1]
        rows = torch.cat([merged, bypass.select(tokens)], dim=1)
        places = torch.cat([merged_positions, bypass.select(positions)], dim=1)
        encoded = self.encoder.body(rows, places, _key_mask(bypass.valid, count))
        supertokens, alone = encoded[:, :count], encoded[:, count:]
        returned = self._returned(tokens, positions, merged, merged_positions, supertokens, routes)
        if self.config.residual == "mapped":
            alone = alone + bypass.select(positions)
        return bypass.blend(returned, alone), weights

    def _returned(
        self,
        tokens: Tensor,
        positions: Tensor,
        merged: Tensor,
        merged_positions: Tensor,
        encoded: Tensor,
        routes: Tensor,
    ) -> Tensor:
        """What SuperTokens (B, s, d) give back to their tokens (B, c, d).

        ``mapped``: the encoded SuperToken and the token's position (the token comes back in CAU).
        ``update``: the token, plus what the encoder changed in its SuperToken; every block adds the
        positions to its input, so their share is taken from the token's own.
        """
        if self.config.residual == "mapped":
            return routes @ encoded + positions
        passes = len(self.encoder.blocks)
        change = encoded - merged - passes * merged_positions
        return tokens + passes * positions + routes @ change

    def _restored(self, tokens: Tensor, returned: Tensor) -> Tensor:
        features: Tensor = self.encoder.norm(self.cau(tokens, returned))
        return features


def spread(first: int, last: int, count: int) -> list[int]:
    """``count`` evenly spaced numbers in first..last-1, the last of them included."""
    return [first + (i + 1) * (last - first) // count - 1 for i in range(count)]


def _bypass(logits: Tensor, sampling: Sampling | None, threshold: float, bypassed: int | None) -> Bypass:
    if sampling is not None:
        return sampled(logits, sampling)
    return thresholded(logits, threshold) if bypassed is None else ranked(logits, bypassed)


def _key_mask(valid: Tensor | None, count: int) -> Tensor | None:
    """Which of ``count`` SuperTokens and k bypassed tokens may be attended to, (B, 1, 1, s + k)."""
    if valid is None:
        return None
    always = torch.ones(len(valid), count, dtype=torch.bool, device=valid.device)
    return torch.cat([always, valid], dim=1)[:, None, None]
