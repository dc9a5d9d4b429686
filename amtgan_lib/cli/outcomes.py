"""What became of each photo and face: as sentences for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amtgan_lib import evaluation
from amtgan_lib.cli.asking import Panel
from amtgan_lib.evaluation import NOT_PROTECTED, PROTECTED, WEAK, Answer
from amtgan_lib.faces import SmallFace

KEPT = "there already"
STATUSES = (PROTECTED, WEAK, NOT_PROTECTED, KEPT)


@dataclass(frozen=True)
class Face:
    """A face of a photo: its number (1 is the largest), its box in pixels, and the answers about it.

    No answers: it was not chosen, and stayed as it was. ``mean_change`` is in 8-bit levels over its crop.
    """

    number: int
    box: tuple[float, float, float, float]
    answers: tuple[Answer, ...] = ()
    mean_change: float = 0.0

    @property
    def chosen(self) -> bool:
        """Whether it was to be protected."""
        return bool(self.answers)

    @property
    def verdict(self) -> str:
        """The worst that a recogniser says."""
        return evaluation.worst(answer.verdict for answer in self.answers)

    @property
    def place(self) -> str:
        """Its size and place in words."""
        x0, y0, x1, y1 = map(round, self.box)
        return f"face {self.number}, {x1 - x0} x {y1 - y0} px at ({x0}, {y0})"


@dataclass(frozen=True)
class PhotoOutcome:
    """What became of one photo; ``output`` is None where nothing was written, ``problem`` says why in one sentence.

    too_small: faces that could not be changed, and are none of ``faces``; all_chosen: whether they were to be.
    """

    photo: Path
    output: Path | None = None
    faces: tuple[Face, ...] = ()
    problem: str = ""
    kept: bool = False
    notes: tuple[str, ...] = ()
    too_small: tuple[SmallFace, ...] = ()
    all_chosen: bool = False

    @property
    def chosen(self) -> list[Face]:
        """The faces that were to be protected."""
        return [face for face in self.faces if face.chosen]

    @property
    def verdict(self) -> str:
        """The worst verdict about a face that was changed."""
        return evaluation.worst(face.verdict for face in self.chosen)

    @property
    def missed(self) -> tuple[SmallFace, ...]:
        """The faces that were to be protected, and are too small."""
        return self.too_small if self.all_chosen else ()

    @property
    def status(self) -> str:
        """The worst of its faces' verdicts, or that it was passed over."""
        if self.kept:
            return KEPT
        return NOT_PROTECTED if self.problem or self.missed else self.verdict

    @property
    def good(self) -> bool:
        """Whether the exit status may be 0."""
        return self.status != NOT_PROTECTED


def plural(number: int, thing: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def line(outcome: PhotoOutcome) -> str:
    """One photo in one line."""
    if outcome.kept:
        return f"{outcome.photo}: passed over, {outcome.output} is there already"
    left = len(outcome.faces) - len(outcome.chosen)
    counts = {word: sum(face.verdict == word for face in outcome.chosen) for word in evaluation.VERDICTS}
    said = [f"{plural(n, 'face')} {word}" for word, n in counts.items() if n]
    said += [f"{plural(left, 'face')} left as {'it was' if left == 1 else 'they were'}"] * bool(left)
    said += [f"{plural(len(outcome.too_small), 'face')} too small to change"] * bool(outcome.too_small)
    said += [outcome.problem] * bool(outcome.problem)
    where = f" -> {outcome.output}" if outcome.output else "; nothing was written"
    return f"{outcome.photo}: {', '.join(said)}{where}"


def report(outcome: PhotoOutcome, took_part: Sequence[str]) -> list[str]:
    """What each recogniser says about each face, a line each."""
    lines = []
    for face in outcome.faces:
        lines.append(f"  {face.place}: {face.verdict if face.chosen else 'left as it was'}")
        lines += [f"    {sentence(answer, answer.recogniser in took_part)}" for answer in face.answers]
    return lines


def sentence(answer: Answer, took_part: bool = False) -> str:
    """One answer in plain words."""
    who = f"{answer.recogniser}{' (took part)' if took_part else ''}"
    if math.isnan(answer.before):
        return f"{who}: no face was found in the clean photo"
    after = "no face was found" if math.isnan(answer.after) else f"{answer.after:.2f}"
    scores = f"similarity {answer.before:.2f} before, {after} after; the same person above {answer.threshold:.2f}"
    near = "" if answer.target is None else f"; {answer.target:.2f} to the target"
    return f"{who}: {scores}{near}: {answer.verdict if answer.knew else 'not recognised before either'}"


def eyes_of(panel: Panel) -> str:
    """Who was asked, for the end of a sentence."""
    asked = f"the {plural(len(panel.judges), 'recogniser')} asked ({', '.join(panel.names)})"
    return f"in the eyes of {asked}, at a false accept rate of {panel.far:g}"


def summary(outcomes: Sequence[PhotoOutcome], panel: Panel | None, took_part: Sequence[str]) -> list[str]:
    """What to know at the end, a line each; ``panel`` is None where nothing was to be done."""
    tried = [outcome for outcome in outcomes if not outcome.kept]
    good = [outcome for outcome in tried if outcome.good]
    lines = []
    if panel:
        lines.append(f"{len(good)} of {plural(len(tried), 'photo')} protected {eyes_of(panel)}.")
        if good and set(panel.names) <= set(took_part):
            lines.append("All of them took part in making it: a recogniser that did not may still know a face.")
    if weak := sum(face.verdict == WEAK for outcome in good for face in outcome.chosen):
        lines.append(f"{plural(weak, 'face')} weak: at a laxer threshold one of them says the same person.")
    if left := sum(len(outcome.faces) - len(outcome.chosen) for outcome in good):
        lines.append(f"{plural(left, 'face')} in them stayed unprotected, by your choice.")
    if kept := sum(outcome.kept for outcome in outcomes):
        lines.append(f"{plural(kept, 'photo')} passed over: an output is there already, and was not looked at.")
    bad = [outcome for outcome in tried if not outcome.good]
    if bad and len(outcomes) > 1:
        lines += [f"{plural(len(bad), 'photo')} failed:", *(f"  {line(outcome)}" for outcome in bad)]
    return lines


def as_json(outcome: PhotoOutcome, took_part: Sequence[str]) -> dict[str, Any]:
    """An outcome as JSON values."""
    return {
        "photo": str(outcome.photo),
        "status": outcome.status,
        "output": None if outcome.output is None else str(outcome.output),
        "problem": outcome.problem or None,
        "notes": list(outcome.notes),
        "faces": [_face_json(face, took_part) for face in outcome.faces],
        "too_small": [_small_json(face, outcome.all_chosen) for face in outcome.too_small],
    }


def _face_json(face: Face, took_part: Sequence[str]) -> dict[str, Any]:
    return {
        "number": face.number,
        "box": _box_json(face.box),
        "chosen": face.chosen,
        "verdict": face.verdict if face.chosen else None,
        "mean_change": round(face.mean_change, 3),
        "answers": [answer_json(answer, answer.recogniser in took_part) for answer in face.answers],
    }


def _small_json(face: SmallFace, chosen: bool) -> dict[str, Any]:
    eyes = round(face.eye_distance, 1)
    return {"box": _box_json(face.box), "eye_distance": eyes, "chosen": chosen, "reason": face.reason}


def _box_json(box: tuple[float, float, float, float]) -> list[float]:
    return [round(value, 1) for value in box]


def answer_json(answer: Answer, took_part: bool = False) -> dict[str, Any]:
    """An answer as JSON values; None where no face was found."""
    numbers = {"before": answer.before, "after": answer.after, "threshold": answer.threshold, "target": answer.target}
    shown = {name: None if n is None or math.isnan(n) else round(n, 4) for name, n in numbers.items()}
    facts = {"knew_before": answer.knew, "took_part": took_part, "verdict": answer.verdict}
    return {"recogniser": answer.recogniser, **shown, **facts}
