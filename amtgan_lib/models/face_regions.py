"""Where the parts of a face lie, and how brows, eyes, mouth and nose move: as wholes, by few numbers."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

LATTICE = 20  # points of the lattice that moves a face, along each side
# Brows, eyes, mouth and nose move as wholes: by what is allowed along x and along y of the polynomials 1, x, y, x². A
# brow may go elsewhere and become longer, steeper, thicker or more arched, an eye wider and larger, a mouth too, and
# smile more, the lower half of a nose narrower and shorter. None is ever bent otherwise: brows whose inner ends curl
# up, lips that waver or a nose whose tip is squeezed spoil a face first.
BROW, EYE, MOUTH = ((1, 1, 0, 0), (1, 1, 1, 1)), ((1, 1, 0, 0), (1, 0, 1, 0)), ((1, 1, 0, 0), (1, 0, 1, 1))
NOSE = ((1, 1, 0, 0), (1, 0, 1, 1))
WHOLES = (BROW, BROW, EYE, EYE, MOUTH, NOSE)
# By how much more an eye may grow one way than the other, as a share, half of it each way: irises are round.
EYES, OVAL_IRIS = slice(2, 4), 0.12


@dataclass(frozen=True, eq=False)
class Regions:
    """Where the parts of N faces lie, in [0,1] and soft; all 0 from the outline of the face on.

    moving (N,1,S,S): how freely pixels may move, beyond 1 where a search reaches farther; across (N,S): where each
    column lies from side to side, 0 to 1, with the nose at 0.5; wholes (N,6,S,S): both brows, both eyes, mouth and
    nose, with what is close around them; skin (N,1,S,S): bare skin that takes shade; shades (N,1,S,S): how much
    brighter it is than what is around it, as a logarithm; tan (N,3): the share of a shade that each channel takes;
    zones (N,Z,S,S): where contour is worn, the same on both sides; blush, lids (N,2,S,S), liner (N,2,S,S): upper and
    lower; hair (N,3,S,S): how much darker than skin each channel is, as a logarithm; brows (N,4,S,S): inner and outer
    half, bands above and below; lips (N,1,S,S).
    colourless (N,): the photo is black and white.
    """

    moving: Tensor
    across: Tensor
    wholes: Tensor
    skin: Tensor
    shades: Tensor
    tan: Tensor
    zones: Tensor
    blush: Tensor
    hair: Tensor
    brows: Tensor
    lips: Tensor
    lids: Tensor
    liner: Tensor
    colourless: Tensor

    def smaller(self, side: int) -> Self:
        """The same regions in the same frame at ``side`` pixels, at most their own."""
        if side >= self.skin.shape[-1]:
            return self
        maps = {
            each.name: F.interpolate(value, (side, side), mode="bilinear", antialias=True)
            for each in fields(self)
            if (value := getattr(self, each.name)).ndim == 4
        }
        across = F.interpolate(self.across[:, None], side, mode="linear", align_corners=True)[:, 0]
        return replace(self, **maps, across=across)

    def carried(self, lattice: Tensor) -> Tensor:
        """The smooth moves (N,2,S,S) of a lattice (N,2,20,20); each whole makes only those that WHOLES allow it.

        These are the weighted least-squares fit to what the lattice asks for there.
        """
        asked, waves, slopes = self._waves
        shares = torch.einsum("nkmij,ncij->nkmc", asked, lattice) * lattice.new_tensor(WHOLES).mT
        shares = _round_eyes(shares, slopes)
        free = 1 - self.wholes.sum(1, keepdim=True).clamp_max(1)
        down, over = self._ways
        return down @ lattice @ over.mT * free + torch.einsum("nkmhw,nkmc->nchw", waves, shares)

    @functools.cached_property
    def _waves(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of 1, x, y, x² in each whole: how much each point of the lattice asks (N,K,4,20,20), the move (N,K,4,S,S).

        And the slopes (N,2,2) in both eyes, of x along x and of y along y: by what share an eye grows.
        """
        weight = self.wholes / self.wholes.sum((2, 3), keepdim=True).clamp_min(1e-6)
        places = torch.linspace(-1, 1, weight.shape[-1]).to(weight)
        x, y = (places - (weight.sum(axis) * places).sum(-1, keepdim=True) for axis in (2, 3))
        x, y = x[..., None, :].expand_as(weight), y[..., None].expand_as(weight)
        waves = torch.stack((torch.ones_like(x), x, y, x * x), 2)
        waves = waves / (weight[:, :, None] * waves.square()).sum((3, 4), keepdim=True).clamp_min(1e-9).sqrt()
        # Orthonormal in these weights, so that each stands for itself where others are not allowed.
        gram = torch.einsum("nkahw,nkbhw,nkhw->nkab", waves, waves, weight)
        triangle = torch.linalg.cholesky(gram + 1e-4 * torch.eye(4).to(gram))
        waves = torch.linalg.solve_triangular(triangle, waves.flatten(3), upper=False).view_as(waves)
        down, over = self._ways
        share = self.wholes / self.wholes.sum(1, keepdim=True).clamp_min(1)
        x, y = waves[:, EYES, 1, 0], waves[:, EYES, 2, :, 0]
        slopes = torch.stack((x[..., -1] - x[..., 0], y[..., -1] - y[..., 0]), -1)
        return down.T @ (weight[:, :, None] * waves) @ over[:, :, None], share[:, :, None] * waves, slopes

    @functools.cached_property
    def _ways(self) -> tuple[Tensor, Tensor]:
        """Weights of the lattice's points in each row (S,20) and, from side to side of faces, column (N,1,S,20)."""
        down = _bicubic(LATTICE, self.wholes.shape[-1]).to(self.wholes)
        places = self.across * (len(down) - 1)
        before = places.long().clamp(0, len(down) - 2)
        return down, torch.lerp(down[before], down[before + 1], (places - before)[..., None])[:, None]


def _round_eyes(shares: Tensor, slopes: Tensor) -> Tensor:
    """The shares (N,6,4,2) of waves in each whole, with both eyes held nearly as high as wide."""
    wider, higher = shares[:, EYES, 1, 0] * slopes[..., 0], shares[:, EYES, 2, 1] * slopes[..., 1]
    both, apart = (wider + higher) / 2, OVAL_IRIS / 2 * torch.tanh((wider - higher) / OVAL_IRIS)
    held = shares.clone()
    held[:, EYES, 1, 0], held[:, EYES, 2, 1] = (both + apart) / slopes[..., 0], (both - apart) / slopes[..., 1]
    return held


def smooth(lattice: Tensor, side: int) -> Tensor:
    """A lattice (N,C,L,L) as a bicubic field (N,C,S,S): as matrices, whose gradient takes a fraction of the time."""
    along = _bicubic(lattice.shape[-1], side).to(lattice)
    return along @ lattice @ along.T


@functools.lru_cache(maxsize=16)
def _bicubic(points: int, side: int) -> Tensor:
    """The weights (side, points) of a row's points in each of its pixels; the outer points lie on the outer pixels."""
    return F.interpolate(torch.eye(points)[None, None], (side, points), mode="bicubic", align_corners=True)[0, 0]
