"""Protection: whole photo in, whole photo out; what is not a protected face stays, and what fails writes nothing."""

import struct
import warnings
from dataclasses import replace
from types import SimpleNamespace

import fakes
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageCms, ImageDraw

import amtgan_lib
from amtgan_lib import faces, images, methods, protect, protection, recipes, recognizers
from amtgan_lib.experiments import protect_pairs
from amtgan_lib.images import PhotoError, open_photo
from amtgan_lib.losses import colour_difference
from amtgan_lib.methods import Guide, MethodError, generator, targets
from amtgan_lib.methods.targets import Target
from amtgan_lib.models import Generator, save_generator
from amtgan_lib.protection import ProtectionError, Protector, consent

SIZE = 64
WIDTH, HEIGHT = 160, 120
LARGE = (12, 20, 1.0)  # left, top and scale of a hand-made face: photo pixels per crop pixel
SMALL = (100, 60, 0.5)
THUMBNAIL = b"\xff\xd8 a small picture of the clean face \xff\xd9"


# ---------------------------------------------------------------- a world made by hand


@pytest.fixture
def found(monkeypatch):
    """The places where faces are "detected", largest first; a test may change the list."""
    places = [LARGE]

    def detect_all(photo, size=SIZE):
        assert size == SIZE
        photo = open_photo(photo)
        return ([fakes.photo_crop(photo, *place, SIZE) for place in places] if photo.rgb.any() else []), []

    def detect_one(photo, size=SIZE):
        if not (crops := detect_all(photo, size)[0]):
            raise faces.FaceError(f"{open_photo(photo).name}: no face was found")
        return crops[0]

    monkeypatch.setattr(faces, "detect_all", detect_all)
    monkeypatch.setattr(faces, "detect_one", detect_one)
    return places


def pixels_of(mode):
    """A photo of smooth colours with some noise, in a mode."""
    draw = np.random.default_rng(3)
    x, y = np.meshgrid(np.linspace(60, 170, WIDTH), np.linspace(50, 190, HEIGHT))
    rgb = np.stack([x, y, (x + y) / 2], -1) + draw.normal(0, 3, (HEIGHT, WIDTH, 3))
    rgb = rgb.clip(0, 255).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray(draw.integers(15000, 45000, (HEIGHT, WIDTH), np.uint16))
    picture = Image.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        picture.putalpha(Image.fromarray(draw.integers(0, 256, (HEIGHT, WIDTH), np.uint8)))
    return picture.convert(mode)


@pytest.fixture
def photo():
    return pixels_of("RGB")


@pytest.fixture(scope="module")
def makeup():
    """A reference with the same places and strong colours."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (225, 180, 160))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((12 + 22, 20 + 44, 12 + 42, 20 + 52), fill=(200, 20, 50))
    draw.rectangle((12 + 14, 20 + 22, 12 + 50, 20 + 32), fill=(60, 60, 160))
    return picture


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Generator(8, 2, output="residual", bound=0.3).eval().requires_grad_(False)


@pytest.fixture
def protector(network):
    return Protector(methods.of_generator(network, recipes.RESIDUAL, SIZE, {"target": "nobody"}))


def generator_file(network, path, **facts):
    return save_generator(network, path, {"recipe": "residual", "size": SIZE, "target": "nobody", **facts})


def frame(left, top, scale):
    """Which photo pixels a crop reaches."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    inside[top : top + round(SIZE * scale), left : left + round(SIZE * scale)] = True
    return inside


def difference(result, photo):
    return np.abs(np.asarray(result, int) - np.asarray(photo, int))


# ---------------------------------------------------------------- the photo stays the photo


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "I;16"])
def test_size_and_mode_stay_and_the_face_alone_changes(found, protector, makeup, mode):
    photo = pixels_of(mode)
    result = protector.protect(photo, makeup).image
    assert (result.size, result.mode) == (photo.size, photo.mode)
    changed = difference(result, photo).reshape(HEIGHT, WIDTH, -1).any(-1)
    assert not changed[~frame(*LARGE)].any()
    assert changed[frame(*LARGE)].mean() > 0.3
    if mode in ("RGBA", "LA"):
        assert not difference(result, photo)[..., -1].any()


def test_strength_scales_the_change_and_zero_gives_every_bit_back(found, protector, photo, makeup):
    changes = [protector.protect(photo, makeup, strength=strength) for strength in (0, 0.5, 1)]
    nothing, half, all_of_it = (difference(change.image, photo).sum() for change in changes)
    assert nothing == 0
    assert 0.4 * all_of_it < half < 0.6 * all_of_it
    levels = [change.faces[0].mean_change for change in changes]
    assert levels[0] == 0 and levels[1] == pytest.approx(levels[2] / 2) and levels[2] > 1


def test_a_16_bit_photo_keeps_every_bit_at_strength_zero(found, protector, makeup):
    photo = pixels_of("I;16")
    assert not difference(protector.protect(photo, makeup, strength=0).image, photo).any()


def test_the_result_is_what_the_generator_drew(found, protector, network, photo, makeup):
    crop, reference = faces.detect_one(photo), faces.detect_one(makeup)
    sides = (crop.masks, reference.masks, crop.landmarks, reference.landmarks)
    drawn = network(crop.image[None], reference.image[None], *(side[None] for side in sides))[0]
    opened = open_photo(photo)
    expected = opened.with_change(crop.change_in(opened, drawn))
    assert difference(protector.protect(photo, makeup).image, expected).max() <= 1
    torch.testing.assert_close(protector.method.change(crop, reference), drawn)


def test_the_reference_dresses_the_face(found, protector, photo, makeup):
    """The lips come nearer to the reference's red; with the photo as its own reference they do not."""
    lips = (slice(20 + 46, 20 + 50), slice(12 + 26, 12 + 38))
    redness = {
        name: np.asarray(protector.protect(photo, reference).image, int)[lips][..., 0].mean()
        - np.asarray(protector.protect(photo, reference).image, int)[lips][..., 1].mean()
        for name, reference in {"makeup": makeup, "own": photo}.items()
    }
    assert redness["makeup"] > redness["own"] + 30


def test_a_report_names_the_box_and_the_change_of_the_crop(found, protector, photo, makeup):
    result = protector.protect(photo, makeup)
    (report,) = result.faces
    crop = faces.detect_one(photo)
    assert report.box == crop.box
    changed = protector.method.change(crop, protector.method.reference(makeup))
    assert report.mean_change == pytest.approx(float((changed - crop.image).abs().mean() * 127.5))
    assert report.visible == pytest.approx(float(colour_difference(changed[None], crop.image[None]).mean()))
    assert f"visible change {report.visible:.1f} (S-CIELAB)" in repr(result)


# ---------------------------------------------------------------- which faces


def test_all_faces_are_protected(found, protector, photo, makeup):
    found.append(SMALL)
    result = protector.protect(photo, makeup)
    changed = difference(result.image, photo).any(-1)
    for place in (LARGE, SMALL):
        assert changed[frame(*place)].mean() > 0.3
    assert not changed[~(frame(*LARGE) | frame(*SMALL))].any()
    assert len(result.faces) == 2


def test_only_the_largest_face_when_asked(found, protector, photo, makeup):
    found.append(SMALL)
    result = protector.protect(photo, makeup, faces="largest")
    changed = difference(result.image, photo).any(-1)
    assert changed[frame(*LARGE)].mean() > 0.3 and not changed[~frame(*LARGE)].any()
    assert len(result.faces) == 1


@pytest.fixture
def tiny(found, monkeypatch):
    """Somebody far behind, in every photo."""
    face, detect_all = faces.SmallFace((100.2, 60, 112.4, 75), 6.3), faces.detect_all
    monkeypatch.setattr(faces, "detect_all", lambda photo, size: (detect_all(photo, size)[0], [face]))
    return face


def test_a_face_too_small_to_change_is_in_the_result_and_warned_of(tiny, protector, photo, makeup):
    place = r"photo: the face of 12 x 15 px at \(100, 60\) is too small to change: 6 px between the eyes"
    for ask in (protector.protect, lambda *photos: protect(*photos, generator=protector)):
        with pytest.warns(protection.ProtectionWarning, match=place) as caught:
            result = ask(photo, makeup)
        assert result.too_small == (tiny,) and len(result.faces) == len(caught) == 1


def test_a_face_too_small_to_change_that_was_not_asked_for_warns_of_nothing(tiny, protector, photo, makeup):
    with warnings.catch_warnings():
        warnings.simplefilter("error", protection.ProtectionWarning)
        assert protector.protect(photo, makeup, faces="largest").too_small == (tiny,)
        crops = faces.detect_all(photo, SIZE)[0]
        assert protector.protect(photo, makeup, found=crops).too_small == ()


def test_overlapping_faces_both_change(found, protector, photo, makeup):
    one = difference(protector.protect(photo, makeup).image, photo)
    found.append((40, 30, 1.0))
    both = difference(protector.protect(photo, makeup).image, photo)
    outside_the_first = ~frame(*LARGE) & frame(40, 30, 1.0)
    assert both[outside_the_first].any() and not one[outside_the_first].any()


# ---------------------------------------------------------------- quirks of the released code


@pytest.mark.parametrize("quirk", ["stretch_output", "crop_output"])
def test_each_quirk_of_writing_changes_the_saved_result(found, protector, photo, makeup, tmp_path, quirk):
    quirky = Protector(replace(protector.method, recipe=replace(protector.method.recipe, **{quirk: True})))
    files = [p.protect(photo, makeup).save(tmp_path / name) for p, name in ((protector, "a.png"), (quirky, "b.png"))]
    plain, odd = (np.asarray(Image.open(file)) for file in files)
    assert plain.shape != odd.shape or np.abs(plain.astype(int) - odd).mean() > 0.5


def test_a_stretched_crop_reaches_both_ends_of_the_range(found, protector, photo, makeup):
    quirky = Protector(replace(protector.method, recipe=replace(protector.method.recipe, stretch_output=True)))
    crop, reference = faces.detect_one(photo), quirky.method.reference(makeup)
    stretched, plain = quirky.method.change(crop, reference), protector.method.change(crop, reference)
    assert (stretched.min(), stretched.max()) == (pytest.approx(-1, abs=1e-5), pytest.approx(1, abs=1e-5))
    assert plain.min() > -0.99 and plain.max() < 0.99


def test_a_cropped_result_is_the_largest_face_as_a_square(found, protector, photo, makeup):
    found.append(SMALL)
    quirky = Protector(replace(protector.method, recipe=replace(protector.method.recipe, crop_output=True)))
    result = quirky.protect(photo, makeup)
    changed = protector.method.change(faces.detect_one(photo), protector.method.reference(makeup))
    assert not difference(result.image, images.to_pil(changed)).any()
    assert result.image.size == (SIZE, SIZE) and len(result.faces) == 1
    # The same number as when it is pasted: what is reported does not depend on what is saved.
    assert result.faces[0] == protector.protect(photo, makeup, faces="largest").faces[0]


# ---------------------------------------------------------------- refusals


def test_a_photo_without_a_face_is_refused(found, protector, makeup):
    with pytest.raises(ProtectionError, match="photo: no face was found, so nothing was protected"):
        protector.protect(np.zeros((HEIGHT, WIDTH, 3), np.uint8), makeup)


def test_a_reference_without_a_face_is_refused(found, protector, photo):
    with pytest.raises(PhotoError, match="no face was found"):
        protector.protect(photo, np.zeros((HEIGHT, WIDTH, 3), np.uint8))


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_a_strength_out_of_range_is_refused(found, protector, photo, makeup, strength):
    with pytest.raises(ProtectionError, match=f"strength is {strength}; expected a number from 0"):
        protector.protect(photo, makeup, strength=strength)


def test_an_unknown_choice_of_faces_is_refused(found, protector, photo, makeup):
    with pytest.raises(ProtectionError, match="faces is 'smallest'; expected 'all' or 'largest'"):
        protector.protect(photo, makeup, faces="smallest")


def test_crops_of_another_size_are_refused(found, protector, photo):
    crop = faces.detect_one(photo)
    with pytest.raises(ValueError, match="expected crops of 32 px, got 64 and 64"):
        replace(protector.method, size=32).change(crop, crop)


def test_a_photo_that_cannot_be_read_is_refused(found, protector, makeup, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(PhotoError, match=r"broken\.jpg"):
        protector.protect(broken, makeup)
    with pytest.raises(PhotoError, match="there is no such file"):
        protector.protect(tmp_path / "none.jpg", makeup)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"size": 64}, "does not say its recipe"),
        ({"recipe": "residual"}, "does not say its size"),
        ({}, "does not say its recipe and size"),
        ({"recipe": "secret", "size": 64}, "there is no recipe 'secret'; there are published, corrected, residual"),
    ],
)
def test_a_generator_file_without_its_facts_is_refused(network, tmp_path, facts, message):
    with pytest.raises(MethodError, match=message):
        methods.load(save_generator(network, tmp_path / "g.safetensors", facts))


def test_what_is_no_generator_file_is_refused_in_one_sentence(found, photo, makeup, tmp_path):
    wrong = tmp_path / "generator.safetensors"
    wrong.write_bytes(b"not weights")
    for file in (wrong, tmp_path / "none.safetensors"):
        with pytest.raises(MethodError) as caught:
            protect(photo, makeup, generator=file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_generator_that_takes_targets_needs_a_guide_and_no_other_takes_one(network, tmp_path):
    file = save_generator(network, tmp_path / "g.safetensors", {"recipe": "any_target", "size": SIZE})
    with pytest.raises(MethodError, match="it needs a guide, which names the target and the recognisers"):
        methods.load(file)
    with pytest.raises(MethodError, match="it takes no other target"):
        methods.load(generator_file(network, tmp_path / "other.safetensors"), guide_by([eye()]))


# ---------------------------------------------------------------- any target


def eye():
    """A recogniser that sees the mean colours of the four quarters of a picture."""
    return fakes.ColourRecognizer("eye", grid=2)


def guide_by(networks, **options) -> Guide:
    return Guide(networks, Target("nobody", {each.name: torch.linspace(-1, 1, 12) for each in networks}), **options)


@pytest.fixture
def any_target(tmp_path):
    torch.manual_seed(1)
    network = Generator(4, 2, output="residual", transfer="makeup", hint_channels=6)
    torch.nn.init.normal_(network.manet.last.weight, std=0.1)
    return save_generator(network, tmp_path / "any.safetensors", {"recipe": "any_target", "size": SIZE})


def test_a_guided_face_follows_its_hints_and_needs_no_makeup(found, any_target, photo, makeup):
    hinted, blind = (Protector(methods.load(any_target, guide_by([eye()], hinted=hinted))) for hinted in (True, False))
    results = [each.protect(photo).image for each in (hinted, blind)]
    assert difference(results[0], photo).any() and difference(results[0], results[1]).any()
    assert difference(hinted.protect(photo, makeup).image, results[0]).any()
    assert hinted.method.recognizers == ("eye",) and hinted.method.target == "nobody"


def test_a_weight_of_zero_takes_a_recogniser_out_of_the_ensemble(found, any_target, photo):
    other = eye()
    other.name, other.embed = "other", lambda images, points=None: F.normalize(images.flatten(1)[:, :12] + 0.1)
    one = Protector(methods.load(any_target, guide_by([eye()]))).protect(photo).image
    both = Protector(methods.load(any_target, guide_by([eye(), other]))).protect(photo).image
    weighted = Protector(methods.load(any_target, guide_by([eye(), other], weights=[1, 0]))).protect(photo).image
    assert not difference(one, weighted).any() and difference(one, both).any()


def test_no_pass_at_all_is_refused():
    with pytest.raises(MethodError, match="passes is 0; expected at least 1"):
        guide_by([eye()], passes=0)


def test_a_generator_that_does_not_say_its_target_is_asked_about(network, any_target, tmp_path):
    """Fail closed: it may make people pass as somebody. A guided one names its target, whatever faces it learnt on."""
    file = save_generator(network, tmp_path / "g.safetensors", {"recipe": "residual", "size": SIZE})
    person = Guide([eye()], Target("a friend", {"eye": torch.linspace(-1, 1, 12)}))
    drawn = replace(methods.load(any_target, person), world="drawn")
    for method, told in ((methods.load(file), "whom its file does not name"), (drawn, "a friend")):
        with pytest.raises(ProtectionError, match=told):
            Protector(method)
        Protector(method, impersonate=True)
    Protector(replace(drawn, guide=None))  # trained for a drawn person


def test_whoever_is_to_be_impersonated_must_be_named_on_purpose(found, network, photo, makeup, tmp_path):
    for target in ("friend.jpg", ["a.jpg", "b.jpg"], Target("t", {"eye": torch.ones(3)})):
        with pytest.raises(ProtectionError, match="pass impersonate=True"):
            protect(photo, target=target)
    with pytest.raises(ProtectionError, match="the target is an empty list"):
        protection.guide_to([], impersonate=True)
    one = generator_file(network, tmp_path / "g.safetensors", target="london/010")
    with pytest.raises(ProtectionError, match="take a face for london/010: that person may be held responsible for it"):
        protect(photo, makeup, generator=one)
    with pytest.raises(ProtectionError, match="was trained for one target: omit the target"):
        protect(photo, target="friend.jpg", impersonate=True, generator=one)
    assert difference(protect(photo, makeup, generator=one, impersonate=True).image, photo).any()


def test_an_any_target_generator_of_ones_own_is_guided(found, any_target, photo, monkeypatch):
    told = []
    monkeypatch.setattr(consent, "guide_to", lambda target, **options: told.append(options) or guide_by([eye()]))
    assert difference(protect(photo, generator=any_target).image, photo).any()
    prepared = protection.prepare(any_target, passes=2)
    assert told == [{"impersonate": False}, {"impersonate": False, "passes": 2}]
    assert prepared.method.guide.target.name == "nobody" and [
        each.name for each in prepared.method.guide.recognizers
    ] == ["eye"]
    assert not difference(protect(photo, generator=prepared).image, prepared.protect(photo).image).any()


def test_what_a_prepared_protector_cannot_take_is_refused(network, tmp_path):
    one = generator_file(network, tmp_path / "g.safetensors", target="nobody")
    with pytest.raises(ProtectionError, match="has the recipe residual, which makes one pass: omit passes"):
        protection.prepare(one, passes=2)
    loaded = protection.prepare(one)
    assert loaded.method.guide is None and protection.prepare(loaded) is loaded
    for more in ({"target": "friend.jpg", "impersonate": True}, {"passes": 2}):
        with pytest.raises(ProtectionError, match="a loaded protector already has its target"):
            protection.prepare(loaded, **more)
    with pytest.raises(ProtectionError, match="a loaded protector already has its target"):
        protect(Image.new("RGB", (8, 8)), generator=loaded, target="friend.jpg", impersonate=True)


def test_a_photo_that_cannot_be_read_is_said_before_anything_is_loaded(monkeypatch, tmp_path):
    monkeypatch.setattr(recognizers, "load", lambda name: pytest.fail("a recogniser was loaded"))
    with pytest.raises(PhotoError, match=r"none\.jpg"):
        protect(tmp_path / "none.jpg")


@pytest.mark.parametrize("weights", [[1.0, 2.0], []])
def test_a_weight_is_needed_for_each_recogniser(weights):
    with pytest.raises(MethodError, match=r"1 recognisers and [02] weights; expected a weight for each"):
        guide_by([eye()], weights=weights)


def test_a_named_target_is_embedded_by_every_recogniser(monkeypatch, photo):
    def of_photos(photos, networks, name):
        return Target(name, {each.name: torch.full((12,), float(len(photos))) for each in networks})

    monkeypatch.setattr(recognizers, "load", lambda name: eye())
    monkeypatch.setattr(targets, "of_photos", of_photos)
    for photos in (photo, [photo, photo]):
        guide = protection.guide_to(photos, impersonate=True, names=["eye"])
        assert guide.target.name.startswith("the person of") and guide.passes == protection.PASSES
    own = Target("mine", {"eye": torch.ones(12)})
    assert protection.guide_to(own, impersonate=True, names=["eye"]).target is own


def test_by_default_recognisers_at_hand_give_hints_and_students_beside_few_of_them(monkeypatch):
    at_hand = {"distilled_plain", "edgeface_xs"}
    asked = []
    monkeypatch.setattr(recognizers, "at_hand", lambda names: tuple(name for name in names if name in at_hand))
    monkeypatch.setattr(recognizers, "load", lambda name: asked.append(name) or eye())
    own = Target("mine", {"eye": torch.ones(12)})
    protection.guide_to(own, impersonate=True)
    assert asked == ["distilled_plain", "edgeface_xs"]
    asked.clear()
    at_hand |= set(recognizers.OPEN)
    protection.guide_to(own, impersonate=True)
    assert asked == list(recognizers.OPEN)


# ---------------------------------------------------------------- the short way


def test_protect_is_the_package_s_own_name():
    assert amtgan_lib.protect is protect is protection.protect


def test_protect_takes_a_file_or_a_loaded_protector(found, network, photo, makeup, tmp_path):
    file = generator_file(network, tmp_path / "g.safetensors", seed=5)
    method = methods.load(file)
    assert (method.recipe, method.size, method.details["seed"]) == (recipes.RESIDUAL, SIZE, 5)
    loaded = Protector(method)
    results = [protect(photo, makeup, generator=generator, strength=0.7) for generator in (file, str(file), loaded)]
    for result in results[1:]:
        assert not difference(result.image, results[0].image).any()
    assert difference(results[0].image, photo).any()
    assert difference(results[0].image, protect(photo, makeup, generator=loaded).image).any()  # strength is handed on
    found.append(SMALL)
    assert len(protect(photo, makeup, generator=loaded, faces="largest").faces) == 1


def test_a_reference_may_be_a_face_found_before(found, protector, photo, makeup):
    crop = protector.method.reference(makeup)
    assert protector.method.reference(crop) is crop
    assert not difference(protector.protect(photo, crop).image, protector.protect(photo, makeup).image).any()


# ---------------------------------------------------------------- files


def exif_with_thumbnail():
    """EXIF of an artist, an orientation (turned right), and a thumbnail in its second directory."""
    first = struct.pack(">HHHI4sHHIHH", 2, 0x013B, 2, 4, b"Ann\0", 0x0112, 3, 1, 6, 0)
    start = 8 + len(first) + 4
    end = start + 2 + 2 * 12 + 4
    second = struct.pack(">HHHIIHHII", 2, 0x0201, 4, 1, end, 0x0202, 4, 1, len(THUMBNAIL))
    head = b"MM\0*" + struct.pack(">I", 8)
    return b"Exif\0\0" + head + first + struct.pack(">I", start) + second + struct.pack(">I", 0) + THUMBNAIL


@pytest.fixture
def profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def camera_file(tmp_path, photo, profile):
    """A JPEG as a camera writes it: lying, with EXIF, thumbnail and colour profile."""
    lying = photo.transpose(Image.Transpose.ROTATE_90)
    path = tmp_path / "camera.jpg"
    lying.save(path, exif=exif_with_thumbnail(), icc_profile=profile, quality=95, subsampling=0)
    assert THUMBNAIL in path.read_bytes()
    return path


@pytest.mark.parametrize("name", ["out.jpg", "out.JPEG", "out.png", "out.webp", "out.tiff"])
def test_metadata_and_upright_pixels_are_kept_and_the_thumbnail_is_not(
    found, protector, camera_file, makeup, profile, tmp_path, name
):
    saved = protector.protect(camera_file, makeup).save(tmp_path / "new folder" / name)
    with Image.open(saved) as picture:
        assert picture.size == (WIDTH, HEIGHT) and picture.mode == "RGB"
        exif = picture.getexif()
        assert exif[0x013B] == "Ann" and 0x0112 not in exif  # upright now: turning it again would be wrong
        assert picture.info["icc_profile"] == profile
    assert THUMBNAIL not in saved.read_bytes()


@pytest.mark.parametrize("name", ["out.jpg", "out.png"])
def test_metadata_can_be_left_out_but_not_the_colours(found, protector, camera_file, makeup, profile, tmp_path, name):
    saved = protector.protect(camera_file, makeup).save(tmp_path / name, keep_metadata=False)
    with Image.open(saved) as picture:
        assert not picture.getexif() and picture.info["icc_profile"] == profile
    assert b"Ann" not in saved.read_bytes()


def test_a_png_holds_exactly_the_result_and_a_jpeg_nearly(found, protector, photo, makeup, tmp_path):
    result = protector.protect(photo, makeup)
    assert not difference(Image.open(result.save(tmp_path / "a.png")), result.image).any()
    jpeg = Image.open(result.save(tmp_path / "a.jpg"))
    assert difference(jpeg, result.image).mean() < 3
    layers = {component[1:3] for component in jpeg.layer}
    assert layers == {(1, 1)}  # no chroma subsampling


class _Unwritable(Image.Image):
    mode = "RGB"

    def save(self, file, **options):
        with open(file, "wb") as half:
            half.write(b"half a picture")
        raise OSError("encoder error")


def test_a_failing_encoder_leaves_no_file_and_no_half_of_one(found, protector, photo, makeup, tmp_path):
    result = replace(protector.protect(photo, makeup), image=_Unwritable())
    before = tmp_path / "out.png"
    before.write_bytes(b"what was there")
    for path in (before, tmp_path / "folder" / "out.png"):
        with pytest.raises(OSError, match="encoder error"):
            result.save(path)
    assert before.read_bytes() == b"what was there"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "out.png"]


def test_a_mode_that_the_format_has_not_leaves_no_file(found, protector, makeup, tmp_path):
    with pytest.raises(PhotoError, match="transparent parts"):
        protector.protect(pixels_of("RGBA"), makeup).save(tmp_path / "out.jpg")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- many photos


@pytest.fixture
def pairs(photo, makeup, tmp_path):
    """Three photos: one as it should be, one without a face, one that is damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo.save(folder / "good.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "black.png")
    (folder / "broken.png").write_bytes(b"no picture")
    makeup.save(folder / "makeup.png")
    names = ["good", "black", "broken"]
    sources = [str(folder / f"{name}.png") for name in names]
    rows = {"probe": [f"p-{name}.png" for name in names], "person": names, "source": sources}
    return pd.DataFrame(rows).assign(reference=str(folder / "makeup.png"))


def test_a_failing_photo_is_reported_and_the_others_go_on(found, protector, pairs, photo, tmp_path):
    found.append(SMALL)
    order = [1, 2, 0]  # the failing ones first
    report = protect_pairs(protector.method, pairs.iloc[order], tmp_path / "out")
    assert report["person"].tolist() == ["black", "broken", "good"]
    assert report["protected"].tolist() == ["", "", str(tmp_path / "out" / "p-good.png")]
    assert "black.png: no face was found" in report["problem"][0] and "broken.png" in report["problem"][1]
    assert report["problem"][2] == "" and report["clean"].tolist() == report["source"].tolist()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p-good.png"]
    changed = difference(Image.open(report["protected"][2]), photo).any(-1)
    assert changed[frame(*LARGE)].mean() > 0.3 and not changed[~frame(*LARGE)].any()  # the largest face only
    assert report["mean_change"].isna().tolist() == [True, True, False] and report["mean_change"][2] > 1


def test_every_photo_is_announced_to_the_progress_bar(found, protector, pairs, tmp_path):
    seen = []
    protect_pairs(protector.method, pairs, tmp_path / "out", lambda rows: seen.extend(rows) or iter(rows))
    assert [row.person for row in seen] == ["good", "black", "broken"]


def test_a_cropping_recipe_writes_the_clean_crop_in_the_same_framing(found, protector, pairs, photo, tmp_path):
    quirky = Protector(replace(protector.method, recipe=replace(protector.method.recipe, crop_output=True)))
    report = protect_pairs(quirky.method, pairs, tmp_path / "out")
    clean = Image.open(report["clean"][0])
    assert report["clean"][0] == str(tmp_path / "out" / "clean" / "p-good.png")
    assert clean.size == Image.open(report["protected"][0]).size == (SIZE, SIZE)
    assert not difference(clean, images.to_pil(faces.detect_one(photo).image)).any()
    assert report["clean"].tolist()[1:] == report["source"].tolist()[1:]


# ---------------------------------------------------------------- real photos


def test_held_out_recognisers_and_their_kin_give_no_hints(monkeypatch):
    """Named ones are left out with what was distilled from them; one that trained the generator cannot be."""
    monkeypatch.setattr(recognizers, "at_hand", lambda names: tuple(names))
    guided = lambda target, names, **options: guide_by([SimpleNamespace(name=name) for name in names])  # noqa: E731
    monkeypatch.setattr(consent, "guide_to", guided)
    guide = protection.prepare(held_out=["edgeface_xs"]).method.guide
    three = ["mobilefacenet_foamliu", "mobilefacenet_xiaoccer", "edgeface_xxs"]
    assert [each.name for each in guide.recognizers] == three
    assert consent.hinting(["edgeface_xs", "edgeface_xxs"]) == ("distilled", *three[:2])
    assert consent.hinting(["mobilefacenet_foamliu"]) == ("mobilefacenet_xiaoccer", "edgeface_xs", "edgeface_xxs")
    with pytest.raises(ProtectionError, match=r"distilled cannot be held out: .* was trained against it"):
        protection.prepare(generator.SHIPPED, held_out=["distilled"])
    monkeypatch.setattr(recognizers, "at_hand", lambda names: [name for name in names if name == "edgeface_xs"])
    with pytest.raises(ProtectionError, match="with edgeface_xs held out, no available recogniser is left"):
        protection.prepare(held_out=["edgeface_xs"])
    loaded = protection.prepare(held_out=["edgeface_xxs"])
    with pytest.raises(ProtectionError, match="already has its target, hints and all else"):
        protection.prepare(loaded, held_out=["edgeface_xs"])


@pytest.fixture(scope="module")
def london(mirror):
    """A London photo, and two faces side by side, at sizes that are found quickly."""
    pytest.importorskip("mediapipe")
    files = sorted(mirror.glob("debruine/webmorphR.stim/*/inst/neutral_front/*_03.jpg"))[:2]
    if len(files) < 2:
        pytest.skip("fewer than two London photos in this part of the mirror")
    first, second = (Image.open(file).convert("RGB").resize((360, 360)) for file in files)
    both = Image.new("RGB", (720, 360))
    both.paste(first, (0, 0))
    both.paste(second, (360, 0))
    return first, both


@pytest.fixture(scope="module")
def real_protector(network, tmp_path_factory):
    return Protector(
        methods.load(generator_file(network, tmp_path_factory.mktemp("weights") / "generator.safetensors"))
    )


def test_a_real_photo_keeps_what_is_not_its_face(london, real_protector, profile, tmp_path):
    photo, both = london
    exif = Image.Exif()
    exif[0x013B] = "Ann"
    photo.save(tmp_path / "photo.jpg", quality=92, icc_profile=profile, exif=exif)
    reference = real_protector.method.reference(both.crop((360, 0, 720, 360)))
    result = real_protector.protect(tmp_path / "photo.jpg", reference)
    clean = open_photo(tmp_path / "photo.jpg")
    assert result.image.size == (360, 360) and result.image.mode == "RGB"
    crop = faces.detect_one(clean, SIZE)
    corners = np.array([(0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)]) @ crop.matrix[:, :2].T + crop.matrix[:, 2]
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    changed = difference(result.image, clean.rgb).any(-1)
    rows, columns = np.nonzero(changed)
    assert x0 - 1 <= columns.min() and columns.max() <= x1 + 1 and y0 - 1 <= rows.min() and rows.max() <= y1 + 1
    left, top, right, bottom = map(int, result.faces[0].box)
    assert changed[top:bottom, left:right].mean() > 0.5
    with Image.open(result.save(tmp_path / "out.jpg")) as saved:
        assert saved.getexif()[0x013B] == "Ann" and saved.info["icc_profile"] == profile
    nothing = real_protector.protect(clean, reference, strength=0)
    assert np.array_equal(np.asarray(nothing.image), clean.rgb)


def test_both_faces_of_a_real_photo_are_protected(london, real_protector):
    photo, both = london
    # Much bluer than either face: a face dressed in its own colours would hardly change.
    reference = real_protector.method.reference(photo.convert("RGB", matrix=(0.7, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 1, 0)))
    result = real_protector.protect(both, reference)
    changed = difference(result.image, both).any(-1)
    assert len(result.faces) == 2
    assert {face.box[0] < 360 for face in result.faces} == {True, False}
    for face in result.faces:
        left, top, right, bottom = map(int, face.box)
        assert changed[top:bottom, left:right].mean() > 0.5
    one = real_protector.protect(both, reference, faces="largest")
    left, top, right, bottom = map(int, one.faces[0].box)
    untouched = slice(0, 360) if left > 360 else slice(360, 720)
    assert not difference(one.image, both)[:, untouched].any()


def test_a_real_photo_without_a_face_writes_nothing(london, real_protector, tmp_path):
    photo, _ = london
    blank = Image.new("RGB", (256, 256), (120, 150, 110))
    blank.save(tmp_path / "wall.png")
    pair = {"probe": "wall.png", "source": str(tmp_path / "wall.png"), "reference": str(tmp_path / "face.png")}
    photo.save(tmp_path / "face.png")
    with pytest.raises(ProtectionError, match="no face was found"):
        real_protector.protect(tmp_path / "wall.png", photo)
    report = protect_pairs(real_protector.method, pd.DataFrame([pair]), tmp_path / "out")
    assert report["protected"].tolist() == [""] and not (tmp_path / "out").exists()


def test_a_generator_of_the_drawn_world_warns(found, network, photo, makeup, tmp_path):
    drawn = generator_file(network, tmp_path / "drawn.safetensors", world="drawn")
    with pytest.warns(protection.ProtectionWarning, match="does not protect from recognisers of real people") as told:
        protect(photo, makeup, generator=drawn)
    assert told[0].filename == __file__  # the line that called, not one of ours
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        protect(photo, makeup, generator=generator_file(network, tmp_path / "open.safetensors", world="open"))
