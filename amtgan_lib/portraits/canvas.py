"""What painting a drawn portrait needs: pixels with their places, a canvas to lay colours on, textures."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.portraits.anatomy import EXTENT, Anatomy, Pose
from amtgan_lib.portraits.traits import Traits

TEXTURE_SIDES = (7, 20, 64, 200)  # cells of the coarse, middle, fine and finest texture across the face's plane
TEXTURE_REACH = 2.2  # face units from the middle to the textures' edge


def edge(inside: Tensor, soft: Tensor | float) -> Tensor:
    """Coverage in [0, 1] from a signed distance, positive inside, over a border ``soft`` wide."""
    return (inside / soft + 0.5).clamp(0, 1)


@dataclass(frozen=True, eq=False)
class Scenery:
    """Everything that the painters share: whose face, in which makeup, when, and where each pixel lies.

    x, y (N, H, W) are places of the face's plane, picture_x and picture_y (1, H, W) lie in [-1, 1], ``soft`` is the
    width of an edge in face units; coarse, middle, fine and finest are textures (N, H, W), about standard normal,
    fixed to the face.
    """

    who: Traits
    makeup: Traits
    moment: Traits
    anatomy: Anatomy
    pose: Pose
    picture_x: Tensor
    picture_y: Tensor
    x: Tensor
    y: Tensor
    soft: float
    coarse: Tensor
    middle: Tensor
    fine: Tensor
    finest: Tensor

    def edge(self, inside: Tensor) -> Tensor:
        """Coverage from a signed distance in face units."""
        return edge(inside, self.soft)


def scenery(who: Traits, makeup: Traits, moment: Traits, side: int) -> Scenery:
    """Place ``side`` x ``side`` pixels on N faces."""
    anatomy, pose = Anatomy(who, moment), Pose(moment)
    # The places vary smoothly: solved for every second pixel, they are interpolated for the others.
    coarse = _grid(side // 2 + 2, 2 / side * 2)
    places = torch.stack(pose.places(*coarse, anatomy), dim=1)
    factor = 2
    dense = F.interpolate(places, scale_factor=factor, mode="bilinear", align_corners=False)
    x, y = dense[:, :, 2 : 2 + side, 2 : 2 + side].unbind(1)
    picture_x, picture_y = _grid(side, 2 / side)
    soft = 2.4 * 2 * EXTENT / side
    textures = _textures(who, x, y)
    return Scenery(who, makeup, moment, anatomy, pose, picture_x, picture_y, x, y, soft, *textures)


def _grid(side: int, step: float) -> tuple[Tensor, Tensor]:
    line = (torch.arange(side) - (side - 1) / 2) * step
    return line.view(1, 1, -1).expand(1, side, -1), line.view(1, -1, 1).expand(1, -1, side)


def noise_grid(rows: Traits, shape: tuple[int, ...], stream: int) -> Tensor:
    """Standard normal numbers (N, *shape), each row's own; ``stream`` tells several uses apart."""
    grids = []
    for seed in rows.noise_seed:
        draw = torch.Generator().manual_seed(seed * 16 + stream)
        grids.append(torch.randn(shape, generator=draw))
    return torch.stack(grids)


def _textures(who: Traits, x: Tensor, y: Tensor) -> list[Tensor]:
    where = torch.stack([x, y], dim=-1) / TEXTURE_REACH
    found = []
    for stream, side in enumerate(TEXTURE_SIDES):
        grid = noise_grid(who, (1, side, side), stream)
        found.append(sampled(grid, where)[:, 0])
    return found


def sampled(grid: Tensor, where: Tensor) -> Tensor:
    """Grid (N, C, h, w) at places (N, H, W, 2) in [-1, 1], mirrored beyond."""
    return F.grid_sample(grid, where, mode="bilinear", padding_mode="reflection", align_corners=True)


@dataclass(eq=False)
class Canvas:
    """Colours (N, 3, H, W) in [0, 1], laid over one another; ``shade`` (N, H, W) darkens what was painted."""

    rgb: Tensor
    shade: Tensor

    def over(self, colour: Tensor, cover: Tensor) -> None:
        """Lay a paint (N, 3, 1, 1) or (N, 3, H, W) over what is there; cover (N, H, W) in [0, 1]."""
        self.rgb.lerp_(colour.expand_as(self.rgb), cover[:, None])

    def place(self, colour: Tensor, cover: Tensor) -> None:
        """Put a new thing in front: as ``over``, and what darkened the things behind it does not darken it."""
        self.over(colour, cover)
        self.shade.lerp_(torch.ones_like(self.shade), cover)

    def tint(self, factor: Tensor, cover: Tensor) -> None:
        """Multiply what is there by a colour (N, 3, 1, 1), as far as cover (N, H, W) says."""
        self.rgb.mul_(1 + cover[:, None] * (factor - 1))

    def darken(self, amount: Tensor) -> None:
        """Take light away: amount (N, H, W) in [0, 1]."""
        self.shade.mul_(1 - amount)


def fringe(angle: Tensor, rows: Traits, cells: int, stream: int) -> Tensor:
    """Noise (N, H, W) along an angle in [-pi, pi] or any line scaled to it: strands of hair."""
    line = noise_grid(rows, (1, 1, cells), stream)
    where = torch.stack([angle / math.pi, torch.zeros_like(angle)], dim=-1)
    return sampled(line, where)[:, 0]
