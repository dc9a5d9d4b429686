"""Pixels from a photo into a square crop and differences back, through (2, 3) similarity matrices.

A matrix maps crop (x, y) to photo (x, y); integer coordinates are pixel centres everywhere.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

MARGIN = 4  # pixels around a crop that its interpolation may look at


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The (2, 3) similarity transform that takes points ``source`` (K, 2) to ``target`` best (Umeyama 1991)."""
    mean_s, mean_t = source.mean(0), target.mean(0)
    covariance = (target - mean_t).T @ (source - mean_s) / len(source)
    u, d, vt = np.linalg.svd(covariance)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])
    scale = (d * sign).sum() / ((source - mean_s) ** 2).sum(1).mean()
    rotation = scale * (u * sign) @ vt
    return np.concatenate([rotation, (mean_t - rotation @ mean_s)[:, None]], axis=1)


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix of the way back."""
    return np.linalg.inv(np.vstack([matrix, (0, 0, 1)]))[:2]


def chained(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that does what ``first`` does, then ``second``."""
    return second[:, :2] @ first + np.pad(second[:, 2:], ((0, 0), (2, 0)))


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (K, 2) as (x, y) through a (2, 3) matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def resized(matrix: np.ndarray, factor: np.ndarray, origin: np.ndarray | tuple[int, int] = (0, 0)) -> np.ndarray:
    """The matrix into the same photo, cut at pixel ``origin`` and resized by ``factor`` (x, y)."""
    # Not the centre but the outer edge of the first pixel, at -0.5, stays where it is in a resize.
    shift = (matrix[:, 2] - origin + 0.5) * factor - 0.5
    return np.concatenate([np.asarray(factor)[:, None] * matrix[:, :2], shift[:, None]], axis=1)


def sample(pixels: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size, 3) of a uint8 picture (H, W, 3); its border pixels go on outside the picture.

    Bicubic, antialiased where it shrinks. Only the crop's part of the picture is copied.
    """
    scale = _scale(matrix)
    if scale > 1:
        x0, y0, x1, y1 = _within(pixels.shape[1::-1], *_reach(matrix, size, math.ceil(MARGIN * scale)))
        small = (max(round((x1 - x0) / scale), 1), max(round((y1 - y0) / scale), 1))
        matrix = resized(matrix, np.array([small[0] / (x1 - x0), small[1] / (y1 - y0)]), (x0, y0))
        pixels = np.asarray(Image.fromarray(pixels[y0:y1, x0:x1]).resize(small, Image.Resampling.LANCZOS))
    x0, y0, x1, y1 = _reach(matrix, size, MARGIN)
    rows = np.clip(np.arange(y0, y1), 0, pixels.shape[0] - 1)
    columns = np.clip(np.arange(x0, x1), 0, pixels.shape[1] - 1)
    region = pixels[rows[:, None], columns]
    crop = _transformed(region, resized(matrix, np.ones(2), (x0, y0)), (size, size), Image.Resampling.BICUBIC)
    return np.clip(np.rint(crop), 0, 255).astype(np.uint8)


def sample_nearest(classes: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """The crop (size, size) of a map of classes (H, W), which cannot be mixed; the border's go on outside."""
    x, y = np.moveaxis(np.rint(_places(matrix, size)).astype(int), -1, 0)
    return classes[np.clip(y, 0, classes.shape[0] - 1), np.clip(x, 0, classes.shape[1] - 1)]


def spread(difference: np.ndarray, matrix: np.ndarray, photo_size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Carry a crop's (S, S, C) difference to the photo: values (h, w, C) of a rectangle, and its first pixel x, y.

    Zero outside the crop; averaged over each photo pixel where the crop shrinks on its way.
    """
    x0, y0, x1, y1 = _within(photo_size, *_reach(matrix, len(difference), 0))
    samples = max(math.ceil(1 / _scale(matrix) - 0.05), 1)  # per photo pixel and axis
    size = ((x1 - x0) * samples, (y1 - y0) * samples)
    back = inverse(resized(matrix, np.array([samples, samples]), (x0, y0)))
    smooth = Image.Resampling.BICUBIC if samples == 1 else Image.Resampling.BILINEAR
    return _transformed(difference, back, size, smooth, samples), x0, y0


def inside(matrix: np.ndarray, size: int, photo_size: tuple[int, int]) -> np.ndarray:
    """Which pixels (size, size) of a crop lie in the photo, and not beyond its border."""
    places = _places(matrix, size)
    return ((places >= -0.5) & (places < np.array(photo_size) - 0.5)).all(-1)


def _places(matrix: np.ndarray, size: int) -> np.ndarray:
    """Where the crop's pixels lie: (size, size, 2) as (x, y)."""
    y, x = np.mgrid[:size, :size]
    return apply(matrix, np.stack([x, y], axis=-1))


def _transformed(
    pixels: np.ndarray, matrix: np.ndarray, size: tuple[int, int], resample: Image.Resampling, reduce: int = 1
) -> np.ndarray:
    """Look pixels (H, W, C) up through a matrix for each of (width, height) pixels, then average ``reduce`` squared."""
    # PIL's pixel centres lie at +0.5. Its 8-bit transform would cut fractions off; floats keep them.
    shift = matrix[:, :2] @ (-0.5, -0.5) + matrix[:, 2] + 0.5
    data = (*matrix[0, :2], shift[0], *matrix[1, :2], shift[1])
    result = np.empty((size[1] // reduce, size[0] // reduce, pixels.shape[-1]), np.float32)
    for channel in range(pixels.shape[-1]):
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., channel], np.float32))
        result[..., channel] = picture.transform(size, Image.Transform.AFFINE, data, resample).reduce(reduce)
    return result


def _scale(matrix: np.ndarray) -> float:
    return float(np.hypot(*matrix[:, 0]))


def _reach(matrix: np.ndarray, size: int, margin: int) -> tuple[int, int, int, int]:
    """The upright rectangle (x0, y0, x1, y1), ends excluded, that holds the crop and a margin."""
    edges = np.array([(-0.5, -0.5), (size - 0.5, -0.5), (-0.5, size - 0.5), (size - 0.5, size - 0.5)])
    corners = apply(matrix, edges)
    x0, y0 = np.floor(corners.min(0)).astype(int) - margin
    x1, y1 = np.ceil(corners.max(0)).astype(int) + 1 + margin
    return int(x0), int(y0), int(x1), int(y1)


def _within(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> tuple[int, int, int, int]:
    """The part of a rectangle that lies in a picture, at least one pixel of it."""
    x0, y0 = min(max(x0, 0), size[0] - 1), min(max(y0, 0), size[1] - 1)
    return x0, y0, max(min(x1, size[0]), x0 + 1), max(min(y1, size[1]), y0 + 1)
