"""Distil a small recogniser of our own from open ones: what it learns is where they see a face, not who people are.

The student sees few photographs, but any picture can be labelled by asking the teachers, so each step makes new ones:
faces blended into each other, whole or by parts, faces of another shape and complexion, and faces moved a little
towards somebody else by the teachers' own gradients. (A patient teacher on mixed pictures: Beyer et al., CVPR 2022,
arXiv 2106.05237. Labels near a picture teach the slope there: Czarnecki et al., NeurIPS 2017, arXiv 1706.04859.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import compute
from amtgan_lib.hints import similarity_gradients
from amtgan_lib.images import to_uint8
from amtgan_lib.recognizers import Recognizer, align, build, spec
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.training import CROP, varied

MOVED = 8  # one picture in so many is moved along a teacher's gradient
BENT = 0.05  # features are moved by some such share of the picture's side: another person, to the teachers
TINTED = 0.15  # each colour channel is scaled by up to so much
REPLAYS, POOLED = 4, 32  # batches are made 32 at a time, which costs as much as learning from each of them 4 times
LARGEST_MOVE = 0.14  # in [-1,1] units: 18 of 255 levels, about the largest change of a protected face


@dataclass(frozen=True)
class DistillationConfig:
    """How the student is trained. ``teachers`` are names; their embeddings, joined, are what the student gives."""

    name: str = "distilled"
    teachers: tuple[str, ...] = ("mobilefacenet_foamliu", "mobilefacenet_xiaoccer")
    steps: int = 2000
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    seed: int = 0
    precision: str = "auto"
    device: str = "cpu"

    def __post_init__(self):
        widths = sum(spec(teacher).embedding for teacher in self.teachers)
        if widths != spec(self.name).embedding:
            raise ValueError(f"{self.name} has {spec(self.name).embedding} values, its teachers {widths} together")
        object.__setattr__(self, "teachers", tuple(self.teachers))


class Distillation:
    """A student on its way; ``network`` is what is saved.

    crops: (K, 112, 112, 3) uint8 aligned faces; teachers: frozen recognisers in the order of the configuration.
    """

    def __init__(self, config: DistillationConfig, crops: np.ndarray, teachers: Sequence[Recognizer]):
        if [each.name for each in teachers] != list(config.teachers):
            raise ValueError(f"expected the teachers {config.teachers}, got {[each.name for each in teachers]}")
        if len(crops) < 2:
            raise ValueError(f"{len(crops)} faces cannot be blended; at least 2 are needed")
        self.config, self.crops, self.teachers = config, crops, [each.to(config.device) for each in teachers]
        self.precision = compute.precision(config.precision, config.device)
        torch.manual_seed(config.seed)
        self.network = build(config.name).to(config.device, memory_format=torch.channels_last).train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        self.rate = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, config.learning_rate, config.steps)
        self.points = template(CROP).float().expand(config.batch, -1, -1)
        self.draw = torch.Generator().manual_seed(config.seed)

    def train(self, progress: Callable[[Iterable], Iterable] = iter) -> list[dict[str, float]]:
        """Train to the end; returns step and loss (1 - cosine to the teachers' joined embeddings) of every step."""
        history, pool, order = [], [], []
        for step in progress(range(self.config.steps)):
            if step % (REPLAYS * POOLED) == 0:
                pool = [self._labelled() for _ in range(POOLED)]
            if not order:
                order = torch.randperm(POOLED, generator=self.draw).tolist()
            history.append({"step": step + 1, "loss": self._step(*pool[order.pop()])})
        self.network.eval()
        return history

    def pictures(self) -> Tensor:
        """New faces (N, 3, 112, 112) in [-1,1]: blended, varied, reshaped, some of them moved."""
        count = self.config.batch
        pick = torch.randint(len(self.crops), (2, count), generator=self.draw).numpy()
        images = varied(blended(self.crops[pick[0]], self.crops[pick[1]], self.draw), CROP, self.draw)
        images = reshaped(images, self.draw).to(self.config.device)
        moved = count // MOVED
        images[:moved] = self._moved(images[:moved], images[count - moved :])
        return images

    def _moved(self, images: Tensor, others: Tensor) -> Tensor:
        """The pictures a step towards (or away from) others, as one teacher sees it."""
        teacher = self.teachers[int(torch.randint(len(self.teachers), (), generator=self.draw))]
        points = self.points[: len(images)]
        with torch.no_grad():
            anchor = teacher.embed(others, points)
        (gradient,) = similarity_gradients(images, points, teacher, [anchor])
        length = (torch.rand(len(images), generator=self.draw) * 2 - 1).to(images) * LARGEST_MOVE
        return (images + length[:, None, None, None] * gradient.sign()).clamp(-1, 1)

    @torch.no_grad()
    def _labelled(self) -> tuple[Tensor, Tensor]:
        """What the student sees (N, 3, size, size), and the teachers' joined embeddings."""
        images = self.pictures()
        with self.precision.autocast():
            labels = torch.cat([teacher.embed(images, self.points) for teacher in self.teachers], dim=1)
        seen = align(images, self.points, spec(self.config.name).input_size)
        return seen.contiguous(memory_format=torch.channels_last), labels

    def _step(self, seen: Tensor, labels: Tensor) -> float:
        with self.precision.autocast():
            joined = self.network(seen)
        loss = (1 - F.cosine_similarity(joined.float(), labels)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.rate.step()
        return float(loss.detach())


def reshaped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Faces (N,3,S,S) in [-1,1] with their features moved smoothly, some little, some more, and tinted."""
    count, side = len(images), images.shape[-1]
    amount = torch.rand(count, 1, 1, 1, generator=generator)
    bends = (torch.rand(count, 2, 5, 5, generator=generator) * 2 - 1) * 2 * BENT * amount
    bends = F.interpolate(bends, (side, side), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    straight = F.affine_grid(torch.eye(2, 3).expand(count, -1, -1), [count, 3, side, side], align_corners=False)
    moved = F.grid_sample(images, straight + bends, padding_mode="border", align_corners=False)
    tints = 1 + TINTED * (torch.rand(count, 3, 1, 1, generator=generator) * 2 - 1)
    return ((moved + 1) * tints - 1).clamp(-1, 1)


def aligned(images: Tensor, points: Tensor) -> np.ndarray:
    """Faces (N,3,H,W) in [-1,1] with points (N,5,2) as what is blended: aligned crops (N, 112, 112, 3) uint8."""
    return to_uint8(align(images, points, CROP))


def blended(first: np.ndarray, second: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """Pairs of aligned crops (N, S, S, 3) uint8 as one face each: some whole, others mixed, others by parts.

    Parts meet along a soft line through the face, so that the eyes may be one person's and the mouth another's.
    """
    count, side = first.shape[:2]
    kind, share, angle, offset = torch.rand(4, count, 1, 1, generator=generator).numpy()
    rows, columns = np.mgrid[0:side, 0:side] / (side - 1) - 0.5
    across = np.cos(2 * np.pi * angle) * rows + np.sin(2 * np.pi * angle) * columns + (offset - 0.5) * 0.6
    parts = 1 / (1 + np.exp(-across * 24))
    weight = np.where(kind < 0.2, 1.0, np.where(kind < 0.6, share, parts))[..., None]
    return np.round(weight * first + (1 - weight) * second).astype(np.uint8)
