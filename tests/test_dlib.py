"""dlib's recogniser: a judge as `face_recognition` asks it, that gives no hints; it is optional."""

import numpy as np
import pytest
import torch
from fakes import crop_points, plain_set, smooth

from amtgan_lib import datasets, evaluation, faces, recognizers
from amtgan_lib.cli import asking
from amtgan_lib.evaluation import recognition
from amtgan_lib.hints import gradient_hints
from amtgan_lib.images import to_uint8
from amtgan_lib.methods import Guide, MethodError
from amtgan_lib.methods.targets import Target
from amtgan_lib.recognizers import OPEN, Judge, dlib_resnet, partition
from amtgan_lib.training import TrainConfig

needs_dlib = pytest.mark.skipif(not dlib_resnet.installed(), reason="the extra dlib is not installed")
ONE_SENTENCE = "dlib only judges: it has no gradient, so it can neither train nor give hints"


class Colours(torch.nn.Module):
    """Takes the mean colour of a face, three times as large, for its descriptor."""

    def forward(self, images, points=None):
        return 3 * images.mean(dim=(2, 3))


@pytest.fixture
def judge():
    """A judge like dlib's, without dlib."""
    return Judge(recognizers.spec("dlib"), Colours(), "f00d", {0.01: 0.9})


@pytest.fixture(scope="module")
def real():
    return recognizers.load("dlib")


# ---------------------------------------------------------------- a judge, and nothing else


def test_without_the_extra_it_is_not_at_hand_and_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(dlib_resnet, "find_spec", lambda name: None)
    assert recognizers.at_hand(["dlib"]) == () and "dlib" not in recognizers.judges_at_hand()
    assert recognizers.zoo("open") == OPEN and recognizers.zoo("open and own") == (*OPEN, "distilled")
    with pytest.raises(FileNotFoundError, match=r'^dlib is not installed: uv pip install "amtgan-lib\[dlib\]"$'):
        recognizers.load("dlib")
    with pytest.raises(asking.NotDone, match="the recogniser dlib cannot be loaded: dlib is not installed"):
        asking.panel(["dlib"], 0.01)


def test_with_the_extra_it_is_one_of_the_open_ones(monkeypatch):
    monkeypatch.setattr(dlib_resnet, "find_spec", lambda name: name)
    assert recognizers.zoo("open") == (*OPEN, "dlib") and recognizers.at_hand(["dlib"]) == ("dlib",)
    assert "dlib" in recognizers.judges_at_hand()
    assert "dlib" not in (*recognizers.zoo("drawn"), *recognizers.zoo("published"), *OPEN)


@pytest.mark.parametrize(
    ("split", "held_out", "judges"),
    [
        ("family", "edgeface", ("edgeface_xs", "edgeface_xxs", "dlib")),
        ("leave one out", "edgeface_xs", ("edgeface_xs", "dlib")),
        ("family", "dlib_resnet", ("dlib",)),
        ("leave one out", "dlib", ("dlib",)),
    ],
)
def test_under_every_split_it_stands_among_the_judges(split, held_out, judges):
    trained, found = partition(split, held_out, (*OPEN, "dlib"))
    assert found == judges and trained == tuple(name for name in OPEN if name not in judges)


def test_its_presence_alone_is_no_held_out_family():
    with pytest.raises(ValueError, match="held_out is 'iresnet'"):
        partition("family", "iresnet", (*OPEN, "dlib"))


def test_it_cannot_train_or_give_hints(judge):
    for refused in (
        lambda: recognizers.refuse_overlap(["mobile_face", "dlib"], ["edgeface_xs"]),
        lambda: TrainConfig(recognizers=("edgeface_xs", "dlib")),
        lambda: judge.features(smooth(1)),
        lambda: gradient_hints(smooth(1), crop_points(32)[None], [judge], [torch.ones(3)]),
    ):
        with pytest.raises(ValueError, match=f"^{ONE_SENTENCE}$"):
            refused()
    with pytest.raises(MethodError, match=f"^{ONE_SENTENCE}$"):
        Guide([judge], Target("somebody", {"dlib": torch.ones(3)}))


def test_its_vectors_are_compared_by_cosine_and_its_descriptors_as_they_are(judge):
    images = smooth(3)
    found = recognizers.embed_many(judge, images.clone().requires_grad_(), crop_points(32).expand(3, 5, 2))
    assert torch.allclose(found.norm(dim=1), torch.ones(3)) and not found.requires_grad
    assert torch.allclose(judge.descriptors(images), 3 * images.mean(dim=(2, 3)), atol=0.05)  # squeezed to its size
    calibrated = judge.with_thresholds({0.01: 0.5})
    assert (
        isinstance(calibrated, Judge) and calibrated.thresholds == {0.01: 0.5} and calibrated.network is judge.network
    )


def test_the_rule_of_its_own_counts_pairs_that_are_near(judge):
    """Second photos have half the brightness: 0.5 x and 1.0 x the distance of 0.6 away, and strangers farther."""
    side = plain_set({"a/1": (0.2, 0.2, 0.2), "a/2": (0.2, 0.9, 0.2), "a/3": (0.9, 0.2, 0.9)})
    pair = evaluation.two_photos(side)
    same, different = recognition.own_rule_rows(pair, judge, **dict.fromkeys(ABOUT, ""))
    assert (same.metric, different.metric) == ("same person, nearer than 0.6", "different people, nearer than 0.6")
    descriptors = [3 * (np.array(c) * 2 - 1) for c in ((0.2,) * 3, (0.2, 0.9, 0.2), (0.9, 0.2, 0.9))]
    halves = [3 * (np.array(c) - 1) for c in ((0.2,) * 3, (0.2, 0.9, 0.2), (0.9, 0.2, 0.9))]
    near = np.array([[np.linalg.norm(a - b) < 0.6 for b in halves] for a in descriptors])
    assert same.value == pytest.approx(np.diag(near).mean()) and same.n == 3
    assert different.value == pytest.approx(near[~np.eye(3, dtype=bool)].mean()) and different.n == 6


ABOUT = ("experiment", "preset", "method", "recogniser", "dataset", "target")


# ---------------------------------------------------------------- dlib itself


@needs_dlib
def test_a_face_does_not_depend_on_its_batch_and_may_be_a_whole_picture(real):
    images, points = smooth(3, 160, cells=9), crop_points(160).expand(3, 5, 2)
    for given in (points, None):
        together = real.embed(images, given)
        alone = [real.embed(images[i : i + 1], None if given is None else given[i : i + 1]) for i in range(3)]
        assert together.shape == (3, 128) and torch.allclose(together, torch.cat(alone), atol=1e-5)
        assert (
            torch.allclose(together.norm(dim=1), torch.ones(3), atol=1e-5) and (together[0] - together[1]).norm() > 0.01
        )
    assert len(real.weights_sha256) == 64 and (real.name, real.family) == ("dlib", "dlib_resnet")


@needs_dlib
def test_points_that_are_no_face_are_refused(real):
    with pytest.raises(ValueError, match="five different finite"):
        real.embed(smooth(1), torch.zeros(1, 5, 2))


@pytest.fixture(scope="module")
def london(mirror):
    """Crops of two photos, neutral and smiling, of eight people of the London set."""
    pytest.importorskip("mediapipe")
    manifest = datasets.available_manifest()
    rows = manifest[manifest["set"] == "london"].groupby("person").filter(lambda photos: len(photos) == 2)
    assets = rows.sort_values(["person", "asset"])["asset"].head(16)
    crops = [faces.detect_one(datasets.file_of(asset), 256) for asset in assets]
    return torch.stack([crop.image for crop in crops]), torch.stack([crop.points for crop in crops])


@needs_dlib
@pytest.mark.mirror
def test_two_photos_of_one_person_are_nearer_than_those_of_two(real, london):
    descriptors = real.descriptors(*london)
    distance = torch.cdist(descriptors, descriptors).numpy()
    person = np.arange(16) // 2
    same = person[:, None] == person[None]
    pairs = np.triu(np.ones_like(same), 1).astype(bool)
    assert distance[same & pairs].max() < 0.6 < distance[~same & pairs].mean()
    assert distance[same & pairs].max() < distance[~same & pairs].min()


@needs_dlib
@pytest.mark.mirror
def test_descriptors_are_those_of_face_recognition(real, london):
    """`face_recognition.face_encodings`: dlib's detector, five landmarks, descriptor. Equal where the box is equal."""
    import dlib

    predictor = dlib.shape_predictor(str(dlib_resnet.file(dlib_resnet.LANDMARKS)))
    encoder = dlib.face_recognition_model_v1(str(dlib_resnet.file(dlib_resnet.NETWORK)))
    images, points = (side[:6] for side in london)
    pictures = [np.ascontiguousarray(picture) for picture in to_uint8(images)]
    boxes = dlib_resnet.rectangles(points)

    def encoding(picture, box):
        return np.array(encoder.compute_face_descriptor(picture, predictor(picture, box), 1))

    ours = real.descriptors(images, points).numpy()
    np.testing.assert_allclose(ours, [encoding(*each) for each in zip(pictures, boxes)], atol=1e-5)
    detector = dlib.get_frontal_face_detector()
    theirs = [encoding(picture, detector(picture, 1)[0]) for picture in pictures]
    assert 0 < np.linalg.norm(ours - theirs, axis=1).max() < 0.2
