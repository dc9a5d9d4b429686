"""Every face of a photo, by mediapipe: candidates from the whole photo and from tiles, each looked at twice.

What a detector takes for a face on first sight may be an ear, and a face that lies on its side gets a poor mesh.
So each candidate is cut out upright and looked at again, until two looks agree. An ear is not found again in its
own upright crop; a real face is, and its mesh then no longer depends on how the photo was held.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from amtgan_lib.faces.crops import FaceCrop, FaceError, crop_face, frame
from amtgan_lib.faces.regions import bounding_box, eye_distance, five_points, overlap
from amtgan_lib.faces.warps import apply, sample
from amtgan_lib.images import Photo, open_photo

SMALLEST_EYE_DISTANCE = 8.0  # pixels; below it neither a recogniser nor a generator has anything to work with
LOOK_SIZE = 256  # pixels of the upright crop for the second look
LOOKS = 4
AGREEMENT = 0.1  # two looks agree when the five points moved by less than this share of the eye distance
# Detector score in the upright crop that leaves no doubt. Of 66 photographs turned upside down, 34 gave a "face" with
# eyes for a mouth, scored up to 0.80; of 753 upright ones 6 score below 0.85 and are only looked at longer.
UPRIGHT_SCORE = 0.85
# Two boxes that overlap by more are of one face. A face taken upside down for a face overlaps itself by 0.41 or more.
ONE_FACE = 0.3
DETECTOR_SIDE = 1280  # photos with a longer side are searched in overlapping tiles as well
MESH_SIDE = 640
LEAST_SIDE = 192  # smaller pictures are enlarged for the detectors


@dataclass(frozen=True)
class SmallFace:
    """A face too small to be changed: its box (x0, y0, x1, y1) and the distance of its eyes, in photo pixels."""

    box: tuple[float, float, float, float]
    eye_distance: float

    @property
    def reason(self) -> str:
        """Why it cannot be changed, in words."""
        # Cut off, not rounded: 7.9 px are not the 8 that are needed.
        eyes, least = int(self.eye_distance), SMALLEST_EYE_DISTANCE
        return f"too small to change: {eyes} px between the eyes, at least {least:.0f} are needed"

    def __str__(self) -> str:
        x0, y0, x1, y1 = map(round, self.box)
        return f"the face of {x1 - x0} x {y1 - y0} px at ({x0}, {y0}) is {self.reason}"


@dataclass(frozen=True, eq=False)
class _Face:
    """A confirmed face: its mesh (478, 2) as (x, y) photo pixels, and the detector's score in the upright crop."""

    mesh: np.ndarray
    score: float

    @property
    def box(self) -> np.ndarray:
        return np.concatenate([self.mesh.min(0), self.mesh.max(0)])


def detect(photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256) -> list[FaceCrop]:
    """Every usable face of a photo, largest first, as crops of ``size`` pixels; an empty list where there is none.

    Faces that are too small beside these are left out without a word: whoever must not miss one takes
    :func:`detect_all`, which raises the same errors.
    """
    return detect_all(photo, size)[0]


def detect_all(
    photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256
) -> tuple[list[FaceCrop], list[SmallFace]]:
    """Every face of a photo: the usable ones, largest first, as crops of ``size`` pixels, and those too small.

    Raises PhotoError for what is not a readable photo, FaceError for faces too small to work with
    when no other face is usable.
    """
    photo = open_photo(photo)
    found = meshes(photo)
    usable = [mesh for mesh in found if large_enough(mesh)]
    if found and not usable:
        raise FaceError(f"{photo.name}: the face is too small (eyes less than {SMALLEST_EYE_DISTANCE:.0f} px apart)")
    crops = [crop_face(photo, mesh, size) for mesh in usable]
    small = [SmallFace(bounding_box(mesh), eye_distance(mesh)) for mesh in found if not large_enough(mesh)]
    return sorted(crops, key=lambda crop: -crop.scale), small


def large_enough(mesh: np.ndarray) -> bool:
    """Whether the face of a mesh (478, 2) in photo pixels can be changed."""
    return eye_distance(mesh) >= SMALLEST_EYE_DISTANCE


def meshes(photo: Photo) -> list[np.ndarray]:
    """The mesh (478, 2) as (x, y) photo pixels of every face, however small: what :func:`crop_face` cuts out."""
    return [face.mesh for face in _faces(photo.rgb)]


def detect_one(photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256) -> FaceCrop:
    """The largest face of a photo, or FaceError."""
    photo = open_photo(photo)
    crops = detect(photo, size)
    if not crops:
        raise FaceError(f"{photo.name}: no face was found")
    return crops[0]


def _faces(rgb: np.ndarray) -> list[_Face]:
    """The faces of a photo, whichever way up: it is also searched turned by a half and by quarters.

    Faces that are convincing already are skipped there; a doubtful one is compared with what the turned photo shows.
    """
    found = _upright_faces(rgb)
    for turns in (2, 1, 3):
        sure = [face for face in found if face.score >= UPRIGHT_SCORE]
        known = [_Face(_turned(face.mesh, turns, rgb.shape), face.score) for face in sure]
        turned = _upright_faces(np.ascontiguousarray(np.rot90(rgb, turns)), known)
        found = _merged(found + [_Face(_turned_back(face.mesh, turns, rgb.shape), face.score) for face in turned])
    return found


def _merged(found: list[_Face]) -> list[_Face]:
    """Each face once, the way up in which it scores best: people in one photo may lie different ways."""
    kept: list[_Face] = []
    for face in sorted(found, key=lambda face: -face.score):
        if not _known(face.box, kept):
            kept.append(face)
    return kept


def _turned(mesh: np.ndarray, turns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Points of a photo with this shape (H, W, 3) where ``np.rot90(photo, turns)`` has them."""
    height, width = shape[:2] if turns == 2 else shape[1::-1]
    return _turned_back(mesh, 4 - turns, (height, width))


def _turned_back(mesh: np.ndarray, turns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Points found in ``np.rot90(photo, turns)`` as points of the photo with this shape (H, W, 3)."""
    last_x, last_y = shape[1] - 1, shape[0] - 1
    x, y = mesh.T
    return np.stack({1: (last_x - y, x), 2: (last_x - x, last_y - y), 3: (y, last_y - x)}[turns], axis=1)


def _upright_faces(rgb: np.ndarray, known: Sequence[_Face] = ()) -> list[_Face]:
    """The faces that a photo shows the way up it is held, without those ``known``."""
    found: list[_Face] = []
    for box in _boxes(rgb):
        if _known(box, [*known, *found]):
            continue
        mesh = _mesh(rgb, box)
        face = None if mesh is None else _confirmed(rgb, mesh)
        # Another box may lead to a face that is known already.
        if face is not None and not _known(face.box, [*known, *found]):
            found.append(face)
    return found


def _known(box: np.ndarray, found: list[_Face]) -> bool:
    """Whether a box (x0, y0, x1, y1) is of a face that was found already."""
    return any(overlap(box, face.box) > ONE_FACE for face in found)


def _confirmed(rgb: np.ndarray, mesh: np.ndarray) -> _Face | None:
    """The face as its own upright crop shows it, once two looks agree; None where the crop shows none."""
    for _ in range(LOOKS):
        if eye_distance(mesh) < 1:
            return None
        matrix = frame(mesh, LOOK_SIZE)
        crop = sample(rgb, matrix, LOOK_SIZE)
        again = _run_mesh(_solutions().second_look, crop)
        if again is None:
            return None
        again = apply(matrix, again)
        moved = np.linalg.norm(five_points(again) - five_points(mesh), axis=1).mean()
        mesh = again
        if moved < AGREEMENT * eye_distance(mesh):
            return _Face(mesh, max((score for _, score in _detections(_solutions().near, crop)), default=0.0))
    return None


def _boxes(rgb: np.ndarray) -> list[np.ndarray]:
    """Candidate boxes (x0, y0, x1, y1) in photo pixels, the best first.

    From the whole photo and, if it is large, from tiles. The whole photo is a candidate itself: the mesh network
    has a detector of its own.
    """
    height, width = rgb.shape[:2]
    found = []
    for x0, y0, side_x, side_y in _tiles(width, height):
        tile = _sized(rgb[y0 : y0 + side_y, x0 : x0 + side_x], DETECTOR_SIDE)
        for detector in (_solutions().near, _solutions().far):
            found += [
                (score, box * (side_x, side_y, side_x, side_y) + (x0, y0, x0, y0))
                for box, score in _detections(detector, tile)
            ]
    whole = [np.array([0, 0, width, height], float)] if max(width, height) <= 2 * min(width, height) else []
    return whole + [box for _, box in sorted(found, key=lambda pair: -pair[0])]


def _tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The whole photo and, where it is large, overlapping squares (x, y, width, height)."""
    tiles = [(0, 0, width, height)]
    side = DETECTOR_SIDE // 2
    if max(width, height) > DETECTOR_SIDE:
        step = side * 2 // 3
        for y in range(0, max(height - side // 3, 1), step):
            columns = range(0, max(width - side // 3, 1), step)
            tiles += [(x, y, min(side, width - x), min(side, height - y)) for x in columns]
    return tiles


def _mesh(rgb: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The mesh (478, 2) as (x, y) photo pixels of the face in ``box``, or None."""
    height, width = rgb.shape[:2]
    centre, side = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) * 1.8
    x0, y0 = np.maximum(centre - side / 2, 0).astype(int)
    x1, y1 = np.minimum(centre + side / 2, (width, height)).astype(int)
    if x1 - x0 < 16 or y1 - y0 < 16:
        return None
    points = _run_mesh(_solutions().first_look, _sized(rgb[y0:y1, x0:x1], MESH_SIDE), (x1 - x0, y1 - y0))
    return None if points is None else points + np.array([x0, y0])


def _sized(rgb: np.ndarray, most: int) -> np.ndarray:
    """The picture shrunk to ``most`` pixels a side, or enlarged to LEAST_SIDE where that keeps it below."""
    height, width = rgb.shape[:2]
    factor = min(most / max(width, height), max(1.0, LEAST_SIDE / min(width, height)))
    if factor == 1:
        return np.ascontiguousarray(rgb)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


# ---------------------------------------------------------------- mediapipe


@dataclass(frozen=True)
class _Solutions:
    near: Any  # detector of faces within two metres
    far: Any  # within five metres
    first_look: Any  # mesh of one face
    second_look: Any


_LOCK = threading.Lock()  # mediapipe's solutions are not thread-safe


def _solutions() -> _Solutions:
    with _LOCK:
        return _started()


@functools.lru_cache(maxsize=1)
def _started() -> _Solutions:
    with _quiet():
        try:
            from mediapipe.python.solutions import face_detection, face_mesh
        except ImportError as error:
            raise FaceError(f"finding faces needs mediapipe: pip install 'amtgan-lib[faces]' ({error})") from None
        near, far = (face_detection.FaceDetection(0.5, model_selection=selection) for selection in (0, 1))
        meshes = (
            face_mesh.FaceMesh(
                static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=confidence
            )
            for confidence in (0.3, 0.5)
        )
        solutions = _Solutions(near, far, *meshes)
        blank = np.zeros((LEAST_SIDE, LEAST_SIDE, 3), np.uint8)
        for solution in vars(solutions).values():  # the first picture, too, makes it talk
            solution.process(blank)
    # Raised inside mediapipe at every first result; nothing that a user of ours can do about it.
    warnings.filterwarnings("ignore", r"SymbolDatabase\.GetPrototype", UserWarning)
    return solutions


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep mediapipe's C++ start-up messages off stderr; its errors are raised as exceptions all the same."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(null)
        os.close(saved)


def _detections(detector: Any, rgb: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Boxes (x0, y0, x1, y1) as shares of the picture's sides, and scores."""
    with _LOCK:
        result = detector.process(rgb)
    found = []
    for detection in result.detections or ():
        box = detection.location_data.relative_bounding_box
        corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
        found.append((corners, float(detection.score[0])))
    return found


def _run_mesh(solution: Any, rgb: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray | None:
    """The mesh (478, 2) as (x, y) pixels of a picture, or of the picture of this size that it stands for."""
    with _LOCK:
        result = solution.process(rgb)
    if not result.multi_face_landmarks:
        return None
    points = np.array([(point.x, point.y) for point in result.multi_face_landmarks[0].landmark])
    return points * (size or rgb.shape[1::-1]) - 0.5  # pixel centres at integers
