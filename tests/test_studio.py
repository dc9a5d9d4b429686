"""The studio: sliders paint what was found once, meters speak of the picture shown, and what fails is a sentence."""

import math
from dataclasses import fields, replace

import fakes
import numpy as np
import pytest
import torch
from PIL import Image

from amtgan_lib import assets, datasets, evaluation, images, recognizers
from amtgan_lib.demos import session
from amtgan_lib.demos.session import Face, Settings, Studio, StudioError, sitting
from amtgan_lib.faces import SMALLEST_EYE_DISTANCE
from amtgan_lib.images import PhotoError, open_photo
from amtgan_lib.methods import targets
from amtgan_lib.models.rendering import BARE, PARTS, Look
from amtgan_lib.protection import ProtectionError, Protector, prepare
from amtgan_lib.recognizers import dlib_resnet

pytest.importorskip("mediapipe")

NOTHING = dict.fromkeys(PARTS, 0)
MAKEUP = tuple(part for part in PARTS if part not in BARE)


@pytest.fixture(scope="module")
def kit():
    """That of drawn faces, with looks that are found in a moment."""
    return fakes.few_steps(session.drawn_kit())


@pytest.fixture(scope="module")
def sample():
    return session.people((3,))[0]


@pytest.fixture(scope="module")
def opened(kit, sample):
    """A drawn portrait of 160 pixels, compared with another photo of the same person."""
    return Studio(sample.small, kit, sample.known())


@pytest.fixture(scope="module")
def makeups(opened):
    return [opened.reference(sample.small) for sample in session.makeups()[:2]]


def levels(picture) -> np.ndarray:
    return np.asarray(picture).astype(int)


# ---------------------------------------------------------------- pictures


def test_untouched_sliders_show_what_the_protector_gives(opened, makeups, sample):
    for style in (makeups[0], None):
        result = Protector(opened.faces[0].method).protect(sample.small, style)
        assert np.array_equal(levels(opened.picture(Settings(), style)), levels(result.image))
        assert np.array_equal(levels(opened.protect(Settings(), style).image), levels(result.image))
        assert not np.array_equal(levels(result.image), opened.stage.rgb)


def test_there_is_a_slider_for_each_part_and_each_begins_where_protect_leaves_it():
    assert [field.name for field in fields(Settings)] == ["strength", *PARTS, "mix"]
    assert Settings().shares == dict.fromkeys(PARTS, 1)
    assert Settings(strength=0.5, lips=0.5).shares == {**dict.fromkeys(PARTS, 0.5), "lips": 0.25}


def test_strength_scales_the_change_and_zero_gives_every_bit_back(opened, makeups):
    clean = opened.stage.rgb
    assert np.array_equal(levels(opened.picture(Settings(strength=0, mix=0.5), *makeups)), clean)
    half, full = (np.abs(levels(opened.picture(Settings(strength=s), *makeups)) - clean).mean() for s in (0.5, 1))
    assert full > 1 and half == pytest.approx(full / 2, rel=0.1)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_s_slider_scales_that_part_alone(opened, makeups, part, monkeypatch):
    face, off = opened.faces[0], Settings(**NOTHING)
    found = face.worn(makeups[0])
    # A search may find that a face is better off without one of its parts: here all of them are worn.
    worn = Look(**{name: -value.abs() - 0.1 for name, value in found.look.worn().items()})
    monkeypatch.setattr(face, "worn", lambda *_: replace(found, look=worn))
    regions = found.regions
    where = {"shape": regions.moving, "light": regions.skin, "contour": regions.skin}.get(part)
    where = (getattr(regions, part).amax(1) if where is None else where[:, 0]) > 0
    assert torch.equal(face.painting(off, *makeups).on(face.crop), face.crop.image)
    half, once = (face.painting(replace(off, **{part: s}), *makeups) for s in (0.5, 1))
    change = (once.on(face.crop) - face.crop.image).abs().amax(0)
    assert change[where[0]].amax() > 0.005 and change[~where[0]].amax() == 0
    torch.testing.assert_close(2 * half.fields.flow, once.fields.flow)
    torch.testing.assert_close(2 * half.fields.gain.log(), once.fields.gain.log(), atol=1e-6, rtol=1e-4)


def test_a_face_without_a_reference_wears_no_makeup(opened):
    face = opened.faces[0]
    assert set(face.worn(None).look.worn()) == set(BARE)
    whole, without = (face.painting(replace(Settings(), **dict.fromkeys(MAKEUP, share))) for share in (1, 0))
    assert torch.equal(whole.on(face.crop), without.on(face.crop))


def test_mixing_goes_from_one_look_to_the_other(opened, makeups):
    face = opened.faces[0]
    first, second = (face.worn(style).look.worn() for style in makeups)
    mixed = face.worn(*makeups, 0.25).look.worn()
    for part in PARTS:
        assert not torch.equal(first[part], second[part])
        torch.testing.assert_close(mixed[part], 0.75 * first[part] + 0.25 * second[part])
    going = face.worn(makeups[0], None, 0.25).look.worn()
    torch.testing.assert_close(going["lips"], 0.75 * first["lips"])
    for mix, style in ((0, makeups[0]), (1, makeups[1])):
        end = face.painting(Settings(mix=mix), *makeups).on(face.crop)
        assert torch.equal(end, face.painting(Settings(), style).on(face.crop))


def test_a_look_is_searched_for_once_and_no_slider_searches(kit, sample, makeups):
    asked = []

    def wear(crop, reference, begin=None):
        asked.append("bare" if reference is crop else makeups.index(reference))
        return kit.method.wear(crop, reference, begin)

    face = Studio(sample.small, replace(kit, method=replace(kit.method, wear=wear))).faces[0]

    def searched(settings, *styles):
        asked.clear()
        face.painting(settings, *styles or makeups)
        return list(asked)

    assert not face.tried(0.5, *makeups)
    assert searched(Settings()) == [0]
    assert face.tried(0, *makeups) and not face.tried(0.5, *makeups)
    for settings in (Settings(strength=0.3), *(Settings(**{part: 0.5}) for part in PARTS)):
        assert searched(settings) == []
    assert searched(Settings(mix=0.5)) == [1]
    assert face.tried(0.5, *makeups)
    assert searched(Settings(mix=0.6, lips=0)) == searched(Settings(mix=1)) == []
    assert searched(Settings(), None) == ["bare"] and searched(Settings(), None) == []


# ---------------------------------------------------------------- what is shown of a photo


def enlarged(sample, side: int, **margins) -> Image.Image:
    """A drawn portrait of ``side`` pixels on a wall of 3 x 2 such sides."""
    grey = np.random.default_rng(0).normal(128, 20, (2 * side, 3 * side)).clip(0, 255)
    wall = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    with Image.open(sample.small) as portrait:
        wall.paste(portrait.resize((side, side), Image.Resampling.BICUBIC), (side, side // 2))
    return wall


def test_a_large_photo_is_cut_to_its_face_and_judged_as_the_saved_one(kit, sample, makeups, tmp_path):
    photo = enlarged(sample, 900)
    opened = Studio(photo, kit, sample.known())
    assert max(opened.clean.size) == sitting.SHOWN
    result = opened.protect(Settings(), makeups[0])
    assert result.image.size == photo.size
    outside = np.abs(levels(result.image) - levels(photo)).max(2) > 0
    assert outside[450:1350, 900:1800].any() and not outside[:, :800].any() and not outside[:, 1900:].any()
    file = result.save(tmp_path / "saved.png")
    known = evaluation.read_probes([sample.known()])
    saved = [answer.after for answer in evaluation.compared(file, file, known, kit.judges, 0.01)]
    shown = opened.judge(opened.picture(Settings(), makeups[0]))["similarity"]
    assert np.abs(saved - shown).max() < 0.03


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16"])
def test_what_is_shown_has_the_colours_that_the_photo_can_hold(kit, sample, makeups, mode):
    with Image.open(sample.small) as portrait:
        photo = portrait.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        photo = Image.fromarray(np.asarray(photo).astype(np.uint16) * 257)
    opened = Studio(photo, kit)
    shown, saved = levels(opened.picture(Settings(), makeups[0])), opened.protect(Settings(), makeups[0]).image
    assert saved.mode == mode
    assert np.abs(shown - open_photo(saved).rgb).max() <= (1 if mode == "I;16" else 0)
    assert (np.ptp(shown, axis=2) == 0).all() == (mode != "RGBA")


def test_every_face_of_the_photo_is_changed(kit, makeups):
    two = Image.new("RGB", (330, 160), "grey")
    for left, sample in zip((0, 170), session.people((3, 9))):
        with Image.open(sample.small) as portrait:
            two.paste(portrait, (left, 0))
    result = Studio(two, kit).protect(Settings(), makeups[0])
    changed = np.abs(levels(result.image) - levels(two)).max(2) > 4
    assert len(result.faces) == 2 and all(report.mean_change > 1 for report in result.faces)
    assert changed[:, :160].mean() > 0.1 and changed[:, 170:].mean() > 0.1


@pytest.mark.parametrize("off", [{"strength": 0}, NOTHING, dict.fromkeys(BARE, 0)])
def test_nothing_leaves_as_protected_that_is_not(opened, makeups, off):
    """Bare, it is enough that the parts that a bare face wears are 0."""
    style = None if off.keys() == set(BARE) else makeups[0]
    with pytest.raises(StudioError, match="0: nothing is protected and nothing is saved"):
        opened.protect(Settings(**off), style)
    assert opened.protect(replace(Settings(**off), strength=0.1, shape=0.1), style).faces


# ---------------------------------------------------------------- recognisers


def test_meters_say_what_recognisers_say_to_the_saved_file(opened, kit, makeups, sample, tmp_path):
    picture = opened.picture(Settings(), makeups[0])
    table = opened.judge(picture)
    file = images.save(tmp_path / "shown.png", picture)
    known = evaluation.read_probes([sample.known()])
    answers = evaluation.compared(sample.small, file, known, kit.judges, 0.01)
    assert table["recogniser"].tolist() == list(recognizers.DRAWN)
    said = [(answer.before, answer.after, answer.threshold) for answer in answers]
    assert np.allclose(table[["before", "similarity", "threshold"]], said, atol=1e-6)
    assert table["verdict"].tolist() == [answer.verdict for answer in answers]
    assert table["role"].tolist() == ["gave hints"] * 3 + ["held out"]


def test_without_another_photo_the_clean_one_is_known(kit, sample):
    opened = Studio(sample.small, kit)
    assert opened.compares_with_itself and np.allclose(opened.judge(opened.clean)["before"], 1)
    opened.compare_with(sample.known())
    assert not opened.compares_with_itself and opened.judge(opened.clean)["before"].max() < 0.95
    with pytest.raises(StudioError, match="photo: no face was found, so there is nothing to compare with"):
        opened.compare_with(Image.effect_noise((90, 90), 60))
    assert not opened.compares_with_itself  # what was known still is


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [(0.5, "not protected"), (0.4, "weak"), (0.3, "weak"), (0.2, "protected"), (-1, "protected")],
)
def test_a_verdict_needs_the_laxer_threshold_as_well(similarity, expected):
    assert evaluation.verdict(similarity, 0.4, 0.2) == expected


def test_a_lost_face_is_no_success():
    assert evaluation.verdict(math.nan, 0.4, 0.2) == "no face found"
    assert evaluation.worst(["protected", "no face found", "weak"]) == "no face found"


def test_one_recogniser_is_enough_to_be_found():
    assert evaluation.worst(["protected", "not protected", "weak"]) == "not protected"
    assert evaluation.worst(["protected", "weak"]) == "weak" and evaluation.worst(["protected"]) == "protected"
    assert not any("safe" in word for word in evaluation.VERDICTS)


def test_visible_change_is_zero_for_the_clean_picture_and_that_of_the_tables_otherwise(opened, makeups, tmp_path):
    assert opened.visible(opened.clean) == pytest.approx(0, abs=1e-6)
    picture = opened.picture(Settings(), makeups[0])
    clean, shown = (images.save(tmp_path / f"{n}.png", p) for n, p in (("clean", opened.clean), ("shown", picture)))
    assert opened.visible(picture) == pytest.approx(1 - evaluation.quality(clean, shown)["ssim"], abs=1e-3)
    crop = opened.kit.method.detect_all(open_photo(clean))[0][0]
    assert opened.flip(opened.clean) == 0
    flip = opened.flip(picture)
    assert flip == pytest.approx(evaluation.face_flip(crop, shown), abs=1e-4) and flip > 0.01
    table = opened.judged(picture)
    assert (table["visible"] == opened.visible(picture)).all() and (table["flip"] == flip).all()


def test_the_curve_runs_from_the_clean_photo_to_the_picture_shown(opened, makeups):
    settings = Settings(lips=0.5, strength=0.2)
    clean, half, full = opened.curve(settings, *makeups, (0, 0.5, 1))
    assert clean["visible"].tolist() == pytest.approx([0] * 4, abs=1e-6) and (clean["flip"] == 0).all()
    assert np.allclose(clean["similarity"], clean["before"])
    for measure in ("visible", "flip"):
        assert (half[measure] > 0).all() and (half[measure] < full[measure]).all()
    picture = opened.picture(Settings(lips=0.5), *makeups)
    assert np.allclose(full["similarity"], opened.judge(picture)["similarity"])
    assert full["strength"].tolist() == [1] * 4


def test_the_report_asks_once_more_for_every_way_of_publishing(opened, makeups, monkeypatch):
    picture = opened.picture(Settings(), makeups[0])
    tables = list(opened.report(picture))
    assert [table["how"].iloc[0] for table in tables] == [session.AS_IT_IS, *evaluation.REPUBLISHED]
    assert tables[0].drop(columns="how").equals(opened.judge(picture))
    for table in tables[1:]:
        again = opened.judge(evaluation.republish(picture, table["how"].iloc[0]))
        assert table.drop(columns="how").equals(again) and not again.equals(opened.judge(picture))


# ---------------------------------------------------------------- kits


def test_drawn_faces_are_moved_to_nobody_and_one_family_only_judges():
    made = session.drawn_kit()
    assert made.world == "drawn" and made.method.target == targets.NOBODY
    roles = {judge.name: made.role(judge.name) for judge in made.judges}
    assert roles == {**dict.fromkeys(recognizers.DRAWN, "gave hints"), "drawn_inception": "held out"}
    assert "only drawn faces" in made.says


def test_photographs_get_what_protect_does_and_are_judged_by_whom_it_asks(monkeypatch):
    monkeypatch.setattr(assets, "local", lambda asset: None)
    monkeypatch.setattr(dlib_resnet, "installed", lambda: False)
    made = session.photo_kit.__wrapped__()
    assert made.method.recognizers == recognizers.OWN == prepare().method.recognizers
    assert [judge.name for judge in made.judges] == list(recognizers.OWN) == list(recognizers.judges_at_hand())
    assert made.world == "open" and made.method.target == targets.NOBODY
    assert {made.role(name) for name in recognizers.OWN} == {"gave hints"}
    assert all({recognizers.USUAL, recognizers.LAX} <= set(judge.thresholds) for judge in made.judges)


def test_held_out_recognisers_judge_and_their_students_give_no_hints(mirror):
    made = session.photo_kit(frozenset({"edgeface_xs", "edgeface_xxs"}))
    assert made.method.recognizers == ("distilled", *recognizers.OPEN[:2])
    roles = {judge.name: made.role(judge.name) for judge in made.judges}
    assert tuple(roles) == recognizers.judges_at_hand() and set(roles) >= set(recognizers.OPEN)
    assert {name for name, role in roles.items() if role == "gave hints"} == set(recognizers.OPEN[:2])
    assert all(judge.thresholds[recognizers.USUAL] > judge.thresholds[recognizers.LAX] > 0 for judge in made.judges)
    assert "recognisers of real faces" in made.says and "edgeface_xxs" in made.says and "held out" in made.says
    hinting = tuple(judge for judge in made.judges if roles[judge.name] == "gave hints")
    assert "All of them gave hints for this change, so they overrate it" in replace(made, judges=hinting).says
    with pytest.raises(StudioError, match="edgeface cannot be held out: choose from "):
        session.photo_kit(frozenset({"edgeface"}))
    with pytest.raises(ProtectionError, match="held out, no available recogniser is left to give hints"):
        session.photo_kit(frozenset(recognizers.OPEN))


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(("name", "value"), [("strength", 1.1), ("lips", -0.1), ("shape", 1.6), ("mix", math.nan)])
def test_a_setting_out_of_range_is_refused(name, value):
    with pytest.raises(StudioError, match=rf"{name} is {value}; expected a number from 0 to 1"):
        Settings(**{name: value})


def test_a_photo_without_a_face_is_refused(kit):
    with pytest.raises(StudioError, match="photo: no face was found; use a photo that shows one from the front"):
        Studio(Image.effect_noise((120, 120), 60), kit)


def test_a_face_of_a_few_pixels_is_refused(kit, sample):
    with Image.open(sample.small) as portrait:
        speck = portrait.resize((24, 24))
    with pytest.raises(PhotoError, match=rf"too small \(eyes less than {SMALLEST_EYE_DISTANCE:.0f} px|no face"):
        Studio(speck, kit)


def test_a_huge_photo_is_refused_before_anybody_waits(kit, opened, monkeypatch):
    monkeypatch.setattr(sitting, "MOST_PIXELS", 100 * 100)
    large = Image.new("RGB", (200, 200))
    for use in (lambda: Studio(large, kit), lambda: opened.reference(large), lambda: opened.compare_with(large)):
        with pytest.raises(StudioError, match=r"photo has 0 megapixels; the studio takes up to 0: make it smaller"):
            use()


def test_a_person_who_is_not_in_the_gallery_is_named():
    with pytest.raises(StudioError, match="there is no drawn person 99; there are 0 to 62"):
        session.people((3, 99))


def test_the_gallery_is_of_the_test_and_large_portraits_show_the_same_person(kit, sample):
    assert {face.asset for face in session.people()}.isdisjoint(face.asset for face in session.makeups())
    with Image.open(sample.large()) as large, Image.open(sample.small) as small:
        assert large.size == (384, 384)
        difference = levels(large.resize(small.size, Image.Resampling.BOX)) - levels(small)
    assert np.abs(difference).mean() < 6
    assert isinstance(Studio(sample.large(), kit).faces[0], Face)


def test_the_gallery_comes_with_the_package(monkeypatch):
    monkeypatch.setattr(datasets.drawn, "draw", lambda *_: pytest.fail("drawn"))
    people, worn = session.people(), session.makeups()
    files = [file for person in people for file in (person.small, person.large(), person.known())]
    files += [sample.small for sample in worn]
    assert len({*files}) == 24 and all(file.is_file() for file in files)
    shipped = [file for file in datasets.shown.FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in shipped) < 2.5e6


@pytest.mark.parametrize("which", ["small", "known", "makeup"])
def test_the_pictures_of_the_package_are_what_is_drawn(which):
    """Whoever changes the drawing makes them anew: ``gallery.store()``."""
    person, worn = session.people((9,))[0], session.makeups()[1]
    asset, file = {
        "small": (person.asset, person.small),
        "known": (person.other, person.known()),
        "makeup": (worn.asset, worn.small),
    }[which]
    with Image.open(file) as stored:
        difference = levels(stored) - levels(images.to_pil(datasets.drawn.draw([asset]).image[0]))
    assert np.abs(difference).max() <= 1  # another processor rounds otherwise


def test_a_person_who_does_not_come_with_the_package_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.drawn, "folder", lambda size=0: tmp_path)
    other = next(row for row in range(63) if row not in session.PEOPLE)
    assert session.people((other,))[0].small.is_relative_to(tmp_path)
