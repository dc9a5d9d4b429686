"""Measured and published numbers as tidy rows with their provenance (DESIGN.md, "Rules of the numbers")."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import compute, paths
from amtgan_lib.files import write_text


@dataclass(frozen=True)
class Row:
    """One number. ``value`` is a share in [0, 1] for rates, dB for PSNR, levels (0-255) for colour distances."""

    experiment: str
    preset: str
    method: str
    recogniser: str
    dataset: str
    target: str
    far: float | None
    metric: str
    value: float
    n: int
    ci_low: float | None = None
    ci_high: float | None = None
    seed: int | None = None
    commit: str = ""
    weights_sha256: str = ""
    device: str = ""
    seconds: float | None = None
    source: str = "measured"
    note: str = ""

    def __post_init__(self):
        if self.source not in ("measured", "published"):
            raise ValueError(f"source is {self.source!r}; expected 'measured' or 'published'")


COLUMNS = [field.name for field in fields(Row)]
REGIONS = ("lip", "skin", "eyes")
RATES = {
    "impersonation": "accepted as the target",
    "dodging": "refused as their owner",
    "rank-1": "owner found at rank 1",
    "rank-5": "owner found among 5",
}
"""Success rates, and in words what they count."""
DIGITS = {"psnr": 1, "ssim": 3, "visible": 1, "flip": 3}
"""What protection does to a picture, and the digits that are printed of it."""
TEXT = [field.name for field in fields(Row) if field.type == "str"]


def commit() -> str:
    """The commit of this checkout, with "-dirty" if files have changed since; "no git" outside a checkout.

    Of a notebook only the cells count, not the outputs and metadata that JupyterLab saves by itself.
    """
    if not paths.IN_CHECKOUT:  # the user's folder may lie in a repository of its own
        return "no git"
    try:
        name = _git("describe", "--always", "--abbrev=10").strip()
        changed = _git("-c", "core.quotePath=off", "diff", "--name-only", "--no-renames", "HEAD").splitlines()
        return name + "-dirty" * any(_differs(path) for path in changed)
    except (OSError, subprocess.SubprocessError):
        return "no git"


def _git(*words: str) -> str:
    call = ["git", "-C", str(paths.ROOT), *words]
    return subprocess.run(call, capture_output=True, text=True, check=True, timeout=20).stdout


def _differs(path: str) -> bool:
    """Whether a changed file does something else; a notebook that is not JSON counts as such."""
    if not path.endswith(".ipynb"):
        return True
    try:
        return _cells(_git("show", f"HEAD:{path}")) != _cells((paths.ROOT / path).read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError):  # new, gone or broken
        return True


def _cells(notebook: str) -> list[tuple[str, str]]:
    return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook)["cells"]]


def device_name(device: str = "cpu") -> str:
    """The hardware of a run, in words: the GPU's name, or the processor's kind and its number of cores."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {compute.physical_cores() or os.cpu_count()} cores"


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table with the columns of the rules, in their order."""
    # Int64 holds rows without a seed beside whole seeds; as floats large ones would lose their digits in the file.
    return pd.DataFrame([asdict(row) for row in rows], columns=COLUMNS).astype({"seed": "Int64"})


def joined(*tables: pd.DataFrame) -> pd.DataFrame:
    """Tables of rows as one, with the columns of the first; an empty column of one takes nothing from the others."""
    rows = [row for table in tables for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=list(tables[0])).astype({"seed": "Int64"})


def write(table: pd.DataFrame, path: Path) -> Path:
    """Write a table of rows as CSV, moved into place when complete."""
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(f"a table of results lacks {', '.join(missing)}")
    return write_text(table[COLUMNS].to_csv(index=False, float_format="%.9g"), path)


def read(path: Path) -> pd.DataFrame:
    """A table that :func:`write` wrote."""
    table = pd.read_csv(path, dtype={**dict.fromkeys(TEXT, str), "seed": "Int64"})
    return table.fillna(dict.fromkeys(TEXT, ""))


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share as text: ``84.2 [75.6, 90.2]``, in per cent."""
    interval = "" if pd.isna(low) or pd.isna(high) else f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{interval}"


def _text(row: Any, is_rate: bool) -> str:
    if row.source == "published":  # as it was printed, no digit more
        return f"{100 * row.value if is_rate else row.value:.4g}"
    return percent(row.value, row.ci_low, row.ci_high) if is_rate else f"{row.value:.3f}"


def pivot(table: pd.DataFrame, index: list[str], columns: str = "metric") -> pd.DataFrame:
    """The table for reading: one line per ``index``, one column per metric, rates in per cent with intervals."""
    rates = ("clean", "impersonation", "dodging", "rank")
    shown = table.copy()
    shown["text"] = [_text(row, row.metric.startswith(rates)) for row in table.itertuples()]
    wide = shown.pivot_table(index=index, columns=columns, values="text", aggfunc="first", sort=False)
    return wide[[name for name in dict.fromkeys(table[columns]) if name in wide]]


def by_false_accept_rate(table: pd.DataFrame) -> pd.DataFrame:
    """Impersonation and dodging for reading: one line per recogniser and method, two columns per false accept rate."""
    shown = table[table["metric"].isin(["impersonation", "dodging"])]
    named = shown["metric"] + ", FAR " + shown["far"].map("{:g}".format)
    return pivot(shown.assign(metric=named), ["recogniser", "method"])


def read_reports(path: Path) -> pd.DataFrame:
    """The report of the photos that one recipe protected (notebook 4); empty cells are empty strings."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run notebook 04_protect with method = {path.parent.name!r} first")
    return pd.read_csv(path, keep_default_na=False, na_values={"mean_change": [""]})


def method_intervals(table: pd.DataFrame, judges: Iterable[str]) -> dict[str, dict[str, float]]:
    """Per method and rate of the held-out recognisers: their mean, the lowest lower and the highest upper end.

    Keys of the inner dictionaries: ``impersonation``, ``impersonation_low``, ``impersonation_high``, and so on.
    """
    intervals: dict[str, dict[str, float]] = {}
    for (method, metric), rows in table[table["recogniser"].isin(list(judges))].groupby(["method", "metric"]):
        ends = {"": rows["value"].mean(), "_low": rows["ci_low"].min(), "_high": rows["ci_high"].max()}
        intervals.setdefault(str(method), {}).update({f"{metric}{end}": float(value) for end, value in ends.items()})
    return intervals


def picture_means(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """Per method its picture measures; None for what is infinite (the PSNR of unchanged photos)."""
    means: dict[str, dict[str, float | None]] = {}
    for row in table.itertuples():
        means.setdefault(row.method, {})[row.metric] = float(row.value) if math.isfinite(row.value) else None
    return means


def by_seed(table: pd.DataFrame) -> pd.DataFrame:
    """A line a method and seed: impersonation, dodging, makeup distance and flip; rates are means of the recognisers.

    makeup distance is the mean of the colour distances of lips, skin and eyes to the reference, in levels. The clean
    photos have the distance before, and no flip.
    """
    wide = table.pivot_table(index=["method", "seed"], columns="metric", values="value", sort=False)
    clean, distances = wide.index.get_level_values("method") == "clean", {}
    for moment in ("before", "after"):
        distances[moment] = wide.reindex(columns=[f"{region} {moment}" for region in REGIONS]).mean(axis=1)
    wide["makeup distance"] = distances["after"].mask(clean, distances["before"].mean())
    wide["flip"] = wide.reindex(columns=["flip"])["flip"].mask(clean, 0.0)
    return wide[["impersonation", "dodging", "makeup distance", "flip"]].rename_axis(columns=None)


def over_seeds(lines: pd.DataFrame) -> pd.DataFrame:
    """The lines of :func:`by_seed` for reading: a line a method, the mean of its seeds with the lowest and the highest.

    Rates are in per cent.
    """
    scale = {"impersonation": (100, 1), "dodging": (100, 1), "makeup distance": (1, 1), "flip": (1, 3)}
    cells = {}
    for metric, (factor, digits) in scale.items():
        ends = (factor * lines[metric]).groupby("method", sort=False).agg(["mean", "min", "max"])
        cells[metric] = [
            f"{row.mean:.{digits}f} [{row.min:.{digits}f}, {row.max:.{digits}f}]" for row in ends.itertuples()
        ]
    return pd.DataFrame(cells, index=ends.index)


# ---------------------------------------------------------------- beside the paper


def published(metrics: Iterable[str], dataset: str = "") -> pd.DataFrame:
    """Result rows of the literature for some metrics, on one data set or on all; the note names each one's source."""
    rows = read(paths.PUBLISHED / "amtgan.csv")
    return rows[rows["metric"].isin(list(metrics)) & (not dataset or rows["dataset"] == dataset)]


def beside_published(literature: pd.DataFrame, measured: pd.DataFrame, columns: str = "recogniser") -> pd.DataFrame:
    """Published numbers above measured ones, told apart by the first level: whose they are, the second: from where.

    Both are result rows, with a metric of one kind where ``columns`` is not the metric. Cells that one side lacks are
    empty: nothing is filled in.
    """
    here = [f"{row.preset}, {row.dataset}, n = {row.n}" for row in measured.itertuples()]
    sides = [
        rows.assign(numbers=whose, **{"from": origin})
        for rows, whose, origin in ((literature, "literature", literature["note"]), (measured, "measured here", here))
    ]
    return pivot(joined(*sides), ["numbers", "from", "method"], columns).fillna("").rename_axis(columns=None)


def setup_beside(notebook: str, here: Mapping[str, object]) -> pd.DataFrame:
    """AMT-GAN's set-up, with the source of each number, beside what a notebook does here, if anything.

    Raises ValueError for a name that results/published/setup.csv does not have for the notebook.
    """
    table = pd.read_csv(paths.PUBLISHED / "setup.csv", dtype=str)
    mine = table[table["notebook"] == notebook].set_index("what").drop(columns="notebook")
    if unknown := set(here) - set(mine.index):
        raise ValueError(f"setup.csv has no {sorted(unknown)[0]!r} for {notebook}; it has {', '.join(mine.index)}")
    return mine.assign(here=[str(here.get(name, "")) for name in mine.index])[["AMT-GAN", "here", "source"]]


def summary(table: pd.DataFrame, judges: Iterable[str]) -> str:
    """The final tables as Markdown: rates on each held-out recogniser with intervals, and the picture measures."""
    judges = list(judges)
    rates = pivot(table[table["recogniser"].isin(judges)], ["recogniser", "method"]).reset_index()
    n, far = int(table["n"].max()), table["far"].dropna().iloc[0]
    world = f"`{table['preset'].iloc[0]}`, {table['dataset'].iloc[0]}"
    head = f"Preset {world}: held-out recognisers, {n} test photos, FAR {far}, per cent with 95 % intervals."
    parts = [head, markdown(rates)]
    pictures = table[table["recogniser"].fillna("") == ""]
    errors = pictures["metric"].str.contains(" error ")
    for title, rows in (
        ("Pictures (means; colour distances to the reference in levels 0-255).", pictures[~errors]),
        ("Mean difference to the true makeup transfer (levels 0-255); makeup: where it is worn.", pictures[errors]),
    ):
        if len(rows):
            wide = rows.pivot_table(index="method", columns="metric", values="value", sort=False).round(3)
            parts += [title, markdown(wide.reset_index())]
    return "\n\n".join(parts) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, without its index; missing cells are empty."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [["" if pd.isna(cell) else str(cell) for cell in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
