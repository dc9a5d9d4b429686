"""One any-target generator, whom it aims at and who judges it: what notebooks 12, 12b and 12c have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from amtgan_lib import datasets, evaluation, methods, recognizers
from amtgan_lib.datasets import FaceBatch, FaceSet, Progress
from amtgan_lib.experiments.comparison import Comparison
from amtgan_lib.faces import FaceCrop
from amtgan_lib.methods import Guide, Method, targets
from amtgan_lib.methods.generator import read
from amtgan_lib.methods.targets import NOBODY, Target
from amtgan_lib.models import Generator
from amtgan_lib.recipes import Recipe
from amtgan_lib.recognizers import Recognizer

OTHERS = 2  # targets beside the person, to show that one generator serves them all
TIMED, SEEN = 5, 12  # crops on which methods are timed, and on which their visibility is measured


@dataclass(frozen=True)
class AnyTarget:
    """A generator file and all that judges it fairly; the judges gave no hints and took no part in its training.

    run: the folder of files and tables. person: the target of the tables, by name. networks: recognisers that give
    hints. judges: those that do not. pairs: test photos and references, with files.
    """

    run: Path
    file: Path
    face_set: FaceSet
    person: str
    networks: Sequence[Recognizer]
    judges: Sequence[Recognizer]
    split: str
    pairs: pd.DataFrame
    passes: int

    @classmethod
    def of_run(
        cls,
        run: Path,
        face_set: FaceSet,
        *,
        zoo: str,
        split: str,
        held_out: str,
        target: str = "",
        generator: str | Path = "",
        photos: int = 0,
        passes: int = 1,
    ) -> AnyTarget:
        """What the notebooks' parameters say: "" takes the default target and the run's own generator, 0 all photos."""
        names = recognizers.partition(split, held_out, recognizers.zoo(zoo))
        networks, judges = ([recognizers.load(name) for name in part] for part in names)
        file = Path(generator) if generator else run / "train" / "any_target" / "generator.safetensors"
        pairs = datasets.with_files(datasets.test_pairs(face_set.manifest, photos))
        person = target or datasets.default_target(face_set)
        return cls(run, file, face_set, person, networks, judges, split, pairs, passes)

    @cached_property
    def generator(self) -> tuple[Generator, dict[str, Any], Recipe]:
        """Network, facts and recipe of the file, read once for every aim."""
        return read(self.file)

    @property
    def size(self) -> int:
        """Side of the crops that the generator changes."""
        return self.generator[1]["size"]

    @cached_property
    def people(self) -> dict[str, FaceBatch]:
        """The person and two others of the set of targets: name -> the photo for the loss (one face)."""
        world, known = datasets.world_of(self.face_set.manifest), self.face_set.resized(self.size)
        others = sorted(set(self.face_set.where(set=world.targets).manifest["person"]) - {self.person})
        return {name: datasets.training_parts(known, name)[0] for name in (self.person, *others[:OTHERS])}

    @cached_property
    def known(self) -> dict[str, Any]:
        """Per hinting recogniser the unit vectors (P, D) of the gallery; the target ``nobody`` keeps away from them."""
        gallery = self.face_set.where(set=datasets.world_of(self.face_set.manifest).people, part="other")
        return {network.name: evaluation.vectors(gallery, network) for network in self.networks}

    @cached_property
    def aims(self) -> dict[str, Target]:
        """Every target by name, nobody last."""
        aims = {name: targets.of_faces(one.image, one.points, self.networks, name) for name, one in self.people.items()}
        return aims | {NOBODY: targets.nobody(self.networks, self.known)}

    def dressed(self, aim: str, passes: int = 0, **told: Any) -> Method:
        """The generator towards a target; ``passes`` 0: the run's own, ``told``: see ``methods.Guide``."""
        guide = Guide(self.networks, self.aims[aim], passes=passes or self.passes, **told)
        network, facts, how = self.generator
        return methods.of_generator(network, how, self.size, facts, guide)

    def bare(self, aim: str, passes: int = 0, **told: Any) -> Method:
        """As ``dressed``, but each face keeps its own makeup."""
        return methods.bare(self.dressed(aim, passes, **told))

    @cached_property
    def crops(self) -> list[FaceCrop]:
        """The first photos' faces, on which visibility is measured."""
        crop = datasets.parsed_crops(self.face_set.manifest)
        return [crop(name, self.size) for name in self.pairs["source"].head(SEEN)]

    def seconds(self, made: Mapping[str, Method]) -> dict[str, float]:
        """Seconds of each method alone on a face."""
        return {name: methods.seconds_a_face(method, self.crops[:TIMED]) for name, method in made.items()}

    def comparison(self, far: float, progress: Progress = iter, **facts: Any) -> Comparison:
        """Methods side by side on these photos, at the thresholds of the run's notebook 2."""
        what = {"person": self.person, "far": far, "split": self.split, "progress": progress, **facts}
        return Comparison.of_run(self.run, "12_any_target", self.face_set, self.pairs, self.judges, **what)
