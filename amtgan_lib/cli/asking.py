"""Which recognisers are asked, and their thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import evaluation, paths, recognizers
from amtgan_lib.cli.arguments import NotDone, WrongArguments
from amtgan_lib.recognizers import Recognizer

ZOOS = ("open", "drawn", "published")


@dataclass(frozen=True)
class Panel:
    """The recognisers asked, each with its thresholds, the false accept rate that counts, and where these are from."""

    judges: tuple[Recognizer, ...]
    far: float
    source: str

    @property
    def names(self) -> list[str]:
        """Of the recognisers."""
        return [judge.name for judge in self.judges]

    def as_json(self) -> dict[str, Any]:
        """The panel as JSON values."""
        return {"recognisers": self.names, "far": self.far, "thresholds": self.source}


def names(text: str, option: str = "--ask") -> list[str]:
    """The recognisers that `open` or `edgeface_xs,edgeface_xxs` names; WrongArguments for a name that is none."""
    found = []
    for word in (part.strip() for part in text.split(",")):
        try:
            found += recognizers.zoo(word) if word in ZOOS else [recognizers.spec(word).name]
        except ValueError as error:
            raise WrongArguments(f"{option}: {error} Or take {', '.join(ZOOS)}.") from None
    return list(dict.fromkeys(found))


def at_hand() -> list[str]:
    """The open recognisers that lie on this machine, or our own, which comes along, where there is none."""
    return list(recognizers.at_hand(recognizers.zoo("open")) or recognizers.OWN)


def panel(
    wanted: Sequence[str], far: float, table: Path | None = None, at_hand: Mapping[str, Recognizer] | None = None
) -> Panel:
    """The recognisers with thresholds at ``far``, those at hand not loaded again.

    Raises WrongArguments where one has no threshold there, NotDone where one cannot be had.
    """
    at_hand = at_hand or {}
    networks = [at_hand[name] if name in at_hand else _load(name) for name in wanted]
    try:
        judges = evaluation.with_thresholds(networks, far, table)
    except ValueError as error:
        advice = "take another --far, or --thresholds CSV as notebook 02_recognizers writes it"
        raise WrongArguments(f"{error}; {advice}.") from None
    given = [judge.name for judge, network in zip(judges, networks) if judge is not network]
    return Panel(tuple(judges), far, _table_facts(table, given) if given else _own_facts(judges))


def _own_facts(judges: Sequence[Recognizer]) -> str:
    """What the recognisers' own thresholds were measured on, as far as their rows say."""
    known = dict.fromkeys(str(judge.spec.calibration) for judge in judges if judge.spec.calibration)
    return "; ".join(["the recognisers' own", *(f"from {facts}" for facts in known)])


def _table_facts(table: Path, names: Sequence[str]) -> str:
    """Which table the thresholds of these recognisers are from, and what it says that they were measured on."""
    rows = pd.read_csv(table).query("recogniser in @names")
    path = table.relative_to(paths.ROOT) if table.is_relative_to(paths.ROOT) else table
    if not {"people", "impostor_pairs"} <= set(rows.columns):
        return str(path)
    return f"{path}, from {rows['impostor_pairs'].max()} pairs of {rows['people'].max()} other people"


def _load(name: str) -> Recognizer:
    try:
        with warnings.catch_warnings():
            # torch says so about files of an older torch; nothing that whoever asks can do about it.
            warnings.filterwarnings("ignore", "TypedStorage is deprecated", UserWarning)
            return recognizers.load(name)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise NotDone(f"the recogniser {name} cannot be asked: {error}") from error
