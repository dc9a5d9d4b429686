"""The tables of a run as HTML: rates in per cent with intervals, numbers that line up, held-out recognisers first."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from amtgan_lib.reporting import results

SHARES = ("impersonation", "dodging", "rank-", "eer")
LONGEST = 60
"""Lines of a table of another form (raw scores, curves); a longer one is named and not shown."""
TITLES = {
    "02_recognition": "How well the recognisers recognise",
    "02_thresholds": "Thresholds of the recognisers",
    "05_black_box_success": "Table 1: are recognisers fooled?",
    "06_image_quality": "Table 2: what it costs, and where the makeup went",
    "06_stretched": "Table 2, each picture stretched to its own minimum and maximum",
}
HEADS = results.RATES | {
    "eer": "equal error rate",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "flip": "FLIP",
    "bare skin": "bare skin (S-CIELAB)",
    "bare skin chroma": "bare skin, chroma (CIELAB)",
    "fid": "FID",
}
PICTURES = "Pictures: means with 95 % intervals; colour distances to the reference's makeup in levels (0-255)"
ERRORS = "Mean difference to the true makeup transfer (levels, 0-255); makeup: weighted by where it is worn"
LEFT = "text-align: left; padding-left: 0; padding-right: 22px"


def read(path: Path) -> pd.DataFrame | str:
    """The rows of a CSV file, or the sentence that says why there are none."""
    try:
        table = pd.read_csv(path)
        return results.read(path) if _has_results(table) else table
    except (OSError, ValueError, pd.errors.ParserError) as error:  # UnicodeDecodeError is a ValueError
        return f"This table could not be read: {error}"


def is_drawn(table: pd.DataFrame | str) -> bool:
    """Whether the numbers are about drawn faces, or recognisers of drawn faces."""
    names = [] if isinstance(table, str) else [name for name in ("dataset", "recogniser") if name in table]
    return any(table[name].astype(str).str.startswith("drawn").any() for name in names)


def rank(name: str, table: pd.DataFrame | str) -> tuple:
    """A key to sort by: what a reader looks for first is how often recognisers are fooled, then other result rows."""
    rows = isinstance(table, pd.DataFrame) and "metric" in table
    answers = rows and (table["metric"] == "impersonation").any()
    return (not answers, name != "06_image_quality", not rows, name)


def is_long(table: pd.DataFrame | str) -> bool:
    """Whether a table is too long to show: raw scores, curves."""
    return not isinstance(table, str) and not _has_results(table) and len(table) > LONGEST


def _has_results(table: pd.DataFrame) -> bool:
    return set(results.COLUMNS) <= set(table)


def html(table: pd.DataFrame) -> str:
    """A table with what all of its rows share."""
    if _has_results(table):
        return f"<p class='facts'>{_facts(table)}</p>{''.join(_parts(table))}"
    return _thresholds(table) if {"recogniser", "far", "threshold", "ci_low"} <= set(table) else _plain(table)


def _thresholds(table: pd.DataFrame) -> str:
    """One line a recogniser, one column a false accept rate."""
    rows = table.assign(note="", dataset="", method="", value=table["threshold"])
    rows["metric"] = [f"FAR {100 * far:g} %" for far in table["far"]]
    return wide(rows, "Cosines with 95 % intervals, from impostor pairs of people who are not in the test")


def _facts(table: pd.DataFrame) -> str:
    """What the rows have in common: world, target, FAR, number of photos, seed, commit, machine."""
    named = {"preset": "", "dataset": "", "target": "target ", "far": "FAR ", "n": "n = ", "seed": "seed "}
    named |= {"commit": "commit ", "device": ""}
    shown = []
    for column, words in named.items():
        values = [value for value in table[column].dropna().unique() if value != ""]
        if len(values) == 1:
            value = f"{values[0]:g}" if isinstance(values[0], float) else str(values[0])
            shown.append(escape(words + value))
    return " · ".join(shown)


def _parts(table: pd.DataFrame) -> list[str]:
    """Rates on held-out recognisers, on those that took part (folded), pictures, and errors to the true transfer."""
    by_recogniser, pictures = table[table["recogniser"] != ""], table[table["recogniser"] == ""]
    trained = by_recogniser["note"].str.endswith("trained against")
    errors = pictures["metric"].str.contains(" error ")
    made = []
    if len(rows := by_recogniser[~trained]):
        names = ", ".join(dict.fromkeys(rows["recogniser"]))
        who = f"Recognisers that took no part in training: {names}. " if trained.any() else ""
        shares = rows["metric"].str.startswith(SHARES).any()
        made.append(wide(rows, who + ("Per cent, with 95 % intervals." if shares else "")))
    if trained.any():
        folded = wide(by_recogniser[trained])
        made.append(f"<details><summary>Recognisers that took part in training</summary>{folded}</details>")
    for rows, caption in ((pictures[~errors], PICTURES), (pictures[errors], ERRORS)):
        if len(rows):
            made.append(wide(rows, caption))
    return made


def wide(table: pd.DataFrame, caption: str = "") -> str:
    """One line for each recogniser and method, one column a metric."""
    table = table.assign(run=table["note"].str.extract(r"^(.*);", expand=False).fillna(""))
    keys = [key for key in ("run", "dataset", "recogniser", "method") if table[key].nunique() > 1] or ["method"]
    digits = {metric: _digits(rows["value"]) for metric, rows in table.groupby("metric")}
    table["cell"] = [_cell(row, digits[row.metric]) for row in table.itertuples()]
    lines = table.pivot_table("cell", keys, "metric", aggfunc="first", sort=False)
    bases = [_base(metric) for metric in lines]
    # Before and after of a region side by side, behind what has no such moments; otherwise as they come.
    order = sorted(lines, key=lambda metric: (_base(metric) != metric, bases.index(_base(metric))))
    shown = lines[order].rename(columns=lambda metric: HEADS.get(metric, metric.replace(" error ", " "))).reset_index()
    # The last key, a method as a rule, stands on each line; those before it only where they change.
    shown[keys[:-1]] = shown[keys[:-1]].mask(shown[keys[:-1]].eq(shown[keys[:-1]].shift()).cummin(axis=1), "")
    return _html(shown, keys, {}, caption)


def _base(metric: str) -> str:
    return metric.removesuffix(" before").removesuffix(" after")


def _cell(row: NamedTuple, digits: int) -> str:
    """A share in per cent with a bar, any other number with as many digits as its column; the interval behind it."""
    share = row.metric.startswith(SHARES)
    value, low, high = (100 * number if share else number for number in (row.value, row.ci_low, row.ci_high))
    if not math.isfinite(value):
        return "∞" if value > 0 else ""
    digits, known = 1 if share else digits, not (math.isnan(low) or math.isnan(high))
    interval = f"<small>{low:.{digits}f} - {high:.{digits}f}</small>" if known else ""
    if not share:
        return f"{value:.{digits}f}{interval}"
    band = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>' if known else ""
    bar = f'<span class="bar">{band}<b style="left:{value:.1f}%"></b></span>'
    return f"<span class=share>{bar}<span class=number>{value:.1f}</span>{interval}</span>"


def _digits(values: pd.Series) -> int:
    finite = values[values.abs() < math.inf].abs()
    return 1 if len(finite) and finite.max() > 1 else 3


def _plain(table: pd.DataFrame) -> str:
    """A table of any other form: text, whole numbers, and numbers with as many digits as their column."""
    floats = table.select_dtypes("float")
    formats = {name: "{:g}" if name == "far" else f"{{:.{_digits(floats[name])}f}}" for name in floats}
    return _html(table, list(table.select_dtypes(exclude="number")), formats)


def _html(table: pd.DataFrame, text: list[str], formats: dict[str, str], caption: str = "") -> str:
    """A table by pandas' Styler: columns of ``text`` are escaped and stand on the left, the others may hold HTML."""
    left = {name: [{"selector": "", "props": LEFT}] for name in text}
    style = table.style.hide(axis="index").format(formats, na_rep="").format_index(escape="html", axis="columns")
    style.format(escape="html", subset=text).set_table_styles(left)
    return (style.set_caption(escape(caption)) if caption else style).to_html()
