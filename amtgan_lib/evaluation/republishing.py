"""What becomes of a picture on its way through the web: the ways of sites, and of somebody who wants a change gone."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from PIL import Image, ImageFilter

from amtgan_lib.images import encoded, open_photo, save

BLUR = 0.0075  # of the longer side: 1.2 pixels of 160
ZOOM, BORDER = 0.8, 0.03  # of a screenshot: how large the picture is shown, and what is cut off at each side
LEVELS = 4  # bits a channel that are kept


class Way(NamedTuple):
    """How an RGB picture is changed, and in which kind of file it is written: ".png", or one with loss at a quality."""

    change: Callable[[Image.Image], Image.Image]
    suffix: str = ".png"
    options: Mapping[str, int] = MappingProxyType({})


def _coarse(picture: Image.Image) -> Image.Image:
    step = 2 ** (8 - LEVELS)
    return picture.point([min(level // step * step + step // 2, 255) for level in range(256)] * 3)


def _screenshot(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    box = (BORDER * width, BORDER * height, (1 - BORDER) * width, (1 - BORDER) * height)
    shown = (round(ZOOM * (box[2] - box[0])), round(ZOOM * (box[3] - box[1])))
    return picture.resize(shown, Image.Resampling.BILINEAR, box=box)


WAYS: Mapping[str, Way] = {
    "jpeg90": Way(Image.Image.copy, ".jpg", {"quality": 90}),
    "jpeg75": Way(Image.Image.copy, ".jpg", {"quality": 75}),
    "jpeg50": Way(Image.Image.copy, ".jpg", {"quality": 50}),
    "webp": Way(Image.Image.copy, ".webp", {"quality": 80}),
    "half": Way(lambda picture: picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BICUBIC)),
    "blur": Way(lambda picture: picture.filter(ImageFilter.GaussianBlur(BLUR * max(picture.size)))),
    "median": Way(lambda picture: picture.filter(ImageFilter.MedianFilter(3))),
    "4bits": Way(_coarse),
    "screenshot": Way(_screenshot, ".jpg", {"quality": 90}),
    # A simple way to remove what was added.
    "purified": Way(lambda picture: picture.filter(ImageFilter.MedianFilter(3)), ".jpg", {"quality": 75}),
}
REPUBLISHED = ("jpeg75", "jpeg50", "half", "blur", "purified")
"""Those of the report card, which is made while somebody waits."""


def republished(files: Iterable[str | Path], folder: str | Path, how: str) -> list[Path]:
    """The pictures as a site may publish them anew, as files of the same names; ``how`` as in ``republish``."""
    way, written = _way(how), []
    for file in map(Path, files):
        picture = way.change(Image.fromarray(open_photo(file).rgb))
        written.append(save(Path(folder) / f"{file.stem}{way.suffix}", picture, **way.options))
    return written


def republish(picture: Image.Image, how: str) -> Image.Image:
    """An RGB picture as a site or an adversary may change it: one of WAYS; ValueError for any other word."""
    way = _way(how)
    changed = way.change(picture)
    if way.suffix == ".png":  # without loss
        return changed
    file = encoded(changed, Image.registered_extensions()[way.suffix], **way.options)
    return Image.open(io.BytesIO(file)).convert("RGB")


def _way(how: str) -> Way:
    if how not in WAYS:
        raise ValueError(f"how is {how!r}; expected one of {', '.join(WAYS)}")
    return WAYS[how]
