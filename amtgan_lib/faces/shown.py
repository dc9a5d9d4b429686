"""A photo with what was found in it: a picture to look at before trusting a search for faces."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from amtgan_lib.faces.crops import FaceCrop
from amtgan_lib.faces.left import Box, DoubtfulFace, SmallFace
from amtgan_lib.images import Photo

MOST = 2000  # pixels: the longer side of the picture, at most
FOUND, SMALL, DOUBTFUL = "#00c853", "#ff9100", "#ff1744"


def boxed(photo: Photo, crops: Sequence[FaceCrop], left: Sequence[SmallFace | DoubtfulFace]) -> Image.Image:
    """The photo in RGB, at most MOST pixels a side, with a box around each face.

    Found faces are green and numbered from 1 in their order, those too small are orange, doubtful ones red.
    """
    picture = Image.fromarray(photo.rgb)
    picture.thumbnail((MOST, MOST))
    factor = picture.width / photo.size[0]
    draw = ImageDraw.Draw(picture)
    for number, crop in enumerate(crops, 1):
        _frame(draw, crop.box, factor, FOUND, str(number))
    for face in left:
        doubtful = isinstance(face, DoubtfulFace)
        _frame(draw, face.box, factor, DOUBTFUL if doubtful else SMALL, "doubtful" if doubtful else "too small")
    return picture


def _frame(draw: ImageDraw.ImageDraw, box: Box, factor: float, colour: str, label: str) -> None:
    """A box in photo pixels, and its label above it, or in it at the upper border."""
    x0, y0, x1, y1 = (value * factor for value in box)
    thick = max(draw.im.size[0] // 400, 2)
    font = ImageFont.load_default(10 * thick)
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=thick)
    high = draw.textbbox((0, 0), label, font)[3]
    place = (max(x0, 0), y0 - high - thick if y0 > high + thick else max(y0, 0) + thick)
    ground = draw.textbbox(place, label, font)
    draw.rectangle(ground, fill=colour)
    draw.text(place, label, "black", font)
