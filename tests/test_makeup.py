"""The closed-form transfers of colours and of makeup alone: what they move, what they leave alone, their limits."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.images import blur
from amtgan_lib.models.makeup import (
    FLOOR,
    SOFTNESS,
    colour_transfer,
    in_light_of,
    makeup_transfer,
    upper_lids,
)

SIZE = 128
LIP, SKIN, EYES = range(3)
EYE_AND_BROW = (slice(36, 42), slice(17, 22)), (slice(42, 48), slice(22, 27))  # landmarks of either side


def drawn_face(seed: int = 0, size: int = SIZE, shift: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Image (1,3,S,S), masks (1,3,S,S) and landmarks (1,68,2): one scene, whatever the size it is drawn at."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 5, generator=draw) * 0.6 - 0.3 + torch.rand(1, 3, 1, 1, generator=draw) * 0.6 - 0.3
    image = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)
    masks, unit = torch.zeros(1, 3, size, size), size // 32
    boxes = {EYES: [(10, 13, 7, 13), (10, 13, 19, 25)], LIP: [(22, 25, 12, 20)]}
    masks[:, SKIN, 5 * unit : 28 * unit, (6 + shift) * unit : (26 + shift) * unit] = 1
    for region, places in boxes.items():
        for top, bottom, left, right in places:
            inside = (..., slice(top * unit, bottom * unit), slice((left + shift) * unit, (right + shift) * unit))
            masks[:, SKIN][inside], masks[:, region][inside] = 0, 1
    landmarks = (torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(99)) * 20 + 6) * unit
    return image, masks, (landmarks + torch.tensor([0, shift * unit])).round()


def transfer(source, reference, strength=(1.0, 1.0, 1.0)) -> Tensor:
    return colour_transfer(source[0], reference[0], source[1], reference[1], source[2], reference[2], strength=strength)


def mean_colour(image: Tensor, mask: Tensor) -> Tensor:
    return (image * mask).sum((2, 3)) / mask.sum((2, 3))


def stack(*faces) -> tuple[Tensor, ...]:
    return tuple(torch.cat(parts) for parts in zip(*faces, strict=True))


@pytest.fixture(scope="module")
def source():
    return drawn_face(1)


@pytest.fixture(scope="module")
def reference():
    return drawn_face(2, shift=1)


@pytest.fixture(scope="module")
def change(source, reference) -> Tensor:
    return transfer(source, reference)


def test_a_change_of_colour_is_seen(change, source):
    assert change.shape == source[0].shape
    for region in (LIP, SKIN, EYES):
        assert mean_colour(change.abs(), source[1][:, region, None]).max() > 0.05


def test_no_strength_is_no_change(source, reference):
    assert torch.equal(transfer(source, reference, (0, 0, 0)), torch.zeros_like(source[0]))


def test_strength_scales_the_whole_change(change, source, reference):
    torch.testing.assert_close(transfer(source, reference, (0.5, 0.5, 0.5)), 0.5 * change)


@pytest.mark.parametrize("region", [LIP, SKIN, EYES])
def test_strength_scales_each_region_alone(change, source, reference, region):
    """Twice a region's share is twice the step from its absence, and none of the step shows far from the region."""
    none, double = [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]
    none[region], double[region] = 0.0, 2.0
    without, twice = transfer(source, reference, tuple(none)), transfer(source, reference, tuple(double))
    step = change - without
    torch.testing.assert_close(twice - without, 2 * step, atol=1e-6, rtol=1e-5)
    near = F.max_pool2d(
        source[1][:, region, None], 2 * round(1.5 * SOFTNESS[region]) + 1, 1, round(1.5 * SOFTNESS[region])
    )
    assert step.abs().amax() > 0.05 and (step * (1 - near)).abs().amax() == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_face_as_reference_changes_next_to_nothing(seed):
    face = drawn_face(seed)
    for region in (LIP, SKIN):
        alone = tuple(float(other == region) for other in range(3))
        assert transfer(face, face, alone).abs().amax() < 1e-5
    # The attention blurs what it carries to the eyes: a few levels, against some fifty between two faces.
    own, others = transfer(face, face), transfer(face, drawn_face(seed + 1))
    assert own.abs().amax() < 0.05 and others.abs().amax() > 0.2


def test_the_same_face_with_a_beard_changes_no_skin():
    """What does not count as skin must not count on the reference's side either."""
    image, masks, landmarks = drawn_face(1)
    image = image.clone()
    image[:, :, 100:112, 24:104] = -0.9
    face = image, masks, landmarks
    assert transfer(face, face, (0, 1, 0)).abs().amax() < 1e-5


def test_eye_colours_lie_where_the_reference_has_them():
    """Half dark, half bright eyes keep their border: it moves by less than a pixel, as the centre of the step shows."""
    image, masks, landmarks = drawn_face(1)
    flat, split = torch.zeros_like(image), torch.zeros_like(image)
    split[..., 40:] = 0.5
    masks[:, EYES], masks[:, SKIN] = 1, 0
    masks[:, SKIN, :4] = 1  # something that counts as skin, of the same colour everywhere
    carried = transfer((flat, masks, landmarks), (split, masks, landmarks), (0, 0, 1))[0, 0, 46:50, 24:56].mean(0)
    assert carried[0] < 0.05 and carried[-1] > 0.45
    border = 24 + (0.5 - carried).clamp(0, 0.5).sum() / 0.5  # of a clean step at column 40: 40
    assert border.item() == pytest.approx(40, abs=0.9)


@pytest.mark.parametrize("region", [LIP, SKIN, EYES])
@pytest.mark.parametrize("side", ["source", "reference"])
def test_a_region_missing_on_either_side_changes_nothing(change, source, reference, region, side):
    faces = {"source": source, "reference": reference}
    image, masks, landmarks = faces[side]
    masks = masks.clone()
    masks[:, region] = 0
    faces[side] = (image, masks, landmarks)
    alone = tuple(float(other == region) for other in range(3))
    assert torch.equal(transfer(**faces, strength=alone), torch.zeros_like(image))
    rest = transfer(**faces)
    assert rest.isfinite().all() and not torch.equal(rest, change)


def test_no_face_at_all_changes_nothing(source):
    nobody = source[0], torch.zeros_like(source[1]), source[2]
    for pair in ((nobody, source), (source, nobody), (nobody, nobody)):
        assert torch.equal(transfer(*pair), torch.zeros_like(source[0]))


def test_a_lip_of_one_colour_gives_the_lip_that_mean(source, reference):
    image, masks, landmarks = reference
    red = torch.tensor([0.5, -0.6, -0.4])
    painted = torch.where(masks[:, LIP, None] > 0, red.view(1, 3, 1, 1), image), masks, landmarks
    before = mean_colour(source[0], source[1][:, LIP, None])
    after = mean_colour(source[0] + transfer(source, painted), source[1][:, LIP, None])
    # The border is soft, so the outermost pixels go part of the way.
    assert (after - red).abs().max() < 0.15 * (before - red).abs().max()
    inner = torch.zeros_like(masks[:, :1])
    inner[..., 92:96, 56:72] = 1
    move = mean_colour(transfer(source, painted), inner)
    torch.testing.assert_close(move, red - before, atol=1e-3, rtol=0)


def test_a_lip_keeps_its_structure(source, reference):
    """The lip moves as a whole: inside, the change is one colour."""
    inner = transfer(source, reference)[..., 92:96, 56:72]
    assert inner.std(dim=(2, 3)).max() < 1e-3


def test_far_from_the_face_nothing_changes(change, source):
    face = source[1].amax(1, keepdim=True)
    reach = max(round(1.5 * softness) for softness in SOFTNESS)
    outside = 1 - F.max_pool2d(face, 2 * reach + 1, 1, reach)
    assert outside.sum() > 1000
    assert (change * outside).abs().amax() == 0


def test_hair_over_the_skin_is_left_alone(source, reference):
    """A black lock on the forehead, inside the skin mask, does not take on the skin's colour."""
    image, masks, landmarks = source
    image = image.clone()
    image[:, :, 20:40, 54:74] = -1
    moved = transfer((image, masks, landmarks), reference, (0, 1, 0)).abs().mean(1)
    assert moved[0, 28:32, 62:66].mean() < 0.25 * moved[0, 58:66, 60:70].mean()


def test_a_batch_equals_its_parts(source, reference):
    closed = source[1].clone()
    closed[:, LIP] = 0
    sources = [source, drawn_face(3, shift=-1), (source[0], closed, source[2])]
    references = [reference, drawn_face(4), drawn_face(5, shift=2)]
    whole = transfer(stack(*sources), stack(*references))
    for index, pair in enumerate(zip(sources, references, strict=True)):
        torch.testing.assert_close(whole[index : index + 1], transfer(*pair), atol=2e-5, rtol=1e-4)


def test_the_size_of_the_picture_hardly_matters():
    small, large = (transfer(drawn_face(1, size), drawn_face(2, size, shift=1)) for size in (128, 256))
    shrunk = F.avg_pool2d(large, 2)
    assert (shrunk - small).abs().mean() < 0.05 * small.abs().mean()
    assert (shrunk - small).abs().amax() < 0.5 * small.abs().amax()


def test_gradients_are_finite_and_reach_both_faces(source, reference):
    images = [face[0].clone().requires_grad_() for face in (source, reference)]
    faces = [(image, *face[1:]) for image, face in zip(images, (source, reference), strict=True)]
    transfer(*faces).square().sum().backward()
    for image in images:
        assert image.grad.isfinite().all() and image.grad.abs().amax() > 0


def test_gradients_are_finite_without_a_face(source):
    image = source[0].clone().requires_grad_()
    nobody = torch.zeros_like(source[1])
    transfer((image, nobody, source[2]), (image, nobody, source[2])).sum().backward()
    assert image.grad.isfinite().all()


# --- makeup alone -------------------------------------------------------------------------------------------------


def upright_landmarks(shift: int = 0) -> Tensor:
    """Landmarks (1,68,2) of a plausible face whose eyes and lips lie in the regions of `drawn_face`."""
    jaw = [(64 + 50 * math.sin(angle), 64 - 42 * math.cos(angle)) for angle in torch.linspace(0, math.pi, 17).tolist()]
    brow = [(37, 26), (34, 32), (33, 38), (34, 44), (36, 50)]
    eye = [(47, 31), (43, 37), (43, 43), (47, 49), (50, 43), (50, 37)]
    nose = [(48, 64), (55, 64), (62, 64), (69, 64), (74, 56), (75, 60), (76, 64), (75, 68), (74, 72)]
    mouth = [(94 + 6 * math.sin(turn), 64 - 16 * math.cos(turn)) for turn in torch.linspace(-3, 3, 20).tolist()]
    mirrored_eye = [(y, 128 - x) for y, x in (eye[index] for index in (3, 2, 1, 0, 5, 4))]
    mirrored_brow = [(y, 128 - x) for y, x in reversed(brow)]
    rows = jaw + brow + mirrored_brow + nose + eye + mirrored_eye + mouth
    return torch.tensor(rows, dtype=torch.float32)[None] + torch.tensor([0.0, 4.0 * shift])


def rolled(landmarks: Tensor, degrees: float) -> Tensor:
    """Turned about the picture's middle."""
    angle, middle = math.radians(degrees), (SIZE - 1) / 2
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (landmarks - middle) @ turn.T + middle


def face_of(seed: int, shift: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    image, masks, _ = drawn_face(seed, shift=shift)
    return image, masks, upright_landmarks(shift)


def painted(skin, lip, eyes, shift: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """A face of one colour a region."""
    _, masks, landmarks = face_of(1, shift)
    colours = torch.tensor([lip, skin, eyes], dtype=torch.float32)
    image = torch.einsum("nrhw,rc->nchw", masks, colours) - 0.5 * (1 - masks.sum(1, keepdim=True))
    return image, masks, landmarks


def makeup(source, reference) -> Tensor:
    return makeup_transfer(source[0], reference[0], source[1], reference[1], source[2], reference[2])


def without(face, region: int) -> tuple[Tensor, Tensor, Tensor]:
    masks = face[1].clone()
    masks[:, region] = 0
    return face[0], masks, face[2]


def near(face, region: int) -> Tensor:
    reach = round(1.5 * SOFTNESS[region])
    return F.max_pool2d(face[1][:, region, None], 2 * reach + 1, 1, reach)


def dimmed(face, light: float) -> tuple[Tensor, Tensor, Tensor]:
    return (face[0] + 1) * light - 1, *face[1:]


PLAIN, MADE_UP = (0.3, 0.1, 0.0), (0.0, -0.1, -0.2)  # two complexions


def test_makeup_is_worn_on_lips_and_lids_alone():
    source, reference = face_of(1), face_of(2, shift=1)
    change, lids = makeup(source, reference), upper_lids(source[2], SIZE, SIZE)
    for region in (LIP, EYES):
        assert mean_colour(change.abs(), source[1][:, region, None]).max() > 0.05
    lips, eyes = near(source, LIP), near(source, EYES)
    assert (change * (1 - torch.maximum(lips, eyes))).abs().amax() == 0
    assert (change * (1 - lips) * (lids < 0.01)).abs().amax() < 0.01
    skin = source[1][:, SKIN, None] * (1 - torch.maximum(lips, eyes))
    assert mean_colour(transfer(source, reference).abs(), skin).max() > 0.05  # colours of the skin would be


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_face_in_its_own_makeup_hardly_changes(seed):
    face = face_of(seed)
    own, others = makeup(face, face), makeup(face, face_of(seed + 1))
    assert (own * near(face, LIP)).abs().amax() < 1e-5
    assert own.abs().amax() < 1e-3 and others.abs().amax() > 0.2


@pytest.mark.parametrize("light", [0.6, 0.8])
def test_the_light_of_the_reference_is_no_makeup(light):
    source, reference = face_of(1), face_of(2, shift=1)
    torch.testing.assert_close(makeup(source, dimmed(reference, light)), makeup(source, reference), atol=1e-5, rtol=0)
    colours = transfer(source, dimmed(reference, light)) - transfer(source, reference)
    assert colours.abs().amax() > 0.1


def test_lips_stand_to_the_own_skin_as_the_references_lips_to_its():
    source, reference = painted(PLAIN, (0.2, -0.1, -0.2), PLAIN), painted(MADE_UP, (0.1, -0.6, -0.5), MADE_UP, shift=1)
    worn = source[0] + makeup(source, reference)
    inner = torch.zeros_like(source[1][:, :1])
    inner[..., 92:96, 56:72] = 1
    asked = mean_colour(reference[0] + 1, reference[1][:, LIP, None]) / mean_colour(
        reference[0] + 1, reference[1][:, SKIN, None]
    )
    found = mean_colour(worn + 1, inner) / mean_colour(worn + 1, source[1][:, SKIN, None])
    torch.testing.assert_close(found, asked, atol=5e-3, rtol=0)


def test_eye_shadow_arrives_on_the_lids_less_the_floor():
    shade = torch.tensor([-0.3, 0.05, -0.2])
    reference = painted(MADE_UP, MADE_UP, (torch.tensor(MADE_UP) + shade).tolist(), shift=1)
    source = painted(MADE_UP, MADE_UP, MADE_UP)
    strength = shade.norm() * blur(source[1][:, EYES, None], SOFTNESS[EYES], round(1.5 * SOFTNESS[EYES]))
    expected = F.normalize(shade, dim=0).view(1, 3, 1, 1) * (strength - FLOOR).relu()
    expected = expected * upper_lids(source[2], SIZE, SIZE)
    assert expected.abs().amax() > 0.2
    torch.testing.assert_close(makeup(source, reference), expected, atol=1e-3, rtol=0)


def test_a_shade_below_the_floor_is_no_eye_shadow():
    source = painted(MADE_UP, MADE_UP, MADE_UP)
    for length, worn in ((0.9 * FLOOR, False), (2 * FLOOR, True)):
        eyes = (torch.tensor(MADE_UP) + length / math.sqrt(3)).tolist()
        change = makeup(source, painted(MADE_UP, MADE_UP, eyes)) * near(source, EYES)
        assert bool(change.abs().amax() > 0.01) == worn and (worn or not change.any())


@pytest.mark.parametrize("region", [LIP, EYES])
@pytest.mark.parametrize("side", ["source", "reference"])
def test_no_makeup_where_the_region_is_missing_on_either_side(region, side):
    faces = {"source": face_of(1), "reference": face_of(2, shift=1)}
    whole = makeup(**faces)
    faces[side] = without(faces[side], region)
    change, where, other = makeup(**faces), near(face_of(1), region), near(face_of(1), EYES if region == LIP else LIP)
    assert (whole * where).abs().amax() > 0.05 and not (change * where).any()
    torch.testing.assert_close(change * other, whole * other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", ["source", "reference"])
def test_without_skin_the_makeup_is_taken_as_it_looks(side):
    faces = {"source": face_of(1), "reference": face_of(2, shift=1)}
    faces[side] = without(faces[side], SKIN)
    (own, own_masks, _), (other, other_masks, _) = faces.values()
    assert torch.equal(in_light_of(own, other, own_masks, other_masks), other)
    lips = makeup(**faces) * near(faces["source"], LIP)
    torch.testing.assert_close(lips, transfer(**faces, strength=(1, 0, 0)) * near(faces["source"], LIP))


def test_no_face_at_all_wears_no_makeup():
    face = face_of(1)
    nobody = face[0], torch.zeros_like(face[1]), face[2]
    for pair in ((nobody, face), (face, nobody), (nobody, nobody)):
        assert not makeup(*pair).any()


def test_makeup_of_a_batch_equals_that_of_its_parts():
    sources = [face_of(1), without(face_of(3, shift=-1), LIP), (*face_of(5)[:2], rolled(upright_landmarks(), 15))]
    references = [face_of(2, shift=1), face_of(4), without(face_of(6, shift=2), SKIN)]
    whole = makeup(stack(*sources), stack(*references))
    for index, pair in enumerate(zip(sources, references, strict=True)):
        torch.testing.assert_close(whole[index : index + 1], makeup(*pair), atol=2e-5, rtol=1e-4)


def test_gradients_of_the_makeup_are_finite_even_without_a_face():
    for face in (face_of(1), (face_of(1)[0], torch.zeros(1, 3, SIZE, SIZE), upright_landmarks())):
        image = face[0].clone().requires_grad_()
        makeup((image, *face[1:]), (image.flip(1), *face[1:])).square().sum().backward()
        assert image.grad.isfinite().all()


# --- the reference in the source's light --------------------------------------------------------------------------


def test_in_the_sources_light_the_skin_has_its_colour_and_the_ratios_stay():
    source, reference = painted(PLAIN, PLAIN, PLAIN), painted(MADE_UP, (-0.2, -0.7, -0.6), (-0.5, -0.5, 0.0), shift=1)
    lit = in_light_of(source[0], reference[0], source[1], reference[1])
    skin = reference[1][:, SKIN, None]
    torch.testing.assert_close(mean_colour(lit, skin), torch.tensor([PLAIN]), atol=1e-4, rtol=0)
    factor = (lit + 1) / (reference[0] + 1)
    torch.testing.assert_close(factor, factor[..., :1, :1].expand_as(factor))
    assert factor[0, :, 0, 0].tolist() == pytest.approx([1.3, 1.1 / 0.9, 1 / 0.8], rel=1e-3)


def test_beards_and_hair_do_not_count_as_the_light_of_the_skin():
    source, reference = painted(PLAIN, PLAIN, PLAIN), painted(MADE_UP, MADE_UP, MADE_UP)
    bearded = reference[0].clone()
    bearded[:, :, 104:112, 24:104] = -0.98
    plain, other = (in_light_of(source[0], image, source[1], reference[1]) for image in (reference[0], bearded))
    assert (plain - other)[..., :100, :].abs().amax() < 0.05


def test_light_keeps_colours_in_range():
    bright, dark = painted((0.9, 0.9, 0.9), PLAIN, PLAIN), painted((-0.6, -0.6, -0.6), (0.5, 0.5, 0.5), PLAIN)
    lit = in_light_of(bright[0], dark[0], bright[1], dark[1])
    assert lit.amin() >= -1 and lit.amax() == 1


def test_each_row_of_a_batch_has_its_own_light():
    sources = stack(painted(PLAIN, PLAIN, PLAIN), without(painted(PLAIN, PLAIN, PLAIN), SKIN), face_of(1))
    references = stack(*(painted(MADE_UP, MADE_UP, MADE_UP, shift=1),) * 2, without(face_of(2), SKIN))
    lit = in_light_of(sources[0], references[0], sources[1], references[1])
    assert torch.equal(lit[1:], references[0][1:]) and (lit[0] - references[0][0]).abs().amax() > 0.2


# --- the lids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("roll", [0, 25, -25, 90, 180])
def test_lids_lie_between_the_lash_line_and_the_brow(roll):
    """The middle of either side's cover, measured from its lash line in steps to its brow."""
    landmarks = rolled(upright_landmarks(), roll)
    cover = upper_lids(landmarks, SIZE, SIZE)[0, 0]
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij"), -1).float()
    middles = [landmarks[0, eye].mean(0) for eye, _ in EYE_AND_BROW]
    sides = [(grid - middle).norm(dim=-1) for middle in middles]
    nearer = sides[0] < sides[1]
    for (eye, brow), inside in zip(EYE_AND_BROW, (nearer, ~nearer), strict=True):
        lash_line, weight = landmarks[0, eye][1:3].mean(0), cover * inside
        up = landmarks[0, brow].mean(0) - lash_line
        centre = (grid * weight[..., None]).sum((0, 1)) / weight.sum() - lash_line
        peak = grid[divmod(weight.argmax().item(), SIZE)] - lash_line
        for place in (centre, peak):
            assert 0 < place @ up / up.square().sum() < 0.5
            assert (place - up * (place @ up / up.square().sum())).norm() < 2
        height = [cover[tuple((lash_line + step * up).round().int())].item() for step in (-2, 0, 0.3, 1)]
        assert height[0] < 0.01 and height[3] < 0.5 and min(height[1:3]) > 0.9


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_lids_turn_with_the_face(quarters):
    turned = upper_lids(rolled(upright_landmarks(), 90 * quarters), SIZE, SIZE)
    expected = upper_lids(upright_landmarks(), SIZE, SIZE).rot90(quarters, (2, 3))
    torch.testing.assert_close(turned, expected, atol=1e-3, rtol=0)


def test_lids_cover_between_nothing_and_all_of_any_landmarks():
    squinting = upright_landmarks()
    squinting[:, 36:48] = squinting[:, 36:48] * 0.2 + 50  # both eyes in one place, the brows far away
    for landmarks in (upright_landmarks(), squinting, torch.rand(1, 68, 2) * SIZE, torch.full((1, 68, 2), 64.0)):
        cover = upper_lids(landmarks, 64, SIZE)
        assert cover.shape == (1, 1, 64, SIZE) and cover.dtype == torch.float32
        assert cover.isfinite().all() and cover.amin() >= 0 and cover.amax() <= 1
    assert upper_lids(upright_landmarks(), SIZE, SIZE).amax() > 0.99


def test_lids_of_a_batch_are_those_of_its_faces():
    faces = [upright_landmarks(), rolled(upright_landmarks(shift=2), 30), drawn_face(1)[2]]
    together = upper_lids(torch.cat(faces), SIZE, SIZE)
    for face, cover in zip(faces, together, strict=True):
        torch.testing.assert_close(cover[None], upper_lids(face, SIZE, SIZE))


@pytest.mark.parametrize("side", [0, 1])
def test_a_raised_brow_heightens_the_lid_under_it_alone(side):
    raised = upright_landmarks()
    raised[:, EYE_AND_BROW[side][1], 0] -= 4
    halves = (upper_lids(raised, SIZE, SIZE) - upper_lids(upright_landmarks(), SIZE, SIZE)).chunk(2, dim=3)
    assert halves[side][..., :40, :].amax() > 0.1 and halves[1 - side].abs().amax() < 0.01
