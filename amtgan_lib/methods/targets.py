"""Whom a protected face is to be taken for: a person, several photos of one, a point of one's own, or nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from amtgan_lib import faces, images, paths, portraits
from amtgan_lib.datasets.protocol import NOBODY
from amtgan_lib.files import written
from amtgan_lib.recognizers import Recognizer

# Drawn people who occur nowhere else: their seed is a world of their own (0: experiments, 1 and 2: recognisers).
CROWD, CROWD_SEED, CROWD_SIZE = 48, 3, 160
NOBODY_FILE = paths.WEIGHTS / "nobody.npz"
NEARER = 3.0  # nobody is so much more like the first of two drawn people than like the second


@dataclass(frozen=True)
class Target:
    """A name, and per recogniser (by name) the unit vector (D,) that a face is to be near."""

    name: str
    embeddings: Mapping[str, Tensor]

    def __post_init__(self):
        unit = {name: F.normalize(torch.as_tensor(vector).float(), dim=-1) for name, vector in self.embeddings.items()}
        if wrong := [f"{name} {tuple(v.shape)}" for name, v in unit.items() if v.ndim != 1 or not v.norm() > 0.5]:
            raise ValueError(f"a target has one vector other than zero for each recogniser, got {', '.join(wrong)}")
        object.__setattr__(self, "embeddings", unit)

    def of(self, recognizers: Sequence[Recognizer]) -> list[Tensor]:
        """The vectors in the order of these recognisers; ValueError names one that the target does not know."""
        if missing := [recognizer.name for recognizer in recognizers if recognizer.name not in self.embeddings]:
            known = ", ".join(self.embeddings) or "none"
            raise ValueError(f"the target {self.name!r} has no embedding for {', '.join(missing)}; it has {known}")
        return [self.embeddings[recognizer.name] for recognizer in recognizers]


@torch.no_grad()
def of_faces(images: Tensor, points: Tensor, recognizers: Sequence[Recognizer], name: str) -> Target:
    """The mean of one or more faces, (N,3,H,W) in [-1,1] with points (N,5,2), in the eyes of each recogniser."""
    return Target(name, {recognizer.name: recognizer.embed(images, points).mean(0) for recognizer in recognizers})


def of_photos(
    photos: Sequence[str | Path | Image.Image | np.ndarray],
    recognizers: Sequence[Recognizer],
    name: str,
    size: int = 256,
) -> Target:
    """The person on one or more photos (the largest face of each). FaceError where a photo has none."""
    if not photos:
        raise faces.FaceError("a target needs at least one photo")
    crops = [faces.detect_one(photo, size) for photo in photos]
    pictures, points = (torch.stack(part) for part in zip(*((crop.image, crop.points) for crop in crops)))
    return of_faces(pictures, points, recognizers, name)


@torch.no_grad()
def nobody(recognizers: Sequence[Recognizer], known: Mapping[str, Tensor | np.ndarray] | None = None) -> Target:
    """A point between two drawn people, who do not exist, nearer to the first of them.

    What is like one person pulls more than what is like many. In trials, dodging of EdgeFace-XS and -XXS: 0.75 and 0.85
    towards the mean of eight, 0.85 and 0.88 midway between two (48 photos of the test), and with a later generator
    0.85 and 0.94 towards one, rank-1 0.08 and 0.06 (48 people of the training split).

    known: per recogniser the unit vectors (P, D) of people whom the point must keep away from; of all pairs of a crowd
    that one is taken whose largest cosine to any of them is smallest. Without it the first pair is taken, whose
    pictures come with the package. A gallery may hold somebody near to any point: :func:`nearest` tells how near.
    """
    if not known:
        with np.load(NOBODY_FILE) as stored:
            pair = _embedded(images.to_tensor(stored["image"]), torch.from_numpy(stored["points"]), recognizers)
        return Target(NOBODY, {name: NEARER * first + second for name, (first, second) in pair.items()})
    first, second = torch.cartesian_prod(torch.arange(CROWD), torch.arange(CROWD)).T
    first, second = first[first != second], second[first != second]
    crowd = _embedded(*_crowd(CROWD), recognizers)
    points = {name: F.normalize(NEARER * people[first] + people[second]) for name, people in crowd.items()}
    near = torch.stack([(spots @ torch.as_tensor(known[name]).float().T).amax(1) for name, spots in points.items()])
    best = int(near.amax(0).argmin())
    return Target(NOBODY, {name: spots[best] for name, spots in points.items()})


def _embedded(image: Tensor, points: Tensor, recognizers: Sequence[Recognizer]) -> dict[str, Tensor]:
    """Per recogniser the embeddings (N, D) of faces."""
    return {recognizer.name: recognizer.embed(image, points) for recognizer in recognizers}


def _crowd(people: int) -> tuple[Tensor, Tensor]:
    """Drawn people, bare faces: (N, 3, CROWD_SIZE, CROWD_SIZE) in [-1, 1], and their points (N, 5, 2)."""
    numbers = range(people)
    moments = portraits.scenes(numbers, CROWD_SEED, variety=0.3)
    who = portraits.people(numbers, CROWD_SEED)
    crowd = portraits.draw(who, portraits.no_makeup(people), moments, CROWD_SIZE)
    return crowd.image, crowd.points


def store_nobody(file: Path = NOBODY_FILE) -> Path:
    """Draw the two people between whom nobody lies, and write them as they are embedded.

    Stored, they cost no drawing at a first photo, and a change of the drawing does not move whom faces are taken for.
    """
    image, points = _crowd(2)
    with written(file) as partial:
        np.savez_compressed(partial, image=images.to_uint8(image), points=points.numpy())
    return file


def nearest(target: Target, known: Mapping[str, Tensor | np.ndarray]) -> dict[str, float]:
    """Per recogniser the largest cosine of the target to any of the known people's unit vectors (P, D)."""
    return {
        name: float((torch.as_tensor(vectors).float() @ target.embeddings[name]).max())
        for name, vectors in known.items()
    }
