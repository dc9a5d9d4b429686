"""Faces that stay as they are although they were seen: too small to be changed, or not sure to be faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

SMALLEST_EYE_DISTANCE = 8.0  # pixels; below it neither a recogniser nor a generator has anything to work with
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class SmallFace:
    """A face too small to be changed: its box (x0, y0, x1, y1) and the distance of its eyes, in photo pixels."""

    box: Box
    eye_distance: float

    @property
    def reason(self) -> str:
        """Why it cannot be changed, in words."""
        # Cut off, not rounded: 7.9 px are not the 8 that are needed.
        eyes, least = int(self.eye_distance), SMALLEST_EYE_DISTANCE
        return f"too small to change: {eyes} px between the eyes, at least {least:.0f} are needed"

    def __str__(self) -> str:
        return f"the face of {_place(self.box)} is {self.reason}"


@dataclass(frozen=True)
class DoubtfulFace:
    """What may be a face and could not be changed, because no landmarks fit it: its box (x0, y0, x1, y1) in the photo.

    by_hand: somebody marked it; otherwise the second detector saw it.
    """

    box: Box
    by_hand: bool = False

    @property
    def reason(self) -> str:
        """Why it was not changed, in words."""
        who = "you marked it" if self.by_hand else "one of two detectors sees a face"
        return f"not protected: {who}, but no landmarks fit it"

    def __str__(self) -> str:
        return f"what lies at {_place(self.box)} is {self.reason}"


def sorted_out(left: Iterable[SmallFace | DoubtfulFace]) -> tuple[tuple[SmallFace, ...], tuple[DoubtfulFace, ...]]:
    """The faces that are too small, and the doubtful ones."""
    left = tuple(left)
    small = tuple(face for face in left if isinstance(face, SmallFace))
    return small, tuple(face for face in left if isinstance(face, DoubtfulFace))


def _place(box: Box) -> str:
    x0, y0, x1, y1 = map(round, box)
    return f"{x1 - x0} x {y1 - y0} px at ({x0}, {y0})"
