import copy
import json
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from fakes import by_rule, faces_at_a_zoom, ruled_recognizer
from PIL import Image

from amtgan_lib import assets, paths, recognizers
from amtgan_lib.recognizers.alignment import TEMPLATE_XY, align, similarity, template
from amtgan_lib.recognizers.edgeface import dequantised
from amtgan_lib.recognizers.recognizer import Recognizer

SMALL = (*recognizers.OPEN, "mobile_face", *recognizers.DRAWN)  # networks cheap enough to run often


def agrees(found, expected):
    """Every number to 1e-4 of itself plus 1e-4 of the typical size."""
    return np.allclose(found, expected, rtol=1e-4, atol=1e-4 * np.sqrt(np.mean(expected**2)))


class Seen(torch.nn.Module):
    """A network that shows its input."""

    def maps(self, images):
        return [images]


@pytest.fixture(scope="module", params=SMALL)
def recognizer(request):
    return ruled_recognizer(request.param)


# --- the published networks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recognizers.PUBLISHED)
def test_published_network_equals_the_golden_tensors(name, golden):
    published = json.loads((golden / "recognizer_state_dicts.json").read_text())[name]
    network = recognizers.build(name)
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == published
    tensors = np.load(golden / "recognizers.npz")
    row = recognizers.spec(name)
    images = F.interpolate(torch.from_numpy(tensors["images"]), row.input_size, mode="bilinear")
    with torch.no_grad():
        found = by_rule(network)(images).numpy()
    assert found.shape == (2, row.embedding)
    assert agrees(found, tensors[name])
    disturbed = tensors[name].copy()
    disturbed.flat[np.abs(disturbed).argmax()] *= 1.001
    assert not agrees(found, disturbed)


def test_load_reads_a_published_file_strictly(tmp_path, monkeypatch):
    network = by_rule(recognizers.build("mobile_face"))
    file = tmp_path / "mobile_face.pth"
    torch.save(network.state_dict(), file)
    monkeypatch.setattr(assets, "published_weights", lambda name: tmp_path / name)
    loaded = recognizers.load("mobile_face")
    images, _ = faces_at_a_zoom()
    assert torch.equal(loaded.network.linear.weight, network.linear.weight)
    assert loaded.thresholds == {0.1: 0.183635, 0.01: 0.301611, 0.001: 0.380878}
    with torch.no_grad():
        expected = network(F.interpolate(images, 112, mode="bilinear"))
        torch.testing.assert_close(loaded.embed(images), expected)
    state = network.state_dict()
    del state["linear.weight"]
    torch.save(state, file)
    with pytest.raises(RuntimeError, match=r"linear\.weight"):
        recognizers.load("mobile_face")


def test_facenet_drops_its_classifier_and_nothing_else():
    state = {"last_bn.weight": torch.ones(2), "logits.weight": torch.ones(2, 2), "logits.bias": torch.ones(2)}
    assert list(recognizers.spec("facenet").entries(state)) == ["last_bn.weight"]


# --- the open networks --------------------------------------------------------------------------------------------


def test_dequantised_gives_back_the_quantised_values():
    weight = torch.randn(4, 6)
    packed = torch.quantize_per_tensor(weight, 0.05, 0, torch.qint8)
    bias = torch.randn(4)
    state = {
        "model.norm.weight": torch.ones(3),
        "model.fc.scale": torch.tensor(1.0),
        "model.fc.zero_point": torch.tensor(0),
        "model.fc._packed_params.dtype": torch.qint8,
        "model.fc._packed_params._packed_params": (packed, bias),
    }
    floats = dequantised(state)
    assert set(floats) == {"model.norm.weight", "model.fc.weight", "model.fc.bias"}
    assert torch.equal(floats["model.fc.weight"], packed.dequantize())
    assert torch.equal(floats["model.fc.bias"], bias)


def london_neutral(mirror, count):
    """Neutral photos of the London set with the five points of their hand-placed landmarks."""
    photos = sorted(mirror.glob("debruine/webmorphR.stim/*/inst/neutral_front/*_03.jpg"))[:count]
    if len(photos) < count:
        pytest.skip("the mirror has no London photos")
    images, points = [], []
    for photo in photos:
        lines = photo.with_suffix(".tem").read_text().splitlines()[1:190]
        xy = np.array([line.split()[:2] for line in lines], dtype=np.float32)
        points.append(torch.from_numpy(xy[[0, 1, 55, 87, 93], ::-1].copy()))
        pixels = np.asarray(Image.open(photo).convert("RGB"), dtype=np.float32)
        images.append(torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1))
    return torch.stack(images), torch.stack(points)


@pytest.mark.mirror
@pytest.mark.parametrize("name", recognizers.OPEN)
def test_open_weights_load_strictly_and_tell_people_apart(name, mirror):
    images, points = london_neutral(mirror, 4)
    recognizer = recognizers.load(name)
    assert len(recognizer.weights_sha256) == 64
    mirrored = points[:, [1, 0, 2, 4, 3]] * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, images.shape[-1] - 1.0])
    with torch.no_grad():
        photos, flipped = recognizer.embed(images, points), recognizer.embed(images.flip(-1), mirrored)
    cosine = photos @ flipped.T
    other = ~torch.eye(4, dtype=torch.bool)
    assert cosine.diagonal().min() > 0.75
    assert cosine[other].max() < 0.5


# --- every recogniser ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aligned", [True, False])
def test_an_image_does_not_depend_on_its_batch(recognizer, aligned):
    images, points = faces_at_a_zoom()
    points = points if aligned else None
    with torch.no_grad():
        together = recognizer.embed(images, points)
        alone = [recognizer.embed(images[i : i + 1], points[i : i + 1] if aligned else None) for i in range(4)]
    assert together.shape == (4, recognizer.spec.embedding)
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-5)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(4))
    assert (together[0] - together[1]).norm() > 1e-3  # else the above says nothing


def test_faces_that_shrink_by_different_factors_stand_in_one_batch():
    """Each takes as many samples as it needs, alone or beside others."""
    images = torch.rand(3, 3, 160, 160) * 2 - 1
    points = torch.stack([template(size).float() + 4 for size in (60, 150, 110)])
    together = align(images, points, 50)
    alone = [align(images[i : i + 1], points[i : i + 1], 50) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_a_device_is_looked_at_once_and_aligns_by_points_on_the_cpu(recognizer, monkeypatch):
    """ "meta" is a device that nothing can be read back from."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # has no such device
    images, points = faces_at_a_zoom(2)
    elsewhere = recognizers.Recognizer(recognizer.spec, copy.deepcopy(recognizer.network), "").to("meta")
    with pytest.raises(RuntimeError, match="item"):
        elsewhere.embed(images.to("meta"))
    elsewhere.looked_on_device = True
    assert elsewhere.embed(images.to("meta")).shape == (2, recognizer.spec.embedding)
    assert align(images.to("meta"), points).is_meta
    with pytest.raises(ValueError, match="coincident"):
        align(images.to("meta"), 0 * points)


def test_the_gradient_reaches_the_image_and_no_weight(recognizer):
    images, points = faces_at_a_zoom(2)
    for given in (points, None):
        x = images.clone().requires_grad_()
        recognizer.embed(x, given)[:, 0].sum().backward()
        assert torch.isfinite(x.grad).all()
        assert (x.grad.flatten(1).abs().amax(1) > 0).all()
    x = images.clone().requires_grad_()
    maps = recognizer.features(x, points)
    assert len(maps) == 4
    assert all(a.shape[-1] > b.shape[-1] for a, b in pairwise(maps))
    sum(m.square().mean() for m in maps).backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in recognizer.parameters())


def test_train_keeps_eval(recognizer):
    images, _ = faces_at_a_zoom()
    before = {key: value.clone() for key, value in recognizer.state_dict().items()}
    assert recognizer.train() is recognizer
    torch.nn.Sequential(recognizer).train()
    with torch.no_grad():
        recognizer.embed(images)
    assert not any(module.training for module in recognizer.modules())
    assert all(torch.equal(value, before[key]) for key, value in recognizer.state_dict().items())


def test_without_points_the_whole_image_is_resized(recognizer):
    images, _ = faces_at_a_zoom(2)
    row = recognizer.spec
    whole = F.interpolate(images, row.input_size, mode="bilinear") / 2 + 0.5
    mean, std = torch.tensor(row.mean).view(3, 1, 1), torch.tensor(row.std).view(3, 1, 1)
    first, end = row.columns or (0, row.input_size)
    with torch.no_grad():
        expected = F.normalize(recognizer.network(((whole - mean) / std)[..., first:end]))
        torch.testing.assert_close(recognizer.embed(images), expected, rtol=0, atol=1e-5)


def test_published_and_drawn_preprocessing_change_nothing():
    for name in recognizers.PUBLISHED + recognizers.DRAWN:
        recognizer = Recognizer(recognizers.spec(name), torch.nn.Identity(), "none")
        assert torch.equal(recognizer.gain, torch.ones(1, 3, 1, 1))
        assert torch.equal(recognizer.offset, torch.zeros(1, 3, 1, 1))


def test_open_and_shipped_recognisers_know_their_thresholds_and_stricter_ones_are_higher():
    ours = {name: recognizers.load(name).thresholds for name in recognizers.NAMES if recognizers.spec(name).shipped}
    for known in (
        *ours.values(),
        *(recognizers.spec(name).thresholds for name in (*recognizers.OPEN, "dlib")),
    ):
        assert list(known) == [0.1, 0.01, 0.001] and list(known.values()) == sorted(known.values())


def test_open_thresholds_are_those_of_the_stored_calibration():
    stored = pd.read_csv(paths.MEASURED / "thresholds.csv", float_precision="round_trip")
    commits = pd.read_csv(paths.MEASURED / "recognition.csv", dtype=str).groupby("recogniser")["commit"].unique()
    assert set(stored["recogniser"]) == {*recognizers.OPEN, "dlib"}
    for name, rows in stored.groupby("recogniser"):
        row = recognizers.spec(name)
        assert row.thresholds == dict(zip(rows["far"], rows["threshold"]))
        facts = row.calibration
        assert ([facts.people], [facts.pairs]) == (rows["people"].unique(), rows["impostor_pairs"].unique())
        assert commits[name].tolist() == [facts.commit]  # of the run that stored both


def test_with_thresholds_shares_the_network():
    open_one = ruled_recognizer("mobilefacenet_foamliu")
    calibrated = open_one.with_thresholds({0.01: 0.25})
    assert open_one.thresholds == recognizers.spec("mobilefacenet_foamliu").thresholds
    assert calibrated.thresholds == {0.01: 0.25}
    assert calibrated.network is open_one.network


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.full((1, 3, 32, 32), 200.0), r"\[-1,1\]"),
        (torch.full((1, 3, 32, 32), float("nan")), "nan"),
        (torch.zeros(3, 32, 32), r"\(3, 32, 32\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "uint8"),
    ],
)
def test_embed_says_what_is_wrong_with_images(images, said):
    with pytest.raises(ValueError, match=said):
        ruled_recognizer("mobilefacenet_foamliu").embed(images)


# --- alignment ----------------------------------------------------------------------------------------------------


def placed(zoom, degrees, centre_yx):
    """The template's points moved by a similarity: template pixel -> picture pixel."""
    turn = torch.polar(torch.tensor(zoom, dtype=torch.float64), torch.deg2rad(torch.tensor(degrees).double()))
    z = torch.complex(template()[:, 1], template()[:, 0])
    moved = (z - z.mean()) * turn
    return torch.stack((moved.imag, moved.real), 1) + torch.tensor(centre_yx, dtype=torch.float64)


@pytest.mark.parametrize("size", [112, 160])
@pytest.mark.parametrize(("zoom", "degrees"), [(0.8, 0.0), (1.0, -15.0), (1.37, 20.0), (3.3, 8.0)])
def test_dots_land_on_the_template(size, zoom, degrees):
    height, width = 420, 460
    points = placed(zoom, degrees, (205.3, 221.8))
    y, x = torch.arange(height)[:, None], torch.arange(width)
    wide = max(1.5, 1.5 * zoom)
    dots = torch.stack([torch.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * wide**2)) for py, px in points])
    images = (2 * dots - 1)[:, None].expand(-1, 3, -1, -1).float()  # one picture a dot
    warped = align(images, points.expand(5, -1, -1), size)[:, 0] + 1
    pixel = torch.arange(size)
    mass = warped.sum((1, 2))
    found = torch.stack(((warped * pixel[:, None]).sum((1, 2)) / mass, (warped * pixel).sum((1, 2)) / mass), 1)
    assert (found - template(size)).abs().max() < 0.3
    assert (found.double() - template(size)).norm(dim=1).max() < 0.05


def test_template_is_x_left_to_right_and_y_down():
    (left_y, left_x), (right_y, right_x), nose, left_mouth, _ = template().tolist()
    assert left_x < right_x
    assert left_y < nose[0] < left_mouth[0]
    assert [left_x, left_y] == list(TEMPLATE_XY[0])
    assert abs(right_y - left_y) < 1
    # Twice the size: the picture's edges stay together, so pixel centre 0 becomes the boundary of 0 and 1, at 0.5.
    torch.testing.assert_close(template(224), 2 * template() + 0.5)


def test_similarity_is_umeyamas():
    torch.manual_seed(3)
    points = placed(1.4, 25.0, (100.0, 120.0)) + 4 * torch.randn(5, 2, dtype=torch.float64)
    scale, shift = similarity(points[None], template())
    p, q = points.flip(1).numpy(), template().flip(1).numpy()  # (x, y)
    p0, q0 = p - p.mean(0), q - q.mean(0)
    u, d, vt = np.linalg.svd(q0.T @ p0 / 5)
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation, zoom = u @ sign @ vt, (d * np.diag(sign)).sum() / (p0**2).sum(1).mean()
    expected = (zoom * rotation @ p.T).T + q.mean(0) - zoom * rotation @ p.mean(0)
    found = scale * torch.complex(points[:, 1], points[:, 0]) + shift
    np.testing.assert_allclose(torch.stack((found.real, found.imag), 1).numpy(), expected, atol=1e-9)


def test_shrinking_does_not_alias():
    stripes = torch.ones(1, 3, 480, 480)
    stripes[..., ::2] = -1  # the finest pattern there is: its mean is 0
    points = placed(4.0, 0.0, (240.0, 240.0))[None]
    inner = align(stripes, points)[..., 20:90, 20:90]
    assert inner.abs().max() < 0.05
    scale, _ = similarity(points, template())
    assert abs(scale.abs().item() - 0.25) < 1e-6


def test_outside_is_black_and_a_flat_picture_stays_flat():
    warped = align(torch.full((1, 3, 60, 60), 0.25), placed(0.9, 0.0, (30.0, 5.0))[None])
    assert torch.allclose(warped[..., 60, 0], torch.tensor(-1.0))
    assert torch.allclose(warped[..., 60:70, 60:80], torch.tensor(0.25), atol=1e-6)


def test_align_refuses_what_is_no_face():
    image = torch.zeros(1, 3, 64, 64)
    for points in (torch.full((1, 5, 2), 30.0), torch.full((1, 5, 2), float("nan"))):
        with pytest.raises(ValueError, match="five different finite"):
            align(image, points)
    with pytest.raises(ValueError, match=r"\(1,5,2\)"):
        align(image, torch.zeros(1, 68, 2))


# --- the table ----------------------------------------------------------------------------------------------------


def test_the_table_names_four_published_four_open_three_own_one_judge_and_four_drawn():
    assert recognizers.PUBLISHED == ("ir152", "irse50", "mobile_face", "facenet")
    assert recognizers.OPEN == ("mobilefacenet_foamliu", "mobilefacenet_xiaoccer", "edgeface_xs", "edgeface_xxs")
    assert recognizers.DRAWN == ("drawn_ir", "drawn_irse", "drawn_mobile", "drawn_inception")
    assert recognizers.JUDGES == ("dlib",)
    every = recognizers.PUBLISHED + recognizers.OPEN + recognizers.OWN + recognizers.JUDGES + recognizers.DRAWN
    assert sorted(recognizers.NAMES) == sorted(every)
    # What fools the student was learnt from its teachers: under the family split they stay on one side.
    assert recognizers.spec("distilled").family == "mobilefacenet"
    assert {recognizers.spec(name).family for name in ("edgeface_xs", "edgeface_xxs")} == {"edgeface"}
    with pytest.raises(TypeError):
        recognizers.spec("ir152").thresholds[0.01] = 0.0


def test_zoo_gives_a_set_by_its_word():
    judges = recognizers.at_hand(["dlib"])
    assert recognizers.zoo("open") == (*recognizers.OPEN, *judges)
    assert recognizers.zoo("open and own") == (*recognizers.OPEN, "distilled", *judges)
    assert recognizers.zoo("drawn") == recognizers.DRAWN
    assert recognizers.zoo("published") == recognizers.PUBLISHED
    with pytest.raises(ValueError, match="one of 'open', 'open and own', 'drawn', 'published', got 'small'"):
        recognizers.zoo("small")


def test_each_open_network_sees_what_its_authors_fed_it():
    imagenet = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1), torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
    expected = {  # of 8-bit pixels
        "mobilefacenet_foamliu": lambda pixels: (pixels / 255 - imagenet[0]) / imagenet[1],
        "mobilefacenet_xiaoccer": lambda pixels: (pixels[..., 8:104] - 127.5) / 128,
        "edgeface_xs": lambda pixels: (pixels / 255 - 0.5) / 0.5,
        "edgeface_xxs": lambda pixels: (pixels / 255 - 0.5) / 0.5,
    }
    pixels = torch.randint(256, (1, 3, 112, 112), generator=torch.Generator().manual_seed(5)).float()
    for name, prepared in expected.items():
        seen = Recognizer(recognizers.spec(name), Seen(), "none").features(pixels / 127.5 - 1)[0]
        torch.testing.assert_close(seen, prepared(pixels), rtol=0, atol=1e-5)


def test_an_unknown_name_is_answered_with_the_nearest():
    for call in (recognizers.build, recognizers.load, recognizers.spec):
        with pytest.raises(ValueError, match=r"'ir_152': did you mean 'ir152'\?"):
            call("ir_152")
    with pytest.raises(ValueError, match=r"there are .*facenet"):
        recognizers.spec("zzz")


def test_refuse_overlap():
    two = ["mobilefacenet_foamliu", "mobilefacenet_xiaoccer"]
    assert recognizers.refuse_overlap(two, ["edgeface_xs", "edgeface_xxs"]) is None
    with pytest.raises(ValueError, match=r"mobile_face \(family mobilefacenet\) cannot judge"):
        recognizers.refuse_overlap(two, ["edgeface_xs", "mobile_face"])
    assert recognizers.refuse_overlap(["ir152", "facenet"], ["irse50"], split="leave one out") is None
    with pytest.raises(ValueError, match="ir152"):
        recognizers.refuse_overlap(["ir152", "facenet"], ["ir152"], split="leave one out")
    with pytest.raises(ValueError, match="split must be"):
        recognizers.refuse_overlap(two, ["edgeface_xs"], split="none")


def test_recognisers_at_hand_are_those_whose_weights_lie_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("AMTGAN_ASSET_MIRROR", raising=False)
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(assets, "published", lambda: {"ir152.pth": {}})
    asked = ("edgeface_xs", "drawn_ir", "ir152", "facenet", "mobilefacenet_foamliu")
    assert recognizers.at_hand(asked) == ("drawn_ir", "ir152")
    file = tmp_path / "assets" / assets.get("edgeface_xs").relative
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert recognizers.at_hand(asked) == ("edgeface_xs", "drawn_ir", "ir152")
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path)
    assert recognizers.at_hand(asked) == ("edgeface_xs", "ir152")


@pytest.mark.parametrize("aligned", [False, True])
def test_many_faces_are_embedded_as_one_by_one(aligned):
    images, points = faces_at_a_zoom(5)
    judge = ruled_recognizer("mobilefacenet_foamliu")
    points = points if aligned else None
    found = recognizers.embed_many(judge, images.requires_grad_(), points, batch=2)
    torch.testing.assert_close(found, judge.embed(images, points).detach())
    assert not found.requires_grad
