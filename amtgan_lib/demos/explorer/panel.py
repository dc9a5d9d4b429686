"""Pickers, a threshold, curves, rates and photos, for a notebook or a page (demo_results)."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from amtgan_lib.demos.explorer.stored import GRID, at_hand, read
from amtgan_lib.reporting import figures, results

QUESTIONS = {"is its owner refused?": "dodging", "is it accepted as the target?": "impersonation"}
STEP = 0.001
THUMBNAIL = 112
WHOLE = {"width": "auto", "flex": "0 0 auto"}  # never so narrow that its words are cut

# ---------------------------------------------------------------- as HTML


def rates_html(rates: pd.DataFrame, chosen: str) -> str:
    """The rates at a threshold as a table: one line a method, the chosen one marked."""
    metrics = list(dict.fromkeys(rates["metric"]))
    head = "".join(f"<th>{escape(figures.METRIC_TITLES[metric])}</th>" for metric in metrics)
    lines = []
    for method, part in rates.groupby("method", sort=False):
        cells = (results.percent(row.value, row.ci_low, row.ci_high) for row in part.itertuples())
        colour = figures.COLOURS.get(method, figures.OTHER_COLOUR)
        name = f'<th style="border-left:6px solid {colour}">{escape(str(method))}</th>'
        mark = ' class="chosen"' if method == chosen else ""
        lines.append(f"<tr{mark}>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    n = int(rates["n"].max())
    note = f"Per cent of {n} photos, with 95 % intervals (Wilson). The ranks do not depend on the threshold."
    return f"{STYLE}<table class='results-table'><tr><th></th>{head}</tr>{''.join(lines)}</table><p>{note}</p>"


STYLE = """<style>
.results-table {border-collapse: collapse; font-variant-numeric: tabular-nums; line-height: 1.5}
.results-table td, .results-table th {padding: 2px 14px; text-align: right; border-bottom: 1px solid #ddd}
.results-table th:first-child {text-align: left; font-weight: normal}
.results-table .chosen {background: #eef4f2; font-weight: bold}
.results-photos {display: flex; flex-wrap: wrap; gap: 14px; margin: 4px 0 14px}
.results-photos figure {margin: 0; font-size: 12px; line-height: 1.35; border-top: 4px solid; padding-top: 4px}
.results-photos img {width: 112px; height: 112px; object-fit: cover; margin-right: 2px}
.results-photos .good {border-color: #0072B2} .results-photos .bad {border-color: #D55E00}
</style>"""


@functools.lru_cache(maxsize=512)
def _thumbnail(file: Path, _written: int) -> str:
    """A small copy as a data URL; a file that was written anew is read anew."""
    with Image.open(file) as picture:
        small = picture.convert("RGB")
    small.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
    small.save(buffer := io.BytesIO(), "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def photos_html(pictures: Mapping[tuple[str, str], Path], method: str, ranked: pd.DataFrame) -> str:
    """Photos as clean and protected pictures side by side, as far as they are there, with names and cosines."""
    cards = []
    for row in ranked.itertuples():
        files = {each: pictures.get((each, row.person)) for each in ("clean", method)}
        small = {each: _thumbnail(file, file.stat().st_mtime_ns) for each, file in files.items() if file}
        shown = (f'<img src="{picture}" alt="{escape(each)}">' for each, picture in small.items())
        good = row.margin > 0  # NaN, no face found, is not
        cosines = "no face found" if np.isnan(row.margin) else f"cosine {row.before:.2f} → {row.after:.2f}"
        margin = "" if np.isnan(row.margin) else f"<br>margin {row.margin:+.2f}"
        caption = f"<figcaption>{escape(row.person)}<br>{cosines}{margin}</figcaption>"
        cards.append(f'<figure class="{"good" if good else "bad"}">{"".join(shown)}{caption}</figure>')
    return f'<div class="results-photos">{"".join(cards)}</div>'


# ---------------------------------------------------------------- the panel


def _one_at_a_time(callback: Callable[..., None]) -> Callable[..., None]:
    """JupyterLab runs callbacks of widgets in threads, and a figure that two of them draw comes out blank."""

    @functools.wraps(callback)
    def waiting(panel: Panel, change: dict | None = None) -> None:
        with panel.lock:
            callback(panel, change)

    return waiting


class Panel:
    """Pickers, a threshold and what follows from them; ``box`` is what a notebook shows.

    Every widget that a visitor touches or reads carries a CSS class: results-run, results-recogniser, results-method,
    results-question, results-threshold, results-far, results-curves, results-rates, results-photos-of.
    """

    def __init__(self, run: str = "", photos: int = 4):
        self.stored, self.photos, self._quiet = read(run), photos, False
        self._figure: tuple[tuple, figures.MovingThreshold] | None = None
        self.lock = threading.RLock()
        self.run = _picker("run", list(dict.fromkeys([*at_hand(), self.stored.name])), self.stored.name)
        self.recogniser, self.method = _picker("recogniser", []), _picker("method", [])
        self.question = _named(
            widgets.ToggleButtons(options=list(QUESTIONS.items()), style={"button_width": "auto"}),
            "question",
        )
        self.threshold = _named(
            widgets.FloatSlider(min=GRID[0], max=GRID[-1], step=STEP, readout_format=".3f", layout={"width": "480px"}),
            "threshold",
        )
        self.far = _named(widgets.HTML(), "far")
        self.strictness = _named(widgets.HBox(layout=WHOLE), "strictness")
        self.title, self.rates, self.shown = (_named(widgets.HTML(), name) for name in ("title", "rates", "photos-of"))
        self.curves = _named(widgets.Image(format="png", layout={"max_width": "1100px"}), "curves")
        self._open()
        self.run.observe(self._another_run, "value")
        self.recogniser.observe(self._another_recogniser, "value")
        for widget in (self.method, self.question, self.threshold):
            widget.observe(self._show, "value")

    @property
    def box(self) -> widgets.VBox:
        """Everything, from top to bottom."""
        pickers = widgets.HBox([self.run, self.recogniser, self.method], layout={"flex_flow": "row wrap"})
        label = widgets.Label("threshold", layout=WHOLE)
        strict = widgets.HBox([label, self.threshold, self.strictness], layout={"flex_flow": "row wrap"})
        return widgets.VBox(
            [self.title, pickers, strict, self.far, self.curves, self.rates, self.question, self.shown]
        ).add_class("results-explorer")

    @property
    def at(self) -> float:
        """The threshold in use. A slider's step next to a calibrated threshold means that one.

        A browser may round what a slider is set to, and say so; the rates would then not be those of the tables.
        """
        value = self.threshold.value
        marks = self.stored.marks(self.recogniser.value).values()
        return next((mark for mark in marks if abs(mark - value) <= STEP / 2), value)

    @_one_at_a_time
    def _another_run(self, change: dict) -> None:
        self.stored = read(change["new"])
        self._open()

    def _open(self) -> None:
        stored = self.stored
        self.title.value = f"<b>{escape(stored.title)}</b>"
        with self._quietly():
            self.method.options = stored.methods
            self.method.value = stored.methods[-1]
            self.recogniser.options = [(f"{name} ({note})", name) for name, note in stored.recognisers.items()]
            self.recogniser.value = next(iter(stored.recognisers))
        self._another_recogniser()

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Several pickers change at once: nothing is shown before all of them fit together."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    @_one_at_a_time
    def _another_recogniser(self, _: dict | None = None) -> None:
        if self._quiet:
            return
        marks = self.stored.marks(self.recogniser.value)
        self._curves = self.stored.curves(self.recogniser.value)
        self.strictness.children = [self._jump(far, threshold) for far, threshold in marks.items()]
        with self._quietly():
            self.threshold.value = marks[self.stored.far]
        self._show()

    def _jump(self, far: float, threshold: float) -> widgets.Button:
        button = widgets.Button(description=f"FAR {100 * far:g} %", layout=WHOLE)
        button.on_click(lambda _: setattr(self.threshold, "value", threshold))
        return _named(button, f"far-{100 * far:g}".replace(".", "-"))

    @_one_at_a_time
    def _show(self, _: dict | None = None) -> None:
        if self._quiet:
            return
        stored, recogniser, method, at = self.stored, self.recogniser.value, self.method.value, self.at
        curve = stored.false_accepts[stored.false_accepts["recogniser"] == recogniser]
        pairs = int(curve["impostor_pairs"].iloc[0])
        share = 100 * stored.false_accept_rate(recogniser, at)
        words = f"{share:.0f}" if share >= 10 else f"{share:.2g}"
        self.far.value = (
            f"At a cosine above <b>{at:.3f}</b> this recogniser takes two photos for one person. Two <i>different</i> "
            f"people pass in <b>{words} %</b> of {pairs} pairs (false accept rate)."
        )
        self.curves.value = self._drawn(curve, at)
        self.rates.value = rates_html(stored.rates_at(recogniser, at), method)
        self.shown.value = self._photos(stored.ranked(method, recogniser, self.question.value, at))

    def _drawn(self, curve: pd.DataFrame, at: float) -> bytes:
        """The curves as PNG; while only the threshold moves, only its line is painted anew."""
        key = (self.run.value, self.recogniser.value, self.method.value)
        if self._figure is None or self._figure[0] != key:
            marks = self.stored.marks(self.recogniser.value)
            figure = figures.threshold_curves(self._curves, curve, at, self.method.value, marks)
            plt.close(figure)  # else a notebook would show it once more
            self._figure = key, figures.MovingThreshold(figure)
        return self._figure[1].png(at)

    def _photos(self, ranked: pd.DataFrame) -> str:
        good, words = int((ranked["margin"] > 0).sum()), _words(self.question.value)
        parts = {"Best": ranked.head(self.photos), "Worst": ranked.tail(self.photos).iloc[::-1]}
        # All at once, and no others: what is missing of drawn faces is drawn now.
        pictures = self.stored.pictures({person for part in parts.values() for person in part["person"]})
        method = self.method.value
        html = [f"<b>{escape(method)}</b>: {good} of {len(ranked)} {words}. {_what_is_shown(method, pictures)}"]
        for title, part in parts.items():
            html.append(f"<p><b>{title}</b> by margin to the threshold</p>")
            html.append(photos_html(pictures, method, part))
        return "".join(html)


def _what_is_shown(method: str, pictures: Mapping[tuple[str, str], Path]) -> str:
    shown = {each for each, _ in pictures}
    if not shown:
        return "Their pictures are in no run at hand, so photos are named only."
    if method not in shown:
        return "Clean photos only: the protected ones need a run of your own (<code>make reproduce</code>)."
    return "" if method == "clean" else "Clean photo left, protected right."


def _words(question: str) -> str:
    return "are accepted as the target" if question == "impersonation" else "are refused as their owner"


def _named(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    return widget.add_class(f"results-{name}")


def _picker(name: str, options: Sequence[str], value: str | None = None) -> widgets.Dropdown:
    layout = {"width": "340px"}
    picker = widgets.Dropdown(options=options, value=value, description=name, layout=layout)
    return _named(picker, name)
