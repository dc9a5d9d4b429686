"""The generated parts of README.md and docs/: each function reads stored rows and returns Markdown."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from amtgan_lib import assets, paths, recognizers
from amtgan_lib.files import sha256_of
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import DIGITS, RATES

AGAIN = {"jpeg75": "JPEG, quality 75", "half": "half the size"}
"""Suffixes of the methods whose pictures were published again, and in words."""

# What the table of the README shows: stored table -> the faces in words, and the methods in their order.
OVERVIEW = {
    "procedural": ("drawn faces", ("clean", "mi_fgsm", "published", "corrected", "residual")),
    "open-small": ("photographs", ("clean", "published", "corrected", "residual")),
    "any-target": ("photographs", ("mi_fgsm", "any_target", "any_target_nobody_bare")),
    "natural": ("photographs", ("clean", "natural")),
    "natural-quick": ("photographs", ("natural_quick",)),
    "natural-stronger": ("photographs", ("natural_stronger",)),
    "natural-known": ("photographs", ("natural_known",)),
    "natural-stronger-known": ("photographs", ("natural_stronger_known",)),
    "natural-makeup": ("photographs", ("natural_makeup",)),
    "natural-person": ("photographs", ("natural_person",)),
}


def stored(name: str) -> pd.DataFrame:
    """The rows of results/measured/NAME.csv; FileNotFoundError where there are none."""
    return results.read(paths.MEASURED / f"{name}.csv")


def judges(table: pd.DataFrame) -> list[str]:
    """The held-out recognisers of a table, in its order."""
    return list(dict.fromkeys(table.loc[table["note"].str.endswith("held out"), "recogniser"]))


# ---------------------------------------------------------------- values and provenance


def value(name: str, method: str, metric: str) -> str:
    """A stored number in words, over the held-out recognisers from the lowest to the highest: ``87 to 92``.

    Rates are in whole per cent. Raises ValueError where no row has it.
    """
    table = stored(name)
    rows = table[(table["method"] == method) & (table["metric"] == metric)]
    values = rows.loc[rows["recogniser"].isin(["", *judges(table)]), "value"]
    if values.empty:
        raise ValueError(f"results/measured/{name}.csv has no {metric} of {method!r} on a held-out recogniser")
    ends = [_number(metric, end) for end in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def _number(metric: str, number: float) -> str:
    return f"{100 * number:.0f}" if metric in RATES else f"{number:.{DIGITS.get(metric, 1)}f}"


def provenance(name: str) -> str:
    """Where the rows of a table are from, and which recognisers have had other weights since."""
    table = stored(name)
    commits, seeds, devices = (map(str, dict.fromkeys(table[column])) for column in ("commit", "seed", "device"))
    line = f"[Rows](../results/measured/{name}.csv): commit {', '.join(f'`{commit}`' for commit in commits)}; "
    line += f"seed {', '.join(seeds)}; {', '.join(devices)}."
    if old := superseded(table):
        line += f" The file of {', '.join(f'`{recogniser}`' for recogniser in old)} has changed since."
    return line


def superseded(table: pd.DataFrame) -> list[str]:
    """The recognisers of a table whose weights were not those that are shipped or pinned today."""
    rows = table.loc[table["recogniser"].isin(recognizers.NAMES), ["recogniser", "weights_sha256"]].drop_duplicates()
    known = ((row.recogniser, row.weights_sha256, _weights_today(row.recogniser)) for row in rows.itertuples())
    return [name for name, then, today in known if today and then != today]


@functools.lru_cache
def _weights_today(name: str) -> str:
    """sha256 of a recogniser's file; "" for the authors', of which no hash was published, and for that of a package."""
    row = recognizers.spec(name)
    if row.shipped:
        return sha256_of(paths.WEIGHTS / row.weights)
    return "" if row.published or row.judge_only else assets.get(row.weights).sha256


# ---------------------------------------------------------------- tables of results


def run_tables(name: str) -> str:
    """All tables of a stored run: rates on the held-out recognisers, measures of the pictures, provenance.

    Raises ValueError where a recogniser of a family that judges took part in training.
    """
    table = stored(name)
    recognizers.refuse_overlap(set(table.loc[table["note"] == "trained against", "recogniser"]), judges(table))
    return f"{results.summary(table, judges(table)).strip()}\n\n{provenance(name)}"


def judged(name: str) -> str:
    """A line a method: its rates on the judges, in per cent with a stroke between them, and its picture measures.

    Of pictures as they were saved.
    """
    table = stored(name)
    methods = [method for method in dict.fromkeys(table["method"]) if _as_saved(method)]
    lines = {method: _judged(table[table["method"] == method]) for method in methods}
    told = f"Recognisers: {' / '.join(judges(table))}; {table['n'].max()} photos."
    return f"{_table(lines)}\n\n{told} {provenance(name)}"


def _as_saved(method: str) -> bool:
    return not method.endswith(tuple(f" {suffix}" for suffix in AGAIN))


def _judged(rows: pd.DataFrame) -> dict[str, str]:
    """Metric -> cell, of the rows of one method."""
    rows = rows[rows["metric"].isin([*RATES, *DIGITS])]
    cells = {metric: part["value"] for metric, part in rows.groupby("metric", sort=False)}
    return {metric: " / ".join(_number(metric, number) for number in values) for metric, values in cells.items()}


def _table(lines: Mapping[str, Mapping[str, str]], heading: str = "method") -> str:
    """Markdown of lines by name; ``heading`` is that of the names."""
    return results.markdown(pd.DataFrame([{heading: name, **line} for name, line in lines.items()]))


def published_again(name: str) -> str:
    """Impersonation and dodging of pictures as saved, after a JPEG, and at half the size: means of the judges."""
    table = stored(name)
    rates = table[table["metric"].isin(list(RATES)[:2])].groupby(["method", "metric"])["value"].mean()
    ways = {"": "as saved"} | {f" {suffix}": words for suffix, words in AGAIN.items()}
    lines = {
        method: {
            f"{metric}, {words}": f"{100 * rates[f'{method}{suffix}', metric]:.1f}"
            for metric in list(RATES)[:2]
            for suffix, words in ways.items()
        }
        for method in dict.fromkeys(table["method"])
        if _as_saved(method)
    }
    return f"{_table(lines)}\n\n{provenance(name)}"


def equal_visibility() -> str:
    """The comparison at equal visibility: two limits with a stroke between them, means of the judges."""
    names = [f"any-target-equal-{limit}" for limit in ("ssim", "visible")]
    tables = [stored(name) for name in names]
    methods = [method for method in dict.fromkeys(tables[0]["method"]) if _as_saved(method)]
    # Rows that were stored before it was measured have no flip.
    measures = [measure for measure in ("ssim", "visible", "flip") if (tables[0]["metric"] == measure).any()]
    lines = {}
    for method in methods:
        rows = [table[table["method"] == method] for table in tables]
        means = [part.groupby("metric")["value"].mean() for part in rows]
        line = {rate: " / ".join(f"{100 * mean[rate]:.1f}".removesuffix(".0") for mean in means) for rate in RATES}
        for measure in measures:
            line[measure] = " / ".join(_number(measure, mean[measure]) for mean in means if measure in mean)
        seconds = rows[0]["seconds"].dropna()
        lines[method] = line | {"seconds": f"{seconds.iloc[0]:.2f}" if len(seconds) else ""}
    return "\n\n".join([_table(lines), *map(provenance, names)])


def recognition() -> str:
    """How well the recognisers themselves tell people apart, on clean photos."""
    parts = []
    for name in ("recognition", "recognition-drawn"):
        wide = results.pivot(stored(name), ["dataset", "recogniser"]).reset_index()
        parts += [results.markdown(wide), provenance(name)]
    return "\n\n".join(parts)


def precision() -> str:
    """One recipe trained in bfloat16 and in float32."""
    table = stored("bf16")
    table = table[table["method"] == "residual"]
    runs_of = table["note"].str.extract(r"bf16=(?P<bf16>\w+), seed=(?P<seed>\d+)")
    names = runs_of["bf16"].map({"true": "bfloat16", "false": "float32"}) + ", seed " + runs_of["seed"]
    lines = {name: _judged(table[names == name]) for name in dict.fromkeys(names)}
    told = f"Recogniser: {', '.join(judges(table))}; {table['n'].max()} photos."
    return f"{_table(lines, 'training')}\n\n{told} {provenance('bf16')}"


def ablation() -> str:
    """The paper's method without each of its parts, and with each flaw of the released code."""
    table = stored("ablation")
    lines = results.over_seeds(results.by_seed(table)).reset_index()
    told = f"Recognisers: {' / '.join(judges(table))}; {table['n'].max()} photos; mean of the seeds [lowest, highest]."
    return f"{results.markdown(lines)}\n\n{told} {provenance('ablation')}"


def groups() -> str:
    """How much more often one half of the people is hidden than the other, and how much more their faces change."""
    table = stored("groups")
    table = table[table["dataset"].str.contains(" - ") & table["metric"].isin(["dodging", "mean change"])]
    lines: dict[str, dict[str, str]] = {}
    for row in table.itertuples():
        change = f"{row.value:.1f} [{row.ci_low:.1f}, {row.ci_high:.1f}]"
        cell = results.percent(row.value, row.ci_low, row.ci_high) if row.metric == "dodging" else change
        lines.setdefault(row.method, {})[f"{row.metric}, {row.dataset.partition(': ')[2]}"] = cell
    told = f"Recogniser: {', '.join(filter(None, dict.fromkeys(table['recogniser'])))}; {table['n'].max()} photos."
    return f"{_table(lines)}\n\n{told} {provenance('groups')}"


def false_accept_rates() -> str:
    """Rates of the held-out recognisers of the drawn world at each false accept rate."""
    table = stored("fars-procedural")
    wide = results.by_false_accept_rate(table).reset_index()
    return f"{results.markdown(wide)}\n\n{table['n'].max()} photos. {provenance('fars-procedural')}"


def turned() -> str:
    """How many faces are found beside an upright one, by how far they are turned, to either side."""
    table = stored("turned")
    angles = table["dataset"].str.removesuffix(" degrees").astype(int)
    table = table.assign(angle=angles.where(angles <= 180, 360 - angles), count=(table["value"] * table["n"]).round())
    sums = table.groupby(["angle", "method"], sort=False)[["count", "n"]].sum().astype(int)
    counts = (sums["count"].astype(str) + " of " + sums["n"].astype(str)).unstack(sort=False)
    lines = {f"{angle}°": dict(row) for angle, row in counts.iterrows()}
    return f"{_table(lines, 'turned by')}\n\n{provenance('turned')}"


# ---------------------------------------------------------------- README


def overview() -> str:
    """The table of the README: a line a method, the range of its held-out recognisers in per cent."""
    lines, last = [], ""
    for name, (kind, methods) in OVERVIEW.items():
        table = stored(name)
        families = dict.fromkeys(recognizers.spec(judge).family for judge in judges(table))
        test = f"{table['n'].max()} {kind}, {' and '.join(families)}"
        for method in methods:
            measured = {rate: value(name, method, rate) for rate in list(RATES)[:3]}
            # Rows that were stored before it was measured have no flip.
            has = set(table.loc[table["method"] == method, "metric"])
            seen = {each.upper(): value(name, method, each) if each in has else "" for each in ("ssim", "flip")}
            lines.append({"test, judges": "" if test == last else test, "method": f"`{method}`", **measured, **seen})
            last = test
    return results.markdown(pd.DataFrame(lines))


def beside_paper() -> str:
    """Impersonation at FAR 0.01, as a later paper printed it for AMT-GAN, and as measured on photographs here."""
    printed = results.published(["impersonation"], "CelebA-HQ 1000")
    lines = [_beside("AMT-GAN, as a later paper prints it", printed[printed["method"] == "AMT-GAN"])]
    table = stored("open-small")
    held_out = table[table["recogniser"].isin(judges(table)) & (table["metric"] == "impersonation")]
    for method in ("residual", "corrected", "published"):
        lines.append(_beside(f"`{method}`, measured here", held_out[held_out["method"] == method]))
    return results.markdown(pd.DataFrame(lines))


def _beside(who: str, rows: pd.DataFrame) -> dict[str, str]:
    return {
        "": who,
        "photos": str(rows["n"].iloc[0]),
        "held-out recognisers": ", ".join(rows["recogniser"]),
        "accepted as the target, %": " / ".join(f"{100 * number:.1f}" for number in rows["value"]),
    }


def notebooks() -> str:
    """A line a notebook: title, what it shows, and the stored minutes of a run, empty where none is stored."""
    files = sorted(file for file in paths.NOTEBOOKS.glob("*.ipynb") if file.stem != "index")
    lines = []
    for file in files:
        title, shows = _introduced(json.loads(file.read_text(encoding="utf-8"))["cells"][0]["source"])
        link = f"[{title}](notebooks/{file.name})"
        lines.append({"notebook": link, "what it shows": shows, "minutes": _minutes(file.stem)})
    if whole := _minutes("all"):
        lines.append({"notebook": "all of `make reproduce`", "what it shows": "", "minutes": whole})
    return results.markdown(pd.DataFrame(lines))


def _introduced(source: str | Sequence[str]) -> tuple[str, str]:
    """Title and subject of a notebook: its first heading, and the first clause that says what it shows."""
    text = "".join(source)
    title = re.search(r"^# (.+)$", text, re.M)[1].strip()
    rest = re.sub(r"\s+", " ", text.partition(title)[2]).strip(" -*")
    labelled = re.search(r"\*{0,2}\b(?:Shows|Reproduces|Answers)\b\*{0,2}:? (.+)", rest)
    clause = re.split(r"[.;:?,]\s|\s\(", labelled[1] if labelled else rest, maxsplit=1)[0]
    return title, clause.rstrip(". ")


def _minutes(step: str) -> str:
    """Minutes of a notebook in a stored run, of the default preset and with native bfloat16 first; "" without one."""
    table = stored("speed")
    table = table[table["dataset"].str.startswith("run, ") & (table["metric"] == "seconds")]
    table = table[(table["method"] == step) | table["method"].str.startswith(f"{step}-")]
    if table.empty:
        return ""
    first = min(table["dataset"], key=lambda name: (name != "run, procedural", name))
    rows = table[table["dataset"] == first]
    device = min(rows["device"], key=lambda name: ("bfloat16" not in name, name))
    seconds = rows.loc[rows["device"] == device, "value"].sum()
    return f"{max(seconds / 60, 0.1):.1f}"


# ---------------------------------------------------------------- docs/performance.md


def speeds(table: pd.DataFrame) -> str:
    """A line for each way of each work, a column for each machine."""
    machines = list(dict.fromkeys(table["device"]))
    lines = []
    for (work, way), rows in table.groupby(["dataset", "method"], sort=False):
        cells = {name: "; ".join(map(_figure, rows[rows["device"] == name].itertuples())) for name in machines}
        lines.append({"work": work, "way": way, **cells})
    return results.markdown(pd.DataFrame(lines))


def _figure(row: NamedTuple) -> str:
    return f"{row.value:.3g} {row.metric}" if row.value < 100 else f"{row.value:.0f} {row.metric}"


FIXED: Mapping[str, Callable[[], str]] = {
    "overview": overview,
    "beside-paper": beside_paper,
    "notebooks": notebooks,
    "equal-visibility": equal_visibility,
    "recognition": recognition,
    "precision": precision,
    "ablation": ablation,
    "groups": groups,
    "false-accept-rates": false_accept_rates,
    "turned": turned,
    "speed": lambda: speeds(stored("speed")),
}
NAMED: Mapping[str, Callable[[str], str]] = {
    "results-": run_tables,
    "judged-": judged,
    "again-": published_again,
}


def block(name: str) -> str:
    """The Markdown of a block: one of FIXED, or one of NAMED with the name of a stored table after it."""
    if name in FIXED:
        return FIXED[name]()
    for prefix, make in NAMED.items():
        if name.startswith(prefix):
            return make(name.removeprefix(prefix))
    raise ValueError(f"there is no block {name!r}: take one of {', '.join([*FIXED, *(f'{p}TABLE' for p in NAMED)])}")
