"""Attacks: each against its formula written out, the ball and the range, what an image's result may depend on."""

import math
from dataclasses import replace
from itertools import product

import fakes
import pytest
import torch
import torch.nn.functional as F
from fakes import DIMENSIONS, SIZE
from torch import Tensor

from amtgan_lib.datasets import FaceBatch
from amtgan_lib.losses import InputDiversity, mmd
from amtgan_lib.methods import attacks
from amtgan_lib.methods.attacks import ATTACKS, MI_FGSM, PGD, TI_DIM, TIP_IM, Attack, perturb
from amtgan_lib.recognizers import Recognizer

every_attack = pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)


# Smooth colours that touch both ends of the range; masks and landmarks play no part.
FACES = replace(fakes.face_set(4, 1).batch(), image=fakes.smooth(4, seed=1, reach=1.2))
(FIRST,), (SECOND,) = fakes.tiny_recognizers("tiny_1", seed=1), fakes.tiny_recognizers("tiny_2", seed=2)
TARGETS = [F.normalize(torch.randn(DIMENSIONS, generator=torch.Generator().manual_seed(s)), dim=0) for s in (5, 6)]


def attacked(attack: Attack, faces: FaceBatch = FACES, **settings) -> Tensor:
    if attack.dodging and "own_embeddings" not in settings:
        settings["own_embeddings"] = [FIRST.embed(faces.image.detach(), faces.points)]
    return perturb(attack, faces, TARGETS[:1], [FIRST], **settings)


def cosines(images: Tensor, recognizer: Recognizer = FIRST, target: Tensor = TARGETS[0]) -> Tensor:
    return recognizer.embed(images, FACES.points) @ target


def own() -> Tensor:
    return FIRST.embed(FACES.image, FACES.points)


def gradient_of_cosine(image: Tensor) -> Tensor:
    """Of each image's own cosine, one image at a time, by hand."""
    rows = []
    for each, points in zip(image, FACES.points):
        x = each[None].clone().requires_grad_()
        (FIRST.embed(x, points[None]) @ TARGETS[0]).backward()
        rows.append(x.grad)
    return torch.cat(rows)


def boxed(image: Tensor, bound: float) -> Tensor:
    """The nearest image inside the ball and the range."""
    return (FACES.image + (image - FACES.image).clamp(-bound, bound)).clamp(-1, 1)


def same(a: Tensor, b: Tensor) -> bool:
    """Equal but for the few pixels whose gradient is so near 0 that rounding decides its sign."""
    return ((a - b).abs() > 1e-5).float().mean() < 2e-3


# --- the ball and the aim ------------------------------------------------------------------------------------------


@every_attack
def test_result_is_bounded_and_goes_to_the_target(attack):
    before = FACES.image.clone()
    result = attacked(attack)
    assert result.shape == FACES.image.shape and not result.requires_grad
    assert (result - FACES.image).abs().max() <= attack.bound + 1e-6
    assert (result - FACES.image).abs().max() > 0.9 * attack.bound
    assert result.abs().max() <= 1
    assert (cosines(result) > cosines(FACES.image) + 0.3).all()
    assert torch.equal(FACES.image, before)


def test_range_holds_where_the_ball_leaves_it():
    attack = replace(MI_FGSM, bound=0.5)
    result = attacked(attack)
    assert ((FACES.image.abs() + 0.4 > 1) & (result != FACES.image)).any()
    assert result.abs().max() <= 1
    assert (result - FACES.image).abs().max() <= 0.5 + 1e-6


@every_attack
def test_bound_zero_gives_the_clean_image(attack):
    assert torch.equal(attacked(replace(attack, bound=0.0)), FACES.image)
    assert torch.equal(attacked(replace(attack, bound=0.0, step_size=0.1)), FACES.image)


def test_a_wider_bound_reaches_further():
    near, far = (cosines(attacked(replace(MI_FGSM, bound=bound))) for bound in (0.05, 0.3))
    assert (far > near + 0.1).all()


def test_steps_are_those_of_the_papers():
    assert {attack.bound * 255 / 2 for attack in ATTACKS.values()} == {16}
    assert MI_FGSM.step == TI_DIM.step == pytest.approx(MI_FGSM.bound / 10)
    assert PGD.step == pytest.approx(2.5 * PGD.bound / 40)
    assert TIP_IM.step == pytest.approx(1.5 * TIP_IM.bound / 50)
    assert replace(PGD, step_size=0.01).step == 0.01
    assert (PGD.momentum, MI_FGSM.momentum, TI_DIM.momentum, TIP_IM.momentum) == (0, 1, 1, 1)
    assert (PGD.random_start, MI_FGSM.random_start, TI_DIM.random_start) == (True, False, False)
    assert TIP_IM.dodging == 1 > 0 < TIP_IM.naturalness
    assert (TI_DIM.kernel, TI_DIM.diversity.resize_probability, TI_DIM.diversity.noise_probability) == (15, 0.7, 0)


# --- each attack written out ---------------------------------------------------------------------------------------


def test_one_step_is_the_sign_of_the_gradient():
    attack = Attack("one", steps=1, bound=0.1, step_size=0.3)
    expected = boxed(FACES.image + 0.3 * gradient_of_cosine(FACES.image).sign(), 0.1)
    assert same(attacked(attack), expected)
    assert not same(attacked(attack), boxed(FACES.image - 0.3 * gradient_of_cosine(FACES.image).sign(), 0.1))


def test_without_momentum_it_is_iterative_fgsm():
    attack = replace(MI_FGSM, steps=4, step_size=0.05, bound=0.12, momentum=0.0)
    image = FACES.image
    for _ in range(4):
        image = boxed(image + 0.05 * gradient_of_cosine(image).sign(), 0.12)
    assert same(attacked(attack), image)
    assert not same(attacked(replace(attack, momentum=1.0)), image)


def test_momentum_adds_gradients_of_l1_norm_one():
    attack = replace(MI_FGSM, steps=5, step_size=0.06, bound=0.2, momentum=0.7)
    image, unscaled, direction = FACES.image, FACES.image, 0
    plain = 0
    for _ in range(5):
        gradient = gradient_of_cosine(image)
        direction = 0.7 * direction + gradient / gradient.abs().sum(dim=(1, 2, 3), keepdim=True)
        image = boxed(image + 0.06 * direction.sign(), 0.2)
        plain = 0.7 * plain + gradient_of_cosine(unscaled)
        unscaled = boxed(unscaled + 0.06 * plain.sign(), 0.2)
    assert same(attacked(attack), image)
    assert not same(unscaled, image)  # else the above says nothing of the norm


def test_random_start_fills_the_ball():
    start = replace(PGD, steps=1, step_size=1e-9, bound=0.2)
    inside = FACES.image.abs() < 0.8  # where the range cuts nothing off
    moved = (attacked(start) - FACES.image)[inside]
    assert moved.min() < -0.19 and moved.max() > 0.19
    assert moved.mean().abs() < 0.01
    assert moved.std().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.05)
    assert (attacked(replace(start, random_start=False)) - FACES.image).abs().max() < 1e-6


def smoothed(gradient: Tensor, size: int) -> Tensor:
    """As TI-DIM's released code: the mean over shifts, weighted by a Gaussian with its edge at three deviations."""
    row = torch.exp(-0.5 * torch.linspace(-3, 3, size) ** 2)
    kernel, padded = row[:, None] * row / row.sum() ** 2, F.pad(gradient, [size // 2] * 4)
    height, width = gradient.shape[-2:]
    shifts = product(range(size), range(size))
    return sum(kernel[i, j] * padded[..., i : i + height, j : j + width] for i, j in shifts)


@pytest.mark.parametrize("size", [5, 15])
def test_the_kernel_smooths_the_gradient_before_its_sign(size):
    attack = Attack("one", steps=1, bound=0.1, step_size=0.1, kernel=size)
    expected = boxed(FACES.image + 0.1 * smoothed(gradient_of_cosine(FACES.image), size).sign(), 0.1)
    assert same(attacked(attack), expected)
    assert not same(attacked(replace(attack, kernel=0)), expected)


def test_a_kernel_of_one_pixel_is_none():
    attack = Attack("one", steps=2, bound=0.1, step_size=0.1, kernel=1)
    assert torch.equal(attacked(attack), attacked(replace(attack, kernel=0)))


# --- the published rules, whole, as libraries of attacks write them: pictures in [0,1], the loss is raised -----------


def in_unit_range(image: Tensor) -> Tensor:
    return (image + 1) / 2


def rising_gradient(image: Tensor, loss) -> Tensor:
    """Of a loss (N,) of pictures in [0,1]."""
    image = image.clone().requires_grad_()
    return torch.autograd.grad(loss(2 * image - 1).sum(), image)[0]


def to_target(image: Tensor) -> Tensor:
    """Minus the loss of the attacks; the cosine."""
    return FIRST.embed(image, FACES.points) @ TARGETS[0]


def clipped(image: Tensor, bound: float) -> Tensor:
    clean = in_unit_range(FACES.image)
    return (clean + torch.clamp(image - clean, -bound, bound)).clamp(0, 1)


def shifted(image: Tensor) -> Tensor:
    """A view of which the place is known."""
    return F.pad(F.interpolate(image, (28, 28), mode="bilinear"), (1, 3, 3, 1))


def test_pgd_is_madrys_rule():
    attack = replace(PGD, steps=3)
    start = attacked(replace(attack, steps=1, step_size=1e-12))  # the drawn start, to rounding
    image, bound = in_unit_range(start), 16 / 255
    for _ in range(3):
        image = clipped(image + 2.5 * bound / 3 * rising_gradient(image, to_target).sign(), bound)
    assert same(in_unit_range(attacked(attack)), image)


def test_mi_fgsm_is_dongs_rule():
    image, momentum, bound = in_unit_range(FACES.image), 0, 16 / 255
    for _ in range(4):
        gradient = rising_gradient(image, to_target)
        momentum = gradient / gradient.abs().mean((1, 2, 3), keepdim=True) + 1.0 * momentum
        image = clipped(image + bound / 4 * momentum.sign(), bound)
    assert same(in_unit_range(attacked(replace(MI_FGSM, steps=4))), image)


def test_ti_dim_is_dongs_rule_of_a_view():
    image, momentum, bound = in_unit_range(FACES.image), 0, 16 / 255
    for _ in range(3):
        gradient = smoothed(rising_gradient(image, lambda x: to_target(shifted(x))), 15)
        momentum = gradient / gradient.abs().mean((1, 2, 3), keepdim=True) + 1.0 * momentum
        image = clipped(image + bound / 3 * momentum.sign(), bound)
    attack = replace(TI_DIM, steps=3, diversity=lambda image, points, draw: (shifted(image), points))
    assert same(in_unit_range(attacked(attack)), image)
    assert not same(in_unit_range(attacked(replace(attack, diversity=None))), image)


def identity_loss(image: Tensor, target: Tensor, naturalness: float) -> Tensor:
    """TIP-IM's loss (N,): squared distance to the target less that to the owner, halved, and the discrepancy."""
    found = FIRST.embed(image, FACES.points)
    apart = ((found - target).square().sum(1) - (found - own()).square().sum(1)) / 2
    squares = ((image - FACES.image) * 127.5).square().sum((1, 2, 3)) * 3 * 112**2 / (3 * SIZE**2)
    unlike = sum(2 - 2 * torch.exp(-squares / (2 * 10.0**power)) for power in range(-6, 7))
    return apart + naturalness * unlike


def lead(image: Tensor, targets: Tensor) -> Tensor:
    """The published gain (N,) of a step: log(1 + exp(largest lead)), with lengths, not squares."""
    found = FIRST.embed(image, FACES.points)
    to_owner = (found - own()).norm(dim=1)
    leads = torch.stack([to_owner - (found - target).norm(dim=1) for target in targets])
    return torch.log(1 + leads.exp().amax(0))


def tip_im(targets: Tensor, steps: int, naturalness: float) -> tuple[Tensor, list[list[int]]]:
    """The released loop: a step for every target, that with the largest gain is taken. Also the targets taken."""
    image, momentum, taken = FACES.image, torch.zeros_like(FACES.image), []
    step, bound = 1.5 * TIP_IM.bound / steps, TIP_IM.bound
    for _ in range(steps):
        tried = []
        for target in targets:
            x = image.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(identity_loss(x, target, naturalness).sum(), x)
            direction = momentum + gradient / gradient.abs().mean((1, 2, 3), keepdim=True)
            tried.append((boxed(image - step * direction.sign(), bound), direction))
        best = torch.stack([lead(moved, targets) for moved, _ in tried]).argmax(0).tolist()
        image, momentum = (torch.stack([tried[b][part][i] for i, b in enumerate(best)]) for part in (0, 1))
        taken.append(best)
    return image, taken


@pytest.mark.parametrize("naturalness", [0.0, 0.2])
def test_tip_im_is_yangs_rule(naturalness):
    attack = replace(TIP_IM, steps=3, naturalness=naturalness)
    expected, _ = tip_im(TARGETS[0][None], 3, naturalness)
    assert same(attacked(attack), expected)
    assert not same(attacked(replace(attack, naturalness=0.2 - naturalness)), expected)
    assert not same(attacked(replace(attack, margin=1.0)), expected)  # without a step away from the owner


def test_tip_im_takes_the_target_with_the_largest_gain_at_every_step_and_for_every_face():
    several = torch.stack([*TARGETS, F.normalize(TARGETS[0] - 2 * TARGETS[1], dim=0)])
    attack = replace(TIP_IM, steps=4, naturalness=0.0)
    expected, taken = tip_im(several, 4, 0.0)
    assert len({target for faces in taken for target in faces}) > 1  # else one target would do
    found = perturb(attack, FACES, [several], [FIRST], own_embeddings=[own()])
    assert same(found, expected)
    assert not same(attacked(attack), expected)


def test_naturalness_keeps_the_change_small():
    free, natural = (attacked(replace(TIP_IM, steps=10, naturalness=weight)) for weight in (0.0, 1.0))
    assert (natural - FACES.image).square().mean() < 0.5 * (free - FACES.image).square().mean()


def test_the_discrepancy_is_that_of_the_pictures_at_any_size():
    clean, changed = FACES.image, boxed(FACES.image + 0.1, 0.05)
    found = attacks.discrepancy(changed, clean)
    larger = (F.interpolate(each, scale_factor=3, mode="nearest") for each in (changed, clean))
    torch.testing.assert_close(attacks.discrepancy(*larger), found, rtol=1e-4, atol=1e-4)
    assert torch.equal(attacks.discrepancy(clean, clean), torch.zeros(4)) and (found > 1).all()
    levels = (each[0].flatten()[None] * 127.5 * 112 / SIZE for each in (changed, clean))
    torch.testing.assert_close(mmd(*levels), found[0])


class Spy:
    """A recogniser that notes what it is shown."""

    def __init__(self):
        self.images: list[Tensor] = []
        self.points: list[Tensor] = []

    def __call__(self, images: Tensor, points: Tensor) -> Tensor:
        self.images.append(images.detach())
        self.points.append(points)
        return FIRST(images, points)


def test_diversity_shows_every_image_and_step_another_view_at_the_same_points():
    spy, shrinking = Spy(), InputDiversity(noise_probability=0, resize_probability=1, low=0.5)
    white = replace(FACES, image=torch.ones_like(FACES.image))
    noise = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3)) * 0.1
    faces = replace(white, image=white.image - noise)  # different pictures, so that their views differ
    perturb(replace(TI_DIM, steps=3, diversity=shrinking), faces, TARGETS[:1], [spy])
    frames = {tuple((view != 0).flatten().tolist()) for step in spy.images for view in step}
    assert len(spy.images) == 3 and len(frames) >= 10  # of 12; two may be drawn alike
    assert all(torch.equal(points, FACES.points) for points in spy.points)


def test_without_diversity_the_image_itself_is_shown():
    spy = Spy()
    perturb(replace(MI_FGSM, steps=1), FACES, TARGETS[:1], [spy])
    assert torch.equal(spy.images[0], FACES.image) and torch.equal(spy.points[0], FACES.points)


# --- what a result depends on --------------------------------------------------------------------------------------


@every_attack
def test_an_image_depends_neither_on_its_batch_nor_on_its_place(attack):
    attack = replace(attack, steps=4)  # every step adds to what rounding does
    together = attacked(attack)
    alone = torch.cat([attacked(attack, FACES[i : i + 1]) for i in range(4)])
    assert same(together, alone)
    assert same(attacked(attack, FACES[[2, 0, 3, 1]]), together[[2, 0, 3, 1]])
    assert not same(together[:1], together[1:2])


def test_the_seed_decides_and_nothing_else_does():
    for attack in (PGD, TI_DIM):
        attack = replace(attack, steps=4)
        first = attacked(attack)
        torch.manual_seed(99)
        state = torch.random.get_rng_state()
        assert torch.equal(attacked(attack), first)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert not same(attacked(replace(attack, seed=1)), first)
    assert torch.equal(attacked(MI_FGSM), attacked(replace(MI_FGSM, seed=1)))  # draws nothing


def test_recognisers_stay_frozen_and_a_surrounding_no_grad_is_no_hindrance():
    faces = replace(FACES, image=FACES.image.clone().requires_grad_())
    before = {key: value.clone() for key, value in FIRST.state_dict().items()}
    with torch.no_grad():
        inside = attacked(MI_FGSM, faces)
    assert torch.equal(inside, attacked(MI_FGSM)) and faces.image.grad is None
    assert all(p.grad is None and not p.requires_grad for p in FIRST.parameters())
    assert all(torch.equal(value, before[key]) for key, value in FIRST.state_dict().items())
    (unfrozen,) = fakes.tiny_recognizers("tiny_1", seed=1)
    unfrozen.requires_grad_(True)
    perturb(MI_FGSM, FACES, TARGETS[:1], [unfrozen])
    assert all(p.grad is None for p in unfrozen.parameters())


def test_an_ensemble_lowers_the_loss_of_each():
    both = perturb(MI_FGSM, FACES, TARGETS, [FIRST, SECOND])
    one = attacked(MI_FGSM)
    gains = {
        (name, which): (cosines(x, recognizer, target) - cosines(FACES.image, recognizer, target)).mean()
        for name, x in (("both", both), ("one", one))
        for which, recognizer, target in (("first", FIRST, TARGETS[0]), ("second", SECOND, TARGETS[1]))
    }
    assert gains["both", "first"] > 0.3 and gains["both", "second"] > 0.3
    assert gains["both", "second"] > gains["one", "second"] + 0.2
    assert gains["one", "first"] > gains["both", "first"]


def test_dodging_leaves_the_owner_behind():
    """The target is the owner: 1 - c + 2 relu(c) is least where the owner is just not met any more, at c = 0."""
    attack = replace(MI_FGSM, bound=0.5, steps=40)
    faces, owner = FACES[:1], own()[:1]
    met, left = (
        perturb(replace(attack, dodging=weight), faces, [owner[0]], [FIRST], own_embeddings=[owner])
        for weight in (0.5, 2.0)
    )
    to_own = [(FIRST.embed(x, faces.points) @ owner[0]).item() for x in (faces.image, met, left)]
    assert to_own[0] == pytest.approx(1, abs=1e-5)
    assert to_own[1] > 0.9
    assert abs(to_own[2]) < 0.2
    assert (left - faces.image).abs().max() <= 0.5 + 1e-6


def test_dodging_stops_once_the_owner_is_no_longer_met():
    """An owner on the far side is not met at all: relu is 0, and so is its gradient."""
    assert torch.equal(attacked(replace(MI_FGSM, dodging=2.0), own_embeddings=[-own()]), attacked(MI_FGSM))
    assert torch.equal(attacked(replace(MI_FGSM, dodging=0.0), own_embeddings=[own()]), attacked(MI_FGSM))


def test_own_embeddings_belong_to_their_images():
    dodging = replace(MI_FGSM, dodging=2.0)
    together = attacked(dodging, own_embeddings=[own()])
    assert same(attacked(dodging, FACES[:3], own_embeddings=[own()[:3]]), together[:3])
    assert not same(attacked(dodging, own_embeddings=[own()[[3, 1, 2, 0]]]), together)


def test_no_face_is_no_error():
    assert attacked(MI_FGSM, FACES[:0]).shape == (0, 3, SIZE, SIZE)


# --- what is refused -----------------------------------------------------------------------------------------------


def test_attacks_are_found_by_name():
    assert list(ATTACKS) == ["pgd", "mi_fgsm", "ti_dim", "tip_im"]
    assert attacks.attack("ti_dim") is TI_DIM and attacks.attack("tip_im") is TIP_IM
    with pytest.raises(ValueError, match=r"'fgsm'; there are pgd, mi_fgsm, ti_dim, tip_im"):
        attacks.attack("fgsm")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("bound", -0.1),
        ("bound", math.nan),
        ("step_size", 0.0),
        ("reach", 0.0),
        ("momentum", -1.0),
        ("dodging", -1.0),
        ("naturalness", math.nan),
        ("kernel", 4),
        ("kernel", -3),
    ],
)
def test_an_attack_without_a_meaning_is_refused(field, value):
    with pytest.raises(ValueError, match=f"pgd: {field} is {value}, expected"):
        replace(PGD, **{field: value})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"target_embeddings": TARGETS}, r"target_embeddings for 1 recognisers .* expected one \(D\)"),
        ({"target_embeddings": []}, "target_embeddings for 1"),
        ({"target_embeddings": [], "recognizers": []}, "for 0 recognisers"),
        ({"target_embeddings": [TARGETS[0][None, None]]}, r"\[\(1, 1, 16\)\]"),
        ({"target_embeddings": [torch.stack(TARGETS)]}, "several targets comes with own_embeddings"),
        ({"own_embeddings": [torch.ones(3, DIMENSIONS)]}, r"own_embeddings .* expected one \(4, D\)"),
        ({"own_embeddings": [torch.ones(4, DIMENSIONS)] * 2}, "own_embeddings for 1"),
        ({"attack": replace(MI_FGSM, dodging=1.0)}, r"mi_fgsm with dodging 1\.0 .* with own_embeddings"),
        ({"faces": replace(FACES, image=FACES.image * 127.5 + 127.5)}, r"\[-1,1\]"),
        ({"faces": replace(FACES, image=FACES.image * math.nan)}, r"\[-1,1\]"),
        ({"faces": replace(FACES, image=FACES.image[0])}, r"\(3, 32, 32\)"),
        ({"faces": replace(FACES, image=FACES.image.to(torch.uint8))}, "uint8"),
    ],
)
def test_wrong_arguments_are_named(settings, said):
    arguments = {"faces": FACES, "target_embeddings": TARGETS[:1], "recognizers": [FIRST], **settings}
    with pytest.raises(ValueError, match=said):
        perturb(**{"attack": MI_FGSM, **arguments})
