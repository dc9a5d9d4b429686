"""Methods side by side: the same photos, the same judges, one table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amtgan_lib import evaluation, images, recognizers
from amtgan_lib.evaluation import Judgement
from amtgan_lib.experiments.pairs import protect_each
from amtgan_lib.faces import FaceCrop
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
    crop: Callable[[Any, int], FaceCrop]
    facts: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[Iterable], Iterable] = iter

    def table(
        self,
        methods: Mapping[str, Method],
        part: str,
        republish: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Protect all photos by every method and judge them; the rows are stored under ``part``.

        ``republish`` judges each method's files, and the clean ones, also as a site may publish them (see
        ``evaluation.republished``); ``seconds`` are stored instead of those of this call a photo. Returns one line a
        judge and method: rates in per cent with intervals, mean SSIM and colour difference of whole photos, mean
        FLIP of faces, seconds a photo. Raises ValueError where a method knew a judge.
        """
        folder = self.folder(part)
        reports, taken = protect_each(methods, self.pairs, folder, self.progress, self.crop)
        for report in reports.values():
            known = report["trained_against"].iloc[0].split()
            recognizers.refuse_overlap(known, self.judge.held_out, self.split)
        probes = evaluation.probes_by_method(reports | self._republished(reports, folder, republish), iter)
        facts = {**self.facts, "experiment": f"{self.name} {part}"}
        rates, _ = self.judge.table(probes, self.judging, **facts)
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
        rows, methods = [], list(methods)
        for row in self.pairs.head(photos).itertuples():
            files = [self.folder(part) / method / row.probe for method in methods]
            shown = [row.source, *(file if file.is_file() else row.source for file in files)]
            rows.append([images.open_photo(file).rgb for file in shown])
        return rows

    def file(self, part: str) -> Path:
        """Where the rows of a part are stored."""
        return self.run / "tables" / f"{self.name}_{part}.csv"

    def _republished(
        self, reports: Mapping[str, pd.DataFrame], folder: Path, republish: Sequence[str]
    ) -> dict[str, pd.DataFrame]:
        again = {}
        for how in republish:
            for name, report in {"clean": self.pairs.assign(protected=""), **reports}.items():
                # A photo that a method failed to protect counts as it would be published: clean.
                files = report["protected"].where(report["protected"] != "", report["source"])
                made = evaluation.republished(files, folder / f"{name} {how}", how)
                again[f"{name} {how}"] = report.assign(protected=list(map(str, made)))
        return again
