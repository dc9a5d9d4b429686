"""What recognisers say about one face before and after: their cosines against their thresholds, and a word for it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from amtgan_lib.evaluation.pictures import Probes, embed, read_probes, unit_vectors
from amtgan_lib.evaluation.scores import stored_thresholds
from amtgan_lib.faces import FaceCrop, FaceError
from amtgan_lib.images import Photo
from amtgan_lib.recognizers import Known, Recognizer

PROTECTED, WEAK, NO_FACE, NOT_PROTECTED = "protected", "weak", "no face found", "not protected"
VERDICTS = (PROTECTED, WEAK, NO_FACE, NOT_PROTECTED)
"""From good to bad; about the recognisers that were asked, never about others."""
COLOURS = {PROTECTED: "#0072B2", WEAK: "#E69F00", NO_FACE: "#D55E00", NOT_PROTECTED: "#D55E00"}
"""Okabe and Ito's, safe for colour-blind readers."""
SIZE = 256  # pixels of the crop that a recogniser aligns its input from


def verdict(similarity: float, threshold: float, lax: float) -> str:
    """One of VERDICTS for a face's cosine to its owner, and a recogniser's thresholds at a usual and a high FAR.

    NaN: no face was found. Refused at the usual threshold, but accepted at the lax one: weak.
    """
    if math.isnan(similarity):
        return NO_FACE
    if similarity > threshold:
        return NOT_PROTECTED
    return WEAK if similarity > lax else PROTECTED


def worst(verdicts: Iterable[str]) -> str:
    """The worst verdict of several: one recogniser is enough to be found. Of none at all, not protected."""
    return max(verdicts, key=VERDICTS.index, default=NOT_PROTECTED)


@dataclass(frozen=True)
class Answer:
    """What one recogniser says about one face: cosines to the known face of its owner, before and after protection.

    NaN stands for a face that was not found. Above ``threshold`` it says "the same person"; ``lax`` is its lowest
    threshold, that of the highest false accept rate. ``target`` is the cosine to the target. ``known`` is the number of
    faces on known photos that were compared with; 0: the clean face itself, and the thresholds are ``own_photo`` of the
    recogniser.
    """

    recogniser: str
    before: float
    after: float
    threshold: float
    lax: float
    target: float | None = None
    known: int = 0

    @property
    def knew(self) -> bool:
        """Whether it knew the owner before: if not, its not knowing the protected face shows nothing."""
        return self.before > self.threshold

    @property
    def verdict(self) -> str:
        """Of a photo that is to be used: a face that is not found is not known to be protected."""
        said = verdict(self.after, self.threshold, self.lax)
        return NOT_PROTECTED if said == NO_FACE else said


def with_thresholds(recognizers: Sequence[Recognizer], far: float, table: Path | None = None) -> list[Recognizer]:
    """The recognisers, those that ``table`` lists with its thresholds in place of their own.

    table: CSV with the columns recogniser, far, threshold, as notebook 2 writes it. Raises ValueError where a
    recogniser has no threshold at ``far``, or one that no cosine can have.
    """
    judges, stored = [], {} if table is None else stored_thresholds(table)
    for recognizer in recognizers:
        given = stored.get(recognizer.name, {})
        known = given or recognizer.thresholds
        if far not in known:
            where = f"there are {', '.join(f'{other:g}' for other in known)}" if known else f"it is not in {table}"
            raise ValueError(f"{recognizer.name} has no threshold at a false accept rate of {far:g}: {where}")
        if not all(-1 <= threshold <= 1 for threshold in known.values()):  # NaN is caught, too
            raise ValueError(f"{recognizer.name} has a threshold that is no cosine: {known}")
        judges.append(recognizer.with_thresholds(given) if given else recognizer)
    return judges


def same_face(
    crop: FaceCrop,
    clean: Photo,
    protected: Photo | Image.Image,
    recognizers: Sequence[Recognizer],
    far: float,
    target: Mapping[str, Any] | None = None,
    known: Known | None = None,
) -> list[Answer]:
    """Is the protected face still that of the clean photo, or of those ``known`` photos that show the same person?

    Of several the most similar counts. Without any, the known face is the clean one itself, ``before`` is 1, and the
    thresholds are those at which a typical other photo of the owner would match (see ``Recognizer.own_photo``). Both
    faces are cut in the frame in which ``crop`` was found, so a face that a detector loses in the protected photo is
    never to its credit. ``target`` has the unit vector (D,) of another person per recogniser. Raises
    ValueError where a recogniser gives no unit vectors, or none is asked.
    """
    if not recognizers:
        raise ValueError("no recogniser was asked, so nothing is known about the face")
    images, points = zip(*(crop.view(picture, SIZE) for picture in (clean, protected)))
    both = torch.stack(images), torch.stack(points)
    pairs = [unit_vectors(each.embed(*both).cpu().numpy(), each.name) for each in recognizers]
    shown = known and known.showing([torch.from_numpy(before) for before, _ in pairs], recognizers)
    answers = []
    for recognizer, (before, after) in zip(recognizers, pairs):
        faces = shown.embedded(recognizer)[:, 0].cpu().numpy() if shown else before[None]
        near = None if target is None else float(after @ np.asarray(target[recognizer.name]))
        similar = (float((faces @ face).max()) for face in (before, after))
        limits, count = (recognizer.thresholds, len(shown.images)) if shown else (recognizer.own_photo, 0)
        answers.append(Answer(recognizer.name, *similar, limits[far], min(limits.values()), near, count))
    return answers


def compared(
    clean: Path,
    protected: Path | Image.Image,
    known: Probes | None,
    recognizers: Sequence[Recognizer],
    far: float,
) -> list[Answer]:
    """Are the faces of the clean and the protected photo that of the one ``known`` photo?

    None: no other is at hand, and the clean photo itself stands for others (see ``Recognizer.own_photo``).
    In a protected photo of the clean one's size, its face is the one in the same place (see ``read_probes``).
    """
    before = read_probes([clean])
    which, there = ("known", known) if known is not None else ("clean", before)
    if not there.found[0]:
        raise FaceError(f"the {which} photo: no face was found, so there is nothing to compare with")
    both, answers = (before, read_probes([protected], clean=before)), []
    for recognizer in recognizers:
        (person,) = embed(there, recognizer)
        similar = (float(embed(probe, recognizer)[0] @ person) for probe in both)
        limits = recognizer.own_photo if known is None else recognizer.thresholds
        answers.append(Answer(recognizer.name, *similar, limits[far], min(limits.values())))
    return answers
