"""Kinds of picture files: which are read, which are refused and why, and what becomes of each when written."""

import base64
import io
import os
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from amtgan_lib import formats, paths
from amtgan_lib.cli import folders
from amtgan_lib.images import PhotoError, open_photo
from amtgan_lib.protection import Protected

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def face():
    """A drawn face, 96 x 80 pixels."""
    with Image.open(min((paths.LIBRARY / "datasets" / "pictures" / "160").glob("*.webp"))) as picture:
        return picture.convert("RGB").resize((96, 80))


def in_mode(face, mode):
    if mode == "I;16":
        return Image.fromarray(np.asarray(face.convert("L"), np.uint16) * 257 + 3)
    if mode == "LAB":
        return ImageCms.profileToProfile(face, *map(ImageCms.createProfile, ("sRGB", "LAB")), outputMode="LAB")
    if mode in ("RGBA clear", "LA clear"):
        picture = face.convert(mode.split()[0])
        picture.putalpha(Image.linear_gradient("L").resize(face.size))
        return picture
    return face.convert("P").convert("PA") if mode == "PA" else face.convert(mode)


def saved(photo, path):
    return Protected(photo.original, (), photo).save(path)


# ---------------------------------------------------------------- written: the table of docs/commands.md

REFUSED = PhotoError
# How each mode is stored in each format; the file it comes from.
TABLE = {
    # came as:         from   .jpg      .png      .webp    .tif      .bmp
    "RGB": ("png", "RGB", "RGB", "RGB", "RGB", "RGB"),
    "L": ("png", "L", "L", "RGB", "L", "L"),
    "1": ("png", "RGB", "RGB", "RGB", "RGB", "RGB"),
    "P": ("png", "RGB", "RGB", "RGB", "RGB", "RGB"),
    "RGBA": ("png", "RGB", "RGBA", "RGB", "RGBA", "RGB"),
    "RGBA clear": ("png", REFUSED, "RGBA", "RGBA", "RGBA", REFUSED),
    "LA": ("png", "L", "LA", "RGB", "LA", "L"),
    "LA clear": ("png", REFUSED, "LA", "RGBA", "LA", REFUSED),
    "PA": ("tif", "RGB", "RGBA", "RGB", "RGBA", "RGB"),
    "I;16": ("png", "L", "I;16", "RGB", "I;16", "L"),
    "CMYK": ("tif", "RGB", "RGB", "RGB", "RGB", "RGB"),
    "YCbCr": ("jpg", "RGB", "RGB", "RGB", "RGB", "RGB"),
    "LAB": ("tif", "RGB", "RGB", "RGB", "RGB", "RGB"),
}


@pytest.mark.parametrize("mode", TABLE)
def test_each_mode_is_written_as_the_table_says(face, mode, tmp_path):
    origin, *expected = TABLE[mode]
    in_mode(face, mode).save(tmp_path / f"in.{origin}")
    photo = open_photo(tmp_path / f"in.{origin}")
    for suffix, stored in zip((".jpg", ".png", ".webp", ".tif", ".bmp"), expected):
        out = tmp_path / f"out{suffix}"
        if stored is REFUSED:
            for attempt in (lambda: formats.check(photo.original, out), lambda: saved(photo, out)):  # noqa: B023
                with pytest.raises(PhotoError, match="transparent parts"):
                    attempt()
            assert not out.exists()
            continue
        with Image.open(saved(photo, out)) as written:
            assert written.mode == stored, suffix
        apart = np.abs(open_photo(out).rgb.astype(int) - photo.rgb)
        assert apart.mean() < 4 if suffix == ".jpg" else apart.max() == 0, suffix
        assert bool(formats.check(photo.original, out)) == (mode == "I;16" and suffix not in (".png", ".tif"))


@pytest.mark.parametrize("mode", ["RGBA clear", "LA clear"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_what_lies_under_transparent_parts_stays_too(face, mode, suffix, tmp_path):
    photo = open_photo(in_mode(face, mode))
    again = open_photo(saved(photo, tmp_path / f"out{suffix}"))
    np.testing.assert_array_equal(again.original.convert("RGBA"), photo.original.convert("RGBA"))


@pytest.mark.parametrize(("side", "suffix"), [(16_384, ".webp"), (65_600, ".jpg")])
def test_a_picture_too_long_for_a_format_is_refused(side, suffix):
    with pytest.raises(PhotoError, match="at most"):
        formats.check(Image.new("L", (side, 2)), f"out{suffix}")


def test_an_ending_that_cannot_be_written_is_refused(face, tmp_path):
    for name in ("out.gif", "out.heic", "out", "out.xyz"):
        with pytest.raises(PhotoError, match="suffix that cannot be written"):
            saved(open_photo(face), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_cmyk_is_converted_through_its_profile(face, tmp_path, monkeypatch):
    """The profile says which colour an ink is; without it, or where it is damaged, Pillow's own rule."""
    asked = []
    convert = ImageCms.profileToProfile

    def through(image, own, *rest, **named):
        asked.append(own)
        return convert(image.convert("RGB"), ImageCms.createProfile("sRGB"), *rest, **named)

    monkeypatch.setattr(ImageCms, "profileToProfile", through)
    for name, profile in {"with": SRGB, "damaged": b"no profile", "without": None}.items():
        face.convert("CMYK").save(tmp_path / f"{name}.tif", **({"icc_profile": profile} if profile else {}))
        photo = open_photo(tmp_path / f"{name}.tif")
        assert photo.icc_profile is None and any("CMYK" in note for note in photo.notes)
        assert np.abs(photo.rgb.astype(int) - np.asarray(face)).mean() < 3
        assert len(asked) == 1, name


def test_a_grey_profile_is_not_written_beside_colours(face, tmp_path):
    face.convert("L").save(tmp_path / "in.png", icc_profile=SRGB)
    photo = open_photo(tmp_path / "in.png")
    for suffix, kept in ((".png", True), (".jpg", True), (".webp", False)):
        with Image.open(saved(photo, tmp_path / f"out{suffix}")) as written:
            assert bool(written.info.get("icc_profile")) == kept, suffix


def deep_png(face):
    """A PNG of 16 bits a colour, by hand: Pillow writes none."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    values = np.asarray(face).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", *face.size, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_chunk(path, kind, data):
    """The PNG file with another chunk after its header."""
    content = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content[:33] + chunk + content[33:])
    return path


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (b"gAMA", struct.pack(">I", 100_000), "gamma"),
        (b"gAMA", struct.pack(">I", 45_455), ""),
        (b"cICP", bytes([12, 13, 0, 1]), "Display P3"),
        (b"cICP", bytes([1, 13, 0, 1]), ""),
    ],
)
def test_colours_that_look_otherwise_without_what_explains_them_are_said(face, kind, data, said, tmp_path):
    face.save(tmp_path / "a.png")
    notes = open_photo(with_chunk(tmp_path / "a.png", kind, data)).notes
    assert (said in notes[0]) if said else notes == ()


def test_deep_colours_that_are_lost_are_said(face, tmp_path):
    (tmp_path / "deep.png").write_bytes(deep_png(face))
    photo = open_photo(tmp_path / "deep.png")
    assert any("8 bits" in note for note in photo.notes)
    np.testing.assert_array_equal(photo.rgb, np.asarray(face))
    assert open_photo(face).notes == ()


# ---------------------------------------------------------------- read

WRITABLE = (
    "jpg",
    "jpeg",
    "jpe",
    "jfif",
    "png",
    "apng",
    "webp",
    "tif",
    "tiff",
    "gif",
    "bmp",
    "dib",
    "avif",
    "jp2",
    "j2k",
)
WRITABLE += ("tga", "ppm", "pgm", "ico", "icns", "pcx", "qoi", "sgi", "dds")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_what_pillow_reads_is_a_photo(face, suffix, tmp_path):
    file = tmp_path / f"a.{suffix}"
    try:
        face.save(file)
    except (OSError, KeyError, ValueError):
        pytest.skip(f"this Pillow writes no .{suffix}")
    assert formats.is_picture(file) and formats.is_picture(file.with_suffix(f".{suffix.upper()}"))
    assert open_photo(file).original.mode == "RGB"


@pytest.mark.parametrize("name", ["a.dng", "a.CR3", "a.nef", "a.jxl", "a.exr", "a.heic", "a.HIF"])
def test_pictures_that_may_not_be_readable_count_as_pictures(name, tmp_path):
    (tmp_path / name).write_bytes(b"something")
    assert formats.is_picture(tmp_path / name)
    with pytest.raises(PhotoError, match=name):
        open_photo(tmp_path / name)


def test_a_raw_file_is_not_read_as_its_preview(face, tmp_path):
    face.save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.nef")
    with pytest.raises(PhotoError, match=r"a\.nef is a camera's raw file"):
        open_photo(tmp_path / "a.nef")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("name", ["photo", "photo.jpg_large", "photo.txt"])
def test_a_picture_is_known_by_its_beginning_where_its_ending_says_nothing(face, kind, name, tmp_path):
    if kind not in Image.registered_extensions().values() or kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    face.save(tmp_path / name, kind)
    assert formats.is_picture(tmp_path / name)
    assert open_photo(tmp_path / name).size == face.size


def test_what_is_no_picture_is_none(tmp_path):
    contents = {
        "notes.txt": b"Dear reader",
        "film.mp4": b"\0\0\0\x18ftypisom\0\0\0\0isomavc1",
        "film.mpg": b"\0\0\1\xba",
        "paper.pdf": b"%PDF-1.4",
        "drawing.eps": b"%!PS-Adobe",
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert not formats.is_picture(tmp_path / name), name


def test_a_folder_holds_every_picture(face, tmp_path):
    for name in ("a.jpg", "b.jfif", "c.gif", "d.tga", "e"):
        face.save(tmp_path / name, None if "." in name else "PNG")
    for name in ("f.heic", "g.cr2", "notes.txt", "film.mp4"):
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "z").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe")
    found = folders.look(tmp_path)
    assert [path.name for path in found.photos] == ["a.jpg", "b.jfif", "c.gif", "d.tga", "e", "f.heic", "g.cr2"]
    assert [path.name for path in found.others] == ["z", "film.mp4", "notes.txt", "pipe"]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize("name", ["a.heic", "a.jpg"])
def test_heic_without_its_extra_is_a_failure_that_names_it(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / name).write_bytes(HEIC)
    with pytest.raises(PhotoError, match=r"HEIC, which needs an extra: pip install 'amtgan-lib\[heif\]'"):
        open_photo(tmp_path / name)


# Quarters of red and green above blue and white, 48 x 32, lying on the side; the EXIF data say so, and name Ann. Made
# by pillow-heif, which writes such files, while the extra only reads them.
QUARTERS = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAchtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9jAA"
    "AAAERAAAIAAQAAAAAB7AABAAAAAAAAAJAAAgAAAAACfAABAAAAAAAAADAAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVp"
    "bmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAABB2lwcnAAAADmaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGE"
    "ABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkA"
    "AAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAACAAAAABAAAAMAAAAAH////gAAAAAv////AAAAACAAAAEH"
    "BpeGkAAAAAAwgICAAAAAlpcm90AwAAABlpcG1hAAAAAAAAAAEAAQaBAgMFhIYAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAMhtZGF0AAAA"
    "jCgBrwngITip/+U5v/2NH/9+mBxb4TB7vAVW/hsa/Poys/4tEAVp32lg5YRWMYP/Rv3zsg66OI/+tXF/MrvtrPdJM192PU60LbD0Opm8R2/qng"
    "nMD61VwkqzUGfMShNGBoi999+E+A+Si1iwJR+7Eb8+Ks2gcGvPXoZwJYN36Jj4FndFrTuqABTona9LAAAABkV4aWYAAE1NACoAAAAIAAIBEgAD"
    "AAAAAQAGAAABOwACAAAABEFubgAAAAAA"
)


def test_heic_is_read_with_its_extra_upright_and_with_its_exif(tmp_path):
    pytest.importorskip("pi_heif", reason="no HEIC tests: pip install 'amtgan-lib[heif]'")
    (tmp_path / "a.heic").write_bytes(QUARTERS)
    photo = open_photo(tmp_path / "a.heic")
    assert photo.size == (48, 32) and b"Ann" in photo.exif
    corners = photo.rgb[8::16, 12::24].astype(int)
    expected = [[(200, 30, 30), (30, 160, 30)], [(30, 30, 200), (230, 230, 230)]]
    assert np.abs(corners - np.array(expected)).max() < 20
    (tmp_path / "cut.heic").write_bytes(QUARTERS[:400])
    with pytest.raises(PhotoError, match=r"cut\.heic"):
        open_photo(tmp_path / "cut.heic")


@pytest.mark.parametrize(("transfer", "text"), [(16, 0), (18, 0), (16, 20_000)])
def test_an_hdr_picture_is_refused(face, transfer, text, tmp_path):
    """Also where it says so after a long text."""
    file = io.BytesIO()
    face.save(file, "PNG")
    chunks = b""
    for said in (b"tEXtNote\0" + b"a" * text, b"cICP" + bytes([9, transfer, 0, 1])):
        chunks += struct.pack(">I", len(said) - 4) + said + struct.pack(">I", zlib.crc32(said))
    content = file.getvalue()
    (tmp_path / "a.png").write_bytes(content[:33] + chunks + content[33:])
    with pytest.raises(PhotoError, match=r"a\.png is an HDR picture"):
        open_photo(tmp_path / "a.png")


# ---------------------------------------------------------------- frames and pages


def test_of_an_icon_the_largest_picture_is_the_photo_and_the_others_are_said(face, tmp_path):
    face = face.resize((64, 64))
    face.save(tmp_path / "a.ico", sizes=[(64, 64), (32, 32)])
    opened = open_photo(tmp_path / "a.ico")
    assert opened.size == (64, 64) and any("1 of its pictures, smaller" in note for note in opened.notes)
    face.save(tmp_path / "b.ico", sizes=[(64, 64)])
    assert not open_photo(tmp_path / "b.ico").notes


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
def test_several_frames_or_pages_are_refused_and_a_single_one_is_not(face, suffix, tmp_path):
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow writes no .{suffix}")
    others = [face.transpose(Image.Transpose.ROTATE_180), face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    face.save(tmp_path / f"many.{suffix}", save_all=True, append_images=others)
    with pytest.raises(PhotoError, match=rf"many\.{suffix} holds 3 frames or pages"):
        open_photo(tmp_path / f"many.{suffix}")
    face.save(tmp_path / f"one.{suffix}", save_all=True)
    assert open_photo(tmp_path / f"one.{suffix}").size == face.size


@pytest.mark.parametrize("name", ["a.mpo", "a.jpg"])
def test_the_first_picture_of_a_phone_s_file_is_the_photo_and_the_rest_is_said(face, name, tmp_path):
    preview = face.resize((24, 20))
    face.save(tmp_path / name, "MPO", save_all=True, append_images=[preview])
    photo = open_photo(tmp_path / name)
    assert photo.size == face.size and photo.notes and "1 other picture" in photo.notes[0]
    written = saved(photo, tmp_path / "out.jpg").read_bytes()
    assert written.count(b"\xff\xd8\xff") == 1 and b"MPF" not in written


def test_the_views_of_a_3d_camera_are_refused(face, tmp_path):
    face.save(tmp_path / "a.mpo", save_all=True, append_images=[face])
    head, mark, rest = (tmp_path / "a.mpo").read_bytes().partition(b"MPF\0")
    photo, eye = struct.pack("<I", 0x030000), struct.pack("<I", 0x020002)  # a photo of its own; one of two for 3D
    assert rest[50:54] == photo
    (tmp_path / "a.mpo").write_bytes(head + mark + rest[:50] + eye + rest[54:])
    with pytest.raises(PhotoError, match="2 frames or pages"):
        open_photo(tmp_path / "a.mpo")


def test_a_preview_in_a_tiff_is_no_page(face, tmp_path):
    preview = face.resize((24, 20))
    preview.encoderinfo = {"tiffinfo": {0x00FE: 1}}
    face.save(tmp_path / "a.tif", save_all=True, append_images=[preview])
    photo = open_photo(tmp_path / "a.tif")
    assert photo.size == face.size and "1 other picture" in photo.notes[0]
    with Image.open(saved(photo, tmp_path / "out.tif")) as written:
        assert written.n_frames == 1


def test_no_warning_reaches_the_reader(face, tmp_path):
    face.save(tmp_path / "a.mpo", save_all=True, append_images=[face.resize((24, 20))])
    content = (tmp_path / "a.mpo").read_bytes()
    (tmp_path / "b.jpg").write_bytes(content[: len(content) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("a.mpo", "b.jpg"):
            try:
                open_photo(tmp_path / name)
            except PhotoError:
                continue
