"""Rows of the tables: what a recogniser is worth, and what a method does to it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amtgan_lib import datasets, faces
from amtgan_lib.datasets import FaceSet
from amtgan_lib.evaluation.pictures import (
    Probes,
    embed,
    face_flip,
    makeup_distance,
    quality,
    read_probes,
    truth_error,
    whole_pictures,
)
from amtgan_lib.evaluation.scores import (
    FARS,
    Gallery,
    calibrate,
    calibration_interval,
    equal_error_rate,
    false_accepts,
    impostor_scores,
    mean_interval,
    stored_thresholds,
    success_rates,
    success_scores,
    verification_scores,
    wilson,
    within,
)
from amtgan_lib.recognizers import Judge, Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

Facts = str | int | float | None
Crop = Callable[[str, int], faces.FaceCrop]
SIZE = 256  # of crops on which pictures are compared


# ---------------------------------------------------------------- recognisers


def two_photos(face_set: FaceSet) -> tuple[FaceSet, FaceSet]:
    """The people of a set who have both a source and another photo, in the same order on both sides."""
    parts = [face_set.where(part=part) for part in ("source", "other")]
    both = sorted(set(parts[0].manifest["person"]) & set(parts[1].manifest["person"]))
    orders = [[part.manifest["person"].tolist().index(person) for person in both] for part in parts]
    first, second = (part.rows(np.array(order, int)) for part, order in zip(parts, orders))
    return first, second


def vectors(face_set: FaceSet, recognizer: Recognizer, aligned: bool = True) -> np.ndarray:
    """Unit vectors (P, D) of a set's faces; unaligned, of the whole photos (a quirk)."""
    if not aligned:
        return embed(whole_pictures(map(datasets.file_of, face_set.manifest["asset"])), recognizer, aligned=False)
    batch = face_set.batch()
    return embed(Probes(batch.image, batch.points, np.ones(len(batch), bool)), recognizer)


def recognition_table(face_set: FaceSet, recognizers: Sequence[Recognizer], **facts: Facts) -> pd.DataFrame:
    """EER, rank-1 and mean cosines of every recogniser on the world's sets, aligned and (people's set) unaligned.

    Beside them, of aligned faces, what a judge says by a rule of its own.
    """
    rows, world = [], datasets.world_of(face_set.manifest)
    for name, aligned in (*((name, True) for name in world.tests), (world.people, False)):
        pair = two_photos(face_set.where(set=name))
        for recognizer in recognizers:
            scores = verification_scores(*(vectors(side, recognizer, aligned) for side in pair))
            dataset = name if aligned else f"{name} unaligned"
            own = {"dataset": dataset, "recogniser": recognizer.name, "weights_sha256": recognizer.weights_sha256}
            own |= _provenance() | facts
            rows += recognition_rows(scores, **own)
            rows += own_rule_rows(pair, recognizer, **own) if aligned and isinstance(recognizer, Judge) else []
    return results.frame(rows)


def recognition_rows(scores: np.ndarray, **facts: Facts) -> list[Row]:
    """Rows of one recogniser from the (P, P) cosines of P people's two photos."""
    genuine, impostors = np.diag(scores), scores[~np.eye(len(scores), dtype=bool)]
    first = (scores > genuine[:, None]).sum(axis=1) < 1
    low, high = wilson(int(first.sum()), len(first))
    n = len(genuine)
    return [
        Row(metric="eer", value=equal_error_rate(genuine, impostors), n=n, far=None, **facts),
        Row(metric="rank-1", value=float(first.mean()), n=n, far=None, ci_low=low, ci_high=high, **facts),
        Row(metric="same person", value=float(genuine.mean()), n=n, far=None, **facts),
        Row(metric="different people", value=float(impostors.mean()), n=impostors.size, far=None, **facts),
    ]


def own_rule_rows(pair: tuple[FaceSet, FaceSet], judge: Judge, **facts: Facts) -> list[Row]:
    """The shares of P people's pairs of photos, and of all pairs of two people, that a judge takes for one person.

    By its own rule: the distance of its descriptors, which are not normalised.
    """
    batches = [side.batch() for side in pair]
    found = [judge.descriptors(batch.image, batch.points).cpu().numpy() for batch in batches]
    near, limit = within(*found, judge.spec.distance), judge.spec.distance
    kinds = {"same person": np.diag(near), "different people": near[~np.eye(len(near), dtype=bool)]}
    return [
        Row(metric=f"{kind}, nearer than {limit:g}", value=float(pairs.mean()), n=pairs.size, far=None, **facts)
        for kind, pairs in kinds.items()
    ]


def calibration_table(face_set: FaceSet, recognizers: Sequence[Recognizer], repeats: int = 200) -> pd.DataFrame:
    """Thresholds of every recogniser from the impostor pairs of a set's people, with intervals.

    A FAR that the pairs cannot resolve (fewer than 1 / FAR of them) gets no row.
    """
    pair, rows = two_photos(face_set), []
    people = pair[0].manifest["person"].tolist()
    for recognizer in recognizers:
        scores = verification_scores(*(vectors(side, recognizer) for side in pair))
        impostors = impostor_scores(scores, people, people)
        resolved = [far for far in FARS if far * len(impostors) >= 1]
        for far, threshold in calibrate(impostors, resolved).items():
            low, high = calibration_interval(scores, far, repeats)
            own = {"threshold": threshold, "ci_low": low, "ci_high": high}
            counts = {"people": len(people), "impostor_pairs": len(impostors)}
            rows.append({"recogniser": recognizer.name, "far": far, **own, **counts})
    return pd.DataFrame(rows)


def pair_scores(face_set: FaceSet, recognizers: Sequence[Recognizer]) -> pd.DataFrame:
    """Cosines of same and different people (columns recogniser, kind, cosine) for a picture of the distributions."""
    pair, tables = two_photos(face_set), []
    for recognizer in recognizers:
        scores = verification_scores(*(vectors(side, recognizer) for side in pair))
        kinds = {"genuine": np.diag(scores), "impostor": scores[~np.eye(len(scores), dtype=bool)]}
        tables += [pd.DataFrame({"recogniser": recognizer.name, "kind": k, "cosine": v}) for k, v in kinds.items()]
    return pd.concat(tables, ignore_index=True)


def false_accept_table(scores: pd.DataFrame, step: float = 0.005) -> pd.DataFrame:
    """The FAR of every threshold from -1 to 1, exact at each step: columns recogniser, threshold, far, impostor_pairs.

    scores: of ``pair_scores``, of the people whom the thresholds are calibrated on.
    """
    thresholds, tables = np.linspace(-1, 1, round(2 / step) + 1).round(6), []
    for name, part in scores[scores["kind"] == "impostor"].groupby("recogniser", sort=False):
        far = false_accepts(part["cosine"].to_numpy(), thresholds)
        columns = {"recogniser": name, "threshold": thresholds, "far": far, "impostor_pairs": len(part)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def read_thresholds(path: Path, far: float) -> dict[str, float]:
    """{recogniser: threshold} at one FAR from the table that notebook 2 wrote; ValueError where it lacks that FAR."""
    stored = stored_thresholds(path)
    if found := {name: known[far] for name, known in stored.items() if far in known}:
        return found
    there = sorted({each for known in stored.values() for each in known})
    raise ValueError(f"no threshold at FAR {far} in {path.name}; there are {there} of {FARS}")


def thresholds_at(far: float, recognizers: Sequence[Recognizer], path: Path) -> dict[str, float]:
    """{recogniser: threshold} at one FAR: published ones are taken as they are, others from the table of notebook 2.

    ValueError where neither has that FAR. The table is not read where all are published.
    """
    published = {each.name: each.thresholds for each in recognizers if each.spec.published}
    if lacking := [name for name, known in published.items() if far not in known]:
        raise ValueError(
            f"{lacking[0]} has no published threshold at FAR {far}; there are {list(published[lacking[0]])}"
        )
    measured = read_thresholds(path, far) if len(published) < len(recognizers) else {}
    return measured | {name: known[far] for name, known in published.items()}


# ---------------------------------------------------------------- methods


@dataclass(frozen=True)
class Judgement:
    """Who judges whom: the people whose photos were protected, the target, thresholds, and who was held out."""

    face_set: FaceSet
    target: str
    people: Sequence[str]
    thresholds: Mapping[str, float]
    far: float
    held_out: Sequence[str]

    def gallery(self, recognizer: Recognizer) -> Gallery:
        """The other photo of every person of the world at hand, and the target's photo for the metric."""
        people = datasets.world_of(self.face_set.manifest).people
        others = self.face_set.where(set=people, part="other")
        known = others.manifest["person"].tolist()
        target = datasets.target_photo(self.face_set, self.target)
        owner = np.array([known.index(person) for person in self.people])
        return Gallery(vectors(others, recognizer), owner, vectors(target, recognizer)[0])

    def table(
        self, probes: Mapping[str, Probes], recognizers: Sequence[Recognizer], **facts: Facts
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Result rows of every method on every recogniser, and the raw scores behind them.

        Raises ValueError for a recogniser without a threshold.
        """
        rows, raw = [], []
        if lacking := [each.name for each in recognizers if each.name not in self.thresholds]:
            raise ValueError(f"{lacking[0]} has no threshold at FAR {self.far}: run notebook 02_recognizers again")
        for recognizer in recognizers:
            gallery, threshold = self.gallery(recognizer), self.thresholds[recognizer.name]
            note = "held out" if recognizer.name in self.held_out else "trained against"
            own = {"recogniser": recognizer.name, "weights_sha256": recognizer.weights_sha256, "note": note}
            for method, found in probes.items():
                scores = success_scores(embed(found, recognizer), gallery)
                rows += success_rows(scores, threshold, self.far, method=method, **own, **_provenance(), **facts)
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


def probes_by_method(
    reports: Mapping[str, pd.DataFrame], progress: Callable = iter, size: int = 256
) -> dict[str, Probes]:
    """The faces of the clean photos and of every method's files, as crops of the gallery's ``size``.

    reports: of ``experiments.protect_pairs``, with the column source (the whole clean photo). A photo that a method
    failed to protect is scored as it would be published: clean.
    """
    photos = next(iter(reports.values()))["source"].tolist()
    for method, report in reports.items():
        if report["source"].tolist() != photos:
            raise ValueError(f"the report of {method} lists other photos than the first: protect the same pairs again")
    clean = read_probes(progress(photos), size)
    probes = {"clean": clean}
    for method, report in reports.items():
        files = [row.protected or row.source for row in report.itertuples()]
        probes[method] = read_probes(progress(files), size, clean)
    return probes


def similarities(
    photos: Mapping[str, Path | str], known: Path | str | Probes, recognizers: Sequence[Recognizer], far: float = 0.01
) -> pd.DataFrame:
    """How similar each photo is to a known photo of the same person: one row a recogniser, one column a photo.

    ``photos`` are a clean photo and then what was made of it: in those of its size, its face is the one in the same
    place (see ``read_probes``). ``known`` is a file, or one that ``read_probes`` has read (for many photos).
    Columns besides: recogniser, threshold (its own, at ``far``), and ``<photo> recognised``; a photo without a face has
    NaN, and is not called unrecognised. Raises ValueError for a recogniser without a threshold at ``far``.
    """
    owner = known if isinstance(known, Probes) else read_probes([known])
    if not owner.found[0]:
        named = "the known photo" if isinstance(known, Probes) else known
        raise faces.FaceError(f"{named}: no face was found, so there is nothing to compare with")
    clean, *others = photos.values()
    first = read_probes([clean])
    probes, rows = [first, *(read_probes([other], clean=first) for other in others)], []
    for recognizer in recognizers:
        if far not in recognizer.thresholds:
            raise ValueError(
                f"{recognizer.name} has no threshold at FAR {far}; calibrate it by notebook 02_recognizers"
            )
        (person,) = embed(owner, recognizer)
        cosines = {name: float(embed(each, recognizer)[0] @ person) for name, each in zip(photos, probes)}
        threshold = recognizer.thresholds[far]
        verdicts = {f"{name} recognised": not cosine <= threshold for name, cosine in cosines.items()}
        rows.append({"recogniser": recognizer.name, **cosines, "threshold": threshold, **verdicts})
    return pd.DataFrame(rows)


def quality_table(reports: Mapping[str, pd.DataFrame], crop: Crop | None = None, **facts: Facts) -> pd.DataFrame:
    """What ``quality`` measures, per method, with bootstrap intervals; ``picture_table`` adds where the makeup went.

    With ``crop``, which finds a file's largest face, also flip, of the face crops (see ``face_flip``).
    """
    rows, crop = [], crop and functools.cache(crop)
    for method, report in reports.items():
        done = report[report["protected"] != ""].itertuples()
        values = pd.DataFrame([_quality(row, crop and _clean_face(row, crop)) for row in done])
        rows += mean_rows(values, method=method, recogniser="", **_provenance(), **facts)
    return results.frame(rows)


def picture_table(
    reports: Mapping[str, pd.DataFrame],
    progress: Callable = iter,
    crop: Crop | None = None,
    **facts: Facts,
) -> pd.DataFrame:
    """``quality``, flip, and the colour distances to the reference before and after, with bootstrap intervals.

    ``crop`` finds a file's largest face: ``datasets.parsed_crops`` knows the parse maps that come with some photos.
    """
    # The methods protected the same photos: each clean face is looked for once.
    rows, crop = [], functools.cache(crop or faces.detect_one)
    for method, report in reports.items():
        values = picture_values(report[report["protected"] != ""], progress, crop)
        rows += mean_rows(values, method=method, recogniser="", **_provenance(), **facts)
    return results.frame(rows)


def picture_values(report: pd.DataFrame, progress: Callable = iter, crop: Crop | None = None) -> pd.DataFrame:
    """Per protected photo: ``quality``, ``face_flip``, and per region the colour distance to the reference.

    report: columns clean and protected (files in one framing), and reference; where truth names a file, the error to
    the true makeup transfer is added. Distance and error are those before and after.
    """
    crop = crop or faces.detect_one
    makeup = {file: crop(file, SIZE) for file in report["reference"].unique()}
    values = []
    for row in progress(list(report.itertuples())):
        at = _clean_face(row, crop)
        values.append(_quality(row, at) | (_makeup_values(row, at, makeup[row.reference]) if at else {}))
    return pd.DataFrame(values)


def _clean_face(row: Any, crop: Crop) -> faces.FaceCrop | None:
    """The clean file's face; None where none is found: its regions cannot be placed, and their cells stay empty."""
    with contextlib.suppress(faces.FaceError):
        return crop(row.clean, SIZE)
    return None


def _quality(row: Any, at: faces.FaceCrop | None) -> dict[str, float]:
    return quality(row.clean, row.protected) | ({"flip": face_flip(at, row.protected)} if at else {})


def _makeup_values(row: Any, at: faces.FaceCrop, makeup: faces.FaceCrop) -> dict[str, float]:
    numbers = {}
    for moment, file in (("before", row.clean), ("after", row.protected)):
        distances = makeup_distance(file, at, makeup)
        numbers |= {f"{region} {moment}": distance for region, distance in distances.items()}
        if getattr(row, "truth", ""):
            errors = truth_error(file, row.truth, at)
            numbers |= {f"{region} error {moment}": error for region, error in errors.items()}
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


@functools.cache  # the rows of one process are of one commit, and git is asked once
def _provenance() -> dict[str, str]:
    return {"commit": results.commit(), "device": results.device_name()}
