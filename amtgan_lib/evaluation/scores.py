"""Scores, thresholds, rates and their intervals: numpy in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from amtgan_lib.recognizers import FARS

Z = 1.959964  # standard deviations of a 95 % interval
REPEATS = 1000  # of a bootstrap


def stored_thresholds(table: Path) -> dict[str, dict[float, float]]:
    """{recogniser: {far: cosine}} of a CSV with the columns recogniser, far and threshold, as notebook 2 writes it.

    ValueError in one sentence where there is no such file, or no such table in it.
    """
    if not table.is_file():
        raise ValueError(f"{table}: there is no such file: run notebook 02_recognizers, which writes one")
    try:
        rows = pd.read_csv(table)
    except ValueError as error:  # no text, no table, or empty
        raise ValueError(f"{table} is no table in CSV: {error}") from None
    if missing := [column for column in ("recogniser", "far", "threshold") if column not in rows]:
        raise ValueError(f"{table} has no column {missing[0]}")
    for column, least in (("threshold", -1), ("far", 0)):
        numbers = pd.to_numeric(rows[column], errors="coerce")
        if not numbers.between(least, 1).all():  # beyond them nobody would be recognised, or everybody
            raise ValueError(f"{table}: the column {column} must hold numbers from {least} to 1")
    own = rows.groupby("recogniser", sort=False)
    return {name: dict(zip(part["far"].tolist(), part["threshold"].tolist())) for name, part in own}


def verification_scores(probes: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """Cosines (P, G) of unit vectors (P, D) and (G, D)."""
    if probes.ndim != 2 or gallery.ndim != 2 or probes.shape[1] != gallery.shape[1]:
        raise ValueError(f"expected (P, D) and (G, D), got {probes.shape} and {gallery.shape}")
    return probes @ gallery.T


def within(first: np.ndarray, second: np.ndarray, distance: float) -> np.ndarray:
    """Which pairs (P, G) of vectors (P, D) and (G, D) lie nearer to each other than a Euclidean distance."""
    return np.linalg.norm(first[:, None] - second[None], axis=2) < distance


def impostor_scores(scores: np.ndarray, probe_ids: Sequence[str], gallery_ids: Sequence[str]) -> np.ndarray:
    """The entries of a (P, G) score matrix that compare different people, flat, without NaN."""
    different = np.asarray(probe_ids)[:, None] != np.asarray(gallery_ids)[None]
    values = scores[different]
    return values[~np.isnan(values)]


def calibrate(impostors: np.ndarray, fars: Sequence[float] = FARS) -> dict[float, float]:
    """Thresholds {far: cosine}: the smallest cosine that at most a share ``far`` of the impostor pairs exceeds."""
    if np.isnan(impostors).any():
        raise ValueError("impostor scores hold NaN; leave pairs without a face out (impostor_scores does)")
    if len(impostors) * min(fars) < 1:
        raise ValueError(f"{len(impostors)} impostor pairs cannot resolve a false accept rate of {min(fars)}")
    ordered = np.sort(impostors)[::-1]
    return {far: float(ordered[int(np.floor(far * len(ordered)))]) for far in fars}


def false_accepts(impostors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of impostor pairs that exceed each threshold: the FAR that it would have."""
    if np.isnan(impostors).any():
        raise ValueError("impostor scores hold NaN; leave pairs without a face out (impostor_scores does)")
    return 1 - np.searchsorted(np.sort(impostors), thresholds, "right") / len(impostors)


def calibration_interval(scores: np.ndarray, far: float, repeats: int = 200) -> tuple[float, float]:
    """95 % bootstrap interval of a threshold, resampling people (pairs that share a person are not independent).

    ``scores`` (P, P): the same people in the same order on both sides; the diagonal is left out.
    """
    draw, thresholds = np.random.default_rng(0), []
    for _ in range(repeats):
        people = draw.integers(0, len(scores), len(scores))
        pairs = scores[np.ix_(people, people)][people[:, None] != people[None]]
        thresholds.append(np.nanquantile(pairs, 1 - far))
    low, high = np.quantile(thresholds, (0.025, 0.975))
    return float(low), float(high)


def equal_error_rate(genuine: np.ndarray, impostors: np.ndarray) -> float:
    """The error rate at the threshold where false accepts and false rejects are equally frequent."""
    thresholds = np.unique(np.concatenate([genuine, impostors]))
    rejects = np.searchsorted(np.sort(genuine), thresholds, "left") / len(genuine)
    accepts = 1 - np.searchsorted(np.sort(impostors), thresholds, "left") / len(impostors)
    best = np.argmin(np.abs(rejects - accepts))
    return float((rejects[best] + accepts[best]) / 2)


def attack_success(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Which probes are accepted: cosine above the threshold; NaN (no face) is not accepted."""
    return np.nan_to_num(scores, nan=-2.0) > threshold


def hidden(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Which probes are refused as their owner: cosine at most the threshold; NaN (no face) does not count."""
    return np.nan_to_num(scores, nan=2.0) <= threshold


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), sensible at 0 and 1 too."""
    if n == 0:
        return float("nan"), float("nan")
    share, spread = successes / n, Z * Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z * np.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Bootstrap 95 % interval of a mean, NaN left out."""
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    draw = np.random.default_rng(0)
    means = values[draw.integers(0, len(values), (REPEATS, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def area_under_curve(negatives: np.ndarray, positives: np.ndarray) -> float:
    """Area under the ROC curve: the share of pairs in which the positive scores higher, ties half (Mann-Whitney U)."""
    difference = positives[:, None] - negatives[None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def area_interval(negatives: np.ndarray, positives: np.ndarray) -> tuple[float, float]:
    """Bootstrap 95 % interval of the area, resampling people: each gave one score (P,) of either kind."""
    draw = np.random.default_rng(0)
    people = draw.integers(0, len(negatives), (REPEATS, len(negatives)))
    areas = [area_under_curve(negatives[chosen], positives[chosen]) for chosen in people]
    return float(np.quantile(areas, 0.025)), float(np.quantile(areas, 0.975))


# ---------------------------------------------------------------- one method on one recogniser


@dataclass(frozen=True)
class Gallery:
    """What a recogniser knows: other photos of the probes' owners and of other people, and of the target."""

    vectors: np.ndarray  # (G, D)
    owner: np.ndarray  # (P,) column of each probe's owner
    target: np.ndarray  # (D,), or (P, D) for a target each: photos of targets that training never saw


def success_scores(probes: np.ndarray, gallery: Gallery) -> pd.DataFrame:
    """Raw scores of every probe: cosine to the target, to its owner's other photo, and its owner's rank (1 best)."""
    scores = verification_scores(probes, gallery.vectors)
    own = np.take_along_axis(scores, gallery.owner[:, None], axis=1)[:, 0]
    rank = (scores > own[:, None]).sum(axis=1) + 1.0
    rank[np.isnan(own)] = 1.0  # no face found: not to the method's credit
    return pd.DataFrame({"target": (probes * gallery.target).sum(axis=1), "owner": own, "owner_rank": rank})


def success_rates(scores: pd.DataFrame, threshold: float) -> dict[str, np.ndarray]:
    """Which probes count, per metric of the table: impersonation and dodging at the threshold, rank-1, rank-5."""
    return {
        "impersonation": attack_success(scores["target"].to_numpy(), threshold),
        "dodging": hidden(scores["owner"].to_numpy(), threshold),
        "rank-1": scores["owner_rank"].to_numpy() <= 1,
        "rank-5": scores["owner_rank"].to_numpy() <= 5,
    }
