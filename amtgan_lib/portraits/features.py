"""Painters of eyes, brows, lips and their makeup."""

from __future__ import annotations

import torch
from torch import Tensor

from amtgan_lib.portraits import palette
from amtgan_lib.portraits.anatomy import SIDES, bump, gauss, smoothstep
from amtgan_lib.portraits.canvas import Canvas, Scenery, fringe
from amtgan_lib.portraits.skin import tone


def eyes(scene: Scenery, canvas: Canvas) -> Tensor:
    """Both eyes; returns where eyeballs show (N, H, W)."""
    shown = torch.zeros_like(scene.x)
    for side in SIDES:
        shown = shown + _eye(scene, canvas, side)
    return shown


def _eye(scene: Scenery, canvas: Canvas, side: int) -> Tensor:
    anatomy, who = scene.anatomy, scene.who
    u, v = anatomy.eye_local(scene.x, scene.y, side)
    above, below = v - anatomy.upper_lid(u), anatomy.lower_lid(u) - v
    within = smoothstep(-u.abs(), -1.02, -0.98)
    ball = scene.edge(torch.minimum(above, below)) * within
    _crease(scene, canvas, u, v)
    white = torch.tensor([0.93, 0.90, 0.88]).view(1, 3, 1, 1) - 0.03 * who.age[..., None]
    canvas.place(white.expand(len(who), -1, -1, -1), ball)
    canvas.tint(torch.tensor([0.86, 0.60, 0.58]).view(1, 3, 1, 1), ball * bump(u + 0.95, v, 0.22, 0.06))
    canvas.darken(ball * 0.30 * smoothstep(u.abs(), 0.45, 1.0))
    _iris(scene, canvas, u, v, ball, side)
    # The upper lid casts a shadow on the ball.
    canvas.darken(ball * 0.50 * gauss((above.clamp(min=0) / 0.032).square()))
    _lashes(scene, canvas, u, v, above, below, within)
    return ball


def _iris(scene: Scenery, canvas: Canvas, u: Tensor, v: Tensor, ball: Tensor, side: int) -> None:
    who, moment = scene.who, scene.moment
    radius = 0.092
    dx = u * who.eye_width - side * 0.10 * moment.gaze_x
    dy = v + 0.030 - 0.10 * moment.gaze_y
    distance = (dx.square() + dy.square()).sqrt()
    # Light eyes are rare with dark skin.
    shade = who.raw("iris") * (1 - 0.75 * smoothstep(who.raw("skin"), 0.35, 0.65))
    colour = palette.mixed(palette.IRIS, shade)
    iris = ball * scene.edge(radius - distance)
    rays = fringe(torch.atan2(dy, dx), who, 48, 7)
    canvas.over(colour, iris)
    canvas.darken(iris * (0.10 * rays + 0.55 * smoothstep(distance, radius * 0.72, radius)).clamp(-0.2, 0.7))
    glow = bump(dx + 0.02, dy - 0.045, 0.05, 0.035)
    canvas.over((colour * 1.5 + 0.10).clamp(0, 1), iris * 0.55 * glow)
    canvas.over(torch.full_like(colour, 0.02), ball * scene.edge(radius * 0.43 - distance))
    spark = scene.edge(0.024 - ((dx - 0.032 * moment.light_x.sign()).square() + (dy + 0.036).square()).sqrt())
    canvas.over(torch.ones_like(colour), 0.92 * spark * ball)


def _crease(scene: Scenery, canvas: Canvas, u: Tensor, v: Tensor) -> None:
    """The fold above the upper lid; hooded eyes have almost none."""
    anatomy, who = scene.anatomy, scene.who
    height = 0.028 + 0.055 * (1 - who.eye_hood)
    line = v - anatomy.upper_lid(u * 0.94) + height * (1 - 0.35 * u.square()).clamp(min=0.1)
    strength = 0.18 + 0.42 * (1 - who.eye_hood)
    canvas.darken(strength * gauss((line / 0.014).square()) * smoothstep(-u.abs(), -1.12, -0.75))


def _lashes(scene: Scenery, canvas: Canvas, u: Tensor, v: Tensor, above: Tensor, below: Tensor, within: Tensor) -> None:
    who, makeup = scene.who, scene.makeup
    worn = makeup.liner_opacity
    natural = 0.013 + 0.006 * (1 - who.masculine)
    grow = 0.55 + 0.45 * smoothstep(u, -0.8, 0.9)
    reach = (natural + worn * makeup.liner_width) * grow
    band = scene.edge(reach - (above + 0.35 * reach).abs()) * within
    black = torch.full((len(who), 3, 1, 1), 0.05)
    canvas.over(black, band * (0.72 + 0.28 * worn))
    wing_u, wing_v = u - 1, v + 0.10 * (u - 1).clamp(min=0) + 0.55 * who.eye_width * (u - 1).clamp(min=0)
    wing = scene.edge(makeup.liner_width * (1 - wing_u / makeup.liner_wing.clamp(min=1e-3)) - wing_v.abs())
    canvas.over(black, worn * wing * (wing_u > -0.06) * (wing_u < makeup.liner_wing))
    comb = (fringe(u * 1.4, who, 40, 8) > 0.1) * smoothstep(-above, -0.002, 0.012) * (above < 0)
    tips = comb * smoothstep(above, -0.055 - 0.02 * worn, -0.02) * within * smoothstep(u, -0.6, 0.4)
    canvas.over(black, tips * (0.35 + 0.4 * worn))
    canvas.over(black, 0.30 * (0.6 + worn) * gauss(((below + 0.004) / 0.010).square()) * within)


def shadow(scene: Scenery, canvas: Canvas, cover: Tensor) -> None:
    """Eye shadow, from the lashes towards the brows."""
    anatomy, makeup = scene.anatomy, scene.makeup
    colour = palette.mixed(palette.SHADOW, makeup.raw("shadow_colour")) * (1.15 - 0.5 * makeup.shadow_depth[..., None])
    colour = colour * (0.55 + 0.45 * tone(scene.who))
    for side in SIDES:
        u, v = anatomy.eye_local(scene.x, scene.y, side)
        up = -(v - anatomy.upper_lid(u * 0.9)) / (0.21 * makeup.shadow_extent)
        fade = smoothstep(up, -0.10, 0.05) * (1 - smoothstep(up, 0.35, 1.0))
        along = smoothstep(-(u - 0.12).abs(), -1.35, -0.75)
        below = 0.45 * gauss(((v - anatomy.lower_lid(u) - 0.02) / 0.025).square())
        canvas.over(colour, cover * makeup.shadow_opacity * (fade + below).clamp(0, 1) * along)


def brows(scene: Scenery, canvas: Canvas, hair: Tensor) -> None:
    """Brows of hair strokes; ``hair`` is their colour (N, 3, 1, 1)."""
    anatomy, who = scene.anatomy, scene.who
    for side in SIDES:
        u = (side * scene.x - anatomy.brow_centre) / who.brow_length
        middle, thickness = anatomy.brow(u)
        away = scene.y - middle
        strokes = fringe((u * 2.2 + 3.5 * away) * 0.7, who, 110, 9)
        ragged = thickness * (1 + 0.07 * strokes)
        cover = scene.edge(ragged - away.abs()) * smoothstep(-u.abs(), -1.0, -0.90)
        density = 0.64 + 0.09 * strokes + 0.12 * who.masculine
        canvas.over(hair * 0.72, cover * density.clamp(0.25, 0.92))


def lips(scene: Scenery, canvas: Canvas) -> tuple[Tensor, Tensor]:
    """Mouth, lips and lipstick; returns where lips show and where the mouth's inside shows (N, H, W)."""
    anatomy, who, x, y = scene.anatomy, scene.who, scene.x, scene.y
    u = x / anatomy.mouth_half_width
    upper, inner_upper, inner_lower, lower = anatomy.lips(u.clamp(-1, 1))
    within = smoothstep(-u.abs(), -1.02, -0.97)
    inside = scene.edge(torch.minimum(y - inner_upper, inner_lower - y)) * within * (anatomy.gap(u) > 0.004)
    top, bottom = torch.minimum(y - upper, inner_upper - y), torch.minimum(y - inner_lower, lower - y)
    cover = torch.maximum(scene.edge(top), scene.edge(bottom)) * within
    natural = _natural_lip(scene)
    canvas.darken(0.34 * bump(x, y - lower.detach() - 0.045, anatomy.mouth_half_width * 0.75, 0.045))
    canvas.over(natural, cover * 0.88)
    wrinkles = fringe(u * 2.6 + 0.6 * scene.middle * 0.1, who, 72, 10)
    canvas.darken((cover * 0.07 * wrinkles).clamp(-0.1, 0.2))
    _lipstick(scene, canvas, u, torch.maximum(top, bottom), within)
    canvas.darken(cover * 0.20 * smoothstep(y, upper, inner_upper) * (y < inner_upper))
    _teeth(scene, canvas, inside, u, y - inner_upper)
    line = gauss(((y - anatomy.mouth_line(u)) / 0.013).square()) * within * (1 - inside)
    canvas.darken(0.62 * line * (anatomy.gap(torch.zeros_like(u[:, :1, :1])) < 0.02))
    corner = bump(u.abs() - 1.0, (y - anatomy.mouth_line(u.clamp(-1, 1))) / 0.03, 0.10, 1.0)
    canvas.darken(0.40 * corner)
    return cover * (1 - inside), inside


def _natural_lip(scene: Scenery) -> Tensor:
    depth = scene.who.lip_tone[..., None]
    red = torch.tensor([0.90, 0.62, 0.60]).view(1, 3, 1, 1)
    dark = torch.tensor([0.78, 0.50, 0.50]).view(1, 3, 1, 1)
    return (tone(scene.who) * (red * (1 - depth) + dark * depth)).clamp(0, 1)


def _lipstick(scene: Scenery, canvas: Canvas, u: Tensor, distance: Tensor, within: Tensor) -> None:
    makeup = scene.makeup
    colour = palette.mixed(palette.LIPSTICK, makeup.raw("lip_colour")) * (1.08 - 0.35 * makeup.lip_depth[..., None])
    worn = makeup.lip_opacity > 0.01  # bare lips shine within their own border
    cover = scene.edge(distance + makeup.lip_extent * worn) * within
    canvas.over(colour, cover * makeup.lip_opacity)
    lower = scene.y - scene.anatomy.mouth_line(u.clamp(-1, 1)) - scene.who.lower_lip * 0.45
    gloss = bump(u - 0.25 * scene.moment.light_x, lower, 0.33, 0.022) * (
        0.10 + 0.45 * makeup.lip_gloss * makeup.lip_opacity
    )
    canvas.over(torch.ones_like(colour), cover * gloss)


def _teeth(scene: Scenery, canvas: Canvas, inside: Tensor, u: Tensor, depth: Tensor) -> None:
    dark = torch.tensor([0.22, 0.07, 0.07]).view(1, 3, 1, 1).expand(len(scene.who), -1, -1, -1)
    canvas.place(dark, inside)
    ivory = torch.tensor([0.94, 0.91, 0.85]).view(1, 3, 1, 1).expand_as(dark)
    teeth = inside * scene.edge(0.075 - depth) * smoothstep(-u.abs(), -0.9, -0.7)
    canvas.over(ivory, teeth * 0.95)
    canvas.darken(teeth * 0.25 * smoothstep(u.abs(), 0.3, 0.9))
