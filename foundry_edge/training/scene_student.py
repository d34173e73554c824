"""A student on scenes: mixing blocks attend within windows of near tokens, so cost is linear in c.

The weights are an ordinary student's. With at most W tokens there is one window and nothing differs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foundry_edge.models.config import StudentConfig
from foundry_edge.models.student import Student
from foundry_edge_runtime.pointcloud import FloatArray
from foundry_edge_runtime.scenes.windows import stacked, windows


class SceneStudent(Student):
    """`Student` whose mixing is local: all-to-all in windows of W tokens along the Z-order curve.

    W is the c of the teacher's preprocessing, so a mixing block sees sequences as long as in pre-training.
    Everything else (DSO, encoder, CAU) is the student's own and linear in c already.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.window = config.teacher.preprocessing.groups

    def mix(self, tokens: Tensor, positions: Tensor, centers: Tensor) -> Tensor:
        """As `Student.mix`, each token among the tokens of its window."""
        if not len(self.mixing):
            return tokens
        places = centers.detach().cpu().numpy()
        clouds = zip(tokens, positions, places, strict=True)
        return torch.stack([self._mix_one(*cloud) for cloud in clouds])

    def _mix_one(self, tokens: Tensor, positions: Tensor, centers: FloatArray) -> Tensor:
        """Tokens (c, d) of one cloud, window by window."""
        parts = windows(centers, self.window)
        rows = [torch.from_numpy(part).to(tokens.device) for part in stacked(parts, len(parts))]
        mixed = []
        for row in rows:
            near = tokens[row]
            for block in self.mixing:
                near = block(near + positions[row])
            mixed.append(near.flatten(0, 1))
        order = torch.cat([row.flatten() for row in rows])
        return torch.cat(mixed)[order.argsort()]


def scene_student(student: Student) -> SceneStudent:
    """The student as it is on scenes, in eval mode, with a copy of its weights."""
    scene = SceneStudent(student.config)
    scene.load_state_dict(student.state_dict())
    return scene.requires_grad_(False)
