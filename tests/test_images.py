import io
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from amtgan_lib import formats, images
from amtgan_lib.images import Change, PhotoError, open_photo

WIDTH, HEIGHT = 31, 23
ORIENTATION = 0x0112


def pixels(channels=3, dtype=np.uint8, seed=0):
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def own_mode_photos():
    """A picture of each mode that is kept as it is."""
    return {
        "RGB": Image.fromarray(pixels(3)),
        "RGBA": Image.fromarray(pixels(4)),
        "L": Image.fromarray(pixels(1)),
        "LA": Image.fromarray(pixels(2)),
        "I;16": Image.fromarray(pixels(1, np.uint16)),
    }


by_mode = pytest.mark.parametrize("mode", own_mode_photos())


def nothing(photo, box=(4, 3, 20, 15)):
    return Change(np.zeros((box[3] - box[1], box[2] - box[0], 3), np.float32), box[0], box[1], photo.size)


# --- opening ------------------------------------------------------------------------------------------------------


@by_mode
def test_a_photo_keeps_its_mode_through_a_file(mode, tmp_path):
    picture = own_mode_photos()[mode]
    picture.save(tmp_path / "a.png")
    photo = open_photo(tmp_path / "a.png")
    assert photo.original.mode == mode
    assert photo.size == (WIDTH, HEIGHT)
    assert photo.name == "a.png"
    assert photo.rgb.shape == (HEIGHT, WIDTH, 3) and photo.rgb.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(photo.original), np.asarray(picture))
    if mode != "I;16":
        np.testing.assert_array_equal(photo.rgb, np.asarray(picture.convert("RGB")))


def test_sixteen_bit_grey_is_rounded_to_the_nearest_level():
    values = np.array([[0, 128, 129, 257, 385, 386, 65406, 65407, 65535]], np.uint16)
    photo = open_photo(Image.fromarray(values))
    assert photo.rgb[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2, 254, 255, 255]
    assert (photo.rgb == photo.rgb[..., :1]).all()


def test_sixteen_bit_grey_as_32_bit_integers_is_the_same():
    values = pixels(1, np.uint16)
    photo = open_photo(Image.fromarray(values.astype(np.int32)))
    assert photo.original.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(photo.original), values)


@pytest.mark.parametrize("values", [np.full((4, 4), 70000, np.int32), np.full((4, 4), 0.5, np.float32)])
def test_32_bit_pixels_are_refused(values):
    with pytest.raises(PhotoError, match="32 bits"):
        open_photo(Image.fromarray(values))


def test_sixteen_bit_rgb_is_read_as_8_bit(tmp_path):
    # A PNG by hand: the decoder has no 16-bit RGB to write one from.
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    values = pixels(3, np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    photo = open_photo(tmp_path / "a.png")
    assert photo.original.mode == "RGB"
    assert np.abs(photo.rgb - values / 257).max() <= 1


@pytest.mark.parametrize(
    ("mode", "expected"), [("CMYK", "RGB"), ("P", "RGB"), ("1", "RGB"), ("YCbCr", "RGB"), ("PA", "RGBA")]
)
def test_other_modes_become_rgb(mode, expected):
    picture = Image.fromarray(pixels(3)).convert("P").convert(mode) if mode == "PA" else Image.fromarray(pixels(3))
    photo = open_photo(picture.convert(mode))
    assert photo.original.mode == expected
    np.testing.assert_array_equal(photo.rgb, np.asarray(photo.original.convert("RGB")))


def test_a_cmyk_profile_is_not_kept(tmp_path):
    for mode, kept in (("CMYK", None), ("RGB", b"profile")):
        Image.fromarray(pixels(3)).convert(mode).save(tmp_path / "a.jpg", icc_profile=b"profile")
        assert open_photo(tmp_path / "a.jpg").icc_profile == kept


@pytest.mark.parametrize(("mode", "colour"), [("RGB", (255, 0, 0)), ("L", 255), ("P", 0)])
def test_a_transparent_colour_becomes_alpha(mode, colour, tmp_path):
    picture = Image.new(mode, (4, 2), 1)
    picture.paste(colour, (0, 0, 2, 2))
    picture.save(tmp_path / "a.png", transparency=colour)
    photo = open_photo(tmp_path / "a.png")
    assert photo.original.mode == ("LA" if mode == "L" else "RGBA")
    assert np.asarray(photo.original.getchannel("A")).tolist() == [[0, 0, 255, 255]] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation, tmp_path):
    upright = np.zeros((HEIGHT, WIDTH), np.uint8)
    upright[:8, :8] = 255  # a corner that no turn and no mirror leaves in place
    upright[:4, 8:16] = 128
    # What the camera stored, so that the orientation leads back to upright.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    photo = open_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(photo.original), upright)
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept.get(ORIENTATION, 1) == 1


PREVIEW = bytes(range(1, 200))


def exif_with_preview():
    """EXIF data whose second directory holds a preview picture, as cameras write it."""
    preview = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(preview, "JPEG")
    preview = preview.getvalue()

    def entry(tag, kind, value, count=1):
        return struct.pack(">HHI", tag, kind, count) + value

    second = 8 + 2 + 12 + 4
    start = second + 2 + 3 * 12 + 4
    first_directory = struct.pack(">H", 1) + entry(0x0131, 2, b"cam\0", 4) + struct.pack(">I", second)
    entries = entry(0x0103, 3, struct.pack(">HH", 6, 0)) + entry(0x0201, 4, struct.pack(">I", start))
    entries += entry(0x0202, 4, struct.pack(">I", len(preview)))
    data = first_directory + struct.pack(">H", 3) + entries + struct.pack(">I", 0) + preview
    return b"Exif\0\0MM\0*" + struct.pack(">I", 8) + data, preview


def test_exif_and_profile_are_kept_but_not_the_preview(tmp_path):
    exif, preview = exif_with_preview()
    Image.fromarray(pixels(3)).save(tmp_path / "a.jpg", exif=exif, icc_profile=b"profile")
    assert preview in (tmp_path / "a.jpg").read_bytes()
    photo = open_photo(tmp_path / "a.jpg")
    kept = Image.Exif()
    kept.load(photo.exif)
    assert kept[0x0131] == "cam"
    assert preview not in photo.exif and preview[20:60] not in photo.exif
    assert photo.icc_profile == b"profile"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [None, 6])
def test_what_describes_a_photo_is_kept_and_what_may_hold_its_picture_is_not(suffix, orientation, tmp_path):
    """Camera, time and place stay; the maker's note, XMP and Photoshop's resources, where previews lie, do not."""
    exif = Image.Exif()
    exif.update({0x010F: "a camera", 0x013B: "Ann", 0x8649: b"8BIM" + PREVIEW, 0x02BC: b"<x>" + PREVIEW + b"</x>"})
    exif.get_ifd(0x8769).update({0x9003: "2026:11:25 12:00:00", 0x927C: b"OLYMP\0\1\0" + PREVIEW})
    exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 30.0, 0.0)})
    if orientation:
        exif[ORIENTATION] = orientation
    Image.fromarray(pixels(3)).save(tmp_path / f"a.{suffix}", exif=exif.tobytes())
    assert PREVIEW in (tmp_path / f"a.{suffix}").read_bytes()

    photo = open_photo(tmp_path / f"a.{suffix}")
    photo.original.save(tmp_path / f"b.{suffix}", exif=photo.exif)
    assert PREVIEW not in photo.exif and PREVIEW not in (tmp_path / f"b.{suffix}").read_bytes()
    with Image.open(tmp_path / f"b.{suffix}") as again:
        kept = again.getexif()
        assert (again.height, again.width) == photo.rgb.shape[:2] and kept.get(ORIENTATION, 1) == 1
        assert (again.width < again.height) == (orientation == 6)
        assert (kept[0x010F], kept[0x013B]) == ("a camera", "Ann")
        assert kept.get_ifd(0x8769)[0x9003] == "2026:11:25 12:00:00"
        assert kept.get_ifd(0x8825)[2] == (51.0, 30.0, 0.0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("directory", ["first", "exif"])
def test_a_tag_of_an_odd_type_spoils_no_photo(directory, tmp_path):
    """A number where words belong and the other way round, an integer where a directory should lie: left out."""
    pointer = struct.pack("<HHII", 0x8769, 4, 1, 26) if directory == "exif" else b""
    for tag in map(int, ExifTags.Base):
        for kind, value in ((3, b"\5\0\0\0"), (2, b"abc\0"), (9, struct.pack("<i", -5)), (7, b"\0\1\2\3")):
            count = {3: 1, 2: 4, 9: 1, 7: 4}[kind]
            entry = struct.pack("<H", 1) + struct.pack("<HHI", tag, kind, count) + value + b"\0" * 4
            data = struct.pack("<H", 1) + pointer + b"\0" * 4 + entry if pointer else entry
            exif = b"Exif\0\0II*\0\x08\0\0\0" + data
            Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", exif=exif)
            assert open_photo(tmp_path / "a.jpg").rgb.shape == (8, 8, 3)


def test_the_size_in_a_phones_tags_spoils_no_tiff(tmp_path):
    exif = Image.Exif()
    exif.update({0x0100: 7, 0x0101: 5, 0x0110: "a phone"})
    Image.fromarray(pixels(3)).save(tmp_path / "a.jpg", exif=exif)
    photo = open_photo(tmp_path / "a.jpg")
    photo.original.save(tmp_path / "b.tif", exif=photo.exif)
    with Image.open(tmp_path / "b.tif") as again:
        assert again.size == photo.size and again.getexif()[0x0110] == "a phone"


def test_a_photo_without_exif_has_none(tmp_path):
    Image.fromarray(pixels(3)).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").exif == b""


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "bmp"])
def test_a_truncated_photo_is_one_clear_error(suffix, tmp_path):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels(3)).resize((90, 60)).save(file)
    whole = file.read_bytes()
    assert open_photo(file).size == (90, 60)
    for share in (0.0, 0.001, 0.01, 0.1, 0.5, 0.9, 0.98):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(PhotoError) as caught:
            open_photo(file)
        assert "\n" not in str(caught.value) and f"a.{suffix}" in str(caught.value)


def test_a_truncated_picture_is_the_same_error(tmp_path):
    Image.fromarray(pixels(3)).resize((90, 60)).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:2000])
    with Image.open(tmp_path / "a.png") as picture, pytest.raises(PhotoError, match=r"a\.png is damaged"):
        open_photo(picture)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_is_no_traceback(tmp_path):
    exif, _ = exif_with_preview()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(exif)
        for place in rng.integers(6, 60, 4):
            broken[place] = rng.integers(256)
        Image.fromarray(pixels(3)).save(tmp_path / "a.jpg", exif=bytes(broken))
        try:
            photo = open_photo(tmp_path / "a.jpg")
        except PhotoError:
            continue
        assert photo.rgb.shape[2] == 3


def test_what_is_no_image(tmp_path):
    (tmp_path / "text.jpg").write_text("This is not a picture.")
    with pytest.raises(PhotoError, match=r"text\.jpg is not an image"):
        open_photo(tmp_path / "text.jpg")
    with pytest.raises(PhotoError, match="no such file"):
        open_photo(tmp_path / "absent.jpg")
    with pytest.raises(PhotoError, match="no such file"):
        open_photo(tmp_path)


def test_a_photo_of_too_many_pixels_is_refused_with_the_number(tmp_path, monkeypatch):
    Image.fromarray(pixels(3)).save(tmp_path / "a.png")
    monkeypatch.setattr(formats, "MEGAPIXELS", 0.0001)
    for source in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes()):
        with pytest.raises(PhotoError, match=r"a\.png has more than 0\.0001 megapixels"):
            images.read_photo(source, "a.png") if isinstance(source, bytes) else open_photo(source)


@pytest.mark.parametrize(("side", "fine"), [(10_400, True), (14_000, False)])
def test_between_pillow_s_limit_and_ours_nothing_is_said(side, fine, tmp_path, monkeypatch):
    """The header alone: a picture of 108 megapixels is opened without a word, one of 196 is refused at once."""
    monkeypatch.setattr(images, "_as_photo", lambda image, name: image.size)
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if fine:
            assert open_photo(tmp_path / "a.png") == (side, side)
        else:
            with pytest.raises(PhotoError, match=f"more than {formats.MEGAPIXELS} megapixels"):
                open_photo(tmp_path / "a.png")


def test_an_uploaded_photo_is_the_photo_of_its_file(tmp_path):
    picture = own_mode_photos()["RGBA"]
    picture.save(tmp_path / "a.png")
    photo = images.read_photo((tmp_path / "a.png").read_bytes(), "a.png")
    stored = open_photo(tmp_path / "a.png")
    assert photo.name == "a.png" and photo.original.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(photo.original), np.asarray(stored.original))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "me.jpg is empty"),
        (b"hello", r"me\.jpg is not an image that can be read"),
        (None, r"me\.jpg is damaged or incomplete"),
    ],
)
def test_an_upload_that_is_no_photo_is_said_in_a_sentence(content, message):
    if content is None:
        file = io.BytesIO()
        own_mode_photos()["RGB"].save(file, "PNG")
        content = file.getvalue()[:200]
    with pytest.raises(PhotoError, match=message):
        images.read_photo(content, "me.jpg")


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 3), (4, 4, 4)])
def test_arrays_are_photos(shape):
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    np.testing.assert_array_equal(np.asarray(open_photo(array).original), array)


def test_a_photo_does_not_share_the_callers_array():
    array = pixels(3)
    photo = open_photo(array)
    before = photo.rgb.copy()
    array[:] = 0
    np.testing.assert_array_equal(photo.rgb, before)
    np.testing.assert_array_equal(np.asarray(photo.original), before)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(array):
    with pytest.raises(PhotoError, match="expected a uint8 array"):
        open_photo(array)


def test_an_open_photo_passes_through():
    photo = open_photo(pixels(3))
    assert open_photo(photo) is photo


# --- changing -----------------------------------------------------------------------------------------------------


@by_mode
def test_no_change_gives_every_bit_back(mode):
    photo = open_photo(own_mode_photos()[mode])
    same = photo.with_change(nothing(photo))
    assert same.mode == mode
    np.testing.assert_array_equal(np.asarray(same), np.asarray(photo.original))


def test_big_endian_sixteen_bit_keeps_its_bits(tmp_path):
    values = pixels(1, np.uint16)
    Image.frombytes("I;16B", (WIDTH, HEIGHT), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    photo = open_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(np.asarray(photo.with_change(nothing(photo))), values)


@by_mode
def test_a_change_adds_levels_inside_its_rectangle_only(mode):
    photo = open_photo(own_mode_photos()[mode])
    change = Change(np.full((12, 16, 3), 20, np.float32), 4, 3, photo.size)
    before, after = (np.asarray(p).astype(int) for p in (photo.original, photo.with_change(change)))
    top, step = (65535, 20 * 257) if mode == "I;16" else (255, 20)
    expected = before.copy()
    colours = slice(0, {"RGBA": 3, "LA": 1}.get(mode, 3))  # alpha stays
    region = expected[3:15, 4:20] if before.ndim == 2 else expected[3:15, 4:20, colours]
    region[...] = np.minimum(region + step, top)
    np.testing.assert_array_equal(after, expected)


def test_the_photo_itself_is_not_changed():
    photo = open_photo(pixels(3))
    photo.with_change(Change(np.full((5, 5, 3), 90, np.float32), 0, 0, photo.size))
    np.testing.assert_array_equal(np.asarray(photo.original), pixels(3))
    np.testing.assert_array_equal(photo.rgb, pixels(3))


def test_changes_are_rounded_and_clipped():
    photo = open_photo(np.full((1, 4, 3), 250, np.uint8))
    values = np.array([0.4, 0.6, 90, -300], np.float32)[None, :, None].repeat(3, 2)
    assert np.asarray(photo.with_change(Change(values, 0, 0, (4, 1))))[0, :, 0].tolist() == [250, 251, 255, 0]


def test_grey_takes_the_luma_of_a_coloured_change():
    photo = open_photo(np.full((1, 3), 100, np.uint8))
    values = np.diag([50.0, 50.0, 50.0]).astype(np.float32)[None]
    # BT.601: 0.299, 0.587, 0.114
    assert np.asarray(photo.with_change(Change(values, 0, 0, (3, 1))))[0].tolist() == [115, 129, 106]


def test_changes_add_up_before_they_are_rounded():
    photo = open_photo(np.full((9, 9, 3), 100, np.uint8))
    first = Change(np.full((4, 4, 3), 0.4, np.float32), 0, 0, (9, 9))
    second = Change(np.full((4, 4, 3), 0.4, np.float32), 2, 3, (9, 9))
    both = first + second
    assert both.box == (0, 0, 6, 7)
    result = np.asarray(photo.with_change(both))[..., 0].astype(int) - 100
    expected = np.zeros((9, 9), int)
    expected[3:4, 2:4] = 1
    np.testing.assert_array_equal(result, expected)
    assert both.values.sum() == pytest.approx(2 * first.values.sum())


def test_a_change_fits_one_size_of_photo():
    change = Change(np.zeros((2, 2, 3), np.float32), 0, 0, (9, 8))
    with pytest.raises(ValueError, match=r"\(9, 8\).*\(31, 23\)"):
        open_photo(pixels(3)).with_change(change)
    with pytest.raises(ValueError, match="do not add up"):
        change + Change(change.values, 0, 0, (8, 8))


# --- tensors and files --------------------------------------------------------------------------------------------


def test_every_level_survives_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    tensor = images.to_tensor(levels)
    assert tensor.shape == (3, 16, 16) and tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (-1, 1)
    np.testing.assert_array_equal(images.to_uint8(tensor), levels)
    np.testing.assert_array_equal(np.asarray(images.to_pil(tensor)), levels)
    torch.testing.assert_close(images.to_tensor(Image.fromarray(levels)), tensor, rtol=0, atol=0)
    torch.testing.assert_close(images.to_tensor(np.stack([levels, levels]))[1], tensor, rtol=0, atol=0)


def test_colours_stay_in_order():
    red = images.to_tensor(np.array([[[255, 0, 0]]], np.uint8))
    assert red.flatten().tolist() == [1, -1, -1]
    assert images.to_uint8(red).tolist() == [[[255, 0, 0]]]


def test_levels_are_rounded_and_clamped():
    image = torch.tensor([-1.5, -1 + 1.4 / 127.5, -1 + 1.6 / 127.5, 1.5]).expand(3, 1, 4)
    assert images.to_uint8(image)[0, :, 0].tolist() == [0, 1, 2, 255]


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_to_tensor_says_what_arrived(wrong):
    with pytest.raises(ValueError, match="expected uint8"):
        images.to_tensor(wrong)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (3, 1, 4, 4), (1, 1, 3, 4, 4)])
def test_to_uint8_says_what_arrived(shape):
    with pytest.raises(ValueError, match=r"expected \(3, H, W\)"):
        images.to_uint8(torch.zeros(shape))


def test_a_batch_becomes_the_pictures_of_its_images():
    batch = torch.rand(2, 3, 4, 5) * 2 - 1
    assert np.array_equal(images.to_uint8(batch), np.stack([images.to_uint8(image) for image in batch]))
    assert np.array_equal(images.to_uint8(images.to_tensor(images.to_uint8(batch))), images.to_uint8(batch))


def test_a_difference_in_levels_is_what_8_bit_pictures_differ_by():
    black, white = (images.to_tensor(np.full((1, 1, 3), level, np.uint8)) for level in (0, 255))
    assert images.in_levels(white - black).tolist() == [[[255]]] * 3


# ---------------------------------------------------------------- blur


def test_blur_keeps_a_plain_image_and_spreads_a_point_as_far_as_it_says():
    plain = torch.full((2, 3, 9, 9), 0.3)
    torch.testing.assert_close(images.blur(plain, 2.0, 3), plain)
    point = torch.zeros(1, 1, 41, 41)
    point[..., 20, 20] = 1
    spread = images.blur(point, 3.0, 12)[0, 0]
    away = torch.arange(41.0) - 20
    assert spread.sum() == pytest.approx(1) and torch.equal(spread, spread.T)
    assert (spread.sum(0) * away.square()).sum() == pytest.approx(9, rel=0.01)  # the variance
    assert images.blur(point, 3.0, 2)[0, 0].count_nonzero() == 25
    assert spread.argmax() == point.argmax() and torch.equal(spread, spread.flip(0))


def test_each_image_may_have_a_blur_of_its_own():
    batch = torch.rand(3, 2, 8, 9, generator=torch.Generator().manual_seed(0))
    sigmas = torch.tensor([0.3, 1.0, 4.0])
    together = images.blur(batch, sigmas, 3)
    for image, sigma, alone in zip(together, sigmas.tolist(), batch):
        torch.testing.assert_close(image, images.blur(alone[None], sigma, 3)[0])


def test_the_border_is_continued_as_asked():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    first = {border: images.blur(ramp, 1.0, 2, border)[0, 0, 4, 0].item() for border in ("replicate", "reflect")}
    assert 0 < first["replicate"] < first["reflect"]
    assert images.blur(torch.ones(1, 1, 8, 8), 1.0, 2, "constant")[0, 0, 0, 0] < 0.6


def test_stretch_takes_each_image_to_its_own_ends():
    batch = torch.stack([torch.linspace(-0.5, 0.1, 12), torch.linspace(0, 1, 12)]).view(2, 3, 2, 2)
    stretched = images.stretch(batch)
    assert stretched.amin((1, 2, 3)).tolist() == [-1, -1]
    assert stretched.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert torch.isfinite(images.stretch(torch.zeros(1, 3, 2, 2))).all()


def test_save_writes_what_it_is_given(tmp_path):
    image = images.to_tensor(pixels(3))
    path = images.save(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels(3))
    images.save(path, Image.fromarray(pixels(1, np.uint16)))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), pixels(1, np.uint16))
    assert [file.name for file in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "message"), [("a.jpg", "cannot write mode RGBA as JPEG"), ("a.odd", "extension: .odd")]
)
def test_a_failed_save_leaves_what_was_there(name, message, tmp_path):
    (tmp_path / name).write_text("old")
    with pytest.raises((OSError, ValueError), match=message):
        images.save(tmp_path / name, Image.fromarray(pixels(4)))
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


def test_an_interrupted_save_leaves_what_was_there(tmp_path, monkeypatch):
    def cut(self, path, **options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    images.save(tmp_path / "a.png", torch.zeros(3, 4, 4))
    whole = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(Image.Image, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        images.save(tmp_path / "a.png", torch.ones(3, 4, 4))
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == whole


def test_threads_open_their_pictures_one_after_the_other(tmp_path):
    """Meanwhile Pillow's limit and Python's warnings are changed for the whole process."""
    file = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(file)
    before = Image.MAX_IMAGE_PIXELS
    second = threading.Thread(target=open_photo, args=(file,))
    with formats.opened(file, "a.png"):
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join(60)
    assert not second.is_alive() and before == Image.MAX_IMAGE_PIXELS
