"""Makeup regions and landmarks of a face: from the 478-point mesh, or from a parse map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

# Indices of the 478-point mesh. Eyes (irises), nose tip, mouth corners:
FIVE = ((468, 469, 470, 471, 472), (473, 474, 475, 476, 477), (1,), (61,), (291,))
MESH_TO_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149)
OVAL += (150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
MOUTH = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))

# Class numbers of lips and skin (nose included) by order. "published" is what the published preprocessing remaps its
# parse maps to; "mt" is the MT dataset's own (4 face, 8 nose, 9 and 13 lips; 1, 6 eyes and 2, 7 brows: read off its
# maps beside the mesh); "parsing19" is the common 19-class order.
PARSE_ORDERS = {"published": ((7, 9), (1, 6)), "mt": ((9, 13), (4, 8)), "parsing19": ((12, 13), (1, 10))}
EYE_MARGIN = 16 / 256  # published preprocessing: the rectangle around an eye is grown by 16 px at 256 px


def five_points(mesh: np.ndarray) -> np.ndarray:
    """Eyes, nose tip and mouth corners (5, 2) of a mesh (478, 2)."""
    return np.stack([mesh[list(index)].mean(0) for index in FIVE])


def eye_distance(mesh: np.ndarray) -> float:
    """Distance of the irises of a mesh (478, 2)."""
    left, right = five_points(mesh)[:2]
    return float(np.linalg.norm(left - right))


def bounding_box(mesh: np.ndarray) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) around a mesh (478, 2)."""
    return tuple(np.concatenate([mesh.min(0), mesh.max(0)]).tolist())


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    one, other = np.asarray(one), np.asarray(other)
    common = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    if (common <= 0).any():
        return 0.0
    areas = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])
    return float(common.prod() / (areas - common.prod()))


def landmarks_68(mesh: np.ndarray) -> np.ndarray:
    """The usual 68 landmarks (68, 2) of a mesh (478, 2)."""
    return mesh[list(MESH_TO_68)]


def mesh_masks(mesh: np.ndarray, size: int) -> Tensor:
    """Lip, skin and eye masks (3, size, size) in {0, 1} from a mesh (478, 2) as (x, y) crop pixels."""
    lips = _polygons(mesh, (LIPS,), size) & ~_polygons(mesh, (MOUTH,), size)
    skin = _polygons(mesh, (OVAL,), size) & ~_polygons(mesh, (LIPS, *EYES, *BROWS), size)
    return with_eyes(lips, skin, landmarks_68(mesh)[:, ::-1])


def region_masks(parse_map: np.ndarray, landmarks: Tensor, order: str = "published") -> Tensor:
    """Lip, skin and eye masks (3, H, W) from a parse map (H, W) and 68 landmarks (y, x).

    Published preprocessing: the eye region is what lies in rectangles around points 36-41 and 42-47,
    grown by 16 px at 256 px, and is skin; it is taken out of the skin mask.
    Raises ValueError for a map that is not (H, W) and for an unknown order of classes.
    """
    if order not in PARSE_ORDERS or parse_map.ndim != 2:
        known = ", ".join(PARSE_ORDERS)
        raise ValueError(f"expected a map (H, W) in an order of {known}; got {parse_map.shape} in order {order!r}")
    lips, skin = (np.isin(parse_map, classes) for classes in PARSE_ORDERS[order])
    return with_eyes(lips, skin, np.asarray(landmarks))


def with_eyes(lips: np.ndarray, skin: np.ndarray, landmarks: np.ndarray) -> Tensor:
    """Masks (3, H, W) of lips, skin and eyes from bool (H, W) of lips and all skin, and 68 landmarks (y, x)."""
    eyes, grow = np.zeros_like(skin), EYE_MARGIN * len(skin)
    for corner in (landmarks[36:42], landmarks[42:48]):
        (top, left), (bottom, right) = np.rint(corner.min(0) - grow), np.rint(corner.max(0) + grow)
        eyes[max(int(top), 0) : max(int(bottom) + 1, 0), max(int(left), 0) : max(int(right) + 1, 0)] = True
    return torch.from_numpy(np.stack([lips, skin & ~eyes, skin & eyes]).astype(np.float32))


def _polygons(points: np.ndarray, outlines: tuple[tuple[int, ...], ...], size: int) -> np.ndarray:
    canvas = Image.new("1", (size, size))
    for outline in outlines:
        ImageDraw.Draw(canvas).polygon([tuple(points[i]) for i in outline], fill=1)
    return np.asarray(canvas)
