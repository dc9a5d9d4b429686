"""Gradient hints: where they point, how recognisers are pooled, what the hints do not depend on, and refusals."""

from collections.abc import Sequence

import fakes
import pytest
import torch
import torch.nn.functional as F
from fakes import SIZE
from torch import Tensor, nn

from amtgan_lib.hints import GAIN, HINT_CHANNELS, gradient_hints, mirror_embedding
from amtgan_lib.recognizers.alignment import template
from amtgan_lib.recognizers.recognizer import Recognizer

TOWARDS, AWAY = slice(0, 3), slice(3, 6)


def faces(count: int, seed: int) -> tuple[Tensor, Tensor]:
    return fakes.smooth(count, seed=seed, cells=5, reach=0.8), fakes.points_near_template(count, seed=seed)


JUDGES = fakes.tiny_recognizers("tiny_0", "tiny_1", "tiny_2")
IMAGES, POINTS = faces(3, 1)


def embedded(images: Tensor, points: Tensor | None, judges: Sequence[Recognizer] = JUDGES) -> list[Tensor]:
    with torch.no_grad():
        return [judge.embed(images, points) for judge in judges]


TARGETS = embedded(*faces(3, 2))
MIRRORED = [mirror_embedding(IMAGES, POINTS, judge) for judge in JUDGES]


def hints(count: int = 3, **changes) -> Tensor:
    """Those of the first `count` recognisers for the three faces."""
    arguments = {"images": IMAGES, "points": POINTS, "recognizers": JUDGES[:count], "targets": TARGETS[:count]}
    return gradient_hints(**{**arguments, **changes})


def cosines(images: Tensor, anchors: Sequence[Tensor]) -> Tensor:
    """(recognisers, N)."""
    pairs = zip(embedded(images, POINTS, JUDGES[: len(anchors)]), anchors, strict=True)
    return torch.stack([F.cosine_similarity(found, anchor) for found, anchor in pairs])


def stepped(part: Tensor) -> Tensor:
    return IMAGES + 0.01 * part.sign()


# --- where they point ---------------------------------------------------------------------------------------------


def test_hints_are_six_detached_channels_between_minus_one_and_one():
    images = IMAGES.clone().requires_grad_()
    found = hints(images=images)
    assert found.shape == (3, HINT_CHANNELS, SIZE, SIZE) and found.dtype == torch.float32
    assert 0.9 < found.abs().max() <= 1
    assert not found.requires_grad and images.grad is None
    assert all(parameter.grad is None for judge in JUDGES for parameter in judge.parameters())
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_pooled_recogniser_sees_more_of_the_target_after_a_step_along_the_first_three(count):
    after = cosines(stepped(hints(count)[:, TOWARDS]), TARGETS[:count])
    assert (after > cosines(IMAGES, TARGETS[:count]) + 0.01).all()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_pooled_recogniser_sees_less_of_the_mirror_image_after_a_step_along_the_last_three(count):
    after = cosines(stepped(hints(count)[:, AWAY]), MIRRORED[:count])
    assert (after < cosines(IMAGES, MIRRORED[:count]) - 0.01).all()


def test_an_owner_that_is_named_is_left_instead_of_the_mirror_image():
    owner = embedded(*faces(3, 3))
    found = hints(own=owner)
    assert (cosines(stepped(found[:, AWAY]), owner) < cosines(IMAGES, owner) - 0.01).all()
    assert torch.equal(found[:, TOWARDS], hints()[:, TOWARDS])
    assert (found[:, AWAY] - hints()[:, AWAY]).abs().mean() > 0.2


def test_the_mirror_image_is_the_owner_unless_one_is_named():
    mirrored_points = torch.stack((POINTS[..., 0], SIZE - 1 - POINTS[..., 1]), dim=-1)[:, [1, 0, 2, 4, 3]]
    assert torch.equal(hints(), hints(own=embedded(IMAGES.flip(-1), mirrored_points)))
    assert torch.equal(hints(points=None), hints(points=None, own=embedded(IMAGES.flip(-1), None)))


def test_hints_are_the_squashed_mean_of_equally_long_gradients():
    """Face by face and recogniser by recogniser, from the cosines themselves."""
    shares, expected = (1.0, 2.5), torch.zeros(3, 2, 3, SIZE, SIZE)
    for face in range(3):
        for part, (anchors, sign) in enumerate(((TARGETS, 1), (MIRRORED, -1))):
            total = torch.zeros(3, SIZE, SIZE)
            for judge, anchor, share in zip(JUDGES, anchors, shares):
                image = IMAGES[face : face + 1].clone().requires_grad_()
                F.cosine_similarity(judge.embed(image, POINTS[face : face + 1]), anchor[face][None]).backward()
                total += share * sign * image.grad[0] / image.grad.abs().mean()
            expected[face, part] = (GAIN * total / total.abs().mean()).tanh()
    torch.testing.assert_close(hints(2, weights=shares), expected.flatten(1, 2), atol=1e-4, rtol=0)


def test_recognisers_see_the_faces_aligned_by_their_points():
    other = POINTS + torch.tensor([3.0, -2.0])
    assert not torch.equal(hints(), hints(points=other)) and not torch.equal(hints(), hints(points=None))
    spot = torch.zeros(1, 3, SIZE, SIZE)
    spot[..., :4, :4] = 1
    far = template(SIZE).float()[None] * 0.4 + 18  # the face fills the lower right: the alignment cuts the spot off
    unseen = gradient_hints(spot, far, JUDGES, [target[0] for target in TARGETS])
    assert unseen[..., :4, :4].abs().max() == 0 and unseen[..., 20:, 20:].abs().max() > 0.5


# --- what they do not depend on -----------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [None, MIRRORED], ids=["mirror", "own given"])
def test_a_face_has_the_same_hints_whoever_else_is_in_the_batch(own):
    faint = torch.cat((IMAGES[:1], 0.01 * IMAGES[1:2], IMAGES[2:]))  # gradients of another magnitude
    together = hints(images=faint, own=own)
    for face in range(3):
        rows = slice(face, face + 1)
        alone = gradient_hints(
            faint[rows],
            POINTS[rows],
            JUDGES,
            [target[rows] for target in TARGETS],
            own and [left[rows] for left in own],
        )
        torch.testing.assert_close(together[rows], alone, atol=1e-4, rtol=0)


def test_one_target_for_all_is_the_same_as_one_each():
    shared = [target[0] for target in TARGETS]
    repeated = [target.expand(3, -1) for target in shared]
    torch.testing.assert_close(hints(targets=shared), hints(targets=repeated), atol=1e-4, rtol=0)
    assert (hints(targets=shared) - hints())[1:, TOWARDS].abs().mean() > 0.1


def test_hints_are_the_same_where_gradients_are_switched_off():
    with torch.no_grad():
        silent = hints()
        assert not torch.is_grad_enabled()
    assert silent.any() and torch.equal(silent, hints())


def test_bf16_hints_point_the_same_way():
    with torch.autocast("cpu", torch.bfloat16):
        rounded = hints()
    assert rounded.dtype == torch.float32 and rounded.isfinite().all()
    for part in (TOWARDS, AWAY):
        agreement = F.cosine_similarity(rounded[:, part].flatten(1), hints()[:, part].flatten(1))
        assert (agreement > 0.95).all()


# --- pooling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [0, 2])
def test_a_recogniser_that_alone_has_weight_is_the_only_one(chosen):
    weights = [float(index == chosen) for index in range(3)]
    alone = gradient_hints(IMAGES, POINTS, [JUDGES[chosen]], [TARGETS[chosen]])
    torch.testing.assert_close(hints(weights=weights), alone, atol=1e-5, rtol=0)


def test_only_the_ratio_of_the_weights_matters():
    torch.testing.assert_close(hints(weights=(30, 10, 20)), hints(weights=(0.3, 0.1, 0.2)), atol=1e-4, rtol=0)
    torch.testing.assert_close(hints(weights=(7, 7, 7)), hints(), atol=1e-4, rtol=0)
    assert (hints(weights=(3, 1, 2)) - hints()).abs().mean() > 0.05


def test_the_order_of_the_recognisers_does_not_matter():
    order, weights = (2, 0, 1), (3.0, 1.0, 2.0)
    turned = gradient_hints(
        IMAGES,
        POINTS,
        [JUDGES[index] for index in order],
        [TARGETS[index] for index in order],
        [MIRRORED[index] for index in order],
        [weights[index] for index in order],
    )
    torch.testing.assert_close(turned, hints(own=MIRRORED, weights=weights), atol=1e-4, rtol=0)


def test_a_recogniser_that_sees_nothing_says_nothing():
    (blind,) = fakes.tiny_recognizers("tiny_0", seed=5)
    nn.init.zeros_(blind.network.first[0].weight)
    target = embedded(*faces(3, 2), [blind])
    assert not gradient_hints(IMAGES, POINTS, [blind], target).any()
    beside = gradient_hints(IMAGES, POINTS, [blind, *JUDGES], target + TARGETS)
    torch.testing.assert_close(beside, hints(), atol=1e-5, rtol=0)


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recognizers": [], "targets": []}, "got 0 recognisers, 0 targets, 0 weights"),
        ({"targets": TARGETS[:2]}, "got 3 recognisers, 2 targets, 3 weights"),
        ({"recognizers": JUDGES[:2]}, "got 2 recognisers, 3 targets, 2 weights"),
        ({"weights": [1.0]}, "got 3 recognisers, 3 targets, 1 weights"),
        ({"weights": (1, -0.5, 1)}, r"weights are \[1, -0.5, 1\]; expected none below 0"),
        ({"weights": (0, 0, 0)}, r"weights are \[0, 0, 0\]; expected none below 0 and one above"),
        ({"weights": (1, float("nan"), 1)}, r"weights are \[1, nan, 1\]"),
    ],
)
def test_wrong_numbers_are_refused_by_name(changes, said):
    with pytest.raises(ValueError, match=said):
        hints(**changes)
