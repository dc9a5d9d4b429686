"""Video: every frame and the sound stay, faces are followed calmly, and a lost face never passes unseen."""

import itertools
import sys
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fakes import Brush
from PIL import Image

from amtgan_lib import faces, images, methods, paths, portraits, protection, recipes, recognizers
from amtgan_lib.__main__ import main
from amtgan_lib.faces import warps
from amtgan_lib.faces.regions import FIVE
from amtgan_lib.methods import Method
from amtgan_lib.models.rendering import Fields, Look
from amtgan_lib.protection import Protector
from amtgan_lib.protection.video import VideoError, file_beside, protect_video, tracks
from amtgan_lib.protection.video.notes import noted
from amtgan_lib.protection.video.tracks import Glance, Track

av = pytest.importorskip("av", reason="no video tests: pip install 'amtgan-lib[video]'")

WIDTH, HEIGHT, SIDE, SIZE = 160, 96, 40, 32
RATE = 8000
FLAGS = av.video.reformatter.Interpolation
EXACT = FLAGS.BICUBIC | FLAGS.ACCURATE_RND | FLAGS.FULL_CHR_H_INT | FLAGS.FULL_CHR_H_INP  # else a level is lost


# ---------------------------------------------------------------- a hand-made world: faces are coloured squares


def mesh_at(x, y, side=SIDE):
    """A mesh whose box is a square of ``side`` pixels with its middle at (x, y)."""
    across = np.linspace(-0.5, 0.5, 478)
    mesh = np.stack([across, across[::-1]], 1)
    for place, index in zip((faces.CROP_TEMPLATE - 0.5) * 1.6, FIVE):
        mesh[list(index)] = place
    return mesh * side + (x, y)


def picture(*places, colours=((200, 60, 60), (60, 60, 200))):
    """A frame of calm colours with a square face at each (x, y); None hides that face."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rgb = np.stack([90 + x // 8, 140 + 0 * x, 90 + y // 8], -1).astype(np.uint8)
    for place, colour in zip(places, colours):
        if place is not None:
            left, top = (round(middle - SIDE / 2) for middle in place)
            rgb[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE] = colour
    return rgb


@pytest.fixture
def squares(monkeypatch):
    """Faces are found where the squares are, by their colours."""

    def meshes(photo):
        red, _, blue = np.moveaxis(photo.rgb.astype(int), -1, 0)
        found = []
        for inside in (red - blue > 60, blue - red > 60):
            y, x = np.nonzero(inside)
            if len(x) > 200:
                found.append(mesh_at((x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2))
        return found

    monkeypatch.setattr(faces, "meshes", meshes)


def painter(brush=None, recipe=recipes.RESIDUAL):
    return Protector(Method(recipe.name, brush or Brush(), SIZE, recipe))


def make(path, frames, pts=None, base=Fraction(1, 25), sound=None, **extras):
    """Write a clip of pictures, at ``pts`` in ``base`` seconds, with a tone in the codec ``sound``."""
    pts = list(range(len(frames))) if pts is None else pts
    codec = extras.get("codec") or {".webm": "libvpx-vp9", ".avi": "mjpeg"}.get(path.suffix, "libx264")
    if codec in ("mjpeg", "png", "ffv1"):
        extras = {"depth": "yuvj420p", **extras, "options": {}}
    with av.open(str(path), "w", options={"movflags": "faststart"} if extras.get("fast") else {}) as container:
        container.metadata.update(extras.get("metadata", {}))
        video = container.add_stream(codec, rate=25, options=extras.get("options", {"crf": "5"}))
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = extras.get("depth") or ("yuv444p" if video.width % 2 else "yuv420p")
        video.time_base = video.codec_context.time_base = base
        if turn := extras.get("turn"):
            video.set_display_rotation(turn)
        if matrix := extras.get("matrix"):
            video.set_display_matrix(matrix)
        for name, value in extras.get("coded", {}).items():
            setattr(video.codec_context, name, value)
        audio = (
            container.add_stream(sound, rate=48000 if sound == "libopus" else RATE, layout="mono") if sound else None
        )
        for rgb, moment in zip(frames, pts):
            kind = "rgb24" if rgb.shape[2] == 3 else "rgba"
            frame = av.VideoFrame.from_ndarray(rgb, format=kind).reformat(format=video.pix_fmt, interpolation=EXACT)
            frame.pts, frame.time_base = moment, base
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None:
            write_tone(container, audio, float((pts[-1] + 1) * base))
    return path


def write_tone(container, audio, seconds):
    count = int(seconds * audio.rate)
    wave = (8000 * np.sin(np.arange(count) * 2 * np.pi * 440 / audio.rate)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts = audio.rate, 0
    resampler = av.AudioResampler(
        audio.codec_context.format, "mono", audio.rate, frame_size=audio.codec_context.frame_size
    )
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(audio.encode(part))
    container.mux(audio.encode())


def read(path):
    """Pictures, times in seconds, and the sound's packets as (seconds, bytes)."""
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    video = [(each.to_ndarray(format="rgb24", interpolation=EXACT), each.pts * each.time_base) for each in decoded]
    packets = []
    with av.open(str(path)) as container:
        for stream in container.streams.audio:
            packets = [(p.pts * p.time_base, bytes(p)) for p in container.demux(stream) if p.dts is not None]
    return [rgb for rgb, _ in video], [time for _, time in video], packets


WALK = [(40 + 2 * step, 48) for step in range(20)]


def walk(hidden=()):
    return [picture(None if step in hidden else place) for step, place in enumerate(WALK)]


# ---------------------------------------------------------------- what stays


@pytest.mark.parametrize(("suffix", "sound"), [(".mp4", "aac"), (".mkv", "libmp3lame"), (".webm", "libopus")])
def test_frames_times_and_sound_stay(squares, tmp_path, suffix, sound):
    clip = make(tmp_path / f"clip{suffix}", walk(), sound=sound)
    report = protect_video(clip, tmp_path / f"out{suffix}", painter())
    before, after = read(clip), read(report.path)
    assert report.frames == len(before[0]) == len(after[0]) == 20
    assert before[1] == after[1]
    assert before[2] == after[2] and len(before[2]) > 5
    assert report.left_out == () and report.lost == ()


def test_frames_at_uneven_times_keep_them(squares, tmp_path):
    pts = [0, 1, 2, 7, 8, 9, 10, 30, 31, 33, 40, 41, 42, 43, 44, 60, 61, 62, 63, 90]
    clip = make(tmp_path / "clip.mp4", walk(), pts, Fraction(1, 90))
    report = protect_video(clip, tmp_path / "out.mp4", painter())
    assert read(report.path)[1] == read(clip)[1] == [Fraction(each, 90) for each in pts]


def test_the_face_changes_and_the_rest_stays(squares, tmp_path):
    clip = make(tmp_path / "clip.mp4", walk())
    out = protect_video(clip, tmp_path / "out.mp4", painter(Brush(0.2)), strength=0.5).path
    clean, changed = read(clip)[0], read(out)[0]
    for place, before, after in zip(WALK, clean, changed):
        difference = after.astype(int) - before
        x, y = place
        assert abs(difference[y - 8 : y + 8, x - 8 : x + 8].mean() - 0.1 * 127.5) < 2
        far = np.ones((HEIGHT, WIDTH), bool)
        far[:, max(x - SIDE, 0) : x + SIDE] = False
        assert np.abs(difference[far]).mean() < 0.5


def test_a_picture_that_lies_on_its_side_is_written_upright(squares, tmp_path):
    """As phones do: the pixels are stored turned, and a note says so."""
    stored = [np.ascontiguousarray(np.rot90(rgb)) for rgb in walk()]
    clip = make(tmp_path / "clip.mp4", stored, turn=-90)
    out = protect_video(clip, tmp_path / "out.mp4", painter(), strength=0).path
    with av.open(str(out)) as container:
        frame = next(container.decode(video=0))
    assert frame.rotation == 0 and (frame.width, frame.height) == (WIDTH, HEIGHT)
    assert np.abs(read(out)[0][0].astype(int) - walk()[0]).mean() < 3


QUARTERS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def shown(stored, a, b, c, d):
    """What a player shows, pixel by pixel: the stored (x, y) at (ax + cy, bx + dy), moved into the picture."""
    y, x = np.mgrid[: stored.shape[0], : stored.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    picture = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    picture[down, across] = stored
    return picture


@pytest.mark.parametrize("turn", QUARTERS)
def test_every_turn_and_mirror_is_written_as_a_player_shows_it(squares, tmp_path, turn):
    """All eight display matrices, with pixels that are not square, too: these lie down with the picture."""
    a, b, c, d = turn
    matrix = [round(each * 65536) for each in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
    stored = [picture((50, 30))] * 3
    aspect = {"sample_aspect_ratio": Fraction(4, 3)}
    clip = make(tmp_path / "clip.mp4", stored, matrix=matrix, coded=aspect)
    report = protect_video(clip, tmp_path / "out.mp4", painter(), strength=0)
    expected = shown(stored[0], *turn)
    with av.open(str(report.path)) as container:
        (video,) = container.streams.video
        assert video.sample_aspect_ratio == (Fraction(4, 3) if a else Fraction(3, 4))
        frame = next(container.decode(video))
        assert frame.side_data.get("DISPLAYMATRIX") is None
    got = frame.to_ndarray(format="rgb24", interpolation=EXACT)
    assert got.shape == expected.shape and np.abs(got.astype(int) - expected).mean() < 3


def test_a_picture_shown_askew_is_refused(squares, tmp_path):
    clip = make(tmp_path / "clip.mp4", walk(), turn=30)
    with pytest.raises(VideoError, match="not a multiple of 90 degrees"):
        protect_video(clip, tmp_path / "out.mp4", painter())


HDR = {"color_trc": 18, "color_primaries": 9, "colorspace": 9}


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_refused_before_the_work(squares, tmp_path, transfer, monkeypatch):
    clip = make(tmp_path / "clip.mp4", walk(), coded={**HDR, "color_trc": transfer})
    monkeypatch.setattr(faces, "meshes", lambda photo: pytest.fail("a face was looked for"))
    with pytest.raises(VideoError, match=r"clip\.mp4 is HDR"):
        protect_video(clip, tmp_path / "out.mp4", painter())
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_ten_bit_colours_keep_their_meaning_and_the_loss_is_said(squares, tmp_path):
    clip = make(tmp_path / "clip.mkv", walk(), depth="yuv420p10le", coded={"colorspace": 1, "color_trc": 1})
    report = protect_video(clip, tmp_path / "out.mkv", painter(), strength=0)
    assert report.left_out == ("more than 8 bits per channel",)
    before, after = read(clip)[0][0].astype(int), read(report.path)[0][0]
    assert np.abs(before - after).mean() < 2
    with av.open(str(report.path)) as container:
        assert (container.streams.video[0].codec_context.colorspace, container.streams.video[0].pix_fmt) == (
            1,
            "yuv420p",
        )


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_clip_stored_as_rgb_keeps_its_colours(squares, tmp_path, suffix):
    """Written with another matrix than its tag says, red turns orange in a player, which this reader is."""
    clip = make(tmp_path / "clip.mkv", walk(), codec="ffv1", depth="bgr0", coded={"colorspace": 0})
    report = protect_video(clip, tmp_path / f"out{suffix}", painter(), strength=0)
    with av.open(str(report.path)) as container:
        assert container.streams.video[0].codec_context.colorspace == 1
    before, after = read(clip)[0][0].astype(int), read(report.path)[0][0]
    assert np.abs(before - after).mean() < 2


def test_transparency_and_interlacing_are_named(squares, tmp_path):
    clear = [np.dstack([rgb, np.full(rgb.shape[:2], 100, np.uint8)]) for rgb in walk()]
    clip = make(tmp_path / "clear.mov", clear, codec="png", depth="rgba")
    assert protect_video(clip, tmp_path / "out.mp4", painter()).left_out == ("transparency",)
    opaque = [np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]) for rgb in walk()]
    clip = make(tmp_path / "opaque.mov", opaque, codec="png", depth="rgba")
    assert protect_video(clip, tmp_path / "out.mp4", painter()).left_out == ()
    fields = {"crf": "5", "x264-params": "tff=1"}
    clip = make(tmp_path / "fields.mp4", walk(), options=fields)
    (said,) = protect_video(clip, tmp_path / "out.mp4", painter()).left_out
    assert "interlacing" in said


def test_pixels_that_are_not_square_are_refused_where_the_file_cannot_hold_them(squares, tmp_path, monkeypatch):
    clip = make(tmp_path / "clip.mp4", walk(), coded={"sample_aspect_ratio": Fraction(4, 3)})
    monkeypatch.setattr(faces, "meshes", lambda photo: pytest.fail("a face was looked for"))
    with pytest.raises(VideoError, match="not square, which WebM cannot hold"):
        protect_video(clip, tmp_path / "out.webm", painter())


@pytest.fixture
def rich(tmp_path):
    """A film with two sound tracks, subtitles and chapters, and the place where it was taken."""
    plain, path = make(tmp_path / "plain.mkv", walk(), sound="aac"), tmp_path / "rich.mkv"
    (tmp_path / "words.srt").write_text("1\n00:00:00,100 --> 00:00:00,300\nBonjour\n")
    chapter = {"id": 1, "start": 0, "end": 400, "time_base": Fraction(1, 1000), "metadata": {}}
    with (
        av.open(str(plain)) as film,
        av.open(str(tmp_path / "words.srt")) as words,
        av.open(str(path), "w") as container,
    ):
        container.metadata.update({"title": "A walk", "location": "+51.5-000.1/", "METADATA_BLOCK_PICTURE": "COVER"})
        container.set_chapters([chapter])
        copies = []
        for stream, language in (
            (film.streams.video[0], "und"),
            (film.streams.audio[0], "eng"),
            (film.streams.audio[0], "deu"),
            (words.streams.subtitles[0], "fra"),
        ):
            copies.append((stream, container.add_stream_from_template(stream)))
            copies[-1][1].metadata.update({"language": language, "location": "+51.5-000.1/"})
        for packet in [*film.demux(), *words.demux()]:
            for stream, copy in copies if packet.size else ():
                if stream.type == packet.stream.type:
                    again = av.Packet(bytes(packet))
                    again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
                    again.time_base, again.is_keyframe, again.stream = packet.time_base, packet.is_keyframe, copy
                    container.mux(again)
    return path


def test_sound_tracks_subtitles_and_chapters_stay_and_the_place_does_not(squares, rich, tmp_path):
    report = protect_video(rich, tmp_path / "out.mkv", painter())
    with av.open(str(report.path)) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "deu"]
        assert [stream.language for stream in container.streams.subtitles] == ["fra"]
        texts = [bytes(packet) for packet in container.demux(container.streams.subtitles[0]) if packet.dts is not None]
        assert texts == [b"Bonjour"]
        assert len(container.chapters()) == 1 and container.metadata.get("title", container.metadata.get("TITLE"))
    assert b"+51.5" not in report.path.read_bytes() and any("where it was taken" in each for each in report.left_out)
    kept = protect_video(rich, tmp_path / "kept.mkv", painter(), keep_location=True)
    assert b"+51.5" in kept.path.read_bytes() and kept.left_out == ()
    assert b"COVER" not in kept.path.read_bytes(), "a picture as text"
    bare = protect_video(rich, tmp_path / "bare.mkv", painter(), keep_metadata=False)
    with av.open(str(bare.path)) as container:
        assert not container.chapters(), "their titles may tell as much as that of the film"


@pytest.mark.parametrize(("suffix", "times"), [(".mkv", 3), (".mp4", 3), (".mkv", 1), (".avi", 1)])
def test_a_clip_that_is_cut_off_is_refused(squares, tmp_path, suffix, times):
    """One whose beginning says how long it is, and that can be read up to the cut, short ones as well."""
    whole = make(tmp_path / f"whole{suffix}", walk() * times, options={"crf": "5", "g": "5"}, fast=True)
    (tmp_path / f"half{suffix}").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"half\.\w+(,.*)? is (cut off|not a video|damaged)"):
        protect_video(tmp_path / f"half{suffix}", tmp_path / "out.mkv", painter())
    assert not (tmp_path / "out.mkv").exists()
    assert protect_video(whole, tmp_path / "out.mkv", painter()).frames == 20 * times


def test_frames_in_which_a_face_jumps_are_named(squares, tmp_path, monkeypatch, capsys):
    """A face found elsewhere for a frame was perhaps not where it was changed."""
    places = [(x, 48 if step != 10 else 25) for step, (x, _) in enumerate(WALK)]
    clip = make(tmp_path / "clip.mp4", [picture(place) for place in places])
    report = protect_video(clip, tmp_path / "out.mp4", painter())
    assert 10 in report.doubtful and report.lost == () and "in which a face jumps (0.4" in str(report)
    assert protect_video(make(tmp_path / "calm.mp4", walk()), tmp_path / "calm_out.mp4", painter()).doubtful == ()
    monkeypatch.setattr(protection, "prepare", lambda _, **told: painter())
    assert main(["video", str(clip)]) == 1 and "a face jumps" in capsys.readouterr().out


@pytest.mark.parametrize("out", ["folder/out.webm", "out.gif"])
def test_what_cannot_be_written_is_said_before_the_work(squares, tmp_path, monkeypatch, out):
    clip = make(tmp_path / "clip.mp4", walk(), sound="aac")
    monkeypatch.setattr(faces, "meshes", lambda photo: pytest.fail("a face was looked for"))
    with pytest.raises(VideoError, match=r"cannot hold the sound|must end in"):
        protect_video(clip, tmp_path / out, painter())


def test_odd_sides_stay(squares, tmp_path):
    clip = make(tmp_path / "clip.mkv", [rgb[:-1, :-1] for rgb in walk()])
    out = protect_video(clip, tmp_path / "out.mkv", painter()).path
    assert read(out)[0][0].shape == (HEIGHT - 1, WIDTH - 1, 3)


def test_title_goes_along_unless_told_otherwise(squares, tmp_path):
    clip = make(tmp_path / "clip.mp4", walk(), metadata={"title": "A walk"})
    for keep, expected in ((True, "A walk"), (False, None)):
        out = protect_video(clip, tmp_path / "out.mp4", painter(), keep_metadata=keep).path
        with av.open(str(out)) as container:
            assert container.metadata.get("title") == expected


# ---------------------------------------------------------------- lost faces

HIDDEN = (7, 8, 9, 15)


@pytest.fixture
def interrupted(tmp_path):
    return make(tmp_path / "clip.mp4", walk(HIDDEN), sound="aac")


def test_a_frame_whose_face_is_lost_is_black_and_told(squares, interrupted, tmp_path):
    report = protect_video(interrupted, tmp_path / "out.mp4", painter())
    out, times, sound = read(report.path)
    assert report.lost == HIDDEN and len(out) == 20
    assert sound == read(interrupted)[2] and times == read(interrupted)[1]
    for number, rgb in enumerate(out):
        assert (rgb.max() <= 1) == (number in HIDDEN), number
    assert report.lost_times == ((7 / 25, 9 / 25), (15 / 25, 15 / 25))
    assert "4 frames with a lost face blanked (0.3-0.4 s, 0.6 s)" in str(report)


def test_a_lost_face_may_be_covered(squares, interrupted, tmp_path):
    report = protect_video(interrupted, tmp_path / "out.mp4", painter(), lost="cover")
    out = read(report.path)[0]
    assert report.lost == HIDDEN
    for number in HIDDEN:
        x, y = WALK[number]
        assert out[number][y - SIDE // 2 : y + SIDE // 2, x - SIDE // 2 : x + SIDE // 2].max() < 20
        assert out[number][:, -20:].min() > 60


def test_a_lost_face_passes_only_on_purpose(squares, interrupted, tmp_path):
    report = protect_video(interrupted, tmp_path / "out.mp4", painter(), lost="keep")
    clean, out = read(interrupted)[0], read(report.path)[0]
    assert report.lost == HIDDEN and "KEPT AS THEY WERE" in str(report)
    assert all(np.abs(out[number].astype(int) - clean[number]).mean() < 1.5 for number in HIDDEN)


def test_a_lost_face_may_refuse_the_clip(squares, interrupted, tmp_path):
    with pytest.raises(VideoError, match="a face was lost in 4 of 20 frames; nothing written"):
        protect_video(interrupted, tmp_path / "out.mp4", painter(), lost="refuse")
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_one_of_two_faces_lost_blanks_the_whole_frame(squares, tmp_path):
    frames = [picture((45, 48), None if step in HIDDEN else (115, 48)) for step in range(20)]
    report = protect_video(make(tmp_path / "clip.mp4", frames), tmp_path / "out.mp4", painter())
    assert report.faces == 2 and report.lost == HIDDEN
    assert all(read(report.path)[0][number].max() <= 1 for number in HIDDEN)


def test_a_clip_of_faces_too_small_to_change_is_refused(squares, tmp_path, monkeypatch):
    meshes = faces.meshes
    monkeypatch.setattr(faces, "meshes", lambda photo: [0.2 * each for each in meshes(photo)])
    with pytest.raises(VideoError, match=r"clip\.mp4: no face large enough to change was found in any of 20 fr"):
        protect_video(make(tmp_path / "clip.mp4", walk()), tmp_path / "out.mp4", painter())
    assert not (tmp_path / "out.mp4").exists()


SMALL = (10, 11, 12)  # frames with a face too small to change
AROUND = tuple(range(5, 18))  # and a second before and after, since so few sightings may have missed it


@pytest.fixture
def far_behind(squares, tmp_path, monkeypatch):
    """Four seconds of a large face on the left; in SMALL the blue square on the right is a face of 16 pixels."""
    meshes = faces.meshes

    def smaller(photo):
        found = meshes(photo)
        return found[:1] + [mesh_at(*(mesh.min(0) + mesh.max(0)) / 2, 16) for mesh in found[1:]]

    monkeypatch.setattr(faces, "meshes", smaller)
    frames = [picture((45, 48), (115, 48) if step in SMALL else None) for step in range(20)]
    return make(tmp_path / "clip.mp4", frames, [5 * step for step in range(20)])


def test_frames_with_a_face_too_small_to_change_beside_another_are_black_and_told(far_behind, tmp_path):
    report = protect_video(far_behind, tmp_path / "out.mp4", painter())
    assert report.lost == AROUND and report.too_small == SMALL
    for number, rgb in enumerate(read(report.path)[0]):
        assert (rgb.max() <= 1) == (number in AROUND), number
    assert report.faces == 2
    said = "13 frames with a lost face blanked (1.0-3.4 s), 3 of them with one too small to change (less than 8 px"
    assert said in str(report)


def test_a_face_too_small_to_change_may_be_covered_while_the_other_is_changed(far_behind, tmp_path):
    report = protect_video(far_behind, tmp_path / "out.mp4", painter(), lost="cover")
    clean, out = read(far_behind)[0], read(report.path)[0]
    assert report.lost == AROUND and report.too_small == SMALL
    for number in range(20):
        left = (slice(40, 56), slice(37, 53))
        assert out[number][left].astype(int).mean() > clean[number][left].mean() + 10, "the large face is brightened"
        assert (out[number][40:56, 107:123].max() < 20) == (number in AROUND), number
    beside = out[11][40:56, 70:95]
    assert beside.min() > 60, "no more is covered than is needed where the face is seen"


def test_a_face_too_small_to_change_passes_only_on_purpose(far_behind, tmp_path):
    report = protect_video(far_behind, tmp_path / "out.mp4", painter(), lost="keep")
    assert report.lost == AROUND and report.too_small == SMALL
    assert "13 frames with a lost face KEPT AS THEY WERE (1.0-3.4 s), 3 of them with one too small" in str(report)
    before, after = (read(path)[0][11][40:56, 107:123].astype(int) for path in (far_behind, report.path))
    assert np.abs(after - before).mean() < 1.5


def test_a_face_too_small_to_change_may_refuse_the_clip(far_behind, tmp_path):
    with pytest.raises(VideoError, match=r"lost in 13 of 20 frames, 3 of them with one too small to change \(less"):
        protect_video(far_behind, tmp_path / "out.mp4", painter(), lost="refuse")
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_the_command_s_status_says_that_a_face_was_too_small_to_change(far_behind, monkeypatch, capsys):
    monkeypatch.setattr(protection, "prepare", lambda _, **told: painter())
    assert main(["video", str(far_behind)]) == 1
    assert "3 of them with one too small to change" in capsys.readouterr().out


def test_the_command_says_what_it_did_and_its_status_that_a_face_was_lost(squares, interrupted, monkeypatch, capsys):
    monkeypatch.setattr(protection, "prepare", lambda _, **told: painter())
    out = interrupted.with_name("clip_protected.mp4")
    assert main(["video", str(interrupted)]) == 1
    assert "4 frames with a lost face blanked" in capsys.readouterr().out and len(read(out)[0]) == 20
    assert main(["video", str(interrupted)]) == 1
    assert "clip_protected.mp4 exists: --overwrite replaces it" in capsys.readouterr().err
    whole = make(interrupted.with_name("whole.mp4"), walk())
    assert main(["video", str(whole), "-o", str(out), "--overwrite", "--lost", "refuse"]) == 0


@pytest.mark.usefixtures("squares")
def test_the_command_passes_on_that_a_person_has_agreed_and_which_photos_are_known(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(protection, "prepare", lambda _, **told: asked.append(told) or painter())
    clip = str(make(tmp_path / "clip.mp4", walk()))
    assert main(["video", clip, "-o", str(tmp_path / "a.mp4"), "--impersonate"]) == 0
    (public := tmp_path / "public").mkdir()
    Image.new("RGB", (9, 9)).save(public / "me.png")
    assert main(["video", clip, "-o", str(tmp_path / "b.mp4"), "--known", str(public)]) == 0
    assert asked == [{"impersonate": True, "known": []}, {"impersonate": False, "known": [public / "me.png"]}]
    assert main(["video", clip, "-o", str(tmp_path / "c.mp4"), "--known", "nowhere.png"]) == 2


# ---------------------------------------------------------------- calm


@pytest.mark.parametrize(("amount", "said"), [(0.0, "did not change"), (float("nan"), "not finite")])
def test_a_face_that_is_not_changed_ends_the_clip_and_leaves_nothing(squares, tmp_path, amount, said):
    """Nobody is asked about a video, so that an unchanged face would have status 0."""
    clip = make(tmp_path / "clip.mp4", walk())
    with pytest.raises(methods.MethodError, match=said):
        protect_video(clip, tmp_path / "out.mp4", Protector(Method("still", Brush(amount), SIZE)))
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_key_frames_alone_are_changed_and_flicker_less(squares, tmp_path):
    """Even a change that is drawn by lot each time: between key frames one becomes the next."""
    clip = make(tmp_path / "clip.mp4", walk())
    steady, restless = Brush(chance=0.1), Brush(chance=0.1)
    report = protect_video(clip, tmp_path / "steady.mp4", painter(steady))
    each = protect_video(clip, tmp_path / "restless.mp4", painter(restless), every=0)
    assert restless.calls == 20 and steady.calls == 3
    assert report.flicker < 0.25 * each.flicker
    assert each.flicker == pytest.approx(0.1 * 127.5 * 2 / np.pi**0.5, rel=0.1)  # mean |a - b| of two normal draws


def test_a_change_moves_evenly_from_key_to_key(squares, tmp_path):
    """A brush that brightens more each time: the frames between brighten evenly."""
    brush = Brush(0)
    brush.__class__ = type("Rising", (Brush,), {"__call__": lambda self, crop, reference: self.rise(crop)})
    levels = itertools.count(1)
    brush.rise = lambda crop: crop.image + 0.1 * next(levels)
    clip = make(tmp_path / "clip.mp4", walk())
    out = protect_video(clip, tmp_path / "out.mp4", painter(brush)).path
    change = [
        (after[44:52, x - 4 : x + 4].astype(float) - before[44:52, x - 4 : x + 4]).mean() / 127.5
        for (x, _), before, after in zip(WALK, read(clip)[0], read(out)[0])
    ]
    keys = [0, 13, 19]  # half a second is 12.5 frames
    np.testing.assert_allclose(change, np.interp(range(20), keys, [0.1, 0.2, 0.3]), atol=0.012)


# ---------------------------------------------------------------- refusals


def test_what_is_no_video_is_refused_in_one_sentence(squares, tmp_path):
    (tmp_path / "letter.mp4").write_text("Dear reader, this is no video.")
    whole = make(tmp_path / "whole.mp4", walk()).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=RATE, layout="mono"), 1)
    Image.fromarray(walk()[0]).save(tmp_path / "photo.jpg")
    names = {
        "letter.mp4": "is not a video, or is damaged",
        "photo.jpg": "is a photo, for which there is `protect`",
        "half.mp4": "is not a video, or is damaged",
        "song.mp4": "has no video",
        "none.mp4": "no such file",
    }
    before = sorted(tmp_path.iterdir())
    for name, message in names.items():
        with pytest.raises(VideoError, match=message) as caught:
            protect_video(tmp_path / name, tmp_path / "out.mp4", painter())
        assert name in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_clip_without_a_face_is_refused(squares, tmp_path):
    clip = make(tmp_path / "clip.mp4", [picture()] * 5)
    for lost in ("blank", "cover", "keep"):
        with pytest.raises(VideoError, match=r"clip\.mp4: no face was found in any of 5 frames, so nothing was prot"):
            protect_video(clip, tmp_path / "out.mp4", painter(), lost=lost)
    assert not (tmp_path / "out.mp4").exists()


def test_sound_that_the_new_file_cannot_hold_is_not_dropped(squares, tmp_path):
    clip = make(tmp_path / "clip.mp4", walk(), sound="aac")
    with pytest.raises(VideoError, match=r"out\.webm cannot hold the sound of clip\.mp4 \(aac\): name a \.mkv"):
        protect_video(clip, tmp_path / "out.webm", painter())
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lost": "blnak"}, "lost is 'blnak'; expected 'blank', 'cover', 'refuse', 'keep'"),
        ({"strength": 1.5}, "strength is 1.5; expected a number from 0"),
        ({"every": -1}, "every is -1; expected seconds"),
        ({"out": "out.gif"}, r"out\.gif: the name of a protected video must end in \.mp4"),
        ({"out": "clip.mp4"}, r"clip\.mp4 is the video itself: choose another file"),
        ({"protector": painter(recipe=replace(recipes.RESIDUAL, crop_output=True))}, "writes crops"),
    ],
)
def test_wrong_wishes_are_refused(squares, tmp_path, options, message):
    clip = make(tmp_path / "clip.mp4", walk())
    wishes = {"out": "out.mp4", "protector": painter(), **options}
    content = clip.read_bytes()
    with pytest.raises(VideoError, match=message):
        protect_video(clip, tmp_path / wishes.pop("out"), **wishes)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"] and clip.read_bytes() == content


def stopping(at):
    """A progress that is interrupted before frame ``at``, counted over both looks at the clip."""
    seen = itertools.count()

    def through(frames):
        for frame in frames:
            if next(seen) == at:
                raise KeyboardInterrupt
            yield frame

    return through


@pytest.fixture
def counted(squares, monkeypatch):
    """How often faces were looked for, and looks searched for."""
    counts, meshes = {"meshes": 0, "looks": 0}, faces.meshes

    def found(photo):
        counts["meshes"] += 1
        return meshes(photo)

    monkeypatch.setattr(faces, "meshes", found)
    return counts


def same_pictures(one, other):
    (pictures, times, _), (others, moments, _) = read(one), read(other)
    return times == moments and all(np.array_equal(*pair) for pair in zip(pictures, others, strict=True))


def wearing(counts, identity="one search"):
    """A method of looks: a lighter skin, which differs from face to face and with the look that it began with."""

    def wear(crop, reference, begin=None):
        counts["looks"] += 1
        before = 0.0 if begin is None else begin.contour.mean()
        return dressed(crop, Look(contour=torch.full((1, 13), 0.5 + before / 2 + crop.image.mean())))

    def dressed(crop, look):
        gain = 1 + 0.4 * look.contour.mean().expand(1, 3, SIZE, SIZE)
        return SimpleNamespace(look=look, fields=lambda strength: Fields(torch.zeros(1, 2, SIZE, SIZE), gain))

    return Protector(Method("light", Brush(), SIZE, wear=wear, dressed=dressed, identity=lambda: identity))


@pytest.mark.parametrize("at", [0, 7, 20, 33, 39])
def test_an_interrupted_video_goes_on_to_the_same_file_and_looks_for_nothing_twice(counted, tmp_path, at):
    clip = make(tmp_path / "clip.mp4", walk())
    whole = protect_video(clip, tmp_path / "whole.mp4", wearing(counted), every=0.2)
    needed, counted["meshes"], counted["looks"] = dict(counted), 0, 0
    (tmp_path / "out.mp4").write_text("older")
    with pytest.raises(KeyboardInterrupt):
        protect_video(clip, tmp_path / "out.mp4", wearing(counted), every=0.2, progress=stopping(at))
    assert (tmp_path / "out.mp4").read_text() == "older"
    names = [each.name for each in tmp_path.iterdir()]
    assert sorted(names) == [".out.mp4.unfinished.sqlite", "clip.mp4", "out.mp4", "whole.mp4"]
    resumed = protect_video(clip, tmp_path / "out.mp4", wearing(counted), every=0.2)
    assert counted == needed and needed["looks"] > 4
    assert resumed.resumed == min(at, 20) and replace(resumed, path=whole.path, resumed=0) == whole
    assert same_pictures(tmp_path / "out.mp4", tmp_path / "whole.mp4")
    assert not file_beside(tmp_path / "out.mp4").exists()


def test_notes_of_another_clip_or_search_are_not_used(counted, tmp_path):
    clip, other = make(tmp_path / "clip.mp4", walk()), make(tmp_path / "other.mp4", walk()[:18])
    fresh = protect_video(other, tmp_path / "fresh.mp4", wearing(counted))
    for before, identity, looked in ((clip, "one search", 18), (other, "another search", 0)):
        with pytest.raises(KeyboardInterrupt):
            protect_video(before, tmp_path / "out.mp4", wearing(counted, identity), progress=stopping(30))
        counted["meshes"], counted["looks"] = 0, 0
        report = protect_video(other, tmp_path / "out.mp4", wearing(counted))
        assert counted["meshes"] == looked and counted["looks"] and report.resumed == 18 - looked
        assert same_pictures(tmp_path / "out.mp4", tmp_path / "fresh.mp4")
    assert fresh.resumed == 0


def test_damaged_notes_are_begun_anew_and_an_error_leaves_none(counted, tmp_path):
    clip, notes = make(tmp_path / "clip.mp4", walk()), file_beside(tmp_path / "out.mp4")
    notes.write_bytes(b"no notes at all" * 100)
    assert protect_video(clip, tmp_path / "out.mp4", wearing(counted)).resumed == 0
    with pytest.raises(VideoError, match="no face was found"):
        protect_video(make(tmp_path / "empty.mp4", [picture()] * 3), tmp_path / "out.mp4", wearing(counted))
    assert not notes.exists()


def test_two_processes_may_write_two_videos_but_not_one(counted, tmp_path):
    clip = make(tmp_path / "clip.mp4", walk())
    with noted(tmp_path / "out.mp4", {}), pytest.raises(VideoError, match="another process writes this video"):
        protect_video(clip, tmp_path / "out.mp4", wearing(counted))
    with noted(tmp_path / "out.mkv", {}):
        protect_video(clip, tmp_path / "out.mp4", wearing(counted))


def test_the_command_says_that_it_can_be_resumed(squares, tmp_path, monkeypatch, capsys):
    clip = make(tmp_path / "clip.mp4", walk())
    monkeypatch.setattr(protection, "prepare", lambda *_, **__: painter(Interrupting()))
    assert main(["video", str(clip)]) == 130
    said = capsys.readouterr().err
    assert "the same command resumes" in said and str(file_beside(tmp_path / "clip_protected.mp4")) in said


class Interrupting(Brush):
    """Somebody presses Ctrl-C while it draws."""

    def __call__(self, *faces):
        """Draw nothing."""
        raise KeyboardInterrupt


def test_progress_knows_how_many_frames_there_are(squares, tmp_path):
    seen = []

    def noted(frames):
        seen.append(len(frames))
        return frames

    protect_video(make(tmp_path / "clip.mp4", walk()), tmp_path / "out.mp4", painter(), progress=noted)
    assert seen == [20, 20]


def test_without_pyav_one_sentence_says_what_to_install(squares, tmp_path, monkeypatch):
    clip = make(tmp_path / "clip.mp4", walk())
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match=r"video needs PyAV: pip install 'amtgan-lib\[video\]'"):
        protect_video(clip, tmp_path / "out.mp4", painter())


# ---------------------------------------------------------------- faces through time

GREY = np.full((4, 4, 3), 120, np.uint8)
PICTURE = (1000, 1000)


def glances(*faces_of_frames, rate=10, thumbnails=None):
    """Frames with faces in the middle (x, y) of boxes of SIDE pixels, ten a second."""
    return [
        Glance(number / rate, [mesh_at(*place) for place in places], GREY if thumbnails is None else thumbnails[number])
        for number, places in enumerate(faces_of_frames)
    ]


def seen(found):
    return [list(each.meshes) for each in found]


def missing(film):
    return [number for number, missed in enumerate(tracks.missed(tracks.track(film), film, PICTURE)) if missed]


def test_two_faces_are_two_tracks_in_whichever_order_they_are_found():
    film = glances(*[[(400, 500), (460, 500)][:: 1 if step % 2 else -1] for step in range(8)])
    found = tracks.track(film)
    assert seen(found) == [list(range(8))] * 2
    for each in found:
        assert len({round(faces.bounding_box(mesh)[0]) for mesh in each.meshes.values()}) == 1


def test_a_face_that_comes_back_nearby_is_the_same_and_was_missed_meanwhile():
    there, gone = [(500, 500), (800, 200)], [(800, 200)]
    film = glances(*[there] * 6, *[gone] * 5, *[[(560, 500), (800, 200)]] * 6)
    assert len(tracks.track(film)) == 2
    assert missing(film) == [6, 7, 8, 9, 10]


@pytest.mark.parametrize("stranger", [mesh_at(200, 800), mesh_at(520, 500, 3 * SIDE)], ids=["far away", "much larger"])
def test_a_stranger_is_not_taken_for_a_lost_face(stranger):
    film = glances(*[[(500, 500)]] * 6, *[[]] * 2)
    film += [Glance(0.8 + step / 10, [stranger], GREY) for step in range(6)]
    assert len(tracks.track(film)) == 2
    assert missing(film) == list(range(14)), "either is missed while the other is seen, since both stay in the picture"


def test_a_face_that_does_not_come_back_is_missed_until_its_shot_ends():
    other = [(800, 200)]
    film = glances(*[[(500, 500), *other]] * 6, *[other] * 30)
    assert missing(film) == list(range(6, 36))
    cut = [GREY] * 20 + [GREY + 80] * 16
    assert missing(glances(*[[(500, 500), *other]] * 6, *[other] * 30, thumbnails=cut)) == list(range(6, 20))


def test_a_face_that_turns_to_the_camera_was_there_before():
    other = [(800, 200)]
    film = glances(*[other] * 5, *[[(500, 500), *other]] * 6)
    assert missing(film) == [0, 1, 2, 3, 4]


def test_a_face_that_leaves_by_the_border_is_missed_for_a_second():
    other = [(800, 200)]
    film = glances(*[[(24, 500), *other]] * 6, *[other] * 30)
    assert missing(film) == list(range(6, 16))


def test_a_mistake_of_the_detector_is_missed_for_a_second_either_way():
    film = glances(*[[(800, 200)]] * 20, [(800, 200), (300, 300)], *[[(800, 200)]] * 20)
    assert missing(film) == [*range(10, 20), *range(21, 31)]


def test_a_flash_is_no_cut():
    flash = [GREY] * 6 + [GREY + 100] + [GREY] * 6
    assert tracks.shots(glances(*[[]] * 13, thumbnails=flash)) == [range(13)]
    cut = [GREY] * 6 + [GREY + 100] * 7
    assert tracks.shots(glances(*[[]] * 13, thumbnails=cut)) == [range(6), range(6, 13)]


def test_a_face_that_walks_off_is_followed_and_missed_while_too_small():
    sides = [40, 36, 32, 28, 24, 16, 16, 16, 16, 16, 24]  # 16 pixels have 6.3 between the eyes
    film = [Glance(step / 10, [mesh_at(500, 500, side)], GREY) for step, side in enumerate(sides)]
    (each,) = tracks.track(film)
    assert list(each.meshes) == list(range(11)) and each.too_small == [5, 6, 7, 8, 9]
    assert missing(film) == [5, 6, 7, 8, 9]
    tracks.choose_keys(each, [glance.time for glance in film], 9, 1)
    assert each.keys == [0, 4, 10]


def test_where_a_missed_face_may_be_grows_with_the_time():
    film = glances(*[[(500, 500)]] * 6, *[[]] * 20)
    (lost,) = tracks.track(film)
    first, later = tracks.cover(lost, 6, film), tracks.cover(lost, 20, film)
    assert first[0] < 500 - 1.05 * SIDE and first[2] > 500 + 1.05 * SIDE
    assert later[0] < first[0] - SIDE and later[3] > first[3] + SIDE


def shaken(steps, noise):
    draw = np.random.default_rng(1)
    return [(x + draw.normal(0, noise), y + draw.normal(0, noise)) for x, y in steps]


def x_of(each):
    return np.array([faces.bounding_box(mesh)[0] + SIDE / 2 for mesh in each.meshes.values()])


def test_trembling_is_calmed_and_motion_stays():
    line = [(300 + 3.0 * step, 500) for step in range(60)]
    (exact,) = tracks.track(glances(*[[place] for place in line], rate=30))
    np.testing.assert_allclose(x_of(exact), [x for x, _ in line], atol=1e-2)
    places = shaken(line, 0.4)
    (calm,) = tracks.track(glances(*[[place] for place in places], rate=30))
    raw = np.diff([x for x, _ in places], 2).std()
    assert np.diff(x_of(calm), 2).std() < 0.25 * raw


def test_a_jump_is_no_trembling():
    steps = [(300, 500)] * 20 + [(315, 500)] * 20
    (track,) = tracks.track(glances(*[[place] for place in steps], rate=30))
    assert np.abs(x_of(track) - [x for x, _ in steps]).max() < 2.5 * tracks.TOLERANCE * SIDE


def keys_of(meshes, every=0.5, changed=0.01, rate=10):
    each = Track(range(len(meshes)), {number: mesh for number, mesh in enumerate(meshes) if mesh is not None})
    tracks.choose_keys(each, [number / rate for number in range(len(meshes))], every, changed)
    return each.keys


def test_keys_come_at_both_ends_of_a_run_and_in_between():
    still = mesh_at(500, 500)
    assert keys_of([still] * 13) == [0, 5, 10, 12]
    assert keys_of([still] * 4 + [None] * 2 + [still] * 2) == [0, 3, 6, 7]
    assert keys_of([still] * 4, every=0) == [0, 1, 2, 3]


def test_a_face_that_moves_needs_no_key_and_one_that_changes_does():
    moving = [mesh_at(500 + 9 * step, 500, SIDE + step) for step in range(5)]
    assert keys_of(moving, every=9) == [0, 4]
    still, laughing = mesh_at(500, 500), mesh_at(500, 500)
    laughing[100:300, 1] += 0.1 * SIDE
    assert keys_of([still] * 3 + [laughing] * 3, every=9) == [0, 2, 3, 5]


# ---------------------------------------------------------------- a drawn person, by the real detector and generator


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A drawn person who talks and turns for 0.8 seconds, with the hand before the face in two frames: path, points."""
    count, hidden = 20, (9, 10)
    time = torch.arange(count) / 25
    moments = portraits.scenes([4] * count, 0, 0.3).changed(
        yaw=10 * torch.sin(6 * time),
        mouth_open=0.8 * torch.sin(9 * time),
        smile=0.5,
        shift_x=0.05 * torch.sin(4 * time),
    )
    drawn = portraits.draw(portraits.people([5] * count), portraits.no_makeup(count), moments, 128)
    grain = np.random.default_rng(0).normal(0, 2, (count, 128, 128, 3))
    frames = [
        np.clip(images.to_uint8(each) + noise, 0, 255).astype(np.uint8) for each, noise in zip(drawn.image, grain)
    ]
    for number in hidden:
        frames[number][20:110, 20:110] = (205, 160, 130)
    points = drawn.points.numpy()[:, :, ::-1].astype(float)
    return make(tmp_path_factory.mktemp("film") / "film.mp4", frames, sound="aac"), points, hidden


def upright(rgb, points, size=64):
    return warps.sample(rgb, warps.similarity(faces.CROP_TEMPLATE * (size - 1), points), size).astype(float)


def test_a_drawn_person_is_protected_calmly(film, tmp_path):
    """Measured on the written pixels, in the coordinates of the true face: less flicker, and as well hidden."""
    pytest.importorskip("mediapipe")
    path, points, hidden = film
    protector = Protector(methods.load(paths.WEIGHTS / "generator_drawn.safetensors"))
    report = protect_video(path, tmp_path / "out.mp4", protector)
    assert report.lost == hidden and report.faces == 1
    clean, out = read(path)[0], read(report.path)[0]
    frames = [np.array(protector.protect(rgb).image) if n not in hidden else rgb for n, rgb in enumerate(clean)]
    each = read(make(tmp_path / "each.mp4", frames, options={"crf": "12", "preset": "fast"}))[0]
    coded = read(protect_video(path, tmp_path / "coded.mp4", protector, strength=0, lost="keep").path)[0]
    floor, calm, restless = (flicker(clean, those, points, hidden) for those in (coded, out, each))
    assert calm - floor < 0.5 * (restless - floor), "what the encoder adds to an unchanged clip left out"
    assert report.flicker < 0.6 * protect_video(path, tmp_path / "every.mp4", protector, every=0).flicker

    network = recognizers.load("drawn_ir")
    places = [number for number in range(20) if number not in hidden]
    cosines = {name: seen_by(network, [those[n] for n in places], points[places], clean[0], points[0])
               for name, those in {"clean": clean, "out": out}.items()}  # fmt: skip
    threshold = network.thresholds[0.01]
    assert cosines["clean"].min() > threshold > cosines["out"].max()


def flicker(clean, out, points, hidden):
    change = [upright(after, face) - upright(before, face) for before, after, face in zip(clean, out, points)]
    pairs = [(n, n + 1) for n in range(len(clean) - 1) if n not in hidden and n + 1 not in hidden]
    return np.mean([np.abs(change[after] - change[before]).mean() for before, after in pairs])


@torch.no_grad()
def seen_by(network, pictures, points, known, known_points):
    """Cosines of faces to a known picture of their owner."""
    frames = torch.from_numpy((np.stack([*pictures, known]) / 127.5 - 1).astype(np.float32)).permute(0, 3, 1, 2)
    places = torch.from_numpy(np.stack([*points, known_points])[:, :, ::-1].copy()).float()
    embedded = network.embed(frames, places)
    return (embedded[:-1] @ embedded[-1]).numpy()


def test_the_picture_of_a_clip_is_no_clip(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.jpg")
    with pytest.raises(VideoError):
        protect_video(tmp_path / "photo.jpg", tmp_path / "out.mp4", painter())
