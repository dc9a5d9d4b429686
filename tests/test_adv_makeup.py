"""Adv-Makeup: where it paints, its blending terms, and its step against the equations written out."""

import copy
from dataclasses import replace

import fakes
import pytest
import torch
import torch.nn.functional as F
from fakes import SIZE, TINY, assert_close, gradients, pair, tiny_recognizers, trainer
from torch import Tensor

from amtgan_lib import losses, methods
from amtgan_lib.models import EyeShadow, eye_area, load_generator, save_generator
from amtgan_lib.recipes import ADV_MAKEUP
from amtgan_lib.training import Trainer, export

EYES_TINY = replace(TINY, recipe="adv_makeup")
ROWS, COLUMNS = slice(8, 20), slice(8, 24)  # of 32 pixels
FACE, MADE_UP = pair(2)
SIDES = (MADE_UP.image, FACE.masks, MADE_UP.masks, FACE.landmarks, MADE_UP.landmarks)


def painting(bound: float = 1.0) -> EyeShadow:
    """A generator that has learned something."""
    network = EyeShadow(4, 2, bound=bound)
    torch.nn.init.normal_(network.manet.last.weight, std=0.3)
    return network


# --- the generator -------------------------------------------------------------------------------------------------


def test_the_eye_area_is_a_band_of_whole_cells():
    assert eye_area(SIZE, SIZE) == (ROWS, COLUMNS)
    for side in (80, 128, 256):
        rows, columns = eye_area(side, side)
        assert all(edge % 4 == 0 for span in (rows, columns) for edge in (span.start, span.stop))
        # The eyes of a crop lie 47 % from the top, 38 and 62 % from the left.
        assert (
            rows.start < 0.4 * side < 0.55 * side < rows.stop and columns.start < 0.3 * side < 0.7 * side < columns.stop
        )


def test_it_paints_skin_around_the_eyes_and_nothing_else():
    painted = painting()(FACE.image, *SIDES)
    moved = (painted - FACE.image).abs().amax(1)
    around = FACE.masks[:, 2].bool()
    assert around.any() and (moved[around] > 0).float().mean() > 0.5  # it fades towards the border
    assert not moved[~around].any() and painted.abs().max() <= 1
    assert torch.equal(painting()(FACE.image, MADE_UP.image, torch.zeros_like(FACE.masks)), FACE.image)


def test_a_mask_beyond_the_eye_area_is_not_painted():
    everywhere = torch.ones_like(FACE.masks)
    moved = (painting()(FACE.image, MADE_UP.image, everywhere) != FACE.image).any(1)
    inside = torch.zeros_like(moved)
    inside[:, ROWS, COLUMNS] = True
    assert not moved[~inside].any() and moved[inside].float().mean() > 0.9


def test_the_bound_holds_and_a_fresh_one_paints_nothing():
    change = painting(bound=0.2)(FACE.image, *SIDES) - FACE.image
    assert 0.1 < change.abs().max() <= 0.2 + 1e-6
    assert (EyeShadow(4, 2)(FACE.image, *SIDES) - FACE.image).abs().max() < 1e-3


def test_the_reference_is_not_looked_at():
    network = painting()
    assert torch.equal(network(FACE.image, *SIDES), network(FACE.image, -MADE_UP.image, FACE.masks))


def test_a_stored_one_is_a_method_of_its_run(tmp_path):
    network, facts = painting(bound=0.4), {"recipe": "adv_makeup", "size": SIZE, "target": "t", "recognizers": ["a"]}
    file = save_generator(network, tmp_path / "train" / "adv_makeup" / "generator.safetensors", facts)
    again, known = load_generator(file)
    assert again.built == network.built and known == facts
    crop, other = (replace(fakes.face_crop(face), masks=FACE.masks[0]) for face in FACE.image)
    method = methods.build("adv_makeup", tmp_path, "t", FACE[:1], ["a"])
    expected = network.eval()(FACE.image[:1], other.image[None], FACE.masks[:1])[0]
    torch.testing.assert_close(method.change(crop, other), expected)
    assert (method.name, method.target, method.recognizers) == ("adv_makeup", "t", ("a",))
    assert not torch.equal(expected, crop.image)


# --- blending ------------------------------------------------------------------------------------------------------


def test_gradient_loss_sees_edges_and_no_even_change():
    image = fakes.smooth(2, 12, 1)
    slope = torch.linspace(0, 0.3, 12)
    assert losses.gradient_loss(image + 0.2 + slope, image) < 1e-12
    dot = image.clone()
    dot[0, 1, 5, 6] += 0.5
    expected = (4 * 0.5) ** 2 + 4 * 0.5**2  # the pixel and its neighbours
    torch.testing.assert_close(losses.gradient_loss(dot, image), torch.tensor(expected / (2 * 3 * 100)))


def test_style_loss_is_blind_to_places_and_to_scale():
    maps = torch.randn(2, 4, 5, 6)
    shuffled = maps.flatten(2)[..., torch.randperm(30)].view_as(maps)
    torch.testing.assert_close(losses.style_loss(shuffled, maps), torch.tensor(0.0), atol=1e-10, rtol=0)
    other = maps.roll(1, dims=1)
    assert losses.style_loss(other, maps) > 0.1
    torch.testing.assert_close(losses.style_loss(7 * other, 7 * maps), losses.style_loss(other, maps))
    torch.testing.assert_close(losses.style_loss(2 * maps, maps), torch.tensor(9.0))  # (4 - 1)^2


def test_total_variation_of_steps():
    image = torch.zeros(1, 3, 4, 4)
    image[..., 2:] = 1.0  # one edge in three, across
    assert losses.total_variation(image).item() == pytest.approx(1 / 3)
    assert losses.total_variation(image.mT).item() == pytest.approx(1 / 3)


# --- the step ------------------------------------------------------------------------------------------------------


def subject(**changes) -> Trainer:
    found = trainer(EYES_TINY, batch=2, **changes)
    torch.nn.init.normal_(found.networks["generator"].manet.last.weight, std=0.3)  # so that there is something to blend
    return found


def by_hand(found: Trainer, order: list[int], rate: float) -> dict[str, list[Tensor]]:
    """The gradients of one step, from copies of its networks, terms as in the paper, one line each."""
    generator, judge = (copy.deepcopy(found.networks[name]) for name in ("generator", "discriminator_makeup"))
    networks = tiny_recognizers()
    drawn, real = generator(FACE.image, *SIDES), MADE_UP.image[..., ROWS, COLUMNS]
    eyes = drawn[..., ROWS, COLUMNS]
    judged = 0.5 * ((judge(real) - 1) ** 2).mean() + 0.5 * (judge(eyes.detach()) ** 2).mean()
    expected = {"discriminator_makeup": list(torch.autograd.grad(judged, list(judge.parameters())))}
    # The generator is judged by the discriminator as it is after its own step.
    found.train_step(FACE, MADE_UP)
    judge = found.networks["discriminator_makeup"]
    was, clean = FACE.image, FACE.image[..., ROWS, COLUMNS]

    def missed(image: Tensor, number: int) -> Tensor:
        wanted = networks[number](fakes.TARGETS.batch().image, fakes.TARGETS.batch().points)
        return (1 - (networks[number](image, FACE.points) * wanted).sum(1)).mean()

    trained = missed(drawn, order[0])
    attack = trained
    if len(order) > 1:
        slopes = torch.autograd.grad(trained, list(generator.parameters()), retain_graph=True)
        stepped = copy.deepcopy(generator)
        with torch.no_grad():
            for weight, slope in zip(stepped.parameters(), slopes):
                weight -= rate * slope
        tested = missed(stepped(was, *SIDES), order[1])
        # First order: the gradient at the stepped weights counts for the weights themselves.
        tested_slopes = torch.autograd.grad(tested, list(stepped.parameters()))
        attack = (trained + sum((w * s).sum() for w, s in zip(generator.parameters(), tested_slopes))) / 2
    edges = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]).expand(3, 1, 3, 3)
    gradient = ((F.conv2d(eyes, edges, groups=3) - F.conv2d(clean, edges, groups=3)) ** 2).mean()
    maps = [networks[0].features(image, FACE.points)[0].flatten(2) for image in (drawn, was)]
    grams = [each @ each.mT / each.shape[2] for each in maps]
    style = ((grams[0] - grams[1]) ** 2).mean() / (grams[1] ** 2).mean()
    across, down = eyes[..., 1:] - eyes[..., :-1], eyes[..., 1:, :] - eyes[..., :-1, :]
    total = attack + ((judge(eyes) - 1) ** 2).mean() + gradient + style + across.abs().mean() + down.abs().mean()
    return expected | {"generator": list(torch.autograd.grad(total, list(generator.parameters())))}


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_step_is_the_papers(order, monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda count, generator: torch.tensor(order[:count]))
    found = subject(learning_rate=0.05)  # so large that the meta-test is elsewhere
    expected = by_hand(found, order, rate=0.05)
    for name, network in found.networks.items():
        assert_close(gradients(network), expected[name], 1e-3)


def test_without_the_inner_step_it_would_be_another(monkeypatch):
    monkeypatch.setattr(torch, "randperm", lambda count, generator: torch.tensor([0, 1][:count]))
    found = subject(learning_rate=0.05)
    expected = by_hand(found, [0, 1], rate=0.0)
    with pytest.raises(AssertionError, match="worst difference"):
        assert_close(gradients(found.networks["generator"]), expected["generator"], 1e-3)


def test_every_recogniser_is_trained_on_and_tested_on_by_turns():
    found, seen = subject(), []
    for number, recognizer in enumerate(found.recognizers):
        forward = recognizer.embed
        recognizer.embed = lambda *given, number=number, forward=forward: seen.append(number) or forward(*given)
    for _ in range(6):
        found.train_step(FACE, MADE_UP)
    orders = {tuple(seen[i : i + 2]) for i in range(0, len(seen), 2)}
    assert orders == {(0, 1), (1, 0)}


def test_one_recogniser_is_enough():
    found = trainer(EYES_TINY, recognizers=("tiny_a",))
    found.recognizers = found.recognizers[:1]
    terms = found.train_step(*pair())
    assert set(terms) == {"total", "discriminator_makeup", "adversarial", "gan", "gradient", "style", "variation"}


def test_steps_bring_faces_nearer_to_the_target():
    found = trainer(EYES_TINY, batch=2, learning_rate=5e-3)  # from the face as it is
    first, *between, last = (found.train_step(FACE, MADE_UP)["adversarial"] for _ in range(24))
    assert last < first - 0.02 and min(between) > 0


def test_a_trained_one_is_exported_with_its_recipe(tmp_path):
    found = subject()
    found.train_step(FACE, MADE_UP)
    again, facts = load_generator(export(found, tmp_path / "g.safetensors", world="drawn"))
    assert facts["recipe"] == ADV_MAKEUP.name and facts["recognizers"] == list(TINY.recognizers)
    expected = found.networks["generator"].eval()(FACE.image, *SIDES)
    torch.testing.assert_close(again(FACE.image, *SIDES), expected)
