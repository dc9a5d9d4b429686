"""Painters of hair, beards and glasses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amtgan_lib.portraits import palette
from amtgan_lib.portraits.anatomy import SIDES, gauss, smoothstep
from amtgan_lib.portraits.canvas import Canvas, Scenery, fringe
from amtgan_lib.portraits.traits import Traits


@dataclass(frozen=True)
class Style:
    """One hair style: ``length`` is the height y where it ends, ``volume`` how far it stands out."""

    name: str
    length: float
    volume: float
    sides: float  # share of the face's width that stays free of hair
    fringe: float = 0.0  # how far hair hangs over the forehead
    curl: float = 0.0
    opacity: float = 1.0
    bun: float = 0.0


STYLES = (
    Style("bald", 0.0, 0.0, 1.05, opacity=0.0),
    Style("shaved", 0.06, 0.02, 0.99, opacity=0.72),
    Style("short", 0.10, 0.10, 0.97),
    Style("side part", 0.14, 0.18, 0.97, fringe=0.10),
    Style("curls", 0.35, 0.30, 0.95, curl=1.0),
    Style("fringe", 0.95, 0.16, 0.90, fringe=0.42),
    Style("bun", 0.16, 0.07, 0.97, bun=1.0),
    Style("bob", 1.10, 0.17, 0.88),
    Style("big curls", 1.35, 0.42, 0.92, curl=1.0),
    Style("long", 2.60, 0.15, 0.87),
)


@dataclass(frozen=True, eq=False)
class Hair:
    """The chosen styles of N people as columns (N, 1, 1)."""

    length: Tensor
    volume: Tensor
    sides: Tensor
    fringe: Tensor
    curl: Tensor
    opacity: Tensor
    bun: Tensor

    @staticmethod
    def of(who: Traits) -> Hair:
        """Masculine people tend to the first styles, others to the last; none is ruled out."""
        leaning = 0.70 * who.raw("hair_style") + 0.30 * (1 - who.raw("masculine"))
        index = (leaning * len(STYLES)).long().clamp(0, len(STYLES) - 1).tolist()
        names = ("length", "volume", "sides", "fringe", "curl", "opacity", "bun")
        return Hair(*(torch.tensor([getattr(STYLES[i], name) for i in index]).view(-1, 1, 1) for name in names))


def colour(who: Traits) -> Tensor:
    """Hair colour (N, 3, 1, 1); dark skin goes with dark hair, age with grey."""
    place = who.raw("hair_colour") * (1 - 0.85 * smoothstep(who.raw("skin"), 0.30, 0.55))
    base = palette.mixed(palette.HAIR, place)
    grey = (smoothstep(who.raw("age"), 0.5, 1.0) * smoothstep(who.raw("hair_grey"), 0.3, 0.8))[:, None, None, None]
    return base * (1 - grey) + grey * torch.tensor([0.72, 0.71, 0.70]).view(1, 3, 1, 1)


def _outer(scene: Scenery, hair: Hair) -> Tensor:
    """Signed distance to the hair's outer border, positive inside."""
    who, x, y = scene.who, scene.x, scene.y
    curls = hair.curl * 0.04 * (scene.middle + 0.6 * scene.fine)
    wide = who.face_width + 0.02 + (0.35 + 0.75 * who.hair_volume) * hair.volume
    high = who.skull + 0.02 + (0.4 + 0.6 * who.hair_volume) * hair.volume
    top = (0.12 - y).clamp(min=0) / (high + 0.12)
    radius = ((x.abs() / wide).pow(2.3) + top.pow(2.3)).clamp(min=1e-6).pow(1 / 2.3)
    flare = 1 + 0.06 * smoothstep(y, 0.3, 1.6) * (hair.length > 1)
    return (flare - radius) * wide + curls


def _ends(scene: Scenery, hair: Hair) -> Tensor:
    """1 above the hair's ends, which are uneven."""
    strands = fringe(scene.x * 1.3, scene.who, 90, 11)
    return smoothstep(hair.length + 0.05 * strands - scene.y, -0.03, 0.06)


def _strands(scene: Scenery, hair: Hair) -> Tensor:
    """Light and dark along the hair's flow, about standard normal."""
    who = scene.who
    angle = torch.atan2(scene.x - 0.25 * who.hair_part, -(scene.y - 0.9))
    fine = fringe(angle, who, 420, 12) + 0.9 * fringe(angle, who, 90, 13)
    return fine * (1 - hair.curl) + hair.curl * (scene.middle * 0.5 + scene.fine * 0.8 + scene.finest * 0.8)


def behind(scene: Scenery, canvas: Canvas) -> None:
    """Hair behind neck and shoulders, and a bun."""
    hair, who = Hair.of(scene.who), scene.who
    cover = scene.edge(_outer(scene, hair)) * _ends(scene, hair) * hair.opacity
    canvas.over(colour(who) * 0.55, cover)
    height = who.skull + 0.20
    knot = 0.34 - (scene.x.square() + (scene.y + height).square()).sqrt()
    canvas.place(colour(who) * 0.85, hair.bun * scene.edge(knot))
    canvas.darken(hair.bun * scene.edge(knot) * (0.30 * (1 - knot.clamp(0, 0.34) / 0.34)))


def front(scene: Scenery, canvas: Canvas, on_face: Tensor) -> Tensor:
    """Hair around the face; returns its cover (N, H, W)."""
    hair, who, x, y = Hair.of(scene.who), scene.who, scene.x, scene.y
    part = who.hair_part
    tilt = 0.10 * part * x * (1 - smoothstep(hair.curl, 0.2, 0.8))
    strands = fringe((x - 0.3 * part) * 1.1, who, 70, 14)
    height = who.hairline - hair.fringe * (1 - 0.15 * part * x) + 0.025 * strands * (0.4 + 2.2 * hair.fringe)
    height = height * (1 - 0.0 * x)
    up = (0.35 - y + tilt).clamp(min=0) / (0.35 + height)
    side = x.abs() / (who.face_width * hair.sides)
    opening = 1 - (side.pow(3.0) + up.pow(3.0)).clamp(min=1e-6).pow(1 / 3)
    ragged = opening + 0.012 * scene.fine + hair.curl * 0.03 * scene.middle
    soft = scene.soft * (1 + 1.2 * (1 - hair.opacity))
    cover = scene.edge(_outer(scene, hair)) * _ends(scene, hair) * (0.5 - ragged / soft).clamp(0, 1)
    shadow = (0.5 - (opening - 0.07) / 0.14).clamp(0, 1) * on_face * _ends(scene, hair)
    canvas.darken(0.38 * shadow * (1 - cover) * hair.opacity * (hair.volume > 0.03))
    flow = _strands(scene, hair)
    base = colour(who)
    canvas.place(base, cover * hair.opacity)
    shine = gauss(((y + 0.62 * who.skull + 0.08 * flow) / 0.20).square())
    canvas.darken((cover * hair.opacity * (0.12 + 0.14 * flow)).clamp(-0.35, 0.5))
    canvas.over((base * 1.35 + 0.10).clamp(0, 1), cover * hair.opacity * 0.32 * shine * smoothstep(flow, -0.5, 1.2))
    return cover * hair.opacity


def beard(scene: Scenery, canvas: Canvas, on_face: Tensor) -> Tensor:
    """Stubble, moustache, goatee or a full beard on masculine faces; returns its cover (N, H, W)."""
    who, x, y, anatomy = scene.who, scene.x, scene.y, scene.anatomy
    kind, grown = who.beard, smoothstep(who.masculine, 0.52, 0.62)
    u = x / anatomy.mouth_half_width
    upper, _, _, lower = anatomy.lips(u.clamp(-1, 1))
    moustache = smoothstep(upper - y, -0.005, 0.03) * smoothstep(y - who.nose_length - 0.055, -0.02, 0.03)
    moustache = moustache * smoothstep(-u.abs(), -1.30, -1.05)
    cheek = 0.42 + 0.42 * smoothstep(-x.abs() / who.face_width, -0.98, -0.35)
    full = smoothstep(y - cheek, -0.03, 0.05)
    around = smoothstep(y - upper, -0.01, 0.02) * (u.abs() < 1.05)
    chin = full * smoothstep(-x.abs(), -0.34, -0.22)
    lips_free = 1 - around * smoothstep(lower + 0.02 - y, -0.015, 0.015)
    whole = torch.maximum(full * lips_free * ((y > upper) | (u.abs() > 1.05)), moustache)
    goatee = torch.maximum(chin * lips_free * (y > upper), moustache)
    shape = torch.where(
        kind < 0.62, whole, torch.where(kind < 0.74, moustache, torch.where(kind < 0.86, goatee, whole))
    )
    density = torch.where(
        kind < 0.35, torch.zeros_like(kind), torch.where(kind < 0.62, torch.full_like(kind, 0.26), 0.86)
    )
    grain = (0.84 + 0.07 * scene.fine + 0.20 * scene.finest).clamp(0, 1.1)
    cover = (shape * density * grown * grain * on_face).clamp(0, 0.95)
    canvas.over(colour(who) * 0.80, cover)
    canvas.darken((cover * 0.16 * scene.finest).clamp(-0.2, 0.3))
    return cover * (density > 0.5)


def glasses(scene: Scenery, canvas: Canvas) -> Tensor:
    """Frames and lenses of those who own glasses and wear them now; returns the frames' cover (N, H, W)."""
    who, x, y = scene.who, scene.x, scene.y
    worn = ((who.glasses > 0.72) & (scene.moment.wears_glasses < 0.75)).float()
    frame = palette.mixed(palette.FRAMES, who.raw("glasses_colour"))
    thick = 0.020 + 0.018 * (who.glasses_colour < 0.5)
    round_ = 2.2 + 3.0 * (who.glasses > 0.86)
    cover = torch.zeros_like(x)
    for side in SIDES:
        u = (side * x - who.eye_distance - 0.01) / 0.315
        v = (y - 0.035) / 0.245
        radius = (u.abs().pow(round_) + v.abs().pow(round_)).clamp(min=1e-6).pow(1 / round_)
        lens = scene.edge((1 - radius) * 0.25)
        glare = smoothstep((u + 0.6 * v + 0.5).abs(), -0.0, 0.16)
        canvas.over(torch.ones_like(frame), worn * lens * (0.035 + 0.11 * (1 - glare)))
        cover = torch.maximum(cover, scene.edge(thick - ((radius - 1) * 0.27).abs()))
        arm = scene.edge(thick * 0.8 - (y + 0.03).abs()) * (side * x > who.eye_distance + 0.31)
        cover = torch.maximum(cover, arm * (side * x < who.face_width + 0.02))
    bridge = scene.edge(thick * 0.8 - (y + 0.035 - 0.25 * x.square()).abs()) * (x.abs() < who.eye_distance - 0.30)
    cover = torch.maximum(cover, bridge) * worn
    canvas.place(frame, cover)
    return cover
