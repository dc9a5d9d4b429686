"""Stored scores of a run, explored without a model: any threshold, method and recogniser (notebook demo_results)."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from amtgan_lib import evaluation, figures, paths, results

RUN_FILES = ("05_scores.csv", "05_black_box_success.csv", "02_thresholds.csv", "02_false_accepts.csv")
MEASURED_FILES = ("scores-procedural.csv", "procedural.csv", "thresholds-drawn.csv", "false-accepts-drawn.csv")
MEASURED = "results/measured"
QUESTIONS = {"is its owner refused?": "dodging", "is it accepted as the target?": "impersonation"}
GRID = np.linspace(-0.4, 1, 281)
STEP = 0.001
THUMBNAIL = 112


class NoScores(Exception):
    """A run that was asked for holds no scores to explore."""


@dataclass(frozen=True)
class Stored:
    """What a run stored. The rates are at the run's own FAR; everything else is worked out from raw scores.

    scores: columns target, owner (cosines; NaN where no face was found), owner_rank, method, recogniser, person.
    rates: result rows. thresholds: columns recogniser, far, threshold. false_accepts: columns recogniser, threshold,
    far, impostor_pairs. run: the folder whose pictures are shown, or None where only the scores are at hand.
    """

    name: str
    scores: pd.DataFrame
    rates: pd.DataFrame
    thresholds: pd.DataFrame
    false_accepts: pd.DataFrame
    run: Path | None

    @property
    def methods(self) -> list[str]:
        """Every method, the clean photos first."""
        return list(dict.fromkeys(self.scores["method"]))

    @property
    def recognisers(self) -> dict[str, str]:
        """{name: "held out" | "trained against"}, those that took no part first."""
        notes = self.rates.drop_duplicates("recogniser").set_index("recogniser")["note"]
        return dict(sorted(notes.items(), key=lambda item: item[1] != "held out"))

    @property
    def far(self) -> float:
        """The false accept rate at which the run's own tables stand."""
        return float(self.rates["far"].dropna().iloc[0])

    @property
    def title(self) -> str:
        """What these numbers are about, with where they come from: "procedural, drawn test, 63 photos ..."."""
        first, photos = self.rates.iloc[0], self.scores["person"].nunique()
        where = f"{first['preset']}, {first['dataset']}, {photos} photos, target {first['target']}"
        return f"{where}; commit {first['commit']}, from {self.name}"

    def marks(self, recogniser: str) -> dict[float, float]:
        """{far: threshold} of a recogniser, as it was calibrated on people who are not in the test."""
        mine = self.thresholds[self.thresholds["recogniser"] == recogniser]
        return dict(zip(mine["far"].astype(float), mine["threshold"].astype(float)))

    def false_accept_rate(self, recogniser: str, threshold: float) -> float:
        """The share of pairs of different people that exceed a threshold (between two stored steps, on the line)."""
        curve = self.false_accepts[self.false_accepts["recogniser"] == recogniser]
        return float(np.interp(threshold, curve["threshold"], curve["far"]))

    def of(self, recogniser: str) -> pd.DataFrame:
        """The raw scores on one recogniser."""
        return self.scores[self.scores["recogniser"] == recogniser]

    def rates_at(self, recogniser: str, threshold: float) -> pd.DataFrame:
        """Columns method, metric, value, ci_low, ci_high, n: shares with Wilson intervals at a threshold."""
        rows = []
        for method, part in self.of(recogniser).groupby("method", sort=False):
            for metric, counted in evaluation.success_rates(part, threshold).items():
                low, high = evaluation.wilson(int(counted.sum()), len(counted))
                numbers = {"value": float(counted.mean()), "ci_low": low, "ci_high": high, "n": len(counted)}
                rows.append({"method": method, "metric": metric, **numbers})
        return pd.DataFrame(rows)

    def curves(self, recogniser: str) -> pd.DataFrame:
        """Columns method, threshold, impersonation, dodging: the shares at every threshold of ``GRID``."""
        parts = []
        for method, part in self.of(recogniser).groupby("method", sort=False):
            target, owner = (part[column].to_numpy()[:, None] for column in ("target", "owner"))
            shares = {
                "impersonation": evaluation.attack_success(target, GRID).mean(axis=0),
                "dodging": evaluation.hidden(owner, GRID).mean(axis=0),
            }
            parts.append(pd.DataFrame({"method": method, "threshold": GRID, **shares}))
        return pd.concat(parts, ignore_index=True)

    def ranked(self, method: str, recogniser: str, question: str, threshold: float) -> pd.DataFrame:
        """Photos of a method, the best first: columns person, before (clean), after, margin.

        The margin is how far the cosine lies on the good side of the threshold: above it for impersonation, below it
        for dodging. A photo in which no face was found has none, and comes last: it is not to the method's credit.
        """
        column, sign = ("target", 1) if question == "impersonation" else ("owner", -1)
        wide = self.of(recogniser).pivot(index="person", columns="method", values=column)
        table = pd.DataFrame({"before": wide["clean"], "after": wide[method]})
        table["margin"] = sign * (table["after"] - threshold)
        return table.sort_values("margin", ascending=False, na_position="last").reset_index()

    @functools.cached_property
    def files(self) -> dict[tuple[str, str], Path]:
        """{(method, person): picture} of the run, where the file is there."""
        found: dict[tuple[str, str], Path] = {}
        for report in sorted(self.run.glob("protected/*/reports.csv")) if self.run else ():
            for row in results.read_reports(report).itertuples():
                # By the name beside the report: the run's folder may have been moved.
                found[report.parent.name, row.person] = report.parent / row.probe
                found.setdefault(("clean", row.person), Path(row.source))
        return {key: file for key, file in found.items() if file.is_file()}


def at_hand() -> dict[str, Path | None]:
    """{name: folder} of every run with scores, the newest first; ``results/measured`` (None) is always there."""
    folders = [folder for folder in paths.RUNS.glob("*") if not folder.is_symlink() and _complete(folder)]
    folders.sort(key=lambda folder: (folder / "tables" / RUN_FILES[0]).stat().st_mtime, reverse=True)
    return {**{folder.name: folder for folder in folders}, MEASURED: None}


def _complete(folder: Path) -> bool:
    return all((folder / "tables" / name).is_file() for name in RUN_FILES)


def read(name: str = "") -> Stored:
    """The scores of a run, by its name in results/runs or the path of its folder; "" is the newest, or those measured.

    Raises NoScores where a run that was named has none.
    """
    known = at_hand()
    if name not in known and _complete(Path(name)):
        known = {name: Path(name), **known}
    name = name or next(iter(known))
    if name not in known:
        raise NoScores(f"The run {name!r} holds no scores (notebooks 2 to 5 write them): there are {', '.join(known)}.")
    run = known[name]
    folder, files = (paths.MEASURED, MEASURED_FILES) if run is None else (run / "tables", RUN_FILES)
    scores, rates, *others = (folder / file for file in files)
    rows = results.read(rates)
    rows = rows[rows["experiment"] == "black_box_success"]
    return Stored(name, pd.read_csv(scores), rows, *(pd.read_csv(file) for file in others), run)


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


def photos_html(stored: Stored, method: str, ranked: pd.DataFrame) -> str:
    """Photos as clean and protected pictures side by side, or as names where the run's files are not there."""
    cards = []
    for row in ranked.itertuples():
        files = {each: stored.files.get((each, row.person)) for each in ("clean", method)}
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
        self._figure: tuple[tuple, Figure] | None = None
        self.lock = threading.RLock()
        self.run = _picker("run", list(dict.fromkeys([*at_hand(), self.stored.name])), self.stored.name)
        self.recogniser, self.method = _picker("recogniser", []), _picker("method", [])
        self.question = _named(
            widgets.ToggleButtons(options=list(QUESTIONS.items()), style={"button_width": "auto"}),
            "question",
        )
        self.threshold = _named(
            widgets.FloatSlider(min=GRID[0], max=GRID[-1], step=STEP, readout_format=".3f", layout={"width": "560px"}),
            "threshold",
        )
        self.far = _named(widgets.HTML(), "far")
        self.strictness = _named(widgets.HBox(), "strictness")
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
        strict = widgets.HBox([widgets.Label("threshold"), self.threshold, self.strictness])
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
        button = widgets.Button(description=f"FAR {100 * far:g} %", layout={"width": "auto"})
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
        """The curves as PNG; while only the threshold moves the figure is kept, since laying it out takes longest."""
        key = (self.run.value, self.recogniser.value, self.method.value)
        if self._figure is None or self._figure[0] != key:
            marks = self.stored.marks(self.recogniser.value)
            figure = figures.threshold_curves(self._curves, curve, at, self.method.value, marks)
            plt.close(figure)  # else a notebook would show it once more
            self._figure = key, figure
        figures.move_threshold(self._figure[1], at)
        self._figure[1].savefig(buffer := io.BytesIO(), format="png", dpi=110)
        return buffer.getvalue()

    def _photos(self, ranked: pd.DataFrame) -> str:
        good, words = int((ranked["margin"] > 0).sum()), _words(self.question.value)
        html = [f"<b>{escape(self.method.value)}</b>: {good} of {len(ranked)} {words}."]
        if not self.stored.files:
            html.append(" Their pictures are in no run at hand, so photos are named only.")
        elif self.method.value != "clean":
            html.append(" Clean photo left, protected right.")
        for title, part in (("Best", ranked.head(self.photos)), ("Worst", ranked.tail(self.photos).iloc[::-1])):
            html.append(f"<p><b>{title}</b> by margin to the threshold</p>")
            html.append(photos_html(self.stored, self.method.value, part))
        return "".join(html)


def _words(question: str) -> str:
    return "are accepted as the target" if question == "impersonation" else "are refused as their owner"


def _named(widget: widgets.DOMWidget, name: str) -> widgets.DOMWidget:
    return widget.add_class(f"results-{name}")


def _picker(name: str, options: Sequence[str], value: str | None = None) -> widgets.Dropdown:
    layout = {"width": "340px"}
    picker = widgets.Dropdown(options=options, value=value, description=name, layout=layout)
    return _named(picker, name)
