"""The only place for value range, colour order, blur, 8-bit rounding and photo files.

Inside the library an image is float RGB, (3, H, W) or (N, 3, H, W), in [-1, 1]. At the border it is a
:class:`Photo`: the 8-bit RGB picture plus what is needed to give the same kind of file back.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from amtgan_lib import formats, metadata
from amtgan_lib.files import written
from amtgan_lib.formats import SIXTEEN_BIT, SIXTEEN_PER_EIGHT, PhotoError

HALF_RANGE = 127.5  # 8-bit levels in one unit of [-1, 1]
GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in JPEG
OWN_MODES = ("RGB", "RGBA", "L", "LA")
FAR_SPACES = ("CMYK", "LAB")
# Modes whose colour profile still holds when they became RGB or got alpha: that of CMYK says nothing about RGB values.
KEEP_PROFILE = ("1", "P", "PA", "L", "RGB")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation


@dataclass(frozen=True, eq=False)
class Change:
    """What is added to one rectangle of a photo: ``values`` (h, w, 3), float, in 8-bit units, 0 everywhere else.

    (x, y) is the rectangle's first pixel, ``photo_size`` the (width, height) of the photo. The rectangle keeps a
    face's change in a 12-megapixel photo small. Changes of one photo add up.
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


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as it came: upright pixels in 8-bit RGB, and the rest of the file's nature.

    ``original`` is the upright picture in its own mode, ``rgb`` is (H, W, 3) uint8. Kept as they are: RGB, RGBA,
    grey with or without alpha, 16-bit grey. Palettes, bilevel, CMYK and other colour spaces become RGB, or RGBA
    where a colour is transparent, for good, and 16-bit RGB becomes 8 bit.
    ``exif`` and ``comment`` are what :mod:`amtgan_lib.metadata` keeps of the file's; ``exif`` may hold the place;
    ``dpi`` is the resolution for print.
    ``notes`` say what the file holds that is lost, a sentence each.
    """

    rgb: np.ndarray
    original: Image.Image
    name: str = "photo"
    exif: bytes = b""
    icc_profile: bytes | None = None
    comment: bytes = b""
    notes: tuple[str, ...] = ()
    dpi: tuple[float, float] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def over(self, level: int) -> np.ndarray:
        """The picture (H, W, 3) as it shows over a background of this grey, 0 to 255, where it is transparent."""
        ground = Image.new("RGBA", self.original.size, (level, level, level, 255))
        return np.array(Image.alpha_composite(ground, self.original.convert("RGBA")).convert("RGB"))

    @property
    def transparent(self) -> bool:
        """Whether a background shows through some of it."""
        return formats.transparent(self.original)

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
    with formats.opened(file, name) as image:
        return _as_photo(image, name)


def _decoded(read: Callable[[], Photo], name: str) -> Photo:
    try:
        return read()
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"{name} is not an image that can be read (JPEG, PNG, WebP, TIFF, HEIC, ...)") from None
    except Exception as error:  # broken bytes make decoders raise OSError, SyntaxError, TypeError, struct.error, ...
        raise PhotoError(f"{name} is damaged or incomplete: {error}") from error


def _as_photo(image: Image.Image, name: str) -> Photo:
    notes = [formats.only_picture(image, name), _deep(image), formats.odd_colours(image)]
    said, turn = _decode(image)
    icc, upright = image.info.get("icc_profile"), image if turn is None else image.transpose(turn)
    original = _in_own_kind(upright, icc, name)
    if upright.mode in FAR_SPACES:
        notes.append(f"its colours ({upright.mode}) became RGB")
    if original is not upright and upright.mode not in KEEP_PROFILE:
        icc = None
    original = original.copy() if original is image else original
    original.info = {}  # which holds XMP and more, and some encoders write it
    told = tuple(note for note in (*notes, *said.notes) if note)
    return Photo(_rgb8(original), original, name, said.exif, icc, said.comment, told, said.dpi)


def _decode(image: Image.Image) -> tuple[metadata.Metadata, Image.Transpose | None]:
    """Decode a picture; returns what its file says, and how the picture must be turned to be upright."""
    if image.format == "TIFF":  # its tags are its EXIF data; decoding drops some, and turns the picture
        said = metadata.read(image)
        image.load()
        return said, None
    image.load()
    said = metadata.read(image)
    return said, TURNS.get(said.turn)


def _deep(image: Image.Image) -> str:
    """A note if colours have more than 8 bits, which the decoder cuts off."""
    sizes = image.tag_v2.get(0x0102, ()) if isinstance(image, TiffImagePlugin.TiffImageFile) else ()  # BitsPerSample
    coded = [str(tile[3]) for tile in getattr(image, "tile", ())]
    deep = image.info.get("bit_depth", 8) > 8 or any(";16" in each for each in coded) or max(sizes, default=8) > 8
    return "more than 8 bits a colour became 8" if deep and image.mode in ("RGB", "RGBA", "LA") else ""


def _in_own_kind(image: Image.Image, icc: bytes | None, name: str) -> Image.Image:
    """The picture in one of the modes that photos have, in its own where possible."""
    if image.mode in ("I", "F"):
        return _sixteen_bit(image, name)
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode in OWN_MODES or image.mode.startswith(SIXTEEN_BIT):
        return image
    if image.mode in FAR_SPACES:
        return metadata.to_rgb(image, icc)
    return image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")


def _sixteen_bit(image: Image.Image, name: str) -> Image.Image:
    """16-bit greyscale, from the 32-bit integers as which some decoders return it."""
    pixels = np.asarray(image)
    if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise PhotoError(f"{name} has 32 bits per pixel: save it with 8 or 16")
    return Image.fromarray(pixels.astype(np.uint16))


def _rgb8(image: Image.Image) -> np.ndarray:
    return np.array(image if image.mode == "RGB" else formats.in_eight_bits(image).convert("RGB"))


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


def save(path: str | Path, image: Tensor | Image.Image, **options: Any) -> Path:
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


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture as the content of a file; ``options`` are those of the file format."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """The content of a picture's file in an address; kind: png or jpeg."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def blur(images: Tensor, sigma: float | Tensor, radius: int, border: str = "replicate") -> Tensor:
    """Gaussian blur of (N, C, H, W), cut off at ``radius`` pixels.

    sigma: in pixels, a number or (N,), one for each image. border: how ``torch.nn.functional.pad`` continues the image.
    """
    each = isinstance(sigma, Tensor)
    offsets = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    variance = sigma[:, None].square() if isinstance(sigma, Tensor) else sigma**2
    kernel = torch.exp(-offsets.square() / (2 * variance))
    kernel = kernel / kernel.sum(-1, keepdim=True)
    kernel = kernel.repeat_interleave(images.shape[1], 0) if each else kernel.expand(images.shape[1], -1)
    flat = images.reshape(1, -1, *images.shape[2:]) if each else images
    across = F.pad(flat, (radius, radius, 0, 0), mode=border)
    flat = F.conv2d(across, kernel[:, None, None], groups=len(kernel))
    down = F.pad(flat, (0, 0, radius, radius), mode=border)
    return F.conv2d(down, kernel[:, None, :, None], groups=len(kernel)).view_as(images)
