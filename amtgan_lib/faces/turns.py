"""Which way up a face lies: found faces in photos that were turned, and faces that were taken upside down."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from amtgan_lib.faces import mtcnn
from amtgan_lib.faces.crops import frame
from amtgan_lib.faces.regions import bounding_box, eye_distance, five_points
from amtgan_lib.faces.warps import sample

LOOK_SIZE = 256  # pixels of the upright crop for the second look
FOREHEAD, CHIN = 10, 152  # vertices of the mesh
# Two faces in one place, the one with its eyes where the other has them, but the other way up: nearer than this share
# of the eye distance, one of them is a mistake. A face in a mask may score better upside down, with hair for a mouth:
# on 60 faces that were given masks by up to 0.18, while faces that do lie upside down lead by 0.20 or more.
SAME_EYES, LEAD = 0.15, 0.19


@dataclass(frozen=True, eq=False)
class Found:
    """A confirmed face: its mesh (478, 2) as (x, y) photo pixels, and the detector's score in the upright crop."""

    mesh: np.ndarray
    score: float

    @property
    def box(self) -> np.ndarray:
        """(x0, y0, x1, y1) in photo pixels."""
        return np.array(bounding_box(self.mesh))


def turned(mesh: np.ndarray, turns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Points of a photo with this shape (H, W, 3) where ``np.rot90(photo, turns)`` has them."""
    height, width = shape[:2] if turns == 2 else shape[1::-1]
    return turned_back(mesh, 4 - turns, (height, width))


def turned_back(mesh: np.ndarray, turns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Points found in ``np.rot90(photo, turns)`` as points of the photo with this shape (H, W, 3)."""
    last_x, last_y = shape[1] - 1, shape[0] - 1
    x, y = mesh.T
    return np.stack({1: (last_x - y, x), 2: (last_x - x, last_y - y), 3: (y, last_y - x)}[turns], axis=1)


def ways_decided(rgb: np.ndarray, faces: list[Found]) -> list[Found]:
    """The faces without those that are others taken upside down."""
    wrong = [_wrong_way(rgb, one, other) for one, other in itertools.combinations(faces, 2) if _turned_over(one, other)]
    return [face for face in faces if not any(face is each for each in wrong)]


def _turned_over(one: Found, other: Found) -> bool:
    """Whether two faces have their eyes in the same places, but the left one where the other has its right one."""
    left, right = (five_points(face.mesh)[:2] for face in (one, other))
    return bool(np.linalg.norm(left - right[::-1], axis=1).mean() < SAME_EYES * eye_distance(one.mesh))


def _wrong_way(rgb: np.ndarray, one: Found, other: Found) -> Found:
    """The one of two faces, the other way up each, that is a mistake; ``one`` was found first."""
    if mtcnn.at_hand():  # it finds upright faces alone, also in masks
        first, second = (_second_score(rgb, face) for face in (one, other))
        if first != second:
            return one if second > first else other
    held = one.mesh[CHIN][1] > one.mesh[FOREHEAD][1]  # as the photo is: few lie upside down
    return one if other.score - one.score > (LEAD if held else 0) else other


def _second_score(rgb: np.ndarray, face: Found) -> float:
    """How sure the second detector is of a face in its own upright crop; 0 where it sees none."""
    crop = sample(rgb, frame(face.mesh, LOOK_SIZE), LOOK_SIZE)
    return max((seen.score for seen in mtcnn.sightings(crop)), default=0.0)
