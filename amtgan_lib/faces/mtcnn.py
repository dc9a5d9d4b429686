"""A second detector of another kind, as a cross-check of the first: MTCNN (Zhang et al. 2016, arXiv:1604.02878).

Three small networks in a row: the first marks places in a pyramid of the picture, the others look at each place again
and correct its box. It finds upright faces. The weights are those of facenet-pytorch (MIT); the package itself is not
used, because its newest release refuses the torch of today. They are fetched as assets and used where they are at hand.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from amtgan_lib import assets
from amtgan_lib.files import read_tensors

STAGES = ("pnet", "rnet", "onet")
SIDE = 1280  # pixels: larger pictures are shrunk to it
SMALLEST = 24  # pixels: the smallest face that is sought, after that
SHRINK = 0.709  # from one picture of the pyramid to the next: the side of half the area, as published
CELL, STRIDE = 12, 2  # pixels that one place of the first network sees, and their distance
PASS = (0.6, 0.7, 0.7)  # a score that takes a place to the next stage, and out of the last one, as published
SAME = 0.7  # boxes of one stage that overlap by more are one


@dataclass(frozen=True)
class Sighting:
    """What the detector takes for a face: its box (x0, y0, x1, y1) in picture pixels, and a score from 0 to 1."""

    box: np.ndarray
    score: float


def at_hand() -> bool:
    """Whether the weights lie on this machine."""
    return all(assets.local(assets.get(f"mtcnn_{stage}")) for stage in STAGES)


def sightings(rgb: np.ndarray, most: int = SIDE) -> list[Sighting]:
    """The upright faces of a picture (H, W, 3) uint8, the surest first. Raises AssetError without the weights.

    most: pixels; a picture with a longer side is shrunk to it.
    """
    factor = min(1.0, most / max(rgb.shape[:2]))
    size = [max(round(side * factor), 1) for side in rgb.shape[1::-1]]
    small = rgb if factor == 1 else np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    picture = (torch.tensor(small).permute(2, 0, 1)[None].float() - 127.5) / 128
    networks = _networks()
    with torch.inference_mode():
        boxes, scores = _places(networks[0], picture)
        for network, side, least in ((networks[1], 24, PASS[1]), (networks[2], 48, PASS[2])):
            boxes, scores = _looked_at(network, picture, _squared(boxes), side, least)
    scale = np.array([rgb.shape[1] / size[0], rgb.shape[0] / size[1]] * 2)
    # The published detector leaves out boxes within others here: of two faces, one before the other, one would be lost.
    return [Sighting(box.numpy() * scale, float(score)) for box, score in zip(boxes, scores)]


# ---------------------------------------------------------------- the stages


def _places(network: nn.Module, picture: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) and scores (N,) of the first network over the pyramid of a picture (1, 3, H, W)."""
    sizes = []
    height, width = picture.shape[2:]
    scale = CELL / SMALLEST
    while min(height, width) * scale >= CELL:
        small = F.interpolate(picture, (int(height * scale + 1), int(width * scale + 1)), mode="area")
        faces, moves = network(small)
        y, x = torch.nonzero(faces[0, 1] >= PASS[0], as_tuple=True)
        corner = torch.stack([x, y], 1) * STRIDE
        boxes = torch.cat([corner, corner + CELL], 1) / scale
        scores = faces[0, 1, y, x]
        kept = _apart(boxes, scores, 0.5)
        sizes.append((_moved(boxes, moves[0, :, y, x].T)[kept], scores[kept]))
        scale *= SHRINK
    boxes, scores = (torch.cat(parts) for parts in zip(*sizes)) if sizes else (torch.zeros(0, 4), torch.zeros(0))
    kept = _apart(boxes, scores, SAME)
    return boxes[kept], scores[kept]


def _looked_at(network: nn.Module, picture: Tensor, boxes: Tensor, side: int, least: float) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) as a later network corrects them, and scores, of those that it takes for faces."""
    patches = [_patch(picture, box, side) for box in boxes.round().int().tolist()]
    seen = [patch is not None for patch in patches]
    if not any(seen):
        return torch.zeros(0, 4), torch.zeros(0)
    faces, moves = network(torch.cat([patch for patch in patches if patch is not None]))
    passed = faces[:, 1] >= least
    boxes, scores = _moved(boxes[seen], moves)[passed], faces[passed, 1]
    kept = _apart(boxes, scores, SAME)
    return boxes[kept], scores[kept]


def _patch(picture: Tensor, box: list[int], side: int) -> Tensor | None:
    """What a picture shows in a box, (1, 3, side, side); None where it shows nothing of it."""
    x0, y0, x1, y1 = box
    part = picture[:, :, max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    return F.interpolate(part, (side, side), mode="area") if part.numel() else None


def _moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes (N, 4) with each side moved by a share of the box's width or height."""
    return boxes + moves * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _squared(boxes: Tensor) -> Tensor:
    """Squares (N, 4) around the middle of boxes, as wide as these are wide or high."""
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    middle = (boxes[:, 2:] + boxes[:, :2]) / 2
    return torch.cat([middle - half, middle + half], 1)


def _apart(boxes: Tensor, scores: Tensor, most: float) -> Tensor:
    """Indices, the highest score first, of boxes (N, 4) that overlap no better one by more than ``most``."""
    areas, kept = (boxes[:, 2:] - boxes[:, :2]).prod(1), []
    left = scores.argsort(descending=True)
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        low, high = torch.maximum(boxes[first, :2], boxes[left, :2]), torch.minimum(boxes[first, 2:], boxes[left, 2:])
        common = (high - low).clamp(min=0).prod(1)
        left = left[common <= most * (areas[first] + areas[left] - common)]
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.long)


# ---------------------------------------------------------------- the networks


class _Stage(nn.Module):
    """Convolutions and perhaps a dense layer, then heads: face or not (a softmax), and the moves of the box's sides.

    convolutions: (channels, kernel, pooling kernel or 0) in their order; dense: (number of the layer, inputs, outputs).
    """

    def __init__(self, convolutions: tuple, heads: tuple[int, ...], dense: tuple[int, int, int] | None = None):
        super().__init__()
        self.pools, self.dense = [pool for *_, pool in convolutions], dense
        before = 3
        for number, (channels, kernel, _) in enumerate(convolutions, 1):
            self.add_module(f"conv{number}", nn.Conv2d(before, channels, kernel))
            self.add_module(f"prelu{number}", nn.PReLU(channels))
            before = channels
        if dense:
            number, inputs, before = dense
            self.add_module(f"dense{number}", nn.Linear(inputs, before))
            self.add_module(f"prelu{number}", nn.PReLU(before))
        stem = f"dense{dense[0] + 1}" if dense else f"conv{len(convolutions) + 1}"
        self.heads = [f"{stem}_{number}" for number in range(1, len(heads) + 1)]
        for name, outputs in zip(self.heads, heads):
            self.add_module(name, nn.Linear(before, outputs) if dense else nn.Conv2d(before, outputs, 1))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (N, 2, ...) and moves (N, 4, ...) of pictures (N, 3, H, W) in [-1, 1]."""
        for number, pool in enumerate(self.pools, 1):
            pictures = self._layer("conv", number, pictures)
            pictures = F.max_pool2d(pictures, pool, 2, ceil_mode=True) if pool else pictures
        if self.dense:
            # The weights were trained on arrays of columns first.
            pictures = self._layer("dense", self.dense[0], pictures.permute(0, 3, 2, 1).flatten(1))
        face, moves = (getattr(self, name)(pictures) for name in self.heads[:2])
        return face.softmax(1), moves

    def _layer(self, kind: str, number: int, values: Tensor) -> Tensor:
        return getattr(self, f"prelu{number}")(getattr(self, f"{kind}{number}")(values))


@functools.cache
def _networks() -> tuple[_Stage, _Stage, _Stage]:
    networks = (  # their entries are named as in the published files
        _Stage(((10, 3, 2), (16, 3, 0), (32, 3, 0)), (2, 4)),
        _Stage(((28, 3, 3), (48, 3, 3), (64, 2, 0)), (2, 4), (4, 576, 128)),
        _Stage(((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)), (2, 4, 10), (5, 1152, 256)),
    )
    for name, network in zip(STAGES, networks):
        path = assets.fetch(f"mtcnn_{name}", progress=False)
        network.load_state_dict(read_tensors(path), strict=True)
        network.eval().requires_grad_(False)
    return networks
