"""The pieces that both demos are built from: a shelf to choose from, a picture before and after, an upload."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ipywidgets as W
import numpy as np
from IPython.display import display
from PIL import Image

from amtgan_lib import formats, images, pipeline
from amtgan_lib.demos.session import Sample
from amtgan_lib.demos.widgets import texts

THUMBNAIL = 124  # pixels: twice what a thumbnail is wide, for sharp screens
# The server drops a larger message before anything here hears of it: all that we can do is say so at every upload.
# `make lab` and `make demo` raise Jupyter's own limit and pass it on.
UPLOAD_MB = int(os.environ.get("AMTGAN_UPLOAD_MB", 10))
LIMIT = f"Uploads: up to {UPLOAD_MB} MB. The server drops a larger file, and nothing happens."


class Shown:
    """What a notebook shows by its ``view`` when it is a cell's last line."""

    view: W.Widget

    def _ipython_display_(self) -> None:
        display(self.view)
        pipeline.into_view()


@dataclass(frozen=True)
class Uploaded:
    """A file as the browser sent it."""

    name: str
    content: bytes


def upload(on_file: Callable[[Uploaded], None], *classes: str) -> W.FileUpload:
    """A button that hands each uploaded file on; ready for the next one, also for the same file again."""
    button = W.FileUpload(accept=",".join(["image/*", *sorted(formats.readable())]), multiple=False, tooltip=LIMIT)
    for name in ("amtgan-upload", *classes):
        button.add_class(name)

    def hand_on(change: dict) -> None:
        if change["new"]:
            (file,) = change["new"]
            button.value = ()
            on_file(Uploaded(file["name"], bytes(file["content"])))

    button.observe(hand_on, "value")
    return button


class Shelf:
    """A row of thumbnails, one of them chosen, and an upload at its end.

    ``choices`` are (name, sample): a sample of None shows its name instead of a picture. ``on_choice`` gets the sample,
    None, or what was uploaded.
    """

    def __init__(
        self,
        heading: str,
        choices: Sequence[tuple[str, Sample | None]],
        on_choice: Callable[[Sample | Uploaded | None], None],
        kind: str,
    ):
        self.buttons = {name: W.Button(description="" if sample else name, tooltip=name) for name, sample in choices}
        for (name, sample), button in zip(choices, self.buttons.values()):
            button.add_class(_class(kind, name))
            button.on_click(lambda _, sample=sample: on_choice(sample))
        self.upload = upload(on_choice, f"amtgan-{kind}-upload")
        shelf = W.Box([*self.buttons.values(), self.upload]).add_class("amtgan-shelf")
        self.box = W.Box([W.HTML(heading + _pictures(kind, choices)), shelf]).add_class("amtgan-row")

    def mark(self, name: str | None) -> None:
        """Show which is chosen; None where it is an uploaded one."""
        for other, button in (*self.buttons.items(), (None, self.upload)):
            (button.add_class if other == name else button.remove_class)("amtgan-chosen")


def _class(kind: str, name: str) -> str:
    return f"amtgan-{kind}-{name.replace(' ', '-')}"


def _pictures(kind: str, choices: Sequence[tuple[str, Sample | None]]) -> str:
    """A style sheet that puts a picture on each button: widgets' buttons have none of their own."""
    rules = [
        f".amtgan .{_class(kind, name)} {{ background-image: url({data_url(_thumbnail(sample))}) }}"
        for name, sample in choices
        if sample is not None
    ]
    return f"<style>{' '.join(rules)}</style>"


def _thumbnail(sample: Sample) -> Image.Image:
    with Image.open(sample.small) as picture:
        side = min(picture.size)
        left, top = (picture.width - side) // 2, 0
        return picture.convert("RGB").crop((left, top, left + side, top + side)).resize((THUMBNAIL, THUMBNAIL))


class BeforeAfter:
    """Before and after in one picture: a slider moves the line between them, and each side says which it is."""

    def __init__(self):
        self.image = W.Image(format="png").add_class("amtgan-picture")
        self.position = W.FloatSlider(0.5, min=0, max=1, step=0.005, readout=False).add_class("amtgan-position")
        self.position.observe(lambda _: self._compose(), "value")
        self.sides = W.HTML().add_class("amtgan-sides")
        both = W.Box([self.image, self.sides]).add_class("amtgan-both")
        self.box = W.VBox([both, self.position]).add_class("amtgan-both")
        self._before = self._after = np.zeros((1, 1, 3), np.uint8)

    def show(self, before: Image.Image, after: Image.Image) -> None:
        """Two RGB pictures of one size."""
        self._before, self._after = np.asarray(before), np.asarray(after)
        self._compose()

    def _compose(self) -> None:
        """Left of the line the picture before, right of it the picture after."""
        width = self._after.shape[1]
        line = round(self.position.value * width)
        pixels = np.concatenate([self._before[:, :line], self._after[:, line:]], axis=1)
        if 0 < line < width:
            pixels[:, max(line - 1, 0) : line + 1] = 255
        self.image.value = png(Image.fromarray(pixels))
        self.sides.value = "<b>before</b>" * (line > 0) + "<b class='after'>after</b>" * (line < width)


class Message:
    """One line that says what is going on or what was wrong."""

    def __init__(self):
        self.box, self.kind = W.HTML().add_class("amtgan-message"), ""

    def say(self, text: str = "", kind: str = "") -> None:
        """Replace what it says; kind: "working", "problem" or none."""
        self.kind = kind if text else ""
        self.box.value = texts.message(text, kind)


def card(*children: W.Widget) -> W.VBox:
    """Widgets in a frame."""
    return W.VBox(list(children)).add_class("amtgan-card")


def columns(narrow: W.Widget, *wide: W.Widget) -> W.Box:
    """A card, and beside it others one below the other; all below each other where there is no room."""
    sides = [narrow.add_class("amtgan-narrow"), W.VBox(list(wide)).add_class("amtgan-wide")]
    return W.Box(sides).add_class("amtgan-columns")


def png(picture: Image.Image) -> bytes:
    """A picture as a widget takes it, hardly compressed: it does not travel far."""
    return images.encoded(picture, compress_level=1)


def data_url(picture: Image.Image) -> str:
    """A picture as JPEG in the address itself."""
    return images.data_url(images.encoded(picture, "JPEG", quality=88), "jpeg")
