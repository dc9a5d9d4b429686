"""Which recognisers are asked, and their thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from amtgan_lib import evaluation, paths, recognizers
from amtgan_lib.commands.arguments import NotDone, WrongArguments
from amtgan_lib.recognizers import Recognizer

THRESHOLDS = paths.MEASURED / "thresholds.csv"  # of notebook 02, preset open-small: 205 people, 41820 impostor pairs
ZOOS = ("open", "drawn", "published")


def names(text: str) -> list[str]:
    """The recognisers that `open` or `edgeface_xs,edgeface_xxs` names; WrongArguments for a name that is none."""
    found = []
    for word in (part.strip() for part in text.split(",")):
        try:
            found += recognizers.zoo(word) if word in ZOOS else [recognizers.spec(word).name]
        except ValueError as error:
            raise WrongArguments(f"--ask: {error} Or take {', '.join(ZOOS)}.") from None
    return list(dict.fromkeys(found))


def judges(
    wanted: Sequence[str], far: float, table: Path | None = None, at_hand: Mapping[str, Recognizer] | None = None
) -> list[Recognizer]:
    """The recognisers with thresholds at ``far``, those at hand not loaded again.

    Raises WrongArguments where one has no threshold there, NotDone where one cannot be had.
    """
    at_hand = at_hand or {}
    networks = [at_hand[name] if name in at_hand else _load(name) for name in wanted]
    try:
        return evaluation.with_thresholds(networks, table or THRESHOLDS, far)
    except ValueError as error:
        advice = "take another --far, or --thresholds CSV as notebook 02_recognizers writes it"
        raise WrongArguments(f"{error}; {advice}.") from None


def _load(name: str) -> Recognizer:
    try:
        with warnings.catch_warnings():
            # torch says so about files of an older torch; nothing that whoever asks can do about it.
            warnings.filterwarnings("ignore", "TypedStorage is deprecated", UserWarning)
            return recognizers.load(name)
    except (ValueError, RuntimeError, FileNotFoundError) as error:
        raise NotDone(f"the recogniser {name} cannot be asked: {error}") from error
