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

from amtgan_lib import faces, portraits
from amtgan_lib.recognizers import Recognizer

NOBODY = "nobody"
# Drawn people who occur nowhere else: their seed is a world of their own (0: experiments, 1 and 2: recognisers).
# Of two: the more people, the nearer their mean is to everybody, and the less it helps to move there (dodging at equal
# visibility, 48 photos, one run: 0.75 and 0.85 with eight, 0.85 and 0.88 with two).
CROWD, CROWD_SEED, CROWD_SIZE = 2, 3, 160
CROWDS = 8  # tried before giving up
FAR = 0.01


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
        if missing := [each.name for each in recognizers if each.name not in self.embeddings]:
            known = ", ".join(self.embeddings) or "none"
            raise ValueError(f"the target {self.name!r} has no embedding for {', '.join(missing)}; it has {known}")
        return [self.embeddings[each.name] for each in recognizers]


@torch.no_grad()
def of_faces(images: Tensor, points: Tensor, recognizers: Sequence[Recognizer], name: str) -> Target:
    """The mean of one or more faces, (N,3,H,W) in [-1,1] with points (N,5,2), in the eyes of each recogniser."""
    return Target(name, {each.name: each.embed(images, points).mean(0) for each in recognizers})


Photo = str | Path | Image.Image | np.ndarray


def of_photos(photos: Sequence[Photo], recognizers: Sequence[Recognizer], name: str, size: int = 256) -> Target:
    """The person on one or more photos (the largest face of each). FaceError where a photo has none."""
    if not photos:
        raise faces.FaceError("a target needs at least one photo")
    crops = [faces.detect_one(photo, size) for photo in photos]
    return of_faces(
        torch.stack([crop.image for crop in crops]), torch.stack([crop.points for crop in crops]), recognizers, name
    )


def nobody(recognizers: Sequence[Recognizer], known: Mapping[str, Tensor | np.ndarray] | None = None) -> Target:
    """A point between two drawn people who do not exist: to be near it is to be near no real person.

    known: per recogniser the unit vectors (P, D) of people whom the point must keep away from. Of a few crowds the
    first is taken whose point none of them is accepted as at FAR 0.01; ValueError where there is none, or where a
    recogniser has no such threshold. Without ``known`` the first is taken, and :func:`nearest` tells how near it comes.
    """
    if known is None:
        return _crowd(0, recognizers)
    if uncalibrated := [each.name for each in recognizers if FAR not in each.thresholds]:
        raise ValueError(f"{', '.join(uncalibrated)} has no threshold at FAR {FAR}: calibrate it by 02_recognizers")
    limits = {each.name: each.thresholds[FAR] for each in recognizers}
    for number in range(CROWDS):
        target = _crowd(number, recognizers)
        if all(cosine < limits[name] for name, cosine in nearest(target, known).items()):
            return target
    raise ValueError(f"each of {CROWDS} points between drawn people comes near somebody of the gallery")


def _crowd(number: int, recognizers: Sequence[Recognizer]) -> Target:
    numbers = range(CROWD * number, CROWD * (number + 1))
    crowd = portraits.draw(
        portraits.people(numbers, CROWD_SEED),
        portraits.no_makeup(CROWD),
        portraits.scenes(numbers, CROWD_SEED, variety=0.3),
        CROWD_SIZE,
    )
    return of_faces(crowd.image, crowd.points, recognizers, NOBODY)


def nearest(target: Target, known: Mapping[str, Tensor | np.ndarray]) -> dict[str, float]:
    """Per recogniser the largest cosine of the target to any of the known people's unit vectors (P, D)."""
    return {
        name: float((torch.as_tensor(vectors).float() @ target.embeddings[name]).max())
        for name, vectors in known.items()
    }
