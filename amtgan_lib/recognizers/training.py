"""Train the small recognisers of the drawn world: drawn people in, an angular-margin loss, verification out.

The people here come from their own seed, so none of them occurs in any other experiment of the project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib import compute, portraits
from amtgan_lib.images import to_tensor, to_uint8
from amtgan_lib.recognizers import Recognizer, align, build, embed_many, spec
from amtgan_lib.recognizers.alignment import template

TRAINING_SEED, VALIDATION_SEED = 1, 2  # worlds of drawn people; the experiments use seed 0
CROP = 112  # side of the stored aligned crops


@dataclass(frozen=True)
class RecognizerConfig:
    """How one recogniser is trained."""

    name: str
    epochs: int = 12
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 5e-2
    margin: float = 0.30  # radians
    scale: float = 24.0
    seed: int = 0
    precision: str = "auto"
    device: str = "cpu"


@dataclass(frozen=True)
class DrawnFaces:
    """Aligned crops (K, 112, 112, 3) uint8 and the person (K,) of each."""

    crops: np.ndarray
    person: np.ndarray

    def __len__(self) -> int:
        return len(self.crops)


def draw_faces(
    people: int, photos: int, seed: int, *, workers: int = 1, progress: Callable[[Iterable], Iterable] = iter
) -> DrawnFaces:
    """``photos`` photos of each of ``people`` people, at different moments, about half of them in makeup."""
    chunks = np.array_split(np.arange(people), max(1, people // 8))
    job = partial(_faces_of, photos=photos, seed=seed)
    pictures = compute.spread(job, chunks, workers, progress)
    return DrawnFaces(np.concatenate(pictures), np.repeat(np.arange(people), photos))


def _faces_of(people: np.ndarray, photos: int, seed: int) -> np.ndarray:
    rows = np.repeat(people, photos)
    moments = rows * photos + np.tile(np.arange(photos), len(people))
    worn = portraits.makeups(moments, seed)
    bare = torch.from_numpy(np.random.default_rng([seed, int(people[0])]).random(len(rows)) < 0.5)
    worn = portraits.taken_off(worn, bare)
    drawn = portraits.draw(portraits.people(rows, seed), worn, portraits.scenes(moments, seed), 128)
    return to_uint8(align(drawn.image, drawn.points, CROP))


def angular_margin_loss(vectors: Tensor, person: Tensor, centres: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace (Deng et al., CVPR 2019, eq. 3): cross-entropy of scale * cos(angle + margin for the own class).

    Shape: vectors (N, D), person (N,) in [0, P), centres (P, D); neither needs unit length.
    """
    cosine = F.normalize(vectors.float()) @ F.normalize(centres.float()).T
    own = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
    # Beyond pi - margin the shifted cosine would rise again: there it continues as a straight line.
    shifted = torch.where(own > -np.cos(margin), torch.cos(own.acos() + margin), own - margin * np.sin(margin))
    return F.cross_entropy(scale * cosine.scatter(1, person[:, None], shifted), person)


class Student:
    """A network on its way to be a recogniser; ``network`` is what is saved.

    config: with a name of the table, batch, learning_rate, weight_decay, seed, precision and device. A subclass says by
    ``order`` how the items are shown, each once, and by ``loss`` what is to be learnt from some of them.
    """

    def __init__(self, config: Any, steps: int):
        self.config, self.steps, self.size = config, steps, spec(config.name).input_size
        self.precision = compute.precision(config.precision, config.device)
        torch.manual_seed(config.seed)
        self.network = build(config.name).to(config.device, memory_format=torch.channels_last).train()
        self.along: list[nn.Parameter] = []  # trained beside the network, and not saved

    def embedded(self, images: Tensor) -> Tensor:
        """The vectors (N, D) of pictures as the network takes them, (N, 3, size, size) in [-1, 1]."""
        with self.precision.autocast():
            return self.network(images.to(self.config.device).contiguous(memory_format=torch.channels_last)).float()

    def train(self, progress: Callable[[Iterable], Iterable] = iter) -> list[dict[str, float]]:
        """Train to the end; returns the number and the loss of every step."""
        config, history, order = self.config, [], self.order()
        parameters = [*self.network.parameters(), *self.along]
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, self.steps)
        for step in progress(range(self.steps)):
            if len(order) < config.batch:
                order = self.order()
            picked, order = order[: config.batch], order[config.batch :]
            loss = self.loss(picked)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            rate.step()
            history.append({"step": step + 1, "loss": float(loss.detach())})
        self.network.eval()
        return history


class RecognizerTrainer(Student):
    """A recogniser of drawn people, taught to tell them apart."""

    def __init__(self, config: RecognizerConfig, faces: DrawnFaces):
        if len(faces) < config.batch:
            raise ValueError(f"{len(faces)} faces are fewer than one batch of {config.batch}")
        self.faces, self.draw = faces, np.random.default_rng(config.seed)
        self.views = torch.Generator().manual_seed(config.seed)
        super().__init__(config, config.epochs * (len(faces) // config.batch))
        size = int(faces.person.max()) + 1, spec(config.name).embedding  # a centre for each person
        self.centres = nn.Parameter(torch.randn(size, device=config.device) * 0.1)
        self.along.append(self.centres)

    def order(self) -> np.ndarray:
        """All faces, shuffled."""
        return self.draw.permutation(len(self.faces))

    def loss(self, picked: np.ndarray) -> Tensor:
        """The angular margin loss of these faces."""
        vectors = self.embedded(varied(self.faces.crops[picked], self.size, self.views))
        person = torch.from_numpy(self.faces.person[picked]).to(vectors.device)
        return angular_margin_loss(vectors, person, self.centres, self.config.scale, self.config.margin)


def varied(crops: np.ndarray, size: int, generator: torch.Generator) -> Tensor:
    """Crops as a recogniser may get them: (N, 3, size, size) in [-1, 1], mirrored, badly aligned, over-exposed.

    A detector misplaces its five points by some per cent of the eye distance; compression and protection change
    contrast. Twice the size is sampled and averaged, so that shrinking does not alias.
    """
    images = to_tensor(crops)
    count = len(images)

    def uniform(spread: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * spread

    angle, zoom = uniform(0.06), 1 + uniform(0.05)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = zoom * angle.cos(), zoom * angle.sin()
    rows = torch.stack([cos * mirror, -sin, uniform(0.05)], 1), torch.stack([sin * mirror, cos, uniform(0.05)], 1)
    grid = F.affine_grid(torch.stack(rows, 1), [count, 3, 2 * size, 2 * size], align_corners=False)
    images = F.avg_pool2d(F.grid_sample(images + 1, grid, align_corners=False) - 1, 2)
    images = images * (1 + uniform(0.2))[:, None, None, None] + uniform(0.15)[:, None, None, None]
    noise, amount = torch.randn(images.shape, generator=generator), torch.rand(count, generator=generator) * 0.06
    return (images + noise * amount[:, None, None, None]).clamp(-1, 1)


def verification(recognizer: Recognizer, faces: DrawnFaces) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all pairs of photos: those of one person, and those of two. For people that training never saw."""
    points = template(CROP).float().expand(len(faces), -1, -1)
    vectors = embed_many(recognizer, to_tensor(faces.crops), points).numpy()
    pairs = np.triu_indices(len(faces), 1)
    scores, same = (vectors @ vectors.T)[pairs], (faces.person[:, None] == faces.person[None])[pairs]
    return scores[same], scores[~same]
