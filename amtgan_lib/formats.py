"""Kinds of picture files: which may hold a photo, which cannot be read and why, which can be written and how.

A file is a picture if Pillow opens its kind, told by its ending, or by its first bytes if the ending says nothing.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, MpoImagePlugin, TiffImagePlugin

HEAD = 8192  # bytes by which a file's kind is told
TEXTS = 1 << 22  # more bytes of a PNG file, in which texts and profiles may come before what it says of its colours
# Protecting takes some 25 bytes a pixel and a gigabyte for the models: so large a photo needs 4 GiB. Pillow warns
# of attacks from 89 megapixels on, which is less than what some phones take.
MEGAPIXELS = 120
# That limit and Python's warnings are the whole process's: threads open their pictures one after the other.
_ONE_AT_A_TIME = threading.RLock()
SIXTEEN_BIT = "I;16"  # also I;16B, I;16L, by byte order
SIXTEEN_PER_EIGHT = 257  # 65535 / 255: full white is full white in both

# Data, documents, drawings and films, which Pillow names and mostly does not decode.
NO_PHOTOS = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"})
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".heics", ".heifs"})
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
PICTURE_BRANDS = HEIF_BRANDS | {b"mif1", b"avif"}
# Pillow takes some of them for TIFF and gives the preview in place of the photo.
RAW_SUFFIXES = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
}
UNREAD = frozenset({".exr", ".hdr", ".jxl", ".jxr"})  # pictures of kinds that Pillow does not know
HDR_TRANSFERS = (16, 18)  # PQ and HLG, by the numbers of ITU-T H.273
JPEG_XL = (b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a")
BEGINNINGS = (
    *(b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", *JPEG_XL),
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
)
WIDE = {9: "BT.2020", 12: "Display P3"}  # primaries by the numbers of ITU-T H.273

WRITTEN = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"},
}
"""The format that each ending of an output stands for."""

MODES = {
    "JPEG": ("RGB", "L"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L"),
    "PNG": ("RGB", "RGBA", "L", "LA", SIXTEEN_BIT),
    "TIFF": ("RGB", "RGBA", "L", "LA", SIXTEEN_BIT),
}
INSTEAD = {"RGB": (), "RGBA": ("RGB",), "L": ("RGB",), "LA": ("RGBA", "L"), SIXTEEN_BIT: ("L", "RGB")}
LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # what libjpeg and libwebp write
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},  # coarser files wash the protection out
    "WEBP": {"lossless": True, "exact": True},  # lossy WebP always halves the resolution of colours
}


class PhotoError(ValueError):
    """A photo that cannot be read, used or written; the message is one sentence for its owner."""


# ---------------------------------------------------------------- reading


@functools.cache
def readable() -> frozenset[str]:
    """The endings, such as ``.jpg``, of files that may hold a photo."""
    kinds = Image.registered_extensions()
    known = {suffix for suffix, kind in kinds.items() if kind in Image.OPEN and kind not in NO_PHOTOS}
    return frozenset(known | HEIF_SUFFIXES)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, readable or not: by its ending, or by how it begins if that says nothing."""
    suffix = path.suffix.lower()
    if suffix in readable() or suffix in RAW_SUFFIXES or suffix in UNREAD:
        return True
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    return head.startswith(BEGINNINGS) or head[8:12] == b"WEBP" or bool(_brands(head) & PICTURE_BRANDS)


def _brands(head: bytes) -> set[bytes]:
    """The brands that a file names, if it consists of boxes as MP4, AVIF and HEIC do."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[start : start + 4] for start in (8, *range(16, end, 4))}


@contextlib.contextmanager
def opened(file: Path | BinaryIO, name: str) -> Iterator[Image.Image]:
    """The picture in a file, not decoded yet, of at most MEGAPIXELS; PhotoError for kinds that cannot be read."""
    if Path(name).suffix.lower() in RAW_SUFFIXES:
        raise PhotoError(f"{name} is a camera's raw file: export it as TIFF or JPEG, and protect that")
    head = _beginning(file)
    _prepare(head, name)
    with _ONE_AT_A_TIME, _own_limit(name), Image.open(file) as image:
        image.info["primaries"] = _coded_colours(head)[0]
        yield image


def _prepare(head: bytes, name: str) -> None:
    """Have HEIC opened by its library, which is an extra; refuse what would be read wrongly or not at all."""
    if head.startswith(JPEG_XL):
        raise PhotoError(f"{name} is JPEG XL, which cannot be read: save it as PNG or JPEG")
    # A version in HDR beside the photo (tmap) does not matter.
    if _coded_colours(head)[1] in HDR_TRANSFERS and b"tmap" not in head:
        raise PhotoError(f"{name} is an HDR picture (PQ or HLG), whose colours would be lost: save it as SDR first")
    brands = _brands(head)
    if brands & HEIF_BRANDS or (b"mif1" in brands and b"avif" not in brands):
        try:
            import pi_heif
        except ImportError:
            raise PhotoError(f"{name} is HEIC, which needs an extra: pip install 'amtgan-lib[heif]'") from None
        pi_heif.register_heif_opener()


def _beginning(file: Path | BinaryIO) -> bytes:
    with file.open("rb") if isinstance(file, Path) else contextlib.nullcontext(file) as stream:
        head = stream.read(HEAD)
        head += stream.read(TEXTS) if head.startswith(b"\x89PNG") else b""
        stream.seek(0)
    return head


def _coded_colours(head: bytes) -> tuple[int, int]:
    """Primaries and transfer function of an AVIF, HEIC or PNG file, as numbers of ITU-T H.273; 0 where it says none."""
    if _brands(head):
        said = head.partition(b"colrnclx")[2]
        return int.from_bytes(said[:2], "big"), int.from_bytes(said[2:4], "big")
    said = next((data for kind, data in _chunks(head) if kind == b"cICP"), b"")
    return (said[0], said[1]) if len(said) > 1 else (0, 0)


def _chunks(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of a PNG file, kind and data, as far as its beginning goes."""
    at = 8 if head.startswith(b"\x89PNG") else len(head)
    while at + 8 <= len(head):
        end = at + 8 + int.from_bytes(head[at : at + 4], "big")
        yield head[at + 4 : at + 8], head[at + 8 : end]
        at = end + 4  # a checksum


def odd_colours(image: Image.Image) -> str:
    """A sentence on colours that a picture's numbers alone do not show, and no profile explains; empty for sRGB."""
    if image.info.get("icc_profile"):
        return ""
    if space := WIDE.get(image.info.get("primaries", 0)):
        return f"its colours ({space}, without a profile) look paler now"
    gamma = image.info.get("gamma", 0)
    if gamma and "srgb" not in image.info and abs(gamma * 2.2 - 1) > 0.1:
        return f"its gamma ({gamma:g}) was left out, so it looks darker or lighter now"
    return ""


@contextlib.contextmanager
def _own_limit(name: str) -> Iterator[None]:
    """Our limit of pixels in place of Pillow's while a file is read; files of which Pillow would warn are refused."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MEGAPIXELS * 1_000_000
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise PhotoError(
            f"{name} has more than {MEGAPIXELS} megapixels, the most that is protected: make it smaller first"
        ) from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


# What a file with more than one picture may be: the photo, and smaller or other versions of it that are not written.
LAYERED = frozenset({"PSD", "ICO", "ICNS"})  # the first is the whole picture, or the largest of an icon
VIEWS = ("Panorama", "Disparity", "Multi-Angle")  # a photo in several parts, as cameras for panoramas and 3D write it


def only_picture(image: Image.Image, name: str) -> str:
    """A sentence on what a file holds beside its photo, empty if nothing; PhotoError if it has frames or pages."""
    count = 1 if image.format in LAYERED else getattr(image, "n_frames", 1)
    if count == 1:
        smaller = len(image.info.get("sizes", ())) - 1  # of an icon
        return f"{smaller} of its pictures, smaller than this one, left out" if smaller > 0 else ""
    versions = isinstance(image, MpoImagePlugin.MpoImageFile) and _versions(image)
    if not (versions or (isinstance(image, TiffImagePlugin.TiffImageFile) and _reduced(image, count))):
        raise PhotoError(
            f"{name} holds {count} frames or pages, and only single pictures are protected: save one of them as PNG, "
            "or make a video of them"
        )
    others = "1 other picture" if count == 2 else f"{count - 1} other pictures"
    return f"{others} in the file (previews, depth or light) left out"


def _versions(image: MpoImagePlugin.MpoImageFile) -> bool:
    kinds = [str(entry["Attribute"]["MPType"]) for entry in (image.mpinfo or {}).get(0xB002, ())]
    return not any(view in kind for view in VIEWS for kind in kinds)


def _reduced(image: TiffImagePlugin.TiffImageFile, count: int) -> bool:
    """Whether all pages of a TIFF file but the first are previews or masks of it."""
    try:
        pages = []
        for page in range(1, count):
            image.seek(page)
            pages.append(int(image.tag_v2.get(0x00FE, 0)))  # NewSubfileType: 1 reduced, 2 a page, 4 a mask
    finally:
        image.seek(0)
    return all(kind & 5 for kind in pages)


# ---------------------------------------------------------------- writing


def format_of(path: str | Path) -> str:
    """The format that an output's ending stands for; PhotoError if such files cannot be written."""
    if (suffix := Path(path).suffix.lower()) not in WRITTEN:
        raise PhotoError(f"{Path(path).name} has a suffix that cannot be written: use {', '.join(sorted(WRITTEN))}")
    return WRITTEN[suffix]


def transparent(picture: Image.Image) -> bool:
    """Whether a background shows through a picture: one with an alpha channel may be opaque all the same."""
    return picture.mode in ("RGBA", "LA") and np.asarray(picture.getchannel("A")).min() < 255


def check(picture: Image.Image, path: str | Path) -> str:
    """Raise PhotoError if a file cannot hold a picture; returns a sentence on what the picture loses, if anything.

    picture: mode RGB, RGBA, L, LA or 16-bit grey, as a photo's ``original``.
    """
    kind = format_of(path)
    if (longest := LONGEST_SIDE.get(kind)) and max(picture.size) > longest:
        raise PhotoError(f"{kind} holds at most {longest} pixels a side, the photo has {max(picture.size)}: use .png")
    if transparent(picture) and not any("A" in mode for mode in MODES[kind]):
        raise PhotoError(f"the photo has transparent parts, which {kind} cannot hold: use .png, .webp or .tif")
    if picture.mode.startswith(SIXTEEN_BIT) and SIXTEEN_BIT not in MODES[kind]:
        return f"16 bits a pixel became 8, as {kind} holds no more; .png and .tif do"
    return ""


def fitted(picture: Image.Image, path: str | Path) -> Image.Image:
    """The picture in a mode that the file can hold, its own where possible; PhotoError as :func:`check`."""
    check(picture, path)
    holds = MODES[format_of(path)]
    mode = SIXTEEN_BIT if picture.mode.startswith(SIXTEEN_BIT) else picture.mode
    target = next(other for other in (mode, *INSTEAD[mode]) if other in holds)
    return picture if target == mode else in_eight_bits(picture).convert(target)


def in_eight_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey, at the nearest level; any other picture as it is."""
    if not picture.mode.startswith(SIXTEEN_BIT):
        return picture
    return Image.fromarray(np.rint(np.asarray(picture) / np.float32(SIXTEEN_PER_EIGHT)).astype(np.uint8))
