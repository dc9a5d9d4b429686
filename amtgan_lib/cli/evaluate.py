"""Run `evaluate`: ask recognisers about clean photos and protected ones."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from amtgan_lib import evaluation, recognizers
from amtgan_lib.cli import asking, folders, outcomes
from amtgan_lib.cli.arguments import Evaluate
from amtgan_lib.cli.asking import Panel
from amtgan_lib.cli.folders import Contents
from amtgan_lib.cli.outcomes import NOT_KNOWN, according_to, plural
from amtgan_lib.errors import Interrupted, WrongArguments
from amtgan_lib.evaluation import NOT_PROTECTED, Answer

OWN_JUDGES = (
    "Unconfirmed: these recognisers are there to guide `protect`; one that did not may still recognise a face. "
    "The extra `dlib` adds a judge that never guides."
)


def run(options: Evaluate) -> int:
    """Compare what the options name; returns the exit status, or raises Interrupted after Ctrl-C."""
    names = asking.names(options.ask) if options.ask else recognizers.judges_at_hand()
    pairs, problems = _pairs(options)
    panel = asking.panel(names, options.far, options.thresholds)
    whole = Pair(options.clean, options.protected, options.known)
    done = [PairOutcome(whole, problem=problem) for problem in problems]
    total = len(problems) + len(pairs)
    interrupted = False
    try:
        for pair in tqdm(pairs, unit="photo", disable=total == 1 or not sys.stderr.isatty(), leave=False):
            done.append(_compared(pair, panel, itself=options.known is None))
    except KeyboardInterrupt:
        interrupted = True
    people = sys.stderr if options.json else sys.stdout
    print("\n".join(_text(done, panel, itself=options.known is None)), file=people, flush=True)
    status = (0 if _impartial(panel) else outcomes.UNCONFIRMED) if done and all(outcome.good for outcome in done) else 1
    if options.json:
        facts = {"exit_status": Interrupted.exit_status if interrupted else status, "interrupted": interrupted}
        facts |= {"asked": panel.as_json(), "photos": [outcome.as_json() for outcome in done]}
        # ASCII only: what stdout puts in place of a character it lacks is not always valid JSON.
        print(json.dumps(facts, indent=2), flush=True)
    if interrupted:
        raise Interrupted(f"interrupted: {len(done)} of {plural(total, 'photo')} compared.")
    return status


@dataclass(frozen=True)
class Pair:
    """A clean photo, the protected one, and the known one, or their folders; None for a missing file."""

    clean: Path
    protected: Path | None
    known: Path | None


@dataclass(frozen=True)
class PairOutcome:
    """What the recognisers say about the largest face of a pair, or why they could not be asked."""

    pair: Pair
    answers: tuple[Answer, ...] = ()
    problem: str = ""

    @property
    def verdict(self) -> str:
        """The worst verdict of the recognisers that knew the owner before; NOT_KNOWN if none did."""
        if self.problem:
            return NOT_PROTECTED
        knew = [answer.verdict for answer in self.answers if answer.knew]
        return evaluation.worst(knew) if knew else NOT_KNOWN

    @property
    def good(self) -> bool:
        """Whether the exit status may be 0."""
        return self.verdict in (evaluation.PROTECTED, evaluation.WEAK)

    def as_json(self) -> dict:
        """The comparison as JSON values."""
        files = {name: None if file is None else str(file) for name, file in vars(self.pair).items()}
        answers = [outcomes.answer_json(answer) for answer in self.answers]
        return {**files, "verdict": self.verdict, "problem": self.problem or None, "answers": answers}


# ---------------------------------------------------------------- pairs


def _pairs(options: Evaluate) -> tuple[list[Pair], list[str]]:
    """The pairs to compare, and the folders that could not be read: their photos would be missed silently."""
    clean, protected, known = options.clean, options.protected, options.known
    contents = folders.look(clean, protected)
    if clean.is_dir() != protected.is_dir():
        raise WrongArguments(f"{clean} and {protected}: give two photos or two folders.")
    if not clean.is_dir():
        if known and known.is_dir():
            raise WrongArguments(f"--known {known} is a folder: give a photo of the person in {clean}.")
        return [Pair(clean, protected, known or clean)], []
    others = {folder: folders.look(folder) for folder in (protected, known) if folder and folder.is_dir()}
    named = {folder: _by_name(folder, inside) for folder, inside in others.items()}
    pairs = []
    for photo in contents.photos:
        name = photo.relative_to(clean).with_suffix("")
        another = named[known].get(name) if known in named else known or photo
        pairs.append(Pair(photo, named[protected].get(name), another))
    problems = [problem for inside in (contents, *others.values()) for problem in inside.problems]
    return pairs, list(dict.fromkeys(problems))  # a folder may be listed twice


def _by_name(folder: Path, contents: Contents) -> dict[Path, Path]:
    """The photos of a folder by their relative path without suffix; WrongArguments if two share one."""
    named: dict[Path, Path] = {}
    for photo in contents.photos:
        name = photo.relative_to(folder).with_suffix("")
        if name in named:
            raise WrongArguments(f"{named[name]} and {photo} have the same name: rename or remove one.")
        named[name] = photo
    return named


def _compared(pair: Pair, panel: Panel, itself: bool) -> PairOutcome:
    if missing := [name for name, file in vars(pair).items() if file is None]:
        return PairOutcome(pair, problem=f"there is no {missing[0]} photo of this name")
    try:
        known = None if itself else _known(pair.known)
        answers = evaluation.compared(pair.clean, pair.protected, known, panel.judges, panel.far)
    except (ValueError, OSError, MemoryError) as error:
        return PairOutcome(pair, problem=str(error) or "not enough memory")
    return PairOutcome(pair, tuple(answers))


@functools.lru_cache(maxsize=1)
def _known(photo: Path) -> evaluation.Probes:
    """The known face, read once if all photos are compared with the same one."""
    return evaluation.read_probes([photo])


# ---------------------------------------------------------------- in words


def _impartial(panel: Panel) -> bool:
    """Whether somebody is asked besides those of our own that exist to give hints."""
    return not set(panel.names) <= set(recognizers.OWN)


def _text(done: Sequence[PairOutcome], panel: Panel, itself: bool) -> list[str]:
    lines = []
    for outcome in done:
        lines.append(f"{outcome.pair.clean} -> {outcome.pair.protected}: {outcome.problem or outcome.verdict}")
        lines += [f"  {outcomes.sentence(answer)}" for answer in outcome.answers]
    asked = [outcome for outcome in done if outcome.answers]
    for at, judge in enumerate(panel.names) if len(done) > 1 else ():
        answers = [outcome.answers[at] for outcome in asked]
        knew, knows = sum(a.knew for a in answers), sum(a.knew and a.verdict == NOT_PROTECTED for a in answers)
        clean = plural(len(asked), "clean photo")
        lines.append(f"{judge} recognised the owner in {knew} of {clean}, and still does in {knows}.")
    good = sum(outcome.good for outcome in done)
    lines.append(f"{good} of {plural(len(done), 'photo')} protected {according_to(panel)}.")
    lines += [OWN_JUDGES] * bool(good and not _impartial(panel))
    return [*lines, f"Thresholds: {panel.source}.", *[outcomes.RAISED] * itself]
