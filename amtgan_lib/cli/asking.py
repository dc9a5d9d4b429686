"""Which recognisers are asked, and their thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import evaluation, paths, recognizers
from amtgan_lib.cli.arguments import NotDone
from amtgan_lib.errors import WrongArguments
from amtgan_lib.recognizers import Recognizer

ZOOS = ("open", "drawn", "published")


@dataclass(frozen=True)
class Panel:
    """The recognisers to ask, their thresholds and where those come from, and the false accept rate that counts."""

    judges: tuple[Recognizer, ...]
    far: float
    source: str

    @property
    def names(self) -> list[str]:
        """The names of the recognisers."""
        return [judge.name for judge in self.judges]

    def as_json(self) -> dict[str, Any]:
        """The panel as JSON values."""
        return {"recognisers": self.names, "far": self.far, "thresholds": self.source}


def names(text: str, option: str = "--ask") -> list[str]:
    """The recognisers that `open` or `edgeface_xs,edgeface_xxs` names; WrongArguments for an unknown name."""
    chosen = []
    for word in (part.strip() for part in text.split(",")):
        try:
            chosen += recognizers.zoo(word) if word in ZOOS else [recognizers.spec(word).name]
        except ValueError as error:
            raise WrongArguments(f"{option}: {error} Or use a set: {', '.join(ZOOS)}.") from None
    return list(dict.fromkeys(chosen))


def panel(
    wanted: Sequence[str], far: float, table: Path | None = None, at_hand: Mapping[str, Recognizer] | None = None
) -> Panel:
    """The recognisers with thresholds at ``far``; those ``at_hand`` are not loaded again.

    Raises WrongArguments if one has no such threshold, NotDone if one cannot be loaded.
    """
    networks = [(at_hand or {}).get(name) or _load(name) for name in wanted]
    try:
        judges = evaluation.with_thresholds(networks, far, table)
    except ValueError as error:
        advice = "choose another --far, or give --thresholds CSV as notebook 02_recognizers writes it"
        raise WrongArguments(f"{error}; {advice}.") from None
    given = [judge.name for judge, network in zip(judges, networks) if judge is not network]
    return Panel(tuple(judges), far, _table_facts(table, given) if given else _own_facts(judges))


def _own_facts(judges: Sequence[Recognizer]) -> str:
    """What the recognisers' own thresholds were measured on, as far as their rows say."""
    known = [f"from {judge.spec.calibration}" for judge in judges if judge.spec.calibration]
    known += ["published for unaligned pictures; faces are aligned here" for judge in judges if judge.spec.published]
    return "; ".join(["the recognisers' own", *dict.fromkeys(known)])


def _table_facts(table: Path, names: Sequence[str]) -> str:
    """The table that holds the thresholds of these recognisers, and what it says they were measured on."""
    rows = pd.read_csv(table).query("recogniser in @names")
    path = table.relative_to(paths.ROOT) if table.is_relative_to(paths.ROOT) else table
    if not {"people", "impostor_pairs"} <= set(rows.columns):
        return str(path)
    return f"{path}, from {rows['impostor_pairs'].max()} pairs of {rows['people'].max()} other people"


def _load(name: str) -> Recognizer:
    try:
        with warnings.catch_warnings():
            # torch warns about files of an older torch; the user can do nothing about it.
            warnings.filterwarnings("ignore", "TypedStorage is deprecated", UserWarning)
            return recognizers.load(name)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise NotDone(f"the recogniser {name} cannot be loaded: {error}") from error
