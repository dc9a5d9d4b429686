"""Soft shapes along the mesh of a face, as numpy masks (S,S), and the constants that such shapes share."""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

FINE = 4  # polygons are drawn so many times as large
SHADE = (0.012, 0.16)  # eye distances: what is finer is grain, what is broader is the light of the room
DARKEST = 0.04  # of brightness in [0,1], where its logarithm ends
AROUND = 0.09  # eye distances: how far what belongs to a brow, an eye or the mouth fades out

Pixels = tuple[np.ndarray, np.ndarray]  # the x (1,S) and the y (S,1) of a picture's pixels, which broadcast


def ramp(values: np.ndarray) -> np.ndarray:
    """Smoothly from 0 to 1, where values go from 0 to 1; beyond them it stays."""
    clipped = np.clip(values, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)


def softened(mask: np.ndarray, sigma: float) -> np.ndarray:
    """A mask blurred by a Gaussian; sigma in pixels."""
    return ndimage.gaussian_filter(mask, sigma)


def drawn(points: np.ndarray, polygons: tuple[tuple[int, ...], ...], side: int) -> np.ndarray:
    """(S,S) in [0,1]: the share of each pixel inside any of the polygons."""
    return filled([points[list(polygon)] for polygon in polygons], side)


def filled(outlines: list[np.ndarray], side: int) -> np.ndarray:
    """(S,S) in [0,1]: the share of each pixel inside any of the outlines (K,2)."""
    picture = Image.new("L", (side * FINE, side * FINE))
    draw = ImageDraw.Draw(picture)
    for outline in outlines:
        draw.polygon([tuple(point) for point in (outline + 0.5) * FINE - 0.5], fill=255)
    return np.asarray(picture.reduce(FINE), np.float32) / 255


def grid(side: int, step: int = 1) -> Pixels:
    """The x (1,S) and the y (S,1) of every pixel, or of every other."""
    places = np.arange(0, side, step, dtype=np.float32) + (step - 1) / 2
    return places[None], places[:, None]


def distance(pixels: Pixels, line: np.ndarray) -> np.ndarray:
    """Distance (S,S) of pixels from a polyline (K,2)."""
    x, y = pixels
    if len(line) == 1:
        return np.hypot(x - line[0, 0], y - line[0, 1])
    nearest = np.full((y.size, x.size), np.inf, np.float32)
    for start, end in itertools.pairwise(line):
        share, way = share_along(pixels, start, end), end - start
        away = (x - start[0]) - share * way[0], (y - start[1]) - share * way[1]
        np.minimum(nearest, away[0] * away[0] + away[1] * away[1], out=nearest)
    return np.sqrt(nearest)


def share_along(pixels: Pixels, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far pixels lie on the way from start (0) to end (1): (S,S)."""
    (x, y), way = pixels, end - start
    step = way / max(way @ way, 1e-6)
    return np.clip((x - start[0]) * step[0] + (y - start[1]) * step[1], 0, 1)
