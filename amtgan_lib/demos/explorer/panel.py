"""Pickers, a threshold, curves, rates and photos, for a notebook or a page (demo_results)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from amtgan_lib.demos.explorer import curves
from amtgan_lib.demos.explorer.stored import GRID, MEASURED, at_hand, read
from amtgan_lib.demos.widgets import parts, texts
from amtgan_lib.demos.widgets.pace import Newest
from amtgan_lib.demos.widgets.style import SHEET
from amtgan_lib.reporting import figures, results

QUESTIONS = {"Is its owner refused?": "dodging", "Is it accepted as the target?": "impersonation"}
STEP = 0.001
THUMBNAIL = 112
WHOLE = {"width": "auto", "flex": "0 0 auto"}  # never so narrow that its words are cut

# ---------------------------------------------------------------- as HTML


def rates_html(rates: pd.DataFrame, chosen: str) -> str:
    """The rates at a threshold as a table: one line a method, the chosen one marked."""
    metrics = list(dict.fromkeys(rates["metric"]))
    head = "".join(f"<th>{escape(results.RATES[metric])}</th>" for metric in metrics)
    lines = []
    for method, part in rates.groupby("method", sort=False):
        cells = (results.percent(row.value, row.ci_low, row.ci_high) for row in part.itertuples())
        colour = figures.COLOURS.get(method, figures.OTHER_COLOUR)
        name = f'<th style="border-left:6px solid {colour}">{escape(str(method))}</th>'
        mark = ' class="chosen"' if method == chosen else ""
        lines.append(f"<tr{mark}>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    n = int(rates["n"].max())
    note = f"Per cent of {n} photos, with 95 % intervals (Wilson). The ranks do not depend on the threshold."
    table = f"<table class='amtgan-table results-table'><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    return f"{table}<p class='quiet'>{note}</p>"


@functools.lru_cache(maxsize=512)
def _thumbnail(file: Path, _written: int) -> str:
    """A small copy as a data URL; a file that was written anew is read anew."""
    with Image.open(file) as picture:
        small = picture.convert("RGB")
    small.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    return parts.data_url(small)


def photos_html(pictures: Mapping[tuple[str, str], Path], method: str, ranked: pd.DataFrame) -> str:
    """Photos as clean and protected pictures side by side, as far as they are there, with names and similarities."""
    cards = []
    for row in ranked.itertuples():
        files = {kind: pictures.get((kind, row.person)) for kind in ("clean", method)}
        small = {kind: _thumbnail(file, file.stat().st_mtime_ns) for kind, file in files.items() if file}
        shown = (f'<img src="{picture}" alt="{escape(kind)}">' for kind, picture in small.items())
        good = row.margin > 0  # NaN, no face found, is not
        caption = f"<figcaption>{escape(row.person)}<br>{_similarity(row)}</figcaption>"
        cards.append(f'<figure class="{"good" if good else "bad"}">{"".join(shown)}{caption}</figure>')
    return f'<div class="results-photos">{"".join(cards)}</div>'


def _similarity(row: tuple) -> str:
    if np.isnan(row.margin):
        return "no face found"
    distance = f"{abs(row.margin):.2f} {'to spare' if row.margin > 0 else 'short'}"
    return f"similarity {row.before:.2f} → {row.after:.2f}<br>{distance}"


# ---------------------------------------------------------------- the panel


class Explorer(parts.Shown):
    """Pickers, a threshold and what follows from them.

    Every widget that a visitor touches or reads carries a CSS class: results-run, results-recogniser, results-method,
    results-question, results-threshold, results-far, results-curves, results-rates, results-photos-of.
    """

    def __init__(self, run: str = "", photos: int = 4):
        self.stored, self.photos = read(run), photos
        self._quiet, self._of = False, ("", "")  # whose pickers are filled: a run, a recogniser
        self._figure: tuple[tuple, curves.MovingThreshold] | None = None
        self.pace = Newest(self._steps)
        self._make_widgets()
        self.view = self.layout()
        self.pace.ask()
        self.pace.finish()

    def _make_widgets(self) -> None:
        names = dict.fromkeys([*at_hand(), self.stored.name])
        runs = [("our own run" if name == MEASURED else name, name) for name in names]
        self.run = _picker("results of", "run", runs, self.stored.name)
        self.recogniser, self.method = _picker("judged by", "recogniser"), _picker("protected by", "method")
        options, style = list(QUESTIONS.items()), {"button_width": "auto"}
        self.question = W.ToggleButtons(options=options, style=style).add_class("results-question")
        layout = {"width": "480px"}
        slider = W.FloatSlider(min=GRID[0], max=GRID[-1], step=STEP, readout_format=".3f", layout=layout)
        self.threshold = slider.add_class("results-threshold")
        self.strictness = W.HBox(layout=WHOLE).add_class("results-strictness")
        said = ("far", "title", "rates", "photos-of")
        self.far, self.title, self.rates, self.shown = (W.HTML().add_class(f"results-{name}") for name in said)
        self.curves = W.Image(format="png").add_class("results-curves").add_class("amtgan-curve")
        for widget in (self.run, self.recogniser, self.method, self.question, self.threshold):
            widget.observe(self._changed, "value")

    def layout(self) -> W.Widget:
        """All widgets in their places."""
        pickers = W.HBox([self.run, self.recogniser, self.method], layout={"flex_flow": "row wrap"})
        strict = W.HBox([self.threshold, self.strictness], layout={"flex_flow": "row wrap"})
        cards = [
            parts.card(_heading(1, "Whose photos, judged by whom"), pickers, self.title),
            parts.card(_heading(2, "How similar must two photos be to count as one person?"), strict, self.far),
            parts.card(_heading(3, "What comes of it"), self.curves, self.rates),
            parts.card(_heading(4, "The photos behind the numbers"), self.question, self.shown),
        ]
        return W.VBox([W.HTML(SHEET), *cards]).add_class("amtgan").add_class("results-explorer")

    @property
    def at(self) -> float:
        """The threshold in use. A slider's step next to a calibrated threshold means that one.

        A browser may round what a slider is set to, and say so; the rates would then not be those of the tables.
        """
        value = self.threshold.value
        marks = self.stored.marks(self.recogniser.value).values()
        return next((mark for mark in marks if abs(mark - value) <= STEP / 2), value)

    def _changed(self, _: dict) -> None:
        if not self._quiet:
            self.pace.ask()

    # ------------------------------------------------------------ steps

    def _steps(self) -> Iterator[None]:
        """Pickers that fit together, then the curves, the rates and the photos."""
        self._fill()
        stored, recogniser, method, at = self.stored, self.recogniser.value, self.method.value, self.at
        curve = stored.false_accepts[stored.false_accepts["recogniser"] == recogniser]
        self.far.value = self._false_accepts(curve, at)
        self.curves.value = self._drawn(curve, at)
        yield
        self.rates.value = rates_html(stored.rates_at(recogniser, at), method)
        yield
        self.shown.value = self._photos(stored.ranked(method, recogniser, self.question.value, at))

    def _fill(self) -> None:
        """Give the pickers what another run or another recogniser has to offer; these changes ask for nothing."""
        self._quiet = True
        try:
            if self.run.value != self._of[0]:
                self.stored = stored = read(self.run.value)
                self.title.value = f"<div class='quiet'>{escape(stored.title)}</div>"
                self.method.options, self.method.value = stored.methods, stored.methods[-1]
                self.recogniser.options = [(f"{name} ({note})", name) for name, note in stored.recognisers.items()]
                self.recogniser.value = next(iter(stored.recognisers))
            if (self.run.value, self.recogniser.value) != self._of:
                self._of = self.run.value, self.recogniser.value
                marks = self.stored.marks(self.recogniser.value)
                self._curves = self.stored.curves(self.recogniser.value)
                self.strictness.children = [self._jump(far, threshold) for far, threshold in marks.items()]
                self.threshold.value = marks[self.stored.far]
        finally:
            self._quiet = False

    def _jump(self, far: float, threshold: float) -> W.Button:
        button = W.Button(description=f"1 of {round(1 / far)} strangers passes", layout=WHOLE)
        button.on_click(lambda _: setattr(self.threshold, "value", threshold))
        return button.add_class(f"results-far-{100 * far:g}".replace(".", "-"))

    def _false_accepts(self, curve: pd.DataFrame, at: float) -> str:
        pairs = int(curve["impostor_pairs"].iloc[0])
        share = 100 * self.stored.false_accept_rate(self.recogniser.value, at)
        words = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
        return (
            f"Two photos more similar than <b>{at:.3f}</b> count as one person. So do <b>{words} %</b> of {pairs} "
            "pairs of <i>different</i> people (the false accept rate, FAR)."
        )

    def _drawn(self, curve: pd.DataFrame, at: float) -> bytes:
        """The curves as PNG; while only the threshold moves, only its line is painted anew."""
        key = (*self._of, self.method.value)
        if self._figure is None or self._figure[0] != key:
            marks = self.stored.marks(self.recogniser.value)
            figure = curves.threshold_curves(self._curves, curve, at, self.method.value, marks)
            plt.close(figure)  # else a notebook would show it once more
            self._figure = key, curves.MovingThreshold(figure)
        return self._figure[1].png(at)

    def _photos(self, ranked: pd.DataFrame) -> str:
        good, words = int((ranked["margin"] > 0).sum()), f"are {results.RATES[self.question.value]}"
        groups = {"Best": ranked.head(self.photos), "Worst": ranked.tail(self.photos).iloc[::-1]}
        # All at once, and no others: what is missing of drawn faces is drawn now.
        pictures = self.stored.pictures({person for part in groups.values() for person in part["person"]})
        method = self.method.value
        html = [f"<b>{escape(method)}</b>: {good} of {len(ranked)} {words}. {_what_is_shown(method, pictures)}"]
        for title, part in groups.items():
            html.append(f"<p><b>{title}</b>, by the distance to the threshold</p>")
            html.append(photos_html(pictures, method, part))
        return "".join(html)


def _what_is_shown(method: str, pictures: Mapping[tuple[str, str], Path]) -> str:
    shown = {kind for kind, _ in pictures}
    if not shown:
        return "None of their pictures are on this machine, so only their names are shown."
    if method not in shown:
        own = "; those after need a run of your own (<code>make reproduce</code>)"
        return f'Only the photos before protection are shown<span class="amtgan-notebook-only">{own}</span>.'
    return "" if method == "clean" else "Left: before; right: after."


def _heading(number: int, text: str) -> W.HTML:
    return W.HTML(texts.heading(number, text))


def _picker(words: str, name: str, options: Sequence[tuple[str, str]] = (), value: str | None = None) -> W.Dropdown:
    look = {"layout": {"width": "310px"}, "style": {"description_width": "initial"}}
    return W.Dropdown(options=options, value=value, description=words, **look).add_class(f"results-{name}")
