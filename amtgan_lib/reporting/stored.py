"""The rows of results/measured: a table, one number of it in words, and where it is from."""

from __future__ import annotations

import functools

import pandas as pd

from amtgan_lib import assets, paths, recognizers
from amtgan_lib.files import sha256_of
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import DIGITS, RATES


def stored(name: str) -> pd.DataFrame:
    """The rows of results/measured/NAME.csv; FileNotFoundError where there are none."""
    return results.read(paths.MEASURED / f"{name}.csv")


def judges(table: pd.DataFrame) -> list[str]:
    """The held-out recognisers of a table, in its order."""
    return list(dict.fromkeys(table.loc[table["note"].str.endswith("held out"), "recogniser"]))


def value(name: str, method: str, metric: str) -> str:
    """A stored number in words, over the held-out recognisers from the lowest to the highest: ``87 to 92``.

    Rates are in whole per cent. Raises ValueError where no row has it.
    """
    table = stored(name)
    if metric == "makeup distance":  # of a table with seeds, in which it is the mean of other rows
        values = results.by_seed(table).query("method == @method")[metric]
    else:
        rows = table[(table["method"] == method) & (table["metric"] == metric)]
        values = rows.loc[rows["recogniser"].isin(["", *judges(table)]), "value"]
    if values.empty:
        raise ValueError(f"results/measured/{name}.csv has no {metric} of {method!r} on a held-out recogniser")
    ends = [in_words(metric, end) for end in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(ends))


def in_words(metric: str, number: float) -> str:
    """A rate in whole per cent, another number with the digits of its metric."""
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
