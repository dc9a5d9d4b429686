"""The tables of a run as HTML: rates in per cent with intervals, numbers that line up, held-out recognisers first."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from pathlib import Path

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
}
HEADS = {
    "impersonation": "accepted as the target",
    "dodging": "refused as their owner",
    "rank-1": "owner found first",
    "rank-5": "owner found among 5",
    "eer": "equal error rate",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "flip": "FLIP",
}
PICTURES = "Pictures: means with 95 % intervals; colour distances to the reference's makeup in levels (0-255)"
ERRORS = "Mean difference to the true makeup transfer (levels, 0-255); makeup: weighted by where it is worn"
Cell = Callable[[pd.Series], str]


def read(path: Path) -> pd.DataFrame | str:
    """The rows of a CSV file, or the sentence that says why there are none."""
    try:
        table = pd.read_csv(path)
        return results.read(path) if _has_results(table) else table
    except (OSError, ValueError, pd.errors.ParserError) as error:  # UnicodeDecodeError is a ValueError
        return f"This table could not be read: {error}"


def is_procedural(table: pd.DataFrame) -> bool:
    """Whether the numbers are about drawn faces, or recognisers of drawn faces."""
    drawn = [
        table[name].astype(str).str.startswith("drawn").any() for name in ("dataset", "recogniser") if name in table
    ]
    return any(drawn)


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


def section(path: Path, table: pd.DataFrame | str) -> str:
    """A table under its title, with what all of its rows share and a link to the file."""
    title = TITLES.get(path.stem, path.stem)
    link = f'<a href="tables/{escape(path.name)}">{escape(path.name)}</a>'
    if isinstance(table, str):
        body, label = f'<p class="problem">{escape(table)}</p>', ""
    else:
        label = '<span class="label">procedural</span> ' if is_procedural(table) else ""
        body = _body(table)
    return f'<section class="table"><h3>{escape(title)}</h3>{body}<p class="source">{label}{link}</p></section>'


def _body(table: pd.DataFrame) -> str:
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
    """One line for each recogniser and method, one column a metric; "lip before" and "lip after" share a head."""
    table = table.assign(run=table["note"].str.extract(r"^(.*);", expand=False).fillna(""))
    keys = [key for key in ("run", "dataset", "recogniser", "method") if table[key].nunique() > 1] or ["method"]
    metrics = list(dict.fromkeys(table["metric"]))
    metrics.sort(key=lambda metric: _split(metric)[1] != "")  # those without a moment first, their order kept
    bases = list(dict.fromkeys(_split(metric)[0] for metric in metrics))
    metrics = [metric for base in bases for metric in metrics if _split(metric)[0] == base]
    shown = {metric: _shown(table[table["metric"] == metric]) for metric in metrics}
    lines, before = [], None
    for values, rows in table.groupby(keys, sort=False):
        cells = rows.drop_duplicates("metric").set_index("metric")
        numbers = (shown[name](cells.loc[name]) if name in cells.index else "<td></td>" for name in metrics)
        # The last key, a method as a rule, stands on each line; those before it only where they change.
        new = before is not None and len(values) > 1 and values[:-1] != before[:-1]
        names = "".join(f"<th>{escape(str(each))}</th>" for each in _unrepeated(values, before))
        lines.append(f"<tr{' class=new' if new else ''}>{names}{''.join(numbers)}</tr>")
        before = values
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}{_head(keys, metrics)}<tbody>{''.join(lines)}</tbody></table>"


def _unrepeated(values: tuple, before: tuple | None) -> list[str]:
    same = [before is not None and values[: place + 1] == before[: place + 1] for place in range(len(values) - 1)]
    return ["" if repeated else value for value, repeated in zip(values, [*same, False])]


def _split(metric: str) -> tuple[str, str]:
    """("lip error", "before") of "lip error before"; ("psnr", "") of "psnr"."""
    base, _, moment = metric.rpartition(" ")
    return (base, moment) if base and moment in ("before", "after") else (metric, "")


def _head(keys: list[str], metrics: list[str]) -> str:
    names = "".join(f"<th class=text rowspan=2>{key}</th>" for key in keys)
    tops, moments = [], []
    for base in dict.fromkeys(_split(metric)[0] for metric in metrics):
        inner = [_split(metric)[1] for metric in metrics if _split(metric)[0] == base]
        title = escape(HEADS.get(base, base.removesuffix(" error")))
        tops.append(f"<th colspan={len(inner)}{' rowspan=2' if inner == [''] else ''}>{title}</th>")
        moments += [f"<th class=moment>{moment}</th>" for moment in inner if moment]
    second = f"<tr>{''.join(moments)}</tr>" if moments else "<tr></tr>"
    return f"<thead><tr>{names}{''.join(tops)}</tr>{second}</thead>"


def _shown(rows: pd.DataFrame) -> Cell:
    """How the cells of one metric are written: a share as a bar, any other number with as many digits as its column."""
    metric = rows["metric"].iloc[0]
    if metric.startswith(SHARES):
        return _share
    digits = _digits(rows["value"])

    def number(row: pd.Series) -> str:
        if not math.isfinite(row["value"]):
            return "<td>∞</td>" if row["value"] > 0 else "<td></td>"
        return f"<td>{row['value']:.{digits}f}{_interval(row, 1, digits)}</td>"

    return number


def _share(row: pd.Series) -> str:
    value, low, high = (100 * row[name] for name in ("value", "ci_low", "ci_high"))
    known = not (math.isnan(low) or math.isnan(high))
    band = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i>' if known else ""
    bar = f'<span class="bar">{band}<b style="left:{value:.1f}%"></b></span>'
    return f"<td class=share>{bar}<span class=number>{value:.1f}</span>{_interval(row, 100, 1)}</td>"


def _interval(row: pd.Series, times: float, digits: int) -> str:
    low, high = times * row["ci_low"], times * row["ci_high"]
    return "" if math.isnan(low) or math.isnan(high) else f"<small>{low:.{digits}f} - {high:.{digits}f}</small>"


def _digits(values: pd.Series) -> int:
    finite = values[values.abs() < math.inf].abs()
    largest = finite.max() if len(finite) else 0
    return 1 if largest > 1 else 3


def _plain(table: pd.DataFrame) -> str:
    """A table of any other form, column by column: text, whole numbers, and numbers of as many digits."""
    columns = {}
    for name, values in table.items():
        if pd.api.types.is_float_dtype(values):
            style = "g" if name == "far" else f".{_digits(values)}f"
            columns[name] = [("td", "" if math.isnan(value) else f"{value:{style}}") for value in values]
        else:
            kind = "td" if pd.api.types.is_numeric_dtype(values) else "th"
            columns[name] = [(kind, escape(str(value))) for value in values]
    kinds = {name: "number" if cells and cells[0][0] == "td" else "text" for name, cells in columns.items()}
    head = "".join(f"<th class={kinds[name]}>{escape(str(name))}</th>" for name in columns)
    lines = ("".join(f"<{kind}>{text}</{kind}>" for kind, text in line) for line in zip(*columns.values()))
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )
