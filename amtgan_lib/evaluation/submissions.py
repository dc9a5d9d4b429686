"""Protected photos of any origin, as files in a folder, scored by a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from amtgan_lib import faces
from amtgan_lib.datasets import Progress, protocol
from amtgan_lib.datasets.protocol import NOBODY, Protocol, ProtocolError
from amtgan_lib.evaluation.pictures import Probes, read_probes
from amtgan_lib.evaluation.recognition import Facts, provenance
from amtgan_lib.evaluation.tables import Judgement, quality_table, success_rows
from amtgan_lib.images import PhotoError, open_photo
from amtgan_lib.recognizers import USUAL, Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row

CLEAN = "clean"
PICTURES = tuple(results.DIGITS)


@dataclass(frozen=True)
class Submission:
    """A folder's files for the photos of a protocol: {id: clean file}, and what is wrong with them, in a sentence each.

    problems: {id: sentence} of photos that cannot be scored; extra: about files that the protocol does not know.
    """

    protocol: Protocol
    folder: Path
    clean: dict[str, Path]
    problems: dict[str, str]
    extra: tuple[str, ...]

    @property
    def complaints(self) -> list[str]:
        """All that is wrong."""
        return [*self.problems.values(), *self.extra]

    def files(self) -> list[Path]:
        """A file a photo, in the order of the protocol; the clean one where there is none to be scored."""
        return [file if name in self.problems else self.folder / name for name, file in self.clean.items()]

    def probes(self, clean: Probes, progress: Progress = iter) -> Probes:
        """The faces of the files. One that cannot be scored has none, so that it counts as recognised."""
        read = read_probes(self.files(), protocol.SIZE, clean, progress)
        usable = np.array([name not in self.problems for name in self.clean])
        return replace(read, found=read.found & usable)

    def report(self) -> pd.DataFrame:
        """Clean and protected file of each photo, as ``quality_table`` reads them; "" for one that cannot be scored."""
        protected = ["" if name in self.problems else str(self.folder / name) for name in self.clean]
        return pd.DataFrame({"clean": list(map(str, self.clean.values())), "protected": protected})


def read(folder: Path, by: Protocol, progress: Progress = iter) -> Submission:
    """Look at every file of a folder. Raises ProtocolError where none can be scored, and as ``protocol.found``."""
    clean = protocol.found(by.sources, progress)
    said = {name: _problem(folder / name, file) for name, file in progress(clean.items())}
    problems = {name: sentence for name, sentence in said.items() if sentence}
    if len(problems) == len(clean):
        raise ProtocolError(f"no file in {folder} can be scored: {next(iter(problems.values()))}, and so on.")
    others = sorted(file.name for file in folder.iterdir() if file.name not in clean and file.name[0] != ".")
    extra = tuple(f"{name} is not a name of the protocol {by.name}, so it is not scored" for name in others)
    return Submission(by, folder, clean, problems, extra)


def _problem(file: Path, clean: Path) -> str:
    """Why a file cannot be scored, "" if it can be."""
    if not file.is_file():
        return f"{file.name} is missing"
    try:
        size = open_photo(file).size
    except (PhotoError, OSError) as error:
        return str(error)
    (width, height), wanted = size, open_photo(clean).size
    there = f"{file.name} has {width} x {height} pixels"
    return "" if size == wanted else f"{there} where its clean photo has {wanted[0]} x {wanted[1]}"


@dataclass(frozen=True)
class Scores:
    """Result rows of a method and of the clean photos, at every threshold of the judges; files without a face."""

    rows: pd.DataFrame
    faceless: tuple[str, ...]


def scored(
    submission: Submission, judges: Sequence[Recognizer], method: str, target: str = "all", progress: Progress = iter
) -> Scores:
    """Judge a submission that was made for a target (see ``Protocol.targets``); the judges have its thresholds.

    For "nobody" there is no impersonation. The pictures' rows are of the files that could be read, and n says of how
    many. Raises ProtocolError for an unknown target, and as ``Protocol.known_faces``.
    """
    by = submission.protocol
    people, targets = by.sources["person"].tolist(), by.targets(target)
    facts = {"experiment": "protocol", "preset": by.name, "dataset": by.dataset, "target": target, "seed": None}
    clean = read_probes(submission.clean.values(), protocol.SIZE, None, progress)
    probes = {CLEAN: clean, method: submission.probes(clean, progress)}
    at = {judge.name: judge.thresholds[USUAL] for judge in judges}
    judge = Judgement(by.known_faces(progress), targets, people, at, USUAL, held_out=())
    _, raw = judge.table(probes, judges, **facts)
    rates = results.frame(_at_every_far(raw, judges, **facts))
    pictures = quality_table({method: submission.report()}, faces.detect_one, **facts)
    left_out = ("impersonation",) if target == NOBODY else ()
    rows = results.joined(rates[~rates["metric"].isin(left_out)], pictures[pictures["metric"].isin(PICTURES)])
    missed = [name for name, seen in zip(submission.clean, probes[method].found) if not seen]
    return Scores(rows, tuple(name for name in missed if name not in submission.problems))


def _at_every_far(raw: pd.DataFrame, judges: Sequence[Recognizer], **facts: Facts) -> list[Row]:
    """Result rows of the raw scores of ``Judgement.table``, at all thresholds of the judges."""
    rows, named = [], {judge.name: judge for judge in judges}
    for (name, method), scores in raw.groupby(["recogniser", "method"], sort=False):
        own = {"recogniser": name, "weights_sha256": named[name].weights_sha256, "method": method}
        for far, threshold in named[name].thresholds.items():
            rows += success_rows(scores, threshold, far, **own, **provenance(), **facts)
    return rows
