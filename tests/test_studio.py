"""The studio: sliders blend what was computed once, meters speak of the picture shown, and what fails is a sentence."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from amtgan_lib import assets, datasets, evaluation, images, methods, recipes, recognizers
from amtgan_lib.demos import session
from amtgan_lib.demos.session import Face, Kit, Settings, Studio, StudioError, kits, sitting
from amtgan_lib.faces import SMALLEST_EYE_DISTANCE
from amtgan_lib.images import PhotoError, open_photo
from amtgan_lib.methods import Guide, generator, targets
from amtgan_lib.models import Generator, save_generator
from amtgan_lib.protection import Protector

pytest.importorskip("mediapipe")

LIP, SKIN, EYES = range(3)
ONLY_MAKEUP = Settings(protection=0)


@pytest.fixture(scope="module")
def kit():
    return session.drawn_kit()


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


def test_untouched_sliders_show_what_the_protector_gives(opened, kit, makeups, sample):
    settings = Settings.of(kit)
    assert settings == Settings()
    for style in (makeups[0], None):
        result = Protector(kit.method).protect(sample.small, style)
        assert np.array_equal(levels(opened.picture(settings, style)), levels(result.image))
        assert np.array_equal(levels(opened.protect(settings, style).image), levels(result.image))


def test_strength_scales_the_change_and_zero_gives_every_bit_back(opened, makeups):
    loud = Settings(lips=2, eyes=2, skin=1, protection=1.5)
    clean = opened.stage.rgb
    assert np.array_equal(levels(opened.picture(replace(loud, strength=0), *makeups)), clean)
    half, full = (np.abs(levels(opened.picture(replace(loud, strength=s), *makeups)) - clean).mean() for s in (0.5, 1))
    assert full > 5 and half == pytest.approx(full / 2, rel=0.05)


@pytest.mark.parametrize(("slider", "region"), [("lips", LIP), ("eyes", EYES), ("skin", SKIN)])
def test_a_region_s_slider_changes_its_region(opened, makeups, slider, region):
    face, off = opened.faces[0], Settings(lips=0, eyes=0, skin=0, protection=0)
    assert torch.equal(face.change(off, *makeups), face.crop.image)
    once, twice = ((face.change(replace(off, **{slider: s}), *makeups) - face.crop.image).abs() for s in (0.5, 1))
    shares = [float(once[:, mask > 0].mean()) for mask in face.crop.masks]
    assert shares[region] == max(shares) > 0.005
    assert twice.mean() == pytest.approx(2 * float(once.mean()), rel=0.1)  # colours may reach the end of their range


def test_protection_scales_the_change_for_recognisers_and_leaves_the_makeup(opened, makeups):
    face = opened.faces[0]
    bare, half, full = (face.change(Settings(protection=share), *makeups) for share in (0, 0.5, 1))
    worn = face.crop.image + face.look(makeups[0]).regions[[LIP, EYES]].sum(0)
    torch.testing.assert_close(bare, worn.clamp(-1, 1))
    assert (half - bare).abs().mean() == pytest.approx(float((full - bare).abs().mean()) / 2, rel=0.1)


def test_mixing_interpolates_matrices_and_colours(opened, kit, makeups):
    face = opened.faces[0]
    first, second = (face.look(style) for style in makeups)
    mixed = face.look(*makeups, 0.25)
    for name in ("regions", "gamma", "beta"):
        one, two = getattr(first, name), getattr(second, name)
        assert not torch.equal(one, two)
        torch.testing.assert_close(getattr(mixed, name), 0.75 * one + 0.25 * two)
    image = face.crop.image[None]
    with torch.no_grad():
        drawn = kit.network.apply_makeup(image, mixed.gamma, mixed.beta, start=torch.zeros_like(image))[0]
    torch.testing.assert_close(mixed.guard, drawn)
    ends = [face.change(Settings(mix=mix), *makeups) for mix in (0, 1)]
    assert torch.equal(ends[0], face.change(Settings(), makeups[0]))
    assert torch.equal(ends[1], face.change(Settings(), makeups[1]))


def test_a_slider_computes_only_what_it_changes(kit, sample, makeups, monkeypatch):
    """Face, gradients, matrices and passes once for a photo and a makeup; the decoder again where the mix moves."""
    face, calls = Studio(sample.small, kit).faces[0], []

    def count(original, name, *arguments, **named):
        calls.append(name)
        return original(*arguments, **named)

    for owner, name in ((kit.network, "makeup_matrices"), (kit.network, "apply_makeup"), (kits.Kit, "hints")):
        original = getattr(owner, name)
        counted = functools.partial(count, original, name)
        monkeypatch.setattr(owner, name, counted if owner is kit.network else lambda *each, to=counted: to(*each))

    def called(settings):
        calls.clear()
        face.change(settings, *makeups)
        return list(calls)

    assert not face.tried(0.5, *makeups)
    assert called(Settings()) == ["hints", "makeup_matrices", "apply_makeup"]
    assert face.tried(0, *makeups) and not face.tried(0.5, *makeups)
    for settings in (Settings(strength=0.3), Settings(lips=2), Settings(eyes=0), Settings(skin=1), ONLY_MAKEUP):
        assert called(settings) == []
    assert called(Settings(mix=0.5)) == ["makeup_matrices", "apply_makeup", "apply_makeup"]
    assert face.tried(0.5, *makeups)
    assert called(Settings(mix=0.5, lips=2)) == called(Settings(mix=1)) == []
    assert called(Settings(mix=0.6)) == ["apply_makeup"]


@pytest.fixture
def guided(kit):
    """A kit whose generator is told its way by two drawn recognisers and looks three times."""
    torch.manual_seed(0)
    network = Generator(8, 2, output="residual", transfer="makeup", hint_channels=6).eval().requires_grad_(False)
    network.manet.last.weight.normal_(std=0.05)  # a change that is seen
    networks = kit.judges[:2]
    guide = Guide(networks, targets.nobody(networks), passes=3)
    facts = {"recognizers": ["drawn_mobile"], "size": 64}
    protector = methods.of_guided(network, recipes.recipe("any_target"), 64, facts, guide)
    return Kit(network, protector, kit.judges, "drawn")


def pair_of(crop, style) -> list[torch.Tensor]:
    sides = (crop.image, style.image, crop.masks, style.masks, crop.landmarks, style.landmarks)
    return [side[None] for side in sides]


def test_later_passes_are_part_of_the_change(guided, sample, makeups):
    opened = Studio(sample.small, guided)
    style = opened.reference(session.makeups()[0].small)
    face = opened.faces[0]
    torch.testing.assert_close(face.change(Settings(), style), guided.method.change(face.crop, style))
    assert face.look(style).later.abs().mean() > 0.01
    bare = guided.network.start(*pair_of(face.crop, style))[0]
    torch.testing.assert_close(face.change(ONLY_MAKEUP, style), bare)
    assert opened.judge(opened.clean)["role"].tolist() == ["gave hints"] * 2 + ["took part in training", "held out"]


# ---------------------------------------------------------------- what is shown of a photo


def enlarged(sample, side: int, **margins) -> Image.Image:
    """A drawn portrait of ``side`` pixels on a wall of 3 x 2 such sides."""
    wall = Image.effect_noise((3 * side, 2 * side), 20).convert("RGB")
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
    saved = evaluation.similarities({"after": file}, sample.known(), kit.judges)["after"]
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
    changed = np.abs(levels(result.image) - levels(two)).max(2) > 8
    assert len(result.faces) == 2 and all(report.mean_change > 1 for report in result.faces)
    assert changed[:, :160].mean() > 0.1 and changed[:, 170:].mean() > 0.1


@pytest.mark.parametrize("off", [{"strength": 0}, {"protection": 0}])
def test_nothing_leaves_as_protected_that_is_not(opened, makeups, off):
    with pytest.raises(StudioError, match="strength or protection is 0, so nothing is protected and nothing is saved"):
        opened.protect(Settings(**off), *makeups)


# ---------------------------------------------------------------- recognisers


def test_meters_say_what_recognisers_say_to_the_saved_file(opened, kit, makeups, sample, tmp_path):
    picture = opened.picture(Settings(), makeups[0])
    table = opened.judge(picture)
    file = images.save(tmp_path / "shown.png", picture)
    scores = evaluation.similarities({"before": sample.small, "after": file}, sample.known(), kit.judges)
    assert table["recogniser"].tolist() == list(recognizers.DRAWN)
    assert np.allclose(table[["before", "similarity"]], scores[["before", "after"]], atol=1e-6)
    assert np.allclose(table["threshold"], scores["threshold"])
    assert ((table["verdict"] == "not protected") == scores["after recognised"]).all()
    assert table["role"].tolist() == ["took part in training"] * 3 + ["held out"]


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


def test_the_curve_runs_from_the_clean_photo_to_the_picture_shown(opened, makeups):
    settings = Settings(lips=1.5, strength=0.2)
    clean, half, full = opened.curve(settings, *makeups, (0, 0.5, 1))
    assert clean["visible"].tolist() == pytest.approx([0] * 4, abs=1e-6)
    assert np.allclose(clean["similarity"], clean["before"])
    assert (half["visible"] > 0).all() and (half["visible"] < full["visible"]).all()
    picture = opened.picture(Settings(lips=1.5), *makeups)
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


def generator_file(folder, recipe="residual", **facts):
    how = recipes.recipe(recipe)
    network = Generator(8, 2, output=how.output, hint_channels=6 if how.any_target else 0)
    facts = {"recipe": recipe, "size": 64, "recognizers": ["drawn_ir"], **facts}
    return save_generator(network, folder / "generator.safetensors", facts)


def test_a_generator_that_redraws_has_nothing_to_blend(tmp_path):
    file = generator_file(tmp_path, "corrected", world="drawn")
    with pytest.raises(StudioError, match="recipe corrected, which draws the whole face anew"):
        session.kit(file)


def test_nobody_is_made_to_pass_as_a_real_person(tmp_path):
    file = generator_file(tmp_path, world="open", target="london/042")
    with pytest.raises(StudioError, match="take a face for london/042, who may have to answer for it"):
        session.kit(file)


def test_what_is_no_generator_is_said_in_a_sentence(tmp_path):
    file = tmp_path / "generator.safetensors"
    file.write_text("hello")
    with pytest.raises(StudioError, match=r"generator.safetensors is no generator of this project"):
        session.kit(file)


def test_a_drawn_generator_for_any_target_is_told_its_way_by_those_that_trained_it(tmp_path):
    made = session.kit(generator_file(tmp_path, "any_target", world="drawn", target="any"))
    assert [each.name for each in made.guide.recognizers] == ["drawn_ir"] and made.guide.target.name == targets.NOBODY
    assert [made.role(each.name) for each in made.judges] == ["gave hints", *["held out"] * 3]


def test_recognisers_at_hand_are_those_that_need_no_download(monkeypatch):
    there = {"edgeface_xs"}
    monkeypatch.setattr(assets, "local", lambda asset: asset.name in there or None)
    assert session.at_hand() == ("distilled", "edgeface_xs")
    monkeypatch.setattr(kits, "at_hand", lambda: ())
    with pytest.raises(StudioError, match=r"no recogniser of real faces is at hand: fetch .* assets fetch mobilef"):
        session.kit(generator.SHIPPED)


def test_photographs_are_judged_by_recognisers_of_real_faces(mirror, monkeypatch):
    monkeypatch.setattr(kits, "at_hand", lambda: recognizers.OPEN)
    made = session.kit(generator.SHIPPED, held_out=("edgeface_xs", "edgeface_xxs"))
    assert [judge.name for judge in made.judges] == list(recognizers.OPEN) and made.world == "open"
    assert [made.role(name) for name in recognizers.OPEN] == ["gave hints"] * 2 + ["held out"] * 2
    assert all(judge.thresholds[kits.USUAL] > judge.thresholds[kits.LAX] > 0 for judge in made.judges)
    assert "recognisers of real faces" in made.says and "edgeface_xxs" in made.says and "held out" in made.says
    assert "All of them had a say in this change, so they flatter it" in replace(made, judges=made.judges[:2]).says
    with pytest.raises(StudioError, match="edgeface cannot be held out: at hand are mobilefacenet_foamliu"):
        session.kit(generator.SHIPPED, held_out=("edgeface",))
    with pytest.raises(StudioError, match="every recogniser at hand is held out: leave one that gives hints"):
        session.kit(generator.SHIPPED, held_out=recognizers.OPEN)
    assert "drawn faces only" in session.drawn_kit().says


# ---------------------------------------------------------------- what cannot be used


@pytest.mark.parametrize(
    ("name", "value", "most"), [("strength", 1.1, 1), ("lips", -0.1, 2), ("protection", 1.6, 1.5), ("mix", math.nan, 1)]
)
def test_a_setting_out_of_range_is_refused(name, value, most):
    with pytest.raises(StudioError, match=rf"{name} is {value}; expected a number from 0 to {most}"):
        Settings(**{name: value})


def test_a_photo_without_a_face_is_refused(kit):
    with pytest.raises(StudioError, match="photo: no face was found; take a photo that shows one from the front"):
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
