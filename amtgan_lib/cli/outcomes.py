"""The outcome of each photo and face: as sentences for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amtgan_lib import evaluation, recognizers
from amtgan_lib.cli.asking import Panel
from amtgan_lib.evaluation import NOT_PROTECTED, PROTECTED, WEAK, Answer
from amtgan_lib.faces import DoubtfulFace, SmallFace

KEPT = "skipped"
ESTIMATED = (
    "That is an estimate for a typical other photo of the person, and one that is more like this photo may match: "
    "--known compares with photos that you name."
)
RAISED = "Compared with the clean face, they are raised to where a typical other photo of the person would match."
GOOD = (PROTECTED, WEAK)
NOT_KNOWN = "not recognised before protection either"
STATUSES = (PROTECTED, WEAK, NOT_PROTECTED, KEPT)
UNCONFIRMED = 3
"""Exit status if the result is good, but only recognisers that took part in the change were asked."""


@dataclass(frozen=True)
class Face:
    """A face of a photo: its number (1 is the largest), its box in pixels, and the answers about it.

    Without answers: it was not chosen and is unchanged. ``mean_change`` and ``visible``: see ``FaceReport``.
    """

    number: int
    box: tuple[float, float, float, float]
    answers: tuple[Answer, ...] = ()
    mean_change: float = 0.0
    visible: float = 0.0

    @property
    def chosen(self) -> bool:
        """Whether it should be protected."""
        return bool(self.answers)

    @property
    def verdict(self) -> str:
        """The worst verdict of a recogniser."""
        return evaluation.worst(answer.verdict for answer in self.answers)

    @property
    def known(self) -> int:
        """How many known faces it was compared with; 0: with itself before."""
        return max((answer.known for answer in self.answers), default=0)

    @property
    def place(self) -> str:
        """Its size and position in words."""
        x0, y0, x1, y1 = map(round, self.box)
        return f"face {self.number}, {x1 - x0} x {y1 - y0} px at ({x0}, {y0})"


@dataclass(frozen=True)
class PhotoOutcome:
    """The outcome of one photo; ``output`` is None if nothing was written, ``problem`` says why in one sentence.

    too_small, doubtful: faces that could not be changed, not among ``faces``; all_chosen: whether every face was
    chosen; confirmed: whether a recogniser was asked that took no part in the change.
    """

    photo: Path
    output: Path | None = None
    faces: tuple[Face, ...] = ()
    problem: str = ""
    kept: bool = False
    notes: tuple[str, ...] = ()
    too_small: tuple[SmallFace, ...] = ()
    doubtful: tuple[DoubtfulFace, ...] = ()
    all_chosen: bool = False
    confirmed: bool = True

    @property
    def estimated(self) -> bool:
        """Whether a face was compared with its own clean photo, which stands for others."""
        return any(face.answers and not face.known for face in self.faces)

    @property
    def chosen(self) -> list[Face]:
        """The faces that should be protected."""
        return [face for face in self.faces if face.chosen]

    @property
    def verdict(self) -> str:
        """The worst verdict on a changed face."""
        return evaluation.worst(face.verdict for face in self.chosen)

    @property
    def missed(self) -> tuple[SmallFace | DoubtfulFace, ...]:
        """The faces that should be protected but are too small or doubtful."""
        return (*self.too_small, *self.doubtful) if self.all_chosen else ()

    @property
    def status(self) -> str:
        """The worst of its faces' verdicts, or that it was skipped."""
        if self.kept:
            return KEPT
        return NOT_PROTECTED if self.problem or self.missed else self.verdict

    @property
    def good(self) -> bool:
        """Whether the exit status may be 0."""
        return self.status != NOT_PROTECTED


def independent(judges: Sequence[str], took_part: Sequence[str]) -> bool:
    """Whether one of the judges neither took part in a change nor taught, or learnt from, one that did."""
    return any(not any(recognizers.kin(judge, other) for other in took_part) for judge in judges)


def plural(number: int, thing: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def line(outcome: PhotoOutcome) -> str:
    """One photo in one line."""
    if outcome.kept:
        return f"{outcome.photo}: skipped, {outcome.output} exists"
    doubt = "" if outcome.confirmed else " (unconfirmed)"
    verdicts = [face.verdict for face in outcome.chosen]
    counts = {f"{word}{doubt * (word in GOOD)}": verdicts.count(word) for word in evaluation.VERDICTS}
    counts["left unchanged"] = len(outcome.faces) - len(outcome.chosen)
    counts |= {"too small to change": len(outcome.too_small), "to be looked at": len(outcome.doubtful)}
    parts = [f"{plural(number, 'face')} {what}" for what, number in counts.items() if number]
    parts += [outcome.problem] if outcome.problem else []
    where = f" -> {outcome.output}" if outcome.output else "; nothing was written"
    return f"{outcome.photo}: {', '.join(parts)}{where}"


def report(outcome: PhotoOutcome, took_part: Sequence[str]) -> list[str]:
    """What each recogniser says about each face, one per line."""
    lines = []
    for face in outcome.faces:
        known = f", compared with {plural(face.known, 'known face')}" if face.known else ""
        seen = f"; visible change {face.visible:.1f} (S-CIELAB, 1 is just noticeable)" if face.chosen else ""
        lines.append(f"  {face.place}: {face.verdict if face.chosen else 'left unchanged'}{known}{seen}")
        lines += [f"    {sentence(answer, answer.recogniser in took_part)}" for answer in face.answers]
    return lines


def sentence(answer: Answer, took_part: bool = False) -> str:
    """One answer in plain words."""
    who = f"{answer.recogniser}{' (took part)' if took_part else ''}"
    if math.isnan(answer.before):
        return f"{who}: no face was found in the clean photo"
    digits = 3 if abs(answer.after - answer.threshold) < 0.01 else 2  # with two, both may look alike
    after = "no face found" if math.isnan(answer.after) else f"{answer.after:.{digits}f}"
    scores = f"similarity {answer.before:.2f} before, {after} after; same person above {answer.threshold:.{digits}f}"
    near = "" if answer.target is None else f"; {answer.target:.2f} to the target"
    return f"{who}: {scores}{near}: {answer.verdict if answer.knew else NOT_KNOWN}"


def according_to(panel: Panel) -> str:
    """The recognisers asked, for the end of a sentence."""
    asked = f"the {plural(len(panel.judges), 'recogniser')} asked ({', '.join(panel.names)})"
    return f"according to {asked}, at a false accept rate of {panel.far:g}"


def summary(outcomes: Sequence[PhotoOutcome], panel: Panel | None, took_part: Sequence[str]) -> list[str]:
    """The summary, one sentence per line; ``panel`` is None if there was nothing to do."""
    tried = [outcome for outcome in outcomes if not outcome.kept]
    good = [outcome for outcome in tried if outcome.good]
    lines = []
    if panel and tried:
        asked = any(face.answers for outcome in tried for face in outcome.faces)
        said = f" {according_to(panel)}" if asked else ""
        lines.append(f"{len(good)} of {plural(len(tried), 'photo')} protected{said}.")
        if good and not independent(panel.names, took_part):
            lines.append(
                "Unconfirmed: all of them took part in making the change; one that did not may still recognise a face. "
                "--held-out keeps some for judging only; the extra `dlib` adds a judge that never takes part."
            )
        lines += [ESTIMATED] * any(outcome.estimated for outcome in good)
    if weak := sum(face.verdict == WEAK for outcome in good for face in outcome.chosen):
        lines.append(f"{plural(weak, 'face')} weak: at a laxer threshold, one of them recognises the person.")
    if left := sum(len(outcome.faces) - len(outcome.chosen) for outcome in good):
        lines.append(f"{plural(left, 'face')} left unprotected, as you chose.")
    if kept := sum(outcome.kept for outcome in outcomes):
        lines.append(f"{plural(kept, 'photo')} skipped: the outputs exist and were not checked.")
    bad = [outcome for outcome in tried if not outcome.good]
    return lines + (_failures(bad) if len(outcomes) > 1 else [])


def _failures(bad: Sequence[PhotoOutcome]) -> list[str]:
    """The photos that are not protected; first those in which somebody has to look for a face."""
    groups: dict[str, list[PhotoOutcome]] = {"to be looked at": [], "failed": []}
    for outcome in bad:
        groups["to be looked at" if outcome.missed and outcome.doubtful else "failed"].append(outcome)
    lines = []
    for what, those in groups.items():
        lines += [f"{plural(len(those), 'photo')} {what}:"] if those else []
        for outcome in those:
            lines.append(f"  {line(outcome)}")
            lines += [f"    {face}" for face in outcome.doubtful]
    return lines


def as_json(outcome: PhotoOutcome, took_part: Sequence[str]) -> dict[str, Any]:
    """An outcome as JSON values."""
    return {
        "photo": str(outcome.photo),
        "status": outcome.status,
        "confirmed": outcome.confirmed,
        "output": None if outcome.output is None else str(outcome.output),
        "problem": outcome.problem or None,
        "notes": list(outcome.notes),
        "faces": [_face_json(face, took_part) for face in outcome.faces],
        "too_small": [_left_json(face, outcome.all_chosen) for face in outcome.too_small],
        "doubtful": [_left_json(face, outcome.all_chosen) for face in outcome.doubtful],
    }


def _face_json(face: Face, took_part: Sequence[str]) -> dict[str, Any]:
    return {
        "number": face.number,
        "box": _box_json(face.box),
        "chosen": face.chosen,
        "verdict": face.verdict if face.chosen else None,
        "mean_change": round(face.mean_change, 3),
        "visible": round(face.visible, 3),
        "known_faces": face.known,
        "answers": [answer_json(answer, answer.recogniser in took_part) for answer in face.answers],
    }


def _left_json(face: SmallFace | DoubtfulFace, chosen: bool) -> dict[str, Any]:
    own = {"eye_distance": round(face.eye_distance, 1)} if isinstance(face, SmallFace) else {"by_hand": face.by_hand}
    return {"box": _box_json(face.box), **own, "chosen": chosen, "reason": face.reason}


def _box_json(box: tuple[float, float, float, float]) -> list[float]:
    return [round(value, 1) for value in box]


def answer_json(answer: Answer, took_part: bool = False) -> dict[str, Any]:
    """An answer as JSON values; None where no face was found."""
    numbers = {"before": answer.before, "after": answer.after, "threshold": answer.threshold, "target": answer.target}
    shown = {name: None if n is None or math.isnan(n) else round(n, 4) for name, n in numbers.items()}
    facts = {"knew_before": answer.knew, "took_part": took_part, "verdict": answer.verdict}
    return {"recogniser": answer.recogniser, **shown, **facts}
