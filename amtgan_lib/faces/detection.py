"""Every face of a photo, by mediapipe: candidates from the whole photo and from tiles, each looked at twice.

What a detector takes for a face on first sight may be an ear, and a face that lies on its side gets a poor mesh.
So each candidate is cut out upright and looked at again, until two looks agree. An ear is not found again in its
own upright crop; a real face is, and its mesh then no longer depends on how the photo was held.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from amtgan_lib.faces import mtcnn
from amtgan_lib.faces.crops import FaceCrop, FaceError, crop_face, frame
from amtgan_lib.faces.left import SMALLEST_EYE_DISTANCE, Box, DoubtfulFace, SmallFace
from amtgan_lib.faces.regions import bounding_box, eye_distance, five_points, overlap
from amtgan_lib.faces.solutions import detections as _detections
from amtgan_lib.faces.solutions import run_mesh as _run_mesh
from amtgan_lib.faces.solutions import solutions as _solutions
from amtgan_lib.faces.tiles import Tile, sized, tiles
from amtgan_lib.faces.turns import LOOK_SIZE, Found, turned, turned_back, ways_decided
from amtgan_lib.faces.warps import apply, sample
from amtgan_lib.images import Photo, open_photo

LOOKS = 4
AGREEMENT = 0.1  # two looks agree when the five points moved by less than this share of the eye distance
# Detector score in the upright crop that leaves no doubt. Of 66 photographs turned upside down, 34 gave a "face" with
# eyes for a mouth, scored up to 0.80; of 753 upright ones 6 score below 0.85 and are only looked at longer.
UPRIGHT_SCORE = 0.85
# Two boxes that overlap by more are of one face. A face taken upside down for a face overlaps itself by 0.41 or more.
ONE_FACE = 0.3
# A box of the second detector that overlaps a face by more is of it. Of 71 on faces that were found, one overlaps by
# 0.46 and all others by 0.61 or more. Where a face hid half of another, theirs overlapped by 0.32; where it hides more
# of it, the two cannot be told apart.
ONE_SIGHTING = 0.4
# A face that is sought in a box overlaps it by more: boxes drawn by hand hold all of the head, or the eyes alone.
SOUGHT_OVERLAP = 0.15
CLOSE_AND_FAR = (1.5, 1.0, 2.5)  # of a box: the squares around it that are looked at
CUT_MIDDLE = 0.1  # of a box: how far beyond the border the middle of a face may lie that the border cuts
# The score from which the second detector's word alone makes a photo one to be looked at. From 0.9 on, few hidden faces
# more would be seen, but an ear in 1 of 70 portraits and an engine in 1 of 52 pictures without people, too.
SECOND_SCORE = 0.95
TURNED_SIDE = 700  # pixels: larger photos are shrunk to it for the second detector where they are turned, to save time
DETECTOR_SIDE = 1280  # pixels: larger pictures are shrunk to it for the detectors
MESH_SIDE = 640
GROUNDS = (0, 255)  # greys of a background before which what is transparent is looked at
EVERY_WAY = (2, 1, 3)  # quarter turns, the half turn first: few faces that lie another way need more


def detect(
    photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256, every_way: bool = True
) -> list[FaceCrop]:
    """Every usable face of a photo, largest first, as crops of ``size`` pixels; an empty list where there is none.

    Faces that are too small beside these are left out without a word: whoever must not miss one takes
    :func:`detect_all`, which raises the same errors. ``every_way`` False: a photo with a convincing upright face is not
    searched for others that lie another way, which takes some three times as long again.
    """
    photo = open_photo(photo)
    return _cut_out(photo, [face.mesh for face in _faces(photo.rgb, EVERY_WAY if every_way else ())], size)[0]


def detect_all(
    photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256, added: Sequence[Box] = ()
) -> tuple[list[FaceCrop], list[SmallFace | DoubtfulFace]]:
    """Every face of a photo: the usable ones, largest first, as crops of ``size`` pixels, and those left as they are.

    Left are faces too small to be changed, and doubtful ones: what the second detector takes for a face (where its
    weights are at hand), or a box ``added`` by hand (x0, y0, x1, y1), in which no mesh is found.
    Raises PhotoError for what is not a readable photo, FaceError for faces too small to work with when no other face
    is usable, for a box beyond the photo, and for a face that only transparency shows: no change of colours hides it.
    """
    photo = open_photo(photo)
    _check_boxes(photo, added)
    faces = _faces(photo.rgb)
    faces += _cut_faces(photo.rgb, faces)
    empty = _completed(photo.rgb, faces, added, ONE_FACE)
    # Around one that was found anyway, by hand more widely than its own box is.
    marked = [box for box in empty if not any(_in_place(face, np.array(box)) for face in faces)]
    doubtful = [DoubtfulFace(box, by_hand=True) for box in marked]
    for seen in mtcnn.sightings(photo.rgb) if mtcnn.at_hand() else ():
        box = tuple(seen.box.tolist())
        doubted = any(overlap(box, face.box) > ONE_FACE for face in doubtful)
        if not doubted and _completed(photo.rgb, faces, [box], ONE_SIGHTING):
            doubtful += [DoubtfulFace(box)] if seen.score >= SECOND_SCORE and not _part(box, faces) else []
    _completed(photo.rgb, faces, _seen_turned(photo.rgb) if mtcnn.at_hand() else (), ONE_SIGHTING)
    _check_transparency(photo, faces)
    crops, small = _cut_out(photo, [face.mesh for face in faces], size)
    return crops, [*small, *doubtful]


def _seen_turned(rgb: np.ndarray) -> Iterator[Box]:
    """Boxes of the photo in which the second detector is sure of a face that lies another way.

    Only a mesh makes a face of them: parts of upright faces, turned, look like faces to it, too.
    """
    for turns in EVERY_WAY:
        for seen in mtcnn.sightings(np.ascontiguousarray(np.rot90(rgb, turns)), TURNED_SIDE):
            if seen.score >= SECOND_SCORE:
                corners = turned_back(seen.box.reshape(2, 2), turns, rgb.shape)
                yield (*corners.min(0).tolist(), *corners.max(0).tolist())


def _cut_out(photo: Photo, shapes: list[np.ndarray], size: int) -> tuple[list[FaceCrop], list[SmallFace]]:
    usable = [mesh for mesh in shapes if large_enough(mesh)]
    if shapes and not usable:
        raise FaceError(f"{photo.name}: the face is too small (eyes less than {SMALLEST_EYE_DISTANCE:.0f} px apart)")
    crops = [crop_face(photo, mesh, size) for mesh in usable]
    small = [SmallFace(bounding_box(mesh), eye_distance(mesh)) for mesh in shapes if not large_enough(mesh)]
    return sorted(crops, key=lambda crop: -crop.scale), small


def _check_boxes(photo: Photo, added: Sequence[Box]) -> None:
    width, height = photo.size
    for x0, y0, x1, y1 in added:
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
            raise FaceError(
                f"{photo.name}: the box {x0:g},{y0:g},{x1:g},{y1:g} is not in the photo of {width} x {height} pixels; "
                "expected its left, top, right and bottom edge"
            )


def _check_transparency(photo: Photo, faces: list[Found]) -> None:
    """Refuse a photo that shows faces which its colours alone do not show, over a dark or a light background."""
    for level in GROUNDS if photo.transparent else ():
        others = [face.box for face in _faces(photo.over(level)) if not _known(face.box, faces)]
        if others:
            x0, y0, x1, y1 = others[0].round().astype(int)
            raise FaceError(
                f"{photo.name}: only its transparency shows a face of {x1 - x0} x {y1 - y0} px at ({x0}, {y0}): "
                "save it without transparency, and protect that"
            )


def large_enough(mesh: np.ndarray) -> bool:
    """Whether the face of a mesh (478, 2) in photo pixels can be changed."""
    return eye_distance(mesh) >= SMALLEST_EYE_DISTANCE


def meshes(photo: Photo) -> list[np.ndarray]:
    """The mesh (478, 2) as (x, y) photo pixels of every face, however small: what :func:`crop_face` cuts out.

    For the many frames of a video: small faces that lie on their side beside an upright one are not sought.
    """
    return [face.mesh for face in _faces(photo.rgb, (2,))]


def detect_one(photo: str | os.PathLike | Image.Image | np.ndarray | Photo, size: int = 256) -> FaceCrop:
    """The largest face of a photo, an upright one if there is one, or FaceError."""
    photo = open_photo(photo)
    crops = detect(photo, size, every_way=False)
    if not crops:
        raise FaceError(f"{photo.name}: no face was found")
    return crops[0]


def _faces(rgb: np.ndarray, ways: Sequence[int] = EVERY_WAY) -> list[Found]:
    """The faces of a photo, whichever way up: turned by ``ways`` and, without a convincing face, by every quarter.

    Upright and turned by a half, large faces are found up to a right angle, but small ones that lie on their side are
    not. Those that are convincing already are skipped; a doubtful one is compared with what the turned photo shows.
    """
    faces = _upright_faces(rgb)
    for turns in EVERY_WAY:
        sure = [face for face in faces if face.score >= UPRIGHT_SCORE]
        if sure and turns not in ways:
            break
        known = [Found(turned(face.mesh, turns, rgb.shape), face.score) for face in sure]
        others = _upright_faces(np.ascontiguousarray(np.rot90(rgb, turns)), known)
        faces += [Found(turned_back(face.mesh, turns, rgb.shape), face.score) for face in others]
        faces = _merged(ways_decided(rgb, faces))
    return faces


def _completed(rgb: np.ndarray, faces: list[Found], boxes: Iterable[Box], known: float) -> list[Box]:
    """Add to ``faces`` those in further boxes; returns the boxes in which there is no other to be found.

    known: a box that overlaps a face by more is of it.
    """
    empty = []
    for box in boxes:
        if any(overlap(box, face.box) > known for face in faces):
            continue
        face = _sought(rgb, np.array(box, float), faces)
        if face is None:
            empty.append(box)
        else:
            faces.append(face)
    return empty


def _sought(rgb: np.ndarray, box: np.ndarray, known: list[Found]) -> Found | None:
    """The face in a box that is not ``known``, looked at from close and from afar, and turned by eighths; else None."""
    centre, side, best = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]), None
    for wide, eighths in itertools.product(CLOSE_AND_FAR, (0, 4, 2, 6, 1, 7, 3, 5)):
        matrix = _view(centre, side * wide, eighths * np.pi / 4)
        mesh = _run_mesh(_solutions().first_look, sample(rgb, matrix, LOOK_SIZE))
        face = None if mesh is None else _confirmed(rgb, apply(matrix, mesh))
        if face is None or not _in_place(face, box) or _known(face.box, known):
            continue
        if face.score >= UPRIGHT_SCORE:
            return face
        best = face if best is None or face.score > best.score else best
    return best


def _view(centre: np.ndarray, side: float, angle: float) -> np.ndarray:
    """The matrix (2, 3) from a crop of LOOK_SIZE pixels to a square of the photo, turned around its centre."""
    scale = side / LOOK_SIZE
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, centre - turn @ np.full(2, (LOOK_SIZE - 1) / 2)])


def _in_place(face: Found, box: np.ndarray) -> bool:
    """Whether a face lies in a box and is of its size, not a neighbour's."""
    middle = five_points(face.mesh).mean(0)
    return bool((box[:2] <= middle).all() and (middle <= box[2:]).all()) and overlap(face.box, box) > SOUGHT_OVERLAP


def _part(box: Box, faces: list[Found]) -> bool:
    """Whether a box is around a part of a face that was found: its middle lies in the face, which is larger."""
    low, high = np.array(box[:2]), np.array(box[2:])
    middle, area = (low + high) / 2, np.prod(high - low)
    larger = [face.box for face in faces if np.prod(face.box[2:] - face.box[:2]) > area]
    return any((face[:2] <= middle).all() and (middle <= face[2:]).all() for face in larger)


def _merged(faces: list[Found]) -> list[Found]:
    """Each face once, the way up in which it scores best: people in one photo may lie different ways."""
    kept: list[Found] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not _known(face.box, kept):
            kept.append(face)
    return kept


def _upright_faces(
    rgb: np.ndarray,
    known: Sequence[Found] = (),
    wanted: Callable[[np.ndarray], bool] = lambda box: True,
    searched: Callable[[Tile], bool] = lambda tile: True,
) -> list[Found]:
    """The faces that ``searched`` tiles show the way up a photo is held: not ``known``, their boxes ``wanted``."""
    faces: list[Found] = []
    for box in _boxes(rgb, searched):
        if not wanted(box) or _known(box, [*known, *faces]):
            continue
        mesh = _mesh(rgb, box)
        # Another box may lead to a face that is known already.
        if mesh is None or _known(bounding_box(mesh), [*known, *faces]):
            continue
        face = _confirmed(rgb, mesh)
        if face is not None and wanted(face.box) and not _known(face.box, [*known, *faces]):
            faces.append(face)
    return faces


def _cut_faces(rgb: np.ndarray, whole: list[Found]) -> list[Found]:
    """Faces cut by the border that are not ``whole``, and so found already.

    The second detector is not asked here: it takes ears beside their mirror images for faces.
    """
    # Not smaller than it must be to be searched in a few tiles: in a panorama faces are small beside its length.
    small = sized(rgb, round(DETECTOR_SIDE * max(rgb.shape[:2]) / min(rgb.shape[:2])))
    pad, scale = min(small.shape[:2]) // 2, small.shape[1] / rgb.shape[1]
    # Continued by its mirror images, in which a face that the border cuts in half is whole, and is found.
    picture = np.pad(small, ((pad, pad), (pad, pad), (0, 0)), "symmetric")
    width, height = (side * scale for side in rgb.shape[1::-1])

    def cut(box: np.ndarray) -> bool:
        low, high = box[:2] - pad, box[2:] - pad
        middle, more = (low + high) / 2, CUT_MIDDLE * (high - low)
        within = (middle >= -more).all() and (middle - more <= (width, height)).all()
        return bool(within and ((low < 0).any() or (high > (width, height)).any()))

    def across(tile: Tile) -> bool:
        """Whether a tile holds some of the border: others lie within the photo or within its mirror images."""
        low, high = np.array(tile[:2]) - pad, np.add(tile[:2], tile[2:]) - pad
        meets = (low < (width, height)).all() and (high > 0).all()
        return bool(meets and not ((low >= 0).all() and (high <= (width, height)).all()))

    known = [Found((face.mesh + 0.5) * scale - 0.5 + pad, face.score) for face in whole]
    faces = _upright_faces(picture, known, cut, across)
    return [Found((face.mesh - pad + 0.5) / scale - 0.5, face.score) for face in faces]


def _known(box: Sequence[float], faces: list[Found]) -> bool:
    """Whether a box (x0, y0, x1, y1) is of a face that was found already."""
    return any(overlap(box, face.box) > ONE_FACE for face in faces)


def _confirmed(rgb: np.ndarray, mesh: np.ndarray) -> Found | None:
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
            return Found(mesh, max((score for _, score in _detections(_solutions().near, crop)), default=0.0))
    return None


def _boxes(rgb: np.ndarray, searched: Callable[[Tile], bool]) -> list[np.ndarray]:
    """Candidate boxes (x0, y0, x1, y1) in photo pixels, the best first.

    From the whole photo and, if it is large, from the ``searched`` among its tiles. The whole photo is a candidate
    itself: the mesh network has a detector of its own.
    """
    height, width = rgb.shape[:2]
    scored = []
    for x0, y0, side_x, side_y in filter(searched, tiles(width, height)):
        tile = sized(rgb[y0 : y0 + side_y, x0 : x0 + side_x], DETECTOR_SIDE)
        for detector in (_solutions().near, _solutions().far):
            scored += [
                (score, box * (side_x, side_y, side_x, side_y) + (x0, y0, x0, y0))
                for box, score in _detections(detector, tile)
            ]
    whole = [np.array([0, 0, width, height], float)] if max(width, height) <= 2 * min(width, height) else []
    return whole + [box for _, box in sorted(scored, key=lambda pair: -pair[0])]


def _mesh(rgb: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """The mesh (478, 2) as (x, y) photo pixels of the face in ``box``, or None."""
    height, width = rgb.shape[:2]
    centre, side = (box[:2] + box[2:]) / 2, max(box[2:] - box[:2]) * 1.8
    x0, y0 = np.maximum(centre - side / 2, 0).astype(int)
    x1, y1 = np.minimum(centre + side / 2, (width, height)).astype(int)
    if x1 - x0 < 16 or y1 - y0 < 16:
        return None
    points = _run_mesh(_solutions().first_look, sized(rgb[y0:y1, x0:x1], MESH_SIDE), (x1 - x0, y1 - y0))
    return None if points is None else points + np.array([x0, y0])
