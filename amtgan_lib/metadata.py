"""Which EXIF data, comments and colour profiles are kept: nothing that may show or place the unchanged face."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any, cast

from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffTags

# The tags beside camera settings that are kept. Others may hold pictures (XMP, Photoshop's resources) or say how the
# pixels lie in the file (sizes, which are another file's by then, and spoil a TIFF).
KEPT_TAGS = {
    *(0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128),  # description, make, model, resolutions and their unit
    *(0x0131, 0x0132, 0x013B, 0x013C, 0x8298, 0x4746, 0x4749),  # software, date, artist, host, copyright, ratings
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # title, comment, author, keywords, subject, as Windows writes them
}
DAMAGED = "its EXIF data is damaged; what could not be read was left out"
PLACE_IN_XMP = "where the photo was taken (XMP) was left out"


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels.

    exif: the bytes of an EXIF block, empty if there is nothing to keep; with the place (GPS), without orientation,
    preview, maker's note and unknown tags. turn: the EXIF orientation, 1 to 8. notes: sentences on what was lost.
    dpi: pixels an inch, across and down, if the file says it outside EXIF, too.
    """

    exif: bytes = b""
    turn: int = 1
    comment: bytes = b""
    notes: tuple[str, ...] = ()
    dpi: tuple[float, float] | None = None


def read(image: Image.Image) -> Metadata:
    """What a picture's file says; damaged EXIF data is left out with a note, never an error.

    A TIFF file is its own EXIF data and must not have been decoded, any other must: Pillow drops or finds some then.
    """
    damaged = False
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if raw := image.info.get("exif"):
                Image.Exif().load(raw)  # Pillow has read that of a JPEG file before, and hidden its errors
            tags = image.getexif()
            exif, turn = _stored(_kept(tags)), tags.get(ExifTags.Base.Orientation)
        except Exception:  # SyntaxError, struct.error, TypeError, KeyError, ... by what is wrong with it
            exif, turn, damaged = b"", 1, True
    comment = image.info.get("comment", b"")
    in_xmp = "GPSL" in repr(image.info.get("xmp"))  # text or bytes, by format
    notes = (DAMAGED,) * bool(damaged or said) + (PLACE_IN_XMP,) * in_xmp
    turn = turn if isinstance(turn, int) and 1 <= turn <= 8 else 1
    comment = comment if isinstance(comment, bytes) and not _pictured(comment) else b""
    return Metadata(exif, turn, comment, notes, _dpi(image))


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = map(float, image.info.get("dpi", ()))
    except (TypeError, ValueError, ZeroDivisionError):  # none, or a damaged fraction
        return None
    return (across, down) if 1 <= across < 65536 and 1 <= down < 65536 else None


def _kept(tags: Image.Exif, place: bool = True) -> Image.Exif:
    """The tags that are kept, with or without the place."""
    kept = Image.Exif()
    kept.update({tag: _text(tag, value) for tag, value in tags.items() if tag in KEPT_TAGS and _harmless(tag, value)})
    directories = {ExifTags.IFD.Exif: CAMERA_TAGS} | ({ExifTags.IFD.GPSInfo: ExifTags.GPSTAGS} if place else {})
    for directory, known in directories.items():
        try:
            stored = tags.get_ifd(directory)
        except (OSError, ValueError, TypeError, struct.error):  # its offset points to nothing
            continue
        for tag, value in stored.items():
            if tag in known and _harmless(tag, value):
                kept.get_ifd(directory)[tag] = _text(tag, value)
    return kept


def _stored(tags: Image.Exif) -> bytes:
    """Tags as the bytes of a file's EXIF; empty if there are none."""
    return data if len(data := tags.tobytes()) > len(Image.Exif().tobytes()) else b""


def _loaded(exif: bytes) -> Image.Exif:
    tags = Image.Exif()
    tags.load(exif)
    return tags


# Those of the EXIF standard (CIPA DC-008, table 7 and later) on how and when a photo was taken. Others, also of these
# numbers, may hold previews or places: Photoshop's resources (0x8649), IPTC (0x83BB), notes of makers. Pointers lead to
# directories that are not kept.
CAMERA_TAGS = {
    *(0x829A, 0x829D, 0x8822, 0x8824, 0x8827, *range(0x8830, 0x8836)),
    *(*range(0x9000, 0x9013), 0x9101, 0x9102, *range(0x9201, 0x920B), 0x9214, 0x9286, *range(0x9290, 0x9293)),
    *(*range(0x9400, 0x9406), *range(0xA000, 0xA005), *range(0xA20B, 0xA218), 0xA300, 0xA301),
    *(*range(0xA401, 0xA40B), 0xA40C, 0xA420, *range(0xA430, 0xA436), *range(0xA460, 0xA463)),
}
# How pictures begin, wherever they stand in a text or a list of bytes.
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF87a", b"GIF89a", b"WEBPVP8", b"ftypavif", b"ftypheic", b"ftypmif1")


def _text(tag: int, value: object) -> object:
    """A tag's value, such that text is written with the bytes with which it was read, which often are UTF-8."""
    text = isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII
    return str(value).encode("latin-1", "replace") if text else value  # as Pillow has decoded it


def _harmless(tag: int, value: object) -> bool:
    """Whether a tag holds no picture and can be written as it was read; a file may give it any type, or another's."""
    single = Image.Exif()
    single[tag] = _text(tag, value)
    try:
        return not _pictured(single.tobytes())
    except Exception:  # TypeError, ValueError, struct.error, OverflowError, ... by type and value
        return False


def _pictured(data: bytes) -> bool:
    """Whether there is a picture in these bytes: it may be the unchanged face."""
    return any(start in data for start in PICTURES)


def has_place(exif: bytes) -> bool:
    """Whether EXIF data, as :func:`read` keeps it, records where the photo was taken."""
    return bool(_loaded(exif).get_ifd(ExifTags.IFD.GPSInfo))


def without_place(exif: bytes) -> bytes:
    """EXIF data, as :func:`read` keeps it, without where the photo was taken."""
    return _stored(_kept(_loaded(exif), place=False)) if has_place(exif) else exif


def options(
    kind: str, exif: bytes, comment: bytes, place: bool, dpi: tuple[float, float] | None = None
) -> dict[str, Any]:
    """The arguments with which Pillow's ``save`` writes them to a file of a format; ``place``: with the GPS data."""
    kept: dict[str, Any] = {"dpi": dpi} if dpi and kind in ("JPEG", "PNG", "BMP") else {}
    if kind != "BMP" and (exif := exif if place else without_place(exif)):
        kept["exif"] = _for_tiff(exif) if kind == "TIFF" else exif
    if comment and kind == "JPEG":
        kept["comment"] = comment
    elif comment and kind == "PNG":
        kept["pnginfo"] = texts = PngImagePlugin.PngInfo()
        texts.add_itxt("Comment", comment.decode("utf-8", "replace").replace("\0", ""))
    return kept


def _for_tiff(exif: bytes) -> Image.Exif:
    """EXIF data for a TIFF file, for which Pillow would read its bytes again and spoil text that is not ASCII."""
    tags = _loaded(exif)
    for directory in (tags, tags.get_ifd(ExifTags.IFD.Exif)):
        for tag, value in list(directory.items()):
            directory[tag] = _text(tag, value)
    return tags


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK or Lab picture in sRGB; CMYK through its colour profile, unless it has none or a damaged one."""
    if image.mode != "LAB" and not profile:
        return image.convert("RGB")
    try:
        lab = image.mode == "LAB"
        own = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        seen = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return cast(Image.Image, seen)  # None only where it works in place
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
