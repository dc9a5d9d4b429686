"""Distil a small recogniser of our own from open ones: what it learns is where they see a face, not who people are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.images import to_tensor
from amtgan_lib.recognizers import align, spec
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.lessons import Lessons
from amtgan_lib.recognizers.training import CROP, Student

EXPOSURE, NOISE = 0.1, 0.04  # what a picture is varied by each time it is shown: no label changes for that


@dataclass(frozen=True)
class DistillationConfig:
    """How the student is trained. Its table row says its teachers and how many values it gives."""

    name: str = "distilled"
    steps: int = 2400
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0
    precision: str = "auto"
    device: str = "cpu"


class Distillation(Student):
    """A student that learns where its teachers see a face; its loss is 1 - cosine to that."""

    def __init__(self, config: DistillationConfig, lessons: Lessons):
        row = spec(config.name)
        if not row.teachers:
            raise ValueError(f"{config.name} is not distilled: it has no teachers")
        if missing := [name for name in row.teachers if name not in lessons.labels]:
            raise ValueError(f"{config.name} learns from {', '.join(row.teachers)}; no lesson asked {missing[0]}")
        self.pictures, self.draw = lessons.pictures, torch.Generator().manual_seed(config.seed)
        self.labels = directions(lessons.joined(row.teachers), row.embedding)
        super().__init__(config, config.steps)

    def order(self) -> Tensor:
        """All pictures, shuffled."""
        return torch.randperm(len(self.pictures), generator=self.draw)

    def loss(self, picked: Tensor) -> Tensor:
        """The mean loss of these pictures, each varied a little."""
        images = to_tensor(self.pictures[picked.numpy()])
        gain, shift, noise = (torch.rand(len(images), 1, 1, 1, generator=self.draw) for _ in range(3))
        images = images * (1 + EXPOSURE * (gain - 0.5)) + EXPOSURE * (shift - 0.5)
        images = images + NOISE * noise * torch.randn(images.shape, generator=self.draw)
        points = template(CROP).float().expand(len(images), -1, -1)
        vectors = self.embedded(align(images.clamp(-1, 1), points, self.size))
        return (1 - F.cosine_similarity(vectors, self.labels[picked].to(vectors.device))).mean()


def directions(vectors: Tensor, count: int) -> Tensor:
    """Unit vectors (K, D) in the ``count`` directions in which they differ most: (K, count), again of unit length.

    The cosines between them hardly change, and a student of so few values needs no layer for the rest.
    """
    if count >= vectors.shape[1]:
        return vectors
    _, basis = torch.linalg.eigh(vectors.T @ vectors)
    return F.normalize(vectors @ basis[:, -count:])
