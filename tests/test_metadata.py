"""What a protected photo's file says beside its pixels: nothing that shows or places the unchanged face."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from amtgan_lib import metadata
from amtgan_lib.images import open_photo
from amtgan_lib.protection import Protected

ARTIST, ORIENTATION, DATE = 0x013B, 0x0112, 0x9003


@pytest.fixture
def picture():
    y, x = np.mgrid[:24, :32]
    return Image.fromarray(np.stack([x * 8, y * 10, x + y], -1).astype(np.uint8))


def exif_of(**changes):
    exif = Image.Exif()
    exif[ARTIST] = "Ann"
    exif.get_ifd(0x8769)[DATE] = "2026:11:25 12:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0)})
    exif.update(changes.get("tags", {}))
    return exif


def saved(file, out, **options):
    photo = open_photo(file)
    return Protected(photo.original, (), photo).save(out, **options)


# ---------------------------------------------------------------- the place


@pytest.mark.parametrize("out", ["out.jpg", "out.png", "out.webp", "out.tif"])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_the_place_is_left_out_unless_it_is_to_stay_and_the_rest_stays(picture, kind, out, tmp_path):
    picture.save(tmp_path / f"in.{kind}", exif=exif_of().tobytes())
    for keep in (False, True):
        with Image.open(saved(tmp_path / f"in.{kind}", tmp_path / out, keep_location=keep)) as written:
            exif = written.getexif()
            assert exif[ARTIST] == "Ann" and exif.get_ifd(0x8769)[DATE].startswith("2026")
            assert exif.get_ifd(0x8825).get(2) == ((51.0, 30.0, 0.0) if keep else None)


@pytest.mark.parametrize("out", ["out.jpg", "out.png", "out.webp", "out.tif"])
def test_text_that_is_not_ascii_keeps_its_bytes(picture, out, tmp_path):
    """Cameras and programs write UTF-8 where EXIF knows ASCII alone."""
    exif = exif_of(tags={ARTIST: "Zo\u00eb \u5bb6".encode()})
    exif.get_ifd(0x8769)[0xA434] = "Objectif \u00e0 35 mm".encode()
    picture.save(tmp_path / "in.jpg", exif=exif.tobytes())
    with Image.open(saved(tmp_path / "in.jpg", tmp_path / out)) as written:
        found = written.getexif()
        assert found[ARTIST].encode("latin-1").decode() == "Zo\u00eb \u5bb6"
        assert "35 mm" in str(found.get_ifd(0x8769)[0xA434])


@pytest.mark.parametrize("kind", ["jpg", "png", "bmp"])
def test_the_resolution_for_print_stays_with_the_metadata(picture, kind, tmp_path):
    picture.save(tmp_path / f"in.{kind}", dpi=(300, 300))
    for keep in (True, False):
        with Image.open(saved(tmp_path / f"in.{kind}", tmp_path / f"out.{kind}", keep_metadata=keep)) as written:
            assert (round(written.info.get("dpi", (0, 0))[0]) == 300) is keep


def test_a_photo_that_says_nothing_but_its_place_says_nothing_afterwards(picture, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    picture.save(tmp_path / "in.jpg", exif=exif)
    assert metadata.has_place(open_photo(tmp_path / "in.jpg").exif)
    with Image.open(saved(tmp_path / "in.jpg", tmp_path / "out.jpg")) as written:
        assert "exif" not in written.info


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description exif:GPSLatitude="51,30N"/></x:xmpmeta>'
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x14\x1c\x02\x5a\0\x0fMarseille, quai"  # 2:90, the city


@pytest.mark.parametrize("out", ["out.jpg", "out.png", "out.webp", "out.tif"])
@pytest.mark.parametrize("keep", [False, True])
def test_the_place_in_xmp_and_iptc_is_never_written(picture, out, keep, tmp_path):
    picture.save(tmp_path / "in.jpg", xmp=XMP)
    content = (tmp_path / "in.jpg").read_bytes()
    segment = b"Photoshop 3.0\0" + IPTC
    marked = content[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    (tmp_path / "in.jpg").write_bytes(marked)
    assert any("XMP" in note for note in open_photo(tmp_path / "in.jpg").notes)
    written = saved(tmp_path / "in.jpg", tmp_path / out, keep_location=keep).read_bytes()
    assert b"51,30N" not in written and b"Marseille" not in written


# ---------------------------------------------------------------- previews


def thumbnail():
    """A picture as previews are, with a text that is easily found again."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, "JPEG", comment=b"THE UNCHANGED FACE")
    return file.getvalue()


def with_previews(picture):
    """A JPEG whose every corner that is known for previews holds one."""
    preview = thumbnail()
    tags = {0x8649: b"8BIM\x04\x0c" + preview, 0x02BC: preview, 0x501B: preview, 0x9C9C: preview}
    exif = exif_of(tags=tags)
    others = dict.fromkeys((0xFDE8, 0xC4A5, 0x8649, 0x83BB, 0x9286, 0xA302, 0xA40B, 0x8828), b"  " + preview)
    exif.get_ifd(0x8769).update({0x927C: b"maker" + preview, 0x829D: 2.8, **others})
    file = io.BytesIO()
    picture.save(file, "MPO", save_all=True, append_images=[picture], exif=exif, xmp=b"<x>" + preview + b"</x>")
    irb = b"Photoshop 3.0\0" + b"8BIM\x04\x0c\0\0" + struct.pack(">I", len(preview)) + preview
    content = file.getvalue()
    segment = b"\xff\xed" + struct.pack(">H", len(irb) + 2) + irb
    return content[:2] + segment + content[2:] + preview


@pytest.mark.parametrize("out", ["out.jpg", "out.png", "out.webp", "out.tif"])
def test_no_preview_of_the_unchanged_face_is_written(picture, out, tmp_path):
    content = with_previews(picture)
    assert content.count(b"THE UNCHANGED FACE") >= 5
    (tmp_path / "in.jpg").write_bytes(content)
    assert open_photo(tmp_path / "in.jpg").original.info == {}  # some encoders write what they find there
    written = saved(tmp_path / "in.jpg", tmp_path / out, keep_location=True).read_bytes()
    assert b"UNCHANGED" not in written and written[2:].count(b"\xff\xd8\xff") == 0
    with Image.open(tmp_path / out) as again:
        assert again.getexif()[ARTIST] == "Ann" and getattr(again, "n_frames", 1) == 1
        assert again.getexif().get_ifd(0x8769)[0x829D] == 2.8


# ---------------------------------------------------------------- comments


def test_a_comment_that_is_a_picture_is_not_written(picture, tmp_path):
    picture.save(tmp_path / "in.jpg", comment=b"me: " + thumbnail())
    assert b"UNCHANGED" not in saved(tmp_path / "in.jpg", tmp_path / "out.jpg").read_bytes()


@pytest.mark.parametrize(("out", "where"), [("out.jpg", "comment"), ("out.png", "Comment")])
def test_a_comment_stays_with_the_metadata(picture, out, where, tmp_path):
    picture.save(tmp_path / "in.jpg", comment="grüße".encode())
    with Image.open(saved(tmp_path / "in.jpg", tmp_path / out)) as written:
        found = written.info[where]
        assert (found.decode() if isinstance(found, bytes) else found) == "grüße"
    with Image.open(saved(tmp_path / "in.jpg", tmp_path / out, keep_metadata=False)) as written:
        assert where not in written.info


# ---------------------------------------------------------------- what is broken

BROKEN = {
    "no header": bytes(range(60)),
    "a wrong number": b"II+\0" + bytes(60),
    "beyond its end": b"II*\0\xff\xff\xff\xff",
    "cut off": b"II*\0\x08\0\0\0\xff\xff",
    "a word": b"garbage",
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("what", BROKEN)
def test_broken_exif_is_left_out_and_said(picture, kind, what, tmp_path):
    file = tmp_path / f"a.{kind}"
    if kind == "png":
        picture.save(file)
        chunk = b"eXIf" + BROKEN[what]
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        file.write_bytes(file.read_bytes()[:33] + chunk + file.read_bytes()[33:])
    else:
        picture.save(file, exif=b"Exif\0\0" + BROKEN[what])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        photo = open_photo(file)
    assert photo.size == picture.size and photo.exif == b""
    assert photo.notes == (metadata.DAMAGED,)
    with Image.open(saved(file, tmp_path / "out.png")) as written:
        assert not written.getexif()


def test_the_case_of_a_chunk_without_a_header(wrong_once):
    photo = open_photo(wrong_once / "exif_garbage.png")
    assert photo.size == (700, 700) and photo.exif == b"" and photo.notes == (metadata.DAMAGED,)


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(picture, value, tmp_path):
    picture.save(tmp_path / "a.png", exif=exif_of(tags={ORIENTATION: value}))
    photo = open_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.rgb, np.asarray(picture))
    with Image.open(saved(tmp_path / "a.png", tmp_path / "out.png")) as written:
        assert ORIENTATION not in written.getexif()


def test_a_whole_file_says_nothing(picture, tmp_path):
    picture.save(tmp_path / "a.jpg", exif=exif_of())
    assert open_photo(tmp_path / "a.jpg").notes == ()
