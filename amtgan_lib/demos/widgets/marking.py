"""A face that no detector finds, marked by hand: a box on the photo, moved by two sliders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as W
from PIL import Image, ImageDraw

from amtgan_lib import faces
from amtgan_lib.demos.widgets import parts
from amtgan_lib.faces import Box, DoubtfulFace, FaceCrop, SmallFace
from amtgan_lib.images import Photo

SHOWN = 640  # pixels: the longer side of the photo that is shown, at most
COLOUR = "#2979ff"
ABOUT = (
    "<small>Green boxes are faces that were found. Move the blue one around a missing face, from chin to forehead: "
    "the first slider moves its left and right edges, the second its top and bottom edges.</small>"
)


class Marking:
    """The photo with the faces found in it and a box to move; ``on_mark`` gets the box, or None to take marks away.

    Boxes are (x0, y0, x1, y1) in pixels of the photo.
    """

    def __init__(self, on_mark: Callable[[Box | None], None]):
        self.image = W.Image(format="png", layout={"max_width": f"{SHOWN}px"}).add_class("amtgan-curve")
        self.across, self.down = _slider("left, right", "across"), _slider("top, bottom", "down")
        for slider in (self.across, self.down):
            slider.observe(lambda _: self._draw(), "value")
        self.add = W.Button(description="There is a face here", icon="plus").add_class("amtgan-mark")
        self.forget = W.Button(description="Take marks away").add_class("amtgan-unmark")
        self.add.on_click(lambda _: on_mark(self.marked))
        self.forget.on_click(lambda _: on_mark(None))
        inside = [W.HTML(ABOUT), self.image, self.across, self.down, W.HBox([self.add, self.forget])]
        self.box = W.Accordion([W.VBox(inside)], titles=("A face is missing? Mark it",))
        self._picture, self._scale = Image.new("RGB", (1, 1)), 1.0

    @property
    def marked(self) -> Box:
        """The box where the sliders stand."""
        (x0, x1), (y0, y1) = self.across.value, self.down.value
        return float(x0), float(y0), float(x1), float(y1)

    def show(self, photo: Photo, found: Sequence[FaceCrop] = (), left: Sequence[SmallFace | DoubtfulFace] = ()) -> None:
        """A photo with its faces; on another one than before the box goes to the middle."""
        self._picture = faces.boxed(photo, found, left)
        self._picture.thumbnail((SHOWN, SHOWN))
        self._scale = self._picture.width / photo.size[0]
        if (self.across.max, self.down.max) != photo.size:
            for slider, side in zip((self.across, self.down), photo.size):
                slider.max, slider.value = side, (side // 3, -(-2 * side // 3))
        self._draw()

    def _draw(self) -> None:
        picture, (x0, y0, x1, y1) = self._picture.copy(), self.marked
        self.add.disabled = x0 == x1 or y0 == y1
        edges = [edge * self._scale for edge in (x0, y0, x1, y1)]
        ImageDraw.Draw(picture).rectangle(edges, outline=COLOUR, width=3)
        self.image.value = parts.png(picture)


def _slider(words: str, name: str) -> W.IntRangeSlider:
    look = {"layout": {"width": "100%", "max_width": f"{SHOWN}px"}, "style": {"description_width": "88px"}}
    return W.IntRangeSlider(value=(0, 100), min=0, max=100, description=words, **look).add_class(f"amtgan-{name}")
