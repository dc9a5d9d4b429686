"""Targets: people, points of one's own, and nobody, who is to be far from everybody."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from amtgan_lib import faces, portraits, recognizers
from amtgan_lib.images import to_pil
from amtgan_lib.methods import targets
from amtgan_lib.methods.targets import Target


@pytest.fixture(scope="module")
def networks():
    return [recognizers.load(name) for name in ("drawn_ir", "drawn_mobile")]


@pytest.fixture(scope="module")
def people():
    """Twelve drawn people of the experiments' world, bare faces."""
    numbers = range(12)
    return portraits.draw(portraits.people(numbers), portraits.no_makeup(12), portraits.scenes(numbers), 128)


def known(people, networks) -> dict[str, torch.Tensor]:
    return {each.name: each.embed(people.image, people.points) for each in networks}


def test_one_photo_is_its_embedding_and_several_are_their_mean(networks, people):
    one = targets.of_faces(people.image[:1], people.points[:1], networks, "one")
    several = targets.of_faces(people.image[:3], people.points[:3], networks, "three")
    for each in networks:
        vectors = each.embed(people.image[:3], people.points[:3])
        torch.testing.assert_close(one.embeddings[each.name], vectors[0])
        torch.testing.assert_close(several.embeddings[each.name], F.normalize(vectors.mean(0), dim=0))


def test_vectors_of_any_length_become_unit_vectors_in_the_order_asked_for(networks):
    target = Target("mine", {"drawn_mobile": torch.full((128,), 3.0), "drawn_ir": torch.arange(128.0)})
    first, second = target.of(networks)
    assert first.norm() == pytest.approx(1) and second.norm() == pytest.approx(1)
    assert first[5] > first[4] and second[5] == second[4]


@pytest.mark.parametrize("wrong", [torch.zeros(128), torch.ones(2, 128), torch.full((128,), float("nan"))])
def test_what_is_no_vector_is_refused(wrong):
    with pytest.raises(ValueError, match=r"one vector other than zero for each recogniser, got drawn_ir \("):
        Target("broken", {"drawn_ir": wrong})


def test_a_recogniser_that_the_target_does_not_know_is_named(networks):
    target = Target("half", {"drawn_ir": torch.ones(128)})
    with pytest.raises(ValueError, match="'half' has no embedding for drawn_mobile; it has drawn_ir"):
        target.of(networks)


def test_photos_are_cropped_and_one_without_a_face_is_refused(networks, people):
    pytest.importorskip("mediapipe")
    target = targets.of_photos([to_pil(people.image[0])], networks, "photo", size=128)
    direct = targets.of_faces(people.image[:1], people.points[:1], networks, "drawn")
    for each in networks:
        assert target.embeddings[each.name] @ direct.embeddings[each.name] > 0.8
    with pytest.raises(faces.FaceError, match="no face was found"):
        targets.of_photos([to_pil(torch.zeros(3, 128, 128))], networks, "wall")
    with pytest.raises(faces.FaceError, match="at least one photo"):
        targets.of_photos([], networks, "none")


@pytest.fixture(params=[8, pytest.param(targets.CROWD, marks=pytest.mark.slow)])
def crowd(request, monkeypatch):
    """How many drawn people there are to choose a pair from; drawing them takes the time."""
    monkeypatch.setattr(targets, "CROWD", request.param)


def test_nobody_keeps_away_from_the_people_that_are_named(networks, people, crowd):
    gallery = known(people, networks)
    point, blind = targets.nobody(networks, gallery), targets.nobody(networks)
    assert point.name == blind.name == "nobody"
    away, anyhow = (max(targets.nearest(each, gallery).values()) for each in (point, blind))
    assert away < min(each.thresholds[0.01] for each in networks) and away <= anyhow


def test_nobody_is_always_the_same_point(networks):
    first, second = targets.nobody(networks), targets.nobody(networks)
    assert all(torch.equal(first.embeddings[name], second.embeddings[name]) for name in first.embeddings)


def test_a_pair_that_is_somebody_is_passed_over(networks, crowd):
    taken = targets.nobody(networks)
    gallery = {name: vector[None] for name, vector in taken.embeddings.items()}
    assert targets.nearest(taken, gallery) == pytest.approx(dict.fromkeys(gallery, 1.0))
    assert all(cosine < 0.3 for cosine in targets.nearest(targets.nobody(networks, gallery), gallery).values())


def test_the_stored_nobody_is_what_is_drawn(tmp_path):
    with np.load(targets.NOBODY_FILE) as stored, np.load(targets.store_nobody(tmp_path / "nobody.npz")) as drawn:
        difference = np.abs(stored["image"].astype(int) - drawn["image"])
        assert difference.max() <= 1  # another processor rounds otherwise
        np.testing.assert_allclose(stored["points"], drawn["points"], atol=1e-3)


def test_nobody_is_not_drawn_when_a_photo_is_protected(networks, monkeypatch):
    monkeypatch.setattr(portraits, "draw", lambda *_, **__: pytest.fail("drawn"))
    assert targets.nobody(networks).name == "nobody"
