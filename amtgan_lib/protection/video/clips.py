"""Video files, through PyAV: upright frames in order out of one, frames into another, with all else carried over."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from amtgan_lib.files import written
from amtgan_lib.protection import ProtectionError

# Fine enough that the encoder leaves the protection alone: it moved cosines by 0.03 at most (see the package).
X264 = ("libx264", {"crf": "12", "preset": "fast"})
VP9 = ("libvpx-vp9", {"crf": "12", "b": "0", "cpu-used": "5", "row-mt": "1"})
CODECS = {".mp4": X264, ".m4v": X264, ".mov": X264, ".mkv": X264, ".webm": VP9}
OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "rotate"}  # no news about the new one
INTRA = 1  # AV_PICTURE_TYPE_I


class VideoError(ProtectionError):
    """A video that could not be protected; nothing was written. One sentence for its owner."""


def _exact() -> Any:
    """How colours are converted both ways: rounded. Without it each conversion darkens the picture by a level."""
    flags = _av().video.reformatter.Interpolation
    return flags.BICUBIC | flags.ACCURATE_RND | flags.FULL_CHR_H_INT | flags.FULL_CHR_H_INP


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise VideoError(f"video needs PyAV: pip install 'amtgan-lib[video]' ({error})") from None
    return av


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a clip: its number from 0, upright pixels (H, W, 3) uint8, its time in ``base`` seconds."""

    number: int
    rgb: np.ndarray
    pts: int
    duration: int
    base: Fraction

    @property
    def time(self) -> float:
        """Seconds since the beginning of the file's clock."""
        return float(self.pts * self.base)


@dataclass(frozen=True)
class Clip:
    """A video file that can be read more than once. Raises VideoError for what is none."""

    path: Path

    def __post_init__(self):
        if not self.path.is_file():
            raise VideoError(f"{self.path}: there is no such file")
        with self._opened():
            pass

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        """The container and its video; whatever the decoder finds wrong becomes one sentence."""
        try:
            with _av().open(str(self.path), metadata_errors="replace") as container:
                yield container, self._pictures(container)
        except _av().FFmpegError as error:
            raise VideoError(f"{self.path.name} is no video, or damaged: {error.strerror or error}") from None

    def _pictures(self, container: Any) -> Any:
        moving = [stream for stream in container.streams.video if not _is_cover(stream)]
        if not moving:
            raise VideoError(f"{self.path.name} has no video in it")
        return moving[0]

    def frames(self, copy: Callable[[Any], None] | None = None, streams: tuple[int, ...] = ()) -> Frames:
        """Its frames, once through; ``copy`` is handed the packets of other ``streams`` in between."""
        return Frames(self, copy, streams)


def _is_cover(stream: Any) -> bool:
    """A still picture that came along, such as the cover, which would show the unchanged face."""
    return "attached_pic" in str(stream.disposition)


@dataclass(frozen=True)
class Frames:
    """The frames of a clip, as often as they are asked for; their number is what the file says, and may be wrong."""

    clip: Clip
    copy: Callable[[Any], None] | None = None
    streams: tuple[int, ...] = ()

    def __len__(self) -> int:
        with self.clip._opened() as (container, video):
            seconds = (container.duration or 0) / 1e6
            return int(video.frames or seconds * float(video.average_rate or 0))

    def __iter__(self) -> Iterator[Frame]:
        last: Frame | None = None
        with self.clip._opened() as (container, video):
            video.thread_type = "AUTO"
            chosen = [video, *(container.streams[index] for index in self.streams)]
            for packet in container.demux(chosen):
                if packet.stream.index == video.index:
                    for decoded in packet.decode():
                        last = self._checked(decoded, video.time_base, last)
                        yield last
                elif packet.dts is not None and self.copy is not None:
                    self.copy(packet)

    def _checked(self, decoded: Any, base: Fraction, last: Frame | None) -> Frame:
        number = 0 if last is None else last.number + 1
        where = f"{self.clip.path.name}, frame {number}"
        pts = decoded.dts if decoded.pts is None else decoded.pts
        if pts is None:
            raise VideoError(f"{where} has no time: write the file anew with a video tool, then protect it")
        pixels = decoded.to_ndarray(format="rgb24", interpolation=_exact())
        rgb = np.ascontiguousarray(np.rot90(pixels, decoded.rotation // 90))
        if last is not None and pts <= last.pts:
            raise VideoError(f"{where} is not later than the frame before it: the file is damaged")
        if last is not None and rgb.shape != last.rgb.shape:
            raise VideoError(f"{where} has another size than the frame before it: cut the video there")
        if decoded.is_corrupt:
            raise VideoError(f"{where} is damaged")
        return Frame(number, rgb, pts, decoded.duration or 0, base)


class Writer:
    """The protected clip: frames like those of ``clip``, its sound and subtitles as they are; use it with ``with``.

    size: (width, height) of the upright frames. The file is written under a temporary name and moved into place in the
    end, or removed if anything stops it. ``left_out`` says in words what it does not hold.
    """

    def __init__(self, clip: Clip, out: Path, size: tuple[int, int], keep_metadata: bool = True):
        if out.suffix.lower() not in CODECS:
            raise VideoError(f"{out.name}: the name of a protected video ends in {', '.join(CODECS)}")
        self.clip, self.out, self.size, self.keep_metadata = clip, out, size, keep_metadata
        self.left_out: list[str] = []
        self._container: Any = None
        self._copies: dict[int, Any] = {}

    def __enter__(self) -> Writer:
        self._open = self._opened()
        return self._open.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Writer]:
        with written(self.out) as partial:
            try:
                with self._writing():
                    self._container = _av().open(str(partial), "w")
                    self._begin()
                    self._container.start_encoding()
                yield self
                with self._writing():
                    self._container.mux(self._video.encode())
                    self._container.close()
            finally:
                if self._container is not None:
                    with contextlib.suppress(_av().FFmpegError):  # an unfinished file's end may not be writable
                        self._container.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except _av().FFmpegError as error:
            raise VideoError(f"{self.out.name} cannot be written: {error.strerror or error}") from None

    @property
    def streams(self) -> tuple[int, ...]:
        """The streams of the clip whose packets :meth:`copy` takes."""
        return tuple(self._copies)

    def _begin(self) -> None:
        with self.clip._opened() as (container, video):
            self._add_video(video)
            for stream in container.streams:
                if stream.index != video.index:
                    self._add_copy(stream)
            if self.keep_metadata:
                kept = {name: text for name, text in container.metadata.items() if name not in OF_THE_FILE}
                self._container.metadata.update(kept)

    def _add_video(self, video: Any) -> None:
        codec, options = CODECS[self.out.suffix.lower()]
        self._video = self._container.add_stream(codec, rate=video.average_rate or 25, options=dict(options))
        self._video.time_base = video.time_base
        context, source = self._video.codec_context, video.codec_context
        context.width, context.height = self.size
        # Players everywhere expect colours at half the resolution, which needs even sides.
        context.pix_fmt = "yuv444p" if self.size[0] % 2 or self.size[1] % 2 else "yuv420p"
        context.time_base = video.time_base
        for name in ("color_range", "colorspace", "color_primaries", "color_trc", "sample_aspect_ratio"):
            if (given := getattr(source, name)) is not None:
                setattr(context, name, given)

    def _add_copy(self, stream: Any) -> None:
        if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
            what = "another picture" if stream.type == "video" else f"{stream.type} stream"
            self.left_out.append(f"{what} (number {stream.index})")
            return
        codec = stream.codec_context.codec.canonical_name
        if codec in self._container.supported_codecs:
            self._copies[stream.index] = self._container.add_stream_from_template(stream)
            self._copies[stream.index].metadata.update(stream.metadata)
        elif stream.type == "audio":
            raise VideoError(f"{self.out.name} cannot hold the sound of {self.clip.path.name} ({codec}): name a .mkv")
        else:
            self.left_out.append(f"subtitles ({codec})")

    def add(self, frame: Frame, rgb: np.ndarray, alone: bool = False) -> None:
        """Write a frame's new pixels at its time; ``alone`` codes it without a look at its neighbours.

        A black frame should be: what is coded as a difference to a face may keep a shadow of it.
        """
        context = self._video.codec_context
        colours = {"dst_colorspace": context.colorspace, "dst_color_range": context.color_range}
        picture = _av().VideoFrame.from_ndarray(rgb, format="rgb24")
        picture = picture.reformat(format=context.pix_fmt, interpolation=_exact(), **_given(colours))
        picture.pts, picture.duration, picture.time_base = frame.pts, frame.duration, frame.base
        picture.colorspace, picture.color_range = context.colorspace, context.color_range
        picture.pict_type = INTRA if alone else 0
        with self._writing():
            self._container.mux(self._video.encode(picture))

    def copy(self, packet: Any) -> None:
        """Write a packet of another stream as it is."""
        packet.stream = self._copies[packet.stream.index]
        with self._writing():
            self._container.mux(packet)


UNSPECIFIED = {"dst_colorspace": 2, "dst_color_range": 0}  # AVCOL_SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED


def _given(colours: dict[str, int]) -> dict[str, int]:
    """What the clip says of its colours; where it says nothing both ways use the same default."""
    return {name: value for name, value in colours.items() if value != UNSPECIFIED[name]}
