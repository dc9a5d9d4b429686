"""What a run stored, at any threshold: rates, curves, photos ranked by their margin. No model, no widget."""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from amtgan_lib import datasets, evaluation, paths
from amtgan_lib.reporting import results

RUN_FILES = ("05_scores.csv", "05_black_box_success.csv", "02_thresholds.csv", "02_false_accepts.csv")
MEASURED_FILES = ("scores-procedural.csv", "procedural.csv", "thresholds-drawn.csv", "false-accepts-drawn.csv")
MEASURED = "results/measured"
GRID = np.linspace(-0.4, 1, 281)


class NoScores(Exception):
    """A run that was asked for holds no scores to explore."""


@dataclass(frozen=True)
class Stored:
    """What a run stored. The rates are at the run's own FAR; everything else is worked out from raw scores.

    scores: columns target, owner (cosines; NaN where no face was found), owner_rank, method, recogniser, person.
    rates: result rows. thresholds: columns recogniser, far, threshold. false_accepts: columns recogniser, threshold,
    far, impostor_pairs. run: the folder whose pictures are shown, or None where only the scores are at hand.
    """

    name: str
    scores: pd.DataFrame
    rates: pd.DataFrame
    thresholds: pd.DataFrame
    false_accepts: pd.DataFrame
    run: Path | None

    @property
    def methods(self) -> list[str]:
        """Every method, the clean photos first."""
        return list(dict.fromkeys(self.scores["method"]))

    @property
    def recognisers(self) -> dict[str, str]:
        """{name: "held out" | "trained against"}, those that took no part first."""
        notes = self.rates.drop_duplicates("recogniser").set_index("recogniser")["note"]
        return dict(sorted(notes.items(), key=lambda item: item[1] != "held out"))

    @property
    def far(self) -> float:
        """The false accept rate at which the run's own tables stand."""
        return float(self.rates["far"].dropna().iloc[0])

    @property
    def title(self) -> str:
        """What these numbers are about, with where they come from: "procedural, drawn test, 63 photos ..."."""
        first, photos = self.rates.iloc[0], self.scores["person"].nunique()
        where = f"{first['preset']}, {first['dataset']}, {photos} photos, target {first['target']}"
        return f"{where}; commit {first['commit']}, from {self.name}"

    def marks(self, recogniser: str) -> dict[float, float]:
        """{far: threshold} of a recogniser, as it was calibrated on people who are not in the test."""
        mine = self.thresholds[self.thresholds["recogniser"] == recogniser]
        return dict(zip(mine["far"].astype(float), mine["threshold"].astype(float)))

    def false_accept_rate(self, recogniser: str, threshold: float) -> float:
        """The share of pairs of different people that exceed a threshold (between two stored steps, on the line)."""
        curve = self.false_accepts[self.false_accepts["recogniser"] == recogniser]
        return float(np.interp(threshold, curve["threshold"], curve["far"]))

    def of(self, recogniser: str) -> pd.DataFrame:
        """The raw scores on one recogniser."""
        return self.scores[self.scores["recogniser"] == recogniser]

    def rates_at(self, recogniser: str, threshold: float) -> pd.DataFrame:
        """Columns method, metric, value, ci_low, ci_high, n: shares with Wilson intervals at a threshold."""
        rows = []
        for method, part in self.of(recogniser).groupby("method", sort=False):
            for metric, counted in evaluation.success_rates(part, threshold).items():
                low, high = evaluation.wilson(int(counted.sum()), len(counted))
                numbers = {"value": float(counted.mean()), "ci_low": low, "ci_high": high, "n": len(counted)}
                rows.append({"method": method, "metric": metric, **numbers})
        return pd.DataFrame(rows)

    def curves(self, recogniser: str) -> pd.DataFrame:
        """Columns method, threshold, impersonation, dodging: the shares at every threshold of ``GRID``."""
        parts = []
        for method, part in self.of(recogniser).groupby("method", sort=False):
            target, owner = (part[column].to_numpy()[:, None] for column in ("target", "owner"))
            shares = {
                "impersonation": evaluation.attack_success(target, GRID).mean(axis=0),
                "dodging": evaluation.hidden(owner, GRID).mean(axis=0),
            }
            parts.append(pd.DataFrame({"method": method, "threshold": GRID, **shares}))
        return pd.concat(parts, ignore_index=True)

    def ranked(self, method: str, recogniser: str, question: str, threshold: float) -> pd.DataFrame:
        """Photos of a method, the best first: columns person, before (clean), after, margin.

        The margin is how far the cosine lies on the good side of the threshold: above it for impersonation, below it
        for dodging. A photo in which no face was found has none, and comes last: it is not to the method's credit.
        """
        column, sign = ("target", 1) if question == "impersonation" else ("owner", -1)
        wide = self.of(recogniser).pivot(index="person", columns="method", values=column)
        table = pd.DataFrame({"before": wide["clean"], "after": wide[method]})
        table["margin"] = sign * (table["after"] - threshold)
        return table.sort_values("margin", ascending=False, na_position="last").reset_index()

    @functools.cached_property
    def files(self) -> dict[tuple[str, str], Path]:
        """{(method, person): picture} of the run, where the file is there."""
        pictures: dict[tuple[str, str], Path] = {}
        for report in sorted(self.run.glob("protected/*/reports.csv")) if self.run else ():
            for row in results.read_reports(report).itertuples():
                # By the name beside the report: the run's folder may have been moved.
                pictures[report.parent.name, row.person] = report.parent / row.probe
                pictures.setdefault(("clean", row.person), Path(row.source))
        return {key: file for key, file in pictures.items() if file.is_file()}

    def pictures(self, people: Collection[str]) -> dict[tuple[str, str], Path]:
        """The files of these people. Without a run: the clean photos of drawn people, which come with the package."""
        if self.run:
            return {key: file for key, file in self.files.items() if key[1] in people}
        photos = {person: photo for person, photo in _drawn_photos().items() if person in people}
        pictures = datasets.shown.files(list(photos.values()), exact=False)
        return {("clean", person): pictures[photo] for person, photo in photos.items()}


@functools.cache
def _drawn_photos() -> dict[str, str]:
    """{person: asset of the photo that is judged} of the drawn test."""
    pairs = datasets.test_pairs(datasets.manifest_of("drawn"))
    return dict(zip(pairs["person"], pairs["source"]))


def at_hand() -> dict[str, Path | None]:
    """{name: folder} of every run with scores, the newest first; ``results/measured`` (None) is always there."""
    folders = [folder for folder in paths.RUNS.glob("*") if not folder.is_symlink() and _complete(folder)]
    folders.sort(key=lambda folder: (folder / "tables" / RUN_FILES[0]).stat().st_mtime, reverse=True)
    return {**{folder.name: folder for folder in folders}, MEASURED: None}


def _complete(folder: Path) -> bool:
    return all((folder / "tables" / name).is_file() for name in RUN_FILES)


def read(name: str = "") -> Stored:
    """The scores of a run, by its name in results/runs or the path of its folder; "" is the newest, or those measured.

    Raises NoScores where a run that was named has none.
    """
    known = at_hand()
    if name not in known and _complete(Path(name)):
        known = {name: Path(name), **known}
    name = name or next(iter(known))
    if name not in known:
        raise NoScores(f"The run {name!r} holds no scores (notebooks 2 to 5 write them): there are {', '.join(known)}.")
    run = known[name]
    folder, files = (paths.MEASURED, MEASURED_FILES) if run is None else (run / "tables", RUN_FILES)
    scores, rates, *others = (folder / file for file in files)
    rows = results.read(rates)
    rows = rows[rows["experiment"] == "black_box_success"]
    return Stored(name, pd.read_csv(scores), rows, *(pd.read_csv(file) for file in others), run)
