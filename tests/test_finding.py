"""Nobody is missed: faces that lie any way, that the border cuts, that only the second detector or a person sees."""

from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from conftest import SHARED
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from amtgan_lib import faces
from amtgan_lib.faces import DoubtfulFace, FaceError, SmallFace, detection, mtcnn, warps
from amtgan_lib.faces.covers import LOWER
from amtgan_lib.images import open_photo

pytestmark = pytest.mark.filterwarnings("ignore:SymbolDatabase")  # mediapipe, about its own code
pytest.importorskip("mediapipe", reason="finding faces needs mediapipe (the extra 'faces')")

SIDE = 300
CASES = SHARED / "cases"
LONDON = "debruine/webmorphR.stim/*/inst/neutral_front/*_03.jpg"
needs_mtcnn = pytest.mark.skipif(not mtcnn.at_hand(), reason="the weights of MTCNN are not at hand")


@pytest.fixture(scope="module")
def drawn():
    """Two drawn people, as square pictures."""
    return [fakes.portrait(row, SIDE) for row in (3, 9)]


@pytest.fixture(scope="module")
def photographed(mirror):
    files = sorted(Path(mirror).glob(LONDON))
    if len(files) < 2:
        pytest.skip("the mirror has no London portraits")
    return [Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS) for file in files[:2]]


def beside(one, other, degrees=0):
    """One upright, and the other turned to its right."""
    both = Image.new("RGB", (2 * SIDE, SIDE), "white")
    both.paste(one)
    ground = other.getpixel((2, 2))
    both.paste(other.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=ground), (SIDE, 0))
    return both


def five(crop):
    """The five points (5, 2) of a face as (x, y) in its photo."""
    return warps.apply(crop.matrix, crop.points.numpy()[:, ::-1])


def turned(points, degrees):
    """Where the points of an upright picture lie once it is turned and pasted."""
    angle, middle = np.deg2rad(degrees), (SIDE - 1) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - middle) @ turn.T + middle + (SIDE, 0)


def assert_found_right_way_up(pair, degrees):
    expected = turned(five(faces.detect_one(pair[1])), degrees)
    found = [five(crop) for crop in faces.detect(beside(*pair, degrees))]
    eyes = np.linalg.norm(expected[0] - expected[1])
    assert len(found) == 2
    assert min(np.linalg.norm(points - expected, axis=1).max() for points in found) < 0.15 * eyes


# ---------------------------------------------------------------- turned


@pytest.mark.parametrize("degrees", [105, 180, pytest.param(240, marks=pytest.mark.slow)])
def test_a_drawn_face_beside_an_upright_one_is_found_whichever_way_it_lies(drawn, degrees):
    assert_found_right_way_up(drawn, degrees)


@pytest.mark.mirror
@pytest.mark.parametrize(
    "degrees", [each if each in (90, 210) else pytest.param(each, marks=pytest.mark.slow) for each in range(0, 360, 15)]
)
def test_a_face_beside_an_upright_one_is_found_whichever_way_it_lies(photographed, degrees):
    assert_found_right_way_up(photographed, degrees)


def small_beside(one, other, share, degrees):
    """One upright, and the other ``share`` times as small to its right, turned; and the box of this one's picture."""
    side, small = 700, 700 // share
    both = Image.new("RGB", (side * 7 // 5, side), one.getpixel((2, 2)))
    both.paste(one.resize((side, side)))
    other = other.resize((small, small), Image.Resampling.LANCZOS)
    ground = other.getpixel((2, 2))
    both.paste(other.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=ground), (side + 10, 230))
    return both, (side + 10, 230, side + 10 + small, 230 + small)


def within(box, face):
    """Whether the middle of a face lies in a box."""
    x, y = np.add(face.box[:2], face.box[2:]) / 2
    return box[0] < x < box[2] and box[1] < y < box[3]


def assert_small_one_found(pair, share, degrees):
    both, place = small_beside(*pair, share, degrees)
    crops, left = faces.detect_all(both)
    assert len(crops) == 2 and not left
    assert within(place, crops[1]) and not within(place, crops[0])


@pytest.mark.parametrize("share, degrees", [(6, 90), (6, 270), pytest.param(4, 120, marks=pytest.mark.slow)])
def test_a_small_drawn_face_on_its_side_beside_a_large_one_is_found(drawn, share, degrees):
    assert_small_one_found(drawn, share, degrees)


@pytest.mark.mirror
@pytest.mark.parametrize("share", [4, 6])
@pytest.mark.parametrize("degrees", [90, pytest.param(180, marks=pytest.mark.slow)])
def test_a_small_face_on_its_side_beside_a_large_one_is_found(photographed, share, degrees):
    assert_small_one_found(photographed, share, degrees)


@pytest.mark.mirror
@pytest.mark.parametrize("second", [pytest.param(True, marks=needs_mtcnn), False])
@pytest.mark.parametrize("colour", ["#222124", "#c8a084"])
def test_a_face_in_a_mask_is_not_taken_upside_down(photographed, colour, second, monkeypatch):
    """With hair for a mouth, the mesh of a half turn scores better; the second detector knows, where it is at hand."""
    if not second:
        monkeypatch.setattr(mtcnn, "at_hand", lambda: False)
    for picture in photographed:
        crop, masked = faces.detect_one(picture), picture.copy()
        mesh = warps.apply(crop.matrix, crop.mesh.numpy()[:, ::-1])
        ImageDraw.Draw(masked).polygon([tuple(each) for each in mesh[list(LOWER)].tolist()], fill=colour)
        (found,) = faces.detect(masked)
        eyes = np.linalg.norm(five(crop)[0] - five(crop)[1])
        assert np.linalg.norm(five(found)[:2] - five(crop)[:2], axis=1).max() < 0.25 * eyes


@pytest.mark.parametrize("name", [pytest.param("missed_008_03.jpg", marks=pytest.mark.slow), "updown_002_03.jpg"])
def test_two_people_of_whom_one_lies_upside_down(name):
    if not (CASES / name).is_file():
        pytest.skip("the cases are not at hand")
    crops, left = faces.detect_all(CASES / name)
    upright, other = sorted(crops, key=lambda crop: crop.box[0])
    assert not left and upright.matrix[0, 0] > 0 > other.matrix[0, 0]
    assert five(other)[3:, 1].max() < five(other)[:2, 1].min(), "the mouth lies above the eyes"


# ---------------------------------------------------------------- cut by the border


@pytest.mark.parametrize("side", ["left", pytest.param("right", marks=pytest.mark.slow), "top"])
def test_a_face_that_the_border_cuts_in_half_is_found_or_named(drawn, side):
    one, other = drawn
    x0, y0, x1, y1 = faces.detect_one(other).box
    half = {"left": ((x0 + x1) / 2, 0, SIDE, SIDE), "right": (0, 0, (x0 + x1) / 2, SIDE)}
    part = other.crop(tuple(map(round, half.get(side, (0, (y0 + y1) / 2, SIDE, SIDE)))))
    both = Image.new("RGB", (2 * SIDE, SIDE), "white")
    both.paste(one, (SIDE if side == "left" else 0, 0))
    both.paste(part, {"left": (0, 0), "right": (2 * SIDE - part.width, 0), "top": (SIDE, 0)}[side])
    crops, left = faces.detect_all(both)
    on_its_side = [box for box in (each.box for each in (*crops, *left)) if (box[0] < SIDE * 0.6) == (side == "left")]
    assert len(crops) + len(left) == 2 and len(on_its_side) == 1


def test_a_face_that_the_border_of_a_panorama_cuts_is_found(drawn):
    """It is small beside the length of the picture."""
    one, other = (each.resize((200, 200)) for each in drawn)
    x0, _, x1, _ = faces.detect_one(other).box
    wide = Image.new("RGB", (9000, 400), "grey")
    wide.paste(one, (4000, 50)), wide.paste(other.crop((round((x0 + x1) / 2), 0, 200, 200)), (0, 50))
    crops, left = faces.detect_all(wide)
    assert len(crops) + len(left) == 2


def test_whole_faces_near_the_border_are_one_face_each(drawn):
    one, other = drawn
    right = round(faces.detect_one(other).box[2])
    near = beside(one, other).crop((0, 0, SIDE + right + 4, SIDE))
    crops, left = faces.detect_all(near)
    assert len(crops) == 2 and left == []


# ---------------------------------------------------------------- the second detector


@pytest.fixture
def nothing_found(monkeypatch):
    """The first search finds no face at all."""
    monkeypatch.setattr(detection, "_faces", lambda rgb, *ways: [])
    monkeypatch.setattr(detection, "_cut_faces", lambda rgb, found: [])
    monkeypatch.setattr(mtcnn, "at_hand", lambda: False)


def seeing(monkeypatch, *sightings):
    """A second detector that sees faces in these boxes of a pair, with these scores."""
    seen = [mtcnn.Sighting(np.array(box, float), score) for box, score in sightings]
    monkeypatch.setattr(mtcnn, "at_hand", lambda: True)
    monkeypatch.setattr(mtcnn, "sightings", lambda rgb, *turned: [] if turned else seen)


EMPTY = (10, 200, 90, 290)


def test_a_face_that_only_the_second_detector_sees_is_found(drawn, nothing_found, monkeypatch):
    picture = beside(Image.new("RGB", (SIDE, SIDE), "white"), drawn[0], 180)
    seeing(monkeypatch, ((SIDE + 60, 60, SIDE + 240, 260), 0.8))
    (crop,), left = faces.detect_all(picture)
    assert left == [] and crop.matrix[0, 0] < 0 and crop.box[0] > SIDE


@pytest.mark.parametrize("score, count", [(0.99, 1), (0.9, 0)])
def test_a_face_that_the_second_detector_sees_in_the_turned_photo_is_found(
    drawn, nothing_found, monkeypatch, score, count
):
    """By a quarter turn, in the last of the pictures that it is shown; of what no mesh fits nothing is said there."""
    boxes = [(60, SIDE + 60, 240, SIDE + 260), (60, 60, 240, 260)]
    shown = iter([[], [], [], [mtcnn.Sighting(np.array(box, float), score) for box in boxes]])
    monkeypatch.setattr(mtcnn, "at_hand", lambda: True)
    monkeypatch.setattr(mtcnn, "sightings", lambda rgb, *turned: next(shown))
    crops, left = faces.detect_all(beside(Image.new("RGB", (SIDE, SIDE), "white"), drawn[0], 90))
    assert len(crops) == count and left == []
    assert all(crop.box[0] > SIDE and abs(crop.matrix[0, 0]) < 0.3 * crop.scale for crop in crops)


@needs_mtcnn
@pytest.mark.mirror
def test_a_dark_small_face_that_lies_another_way_is_found(mirror):
    """The first detector misses more of them."""
    files = [
        next(Path(mirror).glob(f"{LONDON.removesuffix('*_03.jpg')}{name}_03.jpg"), None) for name in ("006", "042")
    ]
    if None in files:
        pytest.skip("the mirror has no such London portraits")
    large, small = (Image.open(file).convert("RGB") for file in files)
    both = large.resize((800, 800), Image.Resampling.LANCZOS)
    both.paste(small.resize((130, 130), Image.Resampling.LANCZOS).rotate(180), (66, 590))
    crops, left = faces.detect_all(both)
    assert len(crops) == 2 and not left and within((66, 590, 196, 720), crops[1])


def test_what_the_second_detector_is_sure_of_and_no_mesh_fits_is_doubtful(drawn, monkeypatch):
    picture = beside(drawn[0], Image.new("RGB", (SIDE, SIDE), "white"))
    box = tuple(np.add(EMPTY, (SIDE, 0, SIDE, 0)).tolist())
    seeing(monkeypatch, (box, 0.99), (faces.detect_one(drawn[0]).box, 1.0))
    crops, (doubtful,) = faces.detect_all(picture)
    assert len(crops) == 1 and isinstance(doubtful, DoubtfulFace) and doubtful.box == box and not doubtful.by_hand
    assert "80 x 90 px at (310, 200)" in str(doubtful)
    mouth = (*five(crops[0])[3:].min(0) - 10, *five(crops[0])[3:].max(0) + 10)
    seeing(monkeypatch, (box, 0.9), (mouth, 0.99))
    assert faces.detect_all(picture)[1] == [], "of one it is not sure, the other is a part of a face"


def test_without_its_weights_the_second_detector_is_not_asked(drawn, monkeypatch):
    monkeypatch.setattr(mtcnn.assets, "local", lambda asset: None)
    monkeypatch.setattr(mtcnn, "sightings", lambda rgb: pytest.fail("it was asked"))
    assert not faces.cross_checked()
    assert len(faces.detect_all(drawn[0])[0]) == 1


@needs_mtcnn
def test_the_second_detector_sees_the_same_faces(drawn):
    picture = beside(*drawn)
    boxes = [crop.box for crop in faces.detect(picture)]
    seen = mtcnn.sightings(np.asarray(picture))
    assert len(boxes) == 2 and sum(any(faces.overlap(box, each.box) > 0.4 for each in seen) for box in boxes) >= 1
    assert all(0.7 <= each.score <= 1 for each in seen)


@needs_mtcnn
@pytest.mark.mirror
def test_the_second_detector_sees_photographs_at_their_own_size(photographed):
    small, large = photographed[0], photographed[0].resize((5 * SIDE, 5 * SIDE))
    (one,), (other,) = (mtcnn.sightings(np.asarray(picture)) for picture in (small, large))
    assert faces.overlap(one.box * 5, other.box) > 0.8
    assert faces.overlap(one.box, faces.detect_one(small).box) > 0.5
    assert min(one.score, other.score) > 0.95


@needs_mtcnn
@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (200, 300)])
def test_where_there_is_nothing_the_second_detector_sees_nothing(shape):
    assert mtcnn.sightings(np.full((*shape, 3), 90, np.uint8)) == []


def test_boxes_that_overlap_a_better_one_are_left_out():
    boxes = torch.tensor([(0, 0, 10, 10), (1, 0, 11, 10), (50, 50, 60, 60), (2, 2, 6, 6)], dtype=torch.float32)
    scores = torch.tensor([0.8, 0.9, 0.7, 0.6])
    assert mtcnn._apart(boxes, scores, 0.7).tolist() == [1, 2, 3], "one that lies within another is none of these"


# ---------------------------------------------------------------- one before the other


def in_front(large, small, share, place):
    """A head of ``share`` of the width of a large face before it, its middle at a place (x, y) in shares of its box."""
    front, behind = (faces.detect_one(picture).box for picture in (small, large))
    factor = share * (behind[2] - behind[0]) / (front[2] - front[0])
    x0, y0, x1, y1 = np.array(front) + np.array((-0.15, -0.35, 0.15, 0.1)) * (front[2] - front[0])
    head = small.crop(tuple(map(round, (x0, y0, x1, y1)))).resize(
        (round((x1 - x0) * factor), round((y1 - y0) * factor))
    )
    shape = Image.new("L", head.size)
    ImageDraw.Draw(shape).ellipse((0, 0, *np.subtract(head.size, 1)), fill=255)
    middle = np.add(behind[:2], np.array(place) * np.subtract(behind[2:], behind[:2]))
    both = large.copy()
    both.paste(head, tuple((middle - np.array(head.size) / 2).round().astype(int)), shape)
    return both, (*(middle - 20), *(middle + 20))


@needs_mtcnn
@pytest.mark.mirror
@pytest.mark.parametrize("share, place", [(0.25, (0.5, 0.5)), (0.4, (0.5, 0.9)), (0.5, (0.2, 0.65))])
def test_of_two_faces_one_before_the_other_both_are_found_or_named(photographed, share, place):
    """On the nose, on the chin, on a cheek, where it hides much of the other."""
    large, small = (picture.resize((900, 900)) for picture in photographed)
    both, there = in_front(large, small, share, place)
    crops, left = faces.detect_all(both)
    assert len(crops) + len(left) == 2
    assert any(within(there, crop) for crop in crops), "the one in front can be protected"


def test_a_large_face_behind_a_small_one_is_no_part_of_it(drawn, monkeypatch):
    """No mesh fits what is left of it but that of the face before it, which is found already."""
    (small,) = faces.detect(drawn[0])
    x0, y0, x1, y1 = small.box
    behind = (x0 - (x1 - x0), y0 - (y1 - y0) * 0.7, x1 + (x1 - x0) * 0.2, y1 + (y1 - y0) * 0.5)
    seeing(monkeypatch, (behind, 0.99), (small.box, 0.99))
    crops, (doubtful,) = faces.detect_all(drawn[0])
    assert len(crops) == 1 and doubtful.box == pytest.approx(behind)
    monkeypatch.setattr(mtcnn, "at_hand", lambda: False)
    assert faces.detect_all(drawn[0], added=[tuple(np.clip(behind, 0, SIDE))])[1] == [], "marked widely by hand"


# ---------------------------------------------------------------- transparent


def with_alpha(colours, alpha):
    """A picture with an alpha channel from the grey of another."""
    picture = colours.convert("RGBA")
    picture.putalpha(alpha.convert("L"))
    return picture


@pytest.mark.parametrize("dark", [True, False])
def test_a_face_that_only_transparency_shows_is_refused(drawn, dark):
    """It shows over a light background through black, over a dark one through white."""
    colours = beside(drawn[0], Image.new("RGB", (SIDE, SIDE), "black" if dark else "white"))
    alpha = beside(Image.new("RGB", (SIDE, SIDE), "white"), ImageOps.invert(drawn[1]) if dark else drawn[1])
    with pytest.raises(FaceError, match=r"only its transparency shows a face of \d+ x \d+ px at \(3\d\d, \d+\)"):
        faces.detect_all(with_alpha(colours, alpha))


def test_a_face_in_fully_transparent_colours_is_found(drawn):
    alpha = beside(Image.new("L", (SIDE, SIDE), 255), Image.new("L", (SIDE, SIDE), 0))
    assert len(faces.detect_all(with_alpha(beside(*drawn), alpha))[0]) == 2


@pytest.mark.parametrize("kind", ["opaque", "cut out", "faded"])
def test_a_photo_with_alpha_is_searched_as_one_without(drawn, kind):
    (expected,) = faces.detect(drawn[0])
    alpha = Image.new("L", (SIDE, SIDE), 255 if kind == "opaque" else 0)
    if kind != "opaque":
        ImageDraw.Draw(alpha).ellipse((40, 10, SIDE - 40, SIDE - 10), fill=255)
    picture = with_alpha(drawn[0], alpha.filter(ImageFilter.GaussianBlur(20)) if kind == "faded" else alpha)
    (crop,), left = faces.detect_all(picture)
    assert left == [] and np.array_equal(crop.matrix, expected.matrix)


# ---------------------------------------------------------------- added by hand


@pytest.mark.parametrize("degrees", [0, 135])
def test_a_face_in_a_box_drawn_by_hand_is_found(drawn, nothing_found, degrees):
    picture = beside(Image.new("RGB", (SIDE, SIDE), "white"), drawn[1], degrees)
    (crop,), left = faces.detect_all(picture, added=[(SIDE + 40, 40, 2 * SIDE - 40, SIDE - 40)])
    angle = np.degrees(np.arctan2(-crop.matrix[1, 0], crop.matrix[0, 0]))
    assert left == [] and abs((angle - degrees + 180) % 360 - 180) < 15


def test_a_box_without_a_face_is_named(drawn):
    picture = beside(drawn[0], Image.new("RGB", (SIDE, SIDE), "white"))
    box = (SIDE + 50, 50, SIDE + 200, 200)
    crops, left = faces.detect_all(picture, added=[box])
    assert len(crops) == 1 and left == [DoubtfulFace(box, by_hand=True)]
    assert "you marked it" in str(left[0])


def test_a_box_around_a_face_that_is_found_anyway_changes_nothing(drawn):
    (expected,) = faces.detect(drawn[0])
    (crop,), left = faces.detect_all(drawn[0], added=[expected.box])
    assert left == [] and np.array_equal(crop.matrix, expected.matrix)


@pytest.mark.parametrize("box", [(10, 10, 10, 50), (-5, 0, 50, 50), (0, 0, 301, 50)])
def test_a_box_that_is_not_in_the_photo_is_refused(drawn, box):
    with pytest.raises(FaceError, match="is not in the photo of 300 x 300 pixels"):
        faces.detect_all(drawn[0], added=[box])


# ---------------------------------------------------------------- shown


def test_what_was_found_is_drawn(drawn):
    photo = open_photo(beside(*drawn))
    crops = faces.detect(photo)
    others = [SmallFace((20, 20, 30, 32), 5.0), DoubtfulFace((450, 250, 600, 350))]
    picture = np.asarray(faces.boxed(photo, crops, others)).astype(int)
    assert picture.shape == photo.rgb.shape

    def colour(box):
        left, top, _, bottom = map(round, box)
        return picture[(top + bottom) // 2, left]

    green, orange, red = colour(crops[0].box), colour(others[0].box), colour((450, 250, 600, 300))
    assert green[1] > 180 > green[0] and orange[0] > 200 > 160 > orange[2] and orange[1] > 100 > red[1]
    assert np.array_equal(green, colour(crops[1].box))


def test_a_large_photo_is_drawn_smaller():
    photo = open_photo(np.zeros((300, 5000, 3), np.uint8))
    picture = faces.boxed(photo, [], [SmallFace((2500, 100, 2600, 200), 5.0)])
    assert picture.size == (2000, 120)
    assert np.asarray(picture)[60, 1000].max() > 100
