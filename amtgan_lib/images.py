"""The only place for value range, colour order, size, 8-bit rounding and photo files.

Inside the library an image is float RGB, (3, H, W) or (N, 3, H, W), in [-1, 1]. At the border it is a
:class:`Photo`: the 8-bit RGB picture plus what is needed to give the same kind of file back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


class PhotoError(ValueError):
    """A photo that cannot be read or used; the message is one sentence for its owner."""


@dataclass(frozen=True)
class Photo:
    """A photo as it came: upright pixels in 8-bit RGB, and the rest of the file's nature.

    ``original`` is the upright picture in its own mode (RGBA, L, I;16, ...), ``rgb`` is (H, W, 3) uint8.
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

    def with_change(self, change: np.ndarray) -> Image.Image:
        """The photo plus ``change`` (H, W, 3), float, in 8-bit units, in the photo's own mode.

        Where the change is 0 the pixels come back bit for bit, alpha and 16-bit values included.
        """
        mode, pixels = self.original.mode, np.asarray(self.original)
        if mode in ("L", "LA"):
            grey = change @ np.array([0.299, 0.587, 0.114])
            return self._rounded(pixels, grey if mode == "L" else np.stack([grey, 0 * grey], -1), 255)
        if mode.startswith("I;16"):
            return self._rounded(pixels, change @ np.array([0.299, 0.587, 0.114]) * 257, 65535)
        if mode == "RGBA":
            return self._rounded(pixels, np.concatenate([change, 0 * change[..., :1]], -1), 255)
        return self._rounded(self.rgb, change, 255)

    @staticmethod
    def _rounded(pixels: np.ndarray, change: np.ndarray, top: int) -> Image.Image:
        return Image.fromarray(np.clip(np.rint(pixels + change), 0, top).astype(pixels.dtype))


def open_photo(source: str | Path | Image.Image | np.ndarray | Photo) -> Photo:
    """Read a photo upright (EXIF orientation applied) or raise :class:`PhotoError` with one sentence."""
    if isinstance(source, Photo):
        return source
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim not in (2, 3):
            raise PhotoError(f"expected a uint8 array (H, W) or (H, W, 3), got {source.dtype} {source.shape}")
        source = Image.fromarray(source)
    if isinstance(source, Image.Image):
        return _as_photo(source, "photo")
    path = Path(source)
    if not path.is_file():
        raise PhotoError(f"{path}: there is no such file")
    try:
        with Image.open(path) as image:
            image.load()
            return _as_photo(image, path.name)
    except UnidentifiedImageError:
        raise PhotoError(f"{path.name} is not an image that can be read (JPEG, PNG, WebP, TIFF or BMP)") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PhotoError(f"{path.name} is damaged or incomplete: {error}") from None


def _as_photo(image: Image.Image, name: str) -> Photo:
    icc = image.info.get("icc_profile")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA"):
        upright = upright.convert("RGBA" if "transparency" in upright.info else "RGB")
    elif upright.mode == "I":  # 16-bit greyscale as older decoders return it
        upright = Image.fromarray(np.clip(np.asarray(upright), 0, 65535).astype(np.uint16))
    elif upright.mode not in ("RGB", "RGBA", "L", "LA") and not upright.mode.startswith("I;16"):
        upright, icc = upright.convert("RGB"), None
    return Photo(_rgb8(upright), upright, name, upright.getexif().tobytes(), icc)


def _rgb8(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def to_tensor(pixels: Image.Image | np.ndarray) -> Tensor:
    """8-bit RGB, PIL or (H, W, 3) uint8, to a (3, H, W) float tensor in [-1, 1]."""
    array = np.array(pixels.convert("RGB")) if isinstance(pixels, Image.Image) else pixels
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected (H, W, 3) uint8, got {array.shape} {array.dtype}")
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).float() / 127.5 - 1


def to_uint8(image: Tensor) -> np.ndarray:
    """(3, H, W) in [-1, 1] to (H, W, 3) uint8, rounded to the nearest level (no min-max stretch)."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"expected one image (3, H, W), got {tuple(image.shape)}")
    levels = ((image.detach().float().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy()


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
    """Write a picture under a temporary name and move it into place, so that no half file is ever seen."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = to_pil(image) if isinstance(image, Tensor) else image
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        picture.save(partial, **options)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def resize(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """(N, 3, H, W) to ``size``, bilinear, antialiased."""
    shape = (size, size) if isinstance(size, int) else size
    if tuple(images.shape[-2:]) == shape:
        return images
    return torch.nn.functional.interpolate(images, shape, mode="bilinear", antialias=True, align_corners=False)
