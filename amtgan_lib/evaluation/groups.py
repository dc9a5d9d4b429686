"""Whether a method serves some people worse than others: rates by group, and the gap between two groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from amtgan_lib import portraits
from amtgan_lib.evaluation.recognition import Facts, provenance
from amtgan_lib.evaluation.scores import mean_interval, success_rates, wilson
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

# Traits of drawn people, halved at the middle of their range: the lower half and the upper one.
TRAITS = {"skin": ("lighter", "darker"), "age": ("younger", "older"), "masculine": ("feminine", "masculine")}
RATES = tuple(results.RATES)[:3]
CHANGE = "mean change"  # of the face's pixels, in levels of 255


class Measured(NamedTuple):
    """A share or a mean of ``n`` people, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def labels(people: Sequence[str], file: str | Path = "") -> pd.DataFrame:
    """Which groups people belong to: a line for each person, a column for each label; empty where nothing is known.

    Drawn people are labelled as they were drawn. For photographs, ``file`` is a CSV with the column person and a
    column for each label; ValueError for any other file, and where it names a person twice.
    """
    people = list(dict.fromkeys(people))
    if file:
        return _read(file).reindex(people).fillna("")
    drawn = [person for person in people if person.startswith("drawn/")]
    if not drawn:
        return pd.DataFrame(index=people)
    who = portraits.people([int(person.removeprefix("drawn/")) for person in drawn])
    halves = {trait: [ends[int(share > 0.5)] for share in who.raw(trait)] for trait, ends in TRAITS.items()}
    return pd.DataFrame(halves, index=drawn).reindex(people).fillna("")


def _read(file: str | Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # no file, no text, no table, or empty
        raise ValueError(f"{file} cannot be read as a table in CSV: {error}") from None
    if "person" not in table or len(table.columns) < 2 or table["person"].duplicated().any():
        raise ValueError(f"{file} must have a column person that names each person once, and a column for each label")
    return table.set_index("person")


def group_table(
    scores: pd.DataFrame,
    judges: Sequence[Recognizer],
    thresholds: Mapping[str, float],
    changes: Mapping[str, Sequence[float]],
    groups: pd.DataFrame,
    far: float,
    **facts: Facts,
) -> pd.DataFrame:
    """Result rows by group, and where a label has two groups, of their gap; ``dataset`` says which.

    scores: raw, of ``Judgement.table``; those of other recognisers than the judges are passed over. changes: each
    method's mean change of each photo (NaN where it failed), in the order of its scores. groups: of ``labels``; people
    without a label are left out.
    """
    rows: list[Row] = []
    facts |= {"far": far, **provenance()}
    for judge, method in itertools.product(judges, dict.fromkeys(scores["method"])):
        part = scores[(scores["recogniser"] == judge.name) & (scores["method"] == method)]
        counted = pd.DataFrame(success_rates(part, thresholds[judge.name]), index=part["person"])[list(RATES)]
        own = {"method": method, "recogniser": judge.name, "weights_sha256": judge.weights_sha256}
        rows += _rows(counted, groups, **own, **facts)
    for method, change in changes.items():
        counted = pd.DataFrame({CHANGE: list(change)}, index=scores["person"].iloc[: len(change)])
        rows += _rows(counted, groups, method=method, recogniser="", **facts | {"far": None})
    return results.frame(rows)


def _rows(counted: pd.DataFrame, groups: pd.DataFrame, dataset: str, **facts: Facts) -> Iterator[Row]:
    for label, of in groups.items():
        names = sorted(set(of) - {""})
        for metric, column in counted.items():
            found = {name: _measured(column[of.reindex(column.index) == name]) for name in names}
            if len(names) == 2:
                found[" - ".join(names)] = gap(*found.values())
            for name, (value, low, high, n) in found.items():
                own = {"value": value, "ci_low": low, "ci_high": high, "n": n, "metric": metric}
                yield Row(dataset=f"{dataset}, {label}: {name}", **own, **facts)


def _measured(values: pd.Series) -> Measured:
    if values.dtype == bool:
        return Measured(float(values.mean()), *wilson(int(values.sum()), len(values)), len(values))
    known = values.dropna().to_numpy(float)
    return Measured(float(known.mean()) if len(known) else math.nan, *mean_interval(known), len(known))


def gap(first: Measured, second: Measured) -> Measured:
    """The difference of two independent shares or means, with an interval made of theirs.

    Newcombe's for shares (Statistics in Medicine 1998, method 10), if theirs are Wilson's.
    """
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Measured(value, low, high, first.n + second.n)
