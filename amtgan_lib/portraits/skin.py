"""Painters of neck, ears, skin, nose and what makes a face old, freckled or made up."""

from __future__ import annotations

import torch
from torch import Tensor

from amtgan_lib.portraits import palette
from amtgan_lib.portraits.anatomy import SIDES, bump, gauss, smoothstep
from amtgan_lib.portraits.canvas import Canvas, Scenery
from amtgan_lib.portraits.traits import Traits


def tone(who: Traits) -> Tensor:
    """Bare skin colour (N, 3, 1, 1)."""
    base = palette.mixed(palette.SKIN, who.raw("skin"))
    warmth = who.warmth[..., None] * torch.tensor([0.012, 0.0, -0.020]).view(1, 3, 1, 1)
    return (base * (1 + warmth * 1.5)).clamp(0, 1)


def blood(who: Traits) -> Tensor:
    """What blood under the skin multiplies its colour by, (N, 3, 1, 1): less visible on dark skin."""
    depth = 1 - 0.55 * who.raw("skin")[:, None, None, None]
    return 1 - depth * torch.tensor([0.02, 0.25, 0.22]).view(1, 3, 1, 1)


def face_cover(scene: Scenery) -> Tensor:
    """Where the face itself is, ears and neck left out."""
    return scene.edge(_outline_distance(scene))


def _outline_distance(scene: Scenery) -> Tensor:
    """Signed distance to the face's outline, positive inside; first order, exact on the outline."""
    x, y, who = scene.x, scene.y, scene.who
    value = scene.anatomy.half_width(y) - x.abs()
    # Steep ends (skull, chin) would have soft borders if only the horizontal distance counted.
    step = 0.02
    slope = (scene.anatomy.half_width(y + step) - scene.anatomy.half_width(y - step)) / (2 * step)
    near = value / (1 + slope.square()).sqrt()
    return torch.minimum(near, torch.minimum(who.chin - y, y + who.skull))


def neck_and_clothes(scene: Scenery, canvas: Canvas) -> None:
    """Neck with the chin's shadow, shoulders in a shirt."""
    x, y, who, moment = scene.x, scene.y, scene.who, scene.moment
    turned = x - 0.0
    width = 0.41 + 0.07 * who.jaw + 0.09 * who.masculine + 0.30 * smoothstep(y, 1.45, 2.1)
    cover = scene.edge(width - turned.abs()) * (y > 0.5)
    canvas.place(tone(who) * 0.93, cover)
    canvas.darken(cover * 0.35 * smoothstep(turned.abs() / width, 0.45, 1.0))
    shadow = smoothstep(-(y - who.chin - 0.25), -0.18, 0.22)
    canvas.darken(cover * 0.42 * shadow)
    shoulder = 1.72 + 0.16 * smoothstep(x.abs(), 0.5, 1.7) - 0.20 * smoothstep(x.abs(), 0.25, 0.6)
    cloth = scene.edge(y - shoulder)
    colour = palette.hue(moment.raw("cloth_hue"), moment.cloth_light.flatten(), 0.45)
    canvas.place(colour, cloth)
    canvas.darken(cloth * (0.18 + 0.25 * smoothstep(-(y - shoulder), -0.10, 0.0)))


def ears(scene: Scenery, canvas: Canvas) -> None:
    """Two ears, partly behind the face."""
    x, y, who = scene.x, scene.y, scene.who
    place = scene.anatomy.half_width(torch.full_like(who.ear_size, 0.14))
    for side in SIDES:
        u = (side * x - place - who.ear_out * 0.5) / (who.ear_size * 0.52)
        v = (y - 0.16 - 0.10 * (side * x - place)) / who.ear_size
        radius = (u.square() + v.square() + 0.25 * u * v).sqrt()
        cover = scene.edge((1 - radius) * who.ear_size * 0.5)
        canvas.place(tone(who) * torch.tensor([1.0, 0.93, 0.91]).view(1, 3, 1, 1), cover)
        rim = gauss(((radius - 0.62) / 0.20).square()) * (u > -0.4)
        canvas.darken(cover * (0.30 * rim + 0.28 * bump(u + 0.25, v, 0.35, 0.5)))


def face(scene: Scenery, canvas: Canvas) -> Tensor:
    """Skin with its blood, texture, freckles, mole, wrinkles and beard shadow; returns its cover (N, H, W)."""
    who, x, y = scene.who, scene.x, scene.y
    cover = face_cover(scene)
    skin = tone(who)
    canvas.place(skin, cover)
    red = 0.42 * bump(x.abs() - 0.50, y - 0.42, 0.27, 0.22) + 0.45 * bump(x, y - who.nose_length * 0.9, 0.19, 0.16)
    red = red + 0.20 * bump(x, y - who.chin + 0.12, 0.22, 0.14) + 0.10 * scene.coarse.clamp(-1, 2)
    canvas.tint(blood(who), cover * red.clamp(0, 1))
    grain = 0.018 * scene.middle + (0.010 + 0.02 * who.age) * scene.fine + 0.014 * scene.finest
    canvas.darken((cover * grain).clamp(-0.15, 0.3))
    _freckles(scene, canvas, cover)
    _wrinkles(scene, canvas, cover)
    return cover


def _freckles(scene: Scenery, canvas: Canvas, cover: Tensor) -> None:
    who, x, y = scene.who, scene.x, scene.y
    amount = smoothstep(who.freckles, 0.60, 0.95) * (1 - smoothstep(who.skin, 0.35, 0.6))
    place = bump(x.abs() - 0.33, y - 0.36, 0.42, 0.26)
    spots = smoothstep(scene.fine + 0.4 * scene.middle, 0.75, 1.5)
    brown = torch.tensor([0.78, 0.62, 0.50]).view(1, 3, 1, 1)
    canvas.tint(brown, cover * 0.85 * amount * place * spots)
    mole = scene.edge(0.024 - ((x - who.mole_x).square() + (y - who.mole_y).square()).sqrt())
    canvas.over(tone(who) * torch.tensor([0.45, 0.36, 0.33]).view(1, 3, 1, 1), mole * 0.8 * (who.freckles < 0.45))


def _wrinkles(scene: Scenery, canvas: Canvas, cover: Tensor) -> None:
    who, x, y, anatomy = scene.who, scene.x, scene.y, scene.anatomy
    age = smoothstep(who.age, 0.30, 1.0)
    lines = torch.zeros_like(x)
    for height in (0.47, 0.57, 0.67):
        bent = y + height - 0.05 * x.square() + 0.012 * scene.coarse
        lines = lines + 0.30 * gauss((bent / 0.014).square()) * smoothstep(-x.abs(), -0.48, -0.30)
    for side in SIDES:
        u, v = anatomy.eye_local(x, y, side)
        for tilt in (-0.22, 0.0, 0.22):
            foot = gauss(((v - tilt * (u - 1)) / 0.011).square())
            lines = lines + 0.35 * foot * smoothstep(u, 1.1, 1.3) * smoothstep(-u, -1.9, -1.5)
    # From the nose's wings to the mouth's corners: a smile deepens them at every age.
    t = ((y - who.nose_length) / (anatomy.mouth_y - who.nose_length + 0.06)).clamp(0, 1)
    path = who.nose_width * 1.10 + t * (anatomy.mouth_half_width + 0.06 - who.nose_width * 1.10)
    fold = gauss(((x.abs() - path) / 0.035).square()) * smoothstep(t, 0.0, 0.25) * smoothstep(-t, -1.0, -0.75)
    deep = (0.10 + 0.25 * age + 0.25 * scene.moment.smile.clamp(min=0)) * fold
    canvas.darken(cover * (0.50 * age * lines + 0.6 * deep).clamp(0, 0.6))


def nose(scene: Scenery, canvas: Canvas) -> None:
    """Nostrils, wings and the shadow below: the ridge itself is relief."""
    who, x, y = scene.who, scene.x, scene.y
    length, width = who.nose_length, who.nose_width
    wing = ((x.abs() - width * 0.80) / (width * 0.36)).square() + ((y - length * 0.955) / 0.085).square()
    rim = gauss(((wing.sqrt() - 1) / 0.20).square()) * smoothstep(x.abs(), width * 0.72, width * 1.0)
    canvas.darken(0.30 * rim)
    canvas.darken(0.20 * bump(x, y - length - 0.055, width * 0.95, 0.035))
    for side in SIDES:
        u = (side * x - width * 0.47) / (width * 0.30)
        v = (y - length * 1.0 - 0.012 + 0.10 * (side * x - width * 0.47)) / 0.027
        hole = scene.edge((1 - (u.square() + v.square()).sqrt()) * 0.03)
        dark = tone(who) * torch.tensor([0.30, 0.20, 0.18]).view(1, 3, 1, 1)
        canvas.over(dark, 0.85 * hole)


def sockets(scene: Scenery, canvas: Canvas) -> None:
    """Shadows of the eye sockets and bags below the eyes."""
    x, y, who, anatomy = scene.x, scene.y, scene.who, scene.anatomy
    for side in SIDES:
        u, v = anatomy.eye_local(x, y, side)
        inner = bump(u + 1.0, v + 0.07, 0.45, 0.11)
        upper = bump(u, v + anatomy.opening + 0.05, 1.0, 0.075)
        bag = gauss(((v - 0.105 - 0.02 * (1 - u.square())) / 0.022).square()) * smoothstep(-u.abs(), -1.0, -0.5)
        canvas.darken((0.12 + 0.20 * who.eye_depth) * (inner + 0.8 * upper) + (0.05 + 0.20 * who.age) * bag)
    canvas.tint(blood(who), 0.35 * sum(bump(side * x - who.eye_distance, y - 0.05, 0.26, 0.13) for side in SIDES))


def powder(scene: Scenery, canvas: Canvas, cover: Tensor) -> None:
    """Foundation and blush, worn on the skin."""
    who, x, y, makeup = scene.who, scene.x, scene.y, scene.makeup
    even = (tone(who) * (1 + makeup.foundation_tone[..., None])).clamp(0, 1)
    canvas.over(even, cover * makeup.foundation_opacity)
    side = bump(x.abs() - 0.56 + 0.25 * (y - 0.40), y - 0.40, makeup.blush_extent, makeup.blush_extent * 0.62)
    colour = palette.mixed(palette.BLUSH, makeup.raw("blush_colour")) * (0.45 + 0.55 * tone(who))
    canvas.over(colour, cover * makeup.blush_opacity * side)
