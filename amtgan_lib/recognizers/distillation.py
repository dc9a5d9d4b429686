"""Distil a small recogniser of our own from open ones: what it learns is where they see a face, not who people are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import compute
from amtgan_lib.images import to_tensor
from amtgan_lib.recognizers import align, build, spec
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.lessons import Lessons
from amtgan_lib.recognizers.training import CROP

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


class Distillation:
    """A student on its way; ``network`` is what is saved."""

    def __init__(self, config: DistillationConfig, lessons: Lessons):
        row = spec(config.name)
        if not row.teachers:
            raise ValueError(f"{config.name} is not distilled: it has no teachers")
        if missing := [name for name in row.teachers if name not in lessons.labels]:
            raise ValueError(f"{config.name} learns from {', '.join(row.teachers)}; no lesson asked {missing[0]}")
        self.config, self.size, self.pictures = config, row.input_size, lessons.pictures
        self.labels = directions(lessons.joined(row.teachers), row.embedding)
        self.precision = compute.precision(config.precision, config.device)
        torch.manual_seed(config.seed)
        self.network = build(config.name).to(config.device, memory_format=torch.channels_last).train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        self.rate = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, config.steps)
        self.draw = torch.Generator().manual_seed(config.seed)

    def train(self, progress: Callable[[Iterable], Iterable] = iter) -> list[dict[str, float]]:
        """Train to the end; returns step and loss (1 - cosine to what the teachers see) of every step."""
        history, order = [], torch.empty(0, dtype=torch.long)
        for step in progress(range(self.config.steps)):
            if len(order) < self.config.batch:
                order = torch.randperm(len(self.pictures), generator=self.draw)
            picked, order = order[: self.config.batch], order[self.config.batch :]
            history.append({"step": step + 1, "loss": self._step(picked)})
        self.network.eval()
        return history

    def _step(self, picked: Tensor) -> float:
        images = to_tensor(self.pictures[picked.numpy()])
        gain, shift, noise = (torch.rand(len(images), 1, 1, 1, generator=self.draw) for _ in range(3))
        images = images * (1 + EXPOSURE * (gain - 0.5)) + EXPOSURE * (shift - 0.5)
        images = images + NOISE * noise * torch.randn(images.shape, generator=self.draw)
        seen = align(images.clamp(-1, 1), template(CROP).float().expand(len(images), -1, -1), self.size)
        seen = seen.to(self.config.device).contiguous(memory_format=torch.channels_last)
        with self.precision.autocast():
            vectors = self.network(seen)
        loss = (1 - F.cosine_similarity(vectors.float(), self.labels[picked].to(vectors.device))).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.rate.step()
        return float(loss.detach())


def directions(vectors: Tensor, count: int) -> Tensor:
    """Unit vectors (K, D) in the ``count`` directions in which they differ most: (K, count), again of unit length.

    The cosines between them hardly change, and a student of so few values needs no layer for the rest.
    """
    if count >= vectors.shape[1]:
        return vectors
    _, basis = torch.linalg.eigh(vectors.T @ vectors)
    return F.normalize(vectors @ basis[:, -count:])
