"""What adversaries learn: purifiers, makeup removal, a verifier and a detector."""

from dataclasses import replace

import fakes
import numpy as np
import pytest
import torch

from amtgan_lib import evaluation
from amtgan_lib.experiments import adversaries
from amtgan_lib.experiments.adversaries import (
    SHRINK,
    Denoising,
    autoencoder,
    fitted_detector,
    fitted_verifier,
    purifier,
    traces,
    without_makeup,
)

SHORT = Denoising(steps=40, batch=4)


# ---------------------------------------------------------------- faces changed once more


def test_a_purifier_gives_the_crop_to_its_network():
    crop = fakes.face_crop(fakes.smooth(1)[0])
    method = purifier("brighter", lambda image: image + 0.5, fakes.SIZE)
    assert torch.equal(method.change(crop, crop), (crop.image + 0.5).clamp(-1, 1))


def test_an_autoencoder_takes_noise_away_and_is_trained_once(tmp_path, monkeypatch):
    faces, file = fakes.face_set(6, 1), tmp_path / "autoencoder.safetensors"
    network = autoencoder(faces, file, SHORT)
    clean = faces.batch().image
    fresh = adversaries.Autoencoder(SHORT.width)
    assert (network(clean) - clean).abs().mean() < 0.6 * (fresh(clean) - clean).abs().mean()
    with monkeypatch.context() as patched:
        patched.setattr(adversaries, "_denoise", lambda *_: pytest.fail("it is trained again"))
        kept = autoencoder(faces, file, SHORT)
    again = autoencoder(faces, tmp_path / "again.safetensors", SHORT)
    for other in (kept, again):
        assert all(torch.equal(*pair) for pair in zip(network.parameters(), other.parameters(), strict=True))


def test_a_file_of_another_training_is_not_taken_for_this_one(tmp_path):
    faces, file = fakes.face_set(6, 1), tmp_path / "autoencoder.safetensors"
    first = autoencoder(faces, file, replace(SHORT, steps=1))
    second = autoencoder(faces, file, replace(SHORT, steps=2))
    assert not torch.equal(first(faces.batch().image), second(faces.batch().image))


def made_up(lips: tuple[float, float, float]):
    """A grey face whose lips have a colour."""
    crop = fakes.face_crop(torch.zeros(3, 64, 64))
    return replace(crop, image=torch.where(crop.masks[0] > 0.5, torch.tensor(lips)[:, None, None], crop.image))


def test_makeup_is_taken_off_the_lips_and_a_bare_face_stays():
    bare, painted = made_up((0.1, -0.1, -0.1)), made_up((0.8, -0.8, -0.8))
    remover, lips = without_makeup(bare), painted.masks[0] > 0.5
    away = [(image - bare.image).abs()[:, lips].mean() for image in (painted.image, remover.change(painted, painted))]
    assert away[1] < 0.4 * away[0]
    assert torch.allclose(remover.change(bare, painted), bare.image, atol=0.01)


# ---------------------------------------------------------------- a verifier


def photos(people: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors of each person; in the first one, axis 0 says nothing about who it is."""
    draw = np.random.default_rng(seed)
    own = draw.normal(size=(people, 12))
    pair = [own + 0.1 * draw.normal(size=own.shape) for _ in range(2)]
    pair[0][:, 0] += shift * draw.choice([-1, 1], people)
    first, second = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in pair)
    return first, second


def test_a_verifier_learns_to_pass_over_what_protection_adds():
    clean, protected, tested = photos(40, 0, 1), photos(40, 8, 2), photos(30, 8, 3)
    control, verifier = fitted_verifier(*clean), fitted_verifier(*protected)

    def own(layer) -> float:
        return float((layer(tested[0]) * layer(tested[1])).sum(axis=1).mean())

    assert own(lambda vectors: vectors) < 0.4 and own(control) < 0.4 < 0.8 < own(verifier)
    strangers = verifier(tested[0]) @ verifier(tested[1]).T
    assert abs(strangers[~np.eye(30, dtype=bool)].mean()) < 0.1


def test_a_verifier_whitens_what_differs_between_photos_of_one_person():
    one, other = photos(200, 0, 1)
    verifier, difference = fitted_verifier(one, other), one - other
    within = difference.T @ difference / 400
    mixed = (1 - SHRINK) * within + SHRINK * np.trace(within) / 12 * np.eye(12)
    np.testing.assert_allclose(verifier.matrix @ mixed @ verifier.matrix, np.eye(12), atol=1e-9)


def test_faces_that_were_not_found_teach_nothing_and_stay_unknown():
    one, other = photos(40, 0, 1)
    holed = one.copy()
    holed[3] = np.nan
    kept = np.arange(40) != 3
    verifier = fitted_verifier(holed, other)
    np.testing.assert_allclose(verifier.matrix, fitted_verifier(one[kept], other[kept]).matrix)
    assert np.isnan(verifier(holed)[3]).all() and np.isfinite(verifier(holed)[kept]).all()
    with pytest.raises(ValueError, match="two faces each, and there are none"):
        fitted_verifier(np.full_like(one, np.nan), other)


def test_strangers_whom_a_verifier_was_not_fitted_on_give_the_threshold_that_others_need():
    """Of six people in twelve directions nobody is like another, so their own threshold takes anybody."""
    learned, tested, people = photos(6, 0, 1), photos(200, 0, 2), [str(number) for number in range(6)]
    verifier = fitted_verifier(*learned)
    own = evaluation.impostor_scores(verifier(learned[0]) @ verifier(learned[1]).T, people, people)
    unseen = adversaries.unseen_strangers(*learned, people)
    true = evaluation.impostor_scores(verifier(tested[0]) @ verifier(tested[1]).T, range(200), range(200))
    wrong = [(true > evaluation.calibrate(strangers, [0.1])[0.1]).mean() for strangers in (own, unseen)]
    assert len(unseen) == 12 and wrong[1] < 0.15 < 0.3 < wrong[0]


# ---------------------------------------------------------------- a detector


def grained(count: int, seed: int, grain: float) -> torch.Tensor:
    noise = torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
    return (fakes.smooth(count, 64, seed) + grain * noise).clamp(-1, 1)


def test_a_detector_tells_grain_that_it_has_learned_from_none():
    detector = fitted_detector(traces(grained(12, 1, 0.02)), traces(grained(12, 2, 0.06)))
    clean, protected = detector(traces(grained(10, 3, 0.02))), detector(traces(grained(10, 4, 0.06)))
    assert evaluation.area_under_curve(clean, protected) > 0.95


def test_a_detector_finds_nothing_where_nothing_was_done():
    seen = traces(grained(12, 1, 0.02))
    assert seen.shape == (12, 240)
    scores = fitted_detector(seen, seen)(traces(grained(10, 3, 0.02)))
    assert evaluation.area_under_curve(scores, scores) == pytest.approx(0.5)
    assert np.abs(scores).max() < 1e-6
