"""Rows of the tables: what a method does to recognisers and to pictures."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from amtgan_lib import datasets, faces
from amtgan_lib.compute import side_by_side
from amtgan_lib.datasets import FaceSet, Progress
from amtgan_lib.evaluation.pictures import (
    Picture,
    Probes,
    embed,
    face_distance,
    face_flip,
    framed,
    makeup_distance,
    quality,
    read_probes,
    skin_change,
    truth_error,
)
from amtgan_lib.evaluation.recognition import Facts, provenance, vectors
from amtgan_lib.evaluation.scores import Gallery, mean_interval, success_rates, success_scores, wilson
from amtgan_lib.losses import Perceptual
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

Crop = Callable[[Any, int], faces.FaceCrop]
SIZE = 256  # of crops on which pictures are compared


@dataclass(frozen=True)
class Judgement:
    """Who judges whom: the owners of the protected photos, the target (or one a photo), thresholds, who is held out."""

    face_set: FaceSet
    target: str | Sequence[str]
    people: Sequence[str]
    thresholds: Mapping[str, float]
    far: float
    held_out: Sequence[str]

    def gallery(self, recognizer: Recognizer) -> Gallery:
        """The other photo of every person of the world at hand, and the target's photo for the metric."""
        if recognizer.name not in self._galleries:
            self._galleries[recognizer.name] = self._gallery(recognizer)
        return self._galleries[recognizer.name]

    @functools.cached_property
    def _galleries(self) -> dict[str, Gallery]:
        return {}

    def _gallery(self, recognizer: Recognizer) -> Gallery:
        people = datasets.world_of(self.face_set.manifest).people
        others = self.face_set.where(set=people, part="other")
        known = others.manifest["person"].tolist()
        owner = np.array([known.index(person) for person in self.people])
        named = [self.target] if isinstance(self.target, str) else list(self.target)
        seen = {name: vectors(datasets.target_photo(self.face_set, name), recognizer)[0] for name in set(named)}
        target = seen[self.target] if isinstance(self.target, str) else np.stack([seen[name] for name in named])
        return Gallery(vectors(others, recognizer), owner, target)

    def table(
        self, probes: Mapping[str, Probes], recognizers: Sequence[Recognizer], **facts: Facts
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Result rows of every method on every recogniser, and the raw scores behind them.

        Raises ValueError for a recogniser without a threshold.
        """
        rows, raw = [], []
        if lacking := [recognizer.name for recognizer in recognizers if recognizer.name not in self.thresholds]:
            raise ValueError(f"{lacking[0]} has no threshold at FAR {self.far}: run notebook 02_recognizers again")
        for recognizer in recognizers:
            gallery, threshold = self.gallery(recognizer), self.thresholds[recognizer.name]
            note = "held out" if recognizer.name in self.held_out else "trained against"
            own = {"recogniser": recognizer.name, "weights_sha256": recognizer.weights_sha256, "note": note}
            for method, protected in probes.items():
                scores = success_scores(embed(protected, recognizer), gallery)
                rows += success_rows(scores, threshold, self.far, method=method, **own, **provenance(), **facts)
                raw.append(scores.assign(method=method, recogniser=recognizer.name, person=list(self.people)))
        return results.frame(rows), pd.concat(raw, ignore_index=True)


def success_rows(scores: pd.DataFrame, threshold: float, far: float, **facts: Facts) -> list[Row]:
    """Impersonation, dodging, rank-1 and rank-5 of one method on one recogniser, with n and Wilson intervals."""
    rows = []
    for metric, counted in success_rates(scores, threshold).items():
        low, high = wilson(int(counted.sum()), len(counted))
        value = float(counted.mean())
        rows.append(Row(metric=metric, value=value, n=len(counted), far=far, ci_low=low, ci_high=high, **facts))
    return rows


def rates_at(
    scores: pd.DataFrame,
    judges: Sequence[Recognizer],
    thresholds: Mapping[float, Mapping[str, float]],
    **facts: Facts,
) -> pd.DataFrame:
    """Result rows of raw scores (see ``Judgement.table``) at several false accept rates, of the judges held out.

    thresholds: of ``thresholds_by_rate``; a judge is left out of the rates at which it has none.
    """
    rows = []
    for far, judge in itertools.product(thresholds, judges):
        own = {"recogniser": judge.name, "weights_sha256": judge.weights_sha256, "note": "held out"}
        of_judge = scores[scores["recogniser"] == judge.name]
        for method, part in of_judge.groupby("method", sort=False) if judge.name in thresholds[far] else ():
            facts_of = {"method": method, **own, **provenance(), **facts}
            rows += success_rows(part, thresholds[far][judge.name], far, **facts_of)
    return results.frame(rows)


def probes_by_method(reports: Mapping[str, pd.DataFrame], size: int, progress: Progress = iter) -> dict[str, Probes]:
    """The faces of the clean photos and of every method's files, as crops of the gallery's ``size``.

    reports: of ``experiments.protect_pairs``, with the column source (the whole clean photo). A photo that a method
    failed to protect is scored as it would be published: clean.
    """
    photos = next(iter(reports.values()))["source"].tolist()
    for method, report in reports.items():
        if report["source"].tolist() != photos:
            raise ValueError(f"the report of {method} lists other photos than the first: protect the same pairs again")
    clean = read_probes(photos, size, None, progress)
    probes = {"clean": clean}
    for method, report in reports.items():
        files = [row.protected or row.source for row in report.itertuples()]
        probes[method] = read_probes(files, size, clean, progress)
    return probes


def quality_table(
    reports: Mapping[str, pd.DataFrame], crop: Crop | None = None, perceptual: Perceptual | None = None, **facts: Facts
) -> pd.DataFrame:
    """What ``quality`` measures, per method, with bootstrap intervals; ``picture_table`` adds where the makeup went.

    With ``crop``, which finds a file's largest face, also flip, of the face crops (see ``face_flip``), and the change
    of bare skin (``skin_change``), and with a ``perceptual`` distance that one, under its own name (``face_distance``).
    """
    crop = crop and functools.cache(crop)
    return _means(reports, iter, crop, lambda row, at, after: _quality(row, at, after, perceptual), **facts)


def picture_table(
    reports: Mapping[str, pd.DataFrame],
    progress: Progress = iter,
    crop: Crop | None = None,
    perceptual: Perceptual | None = None,
    **facts: Facts,
) -> pd.DataFrame:
    """What ``quality_table`` has, and the colour distances to the reference before and after, with bootstrap intervals.

    reports: with the column reference; where truth names a file, the error to the true makeup transfer is added.
    ``crop`` finds a file's largest face: ``datasets.parsed_crops`` knows the parse maps that come with some photos.
    """
    # The methods protected the same photos: each clean face is looked for once, and its makeup measured once.
    crop = functools.cache(crop or faces.detect_one)
    true = functools.cache(lambda clean, truth: framed(crop(clean, SIZE), truth))

    def worn(clean: str, reference: str, truth: str, picture: Picture) -> dict[str, float]:
        at = crop(clean, SIZE)
        numbers = makeup_distance(picture, at, crop(reference, SIZE))
        errors = truth_error(picture, true(clean, truth), at) if truth else {}
        return numbers | {f"{region} error": error for region, error in errors.items()}

    before = functools.cache(worn)

    def values(row: Any, at: faces.FaceCrop | None, after: Tensor | None) -> dict[str, float]:
        numbers = _quality(row, at, after, perceptual)
        if after is not None:
            others = row.clean, row.reference, getattr(row, "truth", "")
            for moment, found in (("before", before(*others, row.clean)), ("after", worn(*others, after))):
                numbers |= {f"{name} {moment}": value for name, value in found.items()}
        return numbers

    return _means(reports, progress, crop, values, **facts)


def _means(
    reports: Mapping[str, pd.DataFrame],
    progress: Progress,
    crop: Crop | None,
    values: Callable[..., dict[str, float]],
    **facts: Facts,
) -> pd.DataFrame:
    """Rows of the mean ``values`` of each protected photo, the clean face and its frame (both None without ``crop``).

    FLIP's library uses all cores for one picture and lets no other thread run meanwhile: its turn comes afterwards.
    """
    rows = []
    for method, report in reports.items():
        done = list(report[report["protected"] != ""].itertuples())

        def of_one(row: Any) -> tuple[faces.FaceCrop | None, Tensor | None, dict[str, float]]:
            at = crop and clean_face(row.clean, crop)
            after = framed(at, row.protected) if at else None
            return at, after, values(row, at, after)

        measured = side_by_side(of_one, done, progress)
        for at, after, numbers in progress(measured):
            if at:
                numbers["flip"] = face_flip(at, after)
        table = pd.DataFrame([numbers for *_, numbers in measured])
        rows += mean_rows(table, method=method, recogniser="", **provenance(), **facts)
    return results.frame(rows)


def clean_face(file: str, crop: Crop) -> faces.FaceCrop | None:
    """The clean file's face; None where none is found: its regions cannot be placed, and their cells stay empty."""
    with contextlib.suppress(faces.FaceError):
        return crop(file, SIZE)
    return None


def _quality(
    row: Any, at: faces.FaceCrop | None, after: Tensor | None, perceptual: Perceptual | None
) -> dict[str, float]:
    numbers = quality(row.clean, row.protected)
    if at:
        numbers |= {"flip": np.nan, **skin_change(at, after)}  # flip has its place among the columns
        if perceptual is not None:
            numbers[perceptual.name] = face_distance(at, after, perceptual)
    return numbers


def mean_rows(values: pd.DataFrame, **facts: Facts) -> list[Row]:
    """Means of per-photo values (one column a metric) with bootstrap intervals.

    One unchanged photo has an infinite PSNR, which would be the mean: it is left out, which is never to the method's
    credit, and n says how many photos are in. Where every photo is unchanged the mean is infinite.
    """
    rows = []
    for metric, column in values.items():
        known = column.dropna().to_numpy(float)
        if not len(known):
            continue
        known = known[np.isfinite(known)] if np.isfinite(known).any() else known
        low, high = mean_interval(known) if np.isfinite(known).all() else (None, None)
        own = {"value": float(known.mean()), "n": len(known), "ci_low": low, "ci_high": high}
        rows.append(Row(metric=str(metric), far=None, **own, **facts))
    return rows
