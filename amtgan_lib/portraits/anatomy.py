"""Where the parts of a drawn face lie: its relief, its curves, its 68 landmarks, and the pose that shows them.

Everything is written in the face's own plane: x to the right of the picture, y down, half a face about 1 wide, the eyes
near y = 0. A relief z(x, y) lifts the plane; pose turns it. For the angles drawn here the relief hardly ever hides a
part of itself (a few pixels on the flank of a prominent nose may smear), so each pixel belongs to one place of the
plane, found by a fixed-point iteration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from amtgan_lib.portraits.traits import Traits

EXTENT = 1.95  # half the picture's side, in face units, at zoom 1
CENTRE_Y = 0.16  # what lies in the picture's middle when nothing is shifted
PIVOT_Y, PIVOT_Z = 0.25, -0.55
SOLVER_STEPS = 9
SIDES = (-1, 1)  # left and right in the picture


def smoothstep(x: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """0 below low, 1 above high, a cubic between."""
    span = high - low
    # Two curves may meet (lips at the mouth's corners): there, a step.
    t = ((x - low) / (span.clamp(min=1e-4) if isinstance(span, Tensor) else span)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, y: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """exp(-(x/width)^2 - (y/height)^2)."""
    return gauss((x / width).square() + (y / height).square())


def gauss(square: Tensor) -> Tensor:
    """exp(-square), cut where it no longer matters: processors are slow on denormal numbers."""
    return torch.exp(-square.clamp(max=30))


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The curves of N faces with their expressions. Methods take x, y or u of shape (N, ...)."""

    who: Traits
    moment: Traits

    # ------------------------------------------------------------ heights

    def relief(self, x: Tensor, y: Tensor) -> Tensor:
        """Height of head, nose, muzzle and chin, towards the viewer: what the pose turns."""
        who = self.who
        head = -0.85 * (1 - gauss(x.square() / 1.4)) - 0.13 * (y - 0.1).square()
        length = who.nose_length
        along = smoothstep(y, -0.25, length * 0.86)
        ridge = who.nose_projection * along.pow(1.2) * (1 - smoothstep(y, length * 0.84, length + 0.16))
        ridge = ridge + (0.05 + who.nose_bump) * gauss(((y - 0.12) / 0.16).square())
        width = who.nose_bridge + (who.nose_width * 0.95 - who.nose_bridge) * smoothstep(y, 0.0, length * 0.9)
        nose = ridge * gauss((x / width).square())
        muzzle = 0.10 * bump(x, y - self.mouth_y, 0.42, 0.26)
        chin = 0.12 * bump(x, y - (who.chin - 0.16), 0.26, 0.17)
        return head + nose + muzzle + chin

    # ------------------------------------------------------------ outline

    def half_width(self, y: Tensor) -> Tensor:
        """Half the face's width at height y; 0 above the skull and below the chin."""
        who = self.who
        top = (1 - ((0.12 - y).clamp(min=0) / (who.skull + 0.12)).clamp(max=1).pow(2.3)).clamp(min=0).pow(1 / 2.3)
        t = ((y - 0.12) / (who.chin - 0.12)).clamp(0, 1)
        square = 1.8 + 1.15 * who.jaw
        bottom = (1 - t.pow(square)).clamp(min=0).pow(0.60 - 0.14 * who.chin_width)
        return who.face_width * torch.where(y < 0.12, top, bottom)

    # ------------------------------------------------------------ eyes and brows

    def eye_local(self, x: Tensor, y: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """u (-1 at the inner, 1 at the outer corner) and v (below the line through the corners)."""
        who = self.who
        u = (side * x - who.eye_distance) / who.eye_width
        return u, y + who.eye_slant * who.eye_width * u

    def eye_place(self, u: Tensor, v: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """The inverse of ``eye_local``."""
        who = self.who
        return side * (who.eye_distance + u * who.eye_width), v - who.eye_slant * who.eye_width * u

    @property
    def opening(self) -> Tensor:
        """Height of the upper lid's arch."""
        who = self.who
        return who.eye_open * who.eye_width * (1 - 0.42 * self.moment.squint.clamp(min=0))

    def upper_lid(self, u: Tensor) -> Tensor:
        """v of the upper lid's edge."""
        bent = u + 0.12 * (1 - u.square())
        return -self.opening * (1 - bent.square()).clamp(min=0).pow(0.72)

    def lower_lid(self, u: Tensor) -> Tensor:
        """v of the lower lid's edge."""
        bent = u - 0.14 * (1 - u.square())
        return 0.46 * self.opening * (1 - bent.square()).clamp(min=0).pow(0.85)

    def brow(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Middle line (as v above y = 0, negative) and half thickness of a brow, u from -1 (inner) to 1 (outer)."""
        who = self.who
        rise = 0.055 * self.moment.brow_raise
        arch = who.brow_arch * (1 - ((u - 0.25) / 1.25).square())
        middle = -(who.brow_height + rise + arch + who.brow_slant * u)
        inside = (1 - u.square()).clamp(min=0)
        thickness = who.brow_thickness * inside.pow(0.35) * (1 - 0.45 * smoothstep(u, -0.2, 1.0))
        return middle, thickness

    @property
    def brow_centre(self) -> Tensor:
        """Distance of a brow's middle from the face's axis."""
        return self.who.eye_distance + 0.025

    # ------------------------------------------------------------ mouth

    @property
    def mouth_y(self) -> Tensor:
        """Height of the line between the lips."""
        base = self.who.nose_length + 0.02
        return base + self.who.mouth_place * (self.who.chin - base)

    @property
    def mouth_half_width(self) -> Tensor:
        """Half the distance of the mouth's corners."""
        return self.who.mouth_width * (1 + 0.20 * self.moment.smile)

    def mouth_line(self, u: Tensor) -> Tensor:
        """y of the closed mouth's line, u from -1 to 1."""
        bow = self.who.mouth_line - 0.085 * self.moment.smile
        return self.mouth_y + bow * u.square() + 0.012 * torch.cos(u * math.pi)

    def gap(self, u: Tensor) -> Tensor:
        """Height of the open mouth."""
        return 0.15 * self.moment.mouth_open.clamp(min=0) * (1 - u.square()).clamp(min=0).pow(0.8)

    def lips(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """y of the upper lip's upper and lower edge, and of the lower lip's upper and lower edge."""
        who, thin = self.who, 1 - 0.18 * self.moment.smile
        inside = (1 - u.abs().pow(1.75)).clamp(min=0)
        dip = 1 - who.cupid * 0.30 * gauss((u / 0.16).square())
        line, gap = self.mouth_line(u), self.gap(u)
        inner_upper, inner_lower = line - 0.30 * gap, line + 0.70 * gap
        upper = inner_upper - who.upper_lip * thin * inside * dip
        lower = inner_lower + who.lower_lip * thin * (1 - u.square()).clamp(min=0).pow(0.62)
        return upper, inner_upper, inner_lower, lower

    # ------------------------------------------------------------ landmarks

    def landmarks(self) -> Tensor:
        """The usual 68 landmarks, (N, 68, 2) as (x, y) in the face's plane."""
        parts = [self._jaw_points(), *(self._brow_points(side) for side in SIDES), self._nose_points()]
        parts += [*(self._eye_points(side) for side in SIDES), self._mouth_points()]
        return torch.cat(parts, dim=1)

    def _line(self, *values: float) -> Tensor:
        return torch.tensor(values).view(1, -1, 1).expand(len(self.who), -1, 1)

    def _jaw_points(self) -> Tensor:
        s = torch.linspace(-1, 1, 17).view(1, -1, 1)
        y = (self.who.chin - 0.02) * (1 - s.abs().pow(1.9)) - 0.02 * s.abs()
        return torch.cat([s.sign() * self.half_width(y) * 0.985, y], dim=2)

    def _brow_points(self, side: int) -> Tensor:
        u = self._line(*((0.9, 0.45, 0.0, -0.45, -0.9) if side < 0 else (-0.9, -0.45, 0.0, 0.45, 0.9)))
        x = side * (self.brow_centre + u * self.who.brow_length)
        return torch.cat([x, self.brow(u)[0]], dim=2)

    def _nose_points(self) -> Tensor:
        length, width = self.who.nose_length, self.who.nose_width
        y = length * self._line(0.02, 0.30, 0.58, 0.86)
        across = self._line(-0.85, -0.45, 0.0, 0.45, 0.85)
        base = length * (1.02 - 0.0 * across) + 0.035 * (1 - across.square())
        bridge = torch.cat([torch.zeros_like(y), y], dim=2)
        return torch.cat([bridge, torch.cat([across * width, base], dim=2)], dim=1)

    def _eye_points(self, side: int) -> Tensor:
        u = self._line(*((1.0, 0.38, -0.38, -1.0, -0.38, 0.38) if side < 0 else (-1.0, -0.38, 0.38, 1.0, 0.38, -0.38)))
        v = torch.cat([self.upper_lid(u[:, :4]), self.lower_lid(u[:, 4:])], dim=1)
        return torch.cat(self.eye_place(u, v, side), dim=2)

    def _mouth_points(self) -> Tensor:
        outer, inner = self._line(-1, -0.62, -0.27, 0, 0.27, 0.62, 1, 0.62, 0.27, 0, -0.27, -0.62), None
        inner = self._line(-0.86, -0.36, 0, 0.36, 0.86, 0.36, 0, -0.36)
        upper, _, _, lower = self.lips(outer)
        y = torch.cat([upper[:, :7], lower[:, 7:]], dim=1)
        _, inner_upper, inner_lower, _ = self.lips(inner)
        inner_y = torch.cat([inner_upper[:, :5], inner_lower[:, 5:]], dim=1)
        half = self.mouth_half_width
        return torch.cat([torch.cat([outer * half, y], dim=2), torch.cat([inner * half, inner_y], dim=2)], dim=1)


@dataclass(frozen=True, eq=False)
class Pose:
    """How N faces stand before the camera: rotation, roll, zoom and shift; picture coordinates lie in [-1, 1]."""

    moment: Traits

    def _angles(self) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(torch.deg2rad(getattr(self.moment, name)) for name in ("yaw", "pitch", "roll"))

    def project(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Places of the relief to picture coordinates (1 is the right or lower edge)."""
        yaw, pitch, roll = self._angles()
        z = z - PIVOT_Z
        turned_x = x * yaw.cos() + z * yaw.sin()
        depth = -x * yaw.sin() + z * yaw.cos()
        turned_y = (y - PIVOT_Y) * pitch.cos() - depth * pitch.sin() + PIVOT_Y - CENTRE_Y
        scale = self.moment.zoom / EXTENT
        picture_x = scale * (turned_x * roll.cos() - turned_y * roll.sin()) + self.moment.shift_x
        picture_y = scale * (turned_x * roll.sin() + turned_y * roll.cos()) + self.moment.shift_y
        return picture_x, picture_y

    def upright(self, picture_x: Tensor, picture_y: Tensor) -> tuple[Tensor, Tensor]:
        """Picture coordinates to face units before the turn: roll, zoom and shift undone."""
        roll, scale = self._angles()[2], EXTENT / self.moment.zoom
        x, y = picture_x - self.moment.shift_x, picture_y - self.moment.shift_y
        return scale * (x * roll.cos() + y * roll.sin()), scale * (y * roll.cos() - x * roll.sin()) + CENTRE_Y

    def places(self, picture_x: Tensor, picture_y: Tensor, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
        """The place (x, y) of the face's plane that each pixel (N, H, W) shows: the inverse of ``project``."""
        yaw, pitch, _ = self._angles()
        seen_x, seen_y = self.upright(picture_x, picture_y)
        seen_y = seen_y - PIVOT_Y
        x, y = seen_x, seen_y + PIVOT_Y
        for _ in range(SOLVER_STEPS):
            z = anatomy.relief(x, y) - PIVOT_Z
            x = (seen_x - z * yaw.sin()) / yaw.cos()
            depth = -x * yaw.sin() + z * yaw.cos()
            y = (seen_y + depth * pitch.sin()) / pitch.cos() + PIVOT_Y
        return x, y

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Distance towards the viewer of places of the relief."""
        yaw, pitch, _ = self._angles()
        return (y - PIVOT_Y) * pitch.sin() + (-x * yaw.sin() + (z - PIVOT_Z) * yaw.cos()) * pitch.cos()
