"""Rows of what a recogniser is worth: how well it tells people apart, and the thresholds that follow."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from amtgan_lib import datasets
from amtgan_lib.datasets import FaceSet
from amtgan_lib.evaluation.pictures import Probes, embed, whole_pictures
from amtgan_lib.evaluation.scores import (
    calibrate,
    calibration_interval,
    equal_error_rate,
    false_accepts,
    impostor_scores,
    stored_thresholds,
    verification_scores,
    wilson,
    within,
)
from amtgan_lib.recognizers import FARS, Judge, Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

Facts = str | int | float | None


@functools.cache  # the rows of one process are of one commit, and git is asked once
def provenance() -> dict[str, str]:
    """Commit and device of the rows that this process makes."""
    return {"commit": results.commit(), "device": results.device_name()}


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
            own |= provenance() | facts
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
    descriptors = [judge.descriptors(batch.image, batch.points).cpu().numpy() for batch in batches]
    near, limit = within(*descriptors, judge.spec.distance), judge.spec.distance
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


def false_accept_table(scores: pd.DataFrame) -> pd.DataFrame:
    """The exact FAR of thresholds from -1 to 1 by 0.005: columns recogniser, threshold, far, impostor_pairs.

    scores: of ``pair_scores``, of the people whom the thresholds are calibrated on.
    """
    thresholds, tables = np.linspace(-1, 1, 401).round(6), []
    for name, part in scores[scores["kind"] == "impostor"].groupby("recogniser", sort=False):
        far = false_accepts(part["cosine"].to_numpy(), thresholds)
        columns = {"recogniser": name, "threshold": thresholds, "far": far, "impostor_pairs": len(part)}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def read_thresholds(path: Path, far: float) -> dict[str, float]:
    """{recogniser: threshold} at one FAR from the table that notebook 2 wrote; ValueError where it lacks that FAR."""
    stored = stored_thresholds(path)
    if thresholds := {name: known[far] for name, known in stored.items() if far in known}:
        return thresholds
    there = sorted({rate for known in stored.values() for rate in known})
    raise ValueError(f"no threshold at FAR {far} in {path.name}; there are {there} of {FARS}")


def thresholds_at(far: float, recognizers: Sequence[Recognizer], path: Path) -> dict[str, float]:
    """{recogniser: threshold} at one FAR: published ones are taken as they are, others from the table of notebook 2.

    ValueError where neither has that FAR. The table is not read where all are published.
    """
    published = {recognizer.name: recognizer.thresholds for recognizer in recognizers if recognizer.spec.published}
    if lacking := [name for name, known in published.items() if far not in known]:
        known = list(published[lacking[0]])
        raise ValueError(f"{lacking[0]} has no published threshold at FAR {far}; there are {known}")
    measured = read_thresholds(path, far) if len(published) < len(recognizers) else {}
    return measured | {name: known[far] for name, known in published.items()}


def thresholds_by_rate(recognizers: Sequence[Recognizer], path: Path) -> dict[float, dict[str, float]]:
    """{FAR: {recogniser: threshold}} from where ``thresholds_at`` takes them, of the usual rates that are known.

    Few people have too few pairs of strangers for the strict ones.
    """
    known: dict[str, Mapping[float, float]] = {
        each.name: each.thresholds for each in recognizers if each.spec.published
    }
    if len(known) < len(recognizers):
        known = stored_thresholds(path) | known
    rates = [far for far in FARS if any(far in at for at in known.values())]
    return {far: {name: at[far] for name, at in known.items() if far in at} for far in rates}
