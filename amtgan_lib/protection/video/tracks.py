"""Faces through time: which sightings are one face, where it is calmly, and in which frames it is missed.

All of it looks at the whole clip at once, backwards as well as forwards: a face that turns to the camera in the third
second was there in the second.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from amtgan_lib.faces import bounding_box, frame, large_enough

# In widths of the face: how far a face may be from where it was last seen and still be the same, at once and for each
# second in between; half as much is covered around a lost one.
NEAR, SPEED = 0.5, 3.0
SIZES = 2.0  # and how much larger or smaller
# A face of so few sightings may be a mistake of the detector, and one last seen this near the picture's border (in its
# own widths) may have left: both are missed for these seconds only, any other face until its shot ends.
FEW, BORDER, GRACE = 5, 0.15, 1.0
CUT = 30.0  # mean difference of two thumbnails, in 8-bit levels, at which a new shot begins
CALM = 0.05  # seconds, the spread of the weights that smooth a face's places
JUMP = 0.3  # in widths of the face: so far from the middle of its places before and after, it may be another thing
TOLERANCE = 0.015  # share of the face's size that smoothing may move it: more is motion, and no jitter


@dataclass(frozen=True, eq=False)
class Glance:
    """One frame as tracking sees it: its time in seconds, its faces' meshes (478, 2), a thumbnail (h, w, 3) uint8."""

    time: float
    meshes: list[np.ndarray]
    thumbnail: np.ndarray


@dataclass(eq=False)
class Track:
    """One face of one shot: the frames in which it was seen, and its mesh (478, 2) in each, however small.

    jumps: the frames in which it was seen far from the middle of its places before and after.
    """

    shot: range
    meshes: dict[int, np.ndarray] = field(default_factory=dict)
    keys: list[int] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """The frame in which it was first seen."""
        return next(iter(self.meshes))

    @property
    def last(self) -> int:
        """The frame in which it was last seen."""
        return next(reversed(self.meshes))

    def usable(self, number: int) -> bool:
        """Whether it was seen in a frame, and large enough to be changed."""
        return number in self.meshes and large_enough(self.meshes[number])

    @property
    def too_small(self) -> list[int]:
        """The frames in which it was seen, and too small to be changed."""
        return [number for number in self.meshes if not self.usable(number)]

    def around(self, number: int) -> list[int]:
        """The frames of its sightings next to a frame: itself, or those before, after or both."""
        if number in self.meshes:
            return [number]
        seen = np.array(list(self.meshes))
        where = int(np.searchsorted(seen, number))
        return [int(number) for number in seen[max(where - 1, 0) : where + 1]]


def track(glances: Sequence[Glance]) -> list[Track]:
    """The faces of a clip, their meshes smoothed and no key frames chosen yet."""
    faces: list[Track] = []
    for shot in shots(glances):
        here: list[Track] = []
        for number in shot:
            _continue(here, shot, number, glances)
        faces += here
    for face in faces:
        face.jumps = _jumps(face)
        _calm(face, [glance.time for glance in glances])
    return faces


def shots(glances: Sequence[Glance]) -> list[range]:
    """The frames between cuts. A picture that comes back at once, as after a flash, is no cut."""
    starts, last = [0], len(glances) - 1
    for number in range(1, len(glances)):
        pairs = ((number - 1, number), (number - 1, min(number + 2, last)), (max(number - 3, 0), number))
        if min(_difference(glances[one], glances[other]) for one, other in pairs) > CUT:
            starts.append(number)
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(glances)])]


def _difference(one: Glance, other: Glance) -> float:
    return float(np.abs(one.thumbnail.astype(np.int16) - other.thumbnail).mean())


def _continue(tracks: list[Track], shot: range, number: int, glances: Sequence[Glance]) -> None:
    """Give each face of a frame to the track that it continues best, or to one of its own."""
    meshes = glances[number].meshes
    pairs = []
    for old in tracks:
        seconds = glances[number].time - glances[old.last].time
        for index, mesh in enumerate(meshes):
            distance, larger = _apart(old.meshes[old.last], mesh)
            if distance <= NEAR + SPEED * seconds and larger <= SIZES:
                pairs.append((distance, index, old))
    free, waiting = set(range(len(meshes))), list(tracks)
    for _, index, old in sorted(pairs, key=lambda pair: pair[0]):
        if index in free and old in waiting:
            old.meshes[number] = meshes[index]
            free.remove(index)
            waiting.remove(old)
    tracks += [Track(shot, {number: meshes[index]}) for index in sorted(free)]


def _apart(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Distance of two faces in widths of the larger one, and how many times larger that is."""
    small, large = sorted((width(one), width(other)))
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = bounding_box(one), bounding_box(other)
    distance = np.hypot(ax0 + ax1 - bx0 - bx1, ay0 + ay1 - by0 - by1) / 2
    return float(distance / large), float(large / small)


def width(mesh: np.ndarray) -> float:
    """The longer side of a mesh's box, at least a pixel."""
    x0, y0, x1, y1 = bounding_box(mesh)
    return float(max(x1 - x0, y1 - y0, 1))


# ---------------------------------------------------------------- where a face is, calmly


def runs(numbers: Sequence[int]) -> list[list[int]]:
    """Rows of frames on end."""
    parts = np.split(np.array(numbers, int), np.flatnonzero(np.diff(numbers) != 1) + 1)
    return [part.tolist() for part in parts if part.size]


def _jumps(face: Track) -> list[int]:
    """Found in a frame and both beside it, and not between those; also where it is much larger or smaller."""
    jumps = []
    for run in runs(list(face.meshes)):
        for before, number, after in zip(run, run[1:], run[2:]):
            middle = (face.meshes[before] + face.meshes[after]) / 2
            distance, larger = _apart(middle, face.meshes[number])
            if distance > JUMP or larger > 1 + JUMP:
                jumps.append(number)
    return jumps


def _calm(face: Track, times: Sequence[float]) -> None:
    """Smooth the meshes of each run of a track: a line through the neighbours in time, so steady motion stays."""
    for run in runs(list(face.meshes)):
        raw = np.stack([face.meshes[number] for number in run]).astype(np.float32)
        moments = np.array([times[number] for number in run])
        for index, number in enumerate(run):
            near = np.abs(moments - moments[index]) <= 3 * CALM
            lag = moments[near] - moments[index]
            weights = np.exp(-0.5 * (lag / CALM) ** 2)
            smooth = np.tensordot(_at_zero(lag, weights), raw[near], 1)
            moved = np.abs(smooth - raw[index]).mean() / width(raw[index])
            share = min(1.0, TOLERANCE / max(float(moved), 1e-9))
            face.meshes[number] = (raw[index] + share * (smooth - raw[index])).astype(np.float32)


def _at_zero(lag: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The coefficients (n,) whose sum with n values is what their weighted line is at lag 0."""
    total, first, second = (float((weights * lag**power).sum()) for power in (0, 1, 2))
    spread = total * second - first**2
    if spread < 1e-12:
        return weights / total
    return weights * (second - first * lag) / spread


def choose_keys(face: Track, times: Sequence[float], every: float, changed: float) -> None:
    """Choose key frames: both ends of a run, at most ``every`` seconds between, and wherever the face has changed.

    A run is of frames in which the face is large enough to be changed.
    changed: mean distance of the mesh to that of the last key, upright and in shares of the crop's side.
    """
    chosen: set[int] = set()
    for run in runs([number for number in face.meshes if face.usable(number)]):
        shapes = {number: _upright(face.meshes[number]) for number in run}
        key = run[0]
        chosen |= {run[0], run[-1]}
        for before, number in itertools.pairwise(run):
            if np.abs(shapes[number] - shapes[before]).mean() > changed:
                chosen |= {before, number}  # at once: nothing may be mixed across
                key = number
            elif times[number] - times[key] >= every or np.abs(shapes[number] - shapes[key]).mean() > changed:
                chosen.add(number)
                key = number
    face.keys = sorted(chosen)


def _upright(mesh: np.ndarray) -> np.ndarray:
    """A mesh in a crop of side 1, which leaves out where the face is in the picture and how it is held."""
    matrix = frame(mesh, 2)
    return (mesh - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


# ---------------------------------------------------------------- where it should be


def expected(face: Track, glances: Sequence[Glance], size: tuple[int, int]) -> range:
    """The frames in which a face must be seen, in a picture of ``size`` (width, height): see FEW, BORDER, GRACE."""
    few = len(face.meshes) < FEW
    first, last = face.first, face.last
    if few or _at_border(face.meshes[first], size):
        start = next(n for n in face.shot if glances[n].time >= glances[first].time - GRACE)
    else:
        start = face.shot.start
    if few or _at_border(face.meshes[last], size):
        stop = 1 + next(n for n in reversed(face.shot) if glances[n].time <= glances[last].time + GRACE)
    else:
        stop = face.shot.stop
    return range(start, stop)


def _at_border(mesh: np.ndarray, size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = bounding_box(mesh)
    return bool(min(x0, y0, size[0] - x1, size[1] - y1) < BORDER * width(mesh))


def missed(tracks: Sequence[Track], glances: Sequence[Glance], size: tuple[int, int]) -> list[list[Track] | None]:
    """Per frame the faces that should be seen in it and are not, or are too small to be changed.

    None where no face is seen and none is missed.
    """
    frames: list[list[Track] | None] = [[] if glance.meshes else None for glance in glances]
    for face in tracks:
        for number in expected(face, glances, size):
            if not face.usable(number):
                frames[number] = [*(frames[number] or []), face]
    return frames


def cover(face: Track, number: int, glances: Sequence[Glance]) -> tuple[int, int, int, int]:
    """Where a missed face may be (x0, y0, x1, y1): around its sightings before and after, farther with the time."""
    corners = []
    for seen in face.around(number):
        mesh = face.meshes[seen]
        grown = width(mesh) * (NEAR + SPEED / 2 * abs(glances[number].time - glances[seen].time))
        corners.append(bounding_box(mesh) + grown * np.array([-1, -1, 1, 1]))
    reach = np.array(corners)
    x0, y0 = np.floor(reach[:, :2].min(0)).astype(int)
    x1, y1 = np.ceil(reach[:, 2:].max(0)).astype(int)
    return int(x0), int(y0), int(x1), int(y1)
