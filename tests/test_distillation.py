"""A student learns what its teachers see, from faces that are made for it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from amtgan_lib import faces, images, recognizers
from amtgan_lib.demos import session
from amtgan_lib.models.rendering import BARE, PARTS, Look, paint
from amtgan_lib.recognizers import distillation, lessons
from amtgan_lib.recognizers import training as recognizer_training
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.distillation import Distillation, DistillationConfig
from amtgan_lib.recognizers.lessons import Lessons, Tutor, Wardrobe, blended

# Stand-ins for the open recognisers of the same names, which know photographs only.
STANDING_IN = {"mobilefacenet_foamliu": "drawn_ir", "mobilefacenet_xiaoccer": "drawn_mobile"}
CONFIG = DistillationConfig(steps=40, batch=16, precision="float32")
BATCH, WORN = 32, 22  # half of the lessons' own


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lessons, "BATCH", BATCH)
        patch.setattr(lessons, "WORN", WORN)
        yield


@pytest.fixture(scope="module")
def crops():
    return recognizer_training.draw_faces(12, 2, seed=recognizer_training.TRAINING_SEED).crops


@pytest.fixture(scope="module")
def wardrobe():
    return Wardrobe.of([faces.detect_one(worn.small) for worn in session.makeups()])


@pytest.fixture(scope="module")
def teachers():
    found = [recognizers.load(name) for name in STANDING_IN.values()]
    for teacher, name in zip(found, STANDING_IN):
        teacher.name = name
    return found


@pytest.fixture(scope="module")
def tutor(wardrobe, crops, teachers):
    return Tutor(wardrobe, crops, teachers, "float32")


@pytest.fixture(scope="module")
def taught(tutor, tmp_path_factory) -> Lessons:
    return tutor.lessons(tmp_path_factory.mktemp("lessons"), parts=2, batches=2)


def agreement(student: recognizers.Recognizer, teachers, crops: np.ndarray) -> float:
    """Mean cosine of the student to the joined teachers."""
    pictures = images.to_tensor(crops)
    points = template(recognizer_training.CROP).float().expand(len(pictures), -1, -1)
    joined = torch.cat([recognizers.embed_many(each, pictures, points) for each in teachers], dim=1)
    return float(F.cosine_similarity(recognizers.embed_many(student, pictures, points), joined).mean())


def test_the_student_comes_to_see_what_its_teachers_see(taught, teachers):
    running = Distillation(CONFIG, taught)
    history = running.train()
    assert [row["step"] for row in history] == list(range(1, 41))
    assert np.mean([row["loss"] for row in history[-8:]]) < 0.75 * history[0]["loss"]
    student = recognizers.Recognizer(recognizers.spec("distilled"), running.network, "")
    strangers = recognizer_training.draw_faces(8, 1, seed=recognizer_training.VALIDATION_SEED).crops
    fresh = recognizers.Recognizer(recognizers.spec("distilled"), recognizers.build("distilled"), "")
    assert agreement(student, teachers, strangers) > 0.1 > agreement(fresh, teachers, strangers)


def test_the_same_seed_gives_the_same_student(taught):
    def losses(seed: int) -> list[float]:
        config = DistillationConfig(steps=3, batch=16, precision="float32", seed=seed)
        return [row["loss"] for row in Distillation(config, taught).train()]

    assert losses(0) == losses(0) != losses(1)


def test_labels_are_what_the_teachers_say_to_the_pictures(taught, teachers):
    pictures = images.to_tensor(taught.pictures[:8])
    points = template(recognizer_training.CROP).float().expand(8, -1, -1)
    for teacher in teachers:
        said = teacher.embed(pictures, points).numpy()
        np.testing.assert_allclose(taught.labels[teacher.name][:8], said, atol=2e-3)
    assert taught.pictures.shape == (4 * BATCH, 112, 112, 3) and len(taught) == 4 * BATCH
    lengths = taught.joined(list(STANDING_IN)).norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_stored_lessons_are_read_and_missing_ones_made(tutor, tmp_path, monkeypatch):
    first = tutor.lessons(tmp_path, parts=1, batches=1)
    made = []
    batch = Tutor.batch
    monkeypatch.setattr(Tutor, "batch", lambda self, number: (made.append(number), batch(self, number))[1])
    both = tutor.lessons(tmp_path, parts=2, batches=1)
    assert made == [1], "the first part lay there"
    np.testing.assert_array_equal(both.pictures[:BATCH], first.pictures)
    assert not np.array_equal(both.pictures[BATCH:], first.pictures)


def test_pictures_are_worn_by_photographs_and_some_looks_are_moved(tutor, monkeypatch):
    draw = torch.Generator().manual_seed(0)
    moved = tutor.worn(draw)
    monkeypatch.setattr(lessons, "FARTHEST", 0.0)
    nearer = tutor.worn(torch.Generator().manual_seed(0))
    difference = np.abs(moved.astype(int) - nearer).max(axis=(1, 2, 3))
    assert (difference[: WORN // 2] > 0).mean() > 0.9 and (difference[WORN // 2 :] == 0).all()
    assert moved.shape == (WORN, 112, 112, 3)


def test_random_looks_differ_from_plain_and_most_are_bare(wardrobe):
    regions = wardrobe.regions_of(torch.arange(len(wardrobe)).repeat(20))
    look = lessons.random_look(regions, torch.Generator().manual_seed(0))
    bare = torch.stack([(look[part] == 0).flatten(1).all(1) for part in set(PARTS) - set(BARE)]).all(0)
    assert 0.4 < bare.float().mean() < 0.8
    assert all((look[part] != 0).flatten(1).any(1).all() for part in BARE)
    few = wardrobe.regions_of(slice(2))
    fields = paint(few, Look(**{part: value[:2] for part, value in look.items()}))
    assert fields.flow.abs().max() > 0 and (fields.gain - 1).abs().max() > 0


def test_fewer_directions_keep_the_cosines():
    vectors = F.normalize(torch.randn(200, 12, generator=torch.Generator().manual_seed(0)) @ torch.randn(12, 40))
    kept = distillation.directions(vectors, 12)
    assert kept.shape == (200, 12)
    torch.testing.assert_close(kept @ kept.T, vectors @ vectors.T, atol=1e-4, rtol=0)
    assert torch.equal(distillation.directions(vectors, 64), vectors)


def test_blends_are_one_face_the_other_or_between():
    black, white = np.zeros((300, 16, 16, 3), np.uint8), np.full((300, 16, 16, 3), 255, np.uint8)
    mixed = blended(white, black, torch.Generator().manual_seed(0))
    whole = (mixed == 255).all(axis=(1, 2, 3))
    even = (mixed == mixed[:, :1, :1]).all(axis=(1, 2, 3)) & ~whole
    parts = ~whole & ~even
    assert 0.13 < whole.mean() < 0.28 and all(0.3 < kind.mean() < 0.5 for kind in (even, parts))
    assert (np.ptp(mixed[parts].reshape(parts.sum(), -1), axis=1) > 60).mean() > 0.9  # two people meet in the face
    np.testing.assert_array_equal(blended(white, white, torch.Generator()), white)


def test_reshaped_faces_have_other_features_and_complexions(crops):
    pictures = images.to_tensor(crops)
    changed = lessons.reshaped(pictures, torch.Generator().manual_seed(0))
    assert changed.shape == pictures.shape and changed.abs().max() <= 1
    difference = (changed - pictures).abs().mean(dim=(1, 2, 3))
    assert difference.min() > 0.01 and 2 * difference.min() < difference.max() < 0.4
    assert torch.equal(changed, lessons.reshaped(pictures, torch.Generator().manual_seed(0)))


def test_what_cannot_be_distilled_is_refused(taught, wardrobe, crops, teachers):
    with pytest.raises(ValueError, match="drawn_ir is not distilled"):
        Distillation(DistillationConfig("drawn_ir"), taught)
    with pytest.raises(ValueError, match=r"learns from .*; no lesson asked edgeface_xs"):
        Distillation(DistillationConfig("distilled_plain"), taught)
    with pytest.raises(ValueError, match="0 teachers"):
        Tutor(wardrobe, crops, [])
