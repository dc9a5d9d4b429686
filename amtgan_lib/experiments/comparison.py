"""Methods side by side: the same photos, the same judges, one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amtgan_lib import datasets, evaluation, images, recognizers
from amtgan_lib.datasets import FaceSet, Progress
from amtgan_lib.evaluation import Judgement
from amtgan_lib.evaluation.tables import Crop
from amtgan_lib.experiments.pairs import protect_each, protect_pairs
from amtgan_lib.methods import Method
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results


@dataclass(frozen=True)
class Comparison:
    """What stays the same while methods change: photos (pairs with files), judges, and where files and tables go."""

    run: Path
    name: str
    pairs: pd.DataFrame
    judge: Judgement
    judging: Sequence[Recognizer]
    split: str
    crop: Crop
    facts: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress = iter

    @classmethod
    def of_run(
        cls,
        run: Path,
        name: str,
        face_set: FaceSet,
        pairs: pd.DataFrame,
        judges: Sequence[Recognizer],
        *,
        person: str,
        far: float,
        split: str,
        progress: Progress = iter,
        **facts: Any,
    ) -> Comparison:
        """What the notebooks' parameters say; thresholds at ``far`` are those of the run's notebook 2."""
        thresholds = evaluation.read_thresholds(run / "tables" / "02_thresholds.csv", far)
        held_out, world = [judge.name for judge in judges], datasets.world_of(face_set.manifest)
        judge = Judgement(face_set, person, pairs["person"], thresholds, far, held_out=held_out)
        facts |= {"target": person, "dataset": f"{world.people} test"}
        return cls(run, name, pairs, judge, judges, split, datasets.parsed_crops(face_set.manifest), facts, progress)

    def table(
        self,
        methods: Mapping[str, Method],
        part: str,
        republish: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
        adversaries: Mapping[str, Method] | None = None,
    ) -> pd.DataFrame:
        """Protect all photos by every method and judge them; the rows are stored under ``part``.

        ``republish`` judges each method's files, and the clean ones, also as a site may publish them (see
        ``evaluation.republished``), ``adversaries`` as changed once more by these; ``seconds`` are stored instead of
        those of this call a photo. Returns one line a judge and method: rates in per cent with intervals, mean SSIM
        and colour difference of whole photos, mean FLIP of faces, seconds a photo. Raises ValueError where a method
        knew a judge.
        """
        folder = self.folder(part)
        reports, taken = protect_each(methods, self.pairs, folder, self.progress, self.crop)
        for report in reports.values():
            known = report["trained_against"].iloc[0].split()
            recognizers.refuse_overlap(known, self.judge.held_out, self.split)
        facts = {**self.facts, "experiment": f"{self.name} {part}"}
        ways = {how: partial(evaluation.republished, how=how) for how in republish}
        ways |= {name: partial(self._changed, by=by) for name, by in (adversaries or {}).items()}
        rates = self._rates(reports, part, ways, **facts)
        pictures = evaluation.quality_table(reports, self.crop, **facts)
        rows, seconds = results.joined(rates, pictures), seconds or taken
        results.write(rows.assign(seconds=rows["method"].map(seconds)), self.file(part))
        seen = pictures.pivot_table(index="method", columns="metric", values="value")
        seen = seen.reindex(columns=["ssim", "visible", "flip"]).round(3)
        wide = results.pivot(rates, ["recogniser", "method"]).reset_index().join(seen, on="method")
        return wide.assign(seconds=wide["method"].map(seconds).round(2))

    def folder(self, part: str) -> Path:
        """Where the photos of a part are stored, in a folder for each method."""
        return self.run / self.name / part

    def pictures(self, part: str, methods: Iterable[str], photos: int) -> list[list[np.ndarray]]:
        """The first photos of a part, a row each: clean, and by each method (clean again where it failed)."""
        columns = [self.pairs["source"], *(self.files(part, method) for method in methods)]
        rows = list(zip(*columns))[:photos]
        return [[images.open_photo(file).rgb for file in row] for row in rows]

    def files(self, part: str, method: str) -> list[str]:
        """The photos of a part by a method, and clean ones where it failed."""
        made = [self.folder(part) / method / probe for probe in self.pairs["probe"]]
        return [str(file) if file.is_file() else source for file, source in zip(made, self.pairs["source"])]

    def file(self, part: str) -> Path:
        """Where the rows of a part are stored."""
        return self.run / "tables" / f"{self.name}_{part}.csv"

    def _rates(
        self, reports: Mapping[str, pd.DataFrame], part: str, ways: Mapping[str, Callable], **facts: Any
    ) -> pd.DataFrame:
        """Rows of every method as it is, and after each of the ways (files, folder) -> files, judge by judge."""
        size = self.judge.face_set.size
        probes = evaluation.probes_by_method(reports, size)
        clean, tables = probes["clean"], [self.judge.table(probes, self.judging, **facts)[0]]
        # A photo that a method failed to protect counts as it would be published: clean.
        files = {method: self.files(part, method) for method in ("clean", *reports)}
        for how, change in ways.items():  # one after the other: all faces at once may fill the memory
            again = {f"{name} {how}": change(old, self.folder(part) / f"{name} {how}") for name, old in files.items()}
            probes = {name: evaluation.read_probes(made, size, clean) for name, made in again.items()}
            tables.append(self.judge.table(probes, self.judging, **facts)[0])
        rows = results.joined(*tables)
        return results.joined(*(rows[rows["recogniser"] == judge.name] for judge in self.judging))

    def _changed(self, files: Sequence[str], folder: Path, by: Method) -> pd.Series:
        """The files after an adversary's method; one in which it finds no face stays as it is."""
        made = protect_pairs(by, self.pairs.assign(source=list(files)), folder, crop=self.crop)
        return made["protected"].where(made["protected"] != "", made["source"])
