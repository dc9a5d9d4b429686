"""The closed-form colour transfer: what it moves, what it leaves alone, and its limits."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib.models.makeup import BLUR, SOFTNESS, blur, colour_transfer

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = 128
LIP, SKIN, EYES = range(3)


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


@pytest.mark.parametrize("sigma", [0.3, 2.0, *(width for width in BLUR if width)])
def test_blur_keeps_flat_pictures_and_the_middle(sigma):
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(blur(flat, sigma), flat)
    dot = torch.zeros(1, 1, 33, 33)
    dot[..., 16, 16] = 1
    blurred = blur(dot, sigma)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    assert blurred.argmax() == dot.argmax()
    torch.testing.assert_close(blurred, blurred.flip(2, 3))
    torch.testing.assert_close(blurred, blurred.mT)
