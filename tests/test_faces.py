import threading
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from amtgan_lib import faces
from amtgan_lib.faces import (
    CROP_TEMPLATE,
    FaceError,
    crop_face,
    detect,
    detect_one,
    detection,
    regions,
    solutions,
    tiles,
    warps,
)
from amtgan_lib.images import PhotoError, open_photo, save, to_uint8

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code

SIZE = 256
# Scale (photo pixels per crop pixel), angle in degrees, and the crop's centre in a photo of 520 x 440 pixels.
POSES = {"same": (1.0, 0, (200, 210)), "small, tilted": (0.3, 20, (90, 120)), "large, turned": (1.6, -135, (260, 220))}
WIDTH, HEIGHT = 520, 440
by_pose = pytest.mark.parametrize("pose", POSES.values(), ids=POSES)


def ellipse(indices, centre, radii):
    """Places of the mesh points ``indices``, in their order, around an ellipse."""
    angle = np.linspace(0, 2 * np.pi, len(indices), endpoint=False) + np.pi  # the first one lies to the left
    return {
        i: (centre[0] + radii[0] * np.cos(a), centre[1] + radii[1] * np.sin(a))
        for i, a in zip(indices, angle, strict=True)
    }


def drawn_mesh():
    """A made-up mesh (478, 2) of a face in a crop of 256 pixels: its five points lie on the template."""
    five = CROP_TEMPLATE * (SIZE - 1)
    mouth = five[3:].mean(0)
    places = ellipse(regions.OVAL, (127, 130), (75, 95))
    places |= ellipse(regions.LIPS, mouth, (30, 14)) | ellipse(regions.MOUTH, mouth, (20, 5))
    for eye, brow, centre in zip(regions.EYES, regions.BROWS, five[:2], strict=True):
        places |= ellipse(eye, centre, (14, 6)) | ellipse(brow, centre - (0, 18), (16, 4))
    mesh = np.tile(five[2], (478, 1))
    for index, place in places.items():
        mesh[index] = place
    for indices, place in zip(regions.FIVE, five, strict=True):
        mesh[list(indices)] = place
    return mesh


def crop_to_photo(scale, degrees, centre):
    turn = scale * np.array([[np.cos(a := np.deg2rad(degrees)), -np.sin(a)], [np.sin(a), np.cos(a)]])
    return np.column_stack([turn, np.array(centre) - turn @ (SIZE / 2, SIZE / 2)])


def pasted(crop, onto, image):
    """The photo with a face changed to ``image``."""
    photo = open_photo(onto)
    return photo.with_change(crop.change_in(photo, image))


def posed(pose):
    return warps.apply(crop_to_photo(*pose), drawn_mesh())


def waves(x, y):
    """A smooth picture as a function of the place: (..., 3) in [20, 235], up to 10 levels steep."""
    return 127.5 + 107 * np.stack([np.sin(x / 11), np.cos(y / 12), np.sin((x + 2 * y) / 30)], axis=-1)


def wave_photo(width=WIDTH, height=HEIGHT):
    y, x = np.mgrid[:height, :width]
    return open_photo(np.rint(waves(x, y)).astype(np.uint8))


def noise_photo(channels=3, dtype=np.uint8):
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    low, high = (60, 190) if dtype is np.uint8 else (60 * 257, 190 * 257)
    return open_photo(Image.fromarray(np.random.default_rng(1).integers(low, high, shape, dtype=dtype)))


def crop_places(matrix, aside=(0, 0)):
    """Where in the photo each crop pixel lies, seen from some pixels beside it: (SIZE, SIZE, 2) as x, y."""
    y, x = np.mgrid[:SIZE, :SIZE]
    return warps.apply(matrix, np.stack([x + aside[0], y + aside[1]], -1))


def crop_grid(matrix):
    """Where in the crop each photo pixel lies: x and y (HEIGHT, WIDTH)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.moveaxis(warps.apply(warps.inverse(matrix), np.stack([x, y], -1)), -1, 0)


# --- geometry -----------------------------------------------------------------------------------------------------


@by_pose
def test_similarity_finds_the_transform_it_was_made_with(pose):
    points = np.random.default_rng(0).normal(size=(7, 2)) * 40
    matrix = crop_to_photo(*pose)
    np.testing.assert_allclose(faces.similarity(points, warps.apply(matrix, points)), matrix, atol=1e-9)


def test_similarity_never_mirrors():
    points = np.random.default_rng(0).normal(size=(5, 2))
    turn = faces.similarity(points, points * (-1, 1))[:, :2]
    assert np.linalg.det(turn) > 0


@by_pose
def test_a_crop_shows_the_right_place(pose):
    crop = crop_face(wave_photo(), posed(pose))
    np.testing.assert_allclose(crop.matrix, crop_to_photo(*pose), atol=1e-9)
    assert crop.scale == pytest.approx(pose[0])
    places = crop_places(crop.matrix)
    within = ((places >= 8) & (places <= (WIDTH - 9, HEIGHT - 9))).all(-1)
    found = (crop.image.permute(1, 2, 0).numpy() + 1)[within] * 127.5
    expected = waves(*places[within].T)
    assert np.abs(found - expected).max() < 4
    for aside in ((1, 0), (0, 1)):  # least-squares shift, in crop pixels
        right, left = (waves(*crop_places(crop.matrix, side)[within].T) for side in (np.array(aside), -np.array(aside)))
        slope = (right - left) / 2
        assert abs(((found - expected) * slope).sum() / (slope**2).sum()) < 0.05


def test_a_crop_at_the_photos_own_scale_is_the_photo():
    photo = noise_photo()
    found = to_uint8(crop_face(photo, posed(POSES["same"])).image)
    np.testing.assert_array_equal(found, photo.rgb[210 - 128 : 210 + 128, 200 - 128 : 200 + 128])


@pytest.mark.parametrize("size", [64, 128, 256])
def test_the_five_points_lie_on_the_template_at_every_size(size):
    crop = crop_face(wave_photo(), posed(POSES["small, tilted"]), size)
    assert crop.image.shape == (3, size, size) and crop.size == size
    assert crop.masks.shape == (3, size, size) and set(crop.masks.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(crop.points.numpy()[:, ::-1], CROP_TEMPLATE * (size - 1), atol=1e-3)
    landmarks = drawn_mesh()[list(faces.MESH_TO_68)] * (size - 1) / (SIZE - 1)
    assert np.abs(crop.landmarks.numpy()[:, ::-1] - landmarks).max() <= 0.51
    assert (crop.landmarks == crop.landmarks.round()).all()


def test_the_box_holds_the_mesh():
    mesh = posed(POSES["same"])
    assert crop_face(wave_photo(), mesh).box == pytest.approx((*mesh.min(0), *mesh.max(0)))


def test_the_crop_of_an_enlarged_photo_is_the_same():
    small = wave_photo()
    large = open_photo(small.original.resize((WIDTH * 3, HEIGHT * 3), Image.Resampling.BICUBIC))
    mesh = posed(POSES["same"])
    one, other = crop_face(small, mesh), crop_face(large, (mesh + 0.5) * 3 - 0.5)
    assert (one.image - other.image).abs()[:, 8:-8, 8:-8].mul(127.5).max() < 3
    torch.testing.assert_close(one.points, other.points)


def test_shrinking_does_not_alias():
    checks = np.indices((1200, 1200)).sum(0) % 2 * 255
    photo = open_photo(checks.astype(np.uint8))
    crop = crop_face(photo, warps.apply(crop_to_photo(3.3, 10, (600, 600)), drawn_mesh()))
    assert crop.image.abs().max() < 0.1


# --- regions ------------------------------------------------------------------------------------------------------


def test_regions_of_a_mesh():
    lip, skin, eyes = crop_face(wave_photo(), posed(POSES["same"])).masks.bool()
    five = np.rint(CROP_TEMPLATE * (SIZE - 1)).astype(int)
    mouth_x, mouth_y = np.rint(five[3:].mean(0)).astype(int)
    assert lip[mouth_y - 10, mouth_x] and lip[mouth_y + 10, mouth_x] and lip[mouth_y, mouth_x - 26]
    assert not lip[mouth_y, mouth_x]  # the open mouth
    assert not lip[mouth_y - 18, mouth_x] and skin[mouth_y - 18, mouth_x]
    for x, y in five[:2]:
        assert not eyes[y, x] and not skin[y, x]  # the eyeball
        assert eyes[y - 10, x] and not skin[y - 10, x]  # the lid
        assert eyes[y, x - 14 - 15] and not eyes[y, x - 14 - 18]  # 16 pixels beside the eye
    assert skin[210, 127] and not skin[250, 127]
    assert not (lip & skin).any() and not (skin & eyes).any() and not (lip & eyes).any()


def test_regions_equal_the_published_preprocessing(golden):
    for case in ("case_a", "case_b"):
        with np.load(golden / f"{case}.npz") as arrays:
            for side in ("source", "reference"):
                landmarks = torch.from_numpy(arrays[f"{side}_landmarks_yx"])
                masks = faces.region_masks(arrays[f"{side}_parse"], landmarks)
                np.testing.assert_array_equal(masks.numpy(), arrays[f"{side}_masks"])


def test_an_eye_region_stops_at_the_border():
    landmarks = torch.zeros(68, 2)  # both eyes in the corner
    skin = faces.region_masks(np.ones((SIZE, SIZE), np.uint8), landmarks)
    assert skin[2].sum() == 17 * 17 and skin[2, :17, :17].all()
    assert skin[1].sum() == SIZE * SIZE - 17 * 17
    landmarks[36:48] = -40  # both eyes beyond it
    assert faces.region_masks(np.ones((SIZE, SIZE), np.uint8), landmarks)[2].sum() == 0


@pytest.mark.parametrize(("order", "lips", "skin"), [("published", 9, 6), ("mt", 13, 8), ("parsing19", 12, 10)])
def test_class_orders(order, lips, skin):
    parse_map = np.zeros((SIZE, SIZE), np.uint8)
    parse_map[:50], parse_map[60:80] = lips, skin
    masks = faces.region_masks(parse_map, torch.full((68, 2), 200.0), order)
    assert masks.sum((1, 2)).tolist() == [50 * SIZE, 20 * SIZE, 0]


@pytest.mark.parametrize(("shape", "order"), [((4, 4), "celeba"), ((4, 4, 3), "mt")])
def test_a_parse_map_that_cannot_be_read(shape, order):
    with pytest.raises(ValueError, match=r"expected a map \(H, W\) in an order of published, mt, parsing19"):
        faces.region_masks(np.zeros(shape, np.uint8), torch.zeros(68, 2), order)


@pytest.mark.parametrize("factor", [0.5, 1, 2.5])
def test_a_parse_map_of_any_resolution_falls_on_the_face(factor):
    crop = crop_face(wave_photo(), posed(POSES["same"]))
    mouth = (CROP_TEMPLATE * (SIZE - 1))[3:].mean(0)
    y, x = (np.mgrid[: HEIGHT * factor, : WIDTH * factor] + 0.5) / factor - 0.5  # photo pixels
    x, y = np.moveaxis(warps.apply(warps.inverse(crop.matrix), np.stack([x, y], -1)), -1, 0)
    lips = ((x - mouth[0]) / 30) ** 2 + ((y - mouth[1]) / 14) ** 2 < 1
    masks = crop.with_parse(np.uint8(lips) * 12, (WIDTH, HEIGHT), "parsing19").masks
    row, column = (m.float().mean().item() for m in torch.nonzero(masks[0]).unbind(1))
    assert (column, row) == pytest.approx(tuple(mouth), abs=0.3)
    assert masks[0].sum().item() == pytest.approx(np.pi * 30 * 14, rel=0.04)
    assert masks[1:].sum() == 0


# --- the way back -------------------------------------------------------------------------------------------------


@by_pose
@pytest.mark.parametrize(
    ("channels", "dtype"), [(3, np.uint8), (4, np.uint8), (1, np.uint8), (2, np.uint8), (1, np.uint16)]
)
def test_an_unchanged_crop_gives_every_bit_back(pose, channels, dtype):
    photo = noise_photo(channels, dtype)
    crop = crop_face(photo, posed(pose))
    same = pasted(crop, photo, crop.image)
    assert same.mode == photo.original.mode
    np.testing.assert_array_equal(np.asarray(same), np.asarray(photo.original))


@by_pose
def test_a_changed_crop_changes_its_place_by_the_right_amount(pose):
    photo = noise_photo()
    crop = crop_face(photo, posed(pose))
    result = pasted(crop, photo, crop.image + 30 / 127.5)
    difference = np.asarray(result).astype(int) - np.asarray(photo.original)
    x, y = crop_grid(crop.matrix)
    border, other = np.sort([np.minimum(x, SIZE - 1 - x), np.minimum(y, SIZE - 1 - y)], axis=0)  # crop pixels to it
    fade = faces.FEATHER * SIZE
    # Noise as fine as it gets comes through unchanged: the photo keeps its own high frequencies.
    assert (difference[border > fade + 4] == 30).all()
    assert (difference[border < -0.5] == 0).all()
    middle = difference[(np.abs(border - fade / 2) < 0.2) & (other > fade + 4)]
    assert len(middle) and np.abs(middle - 15).max() <= 1
    assert difference.min() == 0 and difference.max() == 30


@pytest.mark.parametrize(("mode", "channels", "dtype"), [("I;16", 1, np.uint16), ("RGBA", 4, np.uint8)])
def test_nothing_but_the_face_changes_in_other_modes(mode, channels, dtype):
    photo = noise_photo(channels, dtype)
    crop = crop_face(photo, posed(POSES["small, tilted"]))
    after = np.asarray(pasted(crop, photo, crop.image + 30 / 127.5)).astype(int)
    before = np.asarray(photo.original).astype(int)
    x, y = crop_grid(crop.matrix)
    # At this scale a photo pixel reaches over three crop pixels.
    outside = np.minimum.reduce([x, y, SIZE - 1 - x, SIZE - 1 - y]) < -3
    np.testing.assert_array_equal(after[outside], before[outside])
    centre = after[120, 90] - before[120, 90]
    assert np.abs(centre - (30 * 257 if mode == "I;16" else (30, 30, 30, 0))).max() <= 1


@by_pose
def test_a_change_comes_out_where_it_was_made(pose):
    photo = wave_photo()
    crop = crop_face(photo, posed(pose))
    y, x = np.mgrid[:SIZE, :SIZE]

    def bump(x, y):
        return 60 * np.exp(-((x - 100) ** 2 + (y - 150) ** 2) / (2 * 22.0**2))

    image = crop.image + torch.from_numpy(bump(x, y) / 127.5).float()
    change = crop.change_in(photo, image)
    full = np.zeros((HEIGHT, WIDTH, 3))
    x0, y0, x1, y1 = change.box
    full[y0:y1, x0:x1] = change.values
    assert np.abs(full - bump(*crop_grid(crop.matrix))[..., None]).max() < 1.0


def test_a_fine_pattern_is_averaged_where_the_crop_shrinks():
    photo = wave_photo()
    crop = crop_face(photo, posed((0.25, 0, (200, 200))))
    checks = torch.from_numpy(np.indices((SIZE, SIZE)).sum(0) % 2 * 2 - 1).float()
    assert np.abs(crop.change_in(photo, crop.image + checks).values).max() < 8


def test_only_the_rectangle_of_the_face_is_held():
    photo = open_photo(np.zeros((3000, 4000, 3), np.uint8))
    crop = crop_face(photo, warps.apply(crop_to_photo(0.5, 30, (3000, 1000)), drawn_mesh()))
    change = crop.change_in(photo, crop.image + 0.5)
    assert change.values.shape[0] < 200 and change.values.shape[1] < 200
    assert change.photo_size == (4000, 3000)


def test_a_pasted_change_is_found_again_in_its_frame():
    photo = wave_photo()
    crop = crop_face(photo, posed(POSES["same"]))
    torch.testing.assert_close(crop.resample(photo), crop.image)
    changed = crop.image * 0.8
    again = crop.resample(pasted(crop, photo, changed))
    inner = slice(32, -32)
    assert (again - changed).abs()[:, inner, inner].mul(127.5).max() < 2
    assert (again - crop.image).abs()[:, inner, inner].mul(127.5).max() > 10


@by_pose
def test_a_face_is_in_its_place_in_a_cut_out(pose):
    """Whole pixels and no resize: the cut-out then is the photo, and a change in it the photo's own."""
    photo, box = wave_photo(), (17, 11, 507, 431)
    crop = crop_face(photo, posed(pose))
    cut = open_photo(photo.rgb[box[1] : box[3], box[0] : box[2]])
    within = crop.within(box, cut.size)
    assert within.photo_size == cut.size
    np.testing.assert_allclose(np.add(within.box, np.tile(box[:2], 2)), crop.box)
    changed = crop.image * 0.5
    whole = np.asarray(pasted(crop, photo, changed))[box[1] : box[3], box[0] : box[2]]
    np.testing.assert_array_equal(np.asarray(pasted(within, cut, changed)), whole)


@by_pose
def test_a_smaller_crop_shows_the_same_places(pose):
    photo = wave_photo()
    crop = replace(crop_face(photo, posed(pose)), mesh=torch.rand(478, 2) * (SIZE - 1))
    small = crop.smaller(SIZE * 5 // 8)
    assert small.size == SIZE * 5 // 8 and crop.smaller(SIZE) is crop
    for before, after in ((crop.points, small.points), (crop.mesh, small.mesh)):
        there = warps.apply(small.matrix, after.numpy()[:, ::-1])
        np.testing.assert_allclose(there, warps.apply(crop.matrix, before.numpy()[:, ::-1]), atol=1e-3)
    y, x = np.mgrid[: small.size, : small.size]
    there = warps.apply(small.matrix, np.stack([x, y], -1))
    inside = ((there > 8) & (there < np.subtract(photo.size, 9))).all(-1)  # beyond it the last pixels are repeated
    assert inside.mean() > 0.5
    assert np.abs(to_uint8(small.image) - waves(*np.moveaxis(there, -1, 0)))[inside].max() < 12
    assert (small.masks.mean((1, 2)) - crop.masks.mean((1, 2))).abs().max() < 0.005


def test_a_face_is_in_its_place_in_a_smaller_cut_out():
    photo, box = wave_photo(), (20, 40, 500, 440)
    crop = crop_face(photo, posed(POSES["same"]))
    small = Image.fromarray(photo.rgb[box[1] : box[3], box[0] : box[2]]).resize((240, 200), Image.Resampling.BOX)
    within = crop.within(box, (240, 200))
    inner = slice(32, -32)
    assert (within.resample(small) - crop.image)[:, inner, inner].abs().mul(127.5).max() < 4
    np.testing.assert_allclose(np.subtract(within.box[2:], within.box[:2]), np.subtract(crop.box[2:], crop.box[:2]) / 2)


def test_two_faces_change_together():
    photo = noise_photo()
    crops = [crop_face(photo, posed((0.5, 0, centre))) for centre in ((120, 200), (220, 210))]
    first, second = (crop.change_in(photo, crop.image + 20 / 127.5) for crop in crops)
    difference = np.asarray(photo.with_change(first + second)).astype(int) - photo.rgb
    assert difference[200, 90, 0] == 20 and difference[210, 250, 0] == 20
    assert difference[205, 170, 0] == 40  # both crops reach here


# --- at the border ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "top"])
def test_a_face_over_the_border(side):
    photo = wave_photo()
    crop = crop_face(photo, posed((1.2, 0, (30, 200) if side == "left" else (200, 30))))

    def seen(array):
        """The array with the border to the left."""
        return array if side == "left" else array.swapaxes(-1, -2)

    beyond = int(np.ceil(-crop.matrix[0 if side == "left" else 1, 2] / 1.2))
    image, masks = seen(crop.image), seen(crop.masks)
    assert beyond > 60
    assert torch.isfinite(image).all()
    spread = image[:, :, : beyond - 4].amax(2) - image[:, :, : beyond - 4].amin(2)
    assert spread.mul(127.5).max() < 2  # the border pixels go on
    assert masks[:, :, : beyond - 1].sum() == 0
    assert masks[1:, :, beyond + 1 :].sum((1, 2)).min() > 100
    assert min(crop.box) < 0
    difference = np.abs(np.asarray(pasted(crop, photo, crop.image * 0.5)).astype(int) - photo.rgb).max(-1)
    assert seen(difference)[:, :20].max() > 20
    assert not seen(difference)[:, 200:].any()


def test_a_face_beyond_the_border_is_none():
    with pytest.raises(FaceError, match="lies beyond the photo's border"):
        crop_face(wave_photo(), posed((0.5, 0, (-400, 900))))


def test_a_parse_map_ends_at_the_border():
    photo = wave_photo()
    crop = crop_face(photo, posed((1.2, 0, (30, 200))))
    beyond = int(np.ceil(-crop.matrix[0, 2] / 1.2))
    masks = crop.with_parse(np.ones((HEIGHT, WIDTH), np.uint8), photo.size, "parsing19").masks
    assert masks[:, :, : beyond - 1].sum() == 0
    assert masks.sum(0)[:, beyond + 1 :].all()


@pytest.mark.parametrize("image", [torch.zeros(3, 128, 128), torch.full((3, SIZE, SIZE), float("nan"))])
def test_a_crop_that_cannot_be_pasted(image):
    photo = wave_photo()
    crop = crop_face(photo, posed(POSES["same"]))
    with pytest.raises(ValueError, match="expected a finite changed crop"):
        pasted(crop, photo, image)


def test_a_face_belongs_to_one_size_of_photo():
    crop = crop_face(wave_photo(), posed(POSES["same"]))
    with pytest.raises(ValueError, match=r"\(520, 440\).*\(260, 220\)"):
        pasted(crop, wave_photo(260, 220), crop.image)


def test_the_outline_shows_regions_and_landmarks():
    crop = crop_face(wave_photo(), posed(POSES["same"]))
    picture = np.asarray(faces.outline(crop)).astype(int)
    plain = np.asarray(crop.image.add(1).mul(127.5).round().permute(1, 2, 0))
    nowhere = (crop.masks.sum(0) == 0).numpy()
    for y, x in crop.landmarks.long().tolist():
        assert picture[y, x].tolist() == [255, 255, 0]
        nowhere[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = False
    np.testing.assert_allclose(picture[nowhere], plain[nowhere], atol=1)
    mouth_x, mouth_y = np.rint((CROP_TEMPLATE * (SIZE - 1))[3:].mean(0)).astype(int)
    assert picture[mouth_y + 11, mouth_x + 4, 0] > plain[mouth_y + 11, mouth_x + 4, 0]


# --- finding, without a photograph --------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [(100, 80), (640, 640), (641, 400), (1280, 1280), (4000, 3000), (300, 5000)])
def test_tiles_cover_the_photo_and_overlap(side):
    width, height = side
    found = tiles.tiles(width, height)
    assert found[0] == (0, 0, width, height)
    if max(side) <= tiles.TILE_SIDE:
        assert len(found) == 1
        return
    covered = np.zeros((height, width), np.uint8)
    for x, y, w, h in found[1:]:
        assert w > 0 and h > 0 and x + w <= width and y + h <= height
        covered[y : y + h, x : x + w] = 1
    assert covered.all()
    # A face of a third of a tile lies whole in some tile, wherever it is.
    face = tiles.TILE_SIDE // 3
    for x, y in np.random.default_rng(0).random((50, 2)) * (max(width - face, 1), max(height - face, 1)):
        right, bottom = min(x + face, width), min(y + face, height)
        assert any(a <= x and b <= y and right <= a + w and bottom <= b + h for a, b, w, h in found[1:])


@pytest.mark.parametrize("side", [(1280, 1280), (1000, 700), (300, 200)])
def test_a_face_that_the_border_cuts_lies_in_a_tile_that_is_searched(side, monkeypatch):
    """Wherever its box crosses the border, its middle in the photo; tiles where none can be are left out."""
    asked = []
    monkeypatch.setattr(detection, "_boxes", lambda rgb, searched: asked.append((rgb.shape, searched)) or [])
    detection._cut_faces(np.zeros((*side[::-1], 3), np.uint8), [])
    [((height, width, _), searched)] = asked
    pad = min(side) // 2
    found = tiles.tiles(width, height)
    chosen = list(filter(searched, found))
    for middle in np.random.default_rng(0).random((200, 2)) * side + pad:
        low, high = middle - 80, middle + 80
        if (low < pad).any() or (high > np.add(side, pad)).any():
            within = [tile for tile in found if (low >= tile[:2]).all() and (high <= np.add(tile[:2], tile[2:])).all()]
            assert set(within) <= set(chosen)
    assert side != (1280, 1280) or len(chosen) < len(found) / 2


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_points_of_a_turned_photo_come_back(turns):
    photo = np.zeros((7, 11), np.uint8)
    photo[2, 9], photo[5, 1] = 1, 2
    turned = np.rot90(photo, turns)
    points = np.array([np.argwhere(turned == value)[0, ::-1] for value in (1, 2)])
    assert detection.turned_back(points, turns, photo.shape).tolist() == [[9, 2], [1, 5]]


def test_overlap_of_boxes():
    def overlap(one, other):
        return faces.overlap(np.array(one, float), np.array(other, float))

    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 2, 2), (3, 3, 4, 4)) == 0
    assert overlap((0, 0, 2, 2), (3, 0, 4, 2)) == 0


def test_a_mesh_counts_pixel_centres():
    class Solution:
        def process(self, rgb):
            place = SimpleNamespace(x=0.5, y=0.25)
            return SimpleNamespace(multi_face_landmarks=[SimpleNamespace(landmark=[place])])

    picture = np.zeros((20, 10, 3), np.uint8)
    assert solutions.run_mesh(Solution(), picture).tolist() == [[4.5, 4.5]]
    assert solutions.run_mesh(Solution(), picture, (100, 200)).tolist() == [[49.5, 49.5]]


class Scripted:
    """mediapipe's place taken by a script: candidate boxes, the first mesh, and what each further look sees.

    The photo has no candidates when it is turned.
    """

    def __init__(self, monkeypatch, boxes, looks, score=0.9):
        self.looks = iter(looks)
        monkeypatch.setattr(detection, "_solutions", lambda: solutions.Solutions(*"nfms"))
        passes = iter([[np.array(box, float) for box in boxes]])
        monkeypatch.setattr(detection, "_boxes", lambda rgb, searched: next(passes, []))
        monkeypatch.setattr(detection, "_mesh", lambda rgb, box: posed((0.6, 0, (box[:2] + box[2:]) / 2)))
        monkeypatch.setattr(detection, "_run_mesh", lambda *arguments: next(self.looks))
        monkeypatch.setattr(detection, "_detections", lambda *arguments: [(None, score)])


def test_a_candidate_that_is_not_found_again_is_no_face(monkeypatch):
    Scripted(monkeypatch, [(100, 100, 200, 200)], [None])
    assert detect(wave_photo()) == []


def test_looks_go_on_until_they_agree(monkeypatch):
    shifted = drawn_mesh() + np.array([20, 0])
    script = Scripted(monkeypatch, [(100, 100, 200, 200)], [shifted, drawn_mesh(), None])
    (crop,) = detect(wave_photo())
    # The first of the two further looks saw the face 20 crop pixels to the right, the second agreed with it.
    assert warps.apply(warps.inverse(crop_to_photo(0.6, 0, (150, 150))), crop.matrix[:, 2]) == pytest.approx([20, 0])
    assert next(script.looks) is None


def test_looks_that_never_agree_are_no_face(monkeypatch):
    Scripted(monkeypatch, [(100, 100, 200, 200)], [drawn_mesh() + np.array([20, 0])] * detection.LOOKS)
    assert detect(wave_photo()) == []


def test_two_boxes_of_one_face_are_one_face(monkeypatch):
    boxes = [(100, 100, 200, 200), (105, 98, 205, 199), (300, 250, 400, 350)]
    Scripted(monkeypatch, boxes, [drawn_mesh()] * 2 + [AssertionError("a third look")])
    assert len(detect(wave_photo())) == 2


def test_a_doubtful_face_is_compared_with_the_turned_photo(monkeypatch):
    wrong, mesh, looked_at = posed((0.6, 0, (WIDTH - 1 - 150, HEIGHT - 1 - 150))), posed((0.6, 0, (150, 150))), []

    def upright(rgb, known=()):
        looked_at.append([face.mesh for face in known])
        # Upside-down faces were seen to score 0.8.
        return {1: [detection.Found(wrong, 0.8)], 2: [detection.Found(mesh, 0.9)]}.get(len(looked_at), [])

    monkeypatch.setattr(detection, "_upright_faces", upright)
    (crop,) = detect(wave_photo())
    assert list(map(len, looked_at)) == [0, 0, 1, 1], "as it is, then upside down, which convinces"
    left, right = crop.points[:2]
    assert torch.allclose(left, torch.from_numpy(CROP_TEMPLATE[0, ::-1].copy()).float() * 255, atol=1e-3)
    assert crop.matrix[0, 0] == pytest.approx(-0.6)  # the crop is turned by half, and its place too
    assert crop.matrix @ (SIZE / 2, SIZE / 2, 1) == pytest.approx([WIDTH - 1 - 150, HEIGHT - 1 - 150])
    assert right[1] > left[1]


def test_a_photo_with_a_convincing_face_is_searched_every_way_for_others(monkeypatch):
    mesh, others, left_out = posed((0.6, 0, (150, 150))), [(100, 120), (90, 300), (250, 300)], []

    def upright(rgb, known=()):
        left_out.append([face.mesh for face in known])
        place = len(left_out) - 2
        return [detection.Found(mesh if place < 0 else posed((0.3, 0, others[place])), 0.9)]

    monkeypatch.setattr(detection, "_upright_faces", upright)
    ways = sorted(tuple(np.round(crop.matrix[:, 0], 2) + 0.0) for crop in detect(wave_photo()))
    assert ways == [(-0.3, 0), (0, -0.3), (0, 0.3), (0.6, 0)]
    assert [len(known) for known in left_out] == [0, 1, 2, 3]
    np.testing.assert_allclose(left_out[1][0], (WIDTH - 1, HEIGHT - 1) - mesh)
    left_out.clear()
    assert len(detection.meshes(open_photo(wave_photo()))) == 2, "of a video's frame, by a half turn only"


def test_people_who_lie_different_ways_are_all_found(monkeypatch):
    """Two people, one upside down: each way up, one is doubtful and the other a "face" with eyes for a mouth."""
    upright = [((150, 150), 0.79), ((370, 150), 0.7)]
    turned = [((150, 155), 0.6), ((370, 155), 0.947), ((150, 330), 0.5)]
    turned = [((WIDTH - 1 - x, HEIGHT - 1 - y), score) for (x, y), score in turned]
    passes = iter([upright, turned])

    def faces_of(rgb, known=()):
        return [detection.Found(posed((0.6, 0, place)), score) for place, score in next(passes, [])]

    monkeypatch.setattr(detection, "_upright_faces", faces_of)
    crops = detect(wave_photo())
    found = sorted((*np.rint(crop.matrix @ (SIZE / 2, SIZE / 2, 1)), crop.matrix[0, 0]) for crop in crops)
    assert found == [
        pytest.approx((150, 150, 0.6)),
        pytest.approx((150, 330, -0.6)),
        pytest.approx((370, 155, -0.6)),
    ]


def test_faces_too_small_are_one_error_unless_another_is_usable(monkeypatch):
    small, usable = (detection.Found(posed((scale, 0, (150, 150))), 0.9) for scale in (0.08, 0.6))
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: [small])
    with pytest.raises(FaceError, match="too small"):
        detect(wave_photo())
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: [small, usable])
    assert len(detect(wave_photo())) == 1


def test_faces_too_small_beside_a_usable_one_are_told(monkeypatch):
    small, just, usable = (detection.Found(posed((scale, 0, (150, 150))), 0.9) for scale in (0.08, 0.126, 0.6))
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: [small, usable, just])
    (crop,), told = faces.detect_all(wave_photo())
    assert crop.scale == pytest.approx(0.6)
    assert [face.eye_distance for face in told] == pytest.approx(
        [regions.eye_distance(each.mesh) for each in (small, just)]
    )
    assert told[0].box == pytest.approx((*small.mesh.min(0), *small.mesh.max(0)))
    assert told[0].reason == "too small to change: 5 px between the eyes, at least 8 are needed"
    assert 7.9 < told[1].eye_distance < 8 and "7 px between the eyes" in told[1].reason, "cut off, not rounded"
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: [usable])
    assert faces.detect_all(wave_photo())[1] == []


def test_the_largest_face_comes_first(monkeypatch):
    found = [detection.Found(posed((scale, 0, (150, 150))), 0.9) for scale in (0.5, 0.9, 0.7)]
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: found)
    assert [crop.scale for crop in detect(wave_photo())] == pytest.approx([0.9, 0.7, 0.5])
    assert detect_one(wave_photo()).scale == pytest.approx(0.9)


def test_without_mediapipe_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mediapipe.python.solutions", None)
    with pytest.raises(FaceError, match=r"pip install 'amtgan-lib\[faces\]'"):
        solutions.started.__wrapped__()


# --- finding, with mediapipe --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mediapipe():
    pytest.importorskip("mediapipe", reason="finding faces needs mediapipe (the extra 'faces')")


FACELESS = {
    "waves": lambda: wave_photo().original,
    "noise": lambda: noise_photo().original,
    "black": lambda: Image.new("RGB", (300, 200)),
    "one pixel": lambda: Image.new("RGB", (1, 1), "white"),
    "a thin strip": lambda: Image.new("L", (900, 3), 128),
    "large": lambda: wave_photo(1500, 700).original,
}


@pytest.mark.parametrize("picture", FACELESS.values(), ids=FACELESS)
def test_no_face(picture, mediapipe):
    assert detect(picture()) == []
    with pytest.raises(FaceError, match="photo: no face was found"):
        detect_one(picture())


def test_what_is_no_photo_is_the_same_error_as_everywhere(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(PhotoError, match="not an image"):
        detect(tmp_path / "a.jpg")


def test_starting_is_silent(mediapipe, capfd):
    solutions.started.__wrapped__()
    detect(wave_photo())
    assert capfd.readouterr().err == ""


# --- finding, on the photographs ----------------------------------------------------------------------------------

LONDON = "debruine/webmorphR.stim/*/inst"
CELEBA = "parham1998/Facial-Privacy-Protection/*/assets/datasets/*/*"


def photos(mirror, pattern, count):
    found = sorted(mirror.glob(pattern))
    if not found:
        pytest.skip(f"the mirror has no {pattern}")
    return found[:: max(len(found) // count, 1)][:count]


@pytest.fixture(scope="module")
def portrait(mirror, mediapipe):
    """One London photo, upright, and its face."""
    photo = open_photo(photos(mirror, f"{LONDON}/neutral_front/*_03.jpg", 1)[0])
    return photo.original.convert("RGB"), detect_one(photo)


def hand_placed(photo_file):
    """Points (189, 2) as (x, y) that a person put into a London photo."""
    lines = photo_file.with_suffix(".tem").read_text().splitlines()
    return np.array([line.split()[:2] for line in lines[1:190]], float)


def in_photo(crop, points):
    """Crop points (K, 2) as (y, x) to photo (x, y)."""
    return warps.apply(crop.matrix, points.numpy()[:, ::-1])


def moved(found, expected):
    """Largest distance of the five points of two faces (5, 2), in eye distances."""
    return np.linalg.norm(found - expected, axis=1).max() / np.linalg.norm(expected[0] - expected[1])


@pytest.mark.mirror
def test_a_sample_of_the_photographs(mirror, mediapipe):
    files = photos(mirror, f"{LONDON}/*/*.jpg", 6) + photos(mirror, f"{CELEBA}/*.png", 14)
    found = [detect(file) for file in files]
    print(f"faces in {sum(map(bool, found))} of {len(files)} photos")
    assert all(found)
    for crop in (crops[0] for crops in found):
        assert (crop.masks.sum((1, 2)) > (150, 5000, 1000)[0]).all()
        assert np.abs(crop.points.numpy()[:, ::-1] - CROP_TEMPLATE * 255).max() < 35


@pytest.mark.mirror
def test_landmarks_agree_with_the_hand_placed_ones(mirror, mediapipe):
    errors = []
    for file in photos(mirror, f"{LONDON}/neutral_front/*_03.jpg", 6):
        crop, hand = detect_one(file), hand_placed(file)
        five, outline = in_photo(crop, crop.points), in_photo(crop, crop.landmarks)
        eyes = np.stack([outline[36:42].mean(0), outline[42:48].mean(0)])
        pairs = [(five[[0, 1, 3, 4]], hand[[0, 1, 87, 93]]), (outline[[48, 54]], hand[[87, 93]]), (eyes, hand[[0, 1]])]
        scale = np.linalg.norm(hand[0] - hand[1])
        errors.append([np.linalg.norm(a - b, axis=1).max() / scale for a, b in pairs])
    points, corners, eyes = np.max(errors, axis=0)
    assert points < 0.06 and corners < 0.07 and eyes < 0.08


@pytest.mark.mirror
def test_landmarks_come_in_the_usual_order(portrait):
    y, x = portrait[1].landmarks.numpy().T

    def rising(values):
        return (np.diff(values) >= 0).all() and values[-1] > values[0]

    assert rising(x[[0, 4, 8, 12, 16]]) and y.argmax() in (7, 8, 9)  # jaw, from the left ear over the chin
    assert rising(x[17:27]) and y[17:27].max() < y[36:48].min()  # brows
    assert rising(y[27:31]) and rising(x[31:36])  # nose, down and across
    for eye in (36, 42):
        upper, lower = y[[eye + 1, eye + 2]], y[[eye + 5, eye + 4]]
        assert rising(x[eye : eye + 4]) and rising(x[[eye, eye + 5, eye + 4, eye + 3]]) and (upper < lower).all()
    assert rising(x[48:55]) and rising(x[[48, 59, 58, 57, 56, 55, 54]]) and y[51] < y[57]  # outer lips
    assert rising(x[60:65]) and rising(x[[60, 67, 66, 65, 64]]) and y[51] < y[62] <= y[66] < y[57]  # inner lips


@pytest.mark.mirror
@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (f"{LONDON}/neutral_front/013_03.jpg", 1),  # an ear looks like a face at first
        ("parham1998/Facial-Privacy-Protection/*/assets/datasets/*/train_align/train_5.png", 2),
        ("Honlan/BeautyGAN/*/imgs/no_makeup/xfsy_0055.png", 2),
    ],
)
def test_faces_in_the_background_but_no_ears(pattern, count, mirror, mediapipe):
    assert len(detect(photos(mirror, pattern, 1)[0])) == count


@pytest.mark.mirror
def test_a_doubtful_face_stays_beside_one_that_lies_upside_down(mirror, mediapipe):
    files = photos(mirror, f"{LONDON}/neutral_front/*.jpg", 2)
    covered, other = (Image.open(file).convert("RGB").resize((400, 400)) for file in files)
    covered.paste("black", (100, 130, 300, 200))  # the eyes
    both = Image.new("RGB", (850, 420), "white")
    both.paste(covered, (10, 10))
    both.paste(other.rotate(180), (430, 10))
    lefts = sorted(crop.box[0] for crop in detect(both))
    assert len(lefts) == 2 and lefts[0] < 420 < lefts[1]


def sized(picture, face, height):
    """The picture resized so that its face is so many pixels high."""
    factor = height / (face.box[3] - face.box[1])
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)


def around(picture, face, share):
    """The part of a picture around its face."""
    x0, y0, x1, y1 = face.box
    margin = share * (y1 - y0)
    return picture.crop((round(x0 - margin), round(y0 - margin), round(x1 + margin), round(y1 + margin)))


@pytest.mark.mirror
@pytest.mark.parametrize("height", [40, pytest.param(4000, marks=pytest.mark.slow)])
def test_a_face_of_any_size(height, portrait):
    picture, face = portrait
    part = around(picture, face, 0.1)
    resized = sized(part, face, height)
    (before,), (crop,) = detect(part), detect(resized)
    factor = resized.width / part.width
    expected = (in_photo(before, before.points) + 0.5) * factor - 0.5
    assert moved(in_photo(crop, crop.points), expected) < (0.06 if height == 40 else 0.02)
    assert crop.box[3] - crop.box[1] == pytest.approx(height, rel=0.06)
    brighter = (crop.image + 30 / 127.5).clamp(-1, 1)
    changed = np.asarray(pasted(crop, resized, brighter)).astype(int) - np.asarray(resized)
    y, x = np.rint(in_photo(crop, crop.points)[2][::-1]).astype(int)
    assert np.abs(changed[y, x] - 30).max() <= 2


KINDS = {
    "greyscale": lambda p: p.convert("L"),
    "RGBA": lambda p: p.convert("RGBA"),
    "16 bit": lambda p: Image.fromarray(np.asarray(p.convert("L")).astype(np.uint16) * 256 + 77),
}


@pytest.mark.mirror
@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_of_any_kind(kind, portrait, tmp_path):
    picture, face = portrait
    picture = KINDS[kind](picture)
    picture.save(tmp_path / "a.png")
    (crop,) = detect(tmp_path / "a.png")
    assert moved(in_photo(crop, crop.points), in_photo(face, face.points)) < 0.03
    photo = open_photo(tmp_path / "a.png")
    result = pasted(crop, photo, crop.image * 0.7)
    save(tmp_path / "b.png", result)
    with Image.open(tmp_path / "b.png") as again:
        assert again.mode == picture.mode and again.size == picture.size
        before, after = np.asarray(picture).astype(int), np.asarray(again).astype(int)
    changed = np.argwhere((before != after).reshape(*before.shape[:2], -1).any(-1))
    corners = warps.apply(crop.matrix, np.array([(0, 0), (0, 255), (255, 0), (255, 255)]))
    assert (changed.min(0)[::-1] >= corners.min(0) - 2).all() and (changed.max(0)[::-1] <= corners.max(0) + 2).all()
    assert len(changed) > 0.3 * (crop.scale * 256) ** 2
    if kind == "RGBA":
        assert (after[..., 3] == 255).all()


@pytest.mark.mirror
def test_a_photo_turned_by_its_exif(portrait, tmp_path):
    picture, face = portrait
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(tmp_path / "a.png", exif=exif)
    (crop,) = detect(tmp_path / "a.png")
    torch.testing.assert_close(crop.image, face.image)
    np.testing.assert_allclose(crop.matrix, face.matrix)


@pytest.mark.mirror
@pytest.mark.parametrize("degrees", [20, 90, 180])
def test_a_turned_face_gives_the_same_crop(degrees, portrait):
    picture, face = portrait
    (crop,) = detect(picture.rotate(degrees, Image.Resampling.BICUBIC))
    middle = (np.array(picture.size) - 1) / 2
    a = np.deg2rad(degrees)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    expected = (in_photo(face, face.points) - middle) @ turn.T + middle
    assert moved(in_photo(crop, crop.points), expected) < 0.04
    assert (crop.image - face.image)[:, 64:192, 64:192].abs().mean() * 127.5 < 12


@pytest.mark.mirror
def test_a_face_cut_by_the_border(portrait):
    picture, face = portrait
    left = round(face.box[0] * 0.7 + face.box[2] * 0.3)
    photo = open_photo(picture.crop((left, 0, picture.width, picture.height)))
    (crop,) = detect(photo)
    assert crop.box[0] < 0
    assert moved(in_photo(crop, crop.points) + np.array([left, 0]), in_photo(face, face.points)) < 0.25
    assert crop.masks[1, :, :20].sum() == 0
    np.testing.assert_array_equal(np.asarray(pasted(crop, photo, crop.image)), photo.rgb)


@pytest.mark.mirror
def test_two_faces_in_one_photo(mirror, portrait):
    picture, face = portrait
    other = Image.open(photos(mirror, f"{LONDON}/smiling_front/*_08.jpg", 2)[-1])
    both = Image.new("RGB", (picture.width + other.width, max(picture.height, other.height)))
    both.paste(picture)
    both.paste(other, (picture.width, 0))
    crops = sorted(detect(both), key=lambda crop: crop.box[0])
    assert len(crops) == 2
    assert moved(in_photo(crops[0], crops[0].points), in_photo(face, face.points)) < 0.03
    assert crops[1].box[0] > picture.width


@pytest.mark.mirror
def test_what_is_damaged_is_one_clear_error(portrait, tmp_path):
    picture, _ = portrait
    picture.save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:20000])
    with pytest.raises(PhotoError, match=r"a\.jpg is damaged or incomplete"):
        detect(tmp_path / "a.jpg")


@pytest.mark.mirror
def test_the_answer_depends_on_the_photo_alone(portrait):
    picture, face = portrait
    small = sized(picture, face, 100)
    expected = detect_one(small)
    found = []

    def look(photo):
        with suppress(FaceError):
            found.append(detect_one(photo))

    threads = [threading.Thread(target=look, args=(photo,)) for photo in (small, wave_photo(), small, small)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all((crop.matrix == expected.matrix).all() and (crop.image == expected.image).all() for crop in found)
