"""The student in four stages, each on a part of a scene: what the scene graphs are traced from.

A scene of c groups never lies in the engine as a whole: ``tokens`` takes windows of groups, ``assign`` and
``restore`` take runs of tokens, and what ``assign`` gives for each run is summed outside. ``encode`` sees the
s SuperTokens alone. The weights are those of `InferenceStudent`, to the bit, so they are stored once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foundry_edge.models.reducer import TokenCloud, content
from foundry_edge.models.student import Student
from foundry_edge_export.inference import InferenceStudent, upsampled
from foundry_edge_runtime.errors import InputError


class SceneTokens(nn.Module):
    """Tokenizer and local mixing: windows of groups to tokens."""

    def __init__(self, student: InferenceStudent) -> None:
        super().__init__()
        self.tokenizer, self.mixing = student.tokenizer, student.mixing
        self.position = student.position if len(student.mixing) else None

    def forward(self, groups: Tensor, centers: Tensor) -> Tensor:
        """Groups (b, w, K, 3) and centres (b, w, 3) of b windows to tokens (b, w, d)."""
        tokens: Tensor = self.tokenizer(groups)
        if self.position is not None:
            positions = self.position(centers)
            for block in self.mixing:
                tokens = block(tokens + positions)
        return tokens


class SceneAssign(nn.Module):
    """DSO's assignment of a run of tokens, and what the run adds to each SuperToken."""

    def __init__(self, student: InferenceStudent) -> None:
        super().__init__()
        self.position, self.dso = student.position, student.dso

    def forward(
        self, tokens: Tensor, centers: Tensor, anchor_tokens: Tensor, anchor_centers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Assign n tokens to the SuperTokens that the first s tokens of the scene anchor.

        Args:
            tokens, centers: (n, d) and (n, 3), of the run.
            anchor_tokens, anchor_centers: (s, d) and (s, 3), of the first s groups in FPS order.

        Returns:
            Sums of tokens and of positions (s, d), sizes (s, 1), and the routes back (n, s).
        """
        positions = self.position(centers)
        scores = self._scores(TokenCloud(tokens, positions, centers), anchor_tokens, anchor_centers)
        winner = scores.argmax(dim=-1, keepdim=True)
        numbers = torch.arange(anchor_tokens.shape[0], device=winner.device)
        assignment = (winner == numbers).to(tokens.dtype)
        share = assignment.transpose(0, 1)
        routes = scores.softmax(dim=-1) if self.dso.soft else assignment
        return share @ tokens, share @ positions, share.sum(dim=1, keepdim=True), routes

    def _scores(self, run: TokenCloud, anchor_tokens: Tensor, anchor_centers: Tensor) -> Tensor:
        dso, count = self.dso, anchor_tokens.shape[0]
        if dso.kind == "learned":
            return _first(dso.compare(run.tokens), count)
        anchors = content(anchor_tokens, self.position(anchor_centers))
        return _first(dso.compared(run.content(), anchors, run.centers, anchor_centers), count)


class SceneEncode(nn.Module):
    """The encoder on the merged SuperTokens of the whole scene."""

    def __init__(self, student: InferenceStudent) -> None:
        super().__init__()
        self.value, self.blocks, self.update = student.dso.value, student.blocks, student.update

    def forward(self, sums: Tensor, position_sums: Tensor, sizes: Tensor) -> Tensor:
        """Sums (s, d) of tokens and positions and sizes (s, 1) to what returns to the tokens (s, d)."""
        size = sizes.clamp_min(1.0)
        merged, positions = self.value(sums / size).unsqueeze(0), (position_sums / size).unsqueeze(0)
        x = merged
        for block in self.blocks:
            x = block(x + positions)
        if self.update:
            x = x - merged - len(self.blocks) * positions
        returned: Tensor = x[0]
        return returned


class SceneRestore(nn.Module):
    """CAU: a run of tokens and what returns to it to features."""

    def __init__(self, student: InferenceStudent) -> None:
        super().__init__()
        self.position, self.norm = student.position, student.norm
        self.cau_norm_tokens, self.cau_norm_mlp = student.cau_norm_tokens, student.cau_norm_mlp
        self.cau_enter, self.cau_mlp = student.cau_enter, student.cau_mlp
        self.passes = len(student.blocks) if student.update else 0

    def forward(self, tokens: Tensor, centers: Tensor, routes: Tensor, returned: Tensor) -> Tensor:
        """Tokens (n, d), centres (n, 3), routes (n, s) and returned (s, d) to features (n, d)."""
        positions = self.position(centers)
        start = tokens + self.passes * positions if self.passes else positions
        return upsampled(self, tokens, start + routes @ returned)


def scene_stages(student: Student, dtype: torch.dtype = torch.float32) -> dict[str, nn.Module]:
    """The four stages by name, for every budget of the student.

    Raises:
        InputError: the student is of a form that has no graph for scenes.
    """
    if student.gate is not None:
        raise InputError(
            "a student with a gate has no graphs for scenes",
            remedy="distil without --gate, or leave out --scene",
        )
    whole = InferenceStudent(student, student.config.tokens[-1], dtype=dtype)
    stages: dict[str, nn.Module] = {
        "tokens": SceneTokens(whole),
        "assign": SceneAssign(whole),
        "encode": SceneEncode(whole),
        "restore": SceneRestore(whole),
    }
    return stages


def _first(logits: Tensor, count: int) -> Tensor:
    """The logits (n, s) of a smaller budget: SuperTokens are nested prefixes."""
    return logits[:, :count]
