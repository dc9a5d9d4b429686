"""The parts of a photo that a detector is shown, at a size at which it finds faces."""

from __future__ import annotations

import numpy as np
from PIL import Image

TILE_SIDE = 640  # photos with a longer side are searched in overlapping tiles of this one as well
LEAST_SIDE = 192  # smaller pictures are enlarged for the detectors
Tile = tuple[int, int, int, int]  # x, y, width, height


def tiles(width: int, height: int) -> list[Tile]:
    """The whole photo and, where it is large, overlapping squares."""
    tiles = [(0, 0, width, height)]
    if max(width, height) > TILE_SIDE:
        step = TILE_SIDE * 2 // 3
        for y in range(0, max(height - TILE_SIDE // 3, 1), step):
            columns = range(0, max(width - TILE_SIDE // 3, 1), step)
            tiles += [(x, y, min(TILE_SIDE, width - x), min(TILE_SIDE, height - y)) for x in columns]
    return tiles


def sized(rgb: np.ndarray, most: int) -> np.ndarray:
    """The picture shrunk to ``most`` pixels a side, or enlarged to LEAST_SIDE where that keeps it below."""
    height, width = rgb.shape[:2]
    factor = min(most / max(width, height), max(1.0, LEAST_SIDE / min(width, height)))
    if factor == 1:
        return np.ascontiguousarray(rgb)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))
