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


def grid(side: int, step: int = 1) -> np.ndarray:
    """(S,S,2): the (x, y) of every pixel, or of every other."""
    places = np.arange(0, side, step, dtype=np.float32) + (step - 1) / 2
    return np.stack(np.meshgrid(places, places), axis=-1)


def distance(pixels: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance of pixels (S,S,2) from a polyline (K,2)."""
    if len(line) == 1:
        return np.linalg.norm(pixels - line[0], axis=-1)
    nearest = np.full(pixels.shape[:2], np.inf, np.float32)
    for start, end in itertools.pairwise(line):
        share, away = share_along(pixels, start, end), pixels - start
        (x, y), along = np.moveaxis(away, -1, 0), end - start
        np.minimum(nearest, (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2, out=nearest)
    return np.sqrt(nearest)


def share_along(pixels: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far pixels (S,S,2) lie on the way from start (0) to end (1): (S,S)."""
    way = end - start
    return np.clip((pixels - start) @ way / max(way @ way, 1e-6), 0, 1)
