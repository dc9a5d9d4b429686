"""The generated parts of docs/ and README.md: each function reads stored rows and returns Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pandas as pd

from amtgan_lib import recognizers
from amtgan_lib.reporting import front_page, results
from amtgan_lib.reporting.results import DIGITS, RATES
from amtgan_lib.reporting.stored import in_words, judges, provenance, stored

AGAIN = {"jpeg75": "JPEG, quality 75", "half": "half the size"}
"""Suffixes of the methods whose pictures were published again, and in words."""

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
    return {metric: " / ".join(in_words(metric, number) for number in values) for metric, values in cells.items()}


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
            line[measure] = " / ".join(in_words(measure, mean[measure]) for mean in means if measure in mean)
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
        lines.setdefault(row.method, {})[f"{row.metric}, {row.dataset.partition(': ')[2]}"] = _of_group(row)
    told = f"Recogniser: {', '.join(filter(None, dict.fromkeys(table['recogniser'])))}; {table['n'].max()} photos."
    return f"{_table(lines)}\n\n{told} {provenance('groups')}"


def _of_group(row: NamedTuple) -> str:
    if row.metric != "mean change":
        return results.percent(row.value, row.ci_low, row.ci_high)
    return f"{row.value:.1f} [{row.ci_low:.1f}, {row.ci_high:.1f}]"


def by_group(name: str) -> str:
    """By group: how often each judge refuses changed faces and takes two clean people for one, and the mean change."""
    table = stored(name)
    lines: dict[str, dict[str, str]] = {}
    changed = table[(table["method"] == "natural") & table["metric"].isin(["dodging", "mean change"])]
    for row in pd.concat([changed, table[table["metric"] == "false accepts"]]).itertuples():
        group = row.dataset.partition(", ")[2]
        column = f"{row.metric}, {row.recogniser}".removesuffix(", ")
        lines.setdefault(group, {"group": group, "people": str(row.n)})[column] = _of_group(row)
    return f"{results.markdown(pd.DataFrame(lines.values()).fillna(''))}\n\n{provenance(name)}"


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
    "overview": front_page.overview,
    "beside-paper": front_page.beside_paper,
    "notebooks": front_page.notebooks,
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
    "by-group-": by_group,
}


def block(name: str) -> str:
    """The Markdown of a block: one of FIXED, or one of NAMED with the name of a stored table after it."""
    if name in FIXED:
        return FIXED[name]()
    for prefix, make in NAMED.items():
        if name.startswith(prefix):
            return make(name.removeprefix(prefix))
    raise ValueError(f"there is no block {name!r}: take one of {', '.join([*FIXED, *(f'{p}TABLE' for p in NAMED)])}")
