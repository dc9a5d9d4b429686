"""Whom an any-target generator aims at: each target has the face of the person it is named after."""

from pathlib import Path

import fakes
import pandas as pd
import pytest
import torch

from amtgan_lib.experiments import AnyTarget
from amtgan_lib.methods import targets

COLOURS = {"drawn_target/red": (1, 0, 0), "drawn_target/green": (0, 1, 0), "drawn_target/blue": (0, 0, 1)}
NETWORK = fakes.NoseRecognizer("nose")


@pytest.fixture
def trial(monkeypatch) -> AnyTarget:
    """Three people who may be targets, one of whom the tables are about, and somebody who wears makeup."""
    face_set = fakes.plain_set({**COLOURS, "drawn/grey": (0.5, 0.5, 0.5)})
    reference = face_set.manifest["asset"] == "drawn-grey-source.png"
    face_set.manifest.loc[reference, ["part", "split"]] = ["reference", "train"]
    monkeypatch.setattr(targets, "nobody", lambda networks, known: targets.Target("nobody", {"nose": torch.ones(3)}))
    made = AnyTarget(Path(), Path(), face_set, "drawn_target/green", [NETWORK], [], "family", pd.DataFrame(), 1)
    vars(made)["generator"] = (None, {"size": fakes.SIZE}, None)  # no file is read
    return made


def test_every_target_is_its_own_person(trial):
    assert list(trial.aims) == ["drawn_target/green", "drawn_target/blue", "drawn_target/red", "nobody"]
    for person, colour in COLOURS.items():
        (vector,) = trial.aims[person].of([NETWORK])
        assert torch.allclose(vector, torch.tensor(colour, dtype=torch.float32), atol=0.02)


def test_the_face_of_the_person_is_not_that_of_the_last_target(trial):
    """It was, while a loop in the notebook left its last face behind."""
    seen = NETWORK.embed(trial.people[trial.person].image, trial.people[trial.person].points)[0]
    assert seen.argmax() == 1 and list(trial.people)[-1] != trial.person


def test_nobody_keeps_away_from_the_gallery(trial):
    assert {name: vectors.shape for name, vectors in trial.known.items()} == {"nose": (1, 3)}
