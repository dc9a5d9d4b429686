"""What a student recogniser is taught with: pictures made for it, and what its teachers see in each.

The student sees few photographs, but any picture can be labelled by asking the teachers: faces in random looks, some
of them moved on along a teacher's own gradient, because a hint *is* a gradient; faces blended into each other, whole or
by parts; faces of another shape and complexion. (A patient teacher on mixed pictures: Beyer et al., CVPR 2022,
arXiv 2106.05237. Labels near a picture teach the slope there: Czarnecki et al., NeurIPS 2017, arXiv 1706.04859.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import compute
from amtgan_lib.faces import FaceCrop
from amtgan_lib.faces.parts import face_regions
from amtgan_lib.files import written
from amtgan_lib.images import to_tensor, to_uint8
from amtgan_lib.losses import EVERYDAY
from amtgan_lib.models.face_regions import Regions
from amtgan_lib.models.rendering import BARE, PARTS, Look, render
from amtgan_lib.recognizers import Recognizer, align
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.training import CROP, varied

BATCH, WORN = 64, 44  # pictures made at once, and how many of them wear a look
BARE_SHARE = 0.6  # of the looks are without makeup
FARTHEST = 2.5  # of a move along a teacher's gradient, in units of a look's numbers; some go a little back instead
PURE = 0.4  # share of the pictures that show one person, not two
BENT = 0.05  # features are moved by some such share of the picture's side: another person, to the teachers
TINTED = 0.15  # each colour channel is scaled by up to so much


@dataclass(frozen=True, eq=False)
class Wardrobe:
    """Photographs that can wear looks: images (K,3,S,S), points (K,5,2), and where the parts of each lie."""

    images: Tensor
    points: Tensor
    regions: Regions

    @classmethod
    def of(cls, crops: Sequence[FaceCrop]) -> Self:
        """The crops, which need their meshes; ValueError for one without."""
        if missing := [crop.name for crop in crops if crop.mesh is None]:
            raise ValueError(f"{missing[0]} has no mesh, so no look fits it")
        parts = [face_regions(crop.image, crop.mesh) for crop in crops]
        # A mask needs no more than half the precision, and there are hundreds of megabytes of them.
        masks = {name: torch.cat([_as(torch.half, getattr(part, name)) for part in parts]) for name in _NAMES}
        images, points = (torch.stack(side) for side in zip(*((crop.image, crop.points) for crop in crops)))
        return cls(images, points, Regions(**masks))

    def __len__(self) -> int:
        return len(self.images)

    def regions_of(self, picked: Tensor | slice) -> Regions:
        """The regions of some photographs."""
        return Regions(**{name: _as(torch.float, getattr(self.regions, name)[picked]) for name in _NAMES})

    def aligned(self, picked: Sequence[int]) -> np.ndarray:
        """Some photographs as they are, aligned: (N,112,112,3) uint8."""
        return to_uint8(align(self.images[picked], self.points[picked], CROP))


_NAMES = tuple(field.name for field in fields(Regions))


def _as(kind: torch.dtype, mask: Tensor) -> Tensor:
    return mask.to(kind) if mask.is_floating_point() else mask


@dataclass(frozen=True, eq=False)
class Lessons:
    """pictures (K,112,112,3) uint8, aligned; labels: per teacher its unit vectors (K,D), float16."""

    pictures: np.ndarray
    labels: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.pictures)

    def joined(self, teachers: Sequence[str]) -> Tensor:
        """The vectors of several teachers side by side, of unit length: (K, sum of D). KeyError for one not asked."""
        return F.normalize(torch.cat([torch.from_numpy(self.labels[name]).float() for name in teachers], dim=1))


class Tutor:
    """Makes lessons from photographs and drawn faces (K,112,112,3) uint8, labelled by the teachers."""

    def __init__(self, wardrobe: Wardrobe, drawn: np.ndarray, teachers: Sequence[Recognizer], precision: str = "auto"):
        if not len(wardrobe) or not teachers:
            raise ValueError(f"{len(wardrobe)} photographs and {len(teachers)} teachers; expected at least one of each")
        self.wardrobe, self.drawn, self.teachers = wardrobe, drawn, list(teachers)
        self.precision = compute.precision(precision, "cpu")

    def lessons(
        self, folder: Path, parts: int, batches: int = 10, progress: Callable[[Iterable], Iterable] = iter
    ) -> Lessons:
        """``parts`` files of ``batches`` batches each, kept in ``folder``; those that lie there are read."""
        kept = []
        for part in progress(range(parts)):
            file = folder / f"{part:03d}.npz"
            if not file.exists():
                made = [self.batch(part * batches + number) for number in range(batches)]
                labels = {name: np.concatenate([vectors[name] for _, vectors in made]) for name in made[0][1]}
                with written(file) as unfinished:
                    np.savez(unfinished, pics=np.concatenate([pictures for pictures, _ in made]), **labels)
            with np.load(file) as stored:
                kept.append({name: stored[name] for name in stored.files})
        pictures = np.concatenate([part.pop("pics") for part in kept])
        return Lessons(pictures, {name: np.concatenate([part[name] for part in kept]) for name in kept[0]})

    def batch(self, number: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Batch ``number``, decided by it alone: pictures (64,112,112,3) uint8 and each teacher's vectors (64,D)."""
        draw = torch.Generator().manual_seed(number)
        worn = self.worn(draw)
        rest = self._as_they_are(BATCH - len(worn), draw)
        pictures = _varied(np.concatenate([worn, rest]), draw)
        images, points = to_tensor(pictures), template(CROP).float().expand(BATCH, -1, -1)
        with torch.no_grad(), self.precision.autocast():
            seen = {teacher.name: teacher.embed(images, points).float().half().numpy() for teacher in self.teachers}
        return pictures, seen

    def worn(self, draw: torch.Generator) -> np.ndarray:
        """Photographs in random looks, half of them moved along a teacher's gradient: (44,112,112,3) uint8."""
        picked = torch.randint(len(self.wardrobe), (WORN,), generator=draw)
        images, points = self.wardrobe.images[picked], self.wardrobe.points[picked]
        regions = self.wardrobe.regions_of(picked)
        numbers = random_look(regions, draw)
        half = WORN // 2
        teacher = self.teachers[int(torch.randint(len(self.teachers), (), generator=draw))]
        first = {part: value[:half] for part, value in numbers.items()}
        slopes = self._slopes(teacher, images[:half], points[:half], self.wardrobe.regions_of(picked[:half]), first)
        far = torch.rand(half, generator=draw) * FARTHEST - 0.5
        for part, value in first.items():
            along = slopes[part] / (_spread(slopes[part].abs().flatten(1).mean(1), value) + 1e-12)
            # A look without makeup stays without.
            allowed = 1 if part in BARE else (value != 0).float()
            numbers[part][:half] = value * 0.5 - _spread(far, value) * along.clamp(-1.5, 1.5) * allowed
        with torch.no_grad():
            views, points = EVERYDAY(render(images, regions, Look(**numbers)), points, draw)
            return to_uint8(align(views.clamp(-1, 1), points, CROP))

    def _slopes(
        self, teacher: Recognizer, images: Tensor, points: Tensor, regions: Regions, numbers: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """How the cosine to the owner changes with each number of the looks."""
        moving = {part: value.clone().requires_grad_(True) for part, value in numbers.items()}
        with torch.no_grad():
            owners = teacher.embed(images, points)
        with torch.enable_grad():
            drawn = render(images, regions, Look(**moving))
            with self.precision.autocast():
                seen = teacher.embed(drawn, points)
        gradients = torch.autograd.grad((seen.float() * owners).sum(), list(moving.values()))
        return dict(zip(moving, gradients, strict=True))

    def _as_they_are(self, count: int, draw: torch.Generator) -> np.ndarray:
        """Drawn faces and photographs without a look."""
        picked = torch.randint(len(self.drawn) + len(self.wardrobe), (count,), generator=draw).tolist()
        photographs = [number - len(self.drawn) for number in picked if number >= len(self.drawn)]
        plain = iter(self.wardrobe.aligned(photographs) if photographs else ())
        return np.stack([self.drawn[number] if number < len(self.drawn) else next(plain) for number in picked])


def random_look(regions: Regions, draw: torch.Generator) -> dict[str, Tensor]:
    """The numbers of a random look for each face, from hardly any to more than a search finds; most without makeup."""
    numbers = Look.plain(regions, PARTS).worn()
    for part, value in numbers.items():
        amount = torch.rand(len(value), generator=draw) * 2
        numbers[part] = _random(part, value, draw) * _spread(amount, value)
    bare = torch.rand(len(regions.skin), generator=draw) < BARE_SHARE
    for part in set(numbers) - set(BARE):
        numbers[part][bare] = 0
    return numbers


def _random(part: str, like: Tensor, draw: torch.Generator) -> Tensor:
    """Random numbers of a part: shape and light are smooth, more or less."""
    if part == "shape":
        smooth = _smooth(like, int(torch.randint(3, 9, (), generator=draw)), draw)
        return smooth + 0.3 * torch.randn(like.shape, generator=draw)
    if part == "light":
        return 1.5 * _smooth(like, int(torch.randint(4, 20, (), generator=draw)), draw)
    return 1.2 * torch.randn(like.shape, generator=draw)


def _smooth(like: Tensor, points: int, draw: torch.Generator) -> Tensor:
    """Noise of the shape (N,C,h,w) of ``like``, smooth between ``points`` x ``points``."""
    coarse = torch.randn(*like.shape[:2], points, points, generator=draw)
    return F.interpolate(coarse, like.shape[-2:], mode="bicubic", align_corners=True)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """(N,) as (N,1,...), to be multiplied with ``like``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def _varied(faces: np.ndarray, draw: torch.Generator) -> np.ndarray:
    """Faces (N,S,S,3) uint8, most blended with another, as a recogniser may get them, half of them reshaped."""
    others = faces[torch.randperm(len(faces), generator=draw).numpy()]
    mixed = blended(faces, others, draw)
    pure = (torch.rand(len(faces), generator=draw) < PURE).numpy()
    mixed[pure] = faces[pure]
    images = varied(mixed, CROP, draw)
    bent = torch.rand(len(faces), generator=draw) < 0.5
    return to_uint8(torch.where(_spread(bent, images), reshaped(images, draw), images))


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
