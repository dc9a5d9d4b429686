"""mediapipe's detectors and landmark mesh: started once, silent, asked by one thread at a time."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from amtgan_lib.faces.crops import FaceError

# Raised inside mediapipe at first results; nothing that a user of ours can do about it. Ignored from the import on,
# since a filter that is set inside somebody's `catch_warnings` ends with it.
warnings.filterwarnings("ignore", r"SymbolDatabase\.GetPrototype", UserWarning)


@dataclass(frozen=True)
class Solutions:
    """The networks in use."""

    near: Any  # detector of faces within two metres
    far: Any  # within five metres
    first_look: Any  # mesh of one face
    second_look: Any


_LOCK = threading.Lock()  # mediapipe's solutions are not thread-safe


def solutions() -> Solutions:
    """mediapipe's networks, started once. Raises FaceError where mediapipe is not installed."""
    with _LOCK:
        return started()


@functools.lru_cache(maxsize=1)
def started() -> Solutions:
    """The networks of :func:`solutions`, which waits until nobody else asks."""
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
        ready = Solutions(near, far, *meshes)
        blank = np.zeros((192, 192, 3), np.uint8)
        for solution in vars(ready).values():  # the first picture, too, makes it talk
            solution.process(blank)
    return ready


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


def detections(detector: Any, rgb: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Boxes (x0, y0, x1, y1) as shares of the picture's sides, and scores."""
    with _LOCK:
        result = detector.process(rgb)
    boxes = []
    for detection in result.detections or ():
        box = detection.location_data.relative_bounding_box
        corners = np.array([box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
        boxes.append((corners, float(detection.score[0])))
    return boxes


def run_mesh(solution: Any, rgb: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray | None:
    """The mesh (478, 2) as (x, y) pixels of a picture, or of the picture of this size that it stands for."""
    with _LOCK:
        result = solution.process(rgb)
    if not result.multi_face_landmarks:
        return None
    points = np.array([(point.x, point.y) for point in result.multi_face_landmarks[0].landmark])
    return points * (size or rgb.shape[1::-1]) - 0.5  # pixel centres at integers
