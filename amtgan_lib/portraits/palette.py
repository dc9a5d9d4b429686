"""Colours of drawn portraits, sRGB 0-255: skin, hair, irises, lips, paints."""

from __future__ import annotations

import torch
from torch import Tensor

# From very light to very dark, as photographed in neutral light.
SKIN = ((251, 226, 208), (243, 206, 181), (229, 182, 150), (208, 153, 117), (176, 120, 86), (136, 89, 62))
SKIN += ((105, 68, 50), (80, 53, 41))
HAIR = ((24, 20, 20), (38, 28, 25), (60, 40, 30), (92, 60, 40), (128, 86, 52), (150, 74, 40), (176, 130, 80))
HAIR += ((214, 178, 120),)
IRIS_DARK = ((44, 28, 20), (70, 44, 28), (92, 60, 36))
IRIS = (*IRIS_DARK, (118, 92, 48), (98, 110, 62), (84, 116, 98), (86, 124, 150), (112, 146, 178), (120, 130, 138))
LIPSTICK = ((196, 38, 56), (168, 20, 44), (206, 60, 84), (222, 92, 110), (228, 108, 84), (190, 92, 80), (150, 40, 78))
LIPSTICK += ((112, 24, 62), (92, 30, 40))
SHADOW = ((120, 84, 64), (86, 62, 54), (74, 70, 78), (52, 74, 128), (40, 108, 128), (58, 112, 78), (118, 66, 130))
SHADOW += ((186, 96, 128), (196, 146, 70))
BLUSH = ((224, 96, 96), (232, 118, 100), (214, 82, 116))
FRAMES = ((26, 24, 26), (72, 44, 30), (120, 118, 122), (130, 34, 40))


def mixed(colours: tuple[tuple[int, int, int], ...], where: Tensor) -> Tensor:
    """Colours (N, 3, 1, 1) in [0, 1] at ``where`` (N,) in [0, 1] along a palette, neighbours mixed."""
    table = torch.tensor(colours, dtype=torch.float32) / 255
    place = where.clamp(0, 1) * (len(colours) - 1)
    low = place.floor().long().clamp(max=len(colours) - 2)
    share = (place - low)[:, None]
    return (table[low] * (1 - share) + table[low + 1] * share)[:, :, None, None]


def hue(where: Tensor, light: Tensor, saturation: float) -> Tensor:
    """Colours (N, 3, 1, 1) of a hue circle, for backdrops and clothes."""
    phases = torch.tensor([0.0, 1 / 3, 2 / 3])
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * (where[:, None] - phases))
    return (light[:, None] * (1 - saturation + saturation * wave))[:, :, None, None].clamp(0, 1)
