"""Drawn portraits: a row decides its picture, landmarks lie where things are drawn, makeup changes makeup alone."""

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from amtgan_lib import faces
from amtgan_lib.images import to_pil
from amtgan_lib.portraits import (
    IDENTITY,
    MAKEUP,
    OPACITIES,
    SCENE,
    Portraits,
    Traits,
    draw,
    makeups,
    no_makeup,
    palette,
    people,
    scenes,
)
from amtgan_lib.portraits.anatomy import Anatomy, Pose

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code

LEVEL = 2 / 255
BROWS, LEFT_EYE, RIGHT_EYE, OUTER_LIPS = slice(17, 27), slice(36, 42), slice(42, 48), slice(48, 60)
MAKERS = {"people": people, "makeups": makeups, "scenes": scenes}


def photos(numbers, size: int = 64, seed: int = 0) -> Portraits:
    """Person, makeup and moment of the same number."""
    return draw(people(numbers, seed), makeups(numbers, seed), scenes(numbers, seed), size)


def open_faced(numbers, seed: int = 0) -> Traits:
    """People whose face nothing covers: bald, beardless, without glasses."""
    return people(numbers, seed).changed(masculine=1.0, hair_style=0.0, beard=0.0, glasses=0.0)


def straight(numbers) -> Traits:
    """Moments that differ in all but pose."""
    return scenes(numbers).changed(yaw=0.0, pitch=0.0, roll=0.0, zoom=1.0, shift_x=0.0, shift_y=0.0)


def polygon(points: Tensor, size: int, fine: int = 8) -> np.ndarray:
    """Pixels of which at least half lies inside a polygon of (y, x) pixels."""
    large = Image.new("1", (size * fine, size * fine))
    corners = [((x + 0.5) * fine - 0.5, (y + 0.5) * fine - 0.5) for y, x in points.tolist()]
    ImageDraw.Draw(large).polygon(corners, fill=1)
    return np.asarray(large).reshape(size, fine, size, fine).mean((1, 3)) >= 0.5


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def middle(pixels: np.ndarray) -> np.ndarray:
    return np.argwhere(pixels).mean(0)


def distance_to(points: Tensor, pixels: Tensor) -> float:
    """How far the farthest of the pixels (H, W) lies from the nearest of the points (K, 2)."""
    return torch.cdist(pixels.nonzero().float(), points).min(1).values.max().item()


@pytest.fixture(scope="module")
def crowd() -> Portraits:
    return photos(range(64))


@pytest.fixture(scope="module")
def bare() -> Portraits:
    """Twelve open faces without makeup in all their poses, large."""
    return draw(open_faced(range(12)), no_makeup(12), scenes(range(12)), 256)


# --- numbers of a portrait ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_row_depends_on_the_seed_and_its_own_number_alone(make):
    row, batch, reverse = make([17]), make(range(20)), make(range(19, -1, -1))
    assert torch.equal(row.values[0], batch.values[17]) and row.noise_seed[0] == batch.noise_seed[17]
    assert torch.equal(row.values[0], reverse.values[2]) and row.noise_seed[0] == reverse.noise_seed[2]
    for other in (make([18]), make([17], seed=1)):
        assert ((row.values - other.values).abs() > 0.01).float().mean() > 0.8
        assert row.noise_seed != other.noise_seed
    assert len(set(batch.noise_seed)) == 20


def test_a_number_means_other_things_in_each_table():
    rows = [make([17], seed=0).values[0, :17] for make in MAKERS.values()]
    assert all(((a - b).abs() > 0.01).float().mean() > 0.7 for a, b in ((rows[0], rows[1]), (rows[1], rows[2])))


@pytest.mark.parametrize(("make", "table"), [(people, IDENTITY), (makeups, MAKEUP), (scenes, SCENE)])
def test_columns_fill_their_ranges(make, table):
    rows = make(range(300))
    assert len(rows) == 300 and rows.values.min() >= 0 and rows.values.max() <= 1
    for name, (low, high) in table.items():
        column = getattr(rows, name)
        assert column.shape == (300, 1, 1)
        assert low - 1e-6 <= column.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < column.max() <= high + 1e-6
        assert torch.equal(rows.raw(name), rows.values[:, list(table).index(name)])


def test_masculine_faces_have_on_average_other_jaws_brows_and_lips():
    rows = people(range(600))
    masculine = rows.raw("masculine") > 0.5
    for name, sign in (("jaw", 1), ("brow_thickness", 1), ("brow_height", -1), ("upper_lip", -1)):
        shift = rows.raw(name)[masculine].mean() - rows.raw(name)[~masculine].mean()
        assert 0.04 < sign * shift < 0.25
    assert abs(rows.raw("chin")[masculine].mean() - rows.raw("chin")[~masculine].mean()) < 0.06


def test_a_column_is_set_in_its_own_units():
    rows = scenes(range(3))
    changed = rows.changed(yaw=-11.0, zoom=torch.tensor([0.92, 1.0, 1.08]))
    assert changed.yaw.flatten().tolist() == pytest.approx([-11.0] * 3)
    assert changed.zoom.flatten().tolist() == pytest.approx([0.92, 1.0, 1.08])
    assert changed.raw("yaw").tolist() == pytest.approx([0.25] * 3)
    others = [index for index, name in enumerate(SCENE) if name not in ("yaw", "zoom")]
    assert torch.equal(changed.values[:, others], rows.values[:, others]) and changed.noise_seed == rows.noise_seed
    assert torch.equal(rows.values, scenes(range(3)).values)  # the rows themselves stay


def test_unknown_columns_are_refused():
    with pytest.raises(ValueError, match=r"no trait 'yawn'; there are yaw, pitch, roll, .*wears_glasses"):
        scenes([0]).changed(yawn=1.0)
    with pytest.raises(AttributeError, match="no trait 'yawn'"):
        _ = scenes([0]).yawn
    with pytest.raises(AttributeError, match="no trait 'jaw'"):
        _ = scenes([0]).jaw  # of another table


def test_selected_rows_keep_their_textures():
    rows = people(range(6))
    for index in ([4, 1], slice(1, 5, 3), np.array([False, True, False, False, True, False])):
        numbers = np.arange(6)[index].tolist()
        assert torch.equal(rows[index].values, people(numbers).values)
        assert rows[index].noise_seed == people(numbers).noise_seed


def test_no_makeup_covers_nothing():
    rows = no_makeup(4)
    assert len(rows) == 4
    for name in OPACITIES:
        assert getattr(rows, name).abs().max() < 1e-6
    assert {name for name in MAKEUP if "opacity" in name} == set(OPACITIES)


def test_without_variety_everybody_sits_for_a_passport_photo():
    calm, wild = scenes(range(5), variety=0), scenes(range(5))
    assert torch.equal(calm.values, calm.values[:1].expand(5, -1))
    for name in ("yaw", "pitch", "roll", "shift_x", "shift_y", "gaze_x", "light_x"):
        assert getattr(calm, name).abs().max() < 1e-5
    assert (calm.mouth_open < 0).all() and (calm.wears_glasses < 0.75).all()
    half = scenes(range(5), variety=0.5).values
    torch.testing.assert_close(half, (calm.values + wild.values) / 2)
    places = draw(people([3] * 5), no_makeup(5), calm, 64).landmarks
    assert torch.equal(places, places[:1].expand(5, -1, -1))


# --- pictures -----------------------------------------------------------------------------------------------------


def test_a_portrait_is_the_same_alone_and_in_any_batch(crowd):
    for numbers, place in (([17], 0), ([3, 17, 40], 1)):
        again = photos(numbers)
        torch.testing.assert_close(again.image[place], crowd.image[17], rtol=0, atol=1e-6)
        torch.testing.assert_close(again.landmarks[place], crowd.landmarks[17])
        torch.testing.assert_close(again.points[place], crowd.points[17])
        assert torch.equal(again.parse[place], crowd.parse[17])


def test_drawing_twice_gives_every_bit_again_and_leaves_torchs_dice_alone():
    state = torch.random.get_rng_state()
    first = photos([5, 6])
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(photos([5, 6]).image, first.image)


def test_other_people_moments_and_seeds_are_other_pictures():
    who, worn, moment = people([1]), makeups([1]), scenes([1])
    image = draw(who, worn, moment, 64).image
    for other in (
        draw(people([2]), worn, moment, 64),
        draw(who, makeups([2]), moment, 64),
        draw(who, worn, scenes([2]), 64),
        photos([1], seed=1),
    ):
        assert (other.image - image).abs().mean() > 0.5 * LEVEL


def test_pictures_are_finite_in_range_and_full_of_contrast(crowd):
    assert len(crowd) == 64 and crowd.image.shape == (64, 3, 64, 64) and crowd.image.dtype == torch.float32
    assert crowd.image.isfinite().all() and crowd.image.abs().max() <= 1
    assert (crowd.image.std((1, 2, 3)) > 0.08).all()
    assert (crowd.image.abs() == 1).float().mean() < 0.02  # hardly anything is cut off


def test_every_face_is_in_its_picture(crowd):
    for places, count in ((crowd.landmarks, 68), (crowd.points, 5)):
        assert places.shape == (64, count, 2) and places.isfinite().all()
        assert places.min() >= 0 and places.max() <= 63
    left, right, nose, *mouth = crowd.points.unbind(1)
    assert (left[:, 1] + 2 < nose[:, 1]).all() and (nose[:, 1] + 2 < right[:, 1]).all()  # (y, x), left in the picture
    assert (mouth[0][:, 1] + 5 < mouth[1][:, 1]).all()
    assert (torch.maximum(left, right)[:, 0] + 2 < nose[:, 0]).all() and (nose[:, 0] < mouth[0][:, 0] + 2).all()


def test_parse_maps_have_skin_and_lips_and_nothing_unknown(crowd):
    assert crowd.parse.shape == (64, 64, 64) and crowd.parse.dtype == torch.uint8
    assert set(crowd.parse.unique().tolist()) == {0, 1, 7, 8}
    skin = (crowd.parse == 1).float().mean((1, 2))
    assert (skin > 0.08).all() and (skin < 0.35).all()
    assert ((crowd.parse == 7).sum((1, 2)) > 0).all()
    assert {faces.PARSE_ORDERS["published"][0][0], faces.PARSE_ORDERS["published"][1][0]} == {7, 1}


@pytest.mark.parametrize("size", [64, 66, 130, pytest.param(512, marks=pytest.mark.slow)])
def test_a_size_in_reach_is_drawn(size):
    portrait = photos([0], size)
    assert portrait.image.shape == (1, 3, size, size) and portrait.parse.shape == (1, size, size)
    expected = (photos([0], 64).landmarks + 0.5) * size / 64 - 0.5
    torch.testing.assert_close(portrait.landmarks, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [0, 62, 63, 65, 129, 513, 514])
def test_another_size_is_refused(size):
    with pytest.raises(ValueError, match=f"size is {size}; expected an even number from 64 to 512"):
        photos([0], size)


@pytest.mark.parametrize("counts", [(2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_unequal_numbers_are_refused(counts):
    who, worn, moment = people(range(counts[0])), makeups(range(counts[1])), scenes(range(counts[2]))
    said = "{} people, {} makeups and {} moments: expected equal numbers".format(*counts)
    with pytest.raises(ValueError, match=said):
        draw(who, worn, moment, 64)


def test_skin_has_its_tone_and_light_its_side():
    who, moment = open_faced(range(4)), straight(range(4))

    def skin(rows: Traits, when: Traits) -> list[Tensor]:
        portrait = draw(rows, no_makeup(4), when, 64)
        return [image.mean(0).where(parse == 1, torch.nan) for image, parse in zip(portrait.image, portrait.parse)]

    light, dark = (torch.stack(skin(who.changed(skin=value), moment)).nanmean((1, 2)) for value in (0.0, 1.0))
    assert (light > dark + 0.5).all()
    for side in (-0.9, 0.9):
        lit = torch.stack(skin(who, moment.changed(light_x=side)))
        right_is_brighter = lit[..., 32:].nanmean((1, 2)) - lit[..., :32].nanmean((1, 2))
        assert (right_is_brighter * side > 0.05).all()


# --- landmarks ----------------------------------------------------------------------------------------------------


def test_a_projected_place_is_found_again():
    who, moment = people(range(256)), scenes(range(256))
    anatomy, pose = Anatomy(who, moment), Pose(moment)
    x, y = anatomy.landmarks().split(1, dim=2)
    found = pose.places(*pose.project(x, y, anatomy.relief(x, y)), anatomy)
    error = torch.hypot(found[0] - x, found[1] - y)
    assert error.max() < 0.01  # a third of a pixel at 128 px
    assert error.mean() < 2e-5


def test_a_pixels_place_is_projected_back_onto_it():
    who, moment = people(range(64)), scenes(range(64))
    anatomy, pose = Anatomy(who, moment), Pose(moment)
    line = torch.linspace(-1, 1, 33)
    seen = [each.expand(64, 33, 33) for each in (line.view(1, 1, -1), line.view(1, -1, 1))]
    x, y = pose.places(*seen, anatomy)
    there = pose.project(x, y, anatomy.relief(x, y))
    error = torch.hypot(there[0] - seen[0], there[1] - seen[1])
    assert error.max() < 0.01 and error.mean() < 2e-5


def test_eye_landmarks_surround_the_holes_in_the_skin(bare):
    found = []
    for parse, landmarks in zip(bare.parse.numpy(), bare.landmarks):
        for eye in (landmarks[LEFT_EYE], landmarks[RIGHT_EYE]):
            (top, left), (bottom, right) = (
                (eye.min(0).values - 5).int().tolist(),
                (eye.max(0).values + 6).int().tolist(),
            )
            hole = np.zeros_like(parse, bool)
            hole[top:bottom, left:right] = parse[top:bottom, left:right] == 0
            found.append((overlap(hole, polygon(eye, 256)), *(middle(hole) - middle(polygon(eye, 256)))))
    found = np.array(found)
    assert found[:, 0].min() > 0.75 and found[:, 0].mean() > 0.85
    assert np.abs(found[:, 1:].mean(0)).max() < 0.6  # pixels


def test_lip_landmarks_surround_the_lips(bare):
    found = []
    for parse, landmarks in zip(bare.parse.numpy(), bare.landmarks):
        mouth, outline = np.isin(parse, (7, 8)), polygon(landmarks[OUTER_LIPS], 256)
        found.append((overlap(mouth, outline), *(middle(mouth) - middle(outline))))
        assert parse[tuple(landmarks[57].round().int() - torch.tensor([2, 0]))] == 7  # the lower lip's lowest point
    found = np.array(found)
    assert found[:, 0].min() > 0.8 and found[:, 0].mean() > 0.9
    assert np.abs(found[:, 1:].mean(0)).max() < 0.6


def test_no_line_between_lips_and_mouth_is_left_out(bare):
    """Lips that hardly part: each pixel well inside the outer landmarks is lip or mouth, none is nothing."""
    for parse, landmarks in zip(bare.parse.numpy(), bare.landmarks):
        outer = landmarks[OUTER_LIPS]
        inside = polygon(outer.mean(0) + 0.6 * (outer - outer.mean(0)), 256)
        assert np.isin(parse[inside], (7, 8)).mean() > 0.97


def test_jaw_landmarks_lie_on_the_edge_of_the_skin(bare):
    middle_of_face = bare.landmarks[:, 27:36].mean(1, keepdim=True)
    outward = bare.landmarks[:, :17] - middle_of_face
    outward = outward / outward.norm(dim=-1, keepdim=True)
    for pixels, expected in ((-4, True), (4, False)):
        y, x = (bare.landmarks[:, :17] + pixels * outward).round().long().unbind(-1)
        skin = bare.parse[torch.arange(12)[:, None], y, x] == 1
        assert (skin == expected).float().mean() > 0.99


@pytest.mark.parametrize(
    ("trait", "values", "parts", "reach"),
    [
        ("iris", (0.0, 1.0), (LEFT_EYE, RIGHT_EYE), 7),
        ("brow_thickness", (0.030, 0.060), (slice(17, 22), slice(22, 27)), 9),
        ("lip_tone", (0.0, 1.0), (slice(48, 68),), 5),
    ],
)
def test_what_changes_a_part_changes_pixels_at_its_landmarks(trait, values, parts, reach):
    who = open_faced(range(3)).changed(skin=0.1)
    one, other = (draw(who.changed(**{trait: value}), no_makeup(3), scenes(range(3)), 128) for value in values)
    assert torch.equal(one.landmarks, other.landmarks)
    changed = ((one.image - other.image).abs() > 6 * LEVEL).any(1)
    for pixels, landmarks in zip(changed, one.landmarks):
        assert distance_to(torch.cat([landmarks[part] for part in parts]), pixels) < reach
        for part in parts:  # both eyes, both brows
            assert (torch.cdist(landmarks[part].mean(0, keepdim=True), pixels.nonzero().float()) < 8).sum() > 5


def test_the_five_points_are_those_of_the_landmarks(crowd):
    eyes = torch.stack([crowd.landmarks[:, part].mean(1) for part in (LEFT_EYE, RIGHT_EYE)], 1)
    between = (crowd.points[:, 1] - crowd.points[:, 0]).norm(dim=-1)
    assert ((crowd.points[:, :2] - eyes).norm(dim=-1) < 0.03 * between[:, None]).all()
    assert torch.equal(crowd.points[:, 3:], crowd.landmarks[:, [48, 54]])
    ridge, base, tip = crowd.landmarks[:, 30], crowd.landmarks[:, 33], crowd.points[:, 2]
    detour = (tip - ridge).norm(dim=-1) + (tip - base).norm(dim=-1) - (ridge - base).norm(dim=-1)
    assert (detour < 0.08 * between).all()  # between the ridge's end and the nose's base


def test_the_pose_moves_the_points_as_it_says():
    who, moment = people([3] * 3), straight([5] * 3)

    def points(**columns) -> Tensor:
        values = {name: torch.tensor(value) for name, value in columns.items()}
        return draw(who, no_makeup(3), moment.changed(**values), 128).points

    yawed = points(yaw=[-20.0, 0.0, 20.0])
    nose = (yawed[:, 2] - yawed[:, :2].mean(1))[:, 1]  # to the right of the eyes' middle
    assert nose[0] < -3 and abs(nose[1]) < 1e-3 and nose[2] > 3
    pitched = points(pitch=[-12.0, 0.0, 12.0])
    nose = (pitched[:, 2] - pitched[:, :2].mean(1))[:, 0]
    assert nose[0] > nose[1] + 1 > nose[2] + 2  # above 0 the face looks up
    rolled = points(roll=[-10.0, 0.0, 10.0])
    y, x = (rolled[:, 1] - rolled[:, 0]).unbind(-1)
    assert torch.rad2deg(torch.atan2(y, x)).tolist() == pytest.approx([-10, 0, 10], abs=1e-3)
    torch.testing.assert_close(points(shift_x=[-0.1, 0.0, 0.1])[2, :, 1], yawed[1, :, 1] + 0.1 * 64)
    torch.testing.assert_close(points(shift_y=[-0.08, 0.0, 0.08])[0, :, 0], yawed[1, :, 0] - 0.08 * 64)
    zoomed = points(zoom=[0.92, 1.0, 1.08])
    between = (zoomed[:, 1] - zoomed[:, 0]).norm(dim=-1)
    assert (between / between[1]).tolist() == pytest.approx([0.92, 1, 1.08])


def test_an_open_mouth_shows_its_inside():
    who, moment = open_faced(range(4)), straight(range(4))
    shut, agape = (draw(who, no_makeup(4), moment.changed(mouth_open=value), 96) for value in (-1.0, 1.0))
    assert not (shut.parse == 8).any()
    for parse, landmarks in zip(agape.parse.numpy(), agape.landmarks):
        assert (parse == 8).sum() > 20
        assert polygon(landmarks[OUTER_LIPS], 96)[parse == 8].mean() > 0.95
    assert (agape.landmarks[:, 57, 0] > shut.landmarks[:, 57, 0] + 2).all()


@pytest.mark.parametrize(
    "worn", [{"hair_style": 0.55}, {"beard": 0.9}, {"glasses": 0.8}], ids=["side part", "full beard", "glasses"]
)
def test_what_hides_skin_is_not_skin(worn):
    moment = straight(range(3)).changed(wears_glasses=0.0)
    bald = open_faced([0, 1, 2])
    skin = [draw(who, no_makeup(3), moment, 96).parse == 1 for who in (bald, bald.changed(**worn))]
    assert not (skin[1] & ~skin[0]).any()
    assert (skin[1].sum((1, 2)) < 0.97 * skin[0].sum((1, 2))).all()


# --- makeup -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_up() -> tuple[Portraits, Portraits]:
    """The same four moments without and with makeup."""
    who, moment = people(range(4)), scenes(range(4))
    return draw(who, no_makeup(4), moment, 128), draw(who, makeups(range(4)), moment, 128)


def test_makeup_moves_nothing(made_up):
    without, worn = made_up
    for name in ("landmarks", "points", "parse"):
        assert torch.equal(getattr(without, name), getattr(worn, name))
    assert ((worn.image - without.image).abs().amax((1, 2, 3)) > 20 * LEVEL).all()


def test_makeup_leaves_every_bit_beside_the_face(made_up):
    without, worn = made_up
    for one, other, landmarks in zip(without.image, worn.image, without.landmarks):
        same = (one == other).all(0)
        jaw = landmarks[:17]
        top, left, right = (jaw[:, 0].max() + 8).int(), (jaw[:, 1].min() - 8).int(), (jaw[:, 1].max() + 9).int()
        assert same[top:].all() and same[:, :left].all() and same[:, right:].all()
        assert same[:6, :6].all() and same[:6, -6:].all()
        assert not same.all()


def test_another_moment_has_another_noise():
    calm = scenes(range(2), variety=0)
    one, other = draw(people([1, 1]), no_makeup(2), calm, 64).image
    assert 0 < (one - other)[:, :8, :8].abs().max() < 0.1


def test_makeup_of_no_opacity_is_none():
    who, moment = people(range(4)), scenes(range(4))
    unworn = makeups(range(4)).changed(**dict.fromkeys(OPACITIES, 0.0))
    without = draw(who, no_makeup(4), moment, 96).image
    torch.testing.assert_close(draw(who, unworn, moment, 96).image, without, rtol=0, atol=1e-4)


@pytest.mark.parametrize("colour", [0.0, pytest.param(0.5, marks=pytest.mark.slow), 1.0])
def test_lipstick_brings_the_lips_towards_its_colour(colour):
    who, moment = open_faced(range(6)), straight(range(6)).changed(light_warmth=0.0)
    worn = no_makeup(6).changed(lip_colour=colour, lip_opacity=0.95, lip_depth=0.3)
    without, with_it = draw(who, no_makeup(6), moment, 128), draw(who, worn, moment, 128)
    paint = palette.mixed(palette.LIPSTICK, torch.tensor([colour])).flatten()

    def angle(portraits: Portraits, index: int) -> float:
        """Between the lips' mean colour and the paint's: light and shade do not matter."""
        lips = portraits.image[index][:, portraits.parse[index] == 7].mean(1) / 2 + 0.5
        return math.acos(torch.cosine_similarity(lips, paint, dim=0).clamp(max=1))

    for index in range(6):
        assert angle(with_it, index) < angle(without, index)
    assert np.mean([angle(with_it, i) / angle(without, i) for i in range(6)]) < 0.7


@pytest.fixture(scope="module")
def plain() -> Portraits:
    """Four open faces without makeup."""
    return draw(open_faced(range(4)), no_makeup(4), scenes(range(4)), 128)


@pytest.mark.parametrize(
    ("opacity", "parts", "reach"),
    [
        ("lip_opacity", (OUTER_LIPS,), 9),
        ("shadow_opacity", (LEFT_EYE, RIGHT_EYE), 16),
        ("liner_opacity", (LEFT_EYE, RIGHT_EYE), 11),
        ("blush_opacity", (slice(0, 6), slice(11, 17), LEFT_EYE, RIGHT_EYE, OUTER_LIPS), 22),
    ],
)
def test_each_makeup_is_worn_where_it_belongs(plain, opacity, parts, reach):
    worn = makeups(range(4)).changed(**dict.fromkeys(OPACITIES, 0.0))
    worn = worn.changed(**{opacity: MAKEUP[opacity][1]})
    with_it = draw(open_faced(range(4)), worn, scenes(range(4)), 128)
    changed = (with_it.image - plain.image).abs().amax(1) > 5 * LEVEL
    for pixels, landmarks in zip(changed, with_it.landmarks):
        assert distance_to(torch.cat([landmarks[part] for part in parts]), pixels) < reach
        assert pixels.sum() > 20
        if opacity == "blush_opacity":
            columns = pixels.nonzero()[:, 1]
            assert (columns < landmarks[30, 1] - 5).any() and (columns > landmarks[30, 1] + 5).any()  # both cheeks


def test_foundation_evens_the_skin():
    who, moment = open_faced(range(4)).changed(age=1.0, freckles=0.9, skin=0.1), straight(range(4))
    worn = no_makeup(4).changed(foundation_opacity=0.7, foundation_tone=0.0)
    without, with_it = draw(who, no_makeup(4), moment, 96), draw(who, worn, moment, 96)
    for index, parse in enumerate(without.parse):
        cheeks = (parse == 1) & (torch.arange(96)[:, None] > without.landmarks[index, 36:48, 0].max() + 6)
        uneven = [(p.image[index, 0] - p.image[index, 1])[cheeks].std() for p in (without, with_it)]  # in redness
        assert uneven[1] < 0.8 * uneven[0]


# --- another's eyes -----------------------------------------------------------------------------------------------


def test_a_face_detector_sees_the_face_and_its_points():
    pytest.importorskip("mediapipe")
    portraits, errors = photos(range(8), 160), []
    for image, points in zip(portraits.image, portraits.points.numpy()):
        (crop,) = faces.detect(to_pil(image))
        found = crop.points.numpy()[:, ::-1] @ crop.matrix[:, :2].T + crop.matrix[:, 2]
        between = np.linalg.norm(points[0] - points[1])
        errors.append(np.linalg.norm(found - points[:, ::-1], axis=1) / between)
    assert np.mean(errors, axis=0).max() < 0.15 and np.max(errors) < 0.25
