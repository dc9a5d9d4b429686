"""The leaderboard: what somebody declares about a method, its numbers on a protocol, and the tables made of both.

An entry is one file, results/leaderboard/PROTOCOL/METHOD.json: the card, the numbers' origin, and a line a number.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import paths, recognizers
from amtgan_lib.datasets import protocol
from amtgan_lib.datasets.protocol import NOBODY, Protocol
from amtgan_lib.evaluation.scores import wilson
from amtgan_lib.evaluation.submissions import PICTURES
from amtgan_lib.files import write_text
from amtgan_lib.recognizers import USUAL
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import DIGITS, RATES, Row

NUMBER = ("recogniser", "far", "metric", "value", "n", "ci_low", "ci_high")
LIMITS = dict.fromkeys((*RATES, "flip"), (0, 1)) | {"ssim": (-1, 1)} | dict.fromkeys(("psnr", "visible"), (0, math.inf))
FAMILIES = tuple(dict.fromkeys(recognizers.spec(name).family for name in recognizers.NAMES))
TOOK_PART = "*"
MOST_FLIP = 0.25
"""A ranked entry's largest FLIP: half that of the mean of all faces, which hides everybody and is nobody's photo."""
LINK = re.compile(r"https://[^\s)|]+|benchmarks/\w+\.py")
ROUNDING = 1e-6


class EntryError(ValueError):
    """One sentence: what is wrong with a method card or an entry."""


@dataclass(frozen=True)
class Card:
    """What the author of a method declares.

    method: its name on the leaderboard. about: what it is, in a sentence. link: where it is published (the baselines
    are in benchmarks/). hints: recognisers, by name or family, that it was trained against, that guided it or taught
    those which did. target: whom photos are to be taken for (see ``Protocol.targets``).
    """

    method: str
    about: str
    link: str
    hints: tuple[str, ...]
    target: str

    def __post_init__(self):
        _check(re.fullmatch(r"[\w-]+", self.method), f"method is {self.method!r}: use letters, digits, - and _")
        _check(re.fullmatch(r"[^|<>\n]{1,200}", self.about), "about is to be one sentence, without | < >")
        _check(LINK.fullmatch(self.link), f"link is {self.link!r}: begin with https://")
        unknown = [name for name in self.hints if name not in recognizers.NAMES and name not in FAMILIES]
        known = ", ".join((*recognizers.NAMES, *FAMILIES))
        _check(not unknown, f"hints has {', '.join(unknown)}: choose from {known}; name any other in about")

    def took_part(self, judge: str) -> bool:
        """Whether a judge, one of its family, its teacher or its student is among the hints."""
        family = recognizers.spec(judge).family
        named = [hint for hint in self.hints if hint in recognizers.NAMES]
        return family in self.hints or any(recognizers.related(hint, judge) for hint in named)


@dataclass(frozen=True)
class Entry:
    """A card with result rows, which have its method's name."""

    card: Card
    rows: pd.DataFrame

    def independent(self) -> list[str]:
        """The judges that took no part, in the order of the rows."""
        judges = dict.fromkeys(self.rows.loc[self.rows["recogniser"] != "", "recogniser"])
        return [judge for judge in judges if not self.card.took_part(judge)]

    @property
    def has_place(self) -> bool:
        """Whether a judge took no part, and the photos still are pictures of their owners."""
        flip = self.rows.loc[self.rows["metric"] == "flip", "value"].item()
        return bool(self.independent()) and flip <= MOST_FLIP

    def ends(self, metric: str) -> tuple[float, float]:
        """The lowest and the highest rate of the independent judges at FAR 0.01; NaN without one or such a metric."""
        asked = self.rows["recogniser"].isin(self.independent()) & (self.rows["far"] == USUAL)
        values = self.rows.loc[asked & (self.rows["metric"] == metric), "value"]
        return float(values.min()), float(values.max())


def read_card(file: Path) -> Card:
    """The card in a YAML file; EntryError for one that cannot be read, or has other fields than a card."""
    import yaml

    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise EntryError(f"{file} is no method card in YAML: {error}") from None
    try:
        return _card(told)
    except EntryError as error:
        raise EntryError(f"{file}: {error}") from None


def _card(told: Any) -> Card:
    wanted = [field.name for field in fields(Card)]
    _check(isinstance(told, dict), f"a method card has the fields {', '.join(wanted)}")
    _same(told, wanted)
    texts = [name for name in wanted if name != "hints" and not isinstance(told[name], str)]
    _check(not texts, f"{', '.join(texts)} must be text; put a number between quotation marks")
    named = isinstance(told["hints"], list) and all(isinstance(hint, str) for hint in told["hints"])
    _check(named, "hints must be a list of recognisers, [] for none")
    return Card(**{**told, "hints": tuple(told["hints"])})


def _same(there: Mapping[str, Any], wanted: list[str]) -> None:
    _check(not (missing := [name for name in wanted if name not in there]), f"{', '.join(missing)} is missing")
    _check(not (other := [str(name) for name in there if name not in wanted]), f"there is no field {', '.join(other)}")


def _check(good: object, sentence: str) -> None:
    if not good:
        raise EntryError(f"{sentence}.")


# ---------------------------------------------------------------- entries


def store(card: Card, by: Protocol, rows: pd.DataFrame) -> Path:
    """Write the rows of the card's method as an entry, once it was found right; raises EntryError."""
    own = rows[rows["method"] == card.method]
    facts = {**asdict(card), "hints": list(card.hints), "protocol_sha256": by.sha256}
    facts |= own[["commit", "device"]].iloc[0].to_dict()
    finite = own[list(NUMBER)].map(lambda value: round(value, 9) if isinstance(value, float) else value)
    numbers = finite.astype(object).where(finite.notna() & (finite != math.inf), None).to_dict("records")
    _entry({**facts, "numbers": numbers}, by)
    return write_text(protocol.lines(facts, "numbers", numbers), paths.LEADERBOARD / by.name / f"{card.method}.json")


def check_commit(commit: str) -> None:
    """Raise EntryError for the state of a checkout that nobody else can have."""
    clean = re.fullmatch(r"[0-9a-f]{7,40}", commit)
    _check(clean, f"commit is {commit!r}: an entry is scored in a checkout whose files are as they were committed")


def entries(by: Protocol) -> list[Entry]:
    """The entries of a protocol; EntryError, which names the file, for the first that is wrong."""
    return [read(file, by) for file in sorted((paths.LEADERBOARD / by.name).glob("*.json"))]


def read(file: Path, by: Protocol) -> Entry:
    """An entry of a protocol; EntryError where it cannot be one that ``store`` wrote."""
    try:
        entry = _entry(json.loads(file.read_text(encoding="utf-8")), by)
        _check(entry.card.method == file.stem, f"the method is {entry.card.method}, so name the file after it")
    except (ValueError, TypeError, KeyError) as error:  # EntryError is a ValueError, and so is what json raises
        raise EntryError(f"{file}: {error}") from None
    return entry


def _entry(told: dict[str, Any], by: Protocol) -> Entry:
    own = [field.name for field in fields(Card)]
    _same(told, [*own, "protocol_sha256", "commit", "device", "numbers"])
    card = _card({name: told[name] for name in own})
    by.targets(card.target)
    _check(told["protocol_sha256"] == by.sha256, f"it is of another state of the protocol {by.name}: score it again")
    check_commit(told["commit"])
    for number in told["numbers"]:
        _same(number, list(NUMBER))
    _check_numbers(pd.DataFrame(told["numbers"]), card, by)
    facts = {"experiment": "protocol", "preset": by.name, "method": card.method, "dataset": by.dataset}
    facts |= {"target": card.target, "commit": told["commit"], "device": told["device"]}
    # JSON has no infinity, which is the PSNR of unchanged photos.
    numbers = [number | ({"value": math.inf} if number["value"] is None else {}) for number in told["numbers"]]
    return Entry(card, results.frame(Row(**(number | facts)) for number in numbers))


def _check_numbers(numbers: pd.DataFrame, card: Card, by: Protocol) -> None:
    rates = [metric for metric in RATES if metric != "impersonation" or card.target != NOBODY]
    wanted = {(judge, far, metric) for judge, row in by.judges.items() for far in row.thresholds for metric in rates}
    wanted |= {("", None, metric) for metric in PICTURES}
    there = [(row.recogniser, None if pd.isna(row.far) else row.far, row.metric) for row in numbers.itertuples()]
    _check(len(there) == len(wanted) and set(there) == wanted, "it lacks a number of a judge, or has one too many")
    for row in numbers.itertuples():
        _check_number(row, len(by.sources))
    for sentence in _contradictions(numbers):
        raise EntryError(f"{sentence}.")


def _check_number(row: Any, photos: int) -> None:
    name = f"{row.metric} {row.recogniser}".strip()
    if row.metric == "psnr" and pd.isna(row.value):
        return  # nobody changed a photo: _contradictions compares it with the others
    low, high = LIMITS[row.metric]
    _check(low <= row.value <= high, f"{name} is {row.value}: it must be from {low} to {high}")
    _check(row.ci_low - ROUNDING <= row.value <= row.ci_high + ROUNDING, f"{name} is not within its interval")
    if row.metric not in RATES:
        _check(0 < row.n <= photos, f"{name} is of {row.n} photos where there are {photos}")
        return
    count = round(row.value * photos)
    _check(row.n == photos, f"{name} is of {row.n} photos where there are {photos}")
    _check(abs(row.value * photos - count) < ROUNDING * photos, f"{name} is no share of {photos} photos")
    ends = zip((row.ci_low, row.ci_high), wilson(count, photos))
    _check(all(abs(one - other) < ROUNDING for one, other in ends), f"{name} has another interval than Wilson's")


def _contradictions(numbers: pd.DataFrame) -> Iterator[str]:
    """Sentences about numbers that no one set of photos can have."""
    pictures = numbers[numbers["recogniser"] == ""].set_index("metric")["value"]
    unchanged = pd.isna(pictures["psnr"])
    if unchanged != (pictures["ssim"] >= 1 and pictures["visible"] == 0):
        yield "psnr is to be empty where no photo was changed, and only there"
    for judge, rows in numbers[numbers["recogniser"] != ""].groupby("recogniser"):
        wide = rows.pivot(index="far", columns="metric", values="value").sort_index()  # the strictest first
        if not wide["dodging"].is_monotonic_decreasing:
            yield f"{judge} refuses more photos at a lower threshold"
        if "impersonation" in wide and not wide["impersonation"].is_monotonic_increasing:
            yield f"{judge} accepts fewer photos at a lower threshold"
        if (wide["rank-1"] > wide["rank-5"]).any() or wide["rank-1"].nunique() > 1:
            yield f"{judge} finds other photos at rank 1 than among the first five, or by its threshold"


# ---------------------------------------------------------------- tables


def board(name: str) -> str:
    """The tables of a protocol in Markdown: a line an entry, the safest first, and below them every judge."""
    by = protocol.protocol(name)
    found = sorted(entries(by), key=lambda entry: (not entry.has_place, -entry.ends("dodging")[0], entry.card.method))
    if not found:
        return "There is no entry yet."
    lines = results.markdown(pd.DataFrame([_line(place, entry) for place, entry in enumerate(found, 1)]))
    told = f"{len(by.sources)} photos. Per cent at FAR {USUAL:g}; 95 % intervals stand in the second table, "
    told += f"where `{TOOK_PART}` marks judges that took part. "
    told += f"An entry is ranked if a judge took no part and its mean FLIP is at most {MOST_FLIP:g}."
    rows = results.joined(*(marked(entry.rows[entry.rows["far"] == USUAL], entry.card) for entry in found))
    judged = results.pivot(rows, ["method", "recogniser"])
    judged = results.markdown(judged[[rate for rate in RATES if rate in judged]].reset_index())
    commits = {entry.card.method: entry.rows["commit"].iloc[0] for entry in found}
    scored = [f"`{commit}` ({', '.join(at)})" for commit, at in pd.Series(commits).groupby(commits).groups.items()]
    return f"{lines}\n\n{told}\n\n{judged}\n\nProtocol `{by.sha256[:10]}`. Scored at {', '.join(scored)}."


def _line(place: int, entry: Entry) -> dict[str, str]:
    card = entry.card
    link = card.link if card.link.startswith("https://") else f"../{card.link}"
    pictures = dict(entry.rows.loc[entry.rows["recogniser"] == "", ["metric", "value"]].to_numpy())
    line = {"": str(place) if entry.has_place else "", "method": f"[{card.method}]({link})", "what it is": card.about}
    line |= {"target": card.target, "hints from": ", ".join(card.hints) or "none"}
    line |= {metric: _range(*entry.ends(metric)) for metric in list(RATES)[:3]}
    return line | {metric: f"{pictures[metric]:.{DIGITS[metric]}f}" for metric in ("flip", "visible", "ssim", "psnr")}


def _range(low: float, high: float) -> str:
    """Two shares in whole per cent: ``60 to 87``; "" for none."""
    return "" if math.isnan(low) else " to ".join(dict.fromkeys(f"{100 * end:.0f}" for end in (low, high)))


def marked(rates: pd.DataFrame, card: Card) -> pd.DataFrame:
    """Rows of judges, with a mark in the names of those that took part."""
    names = [name + f" {TOOK_PART}" * card.took_part(name) for name in rates["recogniser"]]
    return rates.assign(recogniser=names)
