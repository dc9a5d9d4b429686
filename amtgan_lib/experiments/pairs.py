"""Test photos protected by methods, into PNG files and a report: what evaluation reads."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from amtgan_lib import faces, images, recognizers
from amtgan_lib.compute import side_by_side
from amtgan_lib.datasets import Progress
from amtgan_lib.evaluation.tables import Crop
from amtgan_lib.images import PhotoError
from amtgan_lib.methods import targets
from amtgan_lib.methods.method import Method
from amtgan_lib.protection import Protector


def protect_pairs(
    method: Method, pairs: pd.DataFrame, folder: Path, progress: Progress = iter, crop: Crop | None = None
) -> pd.DataFrame:
    """Protect each row's photo with its reference and write PNGs under ``folder``; one report row a photo.

    pairs: columns probe (file name), source and reference (files); others are carried along. The report adds clean
    and protected (files in one framing) and the mean change; a photo that fails has its ``problem`` and no file. Where
    the recipe saves crops (a quirk), the clean crop is written beside it under ``clean/``, and that of a true makeup
    transfer (column truth) under ``truth/``, since a picture can only be compared in its own framing. ``crop`` finds a
    file's largest face: ``datasets.parsed_crops`` knows the parse maps that come with some photos.
    """
    crop, protector = crop or faces.detect_one, Protector(method, impersonate=True, experiment=True)
    references = {file: method.framed(file, crop(file, method.size)) for file in pairs["reference"].unique()}

    def protected(row: Any) -> dict[str, Any]:
        report = {**row._asdict(), "clean": str(row.source), "protected": "", "problem": "", "mean_change": np.nan}
        try:
            face = method.framed(row.source, crop(row.source, method.size))
            result = protector.protect(row.source, references[row.reference], found=[face])
        except PhotoError as error:
            (folder / row.probe).unlink(missing_ok=True)  # of an earlier run
            return {**report, "problem": str(error)}
        report["protected"] = str(result.save(folder / row.probe))
        report["mean_change"] = result.faces[0].mean_change
        if method.writes_crops:
            report["clean"] = str(images.save(folder / "clean" / row.probe, face.image))
            if truth := report.get("truth"):
                report["truth"] = str(images.save(folder / "truth" / row.probe, face.resample(truth)))
        return report

    return pd.DataFrame(side_by_side(protected, list(pairs.itertuples(index=False)), progress))


def protect_each(
    methods: Mapping[str, Method],
    pairs: pd.DataFrame,
    folder: Path,
    progress: Progress = iter,
    crop: Crop | None = None,
) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """``protect_pairs`` by several methods, each into a folder of its name: their reports, and their seconds a photo.

    The seconds are those of the whole call: face detection, protection, pasting back and writing the file.
    """
    reports, seconds = {}, {}
    for name, method in methods.items():
        started = time.perf_counter()
        reports[name] = signed(protect_pairs(method, pairs, folder / name, progress, crop), method)
        seconds[name] = (time.perf_counter() - started) / len(pairs)
    return reports, seconds


def signed(reports: pd.DataFrame, method: Method) -> pd.DataFrame:
    """The reports of ``protect_pairs`` with what the method knew: columns target and trained_against."""
    return reports.assign(target=method.target, trained_against=" ".join(method.recognizers))


def check_reports(reports: Mapping[str, pd.DataFrame], target: str, judges: Iterable[str], split: str) -> None:
    """Refuse reports of methods that knew a judge or were made for another target: ValueError names the method."""
    for method, report in reports.items():
        try:
            recognizers.refuse_overlap(report["trained_against"].iloc[0].split(), judges, split)
        except ValueError as error:
            raise ValueError(f"{method}: {error} Protect again by notebook 04_protect with this held_out.") from None
        if (made_for := report["target"].iloc[0]) not in (target, targets.NOBODY):
            raise ValueError(f"{method} was made for {made_for}, not for {target}: run 03_train and 04_protect again")
