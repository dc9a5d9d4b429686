"""What sites and adversaries make of protected photos, for every method: the tables of notebook 11."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from amtgan_lib import datasets, evaluation
from amtgan_lib.datasets import FaceSet, Progress
from amtgan_lib.evaluation import Gallery, Probes
from amtgan_lib.evaluation.recognition import provenance
from amtgan_lib.experiments.adversaries import (
    Denoising,
    autoencoder,
    fitted_detector,
    fitted_verifier,
    purifier,
    traces,
    unseen_strangers,
    without_makeup,
)
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.experiments.pairs import protect_each
from amtgan_lib.images import open_photo
from amtgan_lib.methods import Method
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.reporting import results
from amtgan_lib.reporting.results import Row
from amtgan_lib.training.beginning import regularizer

CLEAN, AS_IT_IS = "clean", "as it is"


@dataclass(frozen=True)
class Seen:
    """N faces without their pictures: unit vectors (N,D) by judge, traces (N,240), and which were found."""

    vectors: Mapping[str, np.ndarray]
    traces: np.ndarray
    found: np.ndarray

    @classmethod
    def of(cls, probes: Probes, judges: Sequence[Recognizer]) -> Seen:
        """What the judges and a detector see of the probes."""
        vectors = {judge.name: evaluation.embed(probes, judge) for judge in judges}
        return cls(vectors, traces(probes.image), probes.found)


@dataclass(frozen=True)
class Panel:
    """Methods, and what is done to their photos.

    comparison: test photos, judges and folders. methods: by name, without blanks: rows name a method and, after a
    blank, what was done. learners: pairs of training people, from whom adversaries learn, with files.
    """

    comparison: Comparison
    methods: Mapping[str, Method]
    learners: pd.DataFrame

    def ways(self, adversaries: Mapping[str, Method]) -> pd.DataFrame:
        """Rows of the test photos as they are, after each of ``evaluation.WAYS``, and after each adversary's method."""
        self.comparison.table(self.methods, "ways", list(evaluation.WAYS), adversaries=adversaries)
        return results.read(self.comparison.file("ways"))

    def pictures(self, name: str, adversaries: Iterable[str], photos: int) -> list[list[Image.Image]]:
        """The first test photos by a method, a row each: as saved, after each of WAYS, and after each adversary."""
        rows = []
        for probe, file in list(zip(self.comparison.pairs["probe"], self.comparison.files("ways", name)))[:photos]:
            saved = Image.fromarray(open_photo(file).rgb)
            made = [self.comparison.folder("ways") / f"{name} {adversary}" / probe for adversary in adversaries]
            changed = [Image.fromarray(open_photo(each if each.is_file() else file).rgb) for each in made]
            rows.append([saved, *(evaluation.republish(saved, how) for how in evaluation.WAYS), *changed])
        return rows

    def galleries(self) -> pd.DataFrame:
        """Rows where the owner's photo in the gallery is protected, and a clean or a protected photo is asked about.

        Photos of people who are not tested stay clean. Call ``ways`` first.
        """
        rows: list[Row] = []
        for judge in self.comparison.judging:
            gallery, threshold = self.comparison.judge.gallery(judge), self.comparison.judge.thresholds[judge.name]
            for name in self.methods:
                vectors = gallery.vectors.copy()
                vectors[gallery.owner] = self._others[name].vectors[judge.name]
                enrolled = replace(gallery, vectors=vectors)
                for how, asked in (("enrolled protected", CLEAN), ("both protected", name)):
                    found = self._tested[asked].vectors[judge.name]
                    rows += self._rows(f"{name} {how}", judge, found, enrolled, threshold, "galleries")
        return self._stored(rows, "galleries")

    def verifiers(self) -> pd.DataFrame:
        """Rows of judges with a layer fitted on training people: on clean photos (the control), or on protected, too.

        Their thresholds are of strangers among the same photos (see ``unseen_strangers``); ``false accepts`` is the
        share of strangers that they then accept among the clean photos of test people. Call ``ways`` first.
        """
        rows: list[Row] = []
        for judge in self.comparison.judging:
            seen = {name: faces.vectors[judge.name] for name, faces in self._learned.items()}
            other = evaluation.embed(self._learned_others, judge)
            for name in (CLEAN, *self.methods):
                rows += self._verified(f"{name} verifier of clean", name, judge, seen[CLEAN], other)
                if name != CLEAN:
                    both = np.concatenate([seen[CLEAN], seen[name]]), np.concatenate([other, other])
                    rows += self._verified(f"{name} verifier of protected", name, judge, *both)
        return self._stored(rows, "verifiers")

    def _verified(self, label: str, name: str, judge: Recognizer, one: np.ndarray, other: np.ndarray) -> list[Row]:
        """Rows of a method on a judge whose layer is fitted on pairs (P,D), (P,D) of the learners' photos."""
        verifier, far = fitted_verifier(one, other), self.comparison.judge.far
        people = self.learners["person"].tolist() * (len(one) // len(self.learners))
        threshold = evaluation.calibrate(unseen_strangers(one, other, people), [far])[far]
        known = self.comparison.judge.gallery(judge)
        gallery = replace(known, vectors=verifier(known.vectors), target=verifier(known.target))
        clean, found = (verifier(self._tested[which].vectors[judge.name]) for which in (CLEAN, name))
        rows = self._rows(label, judge, found, gallery, threshold, "verifiers")
        strangers = evaluation.impostor_scores(clean @ gallery.vectors.T, known.owner, range(len(known.vectors)))
        accepted, facts = float((strangers > threshold).mean()), self._facts(judge, "verifiers")
        return [*rows, Row(method=label, metric="false accepts", value=accepted, n=len(strangers), far=far, **facts)]

    def detectors(self) -> pd.DataFrame:
        """Rows of a detector for each method: how well it tells test people's protected photos from clean ones.

        A photo that the method failed to protect is a clean one that should have been told. Call ``ways`` first.
        """
        rows, facts = [], self._facts(None, "detectors")
        for name in self.methods:
            detector = fitted_detector(*(faces.traces[faces.found] for faces in map(self._learned.get, (CLEAN, name))))
            tested = [self._tested[which] for which in (CLEAN, name)]
            both = tested[0].found & tested[1].found
            scores = [detector(faces.traces[both]) for faces in tested]
            low, high = evaluation.area_interval(*scores)
            own = {"value": evaluation.area_under_curve(*scores), "n": int(both.sum()), "ci_low": low, "ci_high": high}
            rows.append(Row(method=name, metric="auc", far=None, **own, **facts))
        return self._stored(rows, "detectors")

    @cached_property
    def _tested(self) -> dict[str, Seen]:
        return self._seen(self.comparison.pairs, "ways")

    @cached_property
    def _others(self) -> dict[str, Seen]:
        return self._protected(_of_other_photos(self.comparison.pairs), "others")

    @cached_property
    def _learned(self) -> dict[str, Seen]:
        return self._protected(self.learners, "learned")

    @cached_property
    def _learned_others(self) -> Probes:
        return evaluation.read_probes(_of_other_photos(self.learners)["source"], self._size)

    @property
    def _size(self) -> int:
        """Of the gallery's crops, and so of all that are compared with them."""
        return self.comparison.judge.face_set.size

    def _protected(self, pairs: pd.DataFrame, part: str) -> dict[str, Seen]:
        side = self.comparison
        protect_each(self.methods, pairs, side.folder(part), side.progress, side.crop)
        return self._seen(pairs, part)

    def _seen(self, pairs: pd.DataFrame, part: str) -> dict[str, Seen]:
        """What is known of the faces of a part's clean photos and of every method's files."""
        side = replace(self.comparison, pairs=pairs)
        clean = evaluation.read_probes(pairs["source"], self._size)
        found = {CLEAN: Seen.of(clean, side.judging)}
        for name in self.methods:
            found[name] = Seen.of(evaluation.read_probes(side.files(part, name), self._size, clean), side.judging)
        return found

    def _rows(
        self, label: str, judge: Recognizer, found: np.ndarray, gallery: Gallery, threshold: float, part: str
    ) -> list[Row]:
        scores = evaluation.success_scores(found, gallery)
        facts = self._facts(judge, part)
        return evaluation.success_rows(scores, threshold, self.comparison.judge.far, method=label, **facts)

    def _facts(self, judge: Recognizer | None, part: str) -> dict[str, Any]:
        own = {"recogniser": "", "weights_sha256": "", "note": ""}
        if judge is not None:
            own = {"recogniser": judge.name, "weights_sha256": judge.weights_sha256, "note": "held out"}
        return {**self.comparison.facts, **provenance(), **own, "experiment": f"{self.comparison.name} {part}"}

    def _stored(self, rows: list[Row], part: str) -> pd.DataFrame:
        table = results.frame(rows)
        results.write(table, self.comparison.file(part))
        return table


def _of_other_photos(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the file of each person's other photo as the source."""
    found = datasets.files(pairs["other"])
    return pairs.assign(source=[str(found[asset]) for asset in pairs["other"]])


def undoing(
    networks: Path, sources: FaceSet, file: Path, how: Denoising, progress: Progress = iter
) -> dict[str, Method]:
    """Methods that want protection gone, on crops of the size that H was trained on.

    networks: of a training with H; sources: faces of training people, on which the autoencoder learns, which ``file``
    keeps. Makeup is taken off after a face without it: one of the part "plain", where the sources have any.
    """
    network, size = regularizer(networks)
    plain = sources.manifest[sources.manifest["part"] == "plain"]
    bare = (plain if len(plain) else sources.manifest)["asset"].iloc[0]
    denoiser = autoencoder(sources.resized(size), file, how, progress)
    return {
        "through H": purifier("H", network, size),
        "through autoencoder": purifier("autoencoder", denoiser, size),
        "makeup removed": without_makeup(datasets.file_crop(sources.manifest, bare, size)),
    }


def by_way(rows: pd.DataFrame) -> pd.DataFrame:
    """A line a method, a column for what was done to its photos: dodging as the mean of the recognisers, 0 to 1."""
    named = rows[rows["metric"] == "dodging"]
    parts = named["method"].str.partition(" ")
    named = named.assign(method=parts[0], way=parts[2].replace("", AS_IT_IS))
    wide = named.pivot_table(index="method", columns="way", values="value", sort=False)
    return wide.rename_axis(index=None, columns=None)
