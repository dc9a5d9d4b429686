"""The only place for value range, colour order, blur, 8-bit rounding and photo files.

Inside the library an image is float RGB, (3, H, W) or (N, 3, H, W), in [-1, 1]. At the border it is a
:class:`Photo`: the 8-bit RGB picture plus what is needed to give the same kind of file back.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from amtgan_lib.files import written

HALF_RANGE = 127.5  # 8-bit levels in one unit of [-1, 1]
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG
SIXTEEN_PER_EIGHT = 257  # 65535 / 255: full white is full white in both
SIXTEEN_BIT = "I;16"  # also I;16B, I;16L, by byte order
OWN_MODES = ("RGB", "RGBA", "L", "LA")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation
# The tags beside camera settings and place that are kept. Others may hold pictures (XMP, Photoshop's resources) or say
# how the pixels lie in the file (sizes, which are another file's by then, and spoil a TIFF).
KEPT_TAGS = {
    *(0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128),  # description, make, model, resolutions and their unit
    *(0x0131, 0x0132, 0x013B, 0x013C, 0x8298, 0x4746, 0x4749),  # software, date, artist, host, copyright, ratings
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # title, comment, author, keywords, subject, as Windows writes them
}
PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


class PhotoError(ValueError):
    """A photo that cannot be read or used; the message is one sentence for its owner."""


@dataclass(frozen=True, eq=False)
class Change:
    """What is added to one rectangle of a photo: ``values`` (h, w, 3), float, in 8-bit units, 0 everywhere else.

    (x, y) is the rectangle's first pixel, ``photo_size`` the (width, height) of the photo. The rectangle keeps a
    face's change in a 12-megapixel photo small. Changes of one photo add up: ``sum(changes)``.
    """

    values: np.ndarray
    x: int
    y: int
    photo_size: tuple[int, int]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), the last column and row excluded."""
        return self.x, self.y, self.x + self.values.shape[1], self.y + self.values.shape[0]

    def __add__(self, other: Change) -> Change:
        if self.photo_size != other.photo_size:
            raise ValueError(f"changes of photos of {self.photo_size} and {other.photo_size} pixels do not add up")
        x0, y0 = min(self.x, other.x), min(self.y, other.y)
        x1, y1 = max(self.box[2], other.box[2]), max(self.box[3], other.box[3])
        values = np.zeros((y1 - y0, x1 - x0, 3), np.float32)
        for part in (self, other):
            left, top, right, bottom = part.box
            values[top - y0 : bottom - y0, left - x0 : right - x0] += part.values
        return Change(values, x0, y0, self.photo_size)

    def __radd__(self, other: int) -> Change:  # sum() begins with 0
        return self if other == 0 else NotImplemented

    def __abs__(self) -> Change:
        return Change(np.abs(self.values), self.x, self.y, self.photo_size)

    def mean(self) -> float:
        """Mean over all pixels and channels of the photo, those outside the rectangle included."""
        return float(self.values.sum(dtype=np.float64)) / (3 * self.photo_size[0] * self.photo_size[1])


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as it came: upright pixels in 8-bit RGB, and the rest of the file's nature.

    ``original`` is the upright picture in its own mode, ``rgb`` is (H, W, 3) uint8. Kept as they are: RGB, RGBA,
    grey with or without alpha, 16-bit grey. Palettes, bilevel, CMYK and other colour spaces become RGB, or RGBA
    where a colour is transparent, for good. The decoder gives 16-bit RGB as 8 bit, and nothing here can tell.
    ``exif`` is without orientation and without whatever may hold a preview picture, which would show the unchanged
    face: its second directory, the maker's note, XMP. What the file's tags say that cannot be written is left out.
    """

    rgb: np.ndarray
    original: Image.Image
    name: str = "photo"
    exif: bytes = b""
    icc_profile: bytes | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def with_change(self, change: Change) -> Image.Image:
        """The photo plus a change, in the photo's own mode.

        Where the change is 0 the pixels come back bit for bit, alpha and 16-bit values included.
        Raises ValueError for a change that was made for a photo of another size, or one that is not finite.
        """
        if change.photo_size != self.size:
            raise ValueError(f"the change is for a photo of {change.photo_size} pixels, this one has {self.size}")
        if not np.isfinite(change.values).all():  # as 8-bit levels they would be anything
            raise ValueError("the change is not finite")
        pixels = np.array(self.original)
        x0, y0, x1, y1 = change.box
        region = pixels[y0:y1, x0:x1]
        top = 65535 if self.original.mode.startswith(SIXTEEN_BIT) else 255
        added = region + self._in_own_mode(change.values)
        region[...] = np.clip(np.rint(added, out=added), 0, top, out=added)
        return Image.fromarray(pixels)

    def _in_own_mode(self, values: np.ndarray) -> np.ndarray:
        mode, alpha = self.original.mode, np.zeros_like(values[..., :1])
        if mode == "RGB":
            return values
        if mode == "RGBA":
            return np.concatenate([values, alpha], -1)
        grey = values @ np.array(GREY_WEIGHTS, np.float32)
        if mode == "LA":
            return np.concatenate([grey[..., None], alpha], -1)
        return grey if mode == "L" else grey * SIXTEEN_PER_EIGHT


def open_photo(source: str | Path | Image.Image | np.ndarray | Photo) -> Photo:
    """Read a photo upright (EXIF orientation applied) or raise :class:`PhotoError` with one sentence.

    Arrays are uint8: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        return _as_photo(_from_array(source), "photo")
    if isinstance(source, Image.Image):
        name = Path(getattr(source, "filename", "") or "photo").name
        return _decoded(lambda: _as_photo(source, name), name)
    path = Path(source)
    if not path.is_file():
        raise PhotoError(f"{path}: there is no such file")
    return _decoded(lambda: _read(path, path.name), path.name)


def read_photo(content: bytes, name: str = "photo") -> Photo:
    """The photo in the bytes of a file, as uploads arrive; :class:`PhotoError` as ``open_photo``."""
    if not content:
        raise PhotoError(f"{name} is empty")
    return _decoded(lambda: _read(io.BytesIO(content), name), name)


def _from_array(array: np.ndarray) -> Image.Image:
    channels = array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (0, 3, 4) or not array.size:
        raise PhotoError(f"expected a uint8 array (H, W), (H, W, 3) or (H, W, 4), got {array.dtype} {array.shape}")
    return Image.fromarray(array)


def _read(file: Path | io.BytesIO, name: str) -> Photo:
    with Image.open(file) as image:
        return _as_photo(image, name)


def _decoded(read: Callable[[], Photo], name: str) -> Photo:
    try:
        return read()
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"{name} is not an image that can be read (JPEG, PNG, WebP, TIFF or BMP)") from None
    except Image.DecompressionBombError as error:
        raise PhotoError(f"{name} is too large: {error}") from None
    except Exception as error:  # broken bytes make decoders raise OSError, SyntaxError, TypeError, struct.error, ...
        raise PhotoError(f"{name} is damaged or incomplete: {error}") from error


def _as_photo(image: Image.Image, name: str) -> Photo:
    tags = image.getexif()
    exif = _kept(tags)  # before loading, which drops some of a TIFF file's
    image.load()
    turn = TURNS.get(tags.get(ExifTags.Base.Orientation))  # a TIFF file has been turned, and says so, by now
    icc, upright = image.info.get("icc_profile"), image.copy() if turn is None else image.transpose(turn)
    if upright.mode in ("I", "F"):
        upright = _sixteen_bit(upright, name)
    elif "transparency" in upright.info and upright.mode in ("1", "L", "P", "RGB"):
        upright = upright.convert("LA" if upright.mode == "L" else "RGBA")
    elif upright.mode not in OWN_MODES and not upright.mode.startswith(SIXTEEN_BIT):
        icc = icc if upright.mode in ("1", "P", "PA") else None  # a CMYK profile says nothing about RGB values
        upright = upright.convert("RGBA" if upright.mode in ("PA", "La", "RGBa") else "RGB")
    return Photo(_rgb8(upright), upright, name, exif, icc)


def _kept(tags: Image.Exif) -> bytes:
    """The tags that are kept, as the bytes of a file's EXIF; empty if there are none."""
    kept = Image.Exif()
    kept.update({tag: value for tag, value in tags.items() if tag in KEPT_TAGS and _writable(tag, value)})
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        try:
            found = tags.get_ifd(directory)
        except (OSError, ValueError, TypeError, struct.error):  # it is said to lie where there is nothing
            continue
        for tag, value in found.items():
            if tag != ExifTags.Base.MakerNote and _writable(tag, value):
                kept.get_ifd(directory)[tag] = value
    return kept.tobytes() if len(kept.tobytes()) > len(Image.Exif().tobytes()) else b""


def _writable(tag: int, value: object) -> bool:
    """Whether a tag can be written as it was read; a file may give it any type, or another file's."""
    single = Image.Exif()
    single[tag] = value
    try:
        single.tobytes()
    except Exception:  # TypeError, ValueError, struct.error, OverflowError, ... by type and value
        return False
    return True


def _sixteen_bit(image: Image.Image, name: str) -> Image.Image:
    """16-bit greyscale, from the 32-bit integers as which some decoders return it."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise PhotoError(f"{name} has 32 bits per pixel: save it with 8 or 16")
    return Image.fromarray(pixels.astype(np.uint16))


def _rgb8(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(SIXTEEN_BIT):
        grey = np.rint(np.asarray(image) / np.float32(SIXTEEN_PER_EIGHT)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def to_tensor(pixels: Image.Image | np.ndarray) -> Tensor:
    """8-bit RGB, PIL or (H, W, 3) or (N, H, W, 3) uint8, to (3, H, W) or (N, 3, H, W) float in [-1, 1]."""
    array = np.array(pixels.convert("RGB")) if isinstance(pixels, Image.Image) else pixels
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3:
        raise ValueError(f"expected uint8 (H, W, 3) or (N, H, W, 3), got {array.dtype} {array.shape}")
    return torch.from_numpy(np.moveaxis(array, -1, -3).astype(np.float32, order="C")) / HALF_RANGE - 1


def to_uint8(image: Tensor) -> np.ndarray:
    """(3, H, W) or (N, 3, H, W) in [-1, 1] to uint8, channels last, at the nearest level (no min-max stretch)."""
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise ValueError(f"expected (3, H, W) or (N, 3, H, W), got {tuple(image.shape)}")
    levels = ((image.detach().float().clamp(-1, 1) + 1) * HALF_RANGE).round()
    return levels.to(torch.uint8).movedim(-3, -1).cpu().numpy()


def in_levels(difference: Tensor) -> Tensor:
    """A difference of images in [-1, 1], in 8-bit levels."""
    return difference * HALF_RANGE


def stretch(image: Tensor) -> Tensor:
    """Each image of (N, 3, H, W) stretched to its own minimum and maximum, in [-1, 1].

    The published code saves its results like this, which shifts their colours (a quirk, see ``Recipe``).
    """
    low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
    return (image - low) / (high - low).clamp_min(1e-6) * 2 - 1


def to_pil(image: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to an 8-bit RGB picture."""
    return Image.fromarray(to_uint8(image))


def save(path: str | Path, image: Tensor | Image.Image, **options) -> Path:
    """Write a picture, whole or not at all.

    ``options`` are those of the file format. Raises the encoder's OSError where the format cannot hold the picture.
    """
    path = Path(path)
    picture = to_pil(image) if isinstance(image, Tensor) else image
    if path.suffix.lower() == ".png":
        options = {"compress_level": 4, **options}  # half the time of PIL's 6, and files 6 % larger (12 megapixels)
    with written(path) as partial:
        picture.save(partial, **options)
    return path


def blur(images: Tensor, sigma: float | Tensor, radius: int, border: str = "replicate") -> Tensor:
    """Gaussian blur of (N, C, H, W), cut off at ``radius`` pixels.

    sigma: in pixels, a number or (N,), one for each image. border: how ``torch.nn.functional.pad`` continues the image.
    """
    each = isinstance(sigma, Tensor)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-offsets.square() / (2 * (sigma[:, None].square() if each else sigma**2)))
    kernel = kernel / kernel.sum(-1, keepdim=True)
    kernel = kernel.repeat_interleave(images.shape[1], 0) if each else kernel.expand(images.shape[1], -1)
    flat = images.reshape(1, -1, *images.shape[2:]) if each else images
    across = F.pad(flat, (radius, radius, 0, 0), mode=border)
    flat = F.conv2d(across, kernel[:, None, None], groups=len(kernel))
    down = F.pad(flat, (0, 0, radius, radius), mode=border)
    return F.conv2d(down, kernel[:, None, :, None], groups=len(kernel)).view_as(images)
