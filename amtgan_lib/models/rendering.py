"""What a face can wear, and nothing else: a renderer for a slightly other shape, shade, brows and makeup.

A free change of pixels that deceives recognisers looks like a skin disease. Here every part is smooth, bounded, and
lies where a hand with a brush could have put it. All of it is one flow, which moves pixels, and one gain, which
multiplies them before, so that a photo can be changed at its own size from fields of the crop's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.images import GREY_WEIGHTS
from amtgan_lib.models.face_regions import LATTICE, Regions, smooth

PARTS = ("shape", "light", "contour", "blush", "brows", "lips", "lids", "liner")
BARE = ("shape", "light", "contour", "brows")
"""The parts that nobody would call makeup: a face without a reference has these alone."""

# The largest change of each part. Moves are shares of the crop's side, where the eyes are 0.25 apart: no pixel moves
# farther than REACH, 8 % of their distance, times Regions.moving; MOVE is what a point of the lattice asks for.
MOVE, REACH = 0.024, 0.019
ASYMMETRY = 0.1  # share of a move that may differ from left to right
# Light softens or deepens the shades that a face has, by up to these shares. A pattern of its own, however faint, was
# seen as wrinkles on a smooth forehead.
LIGHT, LIGHTS = (-0.65, 0.12), 14  # bounds, and points of its lattice along each side
# The others are exponents of a gain: 0.1 makes a pixel 10 % brighter.
# How far contour may darken and brighten each of faces.parts.ZONES, as make-up artists do: cheekbones are lit and what
# is below them is shaded, a nose is never made broader, no shadow is put under the eyes or into a fold. Shade on a
# bright forehead looks grey, and under the eyes like a bruise. Twice the light and a third more
# shade hid hardly more, and showed as patches.
CONTOUR = {
    "forehead": (-0.025, 0.03),
    "temples": (-0.05, 0.025),
    "bridge of the nose": (-0.013, 0.03),
    "sides of the nose": (-0.038, 0.01),
    "tip of the nose": (-0.038, 0.015),
    "wings of the nose": (-0.038, 0.01),
    "under the eyes": (-0.013, 0.05),
    "cheekbones": (-0.032, 0.05),
    "hollows of the cheeks": (-0.05, 0.025),
    "jaw": (-0.064, 0.03),
    "chin": (-0.05, 0.05),
    "above the lips": (-0.013, 0.05),
    "folds": (-0.013, 0.05),
}
# Each number of a colour goes from its first bound to its second: depth (all channels), red (against green and blue),
# warmth (red and green against blue).
BROWS = ((-0.50, 0.62), (-0.45, 0.10))  # of how much darker hair is than skin, channel by channel; powder at its edges
BLUSH = ((-0.04, 0.02), (0.00, 0.10), (-0.02, 0.03))
LIPS = ((-0.25, 0.05), (-0.04, 0.30), (-0.08, 0.08))
LIDS = ((-0.30, 0.06), (-0.02, 0.10), (-0.05, 0.08))
LINER = (-0.60, 0.0)
_TINTS = torch.tensor([[1.0, 1.0, 1.0], [0.15, -0.85, -0.6], [0.2, 0.2, -1.0]])
_NEARLY = 0.9  # of a bound: beyond it nothing more is to be won, and no gradient leads back


@dataclass(frozen=True, eq=False)
class Look:
    """The numbers of each part of N faces, before their bounds: all real numbers are allowed, and 0 is no change.

    shape (N,2,20,20): moves along x and y; light (N,1,14,14); contour (N,Z); blush (N,B,3); brows (N,4); lips (N,3);
    lids (N,2,3): lid and its outer corner; liner (N,2). A part that is None is not worn.
    """

    shape: Tensor | None = None
    light: Tensor | None = None
    contour: Tensor | None = None
    blush: Tensor | None = None
    brows: Tensor | None = None
    lips: Tensor | None = None
    lids: Tensor | None = None
    liner: Tensor | None = None

    @classmethod
    def plain(cls, regions: Regions, parts: Sequence[str] = PARTS) -> Self:
        """The look that changes nothing, with zeros for each of ``parts``; ValueError for a name that is none."""
        if strange := set(parts) - set(PARTS):
            raise ValueError(f"there are no parts {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
        count = len(regions.skin)
        shapes = {
            "shape": (2, LATTICE, LATTICE),
            "light": (1, LIGHTS, LIGHTS),
            "contour": regions.zones.shape[1:2],
            "blush": (regions.blush.shape[1], 3),
            "brows": regions.brows.shape[1:2],
            "lips": (3,),
            "lids": (regions.lids.shape[1], 3),
            "liner": regions.liner.shape[1:2],
        }
        return cls(**{part: regions.skin.new_zeros(count, *shapes[part]) for part in parts})

    def worn(self) -> dict[str, Tensor]:
        """The numbers of the parts that are worn."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}

    def mixed(self, other: Self, share: float) -> Self:
        """From this look (share 0) to another (1); a part that only one of them wears comes or goes."""
        mine, others = self.worn(), other.worn()
        both = {part: torch.lerp(value, others[part], share) for part, value in mine.items() if part in others}
        going = {part: value * (1 - share) for part, value in mine.items() if part not in others}
        coming = {part: value * share for part, value in others.items() if part not in mine}
        return Look(**both, **going, **coming)


@dataclass(frozen=True, eq=False)
class Fields:
    """What a look does to N faces: flow (N,2,S,S), from where each pixel comes, in (x, y) pixels; gain (N,3,S,S)."""

    flow: Tensor
    gain: Tensor

    def mixed(self, other: Self, share: float) -> Self:
        """From these fields (share 0) to others (1), for what lies between two frames."""
        return Fields(*(torch.lerp(*both, share) for both in ((self.flow, other.flow), (self.gain, other.gain))))


@dataclass(frozen=True, eq=False)
class Worn:
    """A look on the faces whose regions these are."""

    regions: Regions
    look: Look

    def fields(self, strength: float | Mapping[str, float] = 1.0) -> Fields:
        """What it does at a ``strength``, as in ``paint``."""
        return paint(self.regions, self.look, strength)

    def on(self, image: Tensor) -> Tensor:
        """An image (3,S,S) in [-1,1] of the one face, in the look."""
        return applied(image[None], self.fields(), "bicubic")[0]


def paint(regions: Regions, look: Look, strength: float | Mapping[str, float] = 1.0) -> Fields:
    """Flow and gain of a look. ``strength``: a factor on all parts, or by part (those that are not named: 1)."""
    worn, shares = look.worn(), _strengths(strength)
    side = regions.skin.shape[-1]
    flow = torch.zeros_like(regions.skin).expand(-1, 2, -1, -1)
    if "shape" in worn:
        flow = shares["shape"] * side * _moves(worn["shape"], regions) * regions.moving
    exponents = [share * each for part, share in shares.items() if (each := _exponent(part, regions, worn)) is not None]
    exponent = sum(exponents, torch.zeros_like(regions.skin).expand(-1, 3, -1, -1))
    grey = torch.einsum("c,nchw->nhw", exponent.new_tensor(GREY_WEIGHTS), exponent)[:, None].expand_as(exponent)
    return Fields(flow, torch.where(regions.colourless[:, None, None, None], grey, exponent).exp())


def render(image: Tensor, regions: Regions, look: Look, strength: float | Mapping[str, float] = 1.0) -> Tensor:
    """Images (N,3,S,S) in [-1,1] in a look: differentiable in it, and bit for bit the same at strength 0.

    ``strength`` as in ``paint``.
    """
    return applied(image, paint(regions, look, strength))


def applied(image: Tensor, change: Fields, mode: str = "bilinear") -> Tensor:
    """Images (N,3,H,W) in [-1,1], multiplied by the gain, then each pixel fetched from where the flow says.

    What is painted moves with the skin that wears it: a brow that fades and goes elsewhere leaves no bright line.
    mode: how values between pixels are found; "bicubic" keeps more of the detail.
    """
    painted = image + (image + 1) * (change.gain - 1)
    # Fetched from its own place a pixel is the same but for rounding: the difference is 0 to the bit.
    still = torch.zeros_like(change.flow)
    return (painted + (sampled(painted, change.flow, mode) - sampled(painted, still, mode))).clamp(-1, 1)


def sampled(image: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Images (N,C,H,W) fetched from each pixel's place plus the flow (N,2,H,W), in (x, y) pixels."""
    height, width = image.shape[-2:]
    rows = torch.arange(height, device=image.device, dtype=image.dtype)
    columns = torch.arange(width, device=image.device, dtype=image.dtype)
    x = (2 * (columns + flow[:, 0]) + 1) / width - 1
    y = (2 * (rows[:, None] + flow[:, 1]) + 1) / height - 1
    grid = torch.stack((x, y), dim=-1)
    return F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)


def _strengths(strength: float | Mapping[str, float]) -> dict[str, float]:
    if not isinstance(strength, Mapping):
        return dict.fromkeys(PARTS, float(strength))
    if strange := set(strength) - set(PARTS):
        raise ValueError(f"there are no parts {', '.join(sorted(strange))}; there are {', '.join(PARTS)}")
    return {part: float(strength.get(part, 1.0)) for part in PARTS}


def _moves(lattice: Tensor, regions: Regions) -> Tensor:
    """(N,2,S,S), at most REACH: the lattice's smooth moves, mostly the same on both sides of a face."""
    bounded = lattice.tanh()
    mirrored = bounded.flip(-1) * bounded.new_tensor([-1.0, 1.0])[:, None, None]
    same, other = (bounded + mirrored) / 2, (bounded - mirrored) / 2
    moves = regions.carried(MOVE * (same + ASYMMETRY * other))
    return moves / (1 + (moves.square().sum(1, keepdim=True) / REACH**2).square()) ** 0.25


def _exponent(part: str, regions: Regions, worn: Mapping[str, Tensor]) -> Tensor | None:
    """(N,3 or 1,S,S): the logarithm of a part's gain, or None where it is not worn or has none."""
    if part not in worn or part == "shape":
        return None
    value, side = worn[part], regions.skin.shape[-1]
    if part == "light":
        field = smooth(value.tanh(), side)
        return _toned(torch.where(field > 0, LIGHT[1], -LIGHT[0]) * field * regions.shades, regions.tan)
    if part == "contour":
        bounds = value.new_tensor(list(CONTOUR.values())).T
        shade = torch.einsum("nz,nzhw->nhw", _bounded(value, bounds), regions.zones)[:, None] * regions.skin
        return _toned(shade, regions.tan)
    if part == "brows":
        (hair, edges), (whole, bands) = value.chunk(2, 1), regions.brows.chunk(2, 1)
        faded = torch.einsum("nz,nzhw->nhw", _bounded(hair, BROWS[0]), whole)[:, None] * regions.hair
        return faded + _toned(torch.einsum("nz,nzhw->nhw", _bounded(edges, BROWS[1]), bands)[:, None], regions.tan)
    if part == "liner":
        return torch.einsum("nz,nzhw->nhw", _bounded(value, LINER), regions.liner)[:, None]
    bounds = {"blush": BLUSH, "lips": LIPS, "lids": LIDS}[part]
    where = getattr(regions, part)
    numbers = value if value.ndim == 3 else value[:, None]
    colour = torch.stack([_bounded(numbers[..., i], each) for i, each in enumerate(bounds)], dim=-1)
    return torch.einsum("nzc,nzhw->nchw", colour @ _TINTS.to(colour), where)


def _toned(exponent: Tensor, tan: Tensor) -> Tensor:
    """An exponent (N,1,S,S) as (N,3,S,S): darker skin takes the colour of its shade, brighter skin pales half as much.

    With all of the tan, highlights of a warm photo looked like bluish patches.
    """
    share = torch.where(exponent > 0, *(each[..., None, None] for each in ((1 + tan) / 2, tan)))
    return share * exponent


def _bounded(value: Tensor, bounds: tuple[float, float] | Tensor) -> Tensor:
    """Real numbers to between the bounds, with 0 at 0; a bound of 0 is open to no change on its side."""
    low, high = bounds
    return torch.where(value > 0, high, -low) * value.tanh()


def mixture(exponent: Tensor, bounds: Sequence[tuple[float, float]]) -> Tensor:
    """The numbers (3,) of a colour within its bounds whose gain is nearest to exp(exponent (3,))."""
    shares = torch.linalg.solve(_TINTS.T, exponent.double().to(_TINTS))
    limits = torch.tensor(bounds)
    share = torch.where(shares > 0, shares / limits[:, 1].clamp_min(1e-6), shares / -limits[:, 0].clamp_max(-1e-6))
    return share.clamp(-_NEARLY, _NEARLY).atanh()
