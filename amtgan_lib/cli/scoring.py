"""Run `evaluate FOLDER --protocol NAME`: score anybody's protected photos, and make an entry of the leaderboard."""

from __future__ import annotations

import functools
import json
import math
import sys

import pandas as pd
from tqdm import tqdm

from amtgan_lib.cli import asking
from amtgan_lib.cli.arguments import Evaluate, NotDone
from amtgan_lib.cli.outcomes import plural
from amtgan_lib.datasets import protocol
from amtgan_lib.datasets.protocol import Protocol, ProtocolError
from amtgan_lib.errors import WrongArguments
from amtgan_lib.evaluation import leaderboard, submissions
from amtgan_lib.evaluation.leaderboard import Card, EntryError
from amtgan_lib.evaluation.submissions import Scores, Submission
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results

UNNAMED = "these files"
BAR = functools.partial(tqdm, leave=False, disable=None)


def run(options: Evaluate) -> int:
    """Score the folder; the exit status is 0 if there is exactly one file, which could be scored, for each photo."""
    by, card = _asked(options)
    if options.submit:
        leaderboard.check_commit(results.commit())  # before minutes of work
    judges = _judges(by, options)
    submission = submissions.read(options.clean, by, BAR)
    if options.submit and submission.complaints:
        print(*(f"{complaint}." for complaint in submission.complaints), sep="\n", file=sys.stderr, flush=True)
        raise NotDone("an entry needs exactly one file for each photo: use the clean photo where the method fails.")
    method, target = (card.method, card.target) if card else (UNNAMED, "all")
    scores = submissions.scored(submission, judges, method, target, BAR)
    status = 1 if submission.complaints else 0
    people = sys.stderr if options.json else sys.stdout
    print("\n".join(_text(submission, scores, card, options.far)), file=people, flush=True)
    if options.submit:
        print(f"Entry: {leaderboard.store(card, by, scores.rows)}", file=people, flush=True)
    if options.json:
        print(json.dumps(_facts(submission, scores, card, status), indent=2), flush=True)
    return status


def _asked(options: Evaluate) -> tuple[Protocol, Card | None]:
    """The protocol and the card that the options name, or WrongArguments."""
    try:
        by = protocol.protocol(options.protocol)
        card = leaderboard.read_card(options.card) if options.card else None
        by.targets(card.target if card else "all")
    except (ProtocolError, EntryError) as error:
        raise WrongArguments(str(error)) from None
    return by, card


def _judges(by: Protocol, options: Evaluate) -> list[Recognizer]:
    """The judges of the protocol, or those of them that --ask names."""
    names = asking.names(options.ask) if options.ask else list(by.judges)
    if strangers := [name for name in names if name not in by.judges]:
        known = ", ".join(by.judges)
        raise WrongArguments(f"--ask: {strangers[0]} is not a judge of the protocol {by.name}: choose from {known}.")
    fars = list(by.judges[names[0]].thresholds)
    if options.far not in fars:
        raise WrongArguments(f"--far is {options.far:g}: choose from {', '.join(f'{far:g}' for far in fars)}.")
    return [by.pinned(judge) for judge in asking.panel(names, options.far).judges]


# ---------------------------------------------------------------- in words


def _text(submission: Submission, scores: Scores, card: Card | None, far: float) -> list[str]:
    lines = [f"{sentence}." for sentence in submission.complaints]
    lines += [f"{name}: no face was found, so it counts as recognised." for name in scores.faceless]
    rates = scores.rows[(scores.rows["far"] == far) & (scores.rows["recogniser"] != "")]
    table = results.pivot(leaderboard.marked(rates, card) if card else rates, ["recogniser", "method"])
    pictures = scores.rows[scores.rows["recogniser"] == ""]
    lines += ["", table.reset_index().rename_axis(columns=None).to_string(index=False), ""]
    lines.append("Pictures: " + ", ".join(f"{row.metric} {row.value:.3f}" for row in pictures.itertuples()) + ".")
    count, whole = len(submission.clean) - len(submission.problems), len(submission.clean)
    others = "; the others count as recognised" * (count < whole)
    lines.append(f"{count} of {plural(whole, 'photo')} scored{others}. Per cent at FAR {far:g}, with 95 % intervals.")
    if card is None:
        return [*lines, "No hints are declared (--card): the rates of a judge that gave hints do not count."]
    return [*lines, f"{leaderboard.TOOK_PART}: took part according to the card, or is of the family of one that did."]


def _facts(submission: Submission, scores: Scores, card: Card | None, status: int) -> dict:
    by = submission.protocol
    facts = {"exit_status": status, "protocol": by.name, "protocol_sha256": by.sha256, "card": card and vars(card)}
    facts |= {"complaints": submission.complaints, "without_a_face": list(scores.faceless)}
    return facts | {"rows": [_json(row) for row in scores.rows.to_dict("records")]}


def _json(row: dict) -> dict:
    """A result row as JSON values; what is missing, and an infinite PSNR, is null."""
    return {key: None if pd.isna(value) or value == math.inf else value for key, value in row.items()}
