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
# No news about the new file, and covers as text, which may show the unchanged face.
OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "rotate"}
OF_THE_FILE |= {"metadata_block_picture", "coverart"}
INTRA = 1  # AV_PICTURE_TYPE_I
HDR = {16: "PQ", 18: "HLG"}  # transfer functions, by the numbers of ITU-T H.273
RGB, BT709, UNSPECIFIED, LIMITED = 0, 1, 2, 1  # matrices by the same numbers, and a range by FFmpeg's
# What may be missing at a clip's end before it is taken for cut off: seconds at most, share of its length, and frames,
# since the last packet may not say how long it lasts.
ENDS_EARLY, EARLY_SHARE, EARLY_FRAMES = 0.5, 0.2, 2
DECLARED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi")  # they store their length; others estimate it
PLACES = ("location", "gps", "xyz")  # in the names under which cameras and phones store where a video was taken


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
class Turn:
    """How a player turns the stored pictures to show them, a quarter at a time, mirrored or not.

    swapped: rows become columns; flips: then (up and down, left and right).
    """

    swapped: bool = False
    flips: tuple[bool, bool] = (False, False)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(H, W, 3) as stored to (H, W, 3) as shown."""
        shown = pixels.swapaxes(0, 1) if self.swapped else pixels
        return np.ascontiguousarray(shown[:: -1 if self.flips[0] else 1, :: -1 if self.flips[1] else 1])


def _turn(decoded: Any, where: str) -> Turn:
    """From the display matrix [[a, b, u], [c, d, v], ...] of ISO 14496-12: stored (x, y) is shown at (ax+cy, bx+dy)."""
    matrix = decoded.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Turn()
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), "<i4")[:9] / 65536
    if max(abs(b), abs(c)) < 0.01 * min(abs(a), abs(d)):
        return Turn(False, (d < 0, a < 0))
    if max(abs(a), abs(d)) < 0.01 * min(abs(b), abs(c)):
        return Turn(True, (b < 0, c < 0))
    raise VideoError(f"{where} has a rotation that is not a multiple of 90 degrees: rotate the video itself first")


def _lost(first: Any, video: Any) -> list[str]:
    """What a clip's pictures hold beside 8-bit opaque frames, told by the first one and by its stream."""
    parts, lost = first.format.components, []
    # A GIF always has an alpha channel, whether or not it uses it; VP9 has it in a stream that is not decoded.
    alpha = any(part.is_alpha for part in parts) and first.to_ndarray(format="rgba")[..., 3].min() < 255
    if alpha or video.metadata.get("alpha_mode") == "1":
        lost.append("transparency")
    if first.interlaced_frame:
        lost.append("interlacing (its frames are written as whole ones)")
    if max(part.bits for part in parts) > 8:
        lost.append("more than 8 bits per channel")
    return lost


class Clip:
    """A video file that can be read more than once. Raises VideoError for anything else, and for HDR.

    ``turn`` is that of its first frame, ``size`` the (width, height) of that frame as shown; ``lost`` says in words
    what of its pictures cannot be kept.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise VideoError(f"{path}: there is no such file")
        self.path = path
        with self.opened() as (container, video):
            if container.format.name.endswith("_pipe"):  # what FFmpeg calls the formats of single pictures
                what = "is a photo, for which there is `protect`; an animation must become a GIF or a film first"
                raise VideoError(f"{path.name} {what}")
            self.refuse_hdr(HDR.get(video.codec_context.color_trc))
            first = next(iter(container.decode(video)), None)
            if first is None:
                raise VideoError(f"{path.name} has no video in it")
            self.turn = _turn(first, path.name)
            self.lost = _lost(first, video)
        self.size = (first.height, first.width) if self.turn.swapped else (first.width, first.height)

    def refuse_hdr(self, kind: str | None) -> None:
        """Frames are 8-bit SDR here; HDR ones would need a tone mapping that the library lacks."""
        if kind:
            raise VideoError(f"{self.path.name} is HDR ({kind}), which is not supported: convert it to SDR first")

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Any, Any]]:
        """The container and its video; whatever the decoder finds wrong becomes one sentence."""
        try:
            with _av().open(str(self.path), metadata_errors="replace") as container:
                yield container, self._pictures(container)
        except _av().FFmpegError as error:
            raise VideoError(f"{self.path.name} is not a video, or is damaged: {error.strerror or error}") from None

    def _pictures(self, container: Any) -> Any:
        # A still picture that came along, such as the cover, would show the unchanged face.
        moving = [stream for stream in container.streams.video if "attached_pic" not in str(stream.disposition)]
        if not moving:
            raise VideoError(f"{self.path.name} has no video in it")
        return moving[0]


@dataclass(frozen=True)
class Frames:
    """The frames of a clip, as often as they are asked for; their number is what the file says, and may be wrong.

    ``copy`` is handed the packets of other streams in between.
    """

    clip: Clip
    copy: Callable[[Any], None] | None = None

    def __len__(self) -> int:
        with self.clip.opened() as (container, video):
            seconds = (container.duration or 0) / 1e6
            return int(video.frames or seconds * float(video.average_rate or 0))

    def __iter__(self) -> Iterator[Frame]:
        last: Frame | None = None
        with self.clip.opened() as (container, video):
            video.thread_type = "AUTO"
            end = 0.0
            for packet in container.demux():
                end = max(end, _end(packet))
                if packet.stream.index == video.index:
                    for decoded in packet.decode():
                        last = self._checked(decoded, video.time_base, last)
                        yield last
                elif self.copy is not None:
                    self.copy(packet)
            self._refuse_cut_off(container, end, video.average_rate)

    def _refuse_cut_off(self, container: Any, end: float, rate: Fraction | None) -> None:
        if container.format.name not in DECLARED:
            return
        timed = [stream for stream in container.streams if stream.type in ("video", "audio") and stream.duration]
        ends = [float(((stream.start_time or 0) + stream.duration) * stream.time_base) for stream in timed]
        told = max(ends, default=((container.start_time or 0) + (container.duration or 0)) / 1e6)
        if told - end > min(ENDS_EARLY, max(EARLY_SHARE * told, EARLY_FRAMES / float(rate or 25))):
            name = self.clip.path.name
            raise VideoError(f"{name} is cut off: it ends at {end:.1f} s, but its header says {told:.1f} s")

    def _checked(self, decoded: Any, base: Fraction, last: Frame | None) -> Frame:
        number = 0 if last is None else last.number + 1
        where = f"{self.clip.path.name}, frame {number}"
        pts = decoded.dts if decoded.pts is None else decoded.pts
        if pts is None:
            raise VideoError(f"{where} has no timestamp: rewrite the file with a video tool, then protect it")
        dolby = decoded.side_data.get("DOVI_RPU_BUFFER") is not None
        self.clip.refuse_hdr("Dolby Vision" if dolby else HDR.get(decoded.color_trc))
        rgb = _turn(decoded, where)(decoded.to_ndarray(format="rgb24", interpolation=_exact()))
        if last is not None and pts <= last.pts:
            raise VideoError(f"{where} is not later than the frame before it: the file is damaged")
        if last is not None and rgb.shape != last.rgb.shape:
            raise VideoError(f"{where} differs in size from the frame before it: split the video there")
        if decoded.is_corrupt:
            raise VideoError(f"{where} is damaged")
        return Frame(number, rgb, pts, decoded.duration or 0, base)


def _end(packet: Any) -> float:
    """Seconds at which what a packet holds is over; 0 if it does not say."""
    if packet.pts is None:
        return 0.0
    return float((packet.pts + (packet.duration or 0)) * packet.time_base)


class Writer:
    """The protected clip: frames like those of ``clip``, its sound and subtitles as they are; see ``opened``.

    The file is written under a temporary name and moved into place in the end, or removed if anything stops it.
    ``left_out`` says in words what it does not hold. keep_location: where it was taken, too, if metadata is kept.
    """

    def __init__(self, clip: Clip, out: Path, keep_metadata: bool = True, keep_location: bool = False):
        if out.suffix.lower() not in CODECS:
            raise VideoError(f"{out.name}: the name of a protected video must end in {', '.join(CODECS)}")
        self.clip, self.out = clip, out
        self.keep_metadata, self.keep_location = keep_metadata, keep_location
        self.left_out: list[str] = list(clip.lost)
        self._container: Any = None
        self._copies: dict[int, Any] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[Writer]:
        """Itself, ready for frames; the file is complete when this ends."""
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

    def _begin(self) -> None:
        with self.clip.opened() as (container, video):
            self._add_video(video)
            for stream in container.streams:
                if stream.index != video.index:
                    self._add_copy(stream)
            if self.keep_metadata:
                self._container.metadata.update(self._kept(container.metadata))
                self._container.set_chapters(container.chapters())

    def _kept(self, metadata: dict[str, str]) -> dict[str, str]:
        kept = {name: text for name, text in metadata.items() if name.lower() not in OF_THE_FILE}
        if self.keep_location:
            return kept
        placed = [name for name in kept if any(word in name.lower() for word in PLACES)]
        said = "where it was taken (--keep-location keeps it)"
        self.left_out += [said] * bool(placed and said not in self.left_out)
        return {name: text for name, text in kept.items() if name not in placed}

    def _add_video(self, video: Any) -> None:
        codec, options = CODECS[self.out.suffix.lower()]
        self._video = self._container.add_stream(codec, rate=video.average_rate or 25, options=dict(options))
        self._video.time_base = video.time_base
        context, source = self._video.codec_context, video.codec_context
        context.width, context.height = width, height = self.clip.size
        # Players everywhere expect colours at half the resolution, which needs even sides.
        context.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        context.time_base = video.time_base
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            if (given := getattr(source, name)) is not None:
                setattr(context, name, given)
        if context.colorspace == RGB:  # the new pictures are YUV
            context.colorspace, context.color_range = BT709, LIMITED
        aspect = video.sample_aspect_ratio or source.sample_aspect_ratio or Fraction(1)
        if aspect != 1 and self.out.suffix.lower() == ".webm":
            what = "has pixels that are not square, which WebM cannot hold: name a .mkv"
            raise VideoError(f"{self.clip.path.name} {what}")
        context.sample_aspect_ratio = 1 / aspect if self.clip.turn.swapped else aspect

    def _add_copy(self, stream: Any) -> None:
        if stream.type not in ("audio", "subtitle") or stream.codec_context is None:
            what = "another picture" if stream.type == "video" else f"{stream.type} stream"
            self.left_out.append(f"{what} (number {stream.index})")
            return
        codec = stream.codec_context.codec.canonical_name
        if codec in self._container.supported_codecs:
            self._copies[stream.index] = self._container.add_stream_from_template(stream)
            told = self._kept(stream.metadata) if self.keep_metadata else {}
            told |= {name: text for name, text in stream.metadata.items() if name == "language"}
            self._copies[stream.index].metadata.update(told)
            self._copies[stream.index].disposition = stream.disposition
        elif stream.type == "audio":
            raise VideoError(f"{self.out.name} cannot hold the sound of {self.clip.path.name} ({codec}): name a .mkv")
        else:
            self.left_out.append(f"subtitles ({codec})")

    def add(self, frame: Frame, rgb: np.ndarray, alone: bool = False) -> None:
        """Write a frame's new pixels at its time; ``alone`` codes it without a look at its neighbours.

        A black frame should be: what is coded as a difference to a face may keep a shadow of it.
        """
        context = self._video.codec_context
        # What the clip says of its colours; where it says nothing (AVCOL_*_UNSPECIFIED) both ways use the same default.
        colours = {"dst_colorspace": context.colorspace} if context.colorspace != UNSPECIFIED else {}
        colours |= {"dst_color_range": context.color_range} if context.color_range != 0 else {}
        picture = _av().VideoFrame.from_ndarray(rgb, format="rgb24")
        picture = picture.reformat(format=context.pix_fmt, interpolation=_exact(), **colours)
        picture.pts, picture.duration, picture.time_base = frame.pts, frame.duration, frame.base
        picture.colorspace, picture.color_range = context.colorspace, context.color_range
        picture.pict_type = INTRA if alone else 0
        with self._writing():
            self._container.mux(self._video.encode(picture))

    def copy(self, packet: Any) -> None:
        """Write a packet of another stream as it is, if the file holds that; one without a time ends a stream."""
        if packet.stream.index in self._copies and packet.dts is not None:
            packet.stream = self._copies[packet.stream.index]
            with self._writing():
                self._container.mux(packet)
