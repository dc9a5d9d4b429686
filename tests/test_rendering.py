"""What a face can wear: every part stays where it belongs and within its bounds, and goes away with its strength."""

from dataclasses import fields, replace

import fakes
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from scipy import ndimage

from amtgan_lib import faces
from amtgan_lib.faces.covers import LOWER, wears_glasses
from amtgan_lib.faces.drawing import DARKEST
from amtgan_lib.faces.parts import BLACKEST, DEEPEST, RIDGE, TAN, face_regions
from amtgan_lib.faces.regions import BROWS, OVAL
from amtgan_lib.images import open_photo, to_tensor, to_uint8
from amtgan_lib.models import rendering
from amtgan_lib.models.face_regions import LATTICE, Regions
from amtgan_lib.models.rendering import BARE, PARTS, Fields, Look, applied, paint, render

SIZE = 256


def drawn_crop(row: int = 3) -> faces.FaceCrop:
    return faces.detect_one(fakes.portrait(row), SIZE)


def outside(mesh: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Which pixels of a picture (width, height) lie outside the outline of a face."""
    inside = Image.new("1", size)
    ImageDraw.Draw(inside).polygon([tuple(mesh[index]) for index in OVAL], fill=1)
    return ~np.asarray(inside)


def brows_of(crop: faces.FaceCrop) -> torch.Tensor:
    """The pixels (S,S) inside the mesh's brows."""
    picture = Image.new("1", (SIZE, SIZE))
    for brow in BROWS:
        ImageDraw.Draw(picture).polygon([tuple(point) for point in crop.mesh[list(brow)].flip(1).tolist()], fill=1)
    return torch.from_numpy(np.asarray(picture).copy())


@pytest.fixture(scope="module")
def crop() -> faces.FaceCrop:
    return drawn_crop()


@pytest.fixture(scope="module")
def regions(crop):
    return face_regions(crop.image, crop.mesh)


def strong(regions, parts=PARTS, seed=0) -> Look:
    """A look at its bounds: large random numbers."""
    generator = torch.Generator().manual_seed(seed)
    plain = Look.plain(regions, parts)
    numbers = {part: 9 * torch.randn(value.shape, generator=generator) for part, value in plain.worn().items()}
    # Liner only darkens: numbers above 0 are no change.
    return Look(**{part: -value.abs() if part == "liner" else value for part, value in numbers.items()})


def test_a_plain_look_and_strength_0_give_the_image_back_bit_for_bit(crop, regions):
    image = crop.image[None]
    assert torch.equal(render(image, regions, Look.plain(regions)), image)
    assert torch.equal(render(image, regions, strong(regions), 0.0), image)
    assert torch.equal(render(image, regions, strong(regions), dict.fromkeys(PARTS, 0.0)), image)
    assert not torch.equal(render(image, regions, strong(regions)), image)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_something_alone_and_goes_away_with_its_own_strength(crop, regions, part):
    image, look = crop.image[None], strong(regions)
    alone = render(image, regions, Look(**{part: look.worn()[part]}))
    assert not torch.equal(alone, image)
    assert torch.equal(render(image, regions, look, dict.fromkeys(PARTS, 0.0) | {part: 1.0}), alone)
    assert torch.equal(render(image, regions, Look(**{part: look.worn()[part]}), {part: 0.0}), image)


def test_outside_the_outline_of_the_face_not_one_bit_changes(crop, regions):
    beyond = torch.from_numpy(outside(crop.mesh.numpy()[:, ::-1], (SIZE, SIZE)))
    changed = render(crop.image[None], regions, strong(regions))[0]
    assert 0.3 < beyond.float().mean() < 0.8
    assert torch.equal(changed[:, beyond], crop.image[:, beyond])


def test_pixels_move_no_farther_than_the_bound(regions):
    for seed in range(3):
        moved = paint(regions, strong(regions, ["shape"], seed)).flow.norm(dim=1).max()
        assert 0.5 * rendering.REACH * SIZE < moved <= rendering.REACH * SIZE


def test_moves_are_mostly_the_same_on_both_sides(regions):
    everywhere = torch.ones_like(regions.moving)
    one_sided = torch.zeros(1, 2, LATTICE, LATTICE)
    one_sided[:, 1, :, :7] = 9.0
    straight = replace(regions, moving=everywhere, across=torch.linspace(0, 1, SIZE)[None])
    flow = paint(straight, Look(shape=one_sided)).flow[0, 1]
    left, right = flow[:, 20:100].mean(), flow[:, -100:-20].mean()
    assert right / left == pytest.approx((1 - rendering.ASYMMETRY) / (1 + rendering.ASYMMETRY), abs=0.1)


@pytest.mark.parametrize("turned", [-24, 0, 24])
def test_the_sides_of_a_face_lie_left_and_right_of_its_nose(crop, turned):
    found = face_regions(crop.image, crop.mesh + torch.tensor([0.0, turned]))
    ridge = float(crop.mesh[list(RIDGE), 1].mean()) + turned
    across = found.across[0]
    assert across[0] == 0 and across[-1] == 1 and (across.diff() > 0).all()
    assert across[round(ridge)] == pytest.approx(0.5, abs=0.01)
    apart = torch.zeros(1, 2, LATTICE, LATTICE)
    apart[:, 0, :, : LATTICE // 2], apart[:, 0, :, LATTICE // 2 :] = -1.0, 1.0
    moves = replace(found, wholes=0 * found.wholes).carried(apart)[0, 0, SIZE // 2]
    sides = moves[: round(ridge) - 3], moves[round(ridge) + 4 :]
    assert (sides[0] < 0).all() and (sides[1] > 0).all()


def even(crop: faces.FaceCrop, level: float) -> torch.Tensor:
    """The crop's image as skin of one brightness, in [-1,1]."""
    return torch.full_like(crop.image, level) * torch.tensor([1.0, 0.98, 0.96])[:, None, None]


def test_skin_that_is_nearly_white_takes_no_shade(crop):
    cheek = crop.mesh[50].round().long()
    for level, least, most in ((0.4, 0.9, 1.01), (0.9, 0.1, 0.6), (0.99, 0.0, 0.06)):
        picture = even(crop, 0.3)
        place = (..., *(slice(middle - 12, middle + 12) for middle in cheek))
        picture[place] = even(crop, level)[place]
        assert least <= face_regions(picture, crop.mesh).skin[0, 0, *cheek] <= most


def test_on_a_face_that_is_nearly_white_as_a_whole_shade_ends_sooner(crop):
    shades = [face_regions(even(crop, level), crop.mesh).skin.max() for level in (0.2, 0.6, 0.7, 0.9)]
    assert shades[0] > 0.95 and shades[1] < 0.8 and shades[2] < 0.6 and shades[3] < 0.1


@pytest.mark.parametrize(("warm", "spread"), [((0.6, 1.0, 1.4), 2.0), ((0.9, 1.0, 1.1), 2.0), ((0.9, 1.0, 1.1), 0.01)])
def test_a_shade_has_the_colour_that_the_same_skin_has_in_the_shade(crop, warm, spread):
    """Where all of it is lit alike nothing is known, and what is usual is taken."""
    dark = -torch.linspace(0, spread, SIZE)[None] * torch.tensor(warm)[:, None] - 0.1
    picture = (dark.exp() * torch.tensor([1.0, 0.85, 0.75])[:, None] - DARKEST) * 2 - 1
    (found,) = face_regions(picture[:, None].expand(-1, SIZE, -1).contiguous(), crop.mesh).tan
    wanted = torch.tensor(warm) if spread > 0.1 else torch.from_numpy(TAN).float()
    assert torch.allclose(found, wanted / wanted.mean(), atol=0.12)


def spectacled(
    crop: faces.FaceCrop, colour: str, thick: int, parts: str = "rims bridge", down: float = 0.36
) -> torch.Tensor:
    """The crop's image with rims or dark lenses around both eyes, or the bridge between them, drawn on.

    down: how far rims reach below the eyes, in eye distances.
    """
    picture = Image.fromarray(to_uint8(crop.image))
    draw = ImageDraw.Draw(picture)
    left, right = (crop.mesh[iris].flip(0).numpy() for iris in (468, 473))
    eye = float(np.linalg.norm(right - left))
    for x, y in (left, right) if parts not in ("", "bridge") else ():
        lens = colour if "lenses" in parts else None
        draw.ellipse((x - 0.3 * eye, y - 0.25 * eye, x + 0.3 * eye, y + down * eye), lens, colour, thick)
    if "bridge" in parts:
        y = (left[1] + right[1]) / 2
        draw.line((left[0] + 0.3 * eye, y, right[0] - 0.3 * eye, y), fill=colour, width=thick)
    return to_tensor(np.asarray(picture))


@pytest.mark.parametrize(("colour", "thick"), [("black", 2), ("black", 6), ("#1d3c6e", 3)])
def test_glasses_and_what_is_behind_them_stay_where_they_are(crop, regions, colour, thick):
    worn = spectacled(crop, colour, thick)
    found = face_regions(worn, crop.mesh)
    drawn = (worn - crop.image).abs().amax(0) > 0.05
    eyes = (regions.wholes[0, 2:4] > 0.99).any(0)
    assert regions.moving[0, 0][eyes].mean() > 0.8
    for still in (drawn, eyes):
        assert found.moving[0, 0][still].max() < 0.05
    mouth = regions.wholes[0, 4] > 0.99
    assert torch.allclose(found.moving[0, 0][mouth], regions.moving[0, 0][mouth], atol=0.05)


def test_large_glasses_stay_as_a_whole(crop):
    worn = spectacled(crop, "black", 3, down=0.62)
    drawn = (worn - crop.image).abs().amax(0) > 0.05
    assert face_regions(worn, crop.mesh).moving[0, 0][drawn].max() < 0.05


@pytest.mark.parametrize("parts", ["", "rims", "bridge"])
def test_a_shadow_on_the_nose_or_rings_below_the_eyes_are_no_glasses(crop, parts):
    points = crop.mesh.flip(1).numpy()
    eye = float(np.linalg.norm(points[468] - points[473]))
    assert wears_glasses(spectacled(crop, "black", 3).numpy(), points, eye)
    assert not wears_glasses(spectacled(crop, "black", 3, parts).numpy(), points, eye)


def test_dark_lenses_are_glasses_without_any_edge_on_the_nose(crop):
    points = crop.mesh.flip(1).numpy()
    eye = float(np.linalg.norm(points[468] - points[473]))
    assert wears_glasses(spectacled(crop, "#2a2420", 1, "lenses").numpy(), points, eye)
    assert not wears_glasses(spectacled(crop, "#a07f72", 1, "lenses").numpy(), points, eye)


def test_drawn_people_wear_glasses_where_they_were_drawn_with_them():
    worn = {row: faces.detect_one(fakes.portrait(row), SIZE) for row in (0, 1, 3, 9)}
    seen = {
        row: wears_glasses(one.image.numpy(), one.mesh.flip(1).numpy(), float((one.mesh[468] - one.mesh[473]).norm()))
        for row, one in worn.items()
    }
    assert seen == {0: False, 1: True, 3: False, 9: False}


def test_smaller_regions_say_the_same_of_the_same_places(crop, regions):
    small, side = regions.smaller(SIZE * 5 // 8), SIZE * 5 // 8
    assert regions.smaller(SIZE) is regions
    flow = paint(small, strong(regions, ["shape"])).flow * SIZE / side
    large = paint(regions, strong(regions, ["shape"])).flow
    shrunk = torch.nn.functional.interpolate(large, (side, side), mode="bilinear", antialias=True)
    assert (flow - shrunk).norm(dim=1).mean() < 0.05 * shrunk.norm(dim=1).mean()
    gains = [paint(each, strong(regions, ["light", "contour", "brows"])).gain.mean((2, 3)) for each in (small, regions)]
    torch.testing.assert_close(*gains, atol=1e-4, rtol=0)


def bent(values: torch.Tensor, where: torch.Tensor, powers: list[tuple[int, int]]) -> float:
    """How much of ``values`` (S,S) ``where`` it counts is left when a polynomial in x and y is taken from it."""
    y, x = (each.double() / SIZE for each in torch.nonzero(where, as_tuple=True))
    terms = torch.stack([(x - x.mean()) ** i * (y - y.mean()) ** j for i, j in powers], 1)
    wanted = values[where].double()
    rest = wanted - terms @ torch.linalg.lstsq(terms, wanted[:, None]).solution[:, 0]
    return float(rest.norm() / wanted.norm())


def test_brows_eyes_mouth_and_nose_move_as_wholes(regions):
    lattice = torch.randn(1, 2, LATTICE, LATTICE, generator=torch.Generator().manual_seed(0))
    (free,) = replace(regions, wholes=0 * regions.wholes).carried(lattice)
    # Along y, of a brow, an eye, mouth and nose: "thicker" is meant across its own length, which x has a share in.
    arched, straight = [(0, 0), (1, 0), (0, 1), (2, 0)], [(0, 0), (1, 0), (0, 1)]
    rises = {0: arched, 2: straight, 4: arched, 5: arched}
    for number, along_y in rises.items():
        alone = torch.zeros_like(regions.wholes)
        alone[:, number] = regions.wholes[:, number]
        (moves,), where = replace(regions, wholes=alone).carried(lattice), alone[0, number] > 0.999
        for axis, powers in ((0, [(0, 0), (1, 0)]), (1, along_y)):
            assert bent(moves[axis], where, powers) < 0.01
            assert bent(free[axis], where, powers) > 0.1


def test_what_all_of_a_face_does_its_wholes_do_too(regions):
    """Also where a brow and an eye share what lies between them."""
    x, y = torch.meshgrid(*2 * [torch.linspace(-1, 1, LATTICE)], indexing="xy")
    everything = 0.01 * torch.stack((0.3 + x, 0.2 - y))[None]
    free = replace(regions, wholes=0 * regions.wholes).carried(everything)
    torch.testing.assert_close(regions.carried(everything), free, atol=3e-4, rtol=0)


def test_brows_fade_and_darken_by_their_hair_alone(crop, regions):
    faded, darker = (
        render(crop.image[None], regions, Look(brows=torch.tensor([[way, way, 0.0, 0.0]]))) for way in (9.0, -9.0)
    )
    brows = (regions.wholes[0, :2] > 0.99).any(0)
    hair = brows & (crop.image.mean(0) < crop.image.mean(0)[brows].quantile(0.3))
    assert (faded[0] - crop.image)[:, hair].mean() > 0.05 and (darker[0] - crop.image)[:, hair].mean() < -0.03
    even = face_regions(torch.full_like(crop.image, 0.2), crop.mesh)
    assert (even.hair * even.brows[:, :2].sum(1)).abs().max() < 1e-5


def test_a_brow_that_fades_takes_the_colour_of_the_skin(crop):
    """Brown hair that grew brighter in all channels alike would be orange."""
    brown, skin = torch.tensor([0.3, 0.16, 0.1]) * 2 - 1, torch.tensor([0.8, 0.6, 0.5]) * 2 - 1
    picture = torch.where(brows_of(crop)[None], brown[:, None, None], skin[:, None, None])
    found = face_regions(picture, crop.mesh)
    faded = render(picture[None], found, Look(brows=torch.tensor([[9.0, 9.0, 0.0, 0.0]])))[0]
    whole = found.brows[0, :2].sum(0)
    hair = (whole > 0.8 * whole.max()) & brows_of(crop)
    first, then, wanted = ((each + 1) / 2 for each in (brown, faded[:, hair].mean(1), skin))
    assert (then > 1.4 * first).all()
    redder = [float(each[0] / each[2]) for each in (first, then, wanted)]
    assert redder[2] < redder[1] < 0.9 * redder[0]


def test_where_no_brow_is_seen_nothing_lines_it(crop):
    """A strand of hair that covers a brow would be painted on."""
    brown, skin = torch.tensor([0.3, 0.16, 0.1]) * 2 - 1, torch.tensor([0.8, 0.6, 0.5]) * 2 - 1
    left = brows_of(crop) & (torch.arange(SIZE) < SIZE / 2)
    picture = torch.where(left[None], brown[:, None, None], skin[:, None, None])
    bands = face_regions(picture, crop.mesh).brows[0, 2:]
    assert bands[..., : SIZE // 2].max() > 0.3 and bands[..., SIZE // 2 :].max() < 0.01


def test_shade_is_warm_liner_has_no_colour_and_blush_only_reddens(crop, regions):
    grey = paint(regions, strong(regions, ["liner"])).gain
    assert torch.equal(grey[:, 0], grey[:, 1]) and torch.equal(grey[:, 0], grey[:, 2])
    for part in ("light", "contour"):
        shade = paint(regions, strong(regions, [part])).gain.log()
        assert (shade[:, 0].abs() <= shade[:, 1].abs()).all() and (shade[:, 1].abs() <= shade[:, 2].abs()).all()
        assert shade.min() < -0.02 and shade.max() > 0.02 and (shade[:, 0] * shade[:, 2] >= 0).all()
    gain = paint(regions, Look(blush=strong(regions, ["blush"]).blush.abs())).gain
    cheeks = regions.blush[0].amax(0) > 0.5
    assert (gain[0, 0] >= gain[0, 1] - 1e-6)[cheeks].all() and (gain[0, 0] > gain[0, 1] + 0.02)[cheeks].any()


def test_a_highlight_pales_skin_half_as_much_as_a_shade_tans_it_and_powder_on_brows_is_brown(regions):
    contour, brows = (torch.ones_like(part) for part in (strong(regions, PARTS).contour, strong(regions, PARTS).brows))
    looks = [Look(contour=9 * contour), Look(contour=-9 * contour), Look(brows=-9 * brows)]
    exponents = [paint(regions, look).gain[0].log() for look in looks]
    bright, dark = ((each[2] - each[0]).sum() / each.mean(0).sum() for each in exponents[:2])
    assert dark > 0.3 and bright == pytest.approx(float(dark) / 2, rel=0.05)
    bands = regions.brows[0, 2:].sum(0) > 0.3
    red, green, blue = exponents[2][:, bands].mean(1)
    assert blue < green < red < 0


def test_gains_stay_within_the_bounds(regions):
    light = paint(regions, strong(regions, ["light"])).gain.log()
    assert 0 < light.abs().max() <= 1.2 * max(map(abs, rendering.LIGHT)) * DEEPEST  # a cubic overshoots its points
    (fuller, faded), (powder, paler) = rendering.BROWS
    fuller, faded = BLACKEST * fuller + powder, BLACKEST * faded + paler
    for part, (low, high) in {"brows": (fuller, faded), "liner": rendering.LINER}.items():
        exponent = paint(regions, strong(regions, [part])).gain.log()
        # Where two of a part's regions meet, both count.
        assert 2 * low <= exponent.min() < 0 and exponent.max() <= 2 * high + 1e-6


@pytest.mark.parametrize(
    ("part", "darkest", "brightest"),
    [("contour", -0.12, 0.2), ("blush", -0.25, 0.1), ("lips", -0.5, 0.16), ("lids", -0.75, 0.25), ("liner", -1.2, 0.0)],
)
def test_no_part_goes_farther_than_a_person_would_post(regions, part, darkest, brightest):
    """Logarithms of brightness, by eye: a bound that is raised beyond them has to be looked at again."""
    exponents = torch.stack([paint(regions, strong(regions, [part], seed)).gain.log() for seed in range(4)])
    assert darkest <= exponents.min() < darkest / 4 and exponents.max() <= brightest


def test_light_softens_or_deepens_the_shades_that_a_face_has_and_adds_none(crop, regions):
    plain = torch.zeros(1, 1, rendering.LIGHTS, rendering.LIGHTS)
    softer, deeper = (render(crop.image[None], regions, Look(light=plain + sign * 9)) for sign in (-1, 1))
    bright, dark = (regions.shades > 0.02)[0, 0], (regions.shades < -0.02)[0, 0]
    for where, sign in ((bright, 1), (dark, -1)):
        assert where.any()
        assert (sign * (softer - crop.image)[0][:, where] <= 0).all() and (
            sign * (deeper - crop.image)[0][:, where] >= 0
        ).all()
    even = face_regions(torch.full_like(crop.image, 0.2), crop.mesh)
    assert even.shades.abs().max() < 1e-6


def test_a_black_and_white_photo_stays_without_colour(crop, regions):
    grey = crop.image.mean(0, keepdim=True).expand(3, -1, -1)
    found = face_regions(grey, crop.mesh)
    assert bool(found.colourless) and not bool(regions.colourless)
    changed = render(grey[None], found, strong(found))[0]
    assert not torch.equal(changed, grey)
    assert torch.allclose(changed[0], changed[1], atol=1e-6) and torch.allclose(changed[0], changed[2], atol=1e-6)


def test_a_mask_over_the_mouth_stays_as_it_is(crop):
    covered = crop.image.clone()
    mouth = crop.mesh[list(faces.MESH_TO_68)][:, 0].max()
    top = int((crop.mesh[1, 0] + crop.mesh[0, 0]) / 2)  # from below the tip of the nose on
    covered[:, top:] = torch.tensor([-0.1, 0.3, 0.6])[:, None, None]
    found = face_regions(covered, crop.mesh)
    changed = render(covered[None], found, strong(found))[0]
    below = slice(top + 6, int(mouth))
    assert (changed[:, below] - covered[:, below]).abs().max() < 1 / 127.5
    assert (changed[:, : top - 30] - covered[:, : top - 30]).abs().max() > 8 / 127.5


@pytest.mark.parametrize("colour", ["#1d1c1f", "#26305a", "white"], ids=["darker than a shadow", "navy", "white"])
def test_a_mask_from_ear_to_ear_stays_and_the_eyes_above_it_do_not(crop, regions, colour):
    """Its upper edge crosses the nose and both cheeks, as frames of glasses do."""
    picture = Image.fromarray(to_uint8(crop.image))
    ImageDraw.Draw(picture).polygon([tuple(each) for each in crop.mesh[list(LOWER)].flip(1).tolist()], fill=colour)
    covered = to_tensor(np.asarray(picture))
    found = face_regions(covered, crop.mesh)
    drawn = (covered - crop.image).abs().amax(0) > 0.05
    mask = torch.from_numpy(ndimage.binary_erosion(drawn.numpy(), iterations=2))
    assert max(found.moving[0, 0][mask].max(), found.skin[0, 0][mask].max()) < 0.05
    eyes = (regions.wholes[0, 2:4] > 0.99).any(0)
    assert found.moving[0, 0][eyes].mean() > 0.5


@pytest.mark.parametrize("lamp", [(1.0, 0.02, 0.01), (0.03, 1.0, 0.02), (0.2, 0.3, 1.0)], ids=["red", "green", "blue"])
def test_in_coloured_light_a_face_is_no_cover(crop, regions, lamp):
    light = ((crop.image + 1) / 2) ** 2.2 * torch.tensor(lamp)[:, None, None]
    lit = 2 * light.clamp_max(0.2 * max(lamp)).mul(2) ** (1 / 2.2) - 1  # highlights lose the lamp's own colour
    found = face_regions(lit, crop.mesh)
    assert found.moving.sum() > 0.97 * regions.moving.sum()
    assert found.skin.sum() > 0.9 * regions.skin.sum()


def test_a_toned_photo_keeps_its_tone(crop):
    """Sepia, say: what a look makes darker takes the colour that other such places of the photo have."""
    dark, light = (torch.tensor(colour)[:, None, None] / 127.5 - 1 for colour in ((20, 20, 60), (255, 235, 200)))
    share = crop.image.mean(0, keepdim=True) / 2 + 0.5
    toned = dark + (light - dark) * share
    found = face_regions(toned, crop.mesh)
    changed = render(toned[None], found, strong(found, ["light", "contour"]))[0]
    lightness = ((changed - dark) / (light - dark)).mean(0)
    off = (changed - (dark + (light - dark) * lightness)).abs() * 127.5
    assert (changed - toned).abs().max() * 127.5 > 8 and off.max() < 3


def test_irises_stay_round(crop, regions):
    """A look that makes eyes larger may not make a cat's of them."""
    y, x = crop.mesh[[468, 473]].round().long().T
    largest = 0.0
    for seed in range(12):
        flow = paint(regions, strong(regions, ["shape"], seed)).flow[0] / 10  # of 10 pixels
        wide = 1 + flow[0, y, x + 5] - flow[0, y, x - 5]
        high = 1 + flow[1, y + 5, x] - flow[1, y - 5, x]
        assert (high / wide).log().abs().max() < 0.16
        largest = max(largest, float((wide - 1).abs().max()))
    assert largest > 0.1


def test_every_part_has_a_gradient_from_the_plain_look_on(crop, regions):
    look = Look(**{part: value.requires_grad_() for part, value in Look.plain(regions).worn().items()})
    weights = torch.randn(crop.image.shape, generator=torch.Generator().manual_seed(1))
    (render(crop.image[None], regions, look) * weights).sum().backward()
    for part, value in look.worn().items():
        assert value.grad.abs().max() > 0, part


def test_a_batch_is_rendered_as_each_of_its_faces(crop, regions):
    other = drawn_crop(9)
    both = [regions, face_regions(other.image, other.mesh)]
    looks = [strong(each, seed=number) for number, each in enumerate(both)]
    joined = Regions(**{each.name: torch.cat([getattr(one, each.name) for one in both]) for each in fields(regions)})
    look = Look(**{part: torch.cat([each.worn()[part] for each in looks]) for part in PARTS})
    together = render(torch.stack([crop.image, other.image]), joined, look)
    for image, where, own, result in zip((crop.image, other.image), both, looks, together):
        torch.testing.assert_close(render(image[None], where, own)[0], result)


def test_bare_looks_wear_no_makeup(regions):
    assert set(Look.plain(regions, BARE).worn()) == {"shape", "light", "contour", "brows"}
    with pytest.raises(ValueError, match="no parts beard; there are shape"):
        Look.plain(regions, ["beard"])
    with pytest.raises(ValueError, match="no parts lip"):
        paint(regions, Look.plain(regions), {"lip": 1.0})


def test_paint_moves_with_the_skin_that_wears_it():
    image, gain = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
    gain[..., 8] = 0.5
    flow = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, 16, 16)  # from the right
    changed = applied(image, Fields(flow, gain))
    assert torch.allclose(changed[..., 6], torch.tensor(-0.5), atol=1e-5)
    assert torch.allclose(changed[..., [4, 5, 7, 8, 9]], torch.tensor(0.0), atol=1e-5)


def test_a_gain_multiplies_light_and_a_flow_fetches():
    image = torch.linspace(-1, 1, 16).view(1, 1, 1, 16).expand(1, 3, 4, 16).contiguous()
    still, ones = torch.zeros(1, 2, 4, 16), torch.ones(1, 3, 4, 16)
    assert torch.allclose(applied(image, Fields(still, ones * 0.5)), (image + 1) / 2 - 1)
    moved = still.clone()
    moved[:, 0] = 2.0
    assert torch.allclose(applied(image, Fields(moved, ones))[..., :13], image[..., 2:15], atol=1e-5)


def test_a_photo_is_painted_at_its_own_size_and_stays_as_it_was_outside():
    photo = open_photo(fakes.portrait(3, 512))
    crop = faces.detect_one(photo, SIZE)
    found = face_regions(crop.image, crop.mesh)
    plain = photo.with_change(crop.painted_in(photo, paint(found, Look.plain(found))))
    changed = photo.with_change(crop.painted_in(photo, paint(found, strong(found))))
    beyond = outside(faces.meshes(photo)[0], photo.size)
    assert (np.asarray(plain) == photo.rgb).all()
    assert (np.asarray(changed)[beyond] == photo.rgb[beyond]).all() and (np.asarray(changed) != photo.rgb).any()


def test_what_is_painted_in_a_photo_is_what_was_rendered_in_its_crop():
    photo = open_photo(fakes.portrait(4, 300))
    crop = faces.detect_one(photo, SIZE)
    found = face_regions(crop.image, crop.mesh)
    fields = paint(found, strong(found))
    again = crop.resample(photo.with_change(crop.painted_in(photo, fields)))
    wanted = applied(crop.image[None], fields)[0]
    assert (again - wanted).abs().mean() < 0.25 * (crop.image - wanted).abs().mean()
