"""The published generator, rehearsed on weights by the golden rule, through what a user with the archive would type."""

import json
import pickle
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from amtgan_lib import __main__ as command_line
from amtgan_lib import (
    assets,
    datasets,
    evaluation,
    experiments,
    faces,
    images,
    methods,
    models,
    paths,
    pipeline,
    recognizers,
)
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.methods import Method, MethodError, authors
from amtgan_lib.pipeline.parameters import Text
from amtgan_lib.protection import ProtectionError, Protector, prepare

PAPER_TARGETS = tuple(f"celeba_hq_target/{number}" for number in ("005869", "085807", "116481", "169284"))


@pytest.fixture(scope="module")
def weights(published, tmp_path_factory):
    """A file like the authors' G.pth."""
    file = tmp_path_factory.mktemp("authors") / "G.pth"
    torch.save(published["generator"], file)
    return file


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, where nothing was imported."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def imported(weights, cache, tmp_path):
    """The generator where an import of the authors' archive puts it."""
    archive = tmp_path / "assets.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(weights, "assets/checkpoints/G.pth")
    assert command_line.main(["assets", "import", str(archive)]) == 0
    return cache / "published" / "G.pth"


@pytest.fixture(scope="module")
def portrait():
    """File of a drawn person, large enough for a crop of 256 px."""
    pytest.importorskip("mediapipe")
    source = datasets.test_pairs(datasets.manifest_of("drawn")).source[33]
    return datasets.files([source])[source]


@pytest.fixture
def photo(portrait, tmp_path):
    path = tmp_path / "me.png"
    with Image.open(portrait) as picture:
        picture.convert("RGB").resize((300, 300)).save(path)
    return path


def face_of(target_size=64) -> FaceBatch:
    return FaceBatch.of([fakes.face_crop(fakes.smooth(1, target_size)[0])])


# ---------------------------------------------------------------- through the command


def test_the_imported_generator_draws_a_square_crop_as_released(imported, photo, published, capsys):
    words = ["protect", str(photo), "--generator", str(imported), "--ask", "drawn_mobile", "--impersonate"]
    command_line.main([*words, "--keep-recognised"])
    assert "square crop" in capsys.readouterr().out
    written = Image.open(photo.with_name("me_protected.png"))
    crop = faces.detect_one(photo)
    wide = crop.reframed(images.open_photo(photo), faces.published_frame(crop))
    sides = (wide.image, wide.image, wide.masks, wide.masks, wide.landmarks, wide.landmarks)
    with torch.no_grad():
        drawn = models.load_published("generator", published["generator"])(*(side[None] for side in sides))
    assert written.size == (256, 256)
    expected = np.asarray(images.to_pil(images.stretch(drawn)[0]), int)
    assert np.abs(np.asarray(written, int) - expected).mean() < 0.5


def test_the_crop_is_judged_beside_the_clean_crop_of_its_frame(imported, photo, capsys):
    """Without any change the face is the same, which in another frame it would not be."""
    capsys.readouterr()
    words = ["protect", str(photo), "--generator", str(imported), "--ask", "drawn", "--impersonate", "--json"]
    assert command_line.main([*words, "--strength", "0"]) == 1
    (face,) = json.loads(capsys.readouterr().out)["photos"][0]["faces"]
    assert all(answer["after"] > 0.999 for answer in face["answers"])


def test_it_makes_people_pass_for_somebody_so_that_must_be_agreed(imported, photo, capsys):
    capsys.readouterr()
    assert command_line.main(["protect", str(photo), "--generator", str(imported)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "impersonate" in line and not photo.with_name("me_protected.png").exists()


def test_a_crop_holds_one_face_so_one_must_be_chosen(imported, photo, capsys):
    two = Image.new("RGB", (560, 300), (120, 120, 120))
    with Image.open(photo) as one:
        two.paste(one, (0, 0))
        two.paste(one.resize((240, 240)), (310, 30))
    two.save(photo)
    words = ["protect", str(photo), "--generator", str(imported), "--ask", "drawn_mobile", "--impersonate"]
    assert command_line.main(words) == 1 and "--faces largest" in capsys.readouterr().out
    command_line.main([*words, "--faces", "largest", "--keep-recognised"])
    assert Image.open(photo.with_name("me_protected.png")).size == (256, 256)


def test_published_recognisers_cannot_be_held_out_of_a_file_that_names_none(weights):
    with pytest.raises(ProtectionError, match="irse50 cannot be held out"):
        prepare(weights, impersonate=True, held_out=["irse50"])
    prepare(weights, impersonate=True, held_out=["edgeface_xs"])
    for option in ({"passes": 2}, {"target": "me.png"}):
        with pytest.raises(ProtectionError):
            prepare(weights, impersonate=True, **option)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([1, 2], id="no state dict"),
        pytest.param({"weight": torch.zeros(2)}, id="another network"),
        pytest.param(b"PK\x03\x04 and no more", id="damaged"),
        pytest.param(Method("a", print, 8), id="code"),
        pytest.param(None, id="missing"),
    ],
)
def test_a_file_that_is_no_published_generator_is_refused_in_one_sentence(content, tmp_path):
    file = tmp_path / "mine.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, Method):
        file.write_bytes(pickle.dumps(content))
    elif content is not None:
        torch.save(content, file)
    with pytest.raises(MethodError, match=r"mine\.pth holds no generator") as refused:
        authors.load(file)
    assert len(str(refused.value).splitlines()) == 1


# ---------------------------------------------------------------- the released crop


def test_the_released_crop_has_the_released_margins():
    """Above, below: shares of the face's height; beside: of the photo's width, which on a wide photo is the more."""
    photo = images.open_photo(Image.new("RGB", (2000, 1000)))
    crop = fakes.photo_crop(photo, 900, 400, 2, 64)
    matrix = faces.published_frame(crop)
    (left, top), (right, bottom) = (
        crop.landmarks.numpy()[:, ::-1].min(0) * 2 + (900, 400),
        crop.landmarks.numpy()[:, ::-1].max(0) * 2 + (900, 400),
    )
    side, height = matrix[0, 0] * 64, bottom - top
    first = matrix[:, 2] - matrix[0, 0] / 2
    assert matrix[0, 0] == matrix[1, 1] and matrix[0, 1] == matrix[1, 0] == 0, "upright and square"
    assert side == pytest.approx(height * (1 + (0.6 + 0.2) / 0.85))
    assert first[1] == pytest.approx(top - height * 0.6 / 0.85)
    assert first[0] + side / 2 == pytest.approx((left + right) / 2, abs=1)


def test_the_released_crop_stays_in_the_photo():
    photo = images.open_photo(Image.new("RGB", (160, 120)))
    for left, top in ((0, 0), (90, 0), (0, 50), (90, 50)):
        matrix = faces.published_frame(fakes.photo_crop(photo, left, top, 1, 64))
        first = matrix[:, 2] + 0.5 - matrix[0, 0] / 2
        assert (first >= -1e-6).all() and (first + matrix[0, 0] * 64 <= np.array([160, 120]) + 1e-6).all()


def test_a_face_in_another_frame_is_the_same_face(portrait):
    photo = images.open_photo(portrait)
    ours = faces.detect_one(photo, 128)
    wide = ours.reframed(photo, faces.published_frame(ours))
    back = wide.reframed(photo, ours.matrix)
    assert (ours.image - back.image).abs().max() == 0
    assert (ours.landmarks - back.landmarks).abs().max() <= 2 and (ours.points - back.points).abs().max() < 1e-2
    both = ((ours.masks > 0) & (back.masks > 0)).sum((1, 2)) / ((ours.masks > 0) | (back.masks > 0)).sum((1, 2))
    assert (both[1:] > 0.85).all() and both[0] > 0.6
    assert wide.masks.sum() < ours.masks.sum(), "the face is smaller in the wider crop"


# ---------------------------------------------------------------- in a run


def test_without_the_archive_one_sentence_says_what_to_import(cache, tmp_path):
    with pytest.raises(assets.AssetError, match="assets import") as missing:
        methods.build("authors", tmp_path, authors.TARGET, face_of(), ["ir152"])
    assert len(str(missing.value).splitlines()) == 1


def test_the_archive_says_for_whom_its_generator_is_and_others_are_as_named(imported, weights, tmp_path):
    archived = methods.build("authors", tmp_path, "celeba_hq_target/005869", face_of(), ["mobile_face"])
    assert archived.target == authors.TARGET and archived.recipe.name == "published"
    assert set(archived.recognizers) == set(recognizers.PUBLISHED) - {"mobile_face"}
    named = methods.build("authors", tmp_path, "celeba_hq_target/005869", face_of(), ["irse50"], file=weights)
    assert (named.target, named.recognizers) == ("celeba_hq_target/005869", ("irse50",))
    assert archived.name == named.name == "authors" and archived.size == named.size == 256
    report = experiments.signed(pd.DataFrame({"probe": ["a.png"]}), archived)
    experiments.check_reports({"authors": report}, authors.TARGET, ["mobile_face"], "leave one out")
    for target, judge in (("celeba_hq_target/005869", "mobile_face"), (authors.TARGET, "irse50")):
        with pytest.raises(ValueError):
            experiments.check_reports({"authors": report}, target, [judge], "leave one out")


def test_a_report_compares_crops_of_one_frame(photo, tmp_path):
    same = Method("same", lambda crop, reference: crop.image, 128, frame=faces.published_frame)
    cropping = replace(same, recipe=replace(authors.PUBLISHED, stretch_output=False))
    pairs = pd.DataFrame({"probe": ["p.png"], "source": [str(photo)], "reference": [str(photo)]})
    (row,) = experiments.protect_pairs(cropping, pairs, tmp_path / "out").to_dict("records")
    protected = np.asarray(Image.open(row["protected"]))
    assert np.array_equal(protected, np.asarray(Image.open(row["clean"])))
    ours = images.to_pil(faces.detect_one(photo, 128).image)
    assert np.abs(protected.astype(int) - np.asarray(ours, int)).mean() > 5
    whole = Protector(same, impersonate=True, experiment=True).protect(photo)
    assert np.array_equal(np.asarray(whole.image), np.asarray(Image.open(photo)))


def test_the_preset_plans_four_targets_for_each_of_four_held_out_recognisers():
    preset = pipeline.load("paper")
    for target in PAPER_TARGETS:
        for held_out in recognizers.PUBLISHED:
            chosen = {"target": target, "held_out": held_out, "generator": "own/{target}-{held_out}.pth"}
            plan = pipeline.plan(preset, {name: Text(value) for name, value in chosen.items()})
            (step,) = [step for step in plan if step.name == "04_protect-authors"]
            assert {name: step.values[name] for name in chosen} == chosen
            trained, judges = recognizers.partition(step.values["split"], held_out, recognizers.zoo(step.values["zoo"]))
            assert judges == (held_out,) and len(trained) == 3
    assert all(recognizers.spec(name).thresholds for name in recognizers.PUBLISHED)
    assert preset.parameters["target"] == authors.TARGET and preset.parameters["held_out"] == authors.HELD_OUT
    assert set(preset.parameters["methods"]) <= set(methods.NAMES)


def test_published_thresholds_need_no_table(tmp_path):
    rows = [recognizers.spec(name) for name in ("ir152", "edgeface_xs")]
    ir152, edgeface = (SimpleNamespace(name=row.name, spec=row, thresholds=row.thresholds) for row in rows)
    table = tmp_path / "thresholds.csv"
    assert evaluation.thresholds_at(0.01, [ir152], table) == {"ir152": 0.166788}
    with pytest.raises(ValueError, match="run notebook 02"):
        evaluation.thresholds_at(0.01, [ir152, edgeface], table)
    with pytest.raises(ValueError, match="ir152 has no published threshold at FAR 0"):
        evaluation.thresholds_at(0.5, [ir152], table)
    pd.DataFrame({"recogniser": ["ir152", "edgeface_xs"], "far": 0.01, "threshold": [0.3, 0.4]}).to_csv(table)
    assert evaluation.thresholds_at(0.01, [ir152, edgeface], table) == {"ir152": 0.166788, "edgeface_xs": 0.4}
