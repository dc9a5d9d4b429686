"""What both demos do: choose a photo and a makeup, show before and after, ask the recognisers, give the photo back."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import ipywidgets as W
import pandas as pd
from PIL import Image

from amtgan_lib import images
from amtgan_lib.demos import session
from amtgan_lib.demos.session import Sample, Settings, Studio
from amtgan_lib.demos.widgets import parts, texts
from amtgan_lib.demos.widgets.marking import Marking
from amtgan_lib.demos.widgets.pace import Newest
from amtgan_lib.demos.widgets.parts import Uploaded
from amtgan_lib.faces import Box, FaceCrop, overlap
from amtgan_lib.images import Photo, PhotoError

OWN = "own makeup"
STALE = "amtgan-stale"
WORDS = {"photo": "photo", "known": "other photo", "makeup": "makeup", "second": "second makeup"}
WORDS["face"] = "marked place"
Source = Sample | Uploaded | Path | Box | None


@dataclass(frozen=True)
class Begin:
    """What lies on the workbench at first: files ("" for drawn ones), and a portrait's row in the drawn test pairs.

    held_out: recognisers that judge photographs and give no hints.
    """

    photo: str = ""
    makeup: str = ""
    second: str = ""
    known: str = ""
    person: int = session.PEOPLE[0]
    held_out: Sequence[str] = ()


class Workbench(parts.Shown):
    """A photo on the workbench. Subclasses lay it out as ``view``, and may have ``later`` steps.

    Raises PhotoError where ``begin`` names something unusable. Later problems are told in ``message``, and everything
    else stays as it was.
    """

    makeup_shelves = (("makeup", "Makeup"),)

    def __init__(self, begin: Begin | None = None):
        begin = begin or Begin()
        self._held_out = frozenset(begin.held_out)
        self.people = session.people(dict.fromkeys((begin.person, *session.PEOPLE)))
        self.makeups = session.makeups()
        self.studio: Studio | None = None
        self.shown: Settings | None = None
        self.picture: Image.Image | None = None  # what it looks like with the settings shown
        self.table: pd.DataFrame | None = None  # what the recognisers say to the picture
        self.styles: dict[str, FaceCrop | None] = {}
        self._makeups: dict[str, Photo | None] = {}
        self._asked: dict[str, Source] = {}
        self._opened: Sample | Uploaded | Path | None = None  # what the studio shows
        self._marks: tuple[Box, ...] = ()  # on the photo that was chosen last
        self.pace = Newest(self._steps)
        self._make_widgets()
        self.view = self.layout().add_class("amtgan")
        self._begin(begin)

    def _make_widgets(self) -> None:
        self.message, self.comparison = parts.Message(), parts.BeforeAfter()
        self.marking = Marking(functools.partial(self.ask, "face"))
        choices = [(sample.name, sample) for sample in self.people]
        heading = texts.heading(1, "Drawn person or photo")
        self.photos = parts.Shelf(heading, choices, functools.partial(self.ask, "photo"), "photo")
        self.limit = W.HTML(f"<small>{parts.LIMIT}</small>")
        makeups = [(OWN, None), *((sample.name, sample) for sample in self.makeups)]
        self.shelves = {
            key: parts.Shelf(texts.heading(number, heading), makeups, functools.partial(self.ask, key), key)
            for number, (key, heading) in enumerate(self.makeup_shelves, start=2)
        }
        self.known = parts.upload(functools.partial(self.ask, "known"), "amtgan-known")
        self.verdict = W.HTML().add_class("amtgan-headline")
        self.meters = W.HTML().add_class("amtgan-meters")
        self.meaning, self.link = W.HTML(), W.HTML()
        self.save = W.Button(description="Make the whole photo", icon="picture-o").add_class("amtgan-save")
        self.save.on_click(lambda _: self._give())
        makeup = [shelf.box for shelf in self.shelves.values()]
        self.choice = parts.card(self.photos.box, *makeup, self.limit, self.message.box)
        self.asked = parts.card(self.verdict, self.meters, self.known, self.meaning)
        self.before_after = parts.card(self.comparison.box, self.save, self.link)

    def _begin(self, begin: Begin) -> None:
        """The first picture and its meters, complete before anything is shown; the rest may come later."""
        # A drawn makeup shows what there is; on somebody's own photo nobody asked for it.
        drawn = {} if begin.photo else dict(zip(("makeup", "second"), self.makeups))
        self._open(Path(begin.photo) if begin.photo else self.people[0])
        for key in self.shelves:
            named = getattr(begin, key)
            self._wear(key, Path(named) if named else drawn.get(key))
        if begin.known:
            self.studio.compare_with(Path(begin.known))
        self.pace.ask()
        self.pace.finish(lambda: self.table is not None)

    def layout(self) -> W.Widget:
        """All widgets in their places."""
        raise NotImplementedError

    @property
    def settings(self) -> Settings:
        """What is to be shown."""
        return Settings()

    @property
    def chosen(self) -> list[FaceCrop | None]:
        """The makeup references, in the order of ``Studio.picture``."""
        return list(self.styles.values())

    def ask(self, what: str, source: Source) -> None:
        """A photo, a known photo or a makeup was chosen, or a face marked (None: all marks taken away)."""
        self._asked[what] = source
        self.pace.ask()

    def later(self) -> Iterator[None]:
        """Further steps, when picture and meters are shown."""
        return iter(())

    # ------------------------------------------------------------ steps

    def _steps(self) -> Iterator[None]:
        """Everything that is asked for and not done yet, then the picture, the meters, and what may wait."""
        self.link.value, problems = "", []
        if self._asked or not self.studio.faces[0].tried(self.settings.mix, *self.chosen):
            for widget in (self.verdict, self.meters):  # they speak of what is no longer chosen
                widget.add_class(STALE)
        for what in list(self._asked):
            self.message.say(f"Looking at the {WORDS[what]} …", "working")
            yield
            problems += self._problems(what)
        if not self.studio.faces[0].tried(self.settings.mix, *self.chosen):
            self.message.say("Searching for the look that is hardest to recognise: a few seconds …", "working")
            yield
        self.shown = self.settings
        self.picture = self.studio.picture(self.shown, *self.chosen)
        self.comparison.show(self.studio.clean, self.picture)
        if problems or self.message.kind == "working":
            self.message.say(" ".join(problems), "problem")
        yield
        self.table = self.studio.judged(self.picture)
        for widget in (self.verdict, self.meters):
            widget.remove_class(STALE)
        self.verdict.value = texts.verdict(self.table, bool(self.studio.missed))
        self.meters.value = texts.meters(self.table) + texts.visible(self.table)
        self.meaning.value = texts.meaning(self.studio.compares_with_itself, self.studio.kit.says)
        yield
        yield from self.later()

    def _problems(self, what: str) -> list[str]:
        """Do what was asked; a sentence where it cannot be done, and then all stays as it was."""
        source = self._asked.pop(what)
        try:
            if what == "photo":
                self._open(source)
            elif what == "face":
                return self._mark(source)
            elif what == "known":
                self.studio.compare_with(_photo(source))
            else:
                self._wear(what, source)
        except PhotoError as error:
            return [f"{_sentence(error)} The picture has not changed."]
        return []

    def _open(self, source: Sample | Uploaded | Path) -> None:
        self._latest, self._marks = (source, _photo(source)), ()
        self._look(source.known() if isinstance(source, Sample) else None)

    def _mark(self, box: Box | None) -> list[str]:
        """Look for a face in a box, too, on the photo that was chosen last, whether one was found in it or not.

        A mark without a face stays, and the photo unprotected, until it is taken away or one that overlaps it fits.
        Returns a sentence for each such mark, and where no face is there that was not known.
        """
        before = self.studio if self.studio.photo is self._latest[1] else None
        fitting = before.fitting if before else ()
        stay = [mark for mark in self._marks if mark in fitting or not overlap(mark, box)] if box else []
        self._marks = (*stay, box) if box else ()
        self._look(before.known if before else None)
        if self.studio.missed:
            return [f"{self.studio.photo.name}: {face}." for face in self.studio.missed]
        more = not before or len(self.studio.faces) > len(before.faces)
        return [] if more or not box else ["There are no faces besides those already found."]

    def _look(self, known: Path | Photo | None) -> None:
        """Open the photo that was chosen last; where that fails, it is shown all the same, for a face to be marked."""
        source, photo = self._latest
        try:
            # A photograph never gets the drawn kit: its meters would mean nothing.
            kit = session.drawn_kit() if isinstance(source, Sample) else session.photo_kit(self._held_out)
            opened = Studio(photo, kit, known, self._marks)
        except PhotoError:
            self.marking.show(photo)
            self.marking.box.selected_index = 0
            raise
        self.marking.show(photo, [face.crop for face in opened.faces], opened.left)
        if isinstance(source, Uploaded) and isinstance(self._opened, Sample):
            for key in self.shelves:  # the makeup of a drawn person was never chosen for this face
                self._wear(key, None)
        self._opened = source
        styles = {key: photo and opened.reference(photo) for key, photo in self._makeups.items()}
        self.studio, self.styles = opened, styles
        self.photos.mark(source.name if isinstance(source, Sample) else None)
        # A drawn person's other photo is known already.
        self.known.layout.display = "none" if isinstance(source, Sample) else ""

    def _wear(self, key: str, source: Sample | Uploaded | Path | None) -> None:
        if isinstance(source, Sample):
            photo = images.open_photo(source.small)  # enough for a makeup
        else:
            photo = None if source is None else _photo(source)
        crop = photo and self.studio.reference(photo)
        self._makeups[key], self.styles[key] = photo, crop
        name = None if isinstance(source, Uploaded | Path) else source.name if source else OWN
        self.shelves[key].mark(name)

    # ------------------------------------------------------------ the whole photo

    def _give(self) -> None:
        """A link to the whole photo at its own size; nothing is written on this machine."""
        self.pace.finish()
        self.message.say("Making the whole photo …", "working")  # its other faces have no look yet
        try:
            self.link.value = _link(self.studio, self.settings, self.chosen)
            self.message.say()
        except PhotoError as error:
            self.message.say(_sentence(error), "problem")


def _sentence(error: PhotoError) -> str:
    return f"{str(error).rstrip('.')}."


def _photo(source: Sample | Uploaded | Path) -> Photo:
    if isinstance(source, Sample):
        return images.open_photo(source.large())
    return images.open_photo(source) if isinstance(source, Path) else images.read_photo(source.content, source.name)


def _link(opened: Studio, settings: Settings, styles: Sequence[FaceCrop | None]) -> str:
    result = opened.protect(settings, *styles)
    stem, suffix = Path(opened.photo.name).stem, Path(opened.photo.name).suffix.lower()
    kind = ".jpg" if suffix in (".jpg", ".jpeg") else ".png"
    with tempfile.TemporaryDirectory() as folder:
        # Nobody was asked whether the link may tell where and when the photo was taken.
        content = result.save(Path(folder) / f"changed{kind}", keep_metadata=False).read_bytes()
    data = images.data_url(content, "jpeg" if kind == ".jpg" else "png")
    name, count = escape(f"{stem}_amtgan{kind}"), len(result.faces)
    faces = "1 face" if count == 1 else f"{count} faces; the meters are for the largest"
    faces += "".join(f"; {escape(str(face))}, and is unchanged" for face in (*result.too_small, *result.doubtful))
    return (
        f'<a class="amtgan-link" download="{name}" href="{data}">⬇ Download {name}</a> '
        f"<small>{result.image.width} x {result.image.height}, without EXIF (camera, time, place), {faces}</small>"
    )
