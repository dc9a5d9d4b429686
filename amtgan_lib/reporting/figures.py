"""Table or pictures in, matplotlib Figure out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from PIL import Image

from amtgan_lib.files import written
from amtgan_lib.reporting.results import RATES, REGIONS
from amtgan_lib.reporting.style import (
    COLOURS,
    HATCH,
    KINDS,
    LINE_COLOURS,
    LINE_MARKERS,
    MARKERS,
    OTHER_COLOUR,
    in_style,
)

UNCHANGED = {"ssim": ("SSIM to the clean photo", 1.0), "flip": ("FLIP between the clean face and this one", 0.0)}
"""Measures of how plainly a picture has changed: their words, and their value where nothing did."""


def grid(
    rows: Sequence[Sequence[Image.Image | np.ndarray]], titles: Sequence[str] = (), side: float = 1.5, groups: int = 1
) -> Figure:
    """Pictures in rows; ``titles`` name the columns. ``groups`` rows stand side by side in one line."""
    width, groups = len(rows[0]), min(groups, len(rows))
    lines = -(-len(rows) // groups)
    figure, axes = plt.subplots(lines, width * groups, figsize=(side * width * groups, side * lines), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for position, row in enumerate(rows):
        line, group = divmod(position, groups)
        for column, picture in enumerate(row):
            axes[line, group * width + column].imshow(picture)
    for column, title in enumerate(list(titles) * groups):
        axes[0, column].set_title(title, fontsize=8)
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - 0.25 / (side * lines), wspace=0.02, hspace=0.02)
    return figure


@in_style
def loss_curves(history: Sequence[dict[str, float]], title: str = "") -> Figure:
    """Every named loss against the step, as a running mean of 20; one small panel each, since units differ."""
    table = pd.DataFrame(history).set_index("step").drop(columns="seconds")
    columns = min(4, len(table.columns))
    lines = -(-len(table.columns) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(3 * columns, 1.8 * lines), squeeze=False)
    for axis in axes.flat[len(table.columns) :]:
        axis.axis("off")
    for axis, (name, values) in zip(axes.flat, table.items()):
        axis.plot(values.rolling(20, min_periods=1).mean(), color=COLOURS["genuine"], lw=1.2)
        axis.set_title(name)
    figure.suptitle(title)
    return figure


@in_style
def curves(table: pd.DataFrame, label: str, title: str = "", smooth: int = 25) -> Figure:
    """Several runs of one quantity in one panel: a line a column against the index, smoothed by a running mean."""
    figure, axis = plt.subplots(figsize=(5.5, 2.8))
    styles = itertools.cycle((colour, dash) for dash in ("-", "--", ":") for colour in list(COLOURS.values())[1:5])
    for (name, values), (colour, dash) in zip(table.items(), styles):
        axis.plot(values.rolling(smooth, min_periods=1).mean(), color=colour, ls=dash, lw=1.2, label=name)
    axis.set(xlabel=table.index.name, ylabel=label, title=title)
    axis.legend()
    return figure


@in_style
def score_distributions(scores: pd.DataFrame, thresholds: dict[str, float]) -> Figure:
    """Same-person and different-people cosines of each recogniser, with its threshold.

    scores: columns recogniser, kind (genuine | impostor), cosine.
    """
    import seaborn  # seconds, with scipy's statistics

    names = list(dict.fromkeys(scores["recogniser"]))
    figure, axes = plt.subplots(1, len(names), figsize=(3 * len(names), 2.2), sharey=True, squeeze=False)
    bins = np.linspace(-0.4, 1, 57)
    for axis, name in zip(axes.flat, names):
        # Cosines beyond the drawn range count in its outermost bars: none is left out.
        part = scores[scores["recogniser"] == name].assign(cosine=scores["cosine"].clip(bins[0], bins[-1]))
        how = {"stat": "density", "common_norm": False, "alpha": 0.7, "lw": 0, "legend": axis is axes[0, 0]}
        seaborn.histplot(part, x="cosine", hue="kind", hue_order=KINDS, palette=COLOURS, bins=bins, ax=axis, **how)
        axis.axvline(thresholds[name], color="black", lw=1, ls="--")
        axis.set(title=name, xlabel="cosine")
    axes[0, 0].set_ylabel("density of pairs")
    axes[0, 0].get_legend().set_title(None)
    return figure


@in_style
def success_bars(
    table: pd.DataFrame, metrics: Sequence[str] = ("impersonation", "dodging", "rank-1"), title: str = ""
) -> Figure:
    """Rates with 95 % intervals, one panel a metric, one group of bars a recogniser, one colour a method.

    table: result rows (columns method, recogniser, metric, value, ci_low, ci_high, note). Held-out recognisers are
    those whose note says so; the others are hatched, since they took part in training.
    """
    methods, names = list(dict.fromkeys(table["method"])), list(dict.fromkeys(table["recogniser"]))
    figure, axes = plt.subplots(1, len(metrics), figsize=(4.2 * len(metrics), 2.8), sharey=True, squeeze=False)
    width = 0.8 / len(methods)
    for axis, metric in zip(axes.flat, metrics):
        for offset, method in enumerate(methods):
            part = table[(table["metric"] == metric) & (table["method"] == method)].set_index("recogniser").loc[names]
            places = np.arange(len(names)) + (offset - (len(methods) - 1) / 2) * width
            _bars(axis, part, places, width, COLOURS.get(method, OTHER_COLOUR))
        axis.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names])
        axis.set(title=RATES.get(metric, metric), ylim=(0, 105))
    axes[0, 0].set_ylabel("% of photos")
    figure.suptitle(title)
    keys = [Patch(color=COLOURS.get(method, OTHER_COLOUR), label=method) for method in methods]
    keys.append(Patch(facecolor="grey", edgecolor="white", hatch=HATCH, label="recogniser took part in training"))
    # Below the panels: inside them it would hide bars.
    figure.legend(handles=keys, loc="outside lower center", ncol=len(keys))
    return figure


def _bars(axis: Axes, part: pd.DataFrame, places: np.ndarray, width: float, colour: str) -> None:
    """Bars of one method, one a row of ``part``, with their intervals."""
    errors = np.abs(part[["ci_low", "ci_high"]].to_numpy(float).T - part["value"].to_numpy()) * 100
    bars = axis.bar(places, part["value"] * 100, width, yerr=errors, color=colour, error_kw={"lw": 0.8})
    for bar, note in zip(bars, part["note"]):
        if "held out" not in str(note):
            bar.set_hatch(HATCH)
            bar.set_edgecolor("white")


@in_style
def trade_off(rates: pd.DataFrame, pictures: pd.DataFrame, title: str = "", measure: str = "ssim") -> Figure:
    """Impersonation and dodging against a measure of change, one of UNCHANGED; a point a method: the recognisers' mean.

    The bar reaches from their lowest lower to their highest upper end of the 95 % intervals. rates, pictures: result
    rows. The clean photos, which no method changed, lie at SSIM 1 or FLIP 0.
    """
    label, unchanged = UNCHANGED[measure]
    seen = pictures[pictures["metric"] == measure].set_index("method")["value"].to_dict() | {"clean": unchanged}
    ends = {"value": "mean", "ci_low": "min", "ci_high": "max"}
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.9), sharey=True)
    for axis, metric in zip(axes, ("impersonation", "dodging")):
        means = rates[rates["metric"] == metric].groupby("method", sort=False).agg(ends) * 100
        for method, row in means.iterrows():
            spread = [[row["value"] - row["ci_low"]], [row["ci_high"] - row["value"]]]
            looks = {"fmt": MARKERS.get(method, "x"), "color": COLOURS.get(method, OTHER_COLOUR), "label": method}
            axis.errorbar(seen[method], row["value"], spread, ms=7, capsize=2, lw=1, **looks)
        axis.set(title=RATES[metric], xlabel=label, ylim=(-5, 105))
    axes[0].set_ylabel("% of photos")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    figure.suptitle(title)
    return figure


@in_style
def beside_paper(published: pd.DataFrame, measured: pd.DataFrame, title: str = "") -> Figure:
    """Two panels on one scale, never one: impersonation as published, and as measured here with 95 % intervals.

    Result rows of one metric each. Points are recognisers; published ones are hollow, and grey.
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 2.7), sharex=True)
    for axis, rows in zip(axes, (published, measured)):
        methods, names = (list(dict.fromkeys(rows[column])) for column in ("method", "recogniser"))
        methods.sort(key=lambda method: method != "clean")
        hollow = {"mfc": "none"} if axis is axes[0] else {}
        for name, marker in zip(names, "osD^vPX*"):
            for row in rows[rows["recogniser"] == name].itertuples():
                colour = OTHER_COLOUR if hollow else COLOURS.get(row.method, OTHER_COLOUR)
                ends = [row.ci_low, row.ci_high] if pd.notna(row.ci_low) else [row.value] * 2
                spread, place = np.abs(np.array(ends)[:, None] - row.value) * 100, methods.index(row.method)
                axis.errorbar(100 * row.value, place, xerr=spread, fmt=marker, ms=6, lw=1, color=colour, **hollow)
            axis.plot([], [], marker, color=OTHER_COLOUR, label=name, **hollow)
        axis.set_yticks(range(len(methods)), methods)
        axis.invert_yaxis()
        axis.set(xlim=(-3, 103), xlabel="% accepted as the target")
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=4)
    axes[0].set_title("published: real photographs, second hand")
    axes[1].set_title(title)
    return figure


@in_style
def heat_map(rates: pd.DataFrame, title: str = "") -> Figure:
    """A table of rates from 0 to 1 as cells with whole per cent in them; cells without a number stay empty."""
    import seaborn

    height, width = rates.shape
    figure, axis = plt.subplots(figsize=(2 + 0.5 * width, 1.6 + 0.3 * height))
    how = {"vmin": 0, "vmax": 100, "cmap": "cividis", "linewidths": 0.5, "cbar_kws": {"label": "% of photos"}}
    seaborn.heatmap(100 * rates, annot=True, fmt=".0f", ax=axis, **how)
    axis.set_xticks(axis.get_xticks(), rates.columns, rotation=35, ha="right", rotation_mode="anchor")
    axis.tick_params(axis="y", rotation=0)
    axis.set(title=title, xlabel="", ylabel="")
    return figure


@in_style
def violins(rows: pd.DataFrame, title: str = "") -> Figure:
    """How impersonation and dodging are spread over methods: a panel a metric, a violin a recogniser, a point a method.

    rows: result rows (columns method, recogniser, metric, value). The violins end where the values do.
    """
    import seaborn

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.8), sharey=True)
    for axis, metric in zip(axes, ("impersonation", "dodging")):
        part = rows[rows["metric"] == metric].assign(value=100 * rows["value"])
        places = {"data": part, "x": "recogniser", "y": "value", "ax": axis}
        seaborn.violinplot(**places, cut=0, inner=None, color=COLOURS["clean"], linewidth=0.8)
        seaborn.stripplot(**places, color=COLOURS["genuine"], size=3, jitter=0.08)
        axis.set(title=RATES[metric], ylim=(-3, 103), xlabel="", ylabel="% of photos")
    figure.suptitle(title)
    return figure


@in_style
def makeup_distances(pictures: pd.DataFrame, title: str = "") -> Figure:
    """Colour distance to the reference's makeup, before (grey) and after (the method's colour), region by region."""
    methods = list(dict.fromkeys(pictures["method"]))
    values = pictures.set_index(["method", "metric"])["value"]
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.5), sharey=True)
    for axis, region in zip(axes, REGIONS):
        for place, method in enumerate(methods):
            axis.bar(place - 0.2, values[method, f"{region} before"], 0.4, color=COLOURS["clean"])
            axis.bar(place + 0.2, values[method, f"{region} after"], 0.4, color=COLOURS.get(method, OTHER_COLOUR))
        axis.set_xticks(range(len(methods)), methods, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_title(region)
    axes[0].set_ylabel("distance (levels)")
    figure.suptitle(title)
    return figure


@in_style
def ablation(lines: pd.DataFrame, title: str = "") -> Figure:
    """A panel a metric, a line a variant, a point a seed; dashed lines are the means of the two whole recipes.

    lines: of ``results.by_seed``. A variant has the colour of the recipe that its name begins with.
    """
    methods = list(dict.fromkeys(lines.index.get_level_values("method")))
    size = (3.2 * len(lines.columns), 0.24 * len(methods) + 1)
    figure, axes = plt.subplots(1, len(lines.columns), figsize=size, sharey=True, squeeze=False)
    for axis, (metric, values) in zip(axes.flat, lines.items()):
        for place, method in enumerate(methods):
            colour = COLOURS.get(method.partition(" ")[0], OTHER_COLOUR)
            seeds = values[method]
            axis.plot(seeds, [place] * len(seeds), "o", color=colour, ms=5, mec="white", mew=0.5)
            if method in COLOURS and method != "clean":
                axis.axvline(seeds.mean(), color=colour, lw=1, ls="--", zorder=0)
        axis.set_title(RATES.get(metric, metric))
        axis.set_xlim((-0.03, 1.03) if metric in RATES else None)
        axis.grid(axis="y", lw=0.3)
    axes[0, 0].set_yticks(range(len(methods)), methods)
    axes[0, 0].invert_yaxis()
    figure.suptitle(title)
    return figure


@in_style
def meters(similarity: pd.DataFrame, title: str = "") -> Figure:
    """Bars of each recogniser's similarity before and after, with its threshold as a black line.

    similarity: columns recogniser, threshold, before, after, and maybe a note.
    """
    figure, axis = plt.subplots(figsize=(6, 0.45 * len(similarity) + 0.9))
    for place, row in enumerate(similarity.to_dict("records")):
        for side, moment, colour in ((-0.18, "before", COLOURS["clean"]), (0.18, "after", COLOURS["residual"])):
            axis.barh(place + side, row[moment], 0.36, color=colour, label=None if place else moment)
        axis.plot([row["threshold"]] * 2, [place - 0.42, place + 0.42], color="black", lw=1.5)
    notes = [f"\n({note})" for note in similarity["note"]] if "note" in similarity else [""] * len(similarity)
    axis.set_yticks(range(len(similarity)), similarity["recogniser"] + notes)
    axis.invert_yaxis()
    axis.set(xlim=(-0.4, 1), xlabel="cosine to the known photo", title=title)
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def strength_curve(curve: pd.DataFrame, now: pd.DataFrame) -> Figure:
    """Each recogniser's similarity, as its distance to the threshold, against visible change; ``now`` is marked on it.

    curve: columns recogniser, similarity, threshold, flip (FLIP) and visible (1 - SSIM), a few rows a recogniser; now:
    one row each. The figure is not pyplot's, so that drawing it again and again keeps nothing.
    """
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _against(left, "flip", curve, now)
    _against(right, "visible", curve, now)
    low, high = left.get_ylim()
    left.set_ylim(min(low, -0.15), max(high, 0.15))
    for axis, label in ((left, "visible change of the face (FLIP, %)"), (right, "of the picture (1 - SSIM, %)")):
        axis.axhspan(0, left.get_ylim()[1], color=COLOURS["impostor"], alpha=0.08, lw=0)
        axis.axhspan(left.get_ylim()[0], 0, color=COLOURS["genuine"], alpha=0.08, lw=0)
        axis.axhline(0, color="black", lw=1.2)
        # Where the lines are not: they begin high on the left and end low on the right.
        axis.text(0.98, 0.95, "recognised", ha="right", va="top", transform=axis.transAxes)
        axis.text(0.02, 0.05, "not recognised", va="bottom", transform=axis.transAxes)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("similarity above threshold")
    right.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def _against(axis: Axes, measure: str, curve: pd.DataFrame, now: pd.DataFrame) -> None:
    """A line a recogniser, and marks where the picture that is shown lies on it."""
    for (name, line), colour, marker in zip(curve.groupby("recogniser", sort=False), LINE_COLOURS, LINE_MARKERS):
        line = line.sort_values(measure)
        above = line["similarity"] - line["threshold"]
        axis.plot(100 * line[measure], above, color=colour, marker=marker, ms=4, lw=1.8, label=name)
        here = now[now["recogniser"] == name]
        style = {"color": colour, "marker": marker, "ms": 11, "mec": "black", "mew": 1.4, "ls": "none", "zorder": 4}
        axis.plot(100 * here[measure], here["similarity"] - here["threshold"], **style)
    axis.axvline(100 * float(now[measure].iloc[0]), color="black", lw=1, ls=":")


def save(figure: Figure, path: Path, **facts: str) -> Path:
    """Write a figure as PNG, with ``facts`` about it as text chunks of the file."""
    with written(path) as partial:
        figure.savefig(partial, dpi=130, bbox_inches="tight", metadata=facts)
    return path
