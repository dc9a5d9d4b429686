"""Training the recognisers of the drawn world: their faces, the angular margin, the views, the loss going down."""

import math

import fakes
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import portraits
from amtgan_lib.recognizers import training as recognizer_training
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.training import (
    CROP,
    TRAINING_SEED,
    VALIDATION_SEED,
    DrawnFaces,
    RecognizerConfig,
    RecognizerTrainer,
    angular_margin_loss,
    draw_faces,
    varied,
    verification,
)

PEOPLE, PHOTOS = 6, 6


@pytest.fixture(scope="module")
def drawn_faces() -> DrawnFaces:
    return draw_faces(PEOPLE, PHOTOS, seed=1)


# --- faces --------------------------------------------------------------------------------------------------------


def test_faces_have_their_person(drawn_faces):
    assert len(drawn_faces) == PEOPLE * PHOTOS
    assert drawn_faces.crops.shape == (PEOPLE * PHOTOS, CROP, CROP, 3) and drawn_faces.crops.dtype == np.uint8
    assert drawn_faces.person.tolist() == [person for person in range(PEOPLE) for _ in range(PHOTOS)]
    values = drawn_faces.crops.reshape(len(drawn_faces), -1)
    assert len(np.unique(values, axis=0)) == len(drawn_faces) and (values.std(1) > 10).all()


def asked_for(monkeypatch, people: int, photos: int, seed: int) -> list[tuple]:
    """The arguments of every call of portraits.draw; grey pictures come back."""
    calls = []

    def draw(who, makeup, moment, size):
        calls.append((who, makeup, moment, size))
        points = template(size).float().expand(len(who), 5, 2)
        return portraits.Portraits(torch.zeros(len(who), 3, size, size), points, points, points)

    monkeypatch.setattr(portraits, "draw", draw)
    draw_faces(people, photos, seed)
    return calls


def test_each_photo_is_of_its_person_at_a_moment_of_its_own(monkeypatch):
    calls = asked_for(monkeypatch, 20, 5, seed=1)
    who = torch.cat([call[0].values for call in calls])
    assert torch.equal(who, portraits.people(np.repeat(np.arange(20), 5), seed=1).values)
    moments = torch.cat([call[2].values for call in calls])
    assert len(moments.unique(dim=0)) == 100
    assert torch.equal(moments[:5], portraits.scenes(range(5), seed=1).values)


def test_about_half_of_the_photos_are_in_makeup(monkeypatch):
    worn = [call[1] for call in asked_for(monkeypatch, 60, 5, seed=1)]
    bare = {name: torch.cat([getattr(rows, name).flatten() for rows in worn]) < 1e-3 for name in portraits.OPACITIES}
    lips = bare["lip_opacity"]  # never as low where it is worn
    assert len(lips) == 300 and 0.4 < lips.float().mean() < 0.6
    assert all((bare[name] | ~lips).all() for name in bare)  # who is bare is so altogether
    patterns = [(rows.lip_opacity.flatten() < 1e-3).tolist()[:40] for rows in worn]
    assert len(patterns) > 5 and len(set(map(tuple, patterns))) == len(patterns)  # no two groups are alike
    both = [lips[start : start + 5].float().mean() for start in range(0, 300, 5)]
    assert np.mean([0 < share < 1 for share in both]) > 0.7  # most people are seen both ways


def test_faces_depend_on_the_seed_alone(drawn_faces):
    again = draw_faces(2, PHOTOS, seed=1)
    assert np.array_equal(again.crops, drawn_faces.crops[: 2 * PHOTOS])
    other = draw_faces(1, PHOTOS, seed=2)
    assert np.abs(other.crops.astype(int) - drawn_faces.crops[:PHOTOS]).mean() > 5
    assert TRAINING_SEED != VALIDATION_SEED and 0 not in (TRAINING_SEED, VALIDATION_SEED)  # 0: the experiments


def test_crops_are_aligned(drawn_faces):
    """Eyes are dark where the template has them: darker than the cheeks below."""
    grey = drawn_faces.crops.mean(-1)
    eyes, cheeks = (grey[:, y - 3 : y + 4, x - 5 : x + 6].min((1, 2)) for y, x in ((52, 38), (72, 36)))
    assert (eyes < cheeks).mean() > 0.9


def test_several_processes_draw_the_same():
    seen = []

    def progress(chunks):
        for chunk in chunks:
            seen.append(len(chunk))
            yield chunk

    one, two = draw_faces(16, 1, seed=1), draw_faces(16, 1, seed=1, workers=2, progress=progress)
    assert seen == [8, 8]
    assert np.array_equal(one.crops, two.crops) and np.array_equal(one.person, two.person)


# --- the loss -----------------------------------------------------------------------------------------------------


@pytest.fixture
def example() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    vectors, centres = (torch.randn(count, 8, generator=draw) * 3 for count in (10, 4))
    return vectors, torch.arange(10) % 4, centres


def by_hand(vectors: Tensor, person: Tensor, centres: Tensor, scale: float, margin: float) -> float:
    """ArcFace, one number at a time."""
    losses = []
    for vector, own in zip(vectors.tolist(), person.tolist()):
        logits = []
        for number, centre in enumerate(centres.tolist()):
            dot = sum(a * b for a, b in zip(vector, centre))
            angle = math.acos(dot / math.hypot(*vector) / math.hypot(*centre))
            logits.append(scale * math.cos(angle + (margin if number == own else 0)))
        losses.append(math.log(sum(math.exp(each - logits[own]) for each in logits)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("scale", "margin"), [(1.0, 0.3), (24.0, 0.3), (8.0, 0.5)])
def test_the_loss_is_arcface(example, scale, margin):
    vectors, person, centres = example
    cosine = F.cosine_similarity(vectors, centres[person])
    assert (cosine > -math.cos(margin)).all()  # else the formula itself is another
    loss = angular_margin_loss(vectors, person, centres, scale, margin)
    assert loss.item() == pytest.approx(by_hand(vectors, person, centres, scale, margin), rel=1e-4)


def test_without_a_margin_it_is_the_scaled_softmax_of_cosines(example):
    vectors, person, centres = example
    cosines = F.cosine_similarity(vectors[:, None], centres[None], dim=2)
    torch.testing.assert_close(
        angular_margin_loss(vectors, person, centres, 24.0, 0.0), F.cross_entropy(24 * cosines, person)
    )


def test_lengths_do_not_matter(example):
    vectors, person, centres = example
    expected = angular_margin_loss(vectors, person, centres, 24.0, 0.3)
    torch.testing.assert_close(angular_margin_loss(vectors * 7, person, centres * 0.1, 24.0, 0.3), expected)
    torch.testing.assert_close(
        angular_margin_loss(vectors.bfloat16(), person, centres, 24.0, 0.3), expected, rtol=2e-2, atol=0
    )


def test_a_larger_margin_is_a_larger_loss(example):
    losses = [angular_margin_loss(*example, 24.0, margin).item() for margin in (0.0, 0.1, 0.3, 0.5)]
    assert losses == sorted(losses) and losses[-1] > losses[0] + 1


def test_the_loss_falls_all_the_way_to_the_own_centre():
    """From the far side, where cos(angle + margin) alone would rise again, to the centre itself."""
    centres = torch.eye(2)
    angles = torch.linspace(math.pi, 0, 91)
    losses = [
        angular_margin_loss(torch.tensor([[a.cos(), a.sin()]]), torch.tensor([0]), centres, 4.0, 0.5) for a in angles
    ]
    own = [loss - math.log(1) for loss in losses]
    logits = [4 * (math.cos(a + 0.5) if a < math.pi - 0.5 else math.cos(a) - 0.5 * math.sin(0.5)) for a in angles]
    expected = [math.log1p(math.exp(4 * math.sin(a) - logit)) for a, logit in zip(angles, logits)]
    assert [float(each) for each in own] == pytest.approx(expected, abs=1e-2)
    assert all(a >= b - 1e-4 for a, b in zip(logits[1:], logits))  # towards the centre the own logit only rises


def test_gradients_reach_vectors_and_centres_and_stay_finite(example):
    vectors, person, centres = (each.clone() for each in example)
    # Exactly on the own centre and exactly opposite, where acos has no slope.
    centres[:2] = torch.eye(8)[:2]
    vectors[0], vectors[1] = 2 * centres[0], -centres[1]
    vectors.requires_grad_(), centres.requires_grad_()
    angular_margin_loss(vectors, person, centres, 24.0, 0.3).backward()
    for gradient in (vectors.grad, centres.grad):
        assert gradient.isfinite().all() and (gradient[2:].abs().amax(1) > 0).all()
    moved = vectors.detach() - 1e-2 * vectors.grad
    before, after = (angular_margin_loss(each, person, centres, 24.0, 0.3).item() for each in (vectors, moved))
    assert after < before


# --- views --------------------------------------------------------------------------------------------------------


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [64, 80])
def test_views_have_the_size_and_range_of_the_network(drawn_faces, size):
    views = varied(drawn_faces.crops[:5], size, generator())
    assert views.shape == (5, 3, size, size) and views.dtype == torch.float32
    assert views.isfinite().all() and views.abs().max() <= 1 and views.std() > 0.1


def test_views_depend_on_the_generator_alone(drawn_faces):
    crops = drawn_faces.crops[[3, 3, 3]]
    first = varied(crops, 64, generator())
    torch.manual_seed(99)
    assert torch.equal(varied(crops, 64, generator()), first)
    assert (varied(crops, 64, generator(1)) - first).abs().mean() > 0.02
    assert (first[0] - first[1]).abs().mean() > 0.02 < (first[1] - first[2]).abs().mean()


def test_without_spread_a_view_is_the_shrunken_crop(drawn_faces, monkeypatch):
    """Every die in the middle of its range: no turn, no shift, no mirror, no light, no colour, no noise."""
    monkeypatch.setattr(recognizer_training.torch, "rand", lambda *shape, **_: torch.full(shape, 0.5))
    monkeypatch.setattr(recognizer_training.torch, "randn", lambda shape, **_: torch.zeros(shape))
    crops = drawn_faces.crops[:4]
    images = torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(varied(crops, CROP // 2, generator()), F.avg_pool2d(images, 2), rtol=0, atol=1e-4)
    smaller = F.interpolate(images, (40, 40), mode="bilinear", antialias=True)
    assert (varied(crops, 40, generator()) - smaller).abs().mean() < 0.04


def spot(side: int, count: int) -> np.ndarray:
    """A bright spot on grey, at a quarter from the left and at a third from the top."""
    line = np.arange(side)
    square = ((line[None] - side / 4) ** 2 + (line[:, None] - side / 3) ** 2) / (side / 14) ** 2
    picture = (90 + 130 * np.exp(-square)).astype(np.uint8)
    return np.repeat(picture[None, :, :, None], 3, axis=3).repeat(count, 0)


def test_views_are_moved_both_ways_alike():
    views = varied(spot(CROP, 400), 56, generator()).mean(1)
    weight = (views - views.flatten(1).median(1).values[:, None, None] - 0.4).clamp(min=0)
    line = torch.arange(56.0)
    y, x = ((weight.sum(axis) * line).sum(1) / weight.sum((1, 2)) for axis in (2, 1))
    left = x < 27.5
    assert 0.4 < left.float().mean() < 0.6  # the others are mirrored
    x = torch.where(left, x, 55 - x)
    assert x.mean().item() == pytest.approx(56 / 4 - 0.25, abs=0.4)
    assert y.mean().item() == pytest.approx(56 / 3 - 0.25, abs=0.4)
    for place in (x, y):  # a shift of up to 5 % of half the side, and some turn and zoom
        assert 0.5 < place.std() < 2.5 and (place - place.mean()).abs().max() < 5
    level = views.flatten(1).median(1).values
    assert level.mean().item() == pytest.approx(90 / 127.5 - 1, abs=0.03)
    assert 0.05 < level.std() < 0.2


def test_the_mean_of_many_views_is_still_the_person(drawn_faces):
    crops = drawn_faces.crops[::PHOTOS]
    plain = F.avg_pool2d(torch.from_numpy(crops).permute(0, 3, 1, 2) / 127.5 - 1, 2)
    plain = (plain + plain.flip(-1)) / 2
    mean = torch.stack([varied(crops, 56, generator(seed)) for seed in range(24)]).mean(0)
    distance = torch.cdist(mean.flatten(1), plain.flatten(1))
    assert distance.argmin(1).tolist() == list(range(PEOPLE))


# --- training -----------------------------------------------------------------------------------------------------

CONFIG = RecognizerConfig("drawn_irse", epochs=5, batch=12)


def test_training_lowers_the_loss_and_gives_the_same_network_again(drawn_faces):
    trainer = RecognizerTrainer(CONFIG, drawn_faces)
    start = {key: value.clone() for key, value in trainer.network.state_dict().items()}
    assert trainer.network.training and trainer.steps == 15 and trainer.centres.shape == (PEOPLE, 128)
    seen = []
    history = trainer.train(lambda steps: seen.extend(steps) or iter(steps))
    assert not trainer.network.training and seen == list(range(15))
    losses = [row["loss"] for row in history]
    assert [row["step"] for row in history] == list(range(1, 16)) and np.isfinite(losses).all()
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])
    trained = trainer.network.state_dict()
    assert all((trained[key] != value).any() for key, value in start.items() if key.endswith("weight"))
    torch.manual_seed(99)
    other = RecognizerTrainer(CONFIG, drawn_faces)
    assert all(torch.equal(value, start[key]) for key, value in other.network.state_dict().items())
    assert [row["loss"] for row in other.train()] == losses
    assert all(torch.equal(value, trained[key]) for key, value in other.network.state_dict().items())


def test_another_seed_is_another_network(drawn_faces):
    first, second = (
        RecognizerTrainer(RecognizerConfig("drawn_irse", batch=12, seed=seed), drawn_faces).centres for seed in (0, 1)
    )
    assert not torch.equal(first, second)


def test_every_face_is_seen_once_an_epoch(drawn_faces, monkeypatch):
    trainer, batches = RecognizerTrainer(RecognizerConfig("drawn_irse", epochs=3, batch=12), drawn_faces), []

    def noted(crops, size, _):
        batches.append(crops)
        return torch.zeros(len(crops), 3, size, size)

    monkeypatch.setattr(recognizer_training, "varied", noted)
    monkeypatch.setattr(recognizer_training, "angular_margin_loss", lambda vectors, *_: vectors.sum())
    trainer.train()
    assert [len(batch) for batch in batches] == [12] * 9
    epochs = [np.concatenate(batches[start : start + 3]) for start in (0, 3, 6)]
    for epoch in epochs:
        assert len(np.unique(epoch.reshape(len(epoch), -1), axis=0)) == 36
    assert not np.array_equal(epochs[0], epochs[1])


def test_people_and_crops_stay_together(drawn_faces, monkeypatch):
    trainer = RecognizerTrainer(RecognizerConfig("drawn_irse", epochs=1, batch=12), drawn_faces)
    own = {crop.tobytes(): person for crop, person in zip(drawn_faces.crops, drawn_faces.person.tolist())}
    kept, pairs = [], []

    def noted(crops, size, _):
        kept.append(crops)
        return torch.zeros(len(crops), 3, size, size)

    def paired(vectors, person, *_):
        pairs.extend(zip(kept[-1], person.tolist()))
        return vectors.sum()

    monkeypatch.setattr(recognizer_training, "varied", noted)
    monkeypatch.setattr(recognizer_training, "angular_margin_loss", paired)
    trainer.train()
    assert len(pairs) == 36 and all(own[crop.tobytes()] == person for crop, person in pairs)


# --- verification -------------------------------------------------------------------------------------------------


def test_verification_splits_all_pairs_by_person():
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]
    crops = np.stack([np.full((CROP, CROP, 3), colour, np.uint8) for colour in colours for _ in range(3)])
    recognizer, faces = fakes.ColourRecognizer(), DrawnFaces(crops, np.repeat(np.arange(3), 3))
    same, different = verification(recognizer, faces)
    assert (len(same), len(different)) == (3 * 3, 9 * 8 // 2 - 9)
    assert same == pytest.approx(1, abs=1e-5) and different.max() < 0.3
    ((images, points),) = recognizer.shown
    assert images[0, 0, 0, 0].item() == pytest.approx(200 / 127.5 - 1)
    assert torch.equal(points, template(CROP).float().expand(9, 5, 2))  # crops are aligned already
