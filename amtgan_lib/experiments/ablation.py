"""The paper's method taken apart: variants of its recipes, trained from one start for as many steps, judged alike."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import datasets, evaluation, methods, paths, recognizers, training
from amtgan_lib.datasets import FaceSet, Progress
from amtgan_lib.evaluation import Judgement, Probes
from amtgan_lib.evaluation.tables import Crop
from amtgan_lib.experiments.pairs import check_reports, protect_pairs, signed
from amtgan_lib.files import sha256_of
from amtgan_lib.methods import generator
from amtgan_lib.recipes import ABLATIONS, recipe, same_training
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.training import TrainConfig, beginning, pace

NAME = "07_ablation"
DEFAULTS = {each.name: each.default for each in fields(TrainConfig)}


@dataclass(frozen=True)
class Ablation:
    """Who is trained and judged, and how: all that variants share.

    run: the folder of files and tables. given: parameters of notebook 03_train; those that it lacks are the defaults of
    ``TrainConfig``. pairs: test photos and references, with files. judges: recognisers that take no part in training.
    """

    run: Path
    given: Mapping[str, Any]
    pairs: pd.DataFrame
    judge: Judgement
    judges: Sequence[Recognizer]
    facts: Mapping[str, Any]

    @classmethod
    def of_run(
        cls,
        run: Path,
        face_set: FaceSet,
        given: Mapping[str, Any],
        thresholds: Mapping[str, float],
        far: float,
        *,
        photos: int = 0,
        **facts: Any,
    ) -> Ablation:
        """What the notebook's parameters say; ``start`` "trained" is that of ``corrected``, photos 0 takes all."""
        _, names = recognizers.partition(given["split"], given["held_out"], recognizers.zoo(given["zoo"]))
        start = str(paths.ROOT / beginning.file_of(given["start"], "corrected")) if given["start"] else ""
        person = given["target"] or datasets.default_target(face_set)
        pairs = datasets.with_files(datasets.test_pairs(face_set.manifest, photos))
        judge = Judgement(face_set, person, pairs["person"], thresholds, far, held_out=names)
        dataset = f"{datasets.world_of(face_set.manifest).people} test"
        facts |= {"experiment": NAME, "target": person, "dataset": dataset}
        return cls(run, {**given, "start": start}, pairs, judge, [recognizers.load(name) for name in names], facts)

    def folder(self, name: str, seed: int) -> Path:
        """Where a variant's generator, protected photos and rows are stored."""
        return self.run / NAME / f"{name}, seed {seed}"

    def trainings(self, variants: Iterable[str], seeds: Sequence[int]) -> list[Path]:
        """The generators that are still to be trained; variants whose results are only written otherwise share one."""
        wanted = dict.fromkeys(self.generator(name, seed) for seed in seeds for name in variants)
        return [file for file in wanted if not file.is_file()]

    def generator(self, name: str, seed: int) -> Path:
        """The file of a variant's generator, which may be another variant's."""
        return self.folder(_trained_as(name), seed) / "generator.safetensors"

    def seconds_a_step(self) -> float:
        """Of the whole method, by two steps that are measured; no variant takes longer."""
        return pace.measured(self._parameters("corrected", 0))["seconds"]

    def rows(self, variants: Iterable[str], seeds: Sequence[int], progress: Progress = iter) -> pd.DataFrame:
        """Result rows of every variant and seed, and of the clean photos; those stored before are read.

        Raises ValueError for an unknown variant, and where the stored ones were made with other settings.
        """
        if unknown := [name for name in variants if name not in ABLATIONS]:
            raise ValueError(f"there is no variant {unknown[0]!r}; there are {', '.join(ABLATIONS)}")
        self._same_settings()
        wanted = list(itertools.product(seeds, variants))
        table = results.joined(*(self._rows(name, seed) for seed, name in progress(wanted)))
        return table.drop_duplicates(["method", "recogniser", "metric", "seed"], ignore_index=True)

    def _rows(self, name: str, seed: int) -> pd.DataFrame:
        trained, file = self.generator(name, seed), self.folder(name, seed) / "rows.csv"
        if not file.is_file():
            if not trained.is_file():
                run = training.assembled(self._parameters(_trained_as(name), seed))
                training.train(run.trainer, run.sources, run.references)
                training.export(run.trainer, trained, **run.facts)
            results.write(self._measured(name, seed), file)
        return results.read(file)

    def _parameters(self, name: str, seed: int) -> dict[str, Any]:
        return {**DEFAULTS, **self.given, "recipe": name, "seed": seed}

    def _measured(self, name: str, seed: int) -> pd.DataFrame:
        network, told, _ = generator.read(self.generator(name, seed))
        method = methods.of_generator(network, recipe(name), told["size"], told)
        report = signed(protect_pairs(method, self.pairs, self.folder(name, seed), crop=self._crop), method)
        check_reports({name: report}, self.judge.target, self.judge.held_out, self.given["split"])
        files = [row.protected or row.source for row in report.itertuples()]
        probes = {"clean": self._clean, name: evaluation.read_probes(files, self.judge.face_set.size, self._clean)}
        facts = {**self.facts, "seed": seed}
        rates, _ = self.judge.table(probes, self.judges, **facts)
        rows = results.joined(rates, evaluation.picture_table({name: report}, crop=self._crop, **facts))
        # As the rows of sweeps are told apart.
        return rows.assign(note=[f"seed={seed}; {note}" for note in rows["note"]])

    @functools.cached_property
    def _crop(self) -> Crop:
        """Finds a file's largest face; that of a clean photo once for all variants."""
        return functools.cache(datasets.parsed_crops(self.judge.face_set.manifest))

    @functools.cached_property
    def _clean(self) -> Probes:
        return evaluation.read_probes(self.pairs["source"], self.judge.face_set.size)

    def _same_settings(self) -> None:
        """Store what all variants share; ValueError where what is stored is not the same."""
        start = Path(self.given["start"])  # a missing one is refused later
        begun = sha256_of(start) if start.is_file() else ""
        ours = {**self.given, "start": begun, "far": self.judge.far, "photos": len(self.pairs)}
        file = self.run / NAME / "settings.json"
        stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else ours
        changed = [key for key in ours if ours[key] != stored.get(key)]
        if other := [f"{key} {stored.get(key)!r} there, {ours[key]!r} here" for key in changed]:
            raise ValueError(f"{file.parent} holds variants of other settings: {', '.join(other)}; begin another run")
        results.write_text(json.dumps(ours, indent=1), file)


def _trained_as(name: str) -> str:
    """The first variant with the same training."""
    return next(other.name for other in ABLATIONS.values() if same_training(other, recipe(name)))
