"""A student learns what its teachers see, from faces that are made for it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from amtgan_lib import recognizers
from amtgan_lib.recognizers import distillation
from amtgan_lib.recognizers import training as recognizer_training
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.distillation import Distillation, DistillationConfig, blended

TEACHERS = ("drawn_ir", "drawn_mobile")
CONFIG = DistillationConfig(teachers=TEACHERS, steps=40, batch=16, precision="float32")


@pytest.fixture(scope="module")
def crops():
    return recognizer_training.draw_faces(12, 2, seed=recognizer_training.TRAINING_SEED).crops


@pytest.fixture(scope="module")
def teachers():
    return [recognizers.load(name) for name in TEACHERS]


def agreement(student: recognizers.Recognizer, teachers, crops: np.ndarray) -> float:
    """Mean cosine of the student to the joined teachers."""
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    points = template(distillation.CROP).float().expand(len(images), -1, -1)
    joined = torch.cat([recognizers.embed_many(each, images, points) for each in teachers], dim=1)
    return float(F.cosine_similarity(recognizers.embed_many(student, images, points), joined).mean())


def test_the_student_comes_to_see_what_its_teachers_see(crops, teachers, monkeypatch):
    monkeypatch.setattr(distillation, "POOLED", 4)
    running = Distillation(CONFIG, crops, teachers)
    history = running.train()
    assert [row["step"] for row in history] == list(range(1, 41))
    assert np.mean([row["loss"] for row in history[-8:]]) < 0.75 * history[0]["loss"]
    student = recognizers.Recognizer(recognizers.spec("distilled"), running.network, "")
    strangers = recognizer_training.draw_faces(8, 1, seed=recognizer_training.VALIDATION_SEED).crops
    fresh = recognizers.Recognizer(recognizers.spec("distilled"), recognizers.build("distilled"), "")
    assert agreement(student, teachers, strangers) > 0.1 > agreement(fresh, teachers, strangers)


def test_the_same_seed_gives_the_same_student(crops, teachers, monkeypatch):
    monkeypatch.setattr(distillation, "POOLED", 2)
    few = replace(CONFIG, steps=3)
    first, again = ([row["loss"] for row in Distillation(few, crops, teachers).train()] for _ in range(2))
    assert first == again
    assert first != [row["loss"] for row in Distillation(replace(few, seed=1), crops, teachers).train()]


def test_some_pictures_are_moved_along_a_teachers_gradient(crops, teachers, monkeypatch):
    running = Distillation(CONFIG, crops, teachers)
    state = running.draw.get_state()
    moved = running.pictures()
    running.draw.set_state(state)
    monkeypatch.setattr(Distillation, "_moved", lambda self, images, others: images)
    difference = (moved - running.pictures()).abs().amax(dim=(1, 2, 3))
    count = CONFIG.batch // distillation.MOVED
    assert (difference[:count] > 0).all() and (difference[count:] == 0).all()
    assert difference.max() <= distillation.LARGEST_MOVE + 1e-6
    assert moved.shape == (16, 3, 112, 112) and moved.abs().max() <= 1


def test_blends_are_one_face_the_other_or_between():
    black, white = np.zeros((300, 16, 16, 3), np.uint8), np.full((300, 16, 16, 3), 255, np.uint8)
    faces = blended(white, black, torch.Generator().manual_seed(0))
    whole = (faces == 255).all(axis=(1, 2, 3))
    even = (faces == faces[:, :1, :1]).all(axis=(1, 2, 3)) & ~whole
    parts = ~whole & ~even
    assert 0.13 < whole.mean() < 0.28 and all(0.3 < kind.mean() < 0.5 for kind in (even, parts))
    assert (np.ptp(faces[parts].reshape(parts.sum(), -1), axis=1) > 60).mean() > 0.9  # two people meet in the face
    np.testing.assert_array_equal(blended(white, white, torch.Generator()), white)


def test_reshaped_faces_have_other_features_and_complexions(crops):
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    changed = distillation.reshaped(images, torch.Generator().manual_seed(0))
    assert changed.shape == images.shape and changed.abs().max() <= 1
    difference = (changed - images).abs().mean(dim=(1, 2, 3))
    assert difference.min() > 0.01 and 2 * difference.min() < difference.max() < 0.4
    again = distillation.reshaped(images, torch.Generator().manual_seed(0))
    assert torch.equal(changed, again)


def test_aligned_crops_come_back_as_they_were(crops):
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    points = template(distillation.CROP).float().expand(len(images), -1, -1)
    assert np.abs(distillation.aligned(images, points).astype(int) - crops).max() <= 1


def test_what_cannot_be_distilled_is_refused(crops, teachers):
    with pytest.raises(ValueError, match="distilled has 256 values, its teachers 128 together"):
        DistillationConfig(teachers=("drawn_ir",))
    with pytest.raises(ValueError, match="expected the teachers"):
        Distillation(CONFIG, crops, teachers[::-1])
    with pytest.raises(ValueError, match="1 faces cannot be blended"):
        Distillation(CONFIG, crops[:1], teachers)
