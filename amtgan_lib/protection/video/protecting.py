"""A clip in, a protected clip out."""

from __future__ import annotations

import functools
import math
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from amtgan_lib import __version__
from amtgan_lib import faces as face_finder
from amtgan_lib.datasets import Progress
from amtgan_lib.faces import FaceCrop
from amtgan_lib.files import sha256_of
from amtgan_lib.images import Photo, in_levels, open_photo
from amtgan_lib.methods.method import Alteration
from amtgan_lib.protection import Protector
from amtgan_lib.protection.video import tracks
from amtgan_lib.protection.video.clips import Clip, Frame, Frames, VideoError, Writer
from amtgan_lib.protection.video.notes import Notes, noted
from amtgan_lib.protection.video.tracks import Glance, Track

Lost = Literal["blank", "cover", "refuse", "keep"]
LOST = get_args(Lost)
DONE = {"blank": "blanked", "cover": "covered", "keep": "KEPT AS THEY WERE"}
EVERY = 0.5  # seconds between key frames at most
CHANGED = 0.01  # and how far a face's points move, in sides of the crop, before it is one earlier
THUMBNAIL = (16, 16)
TOO_SMALL = f"less than {face_finder.SMALLEST_EYE_DISTANCE:.0f} px between the eyes"


@dataclass(frozen=True)
class VideoReport:
    """What was done to a clip.

    faces: how many were followed; a person who comes back after a cut, or much later, counts again. lost: numbers of
    the frames, from 0, in which a face was missing or none was found, and what was done to them; lost_times the same as
    spans (first, last) in seconds. too_small: those of them in which a face was seen that is too small to be changed.
    resumed: frames that an interrupted run of the same command had looked at.
    doubtful: frames, and their spans, in which a face was found far from where it is before and after, so that it may
    have been changed in the wrong place. flicker: mean difference between the changes of a face in two frames on end,
    in 8-bit levels, in face coordinates; nan where there are none.
    """

    path: Path
    frames: int
    faces: int
    lost: tuple[int, ...]
    lost_times: tuple[tuple[float, float], ...]
    done_to_lost: Lost
    flicker: float
    left_out: tuple[str, ...]
    too_small: tuple[int, ...] = ()
    doubtful: tuple[int, ...] = ()
    doubtful_times: tuple[tuple[float, float], ...] = ()
    resumed: int = 0

    def __str__(self) -> str:
        faces = "1 face" if self.faces == 1 else f"{self.faces} faces"
        text = f"{self.frames} frame{'' if self.frames == 1 else 's'}, {faces}"
        text += "" if math.isnan(self.flicker) else f", flicker {self.flicker:.2f} levels"
        if self.lost:
            done, spans = DONE[self.done_to_lost], _in_words(self.lost_times)
            text += f"; {len(self.lost)} frames with a lost face {done} ({spans}){_small_among(self.too_small)}"
        if self.doubtful:
            text += f"; look at {len(self.doubtful)} frames in which a face jumps ({_in_words(self.doubtful_times)})"
        text += f"; resumed: {self.resumed} frames had been looked at before" if self.resumed else ""
        return text + (f"; left out: {', '.join(self.left_out)}" if self.left_out else "")


def _in_words(spans: Sequence[tuple[float, float]]) -> str:
    rounded = [(f"{first:.1f}", f"{last:.1f}") for first, last in spans]
    return ", ".join(f"{first} s" if first == last else f"{first}-{last} s" for first, last in rounded)


def protect_video(
    path: str | Path,
    out: str | Path,
    protector: Protector,
    reference: str | Path | Image.Image | FaceCrop | None = None,
    *,
    strength: float = 1.0,
    lost: Lost = "blank",
    every: float = EVERY,
    keep_metadata: bool = True,
    keep_location: bool = False,
    progress: Progress = iter,
) -> VideoReport:
    """Protect every face in every frame of the video ``path``; write it to ``out``, whose ending names the container.

    Frames, their times and the sound stay. Whom the protector aims at is not asked here: a
    :class:`Protector` checks that when it is made.

    Args:
        reference: the makeup's photo; None: each face stays in its own.
        strength: 0 (no change) to 1.
        lost: what becomes of frames in which a face that should be there was not found, or no face at all. "blank":
            the whole picture black. "cover": black where the face may be, wider with the time since it was seen; all
            of it where none was ever seen. "refuse": nothing is written. "keep": they pass, the face UNPROTECTED.
        every: seconds between key frames at most; 0 protects each frame by itself, which flickers.
        keep_metadata: title and date of the file go along.
        keep_location: and where it was taken.
        progress: wraps the frames, once to find the faces and once to protect them (``tqdm.tqdm``).

    A face that turns away counts as there until its shot ends, unless it was last seen at the picture's border. One
    that is too small to be changed counts as lost. Some 4 kB a face and frame, and ``every`` seconds of frames, are
    kept in memory. What is found goes into a hidden file beside ``out`` (``notes``), from which the same call goes on
    if it was interrupted, and which is removed in the end. Raises VideoError (or ProtectionError) with one sentence,
    and writes nothing, where no face that can be changed is found in the whole clip, or it cannot be read or written.
    """
    path, out = Path(path), Path(out)
    _check(path, out, protector, strength, lost, every)
    makeup = None if reference is None else protector.method.reference(reference)
    clip = Clip(path)
    # What cannot be written is refused before the work.
    new = Writer(clip, out, keep_metadata, keep_location)
    with noted(out, {"clip": sha256_of(path), "version": __version__}) as notes, new.opened() as writer:
        plan = _look(clip, progress, every, notes)
        if lost == "refuse" and plan.lost:
            raise VideoError(
                f"{path.name}: a face was lost in {len(plan.lost)} of {len(plan.glances)} frames"
                f"{_small_among(plan.too_small)}; nothing written"
            )
        remembering = replace(protector, method=notes.remembering(protector.method))
        painter = _Painter(remembering, makeup, strength, lost, plan)
        for frame, rgb, alone in painter.frames(progress(Frames(clip, writer.copy))):
            writer.add(frame, rgb, alone)
    return replace(_report(out, painter, writer.left_out), resumed=notes.known)


def _report(out: Path, painter: _Painter, left_out: Sequence[str]) -> VideoReport:
    plan = painter.plan
    return VideoReport(
        path=out,
        frames=len(plan.glances),
        faces=len(plan.tracks),
        lost=tuple(plan.lost),
        lost_times=plan.spans(plan.lost),
        done_to_lost=painter.lost,
        flicker=float(np.mean(painter.flicker)) if painter.flicker else float("nan"),
        left_out=tuple(left_out),
        too_small=tuple(plan.too_small),
        doubtful=tuple(plan.doubtful),
        doubtful_times=plan.spans(plan.doubtful),
    )


def _small_among(frames: Sequence[int]) -> str:
    return f", {len(frames)} of them with one too small to change ({TOO_SMALL})" if frames else ""


def _check(path: Path, out: Path, protector: Protector, strength: float, lost: str, every: float) -> None:
    if lost not in LOST:
        raise VideoError(f"lost is {lost!r}; expected {', '.join(map(repr, LOST))}")
    if not 0 <= strength <= 1:
        raise VideoError(f"strength is {strength}; expected a number from 0 (no change) to 1")
    if not every >= 0:
        raise VideoError(f"every is {every}; expected seconds, 0 or more")
    if protector.method.writes_crops:
        raise VideoError(f"the recipe {protector.method.name} writes crops, but a video needs whole pictures")
    if out.exists() and path.exists() and out.samefile(path):
        raise VideoError(f"{out} is the video itself: choose another file")


# ---------------------------------------------------------------- first: look


@dataclass(frozen=True, eq=False)
class _Plan:
    """What the first look found: a glance a frame, the faces, and who is missed where."""

    glances: list[Glance]
    tracks: list[Track]
    missed: list[list[Track] | None]

    @functools.cached_property
    def times(self) -> list[float]:
        """Seconds of each frame."""
        return [glance.time for glance in self.glances]

    @functools.cached_property
    def lost(self) -> list[int]:
        """Frames with a face that is missed, or without any."""
        return [number for number, missed in enumerate(self.missed) if missed is None or missed]

    @functools.cached_property
    def too_small(self) -> list[int]:
        """Frames with a face that is seen, and too small to be changed; all of them are lost."""
        return sorted({number for face in self.tracks for number in face.too_small})

    @functools.cached_property
    def doubtful(self) -> list[int]:
        """Frames in which a face jumps."""
        return sorted({number for face in self.tracks for number in face.jumps})

    def spans(self, numbers: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """The seconds at which runs of frames begin and end."""
        return tuple((self.times[run[0]], self.times[run[-1]]) for run in tracks.runs(numbers))

    def faces(self, number: int) -> list[Track]:
        """The faces that are seen in a frame, and can be changed."""
        return [face for face in self.tracks if face.usable(number)]


def _look(clip: Clip, progress: Progress, every: float, notes: Notes) -> _Plan:
    glances = [_glance(frame, notes) for frame in progress(Frames(clip))]
    faces = tracks.track(glances)
    if not any(face.usable(number) for face in faces for number in face.meshes):
        what = "face large enough to change" if faces else "face"
        there = f"no {what} was found in any of {len(glances)} frames"
        raise VideoError(f"{clip.path.name}: {there}, so nothing was protected")
    for face in faces:
        tracks.choose_keys(face, [glance.time for glance in glances], every, CHANGED)
    return _Plan(glances, faces, tracks.missed(faces, glances, clip.size))


def _glance(frame: Frame, notes: Notes) -> Glance:
    known = notes.glance(frame.number)
    if known is not None and known.time == frame.time:
        return known
    photo = open_photo(frame.rgb)
    thumbnail = np.asarray(photo.original.resize(THUMBNAIL, Image.Resampling.BOX))
    glance = Glance(frame.time, face_finder.meshes(photo), thumbnail)
    notes.add_glance(frame.number, glance)
    return glance


# ---------------------------------------------------------------- then: paint


@dataclass(eq=False)
class _Painter:
    """Makes the new frames of a plan; ``flicker`` collects a number for each face and pair of frames."""

    protector: Protector
    makeup: FaceCrop | None
    strength: float
    lost: Lost
    plan: _Plan
    flicker: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._altered: dict[Track, dict[int, Alteration]] = {face: {} for face in self.plan.tracks}
        self._shown: dict[Track, tuple[int, Tensor]] = {}

    def frames(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, np.ndarray, bool]]:
        """Each frame with its new pixels, and whether it must be coded alone.

        A frame waits until the next key frame of each of its faces was read.
        """
        waiting: deque[Frame] = deque()
        read = 0
        for frame in frames:
            if frame.number >= len(self.plan.times) or self.plan.times[frame.number] != frame.time:
                raise VideoError(f"frame {frame.number} of the video has changed since it was first read")
            read += 1
            waiting.append(frame)
            self._change_keys(frame)
            while waiting and self._next_key(waiting[0].number) <= frame.number:
                yield self._painted(waiting.popleft())
        if read != len(self.plan.glances) or waiting:
            raise VideoError(f"the video has {read} frames now, but had {len(self.plan.glances)} before")

    def _change_keys(self, frame: Frame) -> None:
        keyed = [face for face in self.plan.faces(frame.number) if frame.number in face.keys]
        if not keyed:
            return
        photo = open_photo(frame.rgb)
        for face in keyed:
            crop = self._crop(photo, face, frame.number)
            known = self._altered[face]
            begin = getattr(known[max(known)], "look", None) if known else None
            known[frame.number] = self.protector.altered(crop, self.makeup or crop, self.strength, begin)

    def _next_key(self, number: int) -> int:
        return max((_around(face.keys, number)[1] for face in self.plan.faces(number)), default=number)

    def _crop(self, photo: Photo, face: Track, number: int) -> FaceCrop:
        return face_finder.crop_face(photo, face.meshes[number], self.protector.method.size)

    def _painted(self, frame: Frame) -> tuple[Frame, np.ndarray, bool]:
        number, missed = frame.number, self.plan.missed[frame.number]
        if self.lost == "blank" and (missed is None or missed):
            return frame, np.zeros_like(frame.rgb), True
        photo, changes = open_photo(frame.rgb), []
        for face in self.plan.faces(number):
            crop, altered = self._crop(photo, face, number), self._mixed(face, number)
            self._note_flicker(face, number, altered.on(crop) - crop.image)
            changes.append(altered.within(crop, photo))
        rgb = np.array(photo.with_change(sum(changes[1:], changes[0]))) if changes else frame.rgb.copy()
        if self.lost == "cover":
            _black(rgb, missed, number, self.plan.glances)
        return frame, rgb, False

    def _mixed(self, face: Track, number: int) -> Alteration:
        """What is done to a face in a frame: that of the key frames around it, by their distance in time."""
        before, after = _around(face.keys, number)
        altered, times = self._altered[face], self.plan.times
        for passed in [key for key in altered if key < before]:
            del altered[passed]
        if before == after:
            return altered[before]
        share = (times[number] - times[before]) / (times[after] - times[before])
        return altered[before].mixed(altered[after], share)  # type: ignore[arg-type]  # one method makes one kind

    def _note_flicker(self, face: Track, number: int, difference: Tensor) -> None:
        previous, shown = self._shown.get(face, (None, difference))
        if previous == number - 1:
            self.flicker.append(float(in_levels((difference - shown).abs().mean())))
        self._shown[face] = number, difference


def _around(keys: Sequence[int], number: int) -> tuple[int, int]:
    """The key frames before and after a frame, or the frame itself twice if it is one."""
    place = bisect_left(keys, number)
    return (keys[place], keys[place]) if keys[place] == number else (keys[place - 1], keys[place])


def _black(rgb: np.ndarray, missed: list[Track] | None, number: int, glances: Sequence[Glance]) -> None:
    if missed is None:
        rgb[:] = 0
    for face in missed or ():
        x0, y0, x1, y1 = tracks.cover(face, number, glances)
        rgb[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 0
